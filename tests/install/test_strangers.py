"""The installer trusts nothing that was there before it and is not its own."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.servers import Absent, RunningServer
from tests.support import Connection, value
from tidebase_pg import Run, Tidebase, admin
from tidebase_pg.errors import SchemaError

MakeRole = Callable[[str], str]


@pytest.fixture
def make_role(database: Connection) -> Iterator[MakeRole]:
    """make_role("login") -> the name of a role of this test."""
    made: list[str] = []

    def make(options: str) -> str:
        name = f"{database.info.dbname}_role_{len(made)}"
        database.execute(f"create role {name} {options}".encode())
        made.append(name)
        return name

    yield make
    for name in made:
        database.execute(f"drop owned by {name} cascade".encode())
        database.execute(f"drop role {name}".encode())


@contextmanager
def altered(database: Connection, role: str, there: str, back: str) -> Iterator[None]:
    """A group role, which belongs to the whole server, otherwise for a while."""
    database.execute(f"alter role {role} {there}".encode())
    try:
        yield
    finally:
        database.execute(f"alter role {role} {back}".encode())


def test_a_schema_somebody_else_made_is_refused(
    empty_dsn: str, database: Connection, make_role: MakeRole
) -> None:
    """Its owner could put functions of his own in place of those the installer's call."""
    role = make_role("nologin")
    database.execute(f"create schema tide authorization {role}".encode())
    with pytest.raises(SchemaError, match=f"was made by {role} before.*drop schema tide;"):
        admin.install(empty_dsn)
    assert (
        value(database, "select count(*) from pg_class where relnamespace = 'tide'::regnamespace")
        == 0
    )
    with pytest.raises(psycopg.Error, match="was made by another role before"):
        text = admin.render(admin.current()).replace("\\set ON_ERROR_STOP on", "")
        database.execute(text.encode())
    database.execute("rollback")
    database.execute("drop schema tide")
    admin.install(empty_dsn)


def test_a_schema_in_which_others_make_things_is_refused(
    empty_dsn: str, database: Connection, make_role: MakeRole
) -> None:
    role = make_role("nologin")
    database.execute(f"create schema tide; grant create on schema tide to {role}".encode())
    remedy = f"revoke create on schema tide from {role};"
    with pytest.raises(SchemaError, match=remedy):
        admin.install(empty_dsn)
    with pytest.raises(psycopg.Error, match="others may make things in the schema tide"):
        text = admin.render(admin.current()).replace("\\set ON_ERROR_STOP on", "")
        database.execute(text.encode())
    database.execute("rollback")
    database.execute(remedy.encode())
    admin.install(empty_dsn)


def test_an_upgrade_refuses_a_schema_in_which_others_make_things(
    empty_dsn: str, database: Connection, make_role: MakeRole
) -> None:
    """A function made there, whose arguments fit better, would be called instead."""
    admin.install(empty_dsn)
    role = make_role("nologin")
    database.execute(f"grant create on schema tide to {role}; delete from tide.installs".encode())
    remedy = f"revoke create on schema tide from {role};"
    with pytest.raises(SchemaError, match=remedy):
        admin.install(empty_dsn)
    database.execute(remedy.encode())
    admin.install(empty_dsn)


def test_an_upgrade_refuses_a_schema_that_changed_hands(
    empty_dsn: str, database: Connection, make_role: MakeRole
) -> None:
    admin.install(empty_dsn)
    role = make_role("nologin")
    database.execute(f"alter schema tide owner to {role}".encode())
    database.execute("delete from tide.installs")
    with pytest.raises(SchemaError, match=f"the schema tide belongs to {role}, its ledger to"):
        admin.install(empty_dsn)
    database.execute("alter schema tide owner to current_user")
    admin.install(empty_dsn)


@pytest.mark.parametrize(("there", "back"), [("login", "nologin"), ("createrole", "nocreaterole")])
def test_a_group_role_that_may_log_in_or_has_powers_is_refused(
    empty_dsn: str, dsn: str, database: Connection, there: str, back: str
) -> None:
    with altered(database, "tide_operator", there, back):
        with pytest.raises(
            SchemaError, match=r"role tide_operator.*alter role tide_operator nologin"
        ):
            admin.install(empty_dsn)
        assert value(database, "select to_regnamespace('tide') is null")


def test_members_who_were_there_before_are_named(
    empty_dsn: str, dsn: str, database: Connection, make_role: MakeRole
) -> None:
    """Group roles belong to the server: who is in one may use each database he may connect to."""
    role = make_role("login")
    database.execute(f"grant tide_operator to {role}".encode())
    (told,) = [line for line in admin.install(empty_dsn).notices if "group roles" in line]
    assert f"{role} is in tide_operator" in told


def test_what_default_privileges_gave_is_taken_back(
    empty_dsn: str, database: Connection, make_role: MakeRole
) -> None:
    role = make_role("login")
    for what in ("all on schemas", "all on tables", "all on sequences", "execute on functions",
                 "usage on types"):  # fmt: skip
        database.execute(f"alter default privileges grant {what} to {role}".encode())
    try:
        notices = admin.install(empty_dsn).notices
        assert any(f"default privileges give {role} rights" in line for line in notices)
        rights = """
        select count(*)
        from (
          select x.grantee
          from pg_class as c
          cross join lateral aclexplode(c.relacl) as x
          where c.relnamespace = 'tide'::regnamespace
          union all
          select x.grantee
          from pg_proc as p
          cross join lateral aclexplode(p.proacl) as x
          where p.pronamespace = 'tide'::regnamespace
          union all
          select x.grantee
          from pg_type as t
          cross join lateral aclexplode(t.typacl) as x
          where t.typnamespace = 'tide'::regnamespace
          union all
          select x.grantee
          from pg_namespace as n
          cross join lateral aclexplode(n.nspacl) as x
          where n.nspname = 'tide'
        ) as g
        where g.grantee = %s::regrole
        """
        assert value(database, rights, role) == 0
        admin.install(empty_dsn)
    finally:
        database.execute(f"drop owned by {role}".encode())


def test_a_grant_on_a_view_survives_an_upgrade(
    empty_dsn: str, database: Connection, make_role: MakeRole
) -> None:
    admin.install(empty_dsn)
    role = make_role("login")
    database.execute(f"grant select on tide.run_payloads to {role}".encode())
    database.execute("delete from tide.installs")
    admin.install(empty_dsn)
    assert value(database, "select has_table_privilege(%s, 'tide.run_payloads', 'select')", role)


def test_without_the_roles_the_owner_of_the_schema_does_everything(
    empty_dsn: str, database: Connection, make_role: MakeRole
) -> None:
    """Where the installer may make no role, it says so and goes on."""
    owner = make_role("login")
    database.execute(f"grant create on database {database.info.dbname} to {owner}".encode())
    dsn, prefix = make_conninfo(empty_dsn, user=owner), f"{owner}_"
    told = admin.install(dsn, role_prefix=prefix).notices
    assert any(f"role {prefix}client does not exist" in notice for notice in told)
    assert not value(database, "select exists (select from pg_roles where rolname ^@ %s)", prefix)
    with Tidebase(dsn) as tide:

        @tide.workflow("w")
        def w(run: Run, given: Any) -> Any:
            return [run.step("a", lambda: 1), run.gate("ok", "?", assignees=["ann"]).actor]

        run_id = tide.enqueue(w).run_id
        tide.queues.configure("default", concurrency=1)
        tide.schedules.set("daily", cron="@daily", workflow_name=w)
        tide.keys.create("mine", "operator")
        tide.work(drain=True)
        (gate,) = tide.gates.pending()
        tide.gates.decide(gate.gate_id, "approved", "ann")
        tide.work(drain=True)
        assert tide.runs.get(run_id).result == [1, "ann"]
        tide.prune(older_than=0)
    admin.install(dsn, upgrade=True)


def test_nothing_that_is_installed_drops_or_alters_a_role() -> None:
    release = admin.current()
    for script in (release.header, *release.migrations, *release.repeatables):
        assert not re.search(r"(?i)\b(drop|alter)\s+(role|user|group)\b", script.body), script.name


# --- dumps ----------------------------------------------------------------------------------


@pytest.fixture
def shell(dsn: str, direct_dsn: str, empty_dsn: str, server: RunningServer) -> str:
    """A database made from pg_dump -s, as schema files of applications are: no row at all."""
    try:
        dump, psql = server.program("pg_dump"), server.program("psql")
    except Absent as absent:
        pytest.skip(str(absent))
    text = subprocess.run([dump, "-s", direct_dsn], capture_output=True, text=True, check=True)
    subprocess.run(
        [psql, "-Xq", "-v", "ON_ERROR_STOP=1", empty_dsn],
        input=text.stdout, text=True, check=True, capture_output=True,
    )  # fmt: skip
    return empty_dsn


def test_a_dump_without_data_is_completed(shell: str) -> None:
    admin.install(shell)
    assert admin.status(shell).current
    with Tidebase(shell) as tide:
        tide.workflow("w", queue="q")(lambda run, given: 1)
        run_id = tide.enqueue("w", queue="q").run_id
        tide.work(drain=True)
        assert tide.runs.get(run_id).status == "completed"


def test_a_dump_without_its_ledger_is_not_touched(shell: str, database: Connection) -> None:
    database.execute("insert into tide.queues (queue) values ('q')")
    with pytest.raises(SchemaError, match=r"has rows in tide\.queues.*tide\.migrations"):
        admin.install(shell)
    assert value(database, "select count(*) from tide.queues") == 1


def test_what_was_built_on_an_empty_schema_is_not_dropped(shell: str, database: Connection) -> None:
    database.execute("create view mine as select * from tide.queue_stats")
    with pytest.raises(SchemaError, match="was built on it"):
        admin.install(shell)
    assert value(database, "select count(*) from mine") == 0


def test_data_of_a_dump_goes_into_a_dump_without_data(
    shell: str, direct_dsn: str, database: Connection, server: RunningServer
) -> None:
    with Tidebase(direct_dsn) as tide:
        run_id = tide.enqueue("w").run_id
    data = subprocess.run(
        [server.program("pg_dump"), "-a", direct_dsn], capture_output=True, text=True, check=True
    )
    subprocess.run(
        [server.program("psql"), "-Xq", "-v", "ON_ERROR_STOP=1", shell],
        input=data.stdout, text=True, check=True, capture_output=True,
    )  # fmt: skip
    assert admin.status(shell).current
    assert value(database, "select status from tide.get_run(%s)", run_id) == "queued"
