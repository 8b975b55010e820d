"""Usage without a cost is priced: by the own prices first, then by the list price it came with."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.runs.acts import Tide, refused
from tests.support import Clock

SMALL: dict[str, Any] = {"provider": "acme", "model": "small", "input_tokens": 3_000_000}


@pytest.fixture
def priced(tide: Tide) -> Tide:
    tide.set_price(provider="acme", model="small", input_usd=2, output_usd=Decimal("8.5"))
    tide.set_price(provider="*", model="small", input_usd=3, output_usd=9)
    return tide


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (SMALL, "6"),
        ({**SMALL, "output_tokens": 1000}, "6.0085"),
        ({**SMALL, "provider": "other"}, "9"),
        ({**SMALL, "provider": None}, "9"),
        ({**SMALL, "list_cost_usd": 1}, "6"),
        ({**SMALL, "cost_usd": 0, "list_cost_usd": 1}, "0"),
        ({**SMALL, "model": "large", "list_cost_usd": 1}, "1"),
        ({**SMALL, "model": "large"}, None),
        ({"provider": "acme", "model": "small", "total_tokens": 7}, None),
        ({"provider": "acme", "model": "small", "quantity": 7, "list_cost_usd": 1}, "1"),
    ],
)
def test_the_given_cost_counts_then_the_own_price_then_the_list_price(
    priced: Tide, usage: dict[str, Any], cost: str | None
) -> None:
    run = priced.started()
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    priced.record_usage(run_id=run.run_id, **usage)
    priced.begin_step(**own, name="a")
    priced.complete_step(**own, name="a", used=usage)
    expected = None if cost is None else Decimal(cost)
    assert [row.cost_usd for row in priced.list_usage(run_id=run.run_id)] == [expected, expected]


def test_own_prices_are_what_budgets_count(priced: Tide) -> None:
    run = priced.started(budget={"max_cost_usd": 6})
    own = {"run_id": run.run_id, "lease_id": run.lease_id}
    priced.begin_step(**own, name="a")
    priced.complete_step(**own, name="a", used={**SMALL, "list_cost_usd": 0.01})
    assert priced.begin_step(**own, name="b").action == "budget"


def test_a_price_is_set_listed_changed_and_removed_and_what_was_recorded_stays(
    priced: Tide, hour: Clock
) -> None:
    run = priced.started()
    priced.record_usage(run_id=run.run_id, **SMALL)
    changed = priced.set_price(provider="acme", model="small", input_usd=1, output_usd=1)
    assert (changed.set_at, changed.set_by) == (hour.now, "postgres")
    priced.record_usage(run_id=run.run_id, **SMALL)
    rows = [
        (row.provider, row.model, row.input_usd, row.output_usd) for row in priced.list_prices()
    ]
    assert rows == [("*", "small", 3, 9), ("acme", "small", 1, 1)]
    for _ in range(2):
        priced.set_price(provider="acme", model="small", input_usd=None, output_usd=None)
    priced.record_usage(run_id=run.run_id, **SMALL)
    assert [row.cost_usd for row in priced.list_usage(run_id=run.run_id)] == [6, 3, 9]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"provider": ""}, "provider is not valid: it is empty"),
        ({"model": "a\nb"}, "control character"),
        ({"input_usd": -1}, "input_usd is out of range: -1"),
        ({"output_usd": Decimal("NaN")}, "output_usd is out of range: NaN"),
        ({"output_usd": None}, "price of model 'small' is incomplete"),
    ],
)
def test_a_bad_price_is_named(tide: Tide, given: dict[str, Any], said: str) -> None:
    with refused("22023", said):
        tide.set_price(
            **{"provider": "acme", "model": "small", "input_usd": 1, "output_usd": 1, **given}
        )
    run = tide.started()
    with refused("22023", "list_cost_usd is out of range: -1"):
        tide.record_usage(run_id=run.run_id, list_cost_usd=-1)
    assert tide.list_prices() == []
