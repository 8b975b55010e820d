"""Commands on lanes: lanes list | set | throttle | lift | drop."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click

from tidebase_pg.commands.connect import DOCUMENT, LENGTH, MOMENT, actor, connected
from tidebase_pg.commands.output import Group, echo_fact, echo_row, echo_rows, settings
from tidebase_pg.display import count
from tidebase_pg.registry import LaneSettings
from tidebase_pg.types import ListedLane

COLUMNS = (
    "lane", "total", "adaptive_limit", "per_key", "running", "waiting", "used", "units",
    "throttled_until", "opened_at", "probe_at", "keys",
)  # fmt: skip


@click.group(cls=Group)
def lanes() -> None:
    """List, set, throttle and drop lanes: limits that queues share."""


@lanes.command("list")
def list_() -> None:
    """List lanes: their limits, who runs and who waits, until when none goes on.

    \b
    Example:
      tidebase-pg lanes list
    """
    with connected() as tide:
        echo_rows((_facts(lane) for lane in tide.lanes.list()), COLUMNS)


def _facts(lane: ListedLane) -> dict[str, Any]:
    """For people, what is counted no further says so."""
    facts = lane.facts()
    if not settings().json:
        for name in ("running", "waiting"):
            facts[name] = count(facts[name], lane.counted_to - 1)
    return facts


@lanes.command("set")
@click.argument("lane")
@click.option("--total", type=int, help="At most so many of its runs at once.")
@click.option("--per-key", type=int, help="At most so many runs with one key at once.")
@click.option("--adaptive", is_flag=True, default=None, help="Halve total when a run is refused.")
@click.option("--adaptive-min", type=int, help="It is never halved below; default 1.")
@click.option("--fair", is_flag=True, default=None, help="Serve its keys in turn.")
@click.option("--weights", type=DOCUMENT, help='Turns of keys, others have one: {"acme": 3}.')
@click.option("--breaker-failures", type=int, help="Failures in a row after which it opens.")
@click.option(
    "--breaker-classes",
    multiple=True,
    metavar="CLASS",
    help="A type of errors, or failure class, that counts; may be given several times.",
)
@click.option("--breaker-delay", type=LENGTH, help="Until a run probes; default 30s.")
@click.option("--breaker-max-delay", type=LENGTH, help="Between two probes; default 10m.")
@click.option("--units", type=int, help="At most so many units used within any period.")
@click.option("--units-per-key", type=int, help="At most so many units used for one key.")
@click.option("--period", type=LENGTH, help="How long what was used counts; default 1m.")
@click.option("--unit", help="What of recorded usage counts, as tokens; default what runs cost.")
@click.option(
    "--clear",
    multiple=True,
    type=click.Choice(list(LaneSettings.__annotations__)),
    help="No limit any more; may be given several times.",
)
def set_(lane: str, clear: tuple[str, ...], **given: Any) -> None:
    """Make a lane or change its settings; what is not named stays.

    \b
    Examples:
      tidebase-pg lanes set openai --total 20 --per-key 2
      tidebase-pg lanes set openai --clear per_key
      tidebase-pg lanes set openai --total 50 --adaptive --adaptive-min 2
      tidebase-pg lanes set openai --fair --weights '{"acme": 3}'
      tidebase-pg lanes set openai --breaker-failures 5 --breaker-classes TimeoutError
    """
    settings: LaneSettings = {}
    for name, value in given.items():
        if value not in (None, ()):
            settings[name] = value  # type: ignore[literal-required]
    for name in clear:
        settings[name] = None  # type: ignore[literal-required]
    with connected() as tide:
        echo_row(tide.lanes.set(lane, actor=actor(), **settings).facts())


@lanes.command()
@click.argument("lane")
@click.option("--until", type=MOMENT, help="As 2026-06-12T10:30:00Z.")
@click.option("--for", "length", type=LENGTH, help="So long from now.")
@click.option("--reason", help="Shown where it says why its runs wait.")
def throttle(
    lane: str, until: datetime | None, length: timedelta | None, reason: str | None
) -> None:
    """Let no run of a lane be claimed before a time; running runs go on.

    \b
    Example:
      tidebase-pg lanes throttle openai --for 2m --reason 'HTTP 429'
    """
    end = length if until is None else until
    if end is None or None not in (until, length):
        raise click.UsageError("give --until or --for")
    with connected() as tide:
        echo_row(tide.lanes.throttle(lane, end, reason=reason, actor=actor()).facts())


@lanes.command()
@click.argument("lane")
def lift(lane: str) -> None:
    """Let runs of a lane that is throttled, or open, be claimed again.

    \b
    Example:
      tidebase-pg lanes lift openai
    """
    with connected() as tide:
        echo_row(tide.lanes.lift(lane, actor=actor()).facts())


@lanes.command()
@click.argument("lane")
def drop(lane: str) -> None:
    """Remove a lane; its runs go on without a limit.

    \b
    Example:
      tidebase-pg lanes drop openai
    """
    with connected() as tide:
        dropped = tide.lanes.drop(lane, actor=actor())
    echo_fact(
        f"lane {lane} is dropped" if dropped else f"there was no lane {lane}",
        lane=lane,
        dropped=dropped,
    )


COMMANDS = [lanes]
