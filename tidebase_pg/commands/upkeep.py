"""Commands that keep the installation going: reconcile, prune, retention, pause, adopt, changes."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final, Literal, get_args

import click

from tidebase_pg import display
from tidebase_pg.commands.connect import (
    LENGTH,
    actor,
    connected,
    dry_run_option,
    in_batches,
    max_runs_option,
)
from tidebase_pg.commands.output import Command, dsn, echo_fact, echo_row, echo_rows
from tidebase_pg.commands.signals import ended
from tidebase_pg.tidebase import Tidebase
from tidebase_pg.types import SettingKind
from tidebase_pg.values import seconds
from tidebase_pg.worker.reconciler import reports

COLUMNS: Final = (
    "change_id", "changed_at", "kind", "name", "actor", "before", "after",
)  # fmt: skip
BOOKKEEPING: Final = {"claim_floors", "finished_counts", "settled_clock", "stale_rows"}
"""What upkeep does for itself, every minute or so; a loop does not speak of it."""


@click.command(cls=Command)
@click.option("--batch", type=int, help="Rows at a time; default 100.")
@click.option("--budget", type=LENGTH, help="Time in all of one call; default 5s.")
@click.option("--loop", is_flag=True, help="Again and again until SIGTERM or Ctrl-C.")
@click.option("--every", type=LENGTH, help="With --loop: the pause between two calls; default 1s.")
def reconcile(
    batch: int | None, budget: timedelta | None, loop: bool, every: timedelta | None
) -> None:
    """Do what has become due: leases, deadlines, delayed runs. For cron; workers do it too.

    With --loop only what was done is printed, and a database that goes away is waited for.

    \b
    Examples:
      tidebase-pg reconcile
      tidebase-pg reconcile --loop --every 1s
    """
    if every is not None and not loop:
        raise click.UsageError("--every is for --loop")
    if not loop:
        with connected() as tide:
            echo_row(tide.reconcile(batch=batch, budget=budget))
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    pause = seconds("every", timedelta(seconds=1) if every is None else every, least=0.01)
    stop = ended(by_force=True)
    # Without patience of its own each call ends soon, and so does the program when told to.
    with Tidebase(dsn(), patience=0) as tide:
        for report in reports(lambda: tide.reconcile(batch=batch, budget=budget), pause, stop):
            done = {
                sweep: count
                for sweep, count in report.items()
                if count and count is not True and sweep not in BOOKKEEPING
            }
            if done:
                echo_fact(", ".join(f"{sweep} {count}" for sweep, count in done.items()), **done)


@click.command(cls=Command)
@click.option(
    "--older-than", type=LENGTH, help="Ended longer ago: 90d; default: as retention says."
)
@click.option("--queue", help="Only of this queue; needs --older-than.")
@max_runs_option
@dry_run_option
def prune(older_than: timedelta | None, queue: str | None, max_runs: int, dry_run: bool) -> None:
    """Remove finished runs with all that belongs to them.

    In transactions of 1000 runs, oldest first; what was removed stays so if this is interrupted.
    --dry-run does the work of removing and takes it back: give it --max-runs where there is much.

    \b
    Examples:
      tidebase-pg prune --older-than 90d --dry-run
      tidebase-pg prune --older-than 90d --queue mails
    """
    with connected(dry_run=dry_run) as tide:
        removed = in_batches(
            lambda most: tide.prune(older_than=older_than, max_runs=most, queue=queue),
            "runs removed",
            max_runs,
        )
    verb = "would remove" if dry_run else "removed"
    sentence = f"{verb} {removed} runs" if removed else "nothing is that old; nothing was removed"
    echo_fact(sentence, removed=removed, dry_run=dry_run)


@click.command(cls=Command)
@click.argument("length", type=LENGTH, required=False)
@click.option("--forever", is_flag=True, help="Keep them until you remove them.")
def retention(length: timedelta | None, forever: bool) -> None:
    """Set how long finished runs are kept whose queue does not say, and plain runs.

    A queue says it with queues set --retention. Upkeep removes what is older.

    \b
    Examples:
      tidebase-pg retention 90d
      tidebase-pg retention --forever
    """
    if (length is None) != forever:
        raise click.UsageError("give a length, such as 90d, or --forever")
    with connected() as tide:
        tide.set_retention(length, actor=actor())
    kept = "until you remove them" if length is None else f"for {display.length(length)}"
    echo_fact(f"finished runs are kept {kept}", retention=length)


@click.command(cls=Command)
@click.option("--reason", help="Shown where it says why nothing runs.")
def pause(reason: str | None) -> None:
    """Pause the whole installation.

    Nothing is claimed, fired or sent until resume; what runs goes on, new runs are accepted.

    \b
    Example:
      tidebase-pg pause --reason 'moving house'
    """
    with connected() as tide:
        tide.pause(reason=reason, actor=actor())
    echo_fact("paused", paused=True)


@click.command(cls=Command)
def resume() -> None:
    """Let a paused installation go on.

    \b
    Example:
      tidebase-pg resume
    """
    with connected() as tide:
        tide.resume(actor=actor())
    echo_fact("at work", paused=False)


@click.command(cls=Command)
@click.argument("mode", type=click.Choice(["resume", "skip_missed", "quarantine"]))
@dry_run_option
def adopt(mode: Literal["resume", "skip_missed", "quarantine"], dry_run: bool) -> None:
    """Put a restored copy to work, which is paused until then.

    resume: it takes the place of the original. skip_missed: schedules and webhooks due by now are
    passed over. quarantine: active runs are cancelled as well, as for a staging copy.

    \b
    Examples:
      tidebase-pg adopt quarantine --dry-run
      tidebase-pg adopt skip_missed
    """
    with connected(dry_run=dry_run) as tide:
        echo_row(tide.adopt(mode, actor=actor()))


@click.command(cls=Command)
@click.option("--kind", type=click.Choice(get_args(SettingKind)), help="Of such things only.")
@click.option("--name", help="Of one queue, lane or schedule; provider/model of a price.")
@click.option("--before", type=int, help="Older than this change_id: the next page.")
@click.option("--max-changes", type=int, help="Default 100.")
def changes(
    kind: SettingKind | None,
    name: str | None,
    before: int | None,
    max_changes: int | None,
) -> None:
    """List who changed which settings, and what was set before, newest first.

    \b
    Example:
      tidebase-pg changes --kind queue --name mails
    """
    with connected() as tide:
        found = tide.setting_changes(
            kind=kind, name=name, before_change=before, max_changes=max_changes
        )
        echo_rows((change.facts() for change in found), COLUMNS)


COMMANDS: Final = [reconcile, prune, retention, pause, resume, adopt, changes]
