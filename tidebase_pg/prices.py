"""What model requests cost, by the list prices of genai-prices where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from importlib import import_module
from typing import Any, cast


def list_price(
    provider: str | None, model: str | None, input_tokens: int | None, output_tokens: int | None
) -> Decimal | None:
    """The list price in dollars; None where the package, the model or the tokens are not known.

    >>> list_price("openai", "gpt-4o", 1000, 100)
    Decimal('0.0035')
    """
    calculate = _calculator()
    if calculate is None or model is None or (input_tokens is None and output_tokens is None):
        return None
    try:
        return calculate(provider, model, input_tokens or 0, output_tokens or 0)
    except LookupError:
        return None


@cache
def _calculator() -> Callable[[str | None, str, int, int], Decimal] | None:
    try:
        prices: Any = import_module("genai_prices")
    except ImportError:
        return None

    def calculate(provider: str | None, model: str, taken: int, given: int) -> Decimal:
        usage = prices.Usage(input_tokens=taken, output_tokens=given)
        price = prices.calc_price(usage, model_ref=model, provider_id=provider)
        return cast(Decimal, price.total_price)

    return calculate
