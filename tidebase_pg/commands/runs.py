"""Commands on runs: enqueue, events, send-event, top, and the group runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import click

from tidebase_pg.commands.connect import (
    BATCH,
    DOCUMENT,
    LENGTH,
    MOMENT,
    actor,
    connected,
    dry_run_option,
    in_batches,
    max_runs_option,
)
from tidebase_pg.commands.output import (
    FAILED,
    Command,
    Group,
    echo_fact,
    echo_row,
    echo_rows,
    progress,
    settings,
)
from tidebase_pg.commands.screens import document_lines, event_line, run_screen, top_screen
from tidebase_pg.commands.signals import ended
from tidebase_pg.display import moment
from tidebase_pg.registry import EnqueueOptions

STATUSES = ("pending", "queued", "running", "completed", "failed", "cancelled")
NOTHING = "nothing matches; nothing was changed"
COLUMNS = (
    "run_id",
    "workflow",
    "queue",
    "status",
    "attempt",
    "run_at",
    "created_at",
    "finished_at",
)


def failure_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which failures are meant."""
    for option in reversed(
        (
            click.option("--queue", help="Runs of this queue."),
            click.option("--workflow", help="Runs of this workflow."),
            click.option("--failure-class", help="As runs list shows it: error, max_retries …"),
            click.option("--step", help="The step they failed at, with its further uses."),
            click.option("--error", help="Text within the error, in any case."),
            click.option("--fingerprint", help="The kind of failure, as runs errors shows it."),
            click.option("--metadata", type=DOCUMENT, help="JSON object their metadata contain."),
            click.option("--created-after", type=MOMENT, help="Enqueued then or later."),
            click.option("--created-before", type=MOMENT, help="Enqueued before then."),
            click.option("--finished-after", type=MOMENT, help="Failed then or later."),
            click.option("--finished-before", type=MOMENT, help="Failed before then."),
        )
    ):
        command = option(command)
    return command


def given_filters(filters: dict[str, Any]) -> dict[str, Any]:
    """The filters that were given, as the database reads them."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in filters.items()
        if value is not None
    }


@click.command(cls=Command)
@click.argument("workflow")
@click.option("--input", type=DOCUMENT, help="JSON handed to the workflow; default {}.")
@click.option("--queue", default=None, help="Default: default.")
@click.option("--dedupe-key", help="At most one active run of the queue has this key.")
@click.option("--priority", type=int, help="Higher is claimed first; default 0.")
@click.option("--delay", type=LENGTH, help="Not before so long from now: 90s, 5m, 2h, 7d.")
@click.option("--run-at", type=MOMENT, help="Not before this time; beats --delay.")
@click.option("--max-attempts", type=int, help="Default: as the queue says, else 1.")
@click.option("--backoff", type=DOCUMENT, help='{"base": seconds, "max": seconds, "jitter": 0.2}.')
@click.option("--deadline", type=LENGTH, help="Cancelled when not finished so long from now.")
@click.option("--metadata", type=DOCUMENT, help="JSON object to find the run by.")
@click.option(
    "--on-conflict",
    type=click.Choice(["return", "replace", "raise", "cancel"]),
    help="When the dedupe key is taken; default return.",
)
@click.option("--dedupe-for", type=LENGTH, help="The key stays taken for so long after its end.")
@click.option("--debounce", type=LENGTH, help="Others of the key put it off to at most so long.")
@click.option("--channels", type=DOCUMENT, help="JSON array: where its events are sent.")
@click.option("--budget", type=DOCUMENT, help='What it may spend: {"max_cost_usd": 2}.')
@click.option("--recovery-url", help="Posted to when an attempt is lost, so that it is taken up.")
@click.option("--lane", help="The lane whose limits hold for it.")
@click.option("--lane-key", help="Whom it counts for within its lane.")
@click.option("--cost", type=int, help="How many units of its lane it uses; default 1.")
@click.option("--also-lanes", type=DOCUMENT, help='JSON array of others: [{"lane": "search"}].')
@click.option("--after", type=click.UUID, multiple=True, help="A run that has to end first.")
@click.option("--after-mode", type=click.Choice(["all", "any"]), help="Of these; default all.")
@click.option(
    "--after-failure",
    type=click.Choice(["cancel", "fail", "run"]),
    help="What becomes of it when they did not complete; default cancel.",
)
@click.option("--run-id", type=click.UUID, help="An id of your own; repeating it is harmless.")
def enqueue(workflow: str, **given: Any) -> None:
    """Enqueue a run of a workflow.

    \b
    Example:
      tidebase-pg enqueue mail --queue mails --input '{"to": "ann"}' --delay 5m --max-attempts 3
    """
    options: EnqueueOptions = {}
    for name, value in given.items():
        if value is not None and value != ():
            options[name] = value  # type: ignore[literal-required]
    with connected() as tide:
        echo_row(tide.enqueue(workflow, **options))


@click.group(cls=Group)
def runs() -> None:
    """List, show, cancel, retry and fork runs."""


@runs.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Runs in this state.")
@click.option("--queue", help="Runs of this queue.")
@click.option("--workflow", help="Runs of this workflow.")
@click.option("--metadata", type=DOCUMENT, help="Runs whose metadata contain this JSON object.")
@click.option("--before", type=click.UUID, help="Runs older than this one: the next page.")
@click.option("--max-runs", type=int, help="Default 100.")
def list_(**filters: Any) -> None:
    """List runs, newest first.

    \b
    Example:
      tidebase-pg runs list --queue mails --status failed
    """
    with connected() as tide:
        echo_rows((run.facts() for run in tide.runs.list(**filters)), COLUMNS)


@runs.command()
@click.argument("run_id", type=click.UUID)
def show(run_id: UUID) -> None:
    """Show a run: facts, why it waits, its timeline and steps, and what it carries.

    \b
    Example:
      tidebase-pg runs show $RUN
    """
    with connected() as tide:
        described = tide.runs.describe(run_id)
        reasons: list[dict[str, Any]] = []
        if described["run"]["status"] in ("pending", "queued", "running"):
            reasons = tide.runs.explain_wait(run_id)["reasons"]
    if settings().json:
        facts = dict(described["run"])
        facts["steps"] = described["steps"]
        if facts["status"] in ("pending", "queued"):
            facts["waits"] = reasons
        echo_row(facts)
        return
    documents = {
        name: None if (value := described["run"][name]) is None else document_lines(value)
        for name in ("error", "result", "input", "metadata")
    }
    for line in run_screen(described, reasons, documents, datetime.now(UTC)):
        click.echo(line)


@runs.command()
@click.argument("run_id", type=click.UUID)
@click.option("--after", type=int, default=0, help="Only events after this seq.")
def watch(run_id: UUID, after: int) -> None:
    """Follow the events of a run until it ends.

    Exits with 0 when the run completed, with 1 when it failed or was cancelled.

    \b
    Example:
      tidebase-pg runs watch $RUN
    """
    last = ""
    with connected() as tide:
        since = tide.runs.get(run_id).created_at
        for event in tide.runs.subscribe(run_id, after=after):
            if settings().json:
                echo_row(event.facts())
            else:
                click.echo(event_line(event, since))
            last = event.type
        outcome = last or f"run.{tide.runs.get(run_id).status}"
    if outcome != "run.completed":
        click.get_current_context().exit(FAILED)


@runs.command()
@click.argument("run_id", type=click.UUID)
@click.option("--reason", help="Shown with the run.")
@click.option("--spare-children", is_flag=True, help="Let its children go on.")
def cancel(run_id: UUID, reason: str | None, spare_children: bool) -> None:
    """Cancel a run; safe to repeat.

    \b
    Example:
      tidebase-pg runs cancel $RUN --reason 'asked twice'
    """
    with connected() as tide:
        run = tide.runs.cancel(run_id, reason=reason, actor=actor(), cascade=not spare_children)
        echo_row(run.facts())


@runs.command("cancel-many")
@click.option("--queue", help="Runs of this queue.")
@click.option("--workflow", help="Runs of this workflow.")
@click.option("--metadata", type=DOCUMENT, help="Runs whose metadata contain this JSON object.")
@click.option("--reason", help="Shown with each run.")
@max_runs_option
@dry_run_option
def cancel_many(max_runs: int, dry_run: bool, **filters: Any) -> None:
    """Cancel all active runs that match; at least one filter is needed.

    In transactions of 1000 runs; what was cancelled stays so if this is interrupted. --dry-run
    holds the locks of all of them until it has counted: give it --max-runs where there are many.

    \b
    Example:
      tidebase-pg runs cancel-many --queue mails --metadata '{"tenant": "acme"}' --dry-run
    """
    with connected(dry_run=dry_run) as tide:
        cancelled = in_batches(
            lambda most: tide.runs.cancel_many(max_runs=most, actor=actor(), **filters),
            "runs cancelled",
            max_runs,
        )
    verb = "would be cancelled" if dry_run else "cancelled"
    sentence = f"{cancelled} runs {verb}" if cancelled else NOTHING
    echo_fact(sentence, cancelled=cancelled, dry_run=dry_run)


@runs.command()
@click.argument("run_id", type=click.UUID)
@click.option("--run-at", type=MOMENT, help="Not before this time.")
@click.option("--delay", type=LENGTH, help="Not before so long from now; 0s: at once.")
@click.option("--priority", type=int, help="Default: as it is.")
def reschedule(
    run_id: UUID, run_at: datetime | None, delay: timedelta | None, priority: int | None
) -> None:
    """Move a queued run to another time, and to another priority if one is given.

    \b
    Example:
      tidebase-pg runs reschedule $RUN --delay 10m --priority 5
    """
    if (run_at is None) == (delay is None):
        raise click.UsageError("give either --run-at or --delay")
    at = run_at if run_at is not None else datetime.now(UTC) + (delay or timedelta(0))
    with connected() as tide:
        echo_row(tide.runs.reschedule(run_id, at, priority=priority).facts())


@runs.command()
@click.argument("run_id", type=click.UUID)
@click.option("--note", help="Why, for the event log.")
def revoke(run_id: UUID, note: str | None) -> None:
    """Take a running run from its worker and put it back; the attempt is not counted.

    \b
    Example:
      tidebase-pg runs revoke $RUN --note 'its machine is gone'
    """
    with connected() as tide:
        echo_row(tide.runs.revoke_lease(run_id, note=note, actor=actor()).facts())


@runs.command()
@click.argument("run_id", type=click.UUID)
@click.option("--keep-attempts", is_flag=True, help="Count on from the attempts made so far.")
@click.option("--run-at", type=MOMENT, help="Not before this time.")
def retry(run_id: UUID, keep_attempts: bool, run_at: datetime | None) -> None:
    """Put a failed or cancelled run back to work; finished steps are kept.

    \b
    Example:
      tidebase-pg runs retry $RUN
    """
    with connected() as tide:
        run = tide.runs.retry(
            run_id, actor=actor(), reset_attempts=not keep_attempts, run_at=run_at
        )
        echo_row(run.facts())


@runs.command()
@click.argument("run_id", type=click.UUID)
@click.option("--reason", help="Told to the application; default manual.")
def recover(run_id: UUID, reason: str | None) -> None:
    """Ask the application of a run to take it up again, by the run's recovery URL.

    For plain runs, which no worker claims; the run needs an address given at its start.

    \b
    Example:
      tidebase-pg runs recover $RUN
    """
    with connected() as tide:
        echo_row(tide.runs.recover(run_id, reason=reason).facts())


@runs.command()
@failure_options
@click.option("--max-groups", type=int, help="Default 50.")
def errors(max_groups: int | None, **filters: Any) -> None:
    """List kinds of failures, the most frequent first, among the newest 2000 failed runs.

    \b
    Example:
      tidebase-pg runs errors --queue mails
    """
    with connected() as tide:
        found = tide.runs.error_groups(filters=given_filters(filters), max_groups=max_groups)
    groups = [
        {**group, **{name: moment(group[name]) for name in ("first_at", "last_at")}}
        for group in found["groups"]
    ]
    columns = ("fingerprint", "runs", "last_at", "failure_class", "step", "message", "newest_run")
    echo_rows(groups, columns)
    if found["looked_to"] is not None and not settings().json:
        click.echo(f"looked at {found['looked']} failed runs; older ones are left out", err=True)


@runs.command()
@failure_options
@click.option(
    "--status", type=click.Choice(["failed", "cancelled"]), help="Runs that ended so: failed."
)
@click.option("--per-second", type=float, help="So many begin a second; default all at once.")
@click.option("--keep-attempts", is_flag=True, help="Count on from the attempts made so far.")
@click.option("--dry-run", is_flag=True, help="Count them, by queue and class, and change nothing.")
@max_runs_option
def redrive(
    per_second: float | None, keep_attempts: bool, dry_run: bool, max_runs: int, **filters: Any
) -> None:
    """Retry what failed and matches, newest first; at least one filter besides --status is needed.

    In transactions of 1000 runs; runs that fail after it began are left alone. Interrupted, the
    same command goes on with those that are failed still.

    \b
    Examples:
      tidebase-pg runs redrive --queue mails --error 'HTTP 502' --dry-run
      tidebase-pg runs redrive --queue mails --error 'HTTP 502' --per-second 20
    """
    chosen = given_filters(filters)
    done = refused = 0
    groups: dict[tuple[str | None, str | None], int] = {}
    with connected() as tide, progress() as show:
        place: dict[str, Any] | None = None
        while done < max_runs:
            said = tide.runs.redrive(
                chosen,
                per_second=per_second,
                dry_run=dry_run,
                place=place,
                max_runs=min(BATCH, max_runs - done),
                reset_attempts=not keep_attempts,
                actor=actor(),
            )
            done, refused = done + said["runs"], refused + said["refused"]
            for group in said["groups"] or ():
                kind = (group["queue"], group["failure_class"])
                groups[kind] = groups.get(kind, 0) + group["runs"]
            place = said["next"]
            show(f"{done} runs {'found' if dry_run else 'retried'}")
            if place is None:
                break
    if not done and not refused:
        echo_fact(NOTHING, retried=0, refused=0, dry_run=dry_run, groups=[])
        return
    if not dry_run:
        left = f", {refused} refused since their dedupe key is taken" if refused else ""
        echo_fact(f"{done} runs retried{left}", retried=done, refused=refused, dry_run=False)
        return
    ordered = sorted(groups.items(), key=lambda kind: -kind[1])
    kinds = [
        {"queue": queue, "failure_class": failure_class, "runs": count}
        for (queue, failure_class), count in ordered
    ]
    lines = [
        f"{count:>8}  {queue or '(no queue)'}  {failure_class or ''}".rstrip()
        for (queue, failure_class), count in ordered
    ]
    echo_fact(
        "\n".join([f"{done} runs would be retried", *lines]),
        retried=done,
        refused=0,
        dry_run=True,
        groups=kinds,
    )


@runs.command()
@click.argument("run_id", type=click.UUID)
@click.argument("step")
@click.argument("decision", type=click.Choice(["retry", "use_output", "fail"]))
@click.option("--output", type=DOCUMENT, help="With use_output: what the step is to return.")
def resolve(run_id: UUID, step: str, decision: str, output: Any) -> None:
    """Decide about a step in review: its run is parked until then.

    \b
    Examples:
      tidebase-pg runs resolve $RUN charge retry
      tidebase-pg runs resolve $RUN charge use_output --output '{"charged": true}'
    """
    with connected() as tide:
        found = tide.runs.resolve_step(run_id, step, decision, output=output, actor=actor())
        echo_row(found.facts())


@runs.command()
@click.argument("run_id", type=click.UUID)
@click.argument("at_step", required=False)
@click.option("--input", type=DOCUMENT, help="JSON handed to the workflow instead.")
@click.option("--overrides", type=DOCUMENT, help="JSON object: step name to another output.")
@click.option("--fork-id", type=click.UUID, help="An id of your own; repeating it is harmless.")
def fork(run_id: UUID, at_step: str | None, **given: Any) -> None:
    """Start a new run with the checkpoints before a step, or from the start without one.

    The original stays as it is.

    \b
    Examples:
      tidebase-pg runs fork $RUN write
      tidebase-pg runs fork $RUN --input '{"topic": "moon"}'
    """
    with connected() as tide:
        echo_row(tide.runs.fork(run_id, at_step, **given).facts())


@runs.command()
@click.argument("run_id", type=click.UUID)
@click.argument("limits", type=DOCUMENT)
def budget(run_id: UUID, limits: Any) -> None:
    """Set what a run may spend: {"max_cost_usd", "max_tokens", "max_steps"}, null for no limit.

    \b
    Example:
      tidebase-pg runs budget $RUN '{"max_cost_usd": 2}'
    """
    with connected() as tide:
        echo_row(tide.runs.set_budget(run_id, limits).facts())


@runs.command()
@click.argument("run_id", type=click.UUID)
def children(run_id: UUID) -> None:
    """List the children of a run.

    \b
    Example:
      tidebase-pg runs children $RUN
    """
    with connected() as tide:
        found = tide.runs.children(run_id)
        names = ("edge", "child_id", "workflow", "status", "created_at")
        echo_rows((child.facts() for child in found), names)


@click.command("send-event", cls=Command)
@click.argument("run_id", type=click.UUID)
@click.argument("name")
@click.option("--payload", type=DOCUMENT, help="JSON handed to the workflow; default null.")
def send_event(run_id: UUID, name: str, payload: Any) -> None:
    """Send a run an event; those of one name are heard one after the other.

    \b
    Example:
      tidebase-pg send-event $RUN paid --payload '{"amount": 12}'
    """
    with connected() as tide:
        sent = tide.send_event(run_id, name, payload)
    echo_fact("sent", run_id=run_id, name=name, sent=sent)


@click.command(cls=Command)
@click.argument("run_id", type=click.UUID)
@click.option("--after", type=int, default=None, help="Events after this seq.")
@click.option("--max-events", type=int, help="Default 1000.")
def events(run_id: UUID, after: int | None, max_events: int | None) -> None:
    """List the events of a run.

    \b
    Example:
      tidebase-pg events $RUN --after 10
    """
    with connected() as tide:
        found = tide.runs.events(run_id, after=after, max_events=max_events)
        echo_rows((event.facts() for event in found), ("seq", "created_at", "type", "payload"))


@click.command(cls=Command)
@click.option("--interval", type=LENGTH, default="2s", show_default=True, help="Between two looks.")
@click.option("--once", is_flag=True, help="Look once; so it is where there is no terminal.")
def top(interval: timedelta, once: bool) -> None:
    """Show what goes on: queues by pressure, running runs, failures. Ends on Ctrl-C.

    Needs the rights of an operator or a viewer.

    \b
    Example:
      tidebase-pg top --interval 5s
    """
    stop = ended(by_force=False)
    with connected() as tide:
        while True:
            seen = tide.overview()
            queues = tide.queues.survey()
            running = tide.runs.find(filters={"status": "running"}, max_runs=12)["runs"]
            if settings().json:
                echo_row({**seen, "queues": [queue.facts() for queue in queues]})
            else:
                times = {row.name: row for row in tide.queues.times()}
                lines = list(top_screen(seen, queues, running, times))
                if not once and sys.stdout.isatty():
                    click.clear()
                click.echo("\n".join(lines))
            if once or not sys.stdout.isatty() or stop.wait(interval.total_seconds()):
                return


COMMANDS = [enqueue, runs, events, send_event, top]
