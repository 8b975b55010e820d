"""Reports of several runs that come while another call reports the same ones."""

from __future__ import annotations

import pytest

from tests.races.scenes import leased
from tests.races.stepper import Stepper
from tests.support import Connection

HOLD = "select r.run_id from tide.runs_active as r where r.run_id = %(run)s for update"


def settle(**ends: str) -> str:
    """Settles the runs of the facts with their leases: `settle(run=FAILED)`."""
    outcomes = ", ".join(
        f"jsonb_build_object('run_id', %({run})s, 'lease_id', %({run}_lease)s{end})"
        for run, end in ends.items()
    )
    return (
        "select string_agg(coalesce(s.reason, 'accepted'), ', ' order by s.run_id) "
        f"from tide.settle(jsonb_build_array({outcomes})) as s"
    )


COMPLETED = ""
FAILED = ", 'error', '{}'::jsonb, 'retryable', false"


@pytest.fixture(autouse=True)
def two(stepper: Stepper, connection: Connection) -> None:
    """Two leased runs, `run` the older one, which somebody holds; both will be reported failed."""
    for run in ("run", "other"):
        stepper.facts[run], stepper.facts[f"{run}_lease"] = leased(connection)
    stepper.session("holder", hold=HOLD)
    stepper.session("failing", report=settle(run=FAILED, other=FAILED))


def test_a_held_run_is_busy_and_the_others_of_its_report_are_settled(stepper: Stepper) -> None:
    stepper.play(
        """
        holder.begin
        holder.hold      run
        failing.report   busy, accepted
        holder.commit
        failing.report   accepted, repeated
        """
    )


def test_a_completion_beside_a_failure_is_judged_by_itself(stepper: Stepper) -> None:
    stepper.session("mixed", report=settle(other=COMPLETED, run=FAILED))
    stepper.play(
        """
        holder.begin
        holder.hold      run
        failing.report   busy, accepted
        mixed.report     busy, finished
        holder.commit
        mixed.report     accepted, finished
        failing.report   repeated, repeated
        """
    )


def test_a_run_past_its_deadline_is_busy_while_somebody_holds_it(
    stepper: Stepper, connection: Connection
) -> None:
    connection.execute(
        "update tide.runs_active set deadline_at = tide._now() where run_id = %s",
        (stepper.facts["run"],),
    )
    stepper.session("late", report=settle(other=COMPLETED, run=COMPLETED))
    stepper.play(
        """
        holder.begin
        holder.hold      run
        late.report      busy, accepted
        holder.commit
        late.report      cancelled, repeated
        """
    )


def test_a_busy_run_keeps_its_lease_until_its_report_is_stored(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session(
        "upkeep",
        expire="update tide.runs_active set leased_until = tide._now() - interval '1 s'",
        sweep="select tide._sweep('expired_leases', 10)",
    )
    stepper.play(
        """
        upkeep.expire    nothing
        holder.begin
        holder.hold      run
        failing.report   busy, accepted
        holder.commit
        upkeep.sweep     0
        failing.report   accepted, repeated
        """
    )
