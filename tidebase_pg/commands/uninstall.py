"""The command that takes the schema away: uninstall."""

from __future__ import annotations

from typing import Final

import click

from tidebase_pg.admin import uninstall as removal
from tidebase_pg.commands.output import Command, dsn, echo_fact


@click.command(cls=Command)
@click.option("--execute", is_flag=True, help="Do it; otherwise the statements are printed.")
@click.option(
    "--abandon-active-runs", is_flag=True, help="Also with runs that are waiting or running."
)
def uninstall(execute: bool, abandon_active_runs: bool) -> None:
    """Print what removes the schema with everything in it, or remove it.

    All of it in one transaction and without cascade. Refused while something else in the database
    uses the schema, while another role keeps objects of its own in it, and while runs are active.
    Roles are never dropped.

    \b
    Examples:
      tidebase-pg uninstall
      tidebase-pg uninstall --execute
    """
    if execute:
        removal.remove(dsn(), abandon_active_runs=abandon_active_runs)
        echo_fact("schema tide removed; its roles are still there", removed=True)
        return
    found = removal.look(dsn())
    found.refuse(abandon_active_runs=abandon_active_runs)
    click.echo(found.text(abandon_active_runs=abandon_active_runs), nl=False)


COMMANDS: Final = [uninstall]
