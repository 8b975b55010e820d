"""Commands on schedules: schedules list | set | delete | pause | resume | fire | fires | next."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import click

from tidebase_pg.commands.connect import DOCUMENT, LENGTH, MOMENT, actor, connected
from tidebase_pg.commands.output import Group, echo_fact, echo_row, echo_rows
from tidebase_pg.registry import ScheduleOptions

COLUMNS: Final = (
    "schedule", "cron", "time_zone", "workflow", "queue", "enabled", "paused", "next_fire_at",
    "last_fire_at",
)  # fmt: skip


@click.group(cls=Group)
def schedules() -> None:
    """List, set, delete, pause, resume and fire schedules."""


@schedules.command("list")
def list_() -> None:
    """List schedules: what is enqueued when.

    \b
    Example:
      tidebase-pg schedules list
    """
    with connected() as tide:
        echo_rows((schedule.facts() for schedule in tide.schedules.list()), COLUMNS)


@schedules.command("set")
@click.argument("name")
@click.argument("cron")
@click.argument("workflow")
@click.option("--input", type=DOCUMENT, help="JSON handed to the workflow; default {}.")
@click.option("--queue", help="Default: default.")
@click.option("--time-zone", help="What CRON means, as Europe/Berlin; default UTC.")
@click.option(
    "--misfire",
    type=click.Choice(["one", "skip", "all"]),
    help="Times nobody was there for: the latest, none, each; default one.",
)
@click.option(
    "--overlap",
    type=click.Choice(["allow", "skip"]),
    help="Whether a run may start beside an earlier one; default allow.",
)
@click.option("--max-attempts", type=int, help="Default: as the queue says, else 1.")
@click.option("--priority", type=int, help="Higher is claimed first; default 0.")
@click.option("--deadline", type=LENGTH, help="A run is cancelled when not finished by then.")
@click.option("--metadata", type=DOCUMENT, help="JSON object to find the runs by.")
@click.option("--lane", help="The lane whose limits hold for its runs.")
@click.option("--lane-key", help="Whom its runs count for within the lane, such as a customer.")
@click.option("--cost", type=int, help="How many units of the lane each run uses; default 1.")
@click.option("--also-lanes", type=DOCUMENT, help='JSON array of others: [{"lane": "search"}].')
@click.option("--disabled", is_flag=True, help="Declare it, but never fire it.")
def set_(name: str, cron: str, workflow: str, disabled: bool, **given: Any) -> None:
    """Declare a schedule; what is not named gets its default.

    CRON is five fields in one argument, as "0 9 * * mon-fri", or @hourly, @daily, @weekly,
    @monthly, @yearly.

    \b
    Example:
      tidebase-pg schedules set nightly '30 2 * * *' mail --queue mails --time-zone Europe/Berlin
    """
    options: ScheduleOptions = {
        "cron": cron,
        "workflow_name": workflow,
        "enabled": not disabled,
        "actor": actor(),
    }
    for key, value in given.items():
        if value is not None:
            options[key] = value  # type: ignore[literal-required]
    with connected() as tide:
        echo_row(tide.schedules.set(name, **options).facts())


@schedules.command()
@click.argument("name")
def delete(name: str) -> None:
    """Delete a schedule; its runs, and what is known of its fires, stay.

    \b
    Example:
      tidebase-pg schedules delete nightly
    """
    with connected() as tide:
        deleted = tide.schedules.delete(name, actor=actor())
    sentence = "deleted" if deleted else "there was no such schedule"
    echo_fact(sentence, schedule=name, deleted=deleted)


@schedules.command()
@click.argument("name")
def pause(name: str) -> None:
    """Stop a schedule until it is resumed, whatever is declared meanwhile.

    \b
    Example:
      tidebase-pg schedules pause nightly
    """
    with connected() as tide:
        echo_row(tide.schedules.pause(name, actor=actor()).facts())


@schedules.command()
@click.argument("name")
def resume(name: str) -> None:
    """Let a paused schedule go on with its next time.

    \b
    Example:
      tidebase-pg schedules resume nightly
    """
    with connected() as tide:
        echo_row(tide.schedules.resume(name, actor=actor()).facts())


@schedules.command()
@click.argument("name")
def fire(name: str) -> None:
    """Enqueue a run of a schedule now; its next time stays as it is.

    \b
    Example:
      tidebase-pg schedules fire nightly
    """
    with connected() as tide:
        echo_row(tide.schedules.fire(name).facts())


@schedules.command()
@click.argument("name")
@click.option("--before", type=MOMENT, help="Older than this time: the next page.")
@click.option("--max-fires", type=int, help="Default 100.")
def fires(name: str, before: datetime | None, max_fires: int | None) -> None:
    """List what became of the times of a schedule, newest first.

    \b
    Example:
      tidebase-pg schedules fires nightly --max-fires 10
    """
    with connected() as tide:
        found = tide.schedules.fires(name, before=before, max_fires=max_fires)
        names = ("fire_at", "outcome", "fires", "last_at", "run_id")
        echo_rows((fire.facts() for fire in found), names)


@schedules.command("next")
@click.argument("cron")
@click.option("--after", type=MOMENT, help="As 2026-06-12T10:30:00Z; default now.")
@click.option("--time-zone", help="Default UTC.")
@click.option(
    "--count", type=click.IntRange(1, 1000), default=1, show_default=True, help="So many times."
)
def next_(cron: str, after: datetime | None, time_zone: str | None, count: int) -> None:
    """Show the next times of a cron expression.

    \b
    Example:
      tidebase-pg schedules next '30 2 * * *' --time-zone Europe/Berlin --count 3
    """
    found: list[datetime] = []
    with connected() as tide:
        for _ in range(count):
            after = tide.schedules.next_fire(cron, after=after, time_zone=time_zone)
            found.append(after)
    echo_rows({"fire_at": moment} for moment in found)


COMMANDS: Final = [schedules]
