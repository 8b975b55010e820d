"""The command for monitors: health, judged by limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import click

from tidebase_pg.commands.connect import LENGTH, connected
from tidebase_pg.commands.output import FAILED, Command, echo_row, settings
from tidebase_pg.types import Health


@dataclass(frozen=True, slots=True)
class Limit:
    """How old, or how many, a fact may be."""

    fact: str
    option: str
    most: timedelta | int
    help: str


LIMITS: Final = (
    Limit(
        "last_reconcile_age", "--reconcile-age", timedelta(minutes=5),
        "Since reconcile was last called.",
    ),
    Limit(
        "oldest_expired_lease_age", "--expired-lease-age", timedelta(minutes=1),
        "An expired lease nobody took over.",
    ),
    Limit(
        "oldest_ready_run_age", "--ready-age", timedelta(minutes=15),
        "A ready run nobody claimed.",
    ),
    Limit(
        "oldest_due_schedule_age", "--due-schedule-age", timedelta(minutes=1),
        "A due schedule nobody fired.",
    ),
    Limit(
        "oldest_due_delivery_age", "--due-delivery-age", timedelta(minutes=5),
        "A due webhook nobody sent.",
    ),
    Limit("dead_deliveries", "--dead-deliveries", 0, "Webhooks given up."),
    Limit("open_breakers", "--open-breakers", 0, "Hosts that webhooks do not reach."),
    Limit("poison_rows", "--poison-rows", 0, "Rows that upkeep fails on."),
    Limit("leaked_slots", "--leaked-slots", 0, "Slots held by no run."),
    Limit(
        "oldest_transaction_age", "--transaction-age", timedelta(hours=1),
        "An open transaction.",
    ),
    Limit(
        "vacuum_horizon_age", "--vacuum-horizon-age", 5_000_000,
        "Transactions since what vacuum may remove.",
    ),
)  # fmt: skip


def _shown(value: timedelta | int) -> str:
    return f"{value.total_seconds():g}s" if isinstance(value, timedelta) else str(value)


def limits(command: click.Command) -> click.Command:
    """The command with an option for each limit."""
    command.params[:0] = [
        click.Option(
            [limit.option, limit.fact],
            type=LENGTH if isinstance(limit.most, timedelta) else click.IntRange(0),
            default=limit.most,
            help=f"{limit.help} At most {_shown(limit.most)}.",
        )
        for limit in LIMITS
    ]
    return command


@limits
@click.command(cls=Command)
def health(**most: Any) -> None:
    """Show whether upkeep runs and nothing has grown old.

    Exits with 1 when something is paused, late or broken; each limit is an option.

    \b
    Examples:
      tidebase-pg health
      tidebase-pg health --ready-age 5m
    """
    with connected() as tide:
        found = tide.health()
    wrong = problems(found, most)
    facts = {"healthy": not wrong, **found.facts()}
    if settings().json:
        facts["problems"] = wrong
    echo_row(facts)
    if wrong:
        for problem in () if settings().json else wrong:
            click.echo(problem, err=True)
        click.get_current_context().exit(FAILED)


def problems(health: Health, most: Mapping[str, Any]) -> list[str]:
    """What exceeds its limit, one sentence each."""
    found: list[str] = []
    if health.paused_at is not None:
        found.append(f"the installation is paused: {health.pause_reason or 'no reason given'}")
    if health.last_reconcile_age is None:
        found.append("reconcile was never called")
    for limit in LIMITS:
        value = getattr(health, limit.fact)
        if value is not None and value > most[limit.fact]:
            found.append(f"{limit.fact} is {_shown(value)}, more than {_shown(most[limit.fact])}")
    return found


COMMANDS: Final = [health]
