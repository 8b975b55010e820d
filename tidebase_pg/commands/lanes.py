"""Commands on lanes: lanes list | set | throttle | lift | drop."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click

from tidebase_pg.commands.connect import LENGTH, MOMENT, actor, connected
from tidebase_pg.commands.output import Group, echo_fact, echo_row, echo_rows
from tidebase_pg.registry import LaneSettings

COLUMNS = ("lane", "total", "per_key", "running", "waiting", "throttled_until", "keys")


@click.group(cls=Group)
def lanes() -> None:
    """List, set, throttle and drop lanes: limits that queues share."""


@lanes.command("list")
def list_() -> None:
    """List lanes: their limits, who runs and who waits, until when none goes on."""
    with connected() as tide:
        echo_rows((lane.facts() for lane in tide.lanes.list()), COLUMNS)


@lanes.command("set")
@click.argument("lane")
@click.option("--total", type=int, help="At most so many of its runs at once.")
@click.option("--per-key", type=int, help="At most so many runs with one key at once.")
@click.option(
    "--clear",
    multiple=True,
    type=click.Choice(list(LaneSettings.__annotations__)),
    help="No limit any more; may be given several times.",
)
def set_(lane: str, clear: tuple[str, ...], **given: Any) -> None:
    """Make a lane or change its limits; what is not named stays."""
    settings: LaneSettings = {}
    for name, value in given.items():
        if value is not None:
            settings[name] = value  # type: ignore[literal-required]
    for name in clear:
        settings[name] = None  # type: ignore[literal-required]
    with connected() as tide:
        echo_row(tide.lanes.set(lane, actor=actor(), **settings).facts())


@lanes.command()
@click.argument("lane")
@click.option("--until", type=MOMENT, help="As 2026-06-12T10:30:00Z.")
@click.option("--for", "length", type=LENGTH, help="So long from now.")
@click.option("--reason", help="Shown to whoever asks why its runs wait.")
def throttle(
    lane: str, until: datetime | None, length: timedelta | None, reason: str | None
) -> None:
    """Let no run of a lane be claimed before a time; running runs go on."""
    end = length if until is None else until
    if end is None or None not in (until, length):
        raise click.UsageError("give --until or --for")
    with connected() as tide:
        echo_row(tide.lanes.throttle(lane, end, reason=reason, actor=actor()).facts())


@lanes.command()
@click.argument("lane")
def lift(lane: str) -> None:
    """Let runs of a throttled lane be claimed again."""
    with connected() as tide:
        echo_row(tide.lanes.lift(lane, actor=actor()).facts())


@lanes.command()
@click.argument("lane")
def drop(lane: str) -> None:
    """Remove a lane; its runs go on without a limit."""
    with connected() as tide:
        dropped = tide.lanes.drop(lane, actor=actor())
    echo_fact(
        f"lane {lane} is dropped" if dropped else f"there was no lane {lane}",
        lane=lane,
        dropped=dropped,
    )


COMMANDS = [lanes]
