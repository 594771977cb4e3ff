"""Puts the publish script of the repository into the package."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent


class ScriptHook(BuildHookInterface):  # type: ignore[type-arg, unused-ignore]
    """Adds `publish.lua`. A source distribution has it already."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the file before the build."""
        script = ROOT.parent.parent / "scripts" / "publish.lua"
        if (ROOT / "src" / "tidings" / "publish.lua").exists():
            return
        target = "src/tidings" if self.target_name == "sdist" else "tidings"
        build_data["force_include"][str(script)] = f"{target}/publish.lua"
