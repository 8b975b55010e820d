"""What model requests cost, by the list prices of genai-prices where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any


def cost_usd(
    provider: str | None, model: str | None, input_tokens: int | None, output_tokens: int | None
) -> Decimal | None:
    """The list price in dollars; None where the package, the model or the tokens are not known.

    >>> cost_usd("openai", "gpt-4o", 1000, 100)
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
        from genai_prices import Usage, calc_price
    except ImportError:
        return None

    def calculate(provider: str | None, model: str, taken: int, given: int) -> Decimal:
        usage: Any = Usage(input_tokens=taken, output_tokens=given)
        return calc_price(usage, model_ref=model, provider_id=provider).total_price

    return calculate
