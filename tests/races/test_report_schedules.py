"""Reports of steps for many runs that come while somebody else holds one of them."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.races.scenes import history, leased
from tests.races.stepper import Stepper
from tests.support import Connection, value

REPORT = """
select string_agg(r.ordinal || ' ' || r.action, ', ' order by r.ordinal)
from tide.report_steps(jsonb_build_array(
  jsonb_build_object(
    'run_id', %(run)s, 'lease_id', %(lease)s, 'name', 'step', 'begin', true, 'complete', true
  ),
  jsonb_build_object(
    'run_id', %(other)s, 'lease_id', %(other_lease)s, 'name', 'step', 'begin', true
  )
)) as r
"""


@pytest.fixture(autouse=True)
def two(stepper: Stepper, connection: Connection) -> None:
    """Two leased runs; facts run, lease, other and other_lease."""
    stepper.facts["run"], stepper.facts["lease"] = leased(connection)
    stepper.facts["other"], stepper.facts["other_lease"] = leased(connection)
    stepper.session("worker", report=REPORT)


@pytest.mark.parametrize(
    "end",
    [
        "select r.run_id from tide.cancel(%(run)s) as r",
        "select r.run_id from tide.complete(%(run)s, %(lease)s) as r",
        "select r.run_id from tide.release(%(run)s, %(lease)s, '1 h') as r",
    ],
)
def test_reports_pass_over_a_run_that_somebody_ends_and_are_judged_after_it(
    stepper: Stepper, connection: Connection, end: str
) -> None:
    stepper.session("ender", end=end)
    stepper.play(
        """
        ender.begin
        ender.end       run
        worker.report   1 busy, 2 execute
        ender.commit
        worker.report   1 single, 2 execute
        """
    )
    assert "step.started" not in history(connection, stepper.facts["run"])


def test_reports_see_the_step_somebody_began_while_they_were_passed_over(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session(
        "thread", write="select s.action from tide.begin_step(%(run)s, %(lease)s, 'step') as s"
    )
    stepper.play(
        """
        thread.begin
        thread.write    execute
        worker.report   1 busy, 2 execute
        thread.commit
        worker.report   2 execute
        """
    )
    assert history(connection, stepper.facts["run"])[2:] == ["step.started", "step.completed"]
    attempts = "select array_agg(s.attempt || s.status order by s.status) from tide.steps as s"
    assert value(connection, attempts) == ["1completed", "1running"]


def test_events_to_two_runs_in_one_transaction_and_reports_never_wait_for_each_other(
    stepper: Stepper,
) -> None:
    send = "select tide.send_event(%({})s, 'paid') as sent"
    stepper.session("shop", first=send.format("other"), then=send.format("run"))
    stepper.play(
        """
        shop.begin
        shop.first      yes
        worker.report   2 busy
        shop.then       yes
        worker.report   1 busy, 2 busy
        shop.commit
        worker.report   2 execute
        """
    )


def test_a_report_beside_a_running_newer_attempt_writes_nothing(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.facts["lease"] = uuid4()
    stepper.play("worker.report 1 single, 2 execute")
    assert history(connection, stepper.facts["run"]) == ["run.enqueued", "run.claimed"]
