"""Removes the schema `tide`, and nothing that is not of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row

from tidebase_pg.admin import drift
from tidebase_pg.admin.ledger import refuse_extension
from tidebase_pg.errors import TideError
from tidebase_pg.version import check_version

SETTINGS: Final = """\
set local lock_timeout = '5s';
set local statement_timeout = 0;
set local search_path = pg_catalog, pg_temp;
"""

# Whoever enqueues meanwhile waits, and then finds no function.
GUARD: Final = """\
lock table tide.runs in access exclusive mode;
do $tide$
declare
  v_active bigint := (select count(*) from tide.runs_active);
begin
  if v_active > 0 then
    raise exception '% runs are active; nothing was removed', v_active
      using hint = 'Let them end or cancel them; or give --abandon-active-runs.';
  end if;
end;
$tide$;
"""

AFTERWARDS: Final = """\
-- The roles belong to the whole server and other databases may use them, so they stay. Where none
-- does: drop role if exists {roles};
"""

# A view depends through its rule: the view is named.
DEPENDENTS: Final = """
with ours as (
  select 'pg_class'::regclass as classid, c.oid as objid
  from pg_class as c
  where c.relnamespace = 'tide'::regnamespace
  union all
  select 'pg_proc'::regclass, p.oid
  from pg_proc as p
  where p.pronamespace = 'tide'::regnamespace
  union all
  select 'pg_type'::regclass, t.oid
  from pg_type as t
  where t.typnamespace = 'tide'::regnamespace
  union all
  select 'pg_constraint'::regclass, c.oid
  from pg_constraint as c
  where c.connamespace = 'tide'::regnamespace
  union all
  select 'pg_trigger'::regclass, t.oid
  from pg_trigger as t
  join pg_class as c on c.oid = t.tgrelid
  where c.relnamespace = 'tide'::regnamespace
  union all
  select 'pg_attrdef'::regclass, d.oid
  from pg_attrdef as d
  join pg_class as c on c.oid = d.adrelid
  where c.relnamespace = 'tide'::regnamespace
  union all
  select 'pg_rewrite'::regclass, r.oid
  from pg_rewrite as r
  join pg_class as c on c.oid = r.ev_class
  where c.relnamespace = 'tide'::regnamespace
)
select distinct coalesce(
  (
    select pg_describe_object('pg_class'::regclass, r.ev_class, 0)
    from pg_rewrite as r
    where d.classid = 'pg_rewrite'::regclass
      and r.oid = d.objid
  ),
  pg_describe_object(d.classid, d.objid, d.objsubid)
) as name
from pg_depend as d
join ours as o on o.classid = d.refclassid and o.objid = d.refobjid
where d.deptype in ('n', 'a')
  and not exists (
    select
    from ours as u
    where u.classid = d.classid
      and u.objid = d.objid
  )
order by 1
"""


@dataclass(frozen=True, slots=True)
class Removal:
    """What stands in the schema, and what stands in the way."""

    statements: tuple[str, ...]
    dependents: tuple[str, ...]
    strangers: tuple[str, ...]
    active_runs: int
    roles: tuple[str, ...]

    def text(self, *, abandon_active_runs: bool = False) -> str:
        """What psql runs for the same result as `remove`."""
        return f"\\set ON_ERROR_STOP on\nbegin;\n{self._body(abandon_active_runs)}commit;\n" + (
            AFTERWARDS.format(roles=", ".join(self.roles))
        )

    def _body(self, abandon_active_runs: bool) -> str:
        guard = "" if abandon_active_runs else GUARD
        return SETTINGS + guard + "".join(f"{statement}\n" for statement in self.statements)

    def refuse(self, *, abandon_active_runs: bool = False) -> None:
        """Raises TideError for everything in the way at once."""
        reasons: list[str] = []
        if self.dependents:
            reasons.append(
                f"these use the schema tide, drop or change them first: {_listed(self.dependents)}"
            )
        if self.strangers:
            reasons.append(
                "these are in the schema tide and not of this release, move them out first: "
                + _listed(self.strangers)
            )
        if self.active_runs and not abandon_active_runs:
            reasons.append(
                f"{self.active_runs} runs are active: let them end or cancel them, "
                "or give --abandon-active-runs"
            )
        if reasons:
            raise TideError("; ".join(reasons))

    def run(self, connection: psycopg.Connection[Any], *, abandon_active_runs: bool) -> None:
        """All of it in the caller's transaction."""
        connection.execute(self._body(abandon_active_runs).encode())


def look(dsn: str) -> Removal:
    """What would be removed; changes nothing."""
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as connection:
        connection.execute("begin isolation level repeatable read read only")
        return _look(connection)


def remove(dsn: str, *, abandon_active_runs: bool = False) -> Removal:
    """Remove the schema in one transaction, or raise TideError and leave everything."""
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as connection:
        with connection.transaction():
            found = _look(connection)
            found.refuse(abandon_active_runs=abandon_active_runs)
            found.run(connection, abandon_active_runs=abandon_active_runs)
    return found


def _look(connection: psycopg.Connection[Any]) -> Removal:
    there = connection.execute("select to_regnamespace('tide') is not null").fetchone()
    if there is None or not there[0]:
        check_version(None)
    refuse_extension(connection, "drop extension tidebase")
    with connection.cursor(row_factory=tuple_row) as cursor:
        found = drift.describe(cursor)
        roles = drift.roles(drift.role_prefix(cursor))
    wanted = drift.manifest()
    active = connection.execute("select count(*) from tide.runs_active").fetchone()
    return Removal(
        statements=tuple(_drops(found, wanted)),
        dependents=tuple(str(name) for (name,) in connection.execute(DEPENDENTS)),
        strangers=tuple(sorted(_strangers(found, wanted))),
        active_runs=0 if active is None else int(active[0]),
        roles=roles,
    )


def _strangers(found: drift.Catalogue, wanted: drift.Catalogue) -> Iterable[str]:
    """What somebody put into the schema, and would not expect to lose with it."""
    for name, facts in found["relations"].items():
        if name not in wanted["relations"]:
            yield f"{facts['kind']} tide.{name}"
    for name in found["functions"].keys() - wanted["functions"].keys():
        yield f"function {name}"
    for name in found["triggers"].keys() - wanted["triggers"].keys():
        yield f"trigger {name}"


def _drops(found: drift.Catalogue, wanted: drift.Catalogue) -> Iterable[str]:
    """Without cascade, so that Postgres refuses what was overlooked."""

    def of(kind: str) -> list[str]:
        return [
            f"tide.{name}"
            for name, facts in found["relations"].items()
            if facts["kind"] == kind and name in wanted["relations"]
        ]

    def drop(kind: str, names: Iterable[str]) -> Iterable[str]:
        if listed := ",\n  ".join(names):
            yield f"drop {kind}\n  {listed};"

    tables = of("table")
    made_of_rows = {
        name
        for name in of("type")
        if any(
            column["type"].removesuffix("[]") in tables
            for column in found["relations"][name.removeprefix("tide.")]["columns"].values()
        )
    }
    yield from drop("view", of("view"))
    for name, facts in found["triggers"].items():
        if name in wanted["triggers"]:
            yield f"drop trigger {facts['name']} on {facts['table']};"
    yield from drop("routine", [n for n in found["functions"] if n in wanted["functions"]])
    yield from drop("type", sorted(made_of_rows))
    yield from drop("table", tables)
    yield from drop("type", sorted(set(of("type")) - made_of_rows))
    yield "drop schema tide;"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
