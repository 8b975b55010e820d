"""Several who decide one gate, and the run that parks or ends meanwhile: one outcome."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.races.scenes import history, leased
from tests.races.stepper import Stepper
from tests.support import Clock, Connection, one, value

RESOLVE = "select g.status, g.actor from tide.resolve_gate(%(gate)s, %(token)s, '{}', '{}') as g"
DECIDE = "select g.status, g.actor from tide.decide_gate(%(gate)s, '{}', '{}') as g"
AWAIT = "select a.parked, a.status from tide.await_gate(%(run)s, %(lease)s, %(gate)s) as a"
CANCEL = "select r.status from tide.cancel(%(run)s) as r"
EXPIRE = "select tide._sweep('gate_timeouts', 10)"
CLAIM = "select c.run_id from tide.claim() as c"


@pytest.fixture(autouse=True)
def gate(stepper: Stepper, connection: Connection) -> None:
    """A claimed run and its open gate, of an hour; facts run, lease, gate and token."""
    stepper.facts["run"], stepper.facts["lease"] = leased(connection, lease="1 day")
    row = one(
        connection,
        """
        select g.gate_id, g.token
        from tide.open_gate(%s, %s, 'approve', '?', timeout => '1 hour') as g
        """,
        stepper.facts["run"],
        stepper.facts["lease"],
    )
    stepper.facts["gate"], stepper.facts["token"] = row.gate_id, row.token


@pytest.fixture
def parked(stepper: Stepper, connection: Connection) -> None:
    """The run is parked on the gate."""
    assert connection.execute(AWAIT.encode(), stepper.facts).fetchone() == (True, "pending")


def outcome(stepper: Stepper, connection: Connection) -> tuple[str, str | None]:
    """Status and actor of the gate; it was resolved once, and the count of open gates is right."""
    row = one(
        connection,
        """
        select g.status, g.actor, g.resolved_at, r.open_gates, r.waiting_on
        from tide.gates as g
        join tide.runs as r on r.run_id = g.run_id
        where g.gate_id = %s
        """,
        stepper.facts["gate"],
    )
    events = history(connection, stepper.facts["run"])
    assert events.count("gate.resolved") == (0 if row.actor in (None, "tide") else 1)
    assert row.open_gates == (1 if row.status == "pending" else 0)
    assert row.waiting_on is None
    return row.status, row.actor


@pytest.mark.usefixtures("parked")
def test_the_first_of_two_resolvers_decides_and_the_second_is_told(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", approve=RESOLVE.format("approved", "ann"))
    stepper.session("b", reject=RESOLVE.format("rejected", "bob"))
    stepper.play(
        """
        a.begin
        a.approve   approved, ann
        b.reject    waiting
        a.commit
        b.reject    TD022
        """
    )
    assert outcome(stepper, connection) == ("approved", "ann")


@pytest.mark.usefixtures("parked")
def test_the_second_resolver_decides_when_the_first_rolls_back(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", approve=RESOLVE.format("approved", "ann"))
    stepper.session("b", reject=DECIDE.format("rejected", "bob"))
    stepper.play(
        """
        a.begin
        a.approve   approved, ann
        b.reject    waiting
        a.rollback
        b.reject    rejected, bob
        """
    )
    assert outcome(stepper, connection) == ("rejected", "bob")


@pytest.mark.usefixtures("parked")
def test_the_same_answer_sent_twice_at_once_is_one(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", approve=RESOLVE.format("approved", "ann"))
    stepper.session("b", approve=RESOLVE.format("approved", "ann"))
    stepper.play(
        """
        a.begin
        a.approve   approved, ann
        b.approve   waiting
        a.commit
        b.approve   approved, ann
        """
    )
    assert outcome(stepper, connection) == ("approved", "ann")
    assert history(connection, stepper.facts["run"]).count("run.resumed") == 1


@pytest.mark.usefixtures("parked")
def test_a_resolver_after_the_time_out_that_commits_first_is_told(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.advance(timedelta(hours=2))
    stepper.session("a", expire=EXPIRE)
    stepper.session("b", approve=RESOLVE.format("approved", "ann"))
    stepper.play(
        """
        a.begin
        a.expire    1
        b.approve   waiting
        a.commit
        b.approve   TD022
        """
    )
    assert outcome(stepper, connection) == ("rejected", "timeout")


@pytest.mark.usefixtures("parked")
def test_the_time_out_passes_over_a_gate_that_is_being_resolved(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.advance(timedelta(hours=2))
    stepper.session("a", approve=RESOLVE.format("approved", "ann"))
    stepper.session("b", expire=EXPIRE)
    stepper.play(
        """
        a.begin
        a.approve   approved, ann
        b.expire    0
        a.commit
        b.expire    0
        """
    )
    assert outcome(stepper, connection) == ("approved", "ann")


@pytest.mark.usefixtures("parked")
def test_the_time_out_comes_when_the_resolver_before_it_rolls_back(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.advance(timedelta(hours=2))
    stepper.session("a", approve=RESOLVE.format("approved", "ann"))
    stepper.session("b", expire=EXPIRE)
    stepper.play(
        """
        a.begin
        a.approve    approved, ann
        b.expire     0
        a.rollback
        b.expire     1
        """
    )
    assert outcome(stepper, connection) == ("rejected", "timeout")


@pytest.mark.usefixtures("parked")
def test_two_upkeeps_time_a_gate_out_once(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.advance(timedelta(hours=2))
    stepper.session("a", expire=EXPIRE)
    stepper.session("b", expire=EXPIRE)
    stepper.play(
        """
        a.begin
        a.expire    1
        b.expire    0
        a.commit
        b.expire    0
        """
    )
    assert outcome(stepper, connection) == ("rejected", "timeout")


@pytest.mark.usefixtures("parked")
def test_a_resolver_after_the_cancel_that_commits_first_is_told(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", cancel=CANCEL)
    stepper.session("b", approve=RESOLVE.format("approved", "ann"))
    stepper.play(
        """
        a.begin
        a.cancel    cancelled
        b.approve   waiting
        a.commit
        b.approve   TD022
        """
    )
    assert outcome(stepper, connection) == ("canceled", "tide")


@pytest.mark.usefixtures("parked")
def test_a_cancel_after_the_resolver_keeps_the_decision(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", approve=RESOLVE.format("approved", "ann"))
    stepper.session("b", cancel=CANCEL)
    stepper.play(
        """
        a.begin
        a.approve   approved, ann
        b.cancel    waiting
        a.commit
        b.cancel    cancelled
        """
    )
    assert outcome(stepper, connection) == ("approved", "ann")
    assert history(connection, stepper.facts["run"])[-2:] == ["run.resumed", "run.cancelled"]


@pytest.mark.usefixtures("parked")
def test_the_time_out_passes_over_a_run_that_is_being_cancelled(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.advance(timedelta(hours=2))
    stepper.session("a", cancel=CANCEL)
    stepper.session("b", expire=EXPIRE)
    stepper.play(
        """
        a.begin
        a.cancel    cancelled
        b.expire    0
        a.commit
        b.expire    0
        """
    )
    assert outcome(stepper, connection) == ("canceled", "tide")


@pytest.mark.usefixtures("parked")
def test_a_resolver_beside_retry_finds_the_gate_gone(
    stepper: Stepper, connection: Connection
) -> None:
    connection.execute("select tide.cancel(%s)", (stepper.facts["run"],))
    stepper.session("a", retry="select r.status from tide.retry(%(run)s) as r")
    stepper.session("b", approve=RESOLVE.format("approved", "ann"))
    stepper.play(
        """
        a.begin
        a.retry     queued
        b.approve   TD022
        a.commit
        b.approve   TD010
        """
    )


def test_a_decision_while_the_run_parks_wakes_it(stepper: Stepper, connection: Connection) -> None:
    stepper.session("a", wait=AWAIT)
    stepper.session("b", approve=RESOLVE.format("approved", "ann"), claim=CLAIM)
    stepper.play(
        """
        a.begin
        a.wait      yes, pending
        b.approve   waiting
        a.commit
        b.approve   approved, ann
        b.claim     run
        """
    )
    assert outcome(stepper, connection) == ("approved", "ann")


def test_a_run_that_waits_while_somebody_decides_does_not_park(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.session("a", approve=RESOLVE.format("approved", "ann"))
    stepper.session("b", wait=AWAIT)
    stepper.play(
        """
        a.begin
        a.approve   approved, ann
        b.wait      waiting
        a.commit
        b.wait      no, approved
        """
    )
    assert "run.parked" not in history(connection, stepper.facts["run"])


def test_one_gate_is_opened_by_two_calls_of_one_worker(
    stepper: Stepper, connection: Connection
) -> None:
    opened = "select g.token is null from tide.open_gate(%(run)s, %(lease)s, 'new', '?') as g"
    stepper.session("a", open=opened)
    stepper.session("b", open=opened)
    stepper.play(
        """
        a.begin
        a.open     no
        b.open     waiting
        a.commit
        b.open     yes
        """
    )
    assert value(connection, "select count(*) from tide.gates as g where g.name = 'new'") == 1
