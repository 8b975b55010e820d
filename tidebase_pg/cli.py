"""The program `tidebase-pg`: gathers the commands; holds no SQL and no rule."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module, util
from typing import Final

import click

from tidebase_pg.commands.output import EXIT_CODES, Main
from tidebase_pg.version import __version__

TOPICS: Final = (
    "install", "dev", "serve", "runs", "gates", "queues", "lanes", "schedules", "work", "deliver",
    "webhooks", "keys", "prices", "allowances", "conversations", "upkeep", "health", "doctor",
    "roles", "uninstall", "check", "skill", "mcp", "completion",
)  # fmt: skip


@click.group(cls=Main, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def main() -> None:
    """Durable runs, queues and steps inside your Postgres."""


for topic in TOPICS:
    name = f"tidebase_pg.commands.{topic}"
    if util.find_spec(name) is not None:
        commands: Sequence[click.Command] = import_module(name).COMMANDS
        for command in commands:
            main.add_command(command)
