"""Commands on gates: gates list | show | approve | reject."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import click

from tidebase_pg.commands.connect import DOCUMENT, actor, connected
from tidebase_pg.commands.output import Group, echo_row, echo_rows

COLUMNS = ("gate_id", "workflow", "name", "prompt", "created_at", "expires_at", "run_id")


@click.group(cls=Group)
def gates() -> None:
    """List, show and decide gates."""


@gates.command("list")
def list_() -> None:
    """List the decisions people are asked for."""
    with connected() as tide:
        echo_rows((gate.facts() for gate in tide.gates.pending()), COLUMNS)


@gates.command()
@click.argument("gate_id", type=click.UUID)
def show(gate_id: UUID) -> None:
    """Show a gate: what is asked, and how it was decided."""
    with connected() as tide:
        echo_row(tide.gates.get(gate_id).facts())


@gates.command()
@click.argument("gate_id", type=click.UUID)
@click.option("--payload", type=DOCUMENT, help="JSON handed to the workflow with the decision.")
def approve(gate_id: UUID, payload: Any) -> None:
    """Approve; the run goes on. A gate is decided once."""
    _decide(gate_id, "approved", payload)


@gates.command()
@click.argument("gate_id", type=click.UUID)
@click.option("--payload", type=DOCUMENT, help="JSON handed to the workflow with the decision.")
def reject(gate_id: UUID, payload: Any) -> None:
    """Reject; the run goes on with that. A gate is decided once."""
    _decide(gate_id, "rejected", payload)


def _decide(gate_id: UUID, decision: str, payload: Any) -> None:
    with connected() as tide:
        gate = tide.gates.decide(gate_id, decision, actor(), payload=payload)
        facts = gate.facts()
        del facts["token_hash"]
        echo_row(facts)


COMMANDS = [gates]
