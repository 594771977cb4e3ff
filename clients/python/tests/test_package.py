"""The package as it would be published."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import requires, version
from importlib.resources import files
from pathlib import Path

from .servers import ROOT

PACKAGE = ROOT / "clients" / "python"
MODULES = {path.name for path in (PACKAGE / "src" / "tidings").glob("*.py")}


def test_package_has_the_publish_script_of_the_repository() -> None:
    script = (ROOT / "scripts" / "publish.lua").read_bytes()
    assert files("tidings").joinpath("publish.lua").read_bytes() == script


def test_package_has_no_dependency_and_the_version_of_the_repository() -> None:
    assert all("extra ==" in name for name in requires("tidings") or [])
    manifest = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    found = re.search(r'\[workspace\.package\]\nversion = "(.+)"', manifest)
    assert found
    assert version("tidings") == found[1]
    assert (PACKAGE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_wheel_from_the_source_distribution_has_every_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*command, str(PACKAGE)], check=True, capture_output=True)
    [wheel], [source] = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    names = {name.split("/", 1)[1] for name in zipfile.ZipFile(wheel).namelist()}
    assert {*MODULES, "py.typed", "publish.lua"} <= names
    with tarfile.open(source) as archive:
        members = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {"src/tidings/publish.lua", "hatch_build.py", "LICENSE", "README.md"} <= members
    assert not any(name.startswith("tests") for name in members)

    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, capture_output=True)
    program = "import tidings; print(tidings.RedisPublisher.__name__, tidings.__file__)"
    output = subprocess.check_output(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(target)}, text=True
    )
    assert output.startswith("RedisPublisher ")
    assert str(target) in output
