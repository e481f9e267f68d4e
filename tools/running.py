"""What every part needs: where things are, how commands run, and how failures are said."""

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / ".tools"
STARTED = time.monotonic()
MACHINE = platform.machine().lower()
PLATFORM = platform.system().lower() + "-" + {"amd64": "x86_64", "arm64": "aarch64"}.get(MACHINE, MACHINE)


def step(what):
    # On stderr, so that what a command prints can be piped.
    print(f"dev {time.monotonic() - STARTED:6.1f}s  {what}", file=sys.stderr, flush=True)


def fail(why, code=1):
    print(f"dev: error: {why}", file=sys.stderr, flush=True)
    sys.exit(code)


def run(*command):
    """Runs a command whose failure is ours."""
    result = subprocess.run(command, cwd=ROOT)
    if result.returncode != 0:
        fail(f"{' '.join(map(str, command[:2]))} failed", code=result.returncode)


def command_output(*command):
    """What a command prints; empty if it fails."""
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
    return result.stdout if result.returncode == 0 else ""


def git(*args):
    """What git prints; empty if it fails."""
    return command_output("git", *args).strip()


def replace_this_process(command, environment):
    """Runs the command in this process's place: signals and the exit code are its own."""
    environment = {**os.environ, **environment}
    # Python ignores SIGPIPE and the command would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execve(command[0], command, environment)


def on_path(program):
    """The absolute path of a program, or None; commands run in other folders than the caller's."""
    path = shutil.which(program)
    return path and os.path.abspath(path)


def version_of(program):
    """The version that a program prints, as three numbers; None if it does not run."""
    try:
        result = subprocess.run(
            [program, "--version"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(result.stdout) if result.returncode == 0 else None


def parse_version(line):
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", line)
    return tuple(int(number or 0) for number in found.groups()) if found else None


def text(version):
    return ".".join(map(str, version)) if version else "of unknown version"
