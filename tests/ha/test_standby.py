"""A primary that dies for ever, and its standby: what each way to follow it keeps of what was
answered, for a producer and a worker whose DSN names both."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.ha.business import Business
from tests.servers import SETTINGS, OwnServer, binaries_of, free_port, scratch
from tests.support import open_connection, value
from tidebase_pg import admin
from tidebase_pg.admin.embedded import Server

MAJOR = os.environ.get("TIDE_TEST_POSTGRES", "18")
PATIENCE = 60.0


@dataclass(frozen=True)
class Pair:
    """A primary with the schema, and a standby that follows it."""

    primary: Server
    standby: Server

    @property
    def dsn(self) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in (self.primary, self.standby))
        wanted = "target_session_attrs=read-write&connect_timeout=3"
        return f"postgresql://postgres@{hosts}/postgres?{wanted}"

    def follow(self, state: str) -> None:
        """Wait until the standby has all and follows as `state` says: sync or async."""
        self.until(
            "select exists (select from pg_stat_replication as r where r.sync_state = %s "
            "and r.replay_lsn = pg_current_wal_lsn())",
            state,
        )

    def synchronise(self) -> None:
        """From now on what the primary answers is at the standby."""
        with open_connection(self.primary.dsn()) as connection:
            connection.execute("alter system set synchronous_standby_names = 'standby'")
            connection.execute("select pg_reload_conf()")
        self.follow("sync")

    def until(self, query: str, *arguments: str) -> None:
        give_up_at = time.monotonic() + PATIENCE
        with open_connection(self.primary.dsn()) as connection:
            while not value(connection, query, *arguments):
                assert time.monotonic() < give_up_at, query
                time.sleep(0.02)

    def stop_receiving(self) -> int:
        """From now on the standby hears nothing; the process that would hear it."""
        with open_connection(self.standby.dsn()) as connection:
            receiver: int = value(connection, "select pid from pg_stat_wal_receiver")
        os.kill(receiver, signal.SIGSTOP)
        return receiver

    def fail_over(self, receiver: int | None = None) -> None:
        """The machine of the primary is lost, and the standby takes its place."""
        postmaster = int((self.primary.data / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        give_up_at = time.monotonic() + PATIENCE
        while self.primary.running:
            assert time.monotonic() < give_up_at
        if receiver is not None:
            # It has read nothing since: what the line holds goes with it.
            os.kill(receiver, signal.SIGTERM)
            os.kill(receiver, signal.SIGCONT)
        with open_connection(self.standby.dsn()) as connection:
            assert value(connection, "select pg_promote()")


@pytest.fixture
def pair() -> Iterator[Pair]:
    """The standby follows asynchronously."""
    folder = Path(tempfile.mkdtemp(prefix="tide-standby-", dir=scratch()))
    folder.chmod(0o711)  # for the user as whom a server runs
    primary = OwnServer(folder / "primary", MAJOR).server
    line = f"host=127.0.0.1 port={primary.port} user=postgres application_name=standby"
    standby = Server(
        folder / "standby", binaries_folder=binaries_of(MAJOR),
        settings={**SETTINGS, "primary_conninfo": line}, port=free_port(),
    )  # fmt: skip
    try:
        admin.install(primary.start())
        primary.stop()
        shutil.copytree(primary.data, standby.data)
        if (owner := primary.data.stat().st_uid) != os.geteuid():
            for path in (standby.folder, standby.data, *standby.data.rglob("*")):
                os.chown(path, owner, primary.data.stat().st_gid)
        (standby.data / "standby.signal").touch()
        primary.start()
        standby.start()
        made = Pair(primary, standby)
        made.follow("async")
        yield made
    finally:
        for server in (primary, standby):
            if server.running:
                server.stop(mode="immediate")
        shutil.rmtree(folder, ignore_errors=True)


def test_a_failover_to_a_synchronous_standby_loses_nothing_that_was_answered(pair: Pair) -> None:
    pair.synchronise()
    with Business(pair.dsn) as business:
        business.goes_on()
        pair.fail_over()
        assert business.asks_again() == 0
        business.goes_on()
        business.kept_its_promises()


def test_what_a_failover_to_an_asynchronous_standby_lost_ends_once_when_sent_again(
    pair: Pair,
) -> None:
    with Business(pair.dsn) as business:
        business.goes_on()
        pair.follow("async")
        before = len(business.accepted)
        receiver = pair.stop_receiving()
        business.goes_on()
        pair.fail_over(receiver)
        lost = business.asks_again()
        assert 50 <= lost <= len(business.accepted) - before + 1
        business.goes_on()
        business.kept_its_promises(lost=lost)


def test_the_dsn_of_both_finds_the_primary_before_and_after(pair: Pair) -> None:
    with psycopg.connect(pair.dsn) as connection:
        assert connection.info.port == pair.primary.port
    pair.fail_over()
    with psycopg.connect(pair.dsn) as connection:
        assert connection.info.port == pair.standby.port
