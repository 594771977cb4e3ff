"""Runs schemathesis with docs/openapi.json against brokers; see scripts/test-openapi.

    run.py PROGRAM

Each broker has an embedded bus, and ports that the system chooses. The last line is
"N passed, N failed": an operation counts once for each broker. The status is not 0 if one failed.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ElementTree

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = pathlib.Path(sys.executable).parent

# Seconds: many times what a start and a run of schemathesis take.
START = 40
RUN = 900

SETTINGS = {
    "SERVER__LISTEN": "127.0.0.1:0",
    "ADMIN__LISTEN": "127.0.0.1:0",
    "EMBEDDED__LISTEN": "127.0.0.1:0",
    "LOG__FORMAT": "json",
    # A stream ends by itself soon, and has a heartbeat before that.
    "SSE__HEARTBEAT_SECONDS": "0.2",
    "LIMITS__CONNECTION_AGE_SECONDS": "0.3",
    "AUTH__TICKETS_PER_USER": "0",
    "SERVER__DRAIN_DELAY_SECONDS": "0",
    "SERVER__DRAIN_SECONDS": "0",
}
JWT = {"AUTH__MODE": "jwt", "AUTH__JWT__ALGORITHM": "HS256", "AUTH__JWT__SECRET": "a secret of tests, 32 bytes long"}


def environment(settings):
    """The environment with these settings of a broker and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_")}
    return kept | {f"TIDINGS__{name}": value for name, value in settings.items()}


def eventually(what, log, check):
    """The first value of `check` that is true."""
    deadline = time.monotonic() + START
    while not (value := check()):
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {START} s: {what}\n{log.read_text()}")
        time.sleep(0.05)
    return value


def listening(log):
    """The fields of the log line that has the addresses."""
    for line in log.read_text().splitlines(keepends=True):
        fields = json.loads(line) if line.endswith("\n") else {}
        if fields.get("message") == "listening":
            return fields
    return None


def is_ready(admin):
    try:
        with urllib.request.urlopen(f"http://{admin}/ready", timeout=START) as response:
            return response.status == 200
    except urllib.error.URLError:
        return False


@contextlib.contextmanager
def broker(program, settings):
    """A broker that is ready, as the addresses of its public and its admin listener."""
    with tempfile.TemporaryDirectory() as directory:
        log = pathlib.Path(directory, "log")
        with log.open("w") as stderr:
            process = subprocess.Popen(
                [program, "serve"],
                env=environment(SETTINGS | settings),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        try:
            fields = eventually("the broker listens", log, lambda: process.poll() is not None or listening(log))
            if process.poll() is not None:
                raise SystemExit(f"the broker ended\n{log.read_text()}")
            eventually("the broker is ready", log, lambda: is_ready(fields["admin"]))
            yield fields["listen"], fields["admin"]
            if process.poll() is not None or "panicked" in log.read_text():
                raise SystemExit(f"the broker failed\n{log.read_text()}")
        finally:
            process.kill()
            process.wait()


def count(report):
    """The numbers of operations that passed and failed in a report in JUnit's form."""
    passed = failed = 0
    for case in ElementTree.parse(report).iter("testcase"):
        is_bad = case.find("failure") is not None or case.find("error") is not None
        passed, failed = passed + (not is_bad), failed + is_bad
    return passed, failed


def test(name, document, url, tag, omitted, *options):
    """Runs schemathesis for the operations with a tag, and returns the numbers of its report.

    Requests have no parameter of the list `omitted`.
    """
    print(f"== {name}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        report = pathlib.Path(directory, "report.xml")
        command = [TOOLS / "schemathesis", "--config-file", HERE / "schemathesis.toml", "run", document]
        command += ["--url", url, "--include-tag", tag, "--no-color", "--report-junit-path", report, *options]
        variables = {"PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1", "OMITTED": omitted}
        began = time.monotonic()
        status = subprocess.run(command, cwd=directory, env=environment({}) | variables, timeout=RUN).returncode
        passed, failed = count(report) if report.exists() else (0, 0)
    print(f"{name}: {passed} passed, {failed} failed in {time.monotonic() - began:.0f} s", flush=True)
    if status != 0 and failed == 0 or status == 0 and passed == 0:
        print(f"{name}: schemathesis ended with status {status}", flush=True)
        failed += 1
    return passed, failed


def main(program):
    results = []
    with broker(program, {"AUTH__MODE": "none"}) as (public, admin):
        document = f"http://{admin}/openapi.json"
        # Here no request lacks credentials.
        options = ["--exclude-checks", "ignored_auth"]
        results.append(test("without authentication", document, f"http://{public}/api", "public", "Last,Envelope", *options))
        options = ["--phases", "examples,coverage"]
        results.append(test("admin listener", document, f"http://{admin}", "admin", "", *options))
    with broker(program, JWT) as (public, admin):
        command = [program, "token", "new", "--workspace", "*", "--publish", "*", "--user", "u1"]
        token = subprocess.run(command, env=environment(JWT), check=True, capture_output=True, text=True).stdout.strip()
        # As an EventSource, which gets temporary trouble and bans in another form.
        options = ["--header", f"Authorization: Bearer {token}", "--header", "Accept: text/event-stream"]
        document = f"http://{admin}/openapi.json"
        results.append(test("with tokens", document, f"http://{public}/api", "public", "Since,Batch", *options))
    passed, failed = (sum(numbers) for numbers in zip(*results))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(str(pathlib.Path(sys.argv[1]).resolve())))
