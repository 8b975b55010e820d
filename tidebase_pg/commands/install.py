"""The schema: install, upgrade, status, version."""

from __future__ import annotations

from typing import Final

import click

from tidebase_pg import schema
from tidebase_pg.commands.output import SCHEMA, Command, dsn, echo_fact, echo_row, settings
from tidebase_pg.version import __version__

print_option = click.option(
    "--print", "only_print", is_flag=True, help="Print the SQL for review and psql; change nothing."
)
wait_option = click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=schema.WAIT,
    show_default=True,
    metavar="SECONDS",
    help="How long to try for locks others hold.",
)


@click.command(cls=Command)
@print_option
@wait_option
def install(only_print: bool, wait: float) -> None:
    """Install the schema, or bring it up to date.

    Safe to repeat, and to run several times at once.

    With --print no database is needed: the text is for one that has no schema tide yet.
    """
    if only_print:
        click.echo(schema.render(schema.current()), nl=False)
        return
    report(schema.install(dsn(), wait=wait))


@click.command(cls=Command)
@print_option
@wait_option
def upgrade(only_print: bool, wait: float) -> None:
    """Upgrade an installed schema to this package.

    With --print the database is only read: the text has what is pending there.
    """
    if only_print:
        state = schema.read(dsn(), upgrade=True)
        click.echo(schema.render(schema.current(), state), nl=False)
        return
    report(schema.install(dsn(), upgrade=True, wait=wait))


@click.command(cls=Command)
def status() -> None:
    """Show the installed version and what is pending.

    Exits with 0 when the schema is current, with 3 otherwise.
    """
    found = schema.status(dsn())
    echo_row(
        {
            "installed": found.installed,
            "package": found.package,
            "current": found.current,
            "pending": list(found.pending),
            "functions_differ": found.functions_differ,
        }
    )
    if not found.current:
        click.get_current_context().exit(SCHEMA)


@click.command(cls=Command)
def version() -> None:
    """Show the version of the package, and of a schema.

    The schema's is shown when a database is given.
    """
    installed = schema.read(dsn()).version if dsn() else None
    if settings().json or dsn():
        echo_row({"package": __version__, "schema": installed})
    else:
        click.echo(__version__)


def report(outcome: schema.Outcome) -> None:
    done = bool(outcome.migrations or outcome.functions)
    if not done:
        sentence = f"schema tide {outcome.version} is current; nothing to do"
    else:
        came_from = f" from {outcome.before}" if outcome.before else ""
        sentence = (
            f"schema tide {outcome.version} installed{came_from}: "
            f"{len(outcome.migrations)} migrations, {outcome.functions} functions and views"
        )
    echo_fact(
        sentence,
        before=outcome.before,
        version=outcome.version,
        migrations=outcome.migrations,
        functions=outcome.functions,
    )


COMMANDS: Final = [install, upgrade, status, version]
