"""Commands on the group roles: print, list, grant."""

from __future__ import annotations

from typing import Final

import click

from tidebase_pg.admin import roles as group_roles
from tidebase_pg.commands.install import role_prefix_option
from tidebase_pg.commands.output import Command, Group, dsn, echo_fact, echo_rows, settings

NAMES: Final = ("client", "worker", "operator", "viewer", "approver")


@click.group(cls=Group, invoke_without_command=True)
@click.option(
    "--print", "only_print", is_flag=True, help="Print the SQL that makes the roles, for psql."
)
@role_prefix_option
@click.pass_context
def roles(context: click.Context, only_print: bool, role_prefix: str | None) -> None:
    """The group roles and who is in them.

    --print needs no database: it is for servers whose installer may not make roles.

    \b
    Example:
      tidebase-pg roles --print > roles.sql
    """
    if role_prefix is not None and not only_print:
        raise click.UsageError("--role-prefix is for --print; otherwise the database says it")
    if only_print:
        click.echo(group_roles.text(role_prefix), nl=False)
        context.exit()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@roles.command("list", cls=Command)
def list_roles() -> None:
    """Show each group role, its members, and what it lacks in this database.

    \b
    Example:
      tidebase-pg roles list
    """
    found = group_roles.overview(dsn())
    if settings().json:
        echo_rows(found)
        return
    echo_rows(
        [
            {
                "role": role.role,
                "exists": role.exists,
                "members": ", ".join(role.members),
                "missing": f"{len(role.missing)} rights" if role.missing else "",
            }
            for role in found
        ],
        ["role", "exists", "members", "missing"],
    )


@roles.command(cls=Command)
@click.argument("role", type=click.Choice(NAMES))
@click.argument("login")
def grant(role: str, login: str) -> None:
    """Let a login do what a role may: grant tide_ROLE to LOGIN.

    \b
    Example:
      tidebase-pg roles grant worker app_worker
    """
    name = group_roles.grant(dsn(), role, login)
    echo_fact(f"{login} is a member of {name}", role=name, login=login)


COMMANDS: Final = [roles]
