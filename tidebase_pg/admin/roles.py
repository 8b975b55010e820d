"""The group roles: the text that makes them, who is in them, and what they lack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from tidebase_pg.admin import drift, releases
from tidebase_pg.admin.rendering import check_prefix
from tidebase_pg.admin.sql_text import literal
from tidebase_pg.version import check_version

TITLE: Final = """\
-- Makes the group roles of tidebase-pg {version}, for installers that may not. Run it with psql as
-- a role with CREATEROLE, before or after the installation; it is safe to repeat. With the schema
-- in the database, run it as its owner or a superuser, and the roles get their rights as well.
\\set ON_ERROR_STOP on
"""

MEMBERS: Final = """
select
  n.role,
  r.oid is not null as there,
  array(
    select m.rolname::text
    from pg_auth_members as a
    join pg_roles as m on m.oid = a.member
    where a.roleid = r.oid
    order by 1
  ) as members
from unnest(%s::text[]) with ordinality as n(role, place)
left join pg_roles as r on r.rolname = n.role
order by n.place
"""


@dataclass(frozen=True, slots=True)
class Role:
    """One group role, the roles granted it, and what it should be allowed here and is not."""

    role: str
    exists: bool
    members: tuple[str, ...]
    missing: tuple[str, ...]


def text(prefix: str | None = None) -> str:
    """What makes the roles and, where the schema is installed, gives them their rights."""
    release = releases.current()
    named = "" if prefix is None else f"set tide.role_prefix = {literal(check_prefix(prefix))};\n"
    body = {script.name: script.body for script in release.repeatables}
    return (
        TITLE.format(version=release.version)
        + named
        + f"begin;\n{body['roles.sql']}commit;\n"
        + "select to_regnamespace('tide') is not null as installed \\gset\n"
        + "\\if :installed\n"
        + f"begin;\n{body['grants.sql']}commit;\n"
        + "\\endif\n"
    )


def overview(dsn: str) -> list[Role]:
    """Each group role, as the server and this database have it."""
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as connection:
        connection.execute("begin isolation level repeatable read read only")
        there = connection.execute("select to_regnamespace('tide') is not null").fetchone()
        if there is None or not there[0]:
            check_version(None)
        with connection.cursor(row_factory=tuple_row) as cursor:
            found = drift.describe(cursor)
            prefix = drift.role_prefix(cursor)
        has = {(grant["right"], grant["grantee"]) for grant in found["grants"]}
        wanted = drift.manifest(prefix)["grants"]
        return [
            Role(
                role,
                exists,
                tuple(members),
                tuple(
                    grant["right"]
                    for grant in wanted
                    if grant["grantee"] == role and (grant["right"], role) not in has
                ),
            )
            for role, exists, members in connection.execute(MEMBERS, (list(drift.roles(prefix)),))
        ]


def grant(dsn: str, word: str, login: str) -> str:
    """Make a role of the server a member of a group role, whose name is returned; harmless when it
    is one."""
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as connection:
        with connection.cursor(row_factory=tuple_row) as cursor:
            role = drift.role_prefix(cursor) + word
        connection.execute(
            sql.SQL("grant {} to {}").format(sql.Identifier(role), sql.Identifier(login))
        )
    return role
