"""record_usage: what runs spent, record by record, and in total."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.runs.acts import NOBODY, Tide, contents, refused
from tests.support import Clock, one


def test_recorded_usage_is_kept_and_logged(tide: Tide, hour: Clock) -> None:
    run = tide.started()
    used = tide.record_usage(
        run_id=run.run_id,
        kind="llm",
        step="plan",
        provider="p",
        model="m",
        label="draft",
        quantity=Decimal("1.5"),
        unit="page",
        input_tokens=100,
        output_tokens=20,
        cost_usd=Decimal("0.000125"),
        metadata={"x": 1},
    )
    assert (used.kind, used.step, used.provider, used.model) == ("llm", "plan", "p", "m")
    assert (used.quantity, used.unit, used.cost_usd) == (
        Decimal("1.5"),
        "page",
        Decimal("0.000125"),
    )
    assert (used.total_tokens, used.created_at, used.metadata) == (120, hour.now, {"x": 1})
    assert tide.list_usage(run_id=run.run_id) == [used]
    event = tide.last_event(run.run_id)
    assert event.type == "usage.recorded"
    assert (event.payload["total_tokens"], event.payload["cost_usd"]) == (120, 0.000125)


@pytest.mark.parametrize(
    ("given", "total"),
    [
        ({"input_tokens": 3, "output_tokens": 4}, 7),
        ({"input_tokens": 3}, 3),
        ({"output_tokens": 4}, 4),
        ({"input_tokens": 3, "output_tokens": 4, "total_tokens": 9}, 9),
        ({"input_tokens": 3, "total_tokens": 0}, 0),
        ({}, None),
        ({"input_tokens": 10**12, "output_tokens": 10**12}, 2 * 10**12),
    ],
)
def test_total_is_the_sum_unless_given(
    tide: Tide, given: dict[str, int], total: int | None
) -> None:
    run = tide.started()
    assert tide.record_usage(run_id=run.run_id, **given).total_tokens == total


def test_same_request_key_counts_once(tide: Tide) -> None:
    run, other = tide.started(), tide.started()
    first = tide.record_usage(run_id=run.run_id, request_key="r1", cost_usd=1)
    before = contents(tide.connection)
    assert tide.record_usage(run_id=run.run_id, request_key="r1", cost_usd=1) == first
    assert tide.record_usage(run_id=run.run_id, request_key="r1", cost_usd=9) == first
    assert contents(tide.connection) == before
    assert tide.record_usage(run_id=other.run_id, request_key="r1").usage_id != first.usage_id
    assert tide.record_usage(run_id=run.run_id, request_key="r2").usage_id != first.usage_id
    tide.record_usage(run_id=run.run_id)
    tide.record_usage(run_id=run.run_id)
    assert len(tide.list_usage(run_id=run.run_id)) == 4


def test_usage_is_recorded_in_any_state_of_the_run(tide: Tide) -> None:
    run_id = tide.enqueue(workflow="report").run_id
    tide.record_usage(run_id=run_id, cost_usd=1)
    (run,) = tide.claim()
    tide.record_usage(run_id=run_id, cost_usd=1)
    tide.complete(run_id=run_id, lease_id=run.lease_id)
    tide.record_usage(run_id=run_id, cost_usd=1)
    assert tide.log(run_id) == [
        "run.enqueued",
        "usage.recorded",
        "run.claimed",
        "usage.recorded",
        "run.completed",
        "usage.recorded",
    ]
    assert tide.describe_run(run_id=run_id)["usage"]["cost_usd"] == 3


def test_views_tell_the_totals(tide: Tide, hour: Clock) -> None:
    day = hour.now.date()
    first, second = tide.started(), tide.started("invoice")
    for tokens in (10, 20):
        tide.record_usage(
            run_id=first.run_id, input_tokens=tokens, output_tokens=1, cost_usd=Decimal("0.10")
        )
    hour.set(hour.now.replace(hour=0) + timedelta(days=1))
    tide.record_usage(run_id=second.run_id, quantity=2, unit="page")
    tide.record_usage(run_id=second.run_id, total_tokens=5, cost_usd=Decimal("1.25"))
    totals = "records, input_tokens, output_tokens, total_tokens, cost_usd"
    assert one(
        tide.connection,
        f"select {totals} from tide.usage_by_run as u where u.run_id = %s",
        first.run_id,
    ) == (2, 30, 2, 32, Decimal("0.20"))
    assert tide.connection.execute(
        f"select workflow, {totals} from tide.usage_by_workflow order by workflow".encode()
    ).fetchall() == [
        ("invoice", 2, None, None, 5, Decimal("1.25")),
        ("report", 2, 30, 2, 32, Decimal("0.20")),
    ]
    assert tide.connection.execute(
        "select day, records, cost_usd from tide.usage_by_day order by day"
    ).fetchall() == [(day, 2, Decimal("0.20")), (day + timedelta(days=1), 2, Decimal("1.25"))]


def test_run_without_usage_has_none(tide: Tide) -> None:
    run = tide.started()
    assert tide.list_usage(run_id=run.run_id) == []
    assert tide.describe_run(run_id=run.run_id)["usage"] is None


def test_records_are_listed_oldest_first_up_to_a_bound(tide: Tide) -> None:
    run = tide.started()
    made = [tide.record_usage(run_id=run.run_id).usage_id for _ in range(5)]
    assert [row.usage_id for row in tide.list_usage(run_id=run.run_id, max_records=3)] == made[:3]
    for bound in (0, 10001, None):
        with refused("22023", "max_records"):
            tide.list_usage(run_id=run.run_id, max_records=bound)


def test_unknown_run_spends_nothing(tide: Tide) -> None:
    with refused("TD010", NOBODY):
        tide.record_usage(run_id=NOBODY)
    with refused("TD010", NOBODY):
        tide.list_usage(run_id=NOBODY)


@pytest.mark.parametrize(
    ("sqlstate", "word", "arguments"),
    [
        ("22023", "input_tokens", {"input_tokens": -1}),
        ("22023", "output_tokens", {"output_tokens": -1}),
        ("22023", "total_tokens", {"total_tokens": -1}),
        ("22023", "total_tokens", {"total_tokens": 2**62}),
        ("22023", "quantity", {"quantity": Decimal("-0.5")}),
        ("22023", "cost_usd", {"cost_usd": Decimal("-0.000001")}),
        ("22023", "cost_usd", {"cost_usd": Decimal("NaN")}),
        ("22023", "quantity", {"quantity": Decimal("NaN")}),
        ("22023", "cost_usd", {"cost_usd": Decimal("Infinity")}),
        ("22023", "cost_usd", {"cost_usd": Decimal("1e16")}),
        ("22023", "kind", {"kind": None}),
        ("22023", "kind", {"kind": ""}),
        ("22023", "kind", {"kind": "a\nb"}),
        ("22023", "step", {"step": "x" * 257}),
        ("22023", "provider", {"provider": "x" * 129}),
        ("22023", "model", {"model": ""}),
        ("22023", "label", {"label": "a\x01b"}),
        ("22023", "unit", {"unit": "x" * 129}),
        ("22023", "request_key", {"request_key": ""}),
        ("22023", "request_key", {"request_key": "x" * 513}),
        ("22023", "metadata", {"metadata": "[" * 200 + "]" * 200}),
        ("TD040", "metadata", {"metadata": ["x" * 2**20]}),
    ],
)
def test_bad_argument_is_named_and_nothing_changes(
    tide: Tide, sqlstate: str, word: str, arguments: dict[str, Any]
) -> None:
    run = tide.started(budget={"max_steps": 3})
    before = contents(tide.connection)
    with refused(sqlstate, word):
        tide.record_usage(run_id=run.run_id, **arguments)
    assert contents(tide.connection) == before
