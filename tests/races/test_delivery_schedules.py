"""Dispatchers beside one another, beside business transactions and beside deciders of gates."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from tests.races.stepper import Stepper
from tests.support import Clock, Connection, one, value

HOOK = "https://hooks.example.com/tide"
CLAIM = "select count(*) from tide.claim_deliveries(max_deliveries => 100)"
FINISH = "select f.status from tide.finish_delivery(%(delivery)s, %(lease)s, 200) as f"
LATE = timedelta(minutes=2)


def announced(connection: Connection, url: str = HOOK, **options: Any) -> Any:
    """A plain run, begun, with a channel; what was to be sent of it is gone."""
    run = one(
        connection,
        """
        select b.*
        from tide.create_run('w', channels => %s) as c
        cross join lateral tide.begin_run(c.run_id) as b
        """,
        Jsonb([{"type": "webhook", "url": url, **options}]),
    )
    connection.execute("delete from tide.deliveries as d where d.run_id = %s", (run.run_id,))
    return run


def asked(connection: Connection) -> Any:
    """The id of a gate with a channel of its own, to which its token goes."""
    run = one(
        connection,
        """
        select b.*
        from tide.create_run('w') as c
        cross join lateral tide.begin_run(c.run_id) as b
        """,
    )
    return value(
        connection,
        "select g.gate_id from tide.open_gate(%s, %s, 'ask', '?', channels => %s) as g",
        run.run_id,
        run.lease_id,
        Jsonb([{"type": "webhook", "url": HOOK}]),
    )


def delivery(connection: Connection, url: str = HOOK) -> Any:
    """A delivery that is due, and its run."""
    run = announced(connection, url)
    connection.execute("select tide.set_state(%s, '1')", (run.run_id,))
    return one(connection, "select d.* from tide.deliveries as d where d.run_id = %s", run.run_id)


def claimed(connection: Connection) -> Any:
    delivery(connection)
    return one(connection, "select c.delivery_id, c.lease_id from tide.claim_deliveries() as c")


def test_late_report_behind_a_second_claim_is_refused(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.set(clock.now)
    stepper.facts["delivery"], stepper.facts["lease"] = claimed(connection)
    clock.advance(LATE)
    stepper.session("slow", finish=FINISH)
    stepper.session("other", claim=CLAIM)
    stepper.play(
        """
        other.begin
        other.claim   1
        slow.finish   waiting
        other.commit
        slow.finish   TD002
        """
    )


def test_late_report_before_a_second_claim_ends_the_delivery(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.set(clock.now)
    stepper.facts["delivery"], stepper.facts["lease"] = claimed(connection)
    clock.advance(LATE)
    stepper.session("slow", finish=FINISH)
    stepper.session("other", claim=CLAIM)
    stepper.play(
        """
        slow.begin
        slow.finish   delivered
        other.claim   0
        slow.commit
        other.claim   0
        slow.finish   delivered
        """
    )


def test_claim_passes_what_another_dispatcher_holds(
    stepper: Stepper, connection: Connection
) -> None:
    for name in "ab":
        delivery(connection, f"https://{name}.example.com")
    stepper.session("a", claim=CLAIM)
    stepper.session("b", claim=CLAIM)
    stepper.play(
        """
        a.begin
        a.claim   2
        b.claim   0
        a.rollback
        b.claim   2
        """
    )


def test_dispatcher_and_upkeep_wait_for_no_business_transaction(
    stepper: Stepper, connection: Connection, clock: Clock
) -> None:
    clock.set(clock.now)
    run = announced(connection)
    stepper.facts |= {"run": run.run_id, "lease_of_run": run.lease_id}
    connection.execute("select tide.set_state(%s, '1')", (run.run_id,))
    stepper.facts["delivery"], stepper.facts["lease"] = one(
        connection, "select c.delivery_id, c.lease_id from tide.claim_deliveries() as c"
    )
    stepper.session(
        "business",
        gate="select g.status from tide.open_gate("
        "%(run)s, %(lease_of_run)s, 'ask', '?', timeout => '1 second') as g",
        end="select r.status from tide.complete(%(run)s, %(lease_of_run)s) as r",
    )
    stepper.session("sender", claim=CLAIM, finish=FINISH.replace("200", "410"))
    stepper.session("upkeep", reconcile="call tide.reconcile()")
    stepper.play(
        """
        business.begin
        business.gate      pending
        business.end       completed
        sender.finish      dead
        sender.claim       0
        upkeep.reconcile   idle
        business.commit
        upkeep.reconcile   deliveries=1
        """
    )


def test_decision_beside_a_claim_leaves_no_token_behind(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.facts["gate"] = asked(connection)
    stepper.session(
        "ann", decide="select g.status from tide.decide_gate(%(gate)s, 'approved', 'ann') as g"
    )
    stepper.session("sender", claim="select c.body ~ 'token' from tide.claim_deliveries() as c")
    stepper.play(
        """
        ann.begin
        ann.decide     approved
        sender.claim   nothing
        ann.commit
        sender.claim   no
        """
    )
    assert value(connection, "select count(d.token) from tide.deliveries as d") == 0


def test_decision_behind_a_claim_forgets_the_token(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.facts["gate"] = asked(connection)
    stepper.session(
        "ann", decide="select g.status from tide.decide_gate(%(gate)s, 'approved', 'ann') as g"
    )
    stepper.session("sender", claim="select c.body ~ 'token' from tide.claim_deliveries() as c")
    stepper.play(
        """
        sender.begin
        sender.claim   yes
        ann.decide     waiting
        sender.commit
        ann.decide     approved
        """
    )
    assert value(connection, "select count(d.token) from tide.deliveries as d") == 0


def test_first_claims_of_a_new_endpoint_do_not_wait_for_one_another(
    stepper: Stepper, connection: Connection
) -> None:
    delivery(connection)
    stepper.session("a", claim=CLAIM)
    stepper.session("b", claim=CLAIM)
    stepper.play(
        """
        a.begin
        a.claim   1
        b.claim   0
        a.commit
        """
    )


def test_redeliver_beside_a_report_is_one_or_the_other(
    stepper: Stepper, connection: Connection
) -> None:
    stepper.facts["delivery"], stepper.facts["lease"] = claimed(connection)
    stepper.session("sender", finish=FINISH)
    stepper.session("operator", again="select r.status from tide.redeliver(%(delivery)s) as r")
    stepper.play(
        """
        sender.begin
        sender.finish    delivered
        operator.again   waiting
        sender.commit
        operator.again   pending
        sender.finish    pending
        """
    )
