"""Commands on the secrets that sign webhooks: webhooks set-secret | grant."""

from __future__ import annotations

import sys
from datetime import timedelta

import click

from tidebase_pg.commands.connect import LENGTH, connected
from tidebase_pg.commands.output import Group, echo_fact, echo_row
from tidebase_pg.values import new_secret


@click.group(cls=Group)
def webhooks() -> None:
    """Set the secrets that sign webhooks."""


@webhooks.command("set-secret")
@click.argument("name", default="default")
@click.option("--generate", is_flag=True, help="Make one, and print it.")
@click.option("--remove", is_flag=True, help="Forget the secrets of this name.")
@click.option("--keep", type=LENGTH, help="How long the one before signs too; default 1d.")
def set_secret(name: str, generate: bool, remove: bool, keep: timedelta | None) -> None:
    """Store the secret that signs webhooks under NAME, "default" when left out.

    It is read from the standard input, or asked for at a terminal: what stands on a command line
    can be seen by others.

    \b
    Examples:
      tidebase-pg webhooks set-secret --generate
      tidebase-pg webhooks set-secret billing --remove
    """
    if generate and remove:
        raise click.UsageError("give --generate or --remove, not both")
    secret: str | None = None
    if generate:
        secret = new_secret()
    elif not remove:
        secret = _read()
    with connected() as tide:
        tide.webhooks.set_secret(name, secret, keep=keep)
    if generate and secret is not None:
        echo_fact(secret, name=name, secret=secret)
    else:
        done = "removed" if remove else "set"
        echo_fact(f"secret {name} {done}", name=name, done=done)


@webhooks.command()
@click.argument("name")
@click.option("--queue", "queues", multiple=True, help="Signs what its runs send; repeatable.")
@click.option("--role", "roles", multiple=True, help="Signs what its members send; repeatable.")
def grant(name: str, queues: tuple[str, ...], roles: tuple[str, ...]) -> None:
    """Say whose a secret is, instead of what was said before; operators use any.

    \b
    Example:
      tidebase-pg webhooks grant billing --queue invoices
    """
    with connected() as tide:
        echo_row(tide.webhooks.grant_secret(name, queues=queues, roles=roles))


def _read() -> str:
    if sys.stdin.isatty():
        answer: str = click.prompt("Secret", hide_input=True, confirmation_prompt=True)
        return answer
    secret = sys.stdin.readline().strip()
    if not secret:
        raise click.UsageError("the standard input is empty: give the secret there, or --generate")
    return secret


COMMANDS = [webhooks]
