"""Where everything happens: one durable server, databases copied from templates, PgBouncer."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg

from tidebase_pg import admin
from tidebase_pg.admin.embedded import SUPERUSER, UNPRIVILEGED, Server

HOME: Final = Path(__file__).resolve().parent.parent / ".output" / "benchmarks"

SETTINGS: Final = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "1GB",
    "min_wal_size": "2GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "autovacuum_naptime": "10s",
    "max_connections": "200",
    "jit": "off",
    "log_min_messages": "warning",
    "log_line_prefix": "%n %d ",
}

RAW: Final = """
create table q (
  id bigint generated always as identity primary key,
  state smallint not null default 0,
  run_at timestamptz not null default now(),
  payload jsonb not null,
  leased_until timestamptz
);
create index q_ready on q (id) where state = 0;
create table step (
  run bigint not null,
  name text not null,
  output jsonb,
  primary key (run, name)
);
create table gate (
  run bigint primary key,
  decision text
);
"""
"""The tables of the hand-written SQL: a queue as narrow as it can be, steps, gates."""

Connection = psycopg.Connection[Any]


def connect(dsn: str, *, autocommit: bool = True, prepare: bool = True) -> Connection:
    """Statements are prepared at their first use, unless a pooler would lose them."""
    return psycopg.connect(dsn, autocommit=autocommit, prepare_threshold=0 if prepare else None)


def execute(dsn: str, *statements: str) -> list[Any]:
    """The rows of the last statement."""
    rows: list[Any] = []
    with connect(dsn, prepare=False) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
    return rows


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Stage:
    """A server of its own, gone at the end with everything in it."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self.settings = SETTINGS | dict(settings or {})
        HOME.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="server-", dir=HOME))
        self.port = free_port()
        self.server = Server(self.folder, settings=self.settings, port=self.port)
        self.templates: set[str] = set()
        self.made = 0
        self.ending = ExitStack()

    def __enter__(self) -> Stage:
        self.ending.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.ending.callback(self.server.stop, mode="immediate")
        self.server.start()
        self.template("empty", lambda dsn: None)
        self.template("raw", lambda dsn: execute(dsn, RAW))
        self.template("tide", admin.install)
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.close()

    @property
    def process(self) -> int:
        return int((self.server.data / "postmaster.pid").read_text().split()[0])

    def dsn(self, database: str = "postgres", port: int | None = None) -> str:
        return f"postgresql://{SUPERUSER}@127.0.0.1:{port or self.port}/{database}"

    def template(self, name: str, fill: Callable[[str], object]) -> None:
        """A database to copy, made once."""
        if name not in self.templates:
            execute(self.dsn(), f"create database template_{name}")
            fill(self.dsn(f"template_{name}"))
            self.templates.add(name)

    @contextmanager
    def database(self, template: str, *settings: str) -> Iterator[str]:
        """The DSN of a fresh copy; `settings` such as "commit_delay = 5000" hold in it."""
        self.made += 1
        name = f"{template}_{self.made}"
        execute(
            self.dsn(),
            f"create database {name} template template_{template} strategy file_copy",
            *(f"alter database {name} set {setting}" for setting in settings),
        )
        try:
            # A copy is known by its identity, and would refuse to work for the original's workers.
            # Upkeep, twice a second wherever anybody claims, was last done before it was filled.
            if template.startswith("tide"):
                execute(self.dsn(name), "select tide.adopt()", *["call tide.reconcile()"] * 2)
            yield self.dsn(name)
        finally:
            execute(self.dsn(), f"drop database {name} with (force)")

    def statements(self, dsn: str, since: float, until: float) -> int:
        """How many a database was sent between two times of the day, where all are logged."""
        name = dsn.rpartition("/")[2]
        found = 0
        for line in self.server.log.read_text(errors="replace").splitlines():
            moment, _, rest = line.partition(" ")
            if rest.startswith((f"{name} LOG:  statement:", f"{name} LOG:  execute ")):
                found += since <= float(moment) < until
        return found

    def settle(self, dsn: str) -> None:
        """Nothing left to do for anybody before a measurement begins."""
        execute(dsn, "vacuum analyze", "checkpoint")

    @contextmanager
    def bouncer(self) -> Iterator[int | None]:
        """The port of PgBouncer in transaction mode before the server; None if there is none."""
        program = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if program is None:
            yield None
            return
        port = free_port()
        settings = self.folder / "pgbouncer.ini"
        settings.write_text(
            f"""\
[databases]
* = host=127.0.0.1 port={self.port} user={SUPERUSER}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 200
default_pool_size = 20
server_idle_timeout = 1
"""
        )
        settings.chmod(0o644)
        user = pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None
        process = subprocess.Popen(
            [program, settings],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        )
        assert process.stderr is not None
        up = any("process up" in line for line in process.stderr)
        threading.Thread(target=process.stderr.read, daemon=True).start()
        try:
            yield port if up else None
        finally:
            process.terminate()
            process.wait()
