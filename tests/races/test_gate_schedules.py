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


# --- escalation ------------------------------------------------------------------------------


@pytest.fixture
def escalating(stepper: Stepper, connection: Connection, clock: Clock) -> None:
    """The gate of the facts is for ann, and since a moment for boss as well."""
    row = one(
        connection,
        """
        select g.gate_id
        from tide.open_gate(%s, %s, 'pay', '?', rules => %s) as g
        """,
        stepper.facts["run"],
        stepper.facts["lease"],
        '{"assignees": ["ann"], "escalate_after": "10 minutes", "escalate_to": ["boss"]}',
    )
    stepper.facts["gate"] = row.gate_id
    clock.advance(timedelta(minutes=20))


def told(stepper: Stepper, connection: Connection) -> list[str]:
    """What the log says of the gate after it was opened."""
    rows = connection.execute(
        """
        select e.type || coalesce(' ' || (e.payload ->> 'actor'), '') as said
        from tide.event_log as e
        where e.run_id = %s
          and e.payload ->> 'gate_id' = %s
          and e.type <> 'gate.created'
        order by e.seq
        """,
        (stepper.facts["run"], str(stepper.facts["gate"])),
    ).fetchall()
    return [row.said for row in rows]


@pytest.mark.usefixtures("escalating")
@pytest.mark.parametrize(
    ("end", "later", "log"),
    [
        ("commit", "0", ["gate.resolved ann"]),
        ("rollback", "1", ["gate.escalated"]),
    ],
)
def test_a_gate_that_is_being_decided_is_not_escalated(
    stepper: Stepper, connection: Connection, end: str, later: str, log: list[str]
) -> None:
    stepper.session("a", approve=DECIDE.format("approved", "ann"))
    stepper.session("b", escalate=EXPIRE)
    stepper.play(
        f"""
        a.begin
        a.approve    approved, ann
        b.escalate   0
        a.{end}
        b.escalate   {later}
        """
    )
    assert told(stepper, connection) == log


@pytest.mark.usefixtures("escalating")
@pytest.mark.parametrize(
    ("end", "log"),
    [
        ("commit", ["gate.escalated", "gate.resolved ann"]),
        ("rollback", ["gate.resolved ann"]),
    ],
)
def test_who_decides_while_a_gate_is_escalated_waits_and_decides_once(
    stepper: Stepper, connection: Connection, end: str, log: list[str]
) -> None:
    stepper.session("a", escalate=EXPIRE)
    stepper.session("b", approve=DECIDE.format("approved", "ann"))
    stepper.play(
        f"""
        a.begin
        a.escalate   1
        b.approve    waiting
        a.{end}
        b.approve    approved, ann
        a.escalate   0
        """
    )
    assert told(stepper, connection) == log


@pytest.mark.usefixtures("escalating")
@pytest.mark.parametrize(
    ("end", "answer", "decided"),
    [("commit", "TD022", "gate.resolved boss"), ("rollback", "rejected, ann", "gate.resolved ann")],
)
def test_of_two_who_decide_an_escalated_gate_one_wins_and_the_other_is_told(
    stepper: Stepper, connection: Connection, end: str, answer: str, decided: str
) -> None:
    """Whoever was asked first still may."""
    connection.execute(EXPIRE.encode())
    stepper.session("boss", approve=DECIDE.format("approved", "boss"))
    stepper.session("ann", reject=DECIDE.format("rejected", "ann"))
    stepper.play(
        f"""
        boss.begin
        boss.approve   approved, boss
        ann.reject     waiting
        boss.{end}
        ann.reject     {answer}
        """
    )
    assert told(stepper, connection) == ["gate.escalated", decided]


# --- an approval that covers a step -----------------------------------------------------------

BEGIN = """
select s.action
from tide.begin_step(
  %({run})s, %({lease})s, '{step}', '{{"cents": 1}}', approved_by => %({gate})s
) as s
"""


@pytest.fixture
def approved(stepper: Stepper, connection: Connection) -> None:
    """The gate of the facts has approved one cent."""
    asked = one(
        connection,
        """select g.gate_id from tide.open_gate(%s, %s, 'pay', '?', '{"cents": 1}') as g""",
        stepper.facts["run"],
        stepper.facts["lease"],
    )
    stepper.facts["gate"] = asked.gate_id
    connection.execute("select tide.decide_gate(%s, 'approved', 'ann')", (asked.gate_id,))


@pytest.mark.usefixtures("approved")
@pytest.mark.parametrize(("end", "answer"), [("commit", "TD025"), ("rollback", "execute")])
def test_of_two_steps_that_begin_with_one_approval_one_is_executed(
    stepper: Stepper, connection: Connection, end: str, answer: str
) -> None:
    own = {"run": "run", "lease": "lease", "gate": "gate"}
    stepper.session("a", begin_step=BEGIN.format(step="pay", **own))
    stepper.session("b", begin_step=BEGIN.format(step="pay again", **own))
    stepper.play(
        f"""
        a.begin
        a.begin_step   execute
        b.begin_step   waiting
        a.{end}
        b.begin_step   {answer}
        """
    )
    begun = "select count(*) from tide.steps as s where s.approved_by = %s"
    assert value(connection, begun, stepper.facts["gate"]) == 1


@pytest.mark.usefixtures("approved")
@pytest.mark.parametrize(("end", "answer"), [("commit", "TD025"), ("rollback", "execute")])
def test_a_run_and_its_fork_use_one_approval_once(
    stepper: Stepper, connection: Connection, end: str, answer: str
) -> None:
    """Each has its own row and its own lease: only the approval stands between them."""
    facts = stepper.facts
    connection.execute(b"select tide.begin_step(%(run)s, %(lease)s, 'first')", facts)
    connection.execute(b"select tide.complete_step(%(run)s, %(lease)s, 'first')", facts)
    connection.execute(b"select tide.begin_step(%(run)s, %(lease)s, 'second')", facts)
    facts["fork"] = value(
        connection, "select f.run_id from tide.fork_run(%s, 'second') as f", facts["run"]
    )
    claimed = one(connection, "select c.run_id, c.lease_id from tide.claim(lease => '1 day') as c")
    assert claimed.run_id == facts["fork"]
    facts["fork_lease"] = claimed.lease_id
    copy = one(
        connection,
        "select g.gate_id, g.status from tide.open_gate(%s, %s, 'pay', '?', %s) as g",
        *claimed,
        '{"cents": 1}',
    )
    assert copy.status == "approved"
    facts["copy"] = copy.gate_id
    stepper.session("a", begin_step=BEGIN.format(run="run", lease="lease", step="pay", gate="gate"))
    stepper.session(
        "b", begin_step=BEGIN.format(run="fork", lease="fork_lease", step="pay", gate="copy")
    )
    stepper.play(
        f"""
        a.begin
        a.begin_step   execute
        b.begin_step   waiting
        a.{end}
        b.begin_step   {answer}
        """
    )
    paid = "select count(*) from tide.steps as s where s.name = 'pay'"
    assert value(connection, paid) == 1
