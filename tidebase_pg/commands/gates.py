"""Commands on gates: gates list | show | approve | reject | comment | remind."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import click

from tidebase_pg.commands.connect import DOCUMENT, actor, connected
from tidebase_pg.commands.output import Group, echo_fact, echo_row, echo_rows

COLUMNS = ("gate_id", "workflow", "name", "prompt", "created_at", "expires_at", "run_id")


@click.group(cls=Group)
def gates() -> None:
    """List, show and decide gates."""


@gates.command("list")
def list_() -> None:
    """List the decisions people are asked for.

    \b
    Example:
      tidebase-pg gates list
    """
    with connected() as tide:
        echo_rows((gate.facts() for gate in tide.gates.pending()), COLUMNS)


@gates.command()
@click.argument("gate_id", type=click.UUID)
def show(gate_id: UUID) -> None:
    """Show a gate: what is asked, who may decide, who has, and what was said.

    \b
    Example:
      tidebase-pg gates show $GATE
    """
    with connected() as tide:
        echo_row(tide.gates.describe(gate_id))


as_option = click.option(
    "--as", "name", help="Who decides; where a gate says who may, the name of the login."
)
payload_option = click.option(
    "--payload", type=DOCUMENT, help="JSON handed to the workflow with the decision."
)
comment_option = click.option("--comment", help="Why; kept in the event log.")


@gates.command()
@click.argument("gate_id", type=click.UUID)
@payload_option
@comment_option
@as_option
def approve(gate_id: UUID, payload: Any, comment: str | None, name: str | None) -> None:
    """Approve, or vote where a gate takes several; the run goes on. A gate is decided once.

    \b
    Examples:
      tidebase-pg gates approve $GATE --comment 'as agreed'
      tidebase-pg gates approve $GATE --payload '{"amount": 12}'
    """
    _decide(gate_id, "approved", payload, comment, name)


@gates.command()
@click.argument("gate_id", type=click.UUID)
@payload_option
@comment_option
@as_option
def reject(gate_id: UUID, payload: Any, comment: str | None, name: str | None) -> None:
    """Reject, or vote where a gate takes several; the run goes on. A gate is decided once.

    \b
    Example:
      tidebase-pg gates reject $GATE --comment 'too expensive'
    """
    _decide(gate_id, "rejected", payload, comment, name)


@gates.command()
@click.argument("gate_id", type=click.UUID)
@click.argument("text")
@as_option
def comment(gate_id: UUID, text: str, name: str | None) -> None:
    """Say something about a pending gate; it is kept in the event log.

    \b
    Example:
      tidebase-pg gates comment $GATE 'asked the customer'
    """
    _note(gate_id, "commented", text, name)


@gates.command()
@click.argument("gate_id", type=click.UUID)
@comment_option
@as_option
def remind(gate_id: UUID, comment: str | None, name: str | None) -> None:
    """Remind those a gate asks: its channels are sent the event.

    \b
    Example:
      tidebase-pg gates remind $GATE
    """
    _note(gate_id, "reminded", comment, name)


def _decide(
    gate_id: UUID, decision: str, payload: Any, comment: str | None, name: str | None
) -> None:
    with connected() as tide:
        gate = tide.gates.decide(
            gate_id, decision, name or actor(), payload=payload, comment=comment
        )
        facts = gate.facts()
        del facts["token_hash"]
        echo_row(facts)


def _note(gate_id: UUID, note: str, comment: str | None, name: str | None) -> None:
    with connected() as tide:
        tide.gates.note(gate_id, note, name or actor(), comment=comment)
        echo_fact(f"gate {gate_id}: {note}", gate_id=str(gate_id), note=note)


COMMANDS = [gates]
