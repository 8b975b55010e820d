"""The command that serves MCP clients: mcp."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any, Final

import click

from tidebase_pg.async_tidebase import AsyncTidebase
from tidebase_pg.commands.connect import actor
from tidebase_pg.commands.output import Command, Failure, dsn

MISSING: Final = "MCP is not installed; run: pip install 'tidebase-pg[mcp]'"


@click.command(cls=Command)
@click.option("--http", is_flag=True, help="Serve streamable HTTP, at /mcp, instead of stdio.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address for --http.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=7374,
    show_default=True,
    help="Where --http listens.",
)
@click.option("--read-only", is_flag=True, help="Offer nothing that changes anything.")
@click.option("--open", "unlocked", is_flag=True, help="Ask for no key over HTTP.")
def mcp(http: bool, host: str, port: int, read_only: bool, unlocked: bool) -> None:
    """Let MCP clients, such as coding agents, look at runs and act on them.

    What the login of --dsn may do, its clients may. --http asks each request for a key of the HTTP
    door (keys create), which may do what its role may. Needs: pip install 'tidebase-pg[mcp]'

    \b
    Example:
      tidebase-pg mcp --read-only
    """
    try:
        made: Any = import_module("tidebase_pg.agents.mcp").server(
            AsyncTidebase(dsn()),
            read_only=read_only,
            actor=actor(),
            url=f"http://{host}:{port}/mcp" if http and not unlocked else None,
        )
    except ImportError as error:
        raise Failure(MISSING) from error
    if http:
        asyncio.run(made.run_streamable_http_async(host=host, port=port))
    else:
        asyncio.run(made.run_stdio_async())


COMMANDS: Final = [mcp]
