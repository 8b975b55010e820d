"""Commands on allowances: allowances list, set, drop."""

from __future__ import annotations

from typing import Final

import click

from tidebase_pg.commands.connect import actor, connected
from tidebase_pg.commands.output import Group, echo_fact, echo_rows

COLUMNS: Final = (
    "scope", "unit", "per", "amount", "spent", "reserved", "left_over", "waiting", "resets_at"
)  # fmt: skip
PER: Final = click.option(
    "--per", default="ever", help="ever, day, month, or an interval such as '5 hours'."
)


@click.group(cls=Group)
def allowances() -> None:
    """Say what the runs of a tenant or a team may spend together."""


@allowances.command("list")
@click.argument("scopes", nargs=-1)
def list_allowances(scopes: tuple[str, ...]) -> None:
    """Show the allowances, of all SCOPES or of some: what is spent, reserved and left.

    \b
    Example:
      tidebase-pg allowances list tenant:acme
    """
    with connected() as tide:
        found = tide.allowances.list(scopes=scopes or None)
    echo_rows(found, COLUMNS)


@allowances.command("set")
@click.argument("scope")
@click.argument("unit")
@click.argument("amount", type=float)
@PER
@click.option("--time-zone", help="Where days and months begin; default UTC.")
@click.option(
    "--estimate", type=float, help="What a step reserves that says nothing; default a hundredth."
)
def set_allowance(
    scope: str,
    unit: str,
    amount: float,
    per: str,
    time_zone: str | None,
    estimate: float | None,
) -> None:
    """Let the runs of SCOPE spend AMOUNT of UNIT: usd, tokens, or a unit of quantities.

    \b
    Example:
      tidebase-pg allowances set tenant:acme usd 100 --per month --time-zone Europe/Berlin
    """
    with connected() as tide:
        made = tide.allowances.set(
            scope,
            unit,
            amount,
            per=per,
            time_zone=time_zone,
            estimate=estimate,
            actor=actor(),
        )
    echo_fact(
        f"{scope} may spend {made.amount} {unit}, window: {made.per}",
        scope=scope, unit=unit, per=made.per, amount=made.amount, estimate=made.estimate,
    )  # fmt: skip


@allowances.command("drop")
@click.argument("scope")
@click.argument("unit")
@PER
def drop_allowance(scope: str, unit: str, per: str) -> None:
    """Remove the allowance of SCOPE in UNIT; what waits for it goes on.

    \b
    Example:
      tidebase-pg allowances drop tenant:acme usd --per month
    """
    with connected() as tide:
        dropped = tide.allowances.drop(scope, unit, per=per, actor=actor())
    said = "is dropped" if dropped else "had no such allowance"
    echo_fact(f"{scope} {said}", scope=scope, unit=unit, per=per, dropped=dropped)


COMMANDS: Final = [allowances]
