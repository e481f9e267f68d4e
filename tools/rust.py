"""Rust: whether it is there, and building with it."""

import json
import os
import re
import shutil
import subprocess

from tools.running import ROOT, fail, parse_version, step, text, version_of


def check_rust():
    needed = parse_version(re.search(r'^rust-version\s*=\s*"(.+?)"', (ROOT / "Cargo.toml").read_text("utf-8"), re.M)[1])
    how = f"install Rust {text(needed)} or newer with rustup"
    cargo()
    if shutil.which("rustc") is None:
        fail(f"no rustc on the PATH: {how}")
    found = version_of("rustc")
    if found is None:
        fail(f"`rustc --version` fails: {how}")
    if found < needed:
        fail(f"rustc {text(found)} is too old: {text(needed)} or newer is needed (rustup update stable)")
    # Rust links with it, and SQLite, ring and jemalloc are built by it.
    if not (os.environ.get("CC") or any(map(shutil.which, ("cc", "gcc", "clang")))):
        fail("no C compiler on the PATH: install gcc or clang (Debian: build-essential; macOS: xcode-select --install)")
    if not any(map(shutil.which, ("make", "gmake"))):
        fail("no make on the PATH, which jemalloc is built with (Debian: build-essential; macOS: xcode-select --install)")
    step(f"rustc {text(found)}")


def cargo():
    path = shutil.which("cargo")
    if path is None:
        fail("no cargo on the PATH: install Rust with rustup")
    return path


def build(*args):
    """Builds with cargo; returns the paths of the programs that it made, by name."""
    # Cargo says where the programs are, so nothing here needs to guess its folders.
    result = subprocess.run(
        [cargo(), "build", "--message-format=json-render-diagnostics", *args], cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8"
    )
    if result.returncode != 0:
        fail("the build failed", code=result.returncode)
    programs = {}
    for line in result.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["kind"] == ["bin"] and not message["profile"]["test"]:
            programs[message["target"]["name"]] = message["executable"]
    return programs


def profile(args):
    """Those of cargo test's arguments that choose the profile."""
    chosen = [arg for arg in args if arg in ("-r", "--release") or arg.startswith("--profile=")]
    if "--profile" in args[:-1]:
        chosen += ["--profile", args[args.index("--profile") + 1]]
    return chosen
