"""Usage of models whose list price is known is recorded with what it cost."""

from __future__ import annotations

from decimal import Decimal

import pytest

pytest.importorskip("genai_prices", reason="run: make test-agents")

from tidebase_pg.prices import list_price


def test_a_known_model_has_its_list_price() -> None:
    price = list_price("openai", "gpt-4o", 1_000_000, 1_000_000)
    assert price is not None
    assert Decimal(1) < price < Decimal(100)
    assert list_price("openai", "gpt-4o", 2_000_000, 2_000_000) == 2 * price
    assert list_price(None, "gpt-4o", 1_000_000, 1_000_000) == price


@pytest.mark.parametrize(
    ("provider", "model", "tokens"),
    [
        ("openai", "no-such-model", 10),
        ("nobody", "gpt-4o", 10),
        ("openai", None, 10),
        ("openai", "gpt-4o", None),
    ],
)
def test_what_is_not_known_has_no_price(
    provider: str, model: str | None, tokens: int | None
) -> None:
    assert list_price(provider, model, tokens, tokens) is None
