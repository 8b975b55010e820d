"""What is there before an installation and was not made by it: named, and not trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row

from tidebase_pg.admin import drift
from tidebase_pg.admin.uninstall import DEPENDENTS
from tidebase_pg.errors import SchemaError

# An owner may replace what functions of the installer call; so may who makes things beside them.
SCHEMA: Final = """
select
  format('the schema tide was made by %%s before', pg_get_userbyid(n.nspowner)),
  'drop schema tide;'
from pg_namespace as n
join pg_roles as r on r.oid = n.nspowner
where n.nspname = 'tide'
  and r.rolname <> current_user
  and not r.rolsuper
"""

MAKERS: Final = """
select
  format('%%s may make things in the schema tide', x.grantee::regrole),
  format('revoke create on schema tide from %%s;', x.grantee::regrole)
from pg_namespace as n
cross join lateral aclexplode(n.nspacl) as x
where n.nspname = 'tide'
  and x.privilege_type = 'CREATE'
  and x.grantee <> n.nspowner
  and x.grantee <> (select r.oid from pg_roles as r where r.rolname = current_user)
"""

OWNERS: Final = """
select
  format('the schema tide belongs to %%s, its ledger to %%s',
    pg_get_userbyid(n.nspowner), pg_get_userbyid(c.relowner)),
  format('alter schema tide owner to %%I;', pg_get_userbyid(c.relowner))
from pg_namespace as n
join pg_class as c on c.relnamespace = n.oid and c.relname = 'migrations'
join pg_roles as r on r.oid = n.nspowner
where n.nspname = 'tide'
  and n.nspowner <> c.relowner
  and not r.rolsuper
"""

# Whoever logs in as a group role has its rights wherever it may connect.
ROLES: Final = """
select
  format('role %%s may log in or has powers of its own', r.rolname),
  format(
    'alter role %%I nologin nosuperuser nocreatedb nocreaterole noreplication nobypassrls;',
    r.rolname
  )
from pg_roles as r
where r.rolname = any (%(roles)s)
  and (
    r.rolcanlogin or r.rolsuper or r.rolcreatedb or r.rolcreaterole or r.rolreplication
    or r.rolbypassrls
  )
union all
select
  format('role %%s is a member of %%s', m.rolname, g.rolname),
  format('revoke %%I from %%I;', g.rolname, m.rolname)
from pg_auth_members as a
join pg_roles as m on m.oid = a.member
join pg_roles as g on g.oid = a.roleid
where m.rolname = any (%(roles)s)
"""

# Administering one is a right that Postgres gives to whoever made it.
MEMBERS: Final = """
select
  format(
    '%%s %%s %%s',
    m.rolname,
    case when a.admin_option then 'administers' else 'is in' end,
    g.rolname
  )
from pg_auth_members as a
join pg_roles as m on m.oid = a.member
join pg_roles as g on g.oid = a.roleid
where g.rolname = any (%(roles)s)
  and not m.rolsuper
  and m.rolname <> current_user
order by 1
"""


# What another owns another may replace.
OBJECTS: Final = """
select
  format('%%s belongs to %%s, the schema to %%s', o.name, pg_get_userbyid(o.owner),
    pg_get_userbyid(n.nspowner)),
  format('alter %%s %%s owner to %%I;', o.kind, o.name, pg_get_userbyid(n.nspowner))
from (
  select
    case c.relkind when 'v' then 'view' else 'table' end as kind,
    c.oid::regclass::text as name,
    c.relowner as owner,
    c.relnamespace as namespace
  from pg_class as c
  where c.relkind in ('r', 'p', 'v')
  union all
  select 'routine', p.oid::regprocedure::text, p.proowner, p.pronamespace
  from pg_proc as p
) as o
join pg_namespace as n on n.oid = o.namespace
where n.nspname = 'tide'
  and o.owner <> n.nspowner
order by 1
"""

# Others would have them on what the owner makes by hand; an upgrade takes back what they gave.
DEFAULTS: Final = """
select
  format(
    'default privileges give %%s rights on %%s that the owner of the schema makes',
    g.grantee, g.kind
  ),
  format(
    'alter default privileges for role %%I%%s revoke all on %%s from %%s;',
    g.owner, g.place, g.kind, g.grantee
  )
from (
  select distinct
    pg_get_userbyid(n.nspowner) as owner,
    case d.defaclnamespace when 0 then '' else ' in schema tide' end as place,
    case d.defaclobjtype
      when 'r' then 'tables'
      when 'S' then 'sequences'
      when 'f' then 'routines'
      when 'T' then 'types'
      else 'schemas'
    end as kind,
    case x.grantee when 0 then 'public' else x.grantee::regrole::text end as grantee
  from pg_namespace as n
  join pg_default_acl as d on d.defaclrole = n.nspowner and d.defaclnamespace in (0, n.oid)
  cross join lateral aclexplode(d.defaclacl) as x
  where n.nspname = 'tide'
    and x.grantee <> n.nspowner
    and (x.grantee <> 0 or d.defaclobjtype not in ('f', 'T'))
) as g
order by 1
"""

# Group roles belong to the server, so members are members in each database they may connect to.
CONNECT: Final = """
select
  format(
    'every login may connect to database %%I, and members of the group roles may then use it: %%s',
    current_database(), string_agg(distinct m.rolname, ', ')
  ),
  format('revoke connect on database %%I from public;', current_database())
from pg_auth_members as a
join pg_roles as m on m.oid = a.member
join pg_roles as g on g.oid = a.roleid
where g.rolname = any (%(roles)s)
  and has_database_privilege('public', current_database(), 'connect')
having count(*) > 0
"""

CHECKED: Final[Mapping[str, tuple[str, ...]]] = {
    "error": (OWNERS, ROLES),
    "warning": (OBJECTS, DEFAULTS),
    "info": (CONNECT,),
}
"""What doctor looks for, by severity: rows of a problem and its remedy."""


def refuse_strangers(
    connection: psycopg.Connection[Any], *, fresh: bool, role_prefix: str | None = None
) -> list[str]:
    """What was there before and is to be known; raises SchemaError for what cannot be trusted,
    with the statements that mend it."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        prefix = (fresh and role_prefix) or drift.role_prefix(cursor)
    roles = {"roles": list(drift.roles(prefix))}
    queries = [SCHEMA if fresh else OWNERS, MAKERS, ROLES]
    found = [row for query in queries for row in connection.execute(query.encode(), roles)]
    if found:
        raise SchemaError(
            f"{'; '.join(str(problem) for problem, _ in found)}; nothing was changed: look who "
            f"did it, then an administrator runs: {' '.join(str(remedy) for _, remedy in found)}"
        )
    if not fresh:
        return []
    members = [str(member) for (member,) in connection.execute(MEMBERS.encode(), roles)]
    if not members:
        return []
    told = (
        f"the group roles were there before: {', '.join(members)}; they may use this database too, "
        "where they may connect to it"
    )
    return [told]


def remove_shell(connection: psycopg.Connection[Any]) -> None:
    """Drop the schema of a dump without data, as pg_dump -s makes it, so that it is made whole.

    Raises SchemaError when anything is in it, or anything was built on it.
    """
    tables = [
        str(name)
        for (name,) in connection.execute(
            "select c.oid::regclass::text from pg_class as c "
            "where c.relnamespace = 'tide'::regnamespace and c.relkind = 'r' order by 1"
        )
    ]
    if "tide.settings" not in tables:
        return
    held = [
        name
        for name in tables
        if connection.execute(f"select from {name} limit 1".encode()).fetchone() is not None
    ]
    if held:
        raise SchemaError(
            f"the schema tide of database {connection.info.dbname} has rows in "
            f"{', '.join(held[:3])} and none in its ledger; nothing was changed: restore the data "
            "of tide.migrations and tide.installs from the same dump"
        )
    built = [str(name) for (name,) in connection.execute(DEPENDENTS.encode())]
    if built:
        raise SchemaError(
            f"the schema tide of database {connection.info.dbname} is empty, and would be made "
            f"again, but {', '.join(built[:3])} was built on it; nothing was changed: drop that"
        )
    connection.execute("drop schema tide cascade")
