"""Large inputs, which lie apart from their runs, beside replacing, claiming and removing."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.races.stepper import Stepper
from tests.support import Connection, value

LARGE = "(select to_jsonb(string_agg(sha256(n::text::bytea)::text, '')) from {} as n)"
OLD = LARGE.format("generate_series(1, 100)")
NEW = LARGE.format("generate_series(101, 200)")
REPLACE = """
    select e.status
    from tide.enqueue('work', dedupe_key => 'key', on_conflict => 'replace', input => {}) as e
    """
WHICH = f"case r.input when {OLD} then 'old' when {NEW} then 'new' else r.input::text end"
READ = f"select {WHICH} from tide.get_run(%(run)s) as r"
CLAIM = f"select {WHICH} from tide.claim() as r"


def apart(connection: Connection) -> int:
    count: int = value(connection, "select count(*) from tide.run_inputs")
    return count


@pytest.mark.parametrize(
    ("before", "after", "reads"),
    [(OLD, NEW, "old, new"), (OLD, "'{}'", "old, {}"), ("'{}'", NEW, "{}, new")],
    ids=["large", "by-small", "small"],
)
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_readers_beside_an_open_replacement_see_one_input_or_the_other(
    stepper: Stepper, connection: Connection, before: str, after: str, reads: str, end: str
) -> None:
    old, new = reads.split(", ")
    made = f"select e.run_id from tide.enqueue('work', dedupe_key => 'key', input => {before}) as e"
    stepper.facts["run"] = value(connection, made)
    stepper.session("a", replace=REPLACE.format(after))
    stepper.session("b", read=READ)
    stepper.session("c", claim=CLAIM)
    left = new if end == "commit" else old
    stepper.play(
        f"""
        a.begin
        a.replace   queued
        b.read      {old}
        c.claim     nothing
        a.{end}
        b.read      {left}
        c.claim     {left}
        """
    )
    assert apart(connection) == (0 if left == "{}" else 1)


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_replacement_beside_an_open_claim_changes_no_input_that_was_claimed(
    stepper: Stepper, connection: Connection, end: str
) -> None:
    made = f"select e.run_id from tide.enqueue('work', dedupe_key => 'key', input => {OLD}) as e"
    stepper.facts["run"] = value(connection, made)
    stepper.session("a", claim=CLAIM)
    stepper.session("b", replace=REPLACE.format(NEW), read=READ)
    stepper.play(
        f"""
        a.begin
        a.claim     old
        b.replace   waiting
        a.{end}
        b.replace   {"running" if end == "commit" else "queued"}
        b.read      {"old" if end == "commit" else "new"}
        """
    )
    assert apart(connection) == 1


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_an_id_made_again_while_retention_removes_its_run_has_its_input(
    stepper: Stepper, connection: Connection, end: str
) -> None:
    stepper.facts["run"] = run_id = uuid4()
    again = f"select e.status from tide.enqueue('work', run_id => %(run)s, input => {OLD}) as e"
    assert value(connection, again.replace("%(run)s", f"'{run_id}'")) == "queued"
    connection.execute("select tide.cancel(%s)", (run_id,))
    stepper.session("a", prune="select tide.prune('0 seconds', queue => 'default')")
    stepper.session("b", enqueue=again, read=READ)
    stepper.play(
        f"""
        a.begin
        a.prune     1
        b.enqueue   cancelled
        a.{end}
        b.enqueue   {"queued" if end == "commit" else "cancelled"}
        b.read      old
        """
    )
    assert apart(connection) == 1


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_of_two_that_give_one_id_the_second_waits_and_leaves_one_input(
    stepper: Stepper, connection: Connection, end: str
) -> None:
    stepper.facts["run"] = uuid4()
    make = f"select e.status from tide.enqueue('work', run_id => %(run)s, input => {OLD}) as e"
    other = make.replace(OLD, NEW)
    stepper.session("a", enqueue=make)
    stepper.session("b", enqueue=make, other=other, read=READ)
    stepper.play(
        f"""
        a.begin
        a.enqueue   queued
        b.enqueue   waiting
        a.{end}
        b.enqueue   queued
        b.read      old
        b.other     TD020
        """
    )
    assert apart(connection) == 1


def test_a_retry_beside_its_own_removal_loses_no_input(
    stepper: Stepper, connection: Connection
) -> None:
    made = f"select e.run_id from tide.enqueue('work', input => {OLD}) as e"
    stepper.facts["run"] = run_id = value(connection, made)
    connection.execute("select tide.cancel(%s)", (run_id,))
    stepper.session("a", retry="select r.status from tide.retry(%(run)s) as r")
    stepper.session("b", prune="select tide.prune('0 seconds', queue => 'default')", read=READ)
    stepper.play(
        """
        a.begin
        a.retry     queued
        b.prune     0
        a.commit
        b.prune     0
        b.read      old
        """
    )
    assert apart(connection) == 1
