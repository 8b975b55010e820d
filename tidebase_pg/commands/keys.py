"""Commands on the keys of the HTTP door: keys create, list, revoke."""

from __future__ import annotations

from typing import Final

import click

from tidebase_pg.commands.connect import connected
from tidebase_pg.commands.output import Failure, Group, echo_fact, echo_rows

ROLES: Final = ("client", "worker", "operator", "viewer", "approver")


@click.group(cls=Group)
def keys() -> None:
    """Make, list and revoke keys of the HTTP door."""


@keys.command()
@click.argument("name")
@click.argument("role", type=click.Choice(ROLES))
@click.option("--shared", is_flag=True, help="Several workers use it.")
def create(name: str, role: str, shared: bool) -> None:
    """Make a key that may do what tide_ROLE may, and print its token.

    A key is one worker's, and says which worker holds a run, unless it is --shared.

    The token is shown this once; the database keeps only its hash. NAME stands in the event log
    where the key acts, and is never used again.

    \b
    Example:
      tidebase-pg keys create ci client
    """
    with connected() as tide:
        token = tide.keys.create(name, role, shared=shared)
    echo_fact(token, name=name, role=role, shared=shared, token=token)


@keys.command("list")
@click.option("--all", "everything", is_flag=True, help="Revoked keys too.")
def list_keys(everything: bool) -> None:
    """Show the keys: who made them when, and when they were last used.

    \b
    Example:
      tidebase-pg keys list
    """
    with connected() as tide:
        found = [key for key in tide.keys.list() if everything or key.revoked_at is None]
    columns = ["name", "role", "shared", "created_at", "created_by", "last_used_at"]
    echo_rows(found, [*columns, "revoked_at"] if everything else columns)


@keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Let the key NAME open nothing any more; this cannot be taken back.

    \b
    Example:
      tidebase-pg keys revoke ci
    """
    with connected() as tide:
        revoked = tide.keys.revoke(name)
        known = revoked or any(key.name == name for key in tide.keys.list())
    if not known:
        raise Failure(f"there is no key named {name!r}; see tidebase-pg keys list")
    now = "is revoked" if revoked else "was revoked before"
    echo_fact(f"key {name} {now}", name=name, revoked=revoked)


COMMANDS: Final = [keys]
