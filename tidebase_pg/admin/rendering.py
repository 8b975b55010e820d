"""The text that psql runs for the same result as an installation. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tidebase_pg.admin.releases import (
    BLOCKING,
    FUNCTIONS,
    Release,
    Script,
    State,
    batches,
    installs,
    outside,
    plan,
    refuse_newer,
)
from tidebase_pg.admin.sql_text import array, literal, tokens

OLDEST_SERVER: Final = 15


WAIT: Final = 60.0
"""Seconds to try for locks that others hold."""


BEGIN: Final = "begin isolation level read committed read write;"


# What a role or a database may have set otherwise, and what scripts rely on.
SETTINGS: Final = """\
set local lock_timeout = '1s';
set local statement_timeout = 0;
set local idle_in_transaction_session_timeout = 0;
set local check_function_bodies = off;
set local client_min_messages = warning;
set local standard_conforming_strings = on;
set local search_path = pg_catalog, pg_temp;
set local tide.role_prefix = {role_prefix};
"""


# How long a script takes is measured by the server, so that printed text measures it too.
BEGAN: Final = """\
do $tide$
begin
  perform set_config('tide.began', extract(epoch from clock_timestamp())::text, {local});
end;
$tide$;
"""


# Locks that stop others are had within half a second, over all tables and partitions, or given
# back: before any deadlock with an application is noticed (1 s), so it is the installer that gives
# way. Partitions first, as workers do: they touch the active runs, then look at all.
LOCK_TABLES: Final = """\
do $tide$
declare
  v_give_up constant timestamptz := clock_timestamp() + make_interval(secs => {wait});
  v_until timestamptz;
  v_lock record;
begin
  loop
    begin
      v_until := clock_timestamp() + interval '500 milliseconds';
      for v_lock in
        select
          coalesce(p.relid, c.oid::regclass) as relation,
          n.mode
        from unnest({tables}, {modes}) with ordinality as n(name, mode, place)
        join pg_class as c on c.relname = n.name and c.relnamespace = to_regnamespace('tide')
        left join lateral pg_partition_tree(c.oid) as p on true
        order by n.place, p.level desc, p.relid::text
      loop
        perform set_config(
          'lock_timeout',
          greatest(1, ceil(1000 * extract(epoch from v_until - clock_timestamp())))::text,
          true
        );
        execute format('lock table only %s in %s mode', v_lock.relation, v_lock.mode);
      end loop;
      exit;
    exception
      when lock_not_available or deadlock_detected then
        if clock_timestamp() >= v_give_up then
          raise;
        end if;
    end;
    perform pg_sleep(0.05 + 0.2 * random());
  end loop;
  perform set_config('lock_timeout', '1s', true);
end;
$tide$;
"""


# A build that failed leaves an invalid index, which `if not exists` would step over.
INVALID_INDEXES: Final = """\
select format('drop index concurrently if exists %I.%I', n.nspname, c.relname)
from pg_catalog.pg_index as i
join pg_catalog.pg_class as c on c.oid = i.indexrelid
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where n.nspname = 'tide' and c.relkind = 'i' and not i.indisvalid
  and c.relname = any ({indexes})
order by c.relname"""


def check_prefix(prefix: str) -> str:
    """Raises ValueError for what names of group roles cannot begin with."""
    if not re.fullmatch(r"(?!pg_)[a-z_][a-z0-9_]{0,39}", prefix):
        raise ValueError(
            f"role_prefix = {prefix[:80]!r} cannot begin the name of a role: give up to 40 of "
            "a to z, 0 to 9 and _, not pg_"
        )
    return prefix


def settings(role_prefix: str | None = None) -> str:
    """The statements each transaction of an installation begins with.

    Without a prefix that of the installation stays, and a parameter set elsewhere is not used.
    """
    prefix = "" if role_prefix is None else check_prefix(role_prefix)
    return SETTINGS.format(role_prefix=literal(prefix))


def render(
    release: Release,
    state: State | None = None,
    phase: str | None = None,
    *,
    role_prefix: str | None = None,
) -> str:
    """The text psql runs for the same result as `install`; the same for the same state.

    Each transaction first checks that the ledger is as this text expects it, so running it on
    another database, or twice, stops with an error and changes nothing.
    """
    state = state or State()
    refuse_newer(release, state)
    scripts = plan(release, state.applied, phase)
    if not scripts:
        return f"-- tidebase-pg {release.version}: the schema tide is current; nothing to run.\n"
    ledger = dict(state.applied)
    parts: list[str] = []
    for batch in batches(release, scripts, fresh=state.fresh):
        guard = _guard(ledger)
        if batch and outside(batch[0], fresh=state.fresh):
            (script,) = batch
            repair = f"{invalid_indexes(script)} \\gexec\n" if script.indexes else ""
            parts += [guard, BEGAN.format(local="false"), repair, _titled(script, script.body)]
            parts += [
                BEGIN,
                settings(role_prefix) + refuse_invalid(script),
                _titled(release.header),
            ]
            parts += [record_migration(script), "commit;\n"]
            ledger[script.name] = script.digest
            continue
        parts += [BEGIN, settings(role_prefix) + guard, _titled(release.header)]
        for script, locks in with_locks(batch, fresh=state.fresh):
            migration = script in release.migrations
            parts.append(locks)
            if migration:
                parts.append(BEGAN.format(local="true"))
            parts.append(_titled(script, body_of(script, fresh=state.fresh)))
            if migration:
                parts.append(record_migration(script))
                ledger[script.name] = script.digest
        if installs(release, batch):
            parts.append(record_installation(release))
            ledger[FUNCTIONS] = release.digest
        parts.append("commit;\n")
    text = "\\set ON_ERROR_STOP on\n\n" + "\n".join(part for part in parts if part)
    return _preamble(release, state, scripts, text) + text


def body_of(script: Script, *, fresh: bool) -> str:
    """What runs in a transaction; a fresh install is all of one, so nothing is concurrent there."""
    if script.transactional or not fresh:
        return script.body
    return "".join(
        "" if token.lastgroup == "word" and token.group().lower() == "concurrently" else text
        for token, text in tokens(script.body)
    ).replace("index  ", "index ")


def record_migration(script: Script) -> str:
    return (
        "insert into tide.migrations (name, sha256, took)\n"
        f"values (\n  {literal(script.name)},\n  {literal(script.digest)},\n"
        "  make_interval(secs => extract(epoch from clock_timestamp())::double precision\n"
        "    - current_setting('tide.began')::double precision)\n"
        ");\n"
    )


def lock_tables(scripts: Sequence[Script], *, fresh: bool, wait: float = WAIT) -> str:
    """What locks all these scripts change, each table once and in its strongest mode."""
    wanted: dict[str, str] = {}
    for mode in BLOCKING:
        for script in scripts:
            if script.locks is not None and script.locks[0] == mode:
                for table in script.locks[1]:
                    wanted.setdefault(table, mode)
    if fresh or not wanted:
        return ""
    tables, modes = array(list(wanted)), array(list(wanted.values()))
    return LOCK_TABLES.format(tables=tables, modes=modes, wait=wait)


def with_locks(
    batch: Sequence[Script], *, fresh: bool, wait: float = WAIT
) -> Iterator[tuple[Script, str]]:
    """The scripts of a transaction, each with what is locked before it: all at once, and late."""
    locked = False
    for place, script in enumerate(batch):
        text = ""
        if not locked and script.locks is not None:
            text, locked = lock_tables(batch[place:], fresh=fresh, wait=wait), True
        yield script, text


def invalid_indexes(script: Script) -> str:
    return INVALID_INDEXES.format(indexes=array(script.indexes))


def refuse_invalid(script: Script) -> str:
    if not script.indexes:
        return ""
    return f"""\
do $tide$
begin
  if exists ({invalid_indexes(script)}) then
    raise exception 'an index of {script.name} is invalid: its build failed'
      using errcode = 'object_not_in_prerequisite_state', hint = 'Upgrade again.';
  end if;
end;
$tide$;
"""


def record_installation(release: Release) -> str:
    return (
        "insert into tide.installs (version, functions_sha256)\n"
        f"values ({literal(release.version)}, {literal(release.digest)});\n"
    )


def _titled(script: Script, body: str | None = None) -> str:
    text = script.body if body is None else body
    return f"-- {script.name}\n{text.rstrip()}\n"


def _preamble(release: Release, state: State, scripts: Sequence[Script], text: str) -> str:
    what = (
        f"installs the schema tide {release.version}"
        if state.version is None
        else f"upgrades the schema tide from {state.version} to {release.version}"
    )
    lines = [
        f"-- This text {what}, just as the command would.",
        "-- Run it as the role that owns the schema: psql -X -f FILE",
        "-- It checks first that the database is as it expects, and otherwise changes nothing.",
        "--",
        f"-- sha256 of the text below the line: {hashlib.sha256(text.encode()).hexdigest()}",
        *(
            f"-- {script.name} {script.digest}"
            for script in scripts
            if script in release.migrations
        ),
        *(
            [f"-- functions, views, roles and grants {release.digest}"]
            if installs(release, scripts)
            else []
        ),
        "-- " + "-" * 85,
    ]
    return "\n".join(lines) + "\n"


def _guard(ledger: Mapping[str, str]) -> str:
    """Everything `install` checks in Python before it writes, for a text that runs alone."""
    expected = literal(json.dumps(dict(sorted(ledger.items()))))
    return f"""\
do $tide$
declare
  v_expected constant jsonb := {expected};
  v_found jsonb := '{{}}';
begin
  if not pg_try_advisory_xact_lock(hashtext('tide.install')) then
    raise exception 'another installation is under way; nothing was changed';
  end if;
  if current_setting('server_version_num')::integer < {OLDEST_SERVER}0000 then
    raise exception 'the schema tide needs PostgreSQL {OLDEST_SERVER} or newer';
  end if;
  if pg_is_in_recovery() then
    raise exception 'this server is a standby; run this text on the primary';
  end if;
  if to_regclass('tide.migrations') is not null then
    v_found := coalesce(
      (select jsonb_object_agg(m.name, m.sha256) from tide.migrations as m), '{{}}'
    ) || jsonb_strip_nulls(
      jsonb_build_object(
        '{FUNCTIONS}',
        (select i.functions_sha256 from tide.installs as i order by i.install_id desc limit 1)
      )
    );
  elsif exists (
    select from pg_class as c where c.relnamespace = to_regnamespace('tide')::oid
    union all
    select from pg_proc as p where p.pronamespace = to_regnamespace('tide')::oid
  ) then
    raise exception 'this database has another schema named tide; nothing was changed';
  end if;
  if exists (
    select
    from pg_namespace as n
    cross join lateral aclexplode(n.nspacl) as x
    where n.nspname = 'tide'
      and x.privilege_type = 'CREATE'
      and x.grantee <> n.nspowner
      and pg_get_userbyid(x.grantee) <> current_user
  ) then
    raise exception 'others may make things in the schema tide; nothing was changed'
      using hint = 'Look who did it, then: revoke create on schema tide from them;';
  end if;
  if v_found <> v_expected then
    raise exception 'the ledger tide.migrations is not as this text expects it'
      using detail = format('Expected %s, found %s.', v_expected, v_found),
            hint = 'Nothing was changed. Make a new text with: tidebase-pg upgrade --print';
  end if;
end;
$tide$;
"""
