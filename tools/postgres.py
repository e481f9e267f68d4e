"""PostgreSQL for the tests: its programs, and a server of a run's own."""

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from tools.fetching import can_unpack, library_path, unpack_to
from tools.running import TOOLS, command_output, fail, step, version_of

OLDEST_POSTGRES = 15
# Where Debian's is unpacked.
PLACE = TOOLS / "postgresql"


def find_postgres():
    """The folder of PostgreSQL's programs: the named one, one that is installed, or an unpacked one."""
    named = os.environ.get("AGORA_POSTGRES_BIN")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int_or_0(path.parent.name), reverse=True)
    unpacked = sorted(PLACE.glob("usr/lib/postgresql/*/bin"))
    beside = shutil.which("postgres")
    candidates = [named] if named else [*installed, *([Path(beside).resolve().parent] if beside else []), *unpacked]
    for folder in map(Path, candidates):
        version = postgres_version(folder)
        if version >= OLDEST_POSTGRES:
            step(f"PostgreSQL {version}, in {folder}")
            return folder
    if named:
        fail(f"AGORA_POSTGRES_BIN={named} does not hold PostgreSQL {OLDEST_POSTGRES} or newer")
    return unpack_postgres()


def postgres_version(folder):
    if not all((folder / f"{name}").exists() for name in ("postgres", "initdb", "pg_ctl")):
        return 0
    return (version_of(folder / "postgres") or (0,))[0]


def unpack_postgres():
    """Debian's package, unpacked beside the project: nothing is installed, and no server starts."""
    otherwise = f"install PostgreSQL {OLDEST_POSTGRES} or newer, or name the folder of its programs in AGORA_POSTGRES_BIN"
    if not can_unpack():
        fail(f"no PostgreSQL of {OLDEST_POSTGRES} or newer: {otherwise}")
    found = re.search(r"Depends: (postgresql-([0-9]+))$", command_output("apt-cache", "depends", "postgresql"), re.M)
    if found is None or int(found[2]) < OLDEST_POSTGRES:
        fail(f"apt knows no PostgreSQL of {OLDEST_POSTGRES} or newer (apt-get update?): {otherwise}")
    step(f"fetching {found[1]}")
    unpack_to(PLACE, [found[1], f"postgresql-client-{found[2]}", "libpq5"], otherwise)
    programs = PLACE / "usr" / "lib" / "postgresql" / found[2] / "bin"
    if postgres_version(programs) < OLDEST_POSTGRES:
        fail(f"{found[1]} was fetched but does not run here, a library may be missing: {otherwise}")
    step(f"PostgreSQL {found[2]}, in {programs}")
    return programs


def int_or_0(text):
    return int(text) if text.isdigit() else 0


class Postgres:
    """A PostgreSQL of this run's own, in a temporary folder and on a free port."""

    def __init__(self, programs):
        self.programs = programs

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="agora-postgres-"))
        self.user = postgres_user()
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        if self.user is not None:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        self.folder.chmod(0o755)
        template = self.folder / "template"
        self.run("initdb", "--pgdata", template, *"--username agora --auth trust --encoding UTF8 --locale C --no-sync".split())
        data = self.folder / "data"
        subprocess.run(["cp", "-a", template, data], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # What is in it is thrown away: nothing needs to survive a crash of the machine.
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=500 -c fsync=off"
        self.run("pg_ctl", "start", "-w", "-s", "-D", data, "-l", self.folder / "log", "-o", options)
        step(f"PostgreSQL for the tests on port {self.port}")

    def run(self, program, *args):
        as_user = {} if self.user is None else {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        command = [self.programs / f"{program}", *args]
        # Its output goes into a file: a server that it starts would keep a pipe open.
        with open(self.folder / "setup.log", "a+") as log:
            environment = {**os.environ, **postgres_environment(self.programs)}
            result = subprocess.run(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, **as_user)
            if result.returncode != 0:
                log.seek(0)
                fail(f"{program} failed:\n{log.read()}")

    def environment(self):
        return {
            **postgres_environment(self.programs),
            "AGORA_TEST_POSTGRES": f"postgres://agora@127.0.0.1:{self.port}/postgres",
            "AGORA_POSTGRES_BIN": str(self.programs),
            "AGORA_POSTGRES_TEMPLATE": str(self.folder / "template"),
        }

    def __exit__(self, *_):
        if (self.folder / "data" / "postmaster.pid").exists():
            self.run("pg_ctl", "stop", "-s", "-m", "immediate", "-D", self.folder / "data")
        shutil.rmtree(self.folder, ignore_errors=True)


def postgres_user():
    """Whom the server runs as: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    fail("PostgreSQL does not run as root, and there is no user named postgres or nobody: run ./dev as another user")


def postgres_environment(programs):
    """An unpacked server finds its libraries beside it."""
    if not programs.is_relative_to(TOOLS):
        return {}
    return {"LD_LIBRARY_PATH": os.pathsep.join(filter(None, [library_path(PLACE), os.environ.get("LD_LIBRARY_PATH")]))}
