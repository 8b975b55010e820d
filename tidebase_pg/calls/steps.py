"""Calls about steps: the checkpoints of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from tidebase_pg.call import Call, call
from tidebase_pg.documents import optional
from tidebase_pg.types import StepAnswer, StepFailure, StepRow, StepStart
from tidebase_pg.values import RunId


def begin_step(
    run_id: RunId,
    lease_id: UUID,
    name: str,
    *,
    input: Any = None,
    contract: Mapping[str, Any] | None = None,
    approved_by: RunId | None = None,
    estimate: Mapping[str, float] | None = None,
    lane: str | None = None,
    lane_key: str | None = None,
    cost: int | None = None,
) -> Call[StepStart]:
    """Ask for a step of a leased run: replay (its stored output), execute, review or budget (the
    run is parked until an operator decides), lane (it is parked until the step has a place there),
    wait (the same, but other steps are under way: nothing was done, ask again), failed (its
    contract forbids another try, the run has failed). approved_by uses up the approval of a gate
    whose data is the input; not covered by it: TD025. estimate, such as {"usd": 0.1}, is reserved
    in the budgets and allowances of the run until the step ends. lane, lane_key and cost are as of
    enqueue: the step holds its place there until it ends.
    """
    return call(
        "begin_step",
        StepStart.columns(),
        StepStart.one,
        run_id=run_id,
        lease_id=lease_id,
        name=name,
        input=optional(input, "the input of step {!r}", name),
        contract=optional(contract, "the contract of step {!r}", name),
        approved_by=approved_by,
        estimate=optional(estimate or None, "the estimate of step {!r}", name),
        lane=lane,
        lane_key=lane_key,
        cost=cost,
    )


def complete_step(
    run_id: RunId,
    lease_id: UUID,
    name: str,
    *,
    output: Any = None,
    used: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
) -> Call[StepRow]:
    """Store the output of a step: from now on it replays. used, one object or many with the keys of
    record_usage, is recorded with it, once, and settles the units of its lane. Renews the lease;
    the same call again gives the same answer.
    """
    return call(
        "complete_step",
        StepRow.columns(),
        StepRow.one,
        run_id=run_id,
        lease_id=lease_id,
        name=name,
        output=optional(output, "the output of step {!r}", name),
        used=optional(used or None, "what step {!r} used", name),
    )


def report_steps(reports: str) -> Call[list[StepAnswer]]:
    """Begin and complete steps of many leased runs in one transaction, each judged alone. A begin
    has a row: execute, or replay with the stored output. A row that says single: nothing was done,
    make this report with begin_step or complete_step. busy: nothing was done since another
    transaction holds the row of the run, make it again. A completion without a row is stored, and
    with it what the step used.

    `reports` is JSON text, an array as `reporting` writes it.
    """
    return call("report_steps", StepAnswer.columns(), StepAnswer.many, reports=reports)


def fail_step(
    run_id: RunId,
    lease_id: UUID,
    name: str,
    *,
    error: Mapping[str, Any] | None = None,
    retryable: bool | None = None,
    used: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
) -> Call[StepFailure]:
    """Report that a step failed. Its contract decides: auto_retry (retryable), safe_replay,
    manual_review (the run is parked) or fail_hard (the run has failed). used, as in complete_step,
    is recorded with it.
    """
    return call(
        "fail_step",
        StepFailure.columns(),
        StepFailure.one,
        run_id=run_id,
        lease_id=lease_id,
        name=name,
        error=optional(error, "the error of step {!r}", name),
        retryable=retryable,
        used=optional(used or None, "what step {!r} used", name),
    )


def resolve_step(
    run_id: RunId,
    name: str,
    decision: str,
    *,
    output: Any = None,
    actor: str | None = None,
) -> Call[StepRow]:
    """Decide about a step in manual_review: retry it, use_output as if it had completed, or fail
    the run. The parked run goes on in the same transaction.
    """
    return call(
        "resolve_step",
        StepRow.columns(),
        StepRow.one,
        run_id=run_id,
        name=name,
        decision=decision,
        output=optional(output, "the output of step {!r}", name),
        actor=actor,
    )


def get_step(run_id: RunId, name: str) -> Call[StepRow]:
    """A step of a run with its output and error; unknown: TD010."""
    return call("get_step", StepRow.columns(), StepRow.one, run_id=run_id, name=name)
