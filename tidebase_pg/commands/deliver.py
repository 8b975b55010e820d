"""Commands that send webhooks: deliver, deliveries list | redeliver."""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

import click

from tidebase_pg.commands.connect import LENGTH, connected
from tidebase_pg.commands.output import Command, Failure, Group, echo_row, echo_rows, progress
from tidebase_pg.commands.signals import ended
from tidebase_pg.types import DeliveryRow

COLUMNS = (
    "delivery_id", "type", "status", "attempts", "http_status", "due_at", "endpoint", "error",
    "run_id",
)  # fmt: skip
PAGE = 1000
"""Dead webhooks are looked for in pages of so many."""
HIDDEN = ("token", "ended_lease_id")


@click.command(cls=Command)
@click.option("--once", is_flag=True, help="Send what is due, then end.")
@click.option(
    "--concurrency", type=int, default=32, show_default=True, help="On their way at once."
)
@click.option("--timeout", type=LENGTH, help="For one attempt in all; default 15s.")
@click.option("--connect-timeout", type=LENGTH, help="To find the host and connect; default 5s.")
@click.option("--allow-http", is_flag=True, help="Send without encryption where the URL says http.")
@click.option(
    "--allow",
    multiple=True,
    metavar="NETWORK|HOST",
    help="Not public and still allowed: 10.1.0.0/16, or a host; may be given several times.",
)
@click.option("--allow-port", multiple=True, type=int, help="A port beside 443 and 80.")
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False),
    help="Certificates (PEM) to trust beside the public ones.",
)
def deliver(
    once: bool,
    concurrency: int,
    timeout: timedelta | None,
    connect_timeout: timedelta | None,
    allow_http: bool,
    allow: tuple[str, ...],
    allow_port: tuple[int, ...],
    ca_file: str | None,
) -> None:
    """Send webhooks until SIGTERM or Ctrl-C; what is on its way is waited for.

    Sends to public addresses over https only, unless options allow more. Signs with the secrets
    stored by webhooks set-secret, else with $TIDEBASE_WEBHOOK_SECRET, for other names
    $TIDEBASE_WEBHOOK_SECRET_NAME; several, the newest first, separated by spaces.
    Needs: pip install 'tidebase-pg[webhooks]'

    \b
    Example:
      tidebase-pg deliver --concurrency 8
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop_asked = ended(by_force=True)
    with connected() as tide:
        try:
            dispatcher = tide.dispatcher(
                concurrency=concurrency,
                timeout=15.0 if timeout is None else timeout,
                connect_timeout=5.0 if connect_timeout is None else connect_timeout,
                allow=allow,
                allow_ports=allow_port,
                allow_http=allow_http,
                ca_file=ca_file,
            )
        except RuntimeError as error:  # a missing package
            raise Failure(str(error)) from error
        echo_row(dispatcher.run(once=once, until=stop_asked))


@click.group(cls=Group)
def deliveries() -> None:
    """List webhooks of the outbox, and send them again."""


@deliveries.command("list")
@click.option(
    "--status", type=click.Choice(["pending", "delivered", "dead", "dropped"]), help="Only these."
)
@click.option("--run", "run_id", type=click.UUID, help="Only those of a run.")
@click.option("--before", type=click.UUID, help="The page after this delivery.")
@click.option("--limit", type=int, default=50, show_default=True, help="At most so many.")
def list_(status: str | None, run_id: UUID | None, before: UUID | None, limit: int) -> None:
    """List webhooks, newest first.

    \b
    Example:
      tidebase-pg deliveries list --status dead
    """
    with connected() as tide:
        rows = tide.deliveries.list(
            status=status, run_id=run_id, before=before, max_deliveries=limit
        )
        echo_rows((_facts(row.facts()) for row in rows), COLUMNS)


@deliveries.command()
@click.argument("delivery_ids", metavar="[DELIVERY_ID]...", type=click.UUID, nargs=-1)
@click.option("--dead", is_flag=True, help="All that were given up, instead of ids.")
@click.option(
    "--endpoint", metavar="ENDPOINT", help="With --dead: those to it only, as list shows it."
)
@click.option("--dry-run", is_flag=True, help="Show them and send nothing.")
def redeliver(
    delivery_ids: tuple[UUID, ...], dead: bool, endpoint: str | None, dry_run: bool
) -> None:
    """Send webhooks again, with the same id; one that is pending stays as it is.

    \b
    Examples:
      tidebase-pg deliveries redeliver $DELIVERY
      tidebase-pg deliveries redeliver --dead --dry-run
    """
    if dead == bool(delivery_ids):
        raise click.UsageError("give ids of deliveries or --dead, one of the two")
    if not dead and (endpoint is not None or dry_run):
        raise click.UsageError("--endpoint and --dry-run go with --dead")
    with connected() as tide, progress() as show:
        rows = [tide.deliveries.redeliver(delivery_id) for delivery_id in delivery_ids]
        page: list[DeliveryRow] | None = None
        while dead and page != []:
            before = page[-1].delivery_id if page else None
            page = tide.deliveries.list(status="dead", before=before, max_deliveries=PAGE)
            found = [row for row in page if endpoint in (None, row.endpoint)]
            rows += [
                row if dry_run else tide.deliveries.redeliver(row.delivery_id) for row in found
            ]
            show(f"{len(rows)} webhooks {'found' if dry_run else 'sent again'}")
        echo_rows((_facts(row.facts()) for row in rows), COLUMNS)


def _facts(facts: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in facts.items() if name not in HIDDEN}


COMMANDS = [deliver, deliveries]
