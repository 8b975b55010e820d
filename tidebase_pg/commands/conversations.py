"""Commands on what adapters keep of conversations: conversations prune."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Final

import click

from tidebase_pg.agents import retention
from tidebase_pg.commands.connect import LENGTH, dry_run_option, in_batches
from tidebase_pg.commands.output import Group, dsn, echo_fact

BATCH: Final = 100
"""Conversations in one transaction: each may be long."""


@click.group(cls=Group)
def conversations() -> None:
    """What agent frameworks keep here: conversations of OpenAI Agents, pydantic-ai and its harness,
    threads of LangGraph."""


@conversations.command()
@click.option(
    "--idle", type=LENGTH, required=True, help="Nobody has written to them for so long: 90d."
)
@click.option(
    "--framework",
    "wanted",
    type=click.Choice(list(retention.FRAMEWORKS)),
    multiple=True,
    help="Only of this one; may be repeated. Default: of all that keep something here.",
)
@click.option(
    "--max-conversations",
    type=click.IntRange(1),
    default=2**31 - 1,
    help="At most so many of each framework; default all.",
)
@dry_run_option
def prune(idle: timedelta, wanted: tuple[str, ...], max_conversations: int, dry_run: bool) -> None:
    """Remove conversations and threads nobody has written to for long, with all they hold.

    In transactions of 100, longest idle first; what was removed stays so if this is interrupted.
    What another transaction holds is left for the next time. --dry-run does the work of
    removing and takes it back, and who writes to one of them waits until then: give it
    --max-conversations where there is much.

    \b
    Example:
      tidebase-pg conversations prune --idle 90d --dry-run
    """
    removed: dict[str, int] = {}
    with retention.connected(dsn(), dry_run=dry_run) as kept:
        for framework in kept.installed(wanted):
            removed[framework] = in_batches(
                partial(kept.remove, framework, idle),
                f"conversations of {framework} removed",
                max_conversations,
                batch=BATCH,
            )
    verb = "would remove" if dry_run else "removed"
    counts = ", ".join(f"{count} of {framework}" for framework, count in removed.items())
    nothing = "nothing was idle for so long; nothing was removed"
    sentence = f"{verb} {counts}" if any(removed.values()) else nothing
    echo_fact(sentence, removed=removed, dry_run=dry_run)


COMMANDS: Final = [conversations]
