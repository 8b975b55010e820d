"""Steps that need an approval, and gates with rules, in both colours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tidebase_pg import AsyncRun, AsyncTidebase, InvalidArgument, Run, Tidebase

ASKED = {"cents": 1200}


@pytest.fixture
def tide(dsn: str) -> Iterator[Tidebase]:
    with Tidebase(dsn) as made:
        yield made


class Payout:
    """One workflow, run by workers of either colour."""

    def __init__(self, dsn: str, asynchronous: bool) -> None:
        self.dsn = dsn
        self.asynchronous = asynchronous
        self.paid: list[int] = []
        self.cents = 1200
        self.rules: dict[str, Any] = {}

    def _pay(self) -> int:
        self.paid.append(self.cents)
        return self.cents

    def work(self) -> None:
        if self.asynchronous:
            asyncio.run(self._work())
            return
        with Tidebase(self.dsn) as tide:

            @tide.workflow("payout")
            def payout(run: Run, input: dict[str, Any]) -> int:
                decision = run.gate("pay", "Pay?", data=ASKED, **self.rules)
                given = {"cents": self.cents}
                return run.step("pay", self._pay, input=given, approved_by=decision)

            tide.work(drain=True)

    async def _work(self) -> None:
        async with AsyncTidebase(self.dsn) as tide:

            @tide.workflow("payout")
            async def payout(run: AsyncRun, input: dict[str, Any]) -> int:
                decision = await run.gate("pay", "Pay?", data=ASKED, **self.rules)
                given = {"cents": self.cents}
                return await run.step("pay", self._pay, input=given, approved_by=decision)

            await tide.work(drain=True)


@pytest.fixture(params=[False, True], ids=["threads", "asyncio"])
def payout(request: pytest.FixtureRequest, dsn: str) -> Payout:
    return Payout(dsn, request.param)


def test_a_step_runs_under_the_approval_of_its_input(tide: Tidebase, payout: Payout) -> None:
    run_id = tide.enqueue("payout").run_id
    payout.work()
    (gate,) = tide.gates.pending()
    tide.gates.decide(gate.gate_id, "approved", "ann")
    payout.work()
    assert (tide.runs.get(run_id).status, payout.paid) == ("completed", [1200])
    assert tide.gates.describe(gate.gate_id)["used_step"] == "pay"


def test_what_was_not_approved_is_not_called(tide: Tidebase, payout: Payout) -> None:
    run_id = tide.enqueue("payout").run_id
    payout.work()
    (gate,) = tide.gates.pending()
    tide.gates.decide(gate.gate_id, "approved", "ann")
    payout.cents = 9_900_000
    payout.work()
    row = tide.runs.get(run_id)
    assert (row.status, row.error and row.error["type"]) == ("failed", "NotApproved")
    assert payout.paid == []


def test_rules_of_a_gate_are_given_by_name(tide: Tidebase, payout: Payout) -> None:
    payout.rules = {
        "quorum": 2,
        "assignees": ["ann", "bob"],
        "escalate_after": 3600,
        "escalate_to": ["eve"],
        "not_requester": False,
        "answer": {"type": "object", "required": ["ok"]},
    }
    run_id = tide.enqueue("payout").run_id
    payout.work()
    (gate,) = tide.gates.pending()
    told = tide.gates.describe(gate.gate_id)
    assert (told["quorum"], told["assignees"]) == (2, ["ann", "bob"])
    assert (told["escalate_to"], told["not_requester"]) == (["eve"], False)
    with pytest.raises(InvalidArgument, match=r"payload\.ok is missing"):
        tide.gates.decide(gate.gate_id, "approved", "ann")
    tide.gates.note(gate.gate_id, "viewed", "ann")
    tide.gates.decide(gate.gate_id, "approved", "ann", payload={"ok": 1})
    payout.work()
    assert tide.runs.get(run_id).waiting_on == "gate"


def test_a_gate_that_is_none_is_refused_before_anything_is_asked(tide: Tidebase) -> None:
    with tide.runs.attach("w") as run:
        with pytest.raises(TypeError, match="approved_by"):
            run.step("pay", lambda: 1, approved_by=7)  # type: ignore[arg-type]
        run.complete()
