"""Webhooks carry the trace of who made the run, and nothing else that stands in its metadata."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runs.acts import Tide
from tests.webhooks.outbox import channel

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def headers(tide: Tide, trace: Any) -> dict[str, Any]:
    tide.create_run(workflow="w", channels=[channel()], metadata={"trace": trace})
    (claimed,) = tide.claim_deliveries()
    return {name: text for name, text in claimed.headers.items() if name.startswith("trace")}


@pytest.mark.parametrize("state", [{}, {"tracestate": "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"}])
def test_a_webhook_carries_the_trace_of_its_run(tide: Tide, state: dict[str, str]) -> None:
    carrier = {"traceparent": PARENT, **state}
    assert headers(tide, {**carrier, "baggage": "user=ann"}) == carrier


def test_a_run_without_a_trace_sends_none(tide: Tide) -> None:
    tide.create_run(workflow="w", channels=[channel()])
    (claimed,) = tide.claim_deliveries()
    assert sorted(claimed.headers) == ["webhook-id", "webhook-timestamp"]


@pytest.mark.parametrize(
    "parent",
    [
        PARENT.upper(),
        PARENT + "\r\nx-evil: 1",
        PARENT + "\n",
        f" {PARENT}",
        "",
        7,
        None,
        {},
        [PARENT],
    ],
)
def test_what_is_no_trace_becomes_no_header(tide: Tide, parent: Any) -> None:
    assert headers(tide, {"traceparent": parent}) == {}


@pytest.mark.parametrize("trace", [None, 7, "x", [], {"tracestate": "a=1"}])
def test_metadata_of_another_form_become_no_header(tide: Tide, trace: Any) -> None:
    assert headers(tide, trace) == {}


@pytest.mark.parametrize("state", ["a=1\r\nx-evil: 1", "a=1\n", "é=1", "a" * 513, "", 7])
def test_a_state_that_is_none_is_left_out(tide: Tide, state: Any) -> None:
    given = {"traceparent": PARENT, "tracestate": state}
    expected = {"traceparent": PARENT} | ({"tracestate": "7"} if state == 7 else {})
    assert headers(tide, given) == expected


OTHER = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-01"
ATTEMPT = {"traceparent": OTHER, "tracestate": "a=1"}


@pytest.mark.parametrize("error", [{}, {"error": {"message": "x"}, "retryable": False}])
@pytest.mark.parametrize("beside", [0, 1])
def test_a_webhook_of_an_outcome_carries_the_trace_of_its_attempt(
    tide: Tide, beside: int, error: dict[str, Any]
) -> None:
    for number in range(1 + beside):
        url = f"https://hooks{number}.example.com/"
        ends = channel(url, events=["run.completed", "run.failed"])
        tide.enqueue(workflow="w", channels=[ends], metadata={"trace": {"traceparent": PARENT}})
    (run, *others) = tide.claim(queues=["default"], max_runs=2)
    outcomes = [
        {"run_id": run.run_id, "lease_id": run.lease_id, "trace": ATTEMPT, **error},
        *({"run_id": one.run_id, "lease_id": one.lease_id} for one in others),
    ]
    assert all(verdict.accepted for verdict in tide.settle(outcomes=outcomes))
    found = {
        claimed.run_id: {name: text for name, text in claimed.headers.items() if "trace" in name}
        for claimed in tide.claim_deliveries()
    }
    assert found == {run.run_id: ATTEMPT} | {one.run_id: {"traceparent": PARENT} for one in others}


@pytest.mark.parametrize("trace", [{"traceparent": f"{OTHER}\r\nx-evil: 1"}, 7, None, [OTHER], {}])
def test_what_is_no_trace_of_an_attempt_leaves_that_of_the_run(tide: Tide, trace: Any) -> None:
    metadata = {"trace": {"traceparent": PARENT}}
    tide.enqueue(workflow="w", channels=[channel(events=["run.completed"])], metadata=metadata)
    (run,) = tide.claim(queues=["default"])
    (verdict,) = tide.settle(
        outcomes=[{"run_id": run.run_id, "lease_id": run.lease_id, "trace": trace}]
    )
    (claimed,) = tide.claim_deliveries()
    assert (verdict.accepted, claimed.headers["traceparent"]) == (True, PARENT)


def test_a_refused_outcome_leaves_no_trace(tide: Tide) -> None:
    tide.enqueue(workflow="w", channels=[channel()], metadata={"trace": {"traceparent": PARENT}})
    (run,) = tide.claim(queues=["default"])
    (verdict,) = tide.settle(
        outcomes=[{"run_id": run.run_id, "lease_id": run.run_id, "trace": ATTEMPT}]
    )
    assert not verdict.accepted
    assert {claimed.headers["traceparent"] for claimed in tide.claim_deliveries()} == {PARENT}
