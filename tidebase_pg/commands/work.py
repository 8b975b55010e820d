"""The command that runs a worker: work MODULE:APP."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import click

from tidebase_pg.async_tidebase import AsyncTidebase
from tidebase_pg.commands.connect import LENGTH
from tidebase_pg.commands.output import Command, dsn, echo_row
from tidebase_pg.options import WorkOptions
from tidebase_pg.tidebase import Tidebase


@click.command(cls=Command)
@click.argument("application", metavar="MODULE:APP")
@click.option("--queues", help="Comma-separated, in this order; default: those registered.")
@click.option("--concurrency", type=int, default=1, show_default=True, help="Runs at once.")
@click.option("--lease", type=LENGTH, help="Until others may take over; default 60s.")
@click.option("--poll", type=LENGTH, help="The longest pause when idle and polling; default 1s.")
@click.option("--grace", type=LENGTH, help="For running runs after SIGTERM; default 30s.")
@click.option("--no-listen", is_flag=True, help="Poll only, as behind a pooler.")
@click.option("--deliver", is_flag=True, help="Send webhooks too.")
@click.option("--no-reconcile", is_flag=True, help="Leave the background work to others.")
@click.option("--drain", is_flag=True, help="End when nothing is ready any more.")
@click.option("--max-runs", type=int, help="End after so many runs.")
def work(
    application: str,
    queues: str | None,
    concurrency: int,
    lease: timedelta | None,
    poll: timedelta | None,
    grace: timedelta | None,
    no_listen: bool,
    deliver: bool,
    no_reconcile: bool,
    drain: bool,
    max_runs: int | None,
) -> None:
    """Run the workflows of APP, a Tidebase or AsyncTidebase in the Python module MODULE.

    Ends on SIGTERM or Ctrl-C: running runs may finish, a second signal hands them back.

    \b
    Example:
      tidebase-pg work app.jobs:tide --queues mails,reports --concurrency 8
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    tide = load(application)
    if dsn() != os.environ.get("TIDEBASE_DSN", ""):
        tide.connect(dsn())  # typed, so it wins over what the application says
    options: WorkOptions = {"concurrency": concurrency, "drain": drain, "signals": True}
    if queues is not None:
        options["queues"] = [name.strip() for name in queues.split(",") if name.strip()]
    if lease is not None:
        options["lease"] = lease
    if poll is not None:
        options["poll"] = poll
    if grace is not None:
        options["grace"] = grace
    if no_listen:
        options["listen"] = False
    if deliver:
        options["deliver"] = True
    if no_reconcile:
        options["reconcile"] = False
    if max_runs is not None:
        options["max_runs"] = max_runs
    if isinstance(tide, AsyncTidebase):
        echo_row(asyncio.run(_work(tide, options)))
    else:
        with tide:
            echo_row(tide.work(**options))


async def _work(tide: AsyncTidebase, options: WorkOptions) -> object:
    async with tide:
        return await tide.work(**options)


def load(application: str) -> Tidebase | AsyncTidebase:
    """The object MODULE:APP names, with the current folder on the path."""
    module_name, _, name = application.partition(":")
    if not module_name or not name:
        raise click.UsageError(f"{application!r} is not MODULE:APP, for example app.jobs:tide")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise click.UsageError(f"there is no module {module_name!r} here") from error
        raise
    found = getattr(module, name, None)
    if not isinstance(found, Tidebase | AsyncTidebase):
        raise click.UsageError(f"{name!r} in module {module_name!r} is no Tidebase")
    return found


COMMANDS = [work]
