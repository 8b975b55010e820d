"""A database that goes to the next test is as new; one that is not is dropped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from uuid import UUID

import psycopg
import pytest
from psycopg.types.string import TextLoader

from tests.copies import Copies, Copy
from tests.servers import RunningServer
from tests.support import Connection, Databases, contents, open_connection, value

TRACES = (
    "select tide.complete(r.run_id, r.lease_id) from tide.enqueue('w') as e, tide.claim() as r",
    "select tide.set_queue('q', '{\"concurrency\": 3}'); call tide.reconcile()",
    "select tide.pause('for a test')",
    "set timezone = 'Asia/Tokyo'; listen tide_runs",
    "begin; select tide.enqueue('w'); create table public.given_up (number integer)",
    "select pg_advisory_lock(1)",
)

CHANGES = (
    "create or replace function tide._now() returns timestamptz language sql as 'select now()'",
    "create table public.orders (number integer)",
    "create temporary table orders (number integer)",
    "drop function tide._now() cascade",
    "comment on table tide.runs is 'changed'",
    "grant select on tide.runs to public",
    "alter table tide.runs_active disable trigger user",
    "alter table tide.queues set (autovacuum_enabled = off)",
    "alter table tide.queues alter column queue set statistics 7",
    "do $$ begin execute format('alter database %I set jit = off', current_database()); end $$",
    "select tide.enqueue('w'); analyze tide.runs_active",
    "vacuum tide.settings",
    "select nextval('tide.installs_install_id_seq')",
    "select pg_terminate_backend(pg_backend_pid())",
)


@pytest.fixture
def copy(databases: Databases, template: str, server: RunningServer) -> Iterator[Copy]:
    made = Copies(databases, template, server)
    with made.copy(clock=False) as copy:
        yield copy
    made.close()


def settings(connection: Connection) -> list[tuple[str, str]]:
    query = "select name, setting from pg_settings where name not like 'plpgsql.%' order by name"
    return connection.execute(query.encode()).fetchall()


@pytest.mark.parametrize("trace", TRACES)
def test_rows_and_settings_of_a_test_are_gone_for_the_next(
    copy: Copy, server: RunningServer, trace: str
) -> None:
    lent = copy.lend()
    pid, set_before, before = lent.info.backend_pid, settings(lent), contents(lent)
    for statement in trace.split("; "):
        lent.execute(statement.encode())
    lent.adapters.register_loader("uuid", TextLoader)
    with open_connection(server.dsn(copy.name), autocommit=False) as forgotten:
        forgotten.execute("select count(*) from tide.queues")
        assert copy.renew()
        with pytest.raises(psycopg.OperationalError):
            forgotten.execute("select 1")

    lent = copy.lend()
    assert value(lent, "select pg_backend_pid()") == pid
    assert settings(lent) == set_before
    assert value(lent, "select count(*) from pg_listening_channels()") == 0
    assert value(lent, "select count(*) from pg_locks where locktype = 'advisory'") == 0
    assert isinstance(value(lent, "select tide._uuid7()"), UUID)
    assert contents(lent) == before


@pytest.mark.parametrize("change", CHANGES)
def test_a_database_in_which_more_has_changed_than_rows_is_dropped(copy: Copy, change: str) -> None:
    lent = copy.lend()
    assert copy.renew()
    with suppress(psycopg.OperationalError):
        lent.execute(change.encode())
    assert not copy.renew(), change
