"""Installs the Debian package on this machine, tries it, and removes it; see scripts/test-package.

    run.py PACKAGE

It needs root, and no installed package of this name. The last line is "N passed, N failed". The
status is not 0 if a check failed.
"""

import contextlib
import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

NAME = "tidings"
PROGRAM = "/usr/bin/tidings"
SETTINGS = pathlib.Path("/etc/tidings/tidings.toml")
SECRETS = pathlib.Path("/etc/tidings/environment")
# The folder of the state, and the link to it that systemd makes for a user without a name.
STATE = pathlib.Path("/var/lib/private/tidings")
STATE_LINK = pathlib.Path("/var/lib/tidings")
UNITS = pathlib.Path("/usr/lib/systemd/system")
LINKS = [
    pathlib.Path("/etc/systemd/system/multi-user.target.wants/tidings.service"),
    pathlib.Path("/etc/systemd/system/sockets.target.wants/tidings.socket"),
]
EVENTS = "/api/workspaces/demo/events"

# Seconds: many times what a step takes.
DEADLINE = 40


def output(*command, **options):
    """The text that a command writes. The command has to succeed."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=300, **options)
    assert done.returncode == 0, f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def eventually(what, check):
    """The first value of `check` that is true."""
    deadline = time.monotonic() + DEADLINE
    while not (value := check()):
        assert time.monotonic() < deadline, f"not within {DEADLINE} s: {what}"
        time.sleep(0.05)
    return value


def installed_files():
    """The files of the package, without folders."""
    return [path for path in output("dpkg", "-L", NAME).splitlines() if not os.path.isdir(path)]


def program_is_that_of_the_package(_package):
    """`tidings --version` names the version of the package, and needs no library that is missing."""
    version = output("dpkg-query", "--show", "--showformat", "${Version}", NAME)
    lines = output(PROGRAM, "--version").splitlines()
    assert lines[0] == f"tidings {version}", lines
    assert [line.split(":")[0] for line in lines[1:]] == ["commit", "build", "target", "features"], lines


def program_is_stripped_and_its_debug_information_fits(package):
    """The program has no debug information, and names the file beside the package that has it."""
    sections = output("readelf", "--section-headers", "--wide", PROGRAM)
    assert ".debug_line" not in sections and ".symtab" not in sections, sections
    assert "tidings.debug" in output("readelf", "--string-dump=.gnu_debuglink", PROGRAM)
    debug = str(package.parent / "tidings.debug")
    address = next(
        line.split()[0] for line in output("nm", "--demangle", debug).splitlines() if line.endswith(" tidings::cli::main")
    )
    assert "src/cli/mod.rs" in output("addr2line", "-e", debug, address)


def documents_and_completions_are_there(_package):
    """Each command has a manual page, and each shell its script."""
    files = installed_files()
    for page in ("tidings", "tidings-serve", "tidings-config-init"):
        path = f"/usr/share/man/man1/{page}.1.gz"
        assert path in files and ".TH " in output("zcat", path), path
    for path in (
        "/usr/share/doc/tidings/copyright",
        "/usr/share/doc/tidings/changelog.gz",
        "/usr/share/zsh/vendor-completions/_tidings",
        "/usr/share/fish/vendor_completions.d/tidings.fish",
    ):
        assert path in files and os.path.getsize(path) > 100, path
    script = "/usr/share/bash-completion/completions/tidings"
    assert "tidings" in output("bash", "-c", f"source {script} && complete -p tidings")


def units_are_valid(_package):
    """systemd accepts each unit without a warning, and none is enabled by the installation."""
    units = sorted(path.name for path in UNITS.glob("tidings.*"))
    assert units == ["tidings.service", "tidings.socket"], units
    for unit in units:
        assert output("systemd-analyze", "verify", str(UNITS / unit)) == "", unit
    assert not any(link.is_symlink() for link in LINKS)


def settings_are_the_defaults(_package):
    """The file of settings is a configuration file of the package, and sets nothing."""
    assert str(SETTINGS) in output("dpkg-query", "--show", "--showformat", "${Conffiles}", NAME)
    with_file = output(PROGRAM, "config", "--config", str(SETTINGS))
    assert with_file == output(PROGRAM, "config")


@contextlib.contextmanager
def broker():
    """The broker with the command and the settings of its unit, on free ports."""
    unit = (UNITS / "tidings.service").read_text().splitlines()
    command = next(line.removeprefix("ExecStart=") for line in unit if line.startswith("ExecStart=")).split()
    variables = dict(
        line.removeprefix("Environment=").split("=", 1) for line in unit if line.startswith("Environment=")
    )
    assert variables["TIDINGS_CONFIG"] == str(SETTINGS), variables
    ports = {f"TIDINGS__{part}__LISTEN": "127.0.0.1:0" for part in ("SERVER", "ADMIN", "EMBEDDED")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")}
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "log"
        with log.open("w") as file:
            process = subprocess.Popen(
                command,
                env=kept | variables | ports | {"TIDINGS__LOG__FORMAT": "json"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

        def addresses():
            assert process.poll() is None, log.read_text()
            for line in log.read_text().splitlines():
                if line.startswith("{") and "admin" in (entry := json.loads(line)).get("fields", entry):
                    return entry.get("fields", entry)
            return None

        try:
            found = eventually("the broker listens", addresses)
            yield process, found["listen"], found["admin"]
        finally:
            process.kill()
            process.wait()


def status_of(address, path):
    """The status of a response."""
    connection = http.client.HTTPConnection(address, timeout=DEADLINE)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def broker_of_the_unit_serves(_package):
    """The unit's command with the package's settings serves a stream, and ends with status 0."""
    with broker() as (process, public, admin):
        eventually("the broker is ready", lambda: status_of(admin, "/ready") == 200)
        stream = http.client.HTTPConnection(public, timeout=DEADLINE)
        stream.request("GET", EVENTS)
        response = stream.getresponse()

        def line_with(text):
            while text not in (line := response.readline().decode()):
                assert line, f"the stream ended before {text}"
            return line

        line_with('"type":"connected"')
        publisher = http.client.HTTPConnection(public, timeout=DEADLINE)
        publisher.request("POST", EVENTS, '{"type":"FROM_THE_PACKAGE"}')
        assert publisher.getresponse().status == 200
        line_with("FROM_THE_PACKAGE")
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0


def second_installation_keeps_changed_settings(package):
    """dpkg keeps a changed file of settings."""
    text = SETTINGS.read_text().replace("#retry_ms = 2000", "retry_ms = 3000")
    SETTINGS.write_text(text)
    output("dpkg", "--install", str(package))
    assert SETTINGS.read_text() == text
    shown = output(PROGRAM, "config", "--config", str(SETTINGS))
    assert "retry_ms = 3000" in shown, shown


def removal_keeps_settings_alone(_package):
    """A removal deletes the program, and disables its units. It keeps settings and state."""
    output("systemctl", "--quiet", "enable", "tidings.service", "tidings.socket")
    assert all(link.is_symlink() for link in LINKS)
    SECRETS.write_text("TIDINGS__LOG__FORMAT=json\n")
    STATE.mkdir(parents=True)
    STATE_LINK.symlink_to("private/tidings")
    files = installed_files()
    output("dpkg", "--remove", NAME)
    kept = [path for path in files if os.path.lexists(path)]
    assert kept == [str(SETTINGS)], kept
    assert not any(link.is_symlink() for link in LINKS)
    assert SECRETS.exists() and STATE.exists()


def purge_leaves_nothing(_package):
    """A purge deletes the settings, the secrets and the state too."""
    output("dpkg", "--purge", NAME)
    assert NAME not in output("dpkg-query", "--show", "--showformat", "${Package}\n").splitlines()
    folders = ["/etc", "/lib/systemd", "/usr/bin", "/usr/lib/systemd", "/usr/share", "/var/lib"]
    left = output("find", *folders, "-name", "*tidings*").splitlines()
    assert left == [], left


CHECKS = [
    program_is_that_of_the_package,
    program_is_stripped_and_its_debug_information_fits,
    documents_and_completions_are_there,
    units_are_valid,
    settings_are_the_defaults,
    broker_of_the_unit_serves,
    second_installation_keeps_changed_settings,
    removal_keeps_settings_alone,
    purge_leaves_nothing,
]


def main():
    package = pathlib.Path(sys.argv[1]).resolve()
    known = subprocess.run(["dpkg-query", "--show", NAME], capture_output=True, check=False)
    if known.returncode == 0 or SETTINGS.parent.exists():
        raise SystemExit(f"this machine already has the package {NAME}, or its settings: remove them first")
    failed = 0
    try:
        output("dpkg", "--install", str(package))
        for check in CHECKS:
            try:
                check(package)
                print(f"ok    {check.__name__}", flush=True)
            except Exception as error:  # Each check counts, whatever ended it.
                failed += 1
                print(f"FAIL  {check.__name__}: {type(error).__name__}: {error}", flush=True)
    finally:
        # Nothing is left to purge unless a check failed.
        subprocess.run(["dpkg", "--purge", NAME], capture_output=True, check=False)
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
