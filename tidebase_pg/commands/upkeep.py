"""Commands that keep the installation going: reconcile."""

from __future__ import annotations

from datetime import timedelta

import click

from tidebase_pg.commands.connect import LENGTH, connected
from tidebase_pg.commands.output import Command, echo_row


@click.command(cls=Command)
@click.option("--batch", type=int, help="Rows at a time; default 100.")
@click.option("--budget", type=LENGTH, help="Time in all; default 5s.")
def reconcile(batch: int | None, budget: timedelta | None) -> None:
    """Do what has become due: leases, deadlines, delayed runs. For cron; workers do it too."""
    with connected() as tide:
        echo_row(tide.reconcile(batch=batch, budget=budget))


COMMANDS = [reconcile]
