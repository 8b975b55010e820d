"""Commands on queues: queues list | set | pause | resume."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from tidebase_pg.commands.connect import DOCUMENT, LENGTH, actor, connected
from tidebase_pg.commands.output import Group, echo_fact, echo_row, echo_rows
from tidebase_pg.registry import QueueSettings

COLUMNS = (
    "queue", "paused", "ready", "delayed", "parked", "running", "oldest_ready_age",
    "concurrency", "rate_limit", "completed_hour", "failed_hour",
)  # fmt: skip
TIMES = (
    "name", "runs", "wait_p50", "wait_p95", "wait_p99", "run_p50", "run_p95", "run_p99",
)  # fmt: skip
CLEARABLE = tuple(name for name in QueueSettings.__annotations__ if name != "paused")


@click.group(cls=Group)
def queues() -> None:
    """List, set, pause and resume queues."""


@queues.command("list")
def list_() -> None:
    """List queues: what is in them and what they did lately.

    \b
    Example:
      tidebase-pg queues list
    """
    with connected() as tide:
        echo_rows((queue.facts() for queue in tide.queues.list()), COLUMNS)


@queues.command("times")
@click.option("--duration", type=LENGTH, help="Of what ended in its hours; default 1h.")
@click.option("--per", type=click.Choice(["queue", "lane"]), help="Default queue.")
@click.argument("names", nargs=-1)
def times(duration: timedelta | None, per: str | None, names: tuple[str, ...]) -> None:
    """Show how long runs waited for their start and worked: 50, 95 and 99 percent of them.

    \b
    Example:
      tidebase-pg queues times --duration 1d
    """
    with connected() as tide:
        found = tide.queues.times(duration=duration, per=per, names=list(names) or None)
        echo_rows((row.facts() for row in found), TIMES)


@queues.command("set")
@click.argument("queue")
@click.option("--concurrency", type=int, help="At most so many runs at once.")
@click.option("--rate-limit", type=int, help="At most so many starts in every rate period.")
@click.option("--rate-period", type=LENGTH, help="Default 1m.")
@click.option("--max-attempts", type=int, help="For runs enqueued without their own.")
@click.option("--backoff-base", type=LENGTH, help="Before the second attempt, then doubled.")
@click.option("--backoff-max", type=LENGTH, help="The longest back-off.")
@click.option("--backoff-jitter", type=float, help="The share added at random, 0 to 1.")
@click.option("--retention", type=LENGTH, help="How long finished runs are kept.")
@click.option(
    "--retention-keeps",
    multiple=True,
    type=click.Choice(["gates", "usage"]),
    help="What stays when a run is removed; may be given several times.",
)
@click.option(
    "--budget", type=DOCUMENT, help='Of runs without their own, such as {"max_steps": 100}.'
)
@click.option("--push-url", help="Push runs there, instead of letting workers claim them.")
@click.option("--push-secret", help="Name of the secret that signs what is pushed.")
@click.option(
    "--gate-channels",
    type=DOCUMENT,
    help='Who is notified of each gate, with its token: [{"url": "https://…"}].',
)
@click.option(
    "--operator-urls/--no-operator-urls",
    default=None,
    help="Only operators choose channels and recovery URLs of its runs.",
)
@click.option(
    "--clear",
    multiple=True,
    type=click.Choice(CLEARABLE),
    help="Back to the default; may be given several times.",
)
def set_(queue: str, clear: tuple[str, ...], **given: Any) -> None:
    """Change settings of a queue; what is not named stays.

    \b
    Examples:
      tidebase-pg queues set mails --concurrency 4 --rate-limit 100 --rate-period 1m
      tidebase-pg queues set mails --clear rate_limit
    """
    settings: QueueSettings = {}
    for name, value in given.items():
        if value not in (None, ()):
            settings[name] = value  # type: ignore[literal-required]
    for name in clear:
        settings[name] = None  # type: ignore[literal-required]
    if not settings:
        raise click.UsageError("nothing to set: name at least one setting")
    with connected() as tide:
        echo_row(tide.queues.configure(queue, actor=actor(), **settings).facts())


@queues.command()
@click.argument("queue")
def pause(queue: str) -> None:
    """Let nothing be claimed from a queue; running runs go on.

    \b
    Example:
      tidebase-pg queues pause mails
    """
    with connected() as tide:
        echo_row(tide.queues.pause(queue, actor=actor()).facts())


@queues.command()
@click.argument("queue")
def resume(queue: str) -> None:
    """Let a paused queue be claimed from again.

    \b
    Example:
      tidebase-pg queues resume mails
    """
    with connected() as tide:
        echo_row(tide.queues.resume(queue, actor=actor()).facts())


@queues.command()
@click.argument("queue")
@click.argument("role")
@click.option(
    "--verb",
    "verbs",
    multiple=True,
    type=click.Choice(["enqueue", "claim"]),
    help="What its members may do; without it both.",
)
def grant(queue: str, role: str, verbs: tuple[str, ...]) -> None:
    """Restrict a queue to members of ROLE, beside those granted before.

    \b
    Example:
      tidebase-pg queues grant mails mailers --verb enqueue
    """
    with connected() as tide:
        echo_row(tide.queues.grant(queue, role, verbs=verbs or None).facts())


@queues.command()
@click.argument("queue")
@click.argument("role")
def revoke(queue: str, role: str) -> None:
    """Take back a grant; with its last one gone a queue is open again.

    \b
    Example:
      tidebase-pg queues revoke mails mailers
    """
    with connected() as tide:
        revoked = tide.queues.revoke(queue, role)
    sentence = f"{role} has no grant on queue {queue} any more"
    echo_fact(
        sentence if revoked else f"{role} had no grant on queue {queue}",
        queue=queue,
        role=role,
        revoked=revoked,
    )


COMMANDS = [queues]
