"""Real servers for the tests: Postgres of a chosen major version, and PgBouncer before it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tidebase_pg.admin.embedded import UNPRIVILEGED, Server, binaries

ROOT = Path(__file__).parent.parent
PGBOUNCER = Path("/usr/sbin/pgbouncer")

# Durable settings cost time and prove nothing here; tests of crashes stop the server in their way.
# All buffers are looked through whenever a database is made or dropped.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "max_wal_size": "2GB",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
}


class Absent(Exception):
    """What was asked for is not on this machine."""


def binaries_of(major: str) -> Path:
    """Where initdb and its like of a major version are."""
    if major == "18":
        return binaries()
    debian = Path(f"/usr/lib/postgresql/{major}/bin")
    if (debian / "initdb").exists():
        return debian
    for unpacked in (ROOT / ".postgres" / major).glob("*/postgresql-*/bin"):
        return unpacked
    raise Absent(f"no PostgreSQL {major} here; run: make postgres-{major}")


def scratch() -> str | None:
    """Where data nobody keeps is made: in memory if there is plenty, else the default."""
    memory = Path("/dev/shm")
    if memory.is_dir() and shutil.disk_usage(memory).free > 8 * 2**30:
        return str(memory)
    return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class RunningServer:
    """A server the tests may fill; the names of the fields are those pytest-postgresql reads."""

    host: str
    port: int
    user: str
    password: str | None = None
    binaries: Path | None = None
    options: str = ""
    maintenance_dbname: str = "postgres"
    template_dbname: str | None = None

    def dsn(self, database: str | None = None) -> str:
        password = f":{quote(self.password)}" if self.password else ""
        return (
            f"postgresql://{quote(self.user)}{password}@/{database or self.maintenance_dbname}"
            f"?host={quote(self.host, safe='/')}&port={self.port}"
        )

    def program(self, name: str) -> Path:
        """psql, pg_dump and their like, of the server's version."""
        if self.binaries is None or not (self.binaries / name).exists():
            raise Absent(f"no {name} beside the server")
        return self.binaries / name


def join(dsn: str) -> RunningServer:
    """A server somebody else runs; the tests make and drop databases of their own in it."""
    with psycopg.connect(dsn) as connection:
        info = connection.info
        given = conninfo_to_dict(dsn)
        return RunningServer(
            host=info.host,
            port=info.port,
            user=info.user,
            password=info.password or None,
            maintenance_dbname=str(given.get("dbname") or info.dbname),
        )


class OwnServer:
    """A server of the tests' own in a folder that the caller removes."""

    def __init__(self, folder: Path, major: str) -> None:
        locale = os.environ.get("TIDE_TEST_LOCALE")
        self.server = Server(
            folder,
            binaries_folder=binaries_of(major),
            settings=SETTINGS,
            port=free_port(),
            initdb_options=[f"--icu-locale={locale}", "--locale-provider=icu"] if locale else [],
        )

    def start(self) -> RunningServer:
        self.server.start()
        assert self.server.port is not None
        return RunningServer(
            host=str(self.server.socket_folder),
            port=self.server.port,
            user="postgres",
            binaries=self.server.binaries,
        )

    def stop(self) -> None:
        self.server.stop(mode="immediate")


class Bouncer:
    """PgBouncer in transaction mode before a server: no session outlives its transaction."""

    def __init__(self, folder: Path, server: RunningServer) -> None:
        if not PGBOUNCER.exists():
            raise Absent("no PgBouncer here; on Debian: apt-get install pgbouncer")
        self.settings = folder / "pgbouncer.ini"
        self.server = server
        self.port = free_port()
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> RunningServer:
        self.settings.write_text(self._ini())
        self.settings.parent.chmod(0o755)
        user = pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None
        self.process = subprocess.Popen(
            [PGBOUNCER, self.settings],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        )
        assert self.process.stderr is not None
        said: list[str] = []
        for line in self.process.stderr:
            said.append(line)
            if "process up" in line:
                break
        else:
            raise RuntimeError("PgBouncer did not start: " + "".join(said))
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        return RunningServer("127.0.0.1", self.port, self.server.user)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()

    def _ini(self) -> str:
        password = f" password={self.server.password}" if self.server.password else ""
        return f"""\
[databases]
* = host={self.server.host} port={self.server.port} user={self.server.user}{password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 500
default_pool_size = 20
log_connections = 0
log_disconnections = 0
log_stats = 0
"""
