"""Images, made by buildah: no engine and no daemon is needed."""

import argparse
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from tools.fetching import can_unpack, library_path, temporary_folder, unpack_packages, with_libraries
from tools.programs import fetch_nats_server
from tools.running import ROOT, TOOLS, command_output, fail, git, run, step, text, version_of
from tools.rust import check_rust

# The targets of deploy/docker/Dockerfile: the image that each makes, and the program in it.
IMAGES = {
    "post": ("agora-post", "agora-post"),
    "comment": ("agora-comment", "agora-comment"),
    "moderation": ("agora-moderation", "agora-moderation"),
    "query": ("agora-query", "agora-query"),
    "agora": ("agora", "agora"),
    "load": ("agora-load", "load"),
}
# Those of deploy/docker/stand-ins/Dockerfile.
STAND_INS = ("nats", "postgres")
# What an image may take, unpacked.
LARGEST_IMAGE = 40_000_000

# An unpacked buildah looks for its settings where they would be installed.
BUILDAH = """\
#!/bin/sh
export CONTAINERS_REGISTRIES_CONF="{place}/etc/containers/registries.conf"
export CONTAINERS_CONF="{place}/usr/share/containers/containers.conf"
command=$1
case $command in
	build | from | push) shift && set -- "$command" --signature-policy "{place}/etc/containers/policy.json" "$@" ;;
esac
exec "{place}/usr/bin/buildah" "$@"
"""


def images(args):
    options = argparse.ArgumentParser(prog="./dev images", description="Builds images with buildah: those named, else every service, agora and load.")
    options.add_argument("names", nargs="*", metavar="NAME", choices=[[], *IMAGES, *STAND_INS], help=", ".join([*IMAGES, *STAND_INS]))
    options.add_argument("--profile", default="image", help="cargo's; of `image`, which is what is released, none may be too large [default: image]")
    options.add_argument("--tag", default="dev", help="[default: dev]")
    options.add_argument("--builder", metavar="IMAGE", help="has Rust and a C compiler [default: this machine's are used]")
    where = options.add_mutually_exclusive_group()
    where.add_argument("--to", type=Path, metavar="FOLDER", help="write them as archives there")
    where.add_argument("--push", metavar="REGISTRY", help="push them to a registry")
    where.add_argument("--as", dest="name", metavar="IMAGE", help="push the one image by this whole name")
    options = options.parse_args(args)
    names = options.names or list(IMAGES)
    if options.name and len(names) != 1:
        fail("--as names a single image", code=2)

    buildah = find_buildah()
    programs = " ".join(IMAGES[name][1] for name in names if name in IMAGES)
    builder = local_builder(buildah) if programs and not options.builder else ["--build-arg", f"BUILDER={options.builder}"]
    too_large = []
    for name in names:
        started = time.monotonic()
        if name in IMAGES:
            image = f"localhost/{IMAGES[name][0]}:{options.tag}"
            # The first one builds what all need.
            wanted = programs if name == names[0] else IMAGES[name][1]
            build_image(buildah, name, image, [*builder, *build_arguments(options.profile, wanted)])
            try_image(buildah, image, IMAGES[name][1])
        else:
            image = f"localhost/{name}:{options.tag}"
            build_stand_in(buildah, name, image)
        size = image_size(buildah, image)
        step(f"{image}: {size / 1e6:.1f} MB, in {time.monotonic() - started:.0f} s")
        # What is built in less time is larger, and not for anybody else.
        if name in IMAGES and size > LARGEST_IMAGE and options.profile == "image":
            too_large.append(image)
        if options.to:
            options.to.mkdir(parents=True, exist_ok=True)
            archive = options.to / f"{image.split('/')[1].split(':')[0]}.tar"
            # buildah would add to one that is there.
            archive.unlink(missing_ok=True)
            run(buildah, "push", "--quiet", image, f"oci-archive:{archive}:{image}")
        elif options.push or options.name:
            push_image(buildah, image, options.name or f"{options.push}/{image.split('/')[1]}")
    if too_large:
        fail(f"larger than {LARGEST_IMAGE / 1e6:.0f} MB: {', '.join(too_large)}")


def find_buildah():
    """The path of buildah: the PATH's, or Debian's, unpacked."""
    path = shutil.which("buildah") or unpack_buildah()
    step(f"buildah {text(version_of(path))}, in {Path(path).parent}")
    return path


def unpack_buildah():
    """Debian's packages of it, told where their libraries and settings are."""
    place = TOOLS / "buildah"
    program = place / "buildah"
    if version_of(program) is not None:
        return str(program)
    otherwise = "install buildah (Debian: apt-get install buildah)"
    # Of a user who is not root it needs programs that have more rights: those must be installed.
    if os.geteuid() != 0 or not can_unpack():
        fail(f"no buildah on the PATH: {otherwise}")
    step("fetching buildah")
    packages = with_libraries(["buildah", "golang-github-containers-common", "golang-github-containers-image"])
    with temporary_folder() as folder:
        root = folder / "root"
        unpack_packages([package for package in [*packages, "patchelf"] if not is_installed(package)], root, otherwise)
        # It starts itself again with an empty environment: only the program can say where its libraries are.
        patchelf = root / "usr" / "bin" / "patchelf"
        libraries = library_path(root).replace(str(root), str(place))
        run(patchelf if patchelf.exists() else "patchelf", "--force-rpath", "--set-rpath", libraries, root / "usr" / "bin" / "buildah")
        shutil.rmtree(place, ignore_errors=True)
        os.replace(root, place)
    program.write_text(BUILDAH.format(place=place))
    program.chmod(0o755)
    if version_of(program) is None:
        fail(f"buildah was fetched but does not run here, a library may be missing: {otherwise}")
    return str(program)


def is_installed(package):
    return "install ok installed" in command_output("dpkg-query", "--show", "--showformat=${Status}", package)


def build_arguments(profile, programs):
    version = re.search(r'^version\s*=\s*"(.+?)"', (ROOT / "Cargo.toml").read_text("utf-8"), re.M)[1]
    revision = git("rev-parse", "HEAD") if shutil.which("git") else ""
    arguments = {"PROFILE": profile, "PROGRAMS": programs, "VERSION": version, "REVISION": revision or "unknown"}
    return [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]


def build_image(buildah, target, image, options, file=ROOT / "deploy" / "docker" / "Dockerfile", context=ROOT):
    """Builds a target of a Dockerfile; what stood under that name before goes."""
    before = image_id(buildah, image)
    # Docker's format, for OCI's has no health check. A chroot needs no engine and no runtime.
    run(buildah, "build", "--isolation", "chroot", "--format", "docker", *options, "--file", file, "--target", target, "--tag", image, context)
    if before and before != image_id(buildah, image):
        # It stays while something else is made from it.
        subprocess.run([buildah, "rmi", before], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def local_builder(buildah):
    """Options that build with this machine's toolchain: an image of mount points, and what is mounted there.

    So nothing needs to be pulled, and nothing of this machine is written into an image: neither how it reaches
    the registry of crates nor whom it trusts.
    """
    check_rust()
    toolchain = subprocess.run(["rustc", "--print", "sysroot"], cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout.strip()
    if not Path("/lib").is_symlink():
        fail("this machine's /lib is not in /usr: name an image with Rust and a C compiler by --builder")
    image = "localhost/agora-builder:local"
    with temporary_folder() as folder:
        root = folder / "root"
        for link in ("bin", "sbin", "lib", "lib32", "lib64"):
            root.mkdir(exist_ok=True)
            if Path("/", link).is_symlink():
                (root / link).symlink_to(f"usr/{link}")
        for name in ("etc", "tmp", "toolchain", "usr"):
            (root / name).mkdir()
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY root /\nENV PATH=/toolchain/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin\n")
        build_image(buildah, "0", image, ["--quiet"], folder / "Dockerfile", folder)
    mounted = {toolchain: "/toolchain", **{path: path for path in ("/usr", "/etc/alternatives", "/etc/ssl")}}
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    for name in ("config.toml", "config"):
        if (home / name).is_file():
            mounted[home / name] = f"/cargo/{name}"
    return ["--build-arg", f"BUILDER={image}", *(word for here, there in mounted.items() for word in ("--volume", f"{here}:{there}:ro"))]


def try_image(buildah, image, program):
    """Has the program of an image say how it is used, there."""
    container = command_output(buildah, "from", image).strip()
    try:
        if not command_output(buildah, "run", "--isolation", "chroot", container, "--", f"/{program}", "--help"):
            fail(f"the program of {image} does not run there")
    finally:
        command_output(buildah, "rm", container)


def build_stand_in(buildah, name, image):
    folder = ROOT / "deploy" / "docker" / "stand-ins"
    with temporary_folder() as context:
        shutil.copytree(folder, context, dirs_exist_ok=True)
        unpack_packages(["busybox-static"], context / "busybox-static")
        shutil.copy(context / "busybox-static" / "bin" / "busybox", context / "busybox")
        if name == "nats":
            shutil.copy(fetch_nats_server(), context / "nats-server")
        else:
            unpack_packages(postgres_packages(), context / "postgres")
            programs = max((context / "postgres" / "usr" / "lib" / "postgresql").iterdir())
            (programs.parent / "bin").symlink_to(f"{programs.name}/bin")
        build_image(buildah, name, image, [], context / "Dockerfile", context)


def postgres_packages():
    """PostgreSQL's packages and the libraries that they need, without what compiles queries: that is large."""
    version = re.search(r"Depends: postgresql-([0-9]+)$", command_output("apt-cache", "depends", "postgresql"), re.M)
    if version is None:
        fail("apt knows no postgresql (apt-get update?)")
    # The C library's programs bring the locale C.UTF-8.
    return with_libraries([f"postgresql-{version[1]}", f"postgresql-client-{version[1]}", "libc-bin", "tzdata"])


def push_image(buildah, image, name):
    # A registry on this machine has no certificate.
    local = re.match(r"(localhost|127\.0\.0\.1)[:/]", name)
    run(buildah, "push", "--quiet", *(["--tls-verify=false"] if local else []), image, f"docker://{name}")
    step(f"pushed {name}")


def image_id(buildah, image):
    return command_output(buildah, "images", "--quiet", "--no-trunc", image).strip()


def image_size(buildah, image):
    """What the image takes unpacked."""
    manifest = json.loads(json.loads(command_output(buildah, "inspect", "--type", "image", image))["Manifest"])
    return sum(layer["size"] for layer in manifest["layers"])
