"""Commands on the own prices of models: prices set, list, remove."""

from __future__ import annotations

from typing import Final

import click

from tidebase_pg.commands.connect import actor, connected
from tidebase_pg.commands.output import Group, echo_fact, echo_rows


@click.group(cls=Group)
def prices() -> None:
    """Say what models cost here, for usage that is recorded without a cost."""


@prices.command("set")
@click.argument("provider")
@click.argument("model")
@click.option("--input", "input_usd", type=float, required=True, help="Dollars a million tokens.")
@click.option("--output", "output_usd", type=float, required=True, help="Dollars a million tokens.")
def set_price(provider: str, model: str, input_usd: float, output_usd: float) -> None:
    """Set what MODEL of PROVIDER costs, for usage recorded from now on.

    PROVIDER * stands for any that has no price of its own.

    \b
    Example:
      tidebase-pg prices set openai gpt-5 --input 1.25 --output 10
    """
    with connected() as tide:
        price = tide.prices.set(provider, model, input_usd, output_usd, actor=actor())
    echo_fact(
        f"{model} of {provider} costs {price.input_usd} in and {price.output_usd} out",
        provider=provider, model=model, input_usd=price.input_usd, output_usd=price.output_usd,
    )  # fmt: skip


@prices.command("list")
def list_prices() -> None:
    """Show the own prices, in dollars a million tokens.

    \b
    Example:
      tidebase-pg prices list
    """
    with connected() as tide:
        found = tide.prices.list()
    echo_rows(found, ["provider", "model", "input_usd", "output_usd", "set_at", "set_by"])


@prices.command()
@click.argument("provider")
@click.argument("model")
def remove(provider: str, model: str) -> None:
    """Remove the price of MODEL of PROVIDER: from now on its list price counts.

    \b
    Example:
      tidebase-pg prices remove openai gpt-5
    """
    with connected() as tide:
        tide.prices.set(provider, model, None, None, actor=actor())
    echo_fact(f"{model} of {provider} has no own price", provider=provider, model=model)


COMMANDS: Final = [prices]
