"""How an installed schema differs from what this release makes, and the statements that mend it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import psycopg

from tidebase_pg.admin import releases

Severity: TypeAlias = Literal["error", "warning", "info"]
Catalogue: TypeAlias = Mapping[str, Any]

MANIFEST: Final = "manifest.json"
"""Beside the files it was made from: what the catalogue says after a fresh installation."""

PREFIX: Final = "tide_"
"""What the names of the group roles begin with, unless an installation has others."""


def roles(prefix: str = PREFIX) -> tuple[str, ...]:
    """The group roles of an installation."""
    return tuple(prefix + word for word in ("client", "worker", "operator", "viewer", "approver"))


ROLES: Final = roles()

NAMED: Final = """
select
  has_column_privilege(a.attrelid, a.attnum, 'select') as readable,
  (
    select min(g.prefix)
    from (
      select left(r.rolname, -length(n.role)) as prefix
      from (values ('claim', 'worker'), ('enqueue', 'client')) as n(function, role)
      join pg_proc as p on p.proname = n.function
      cross join lateral aclexplode(p.proacl) as x
      join pg_roles as r on r.oid = x.grantee
      where p.pronamespace = to_regnamespace('tide')
        and r.rolname like '%' || n.role
      group by prefix
      having count(distinct n.role) = 2
    ) as g
  ) as granted
from pg_attribute as a
where a.attrelid = to_regclass('tide.role_names')
  and a.attname = 'prefix'
"""


def role_prefix(cursor: psycopg.Cursor[tuple[Any, ...]]) -> str:
    """What the names of the group roles begin with; where it cannot be read, or a dump without
    data has not brought it, as grants tell it."""
    found = cursor.execute(NAMED.encode()).fetchone()
    if found is None:
        return PREFIX
    readable, granted = found
    if readable:
        stored = cursor.execute("select n.prefix from tide.role_names as n").fetchone()
        if stored is not None:
            return str(stored[0])
    return PREFIX if granted is None else str(granted)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, and what mends it."""

    severity: Severity
    check: str
    message: str
    remedy: str = ""


# What names look like must not depend on who asks.
SETTINGS: Final = """
set local search_path = pg_catalog, pg_temp;
set local intervalstyle = 'postgres';
set local datestyle = 'ISO, YMD';
set local timezone = 'UTC';
set local extra_float_digits = 1;
set local quote_all_identifiers = off;
"""

FUNCTIONS: Final = """
select
  p.oid::regprocedure::text as name,
  jsonb_build_object(
    'name', p.proname,
    'kind', p.prokind,
    'arguments', pg_get_function_arguments(p.oid),
    'result', pg_get_function_result(p.oid),
    'language', l.lanname,
    'volatility', p.provolatile,
    'parallel', p.proparallel,
    'strict', p.proisstrict,
    'definer', p.prosecdef,
    'settings', coalesce(to_jsonb(p.proconfig), '[]'),
    'body', encode(sha256(convert_to(p.prosrc, 'UTF8')), 'hex')
  ) as facts
from pg_proc as p
join pg_language as l on l.oid = p.prolang
where p.pronamespace = 'tide'::regnamespace
order by 1
"""

RELATIONS: Final = """
select
  c.relname as name,
  jsonb_build_object(
    'kind', case c.relkind when 'v' then 'view' when 'c' then 'type' else 'table' end,
    'options', to_jsonb(array(select o from unnest(c.reloptions) as o order by o)),
    'columns', (
      select jsonb_object_agg(
        a.attname,
        jsonb_build_object(
          'type', format_type(a.atttypid, a.atttypmod),
          'not_null', a.attnotnull,
          'default', pg_get_expr(d.adbin, d.adrelid),
          'identity', a.attidentity
        )
      )
      from pg_attribute as a
      left join pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
      where a.attrelid = c.oid
        and a.attnum > 0
        and not a.attisdropped
    )
  ) as facts
from pg_class as c
where c.relnamespace = 'tide'::regnamespace
  and c.relkind in ('r', 'p', 'v', 'c')
order by 1
"""

# Those behind constraints are made with them.
INDEXES: Final = """
select
  i.relname as name,
  jsonb_build_object(
    'table', x.indrelid::regclass::text,
    'definition', pg_get_indexdef(x.indexrelid),
    'constraint', exists (select from pg_constraint as c where c.conindid = x.indexrelid),
    'valid', x.indisvalid and x.indisready
  ) as facts
from pg_index as x
join pg_class as i on i.oid = x.indexrelid
where i.relnamespace = 'tide'::regnamespace
  and i.relkind = 'i'
order by 1
"""

# Since Postgres 18 not-null constraints are listed too; the columns say it in every version.
CONSTRAINTS: Final = """
select
  format('%s.%I', c.conrelid::regclass, c.conname) as name,
  jsonb_build_object(
    'table', c.conrelid::regclass::text,
    'name', quote_ident(c.conname),
    'definition', replace(pg_get_constraintdef(c.oid), ' NOT VALID', ''),
    'valid', c.convalidated
  ) as facts
from pg_constraint as c
where c.connamespace = 'tide'::regnamespace
  and c.conrelid <> 0
  and c.contype in ('c', 'p', 'u', 'f', 'x')
  and c.coninhcount = 0
order by 1
"""

TRIGGERS: Final = """
select
  format('%s.%I', t.tgrelid::regclass, t.tgname) as name,
  jsonb_build_object(
    'table', t.tgrelid::regclass::text,
    'name', quote_ident(t.tgname),
    'definition', pg_get_triggerdef(t.oid),
    'enabled', t.tgenabled
  ) as facts
from pg_trigger as t
join pg_class as c on c.oid = t.tgrelid
where c.relnamespace = 'tide'::regnamespace
  and not t.tgisinternal
order by 1
"""

# The owner's own rights are not grants.
GRANTS: Final = """
with objects as (
  select 'schema' as kind, n.nspname::text as name, n.nspacl as acl, n.nspowner as owner
  from pg_namespace as n
  where n.nspname = 'tide'
  union all
  select
    case c.relkind when 'S' then 'sequence' when 'v' then 'view' else 'table' end,
    c.oid::regclass::text,
    c.relacl,
    c.relowner
  from pg_class as c
  where c.relnamespace = 'tide'::regnamespace
    and c.relkind in ('r', 'p', 'v', 'S')
  union all
  select 'column', format('(%I) on %s', a.attname, a.attrelid::regclass), a.attacl, c.relowner
  from pg_attribute as a
  join pg_class as c on c.oid = a.attrelid
  where c.relnamespace = 'tide'::regnamespace
    and a.attacl is not null
  union all
  select
    'routine',
    p.oid::regprocedure::text,
    coalesce(p.proacl, acldefault('f', p.proowner)),
    p.proowner
  from pg_proc as p
  where p.pronamespace = 'tide'::regnamespace
)
select
  format(
    case o.kind when 'column' then '%1$s %3$s' else '%1$s on %2$s %3$s' end,
    lower(x.privilege_type),
    case o.kind when 'view' then 'table' else o.kind end,
    o.name
  ) as right,
  o.kind,
  o.name,
  case x.grantee when 0 then 'public' else x.grantee::regrole::text end as grantee
from objects as o
cross join lateral aclexplode(o.acl) as x
where x.grantee <> o.owner
order by 1, 4
"""


def describe(cursor: psycopg.Cursor[tuple[Any, ...]]) -> dict[str, Any]:
    """The catalogue of an installed schema, the same on every version of Postgres.

    Sets parameters for the rest of the transaction it is called in.
    """
    cursor.execute(SETTINGS)
    found: dict[str, Any] = {
        section: dict(cursor.execute(query.encode()))
        for section, query in (
            ("functions", FUNCTIONS),
            ("relations", RELATIONS),
            ("indexes", INDEXES),
            ("constraints", CONSTRAINTS),
            ("triggers", TRIGGERS),
        )
    }
    found["grants"] = [
        {"right": right, "kind": kind, "name": name, "grantee": grantee}
        for right, kind, name, grantee in cursor.execute(GRANTS)
    ]
    found["roles"] = [
        role
        for (role,) in cursor.execute(
            "select r.rolname::text from pg_roles as r where r.rolname = any (%s) order by 1",
            (list(roles(role_prefix(cursor))),),
        )
    ]
    return found


def manifest(prefix: str = PREFIX) -> Catalogue:
    """What `describe` finds right after this release was installed into an empty database."""
    found: dict[str, Any] = json.loads((releases.sql_folder() / MANIFEST).read_text())
    names = dict(zip(ROLES, roles(prefix), strict=True))
    found["roles"] = [names[role] for role in found["roles"]]
    found["grants"] = [
        {**grant, "grantee": names.get(grant["grantee"], grant["grantee"])}
        for grant in found["grants"]
    ]
    return found


def render(catalogue: Catalogue) -> str:
    """The text of a manifest: a line for each object."""

    def line(value: object) -> str:
        return json.dumps(value, sort_keys=True, ensure_ascii=False)

    sections: list[str] = []
    for section in sorted(catalogue):
        content: Any = catalogue[section]
        if section in ("grants", "roles"):
            left, right, lines = "[", "]", [line(one) for one in content]
        else:
            left, right = "{", "}"
            lines = [f"{line(name)}: {line(content[name])}" for name in sorted(content)]
        sections.append(f"{line(section)}: {left}\n" + ",\n".join(lines) + f"\n{right}")
    return "{" + ",\n".join(sections) + "}\n"


def scripts() -> dict[str, str]:
    """What makes each function and view of this release, by `functions/claim` and `views/health`.

    Grants are not in it.
    """
    return {
        re.sub(r"/.*/", "/", script.name.removesuffix(".sql")): script.body
        for script in releases.current().repeatables
        if "/" in script.name
    }


def compare(expected: Catalogue, found: Catalogue, sources: Mapping[str, str]) -> Iterator[Finding]:
    """Every difference; pure."""
    yield from _roles(expected, found)
    yield from _relations(expected, found, sources)
    yield from _constraints(expected["constraints"], found["constraints"])
    yield from _indexes(expected["indexes"], found["indexes"])
    yield from _functions(expected, found, sources)
    yield from _triggers(expected["triggers"], found["triggers"])
    yield from _grants(expected, found)


# --- one kind of object each ----------------------------------------------------------------


def _roles(expected: Catalogue, found: Catalogue) -> Iterator[Finding]:
    for role in sorted(set(expected["roles"]) - set(found["roles"])):
        rights = [grant for grant in expected["grants"] if grant["grantee"] == role]
        yield Finding(
            "warning",
            "roles",
            f"role {role} does not exist",
            f"create role {role} nologin;\n{_granting(rights)}",
        )


def _functions(
    expected: Catalogue, found: Catalogue, sources: Mapping[str, str]
) -> Iterator[Finding]:
    wanted, there = expected["functions"], found["functions"]
    kinds = {"f": "function", "p": "procedure"}

    def create(name: str) -> str:
        rights = [grant for grant in expected["grants"] if grant["name"] == name]
        return (
            sources.get(f"functions/{wanted[name]['name']}", "").rstrip()
            + f"\nrevoke all on routine {name} from public;\n"
            + _granting(rights)
        )

    for name, facts in wanted.items():
        if name not in there:
            yield Finding(
                "error", "functions", f"{kinds[facts['kind']]} {name} is missing", create(name)
            )
            continue
        differing = [fact for fact in facts if facts[fact] != there[name][fact]]
        if not differing:
            continue
        again = {"kind", "arguments", "result"} & set(differing)
        drop = f"drop {kinds[there[name]['kind']]} {name};\n"
        yield Finding(
            "error",
            "functions",
            f"{kinds[facts['kind']]} {name} is not as this release made it: "
            f"its {_listed(differing)} {'differs' if len(differing) == 1 else 'differ'}",
            drop + create(name) if again else sources.get(f"functions/{facts['name']}", ""),
        )
    for name in there.keys() - wanted.keys():
        kind = kinds.get(there[name]["kind"], "routine")
        overload = any(facts["name"] == there[name]["name"] for facts in wanted.values())
        yield Finding(
            "error" if overload else "warning",
            "functions",
            f"{kind} {name} is not of this release"
            + (": calls may mean it, or fail as not unique" if overload else ""),
            f"drop {kind} {name};",
        )


def _relations(
    expected: Catalogue, found: Catalogue, sources: Mapping[str, str]
) -> Iterator[Finding]:
    wanted, there = expected["relations"], found["relations"]
    for name, facts in wanted.items():
        kind = facts["kind"]
        if kind == "view":
            rights = [grant for grant in expected["grants"] if grant["name"] == f"tide.{name}"]
            create = sources.get(f"views/{name}", "").rstrip() + "\n" + _granting(rights)
            if name not in there:
                yield Finding("error", "views", f"view tide.{name} is missing", create)
            elif _types(facts) != _types(there[name]):
                yield Finding(
                    "error",
                    "views",
                    f"view tide.{name} has other columns than in this release",
                    f"drop view tide.{name};\n{create}",
                )
            else:
                yield from _options(name, facts, there[name])
        elif name not in there:
            yield Finding(
                "error",
                "tables",
                f"{kind} tide.{name} is missing; what was in it is in a backup only",
            )
        else:
            yield from _columns(name, facts, there[name])
            yield from _options(name, facts, there[name])
    for name in there.keys() - wanted.keys():
        kind = there[name]["kind"]
        yield Finding(
            "warning",
            f"{kind}s",
            f"{kind} tide.{name} is not of this release; upgrades and uninstall know nothing of it",
            f"alter {kind} tide.{_quoted(name)} set schema public;",
        )


def _types(facts: Catalogue) -> dict[str, str]:
    return {name: column["type"] for name, column in facts["columns"].items()}


def _columns(table: str, facts: Catalogue, there: Catalogue) -> Iterator[Finding]:
    wanted, found = facts["columns"], there["columns"]
    alter = f"alter table tide.{table}"
    add, drop = "add column", "drop column"
    if facts["kind"] == "type":
        alter, add, drop = f"alter type tide.{table}", "add attribute", "drop attribute"
    for name, column in wanted.items():
        if name not in found:
            default = "" if column["default"] is None else f" default {column['default']}"
            limit = " not null" if column["not_null"] else ""
            yield Finding(
                "error",
                "tables",
                f"column {name} of tide.{table} is missing",
                f"{alter} {add} {name} {column['type']}{limit}{default};",
            )
            continue
        is_now = found[name]
        change = f"{alter} alter column {name}"
        if column["type"] != is_now["type"]:
            yield Finding(
                "error",
                "tables",
                f"column {name} of tide.{table} is {is_now['type']} instead of {column['type']}",
                f"{change} type {column['type']} using {name}::{column['type']};",
            )
        if column["not_null"] != is_now["not_null"]:
            yield Finding(
                "error",
                "tables",
                f"column {name} of tide.{table} "
                + ("takes nulls" if column["not_null"] else "takes no nulls"),
                f"{change} {'set' if column['not_null'] else 'drop'} not null;",
            )
        if column["default"] != is_now["default"]:
            yield Finding(
                "error",
                "tables",
                f"column {name} of tide.{table} has the default {is_now['default']} "
                f"instead of {column['default']}",
                f"{change} drop default;"
                if column["default"] is None
                else f"{change} set default {column['default']};",
            )
    for name in found.keys() - wanted.keys():
        yield Finding(
            "warning",
            "tables",
            f"column {name} of tide.{table} is not of this release",
            f"{alter} {drop} {_quoted(name)};",
        )


def _options(name: str, facts: Catalogue, there: Catalogue) -> Iterator[Finding]:
    wanted, found = (dict(o.split("=", 1) for o in side["options"]) for side in (facts, there))
    if wanted == found:
        return
    view = facts["kind"] == "view"
    alter = f"alter {facts['kind']} tide.{name}"
    remedy: list[str] = []
    if changed := {key: value for key, value in wanted.items() if found.get(key) != value}:
        remedy.append(f"{alter} set ({', '.join(f'{k} = {v}' for k, v in changed.items())});")
    if extra := sorted(found.keys() - wanted.keys()):
        remedy.append(f"{alter} reset ({', '.join(extra)});")
    names = sorted({*changed, *extra})
    yield Finding(
        "error" if view else "warning",
        "views" if view else "storage",
        f"{facts['kind']} tide.{name} has {_settings(found, names)} "
        f"instead of {_settings(wanted, names)}",
        "\n".join(remedy),
    )


def _settings(options: Mapping[str, str], names: Iterable[str]) -> str:
    return _listed(f"{name} = {options.get(name, 'default')}" for name in names)


def _constraints(wanted: Catalogue, there: Catalogue) -> Iterator[Finding]:
    for name, facts in wanted.items():
        alter = f"alter table {facts['table']}"
        validate = f"{alter} validate constraint {facts['name']};"
        create = f"{alter} add constraint {facts['name']} {facts['definition']};"
        if facts["definition"].startswith("CHECK"):
            create = create[:-1] + f" not valid;\n{validate}"
        if name not in there:
            yield Finding("error", "constraints", f"constraint {name} is missing", create)
        elif there[name]["definition"] != facts["definition"]:
            yield Finding(
                "error",
                "constraints",
                f"constraint {name} says {there[name]['definition']} "
                f"instead of {facts['definition']}",
                f"{alter} drop constraint {facts['name']};\n{create}",
            )
        elif not there[name]["valid"]:
            yield Finding(
                "warning", "constraints", f"constraint {name} was never validated", validate
            )
    for name in there.keys() - wanted.keys():
        yield Finding(
            "warning",
            "constraints",
            f"constraint {name} is not of this release: {there[name]['definition']}",
            f"alter table {there[name]['table']} drop constraint {there[name]['name']};",
        )


def _indexes(wanted: Catalogue, there: Catalogue) -> Iterator[Finding]:
    for name, facts in wanted.items():
        if facts["constraint"] and name not in there:
            continue  # Told of as a constraint.
        create = re.sub(r" INDEX ", " INDEX CONCURRENTLY ", facts["definition"], count=1) + ";"
        if name not in there:
            yield Finding("error", "indexes", f"index tide.{name} is missing", create)
        elif not facts["constraint"] and there[name]["definition"] != facts["definition"]:
            yield Finding(
                "error",
                "indexes",
                f"index tide.{name} is {there[name]['definition']}",
                f"drop index concurrently tide.{name};\n{create}",
            )
        elif not there[name]["valid"]:
            yield Finding(
                "error",
                "indexes",
                f"index tide.{name} is invalid: a build of it failed",
                f"reindex index concurrently tide.{name};",
            )
    for name in there.keys() - wanted.keys():
        facts = there[name]
        if facts["constraint"]:
            continue
        claims = facts["table"] == "tide.runs_active"
        yield Finding(
            "warning" if claims or not facts["valid"] else "info",
            "indexes",
            f"index tide.{name} on {facts['table']} is "
            + ("invalid, and " if not facts["valid"] else "")
            + "not of this release"
            + ("; it slows claims, and may change how they are planned" if claims else ""),
            f"drop index concurrently tide.{_quoted(name)};",
        )


def _triggers(wanted: Catalogue, there: Catalogue) -> Iterator[Finding]:
    for name, facts in wanted.items():
        if name not in there:
            yield Finding(
                "error", "triggers", f"trigger {name} is missing", f"{facts['definition']};"
            )
        elif there[name]["definition"] != facts["definition"]:
            yield Finding(
                "error",
                "triggers",
                f"trigger {name} is {there[name]['definition']}",
                f"drop trigger {facts['name']} on {facts['table']};\n{facts['definition']};",
            )
        elif there[name]["enabled"] != facts["enabled"]:
            yield Finding(
                "error",
                "triggers",
                f"trigger {name} is disabled",
                f"alter table {facts['table']} enable trigger {facts['name']};",
            )
    for name in there.keys() - wanted.keys():
        yield Finding(
            "warning",
            "triggers",
            f"trigger {name} is not of this release: it runs inside every call that writes there",
            f"drop trigger {there[name]['name']} on {there[name]['table']};",
        )


def _grants(expected: Catalogue, found: Catalogue) -> Iterator[Finding]:
    def pairs(catalogue: Catalogue) -> dict[tuple[str, str], Any]:
        return {(grant["right"], grant["grantee"]): grant for grant in catalogue["grants"]}

    wanted, there = pairs(expected), pairs(found)
    objects = {*found["functions"], *(f"tide.{name}" for name in found["relations"]), "tide"}
    for role in found["roles"]:
        missing = [
            grant
            for key, grant in wanted.items()
            if key not in there and grant["grantee"] == role and grant["name"] in objects
        ]
        if missing:
            yield Finding(
                "error",
                "grants",
                f"{role} may not {_listed(grant['right'] for grant in missing)}",
                _granting(missing),
            )
    private = {
        name for name, facts in expected["functions"].items() if facts["name"].startswith("_")
    }
    extra: dict[str, list[Any]] = {}
    for key, grant in there.items():
        # Public functions and views are everybody's to grant; what the rest is for, nobody needs.
        ours = grant["grantee"] in (*expected["roles"], "public")
        inner = grant["kind"] in ("table", "sequence", "column") or grant["name"] in private
        usage = grant["right"] == "usage on schema tide"
        if key not in wanted and (ours or inner or (grant["kind"] == "schema" and not usage)):
            extra.setdefault(grant["grantee"], []).append(grant)
    for grantee, grants in sorted(extra.items()):
        yield Finding(
            "error" if grantee == "public" else "warning",
            "grants",
            f"{'PUBLIC' if grantee == 'public' else grantee} may "
            f"{_listed(grant['right'] for grant in grants)}, which no release grants",
            "\n".join(f"revoke {grant['right']} from {grantee};" for grant in grants),
        )


def _granting(grants: Iterable[Any]) -> str:
    return "\n".join(f"grant {grant['right']} to {grant['grantee']};" for grant in grants)


def _listed(words: Iterable[str], most: int = 5) -> str:
    words = list(words)
    rest = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + rest


def _quoted(name: str) -> str:
    if re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        return name
    return '"' + name.replace('"', '""') + '"'
