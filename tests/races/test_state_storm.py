"""Writers of every kind on one run: versions and events without a gap, no stream touched twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import chain
from threading import Barrier
from typing import Any

import psycopg

from tests.races.scenes import history, leased
from tests.races.storm import LONGEST
from tests.support import Connection, at_once, results, value

WRITERS = 8
WRITES = 40

ACTS = [
    "select from tide.set_state(%(run)s, to_jsonb(%(n)s::int), stream => 'a')",
    "select from tide.patch_state(%(run)s, jsonb_build_object(%(key)s::text, 1), stream => 'b')",
    "select from tide.set_state(%(run)s, '1', stream => 'c', lease_id => %(lease)s)",
    "select from tide.record_usage(%(run)s, total_tokens => 1, request_key => %(key)s)",
    "select from tide.create_snapshot(%(run)s, 'picture', '{}')",
    "select from tide.open_gate(%(run)s, %(lease)s, %(key)s, '?')",
    "select from tide.spawn(%(run)s, %(lease)s, %(key)s, 'part')",
    "select from tide.begin_step(%(run)s, %(lease)s, %(key)s)",
]


def test_versions_and_seqs_have_no_gap_under_eight_writers(
    connection: Connection, connect: Callable[..., Connection]
) -> None:
    run = leased(connection, lease="1 day")
    together = Barrier(WRITERS, timeout=LONGEST)

    def writer(number: int) -> Callable[[], None]:
        own = connect()

        def write() -> None:
            for n in range(WRITES):
                given = {"run": run.run_id, "lease": run.lease_id, "n": n}
                given["key"] = f"{number} {n}"
                together.wait()
                own.execute(ACTS[(number + n) % len(ACTS)].encode(), given)

        return write

    results(at_once([writer(number) for number in range(WRITERS)]))
    events = history(connection, run.run_id)
    each = WRITERS * WRITES // len(ACTS)
    assert Counter(events[2:]) == Counter(
        {
            "state.updated": 3 * each,
            "usage.recorded": each,
            "snapshot.created": each,
            "gate.created": each,
            "run.child.created": each,
            "step.started": each,
        }
    )
    streams = connection.execute(
        """
        select v.stream, array_agg(v.version order by v.version) as versions
        from tide.state_versions(%s) as v
        group by v.stream
        """,
        (run.run_id,),
    ).fetchall()
    assert {row.stream for row in streams} == {"a", "b", "c", f"run:{run.run_id}"}
    for row in streams:
        assert row.versions == list(range(1, each + 1))
    patched = value(connection, "select (tide.get_state(%s, 'b')).value", run.run_id)
    assert len(patched) == each
    assert (
        value(
            connection,
            "select u.total_tokens from tide.usage_by_run as u where u.run_id = %s",
            run.run_id,
        )
        == each
    )


def test_expected_version_lets_each_version_be_written_once(
    connection: Connection, connect: Callable[..., Connection]
) -> None:
    run = leased(connection, lease="1 day")
    together = Barrier(WRITERS, timeout=LONGEST)

    def writer() -> list[Any]:
        own = connect()
        won = []
        for version in range(30):
            together.wait()
            try:
                own.execute(
                    "select from tide.set_state(%s, '1', expected_version => %s)",
                    (run.run_id, version),
                )
                won.append(version)
            except psycopg.Error as error:
                assert error.sqlstate == "TD021", error
        return won

    won = sorted(chain.from_iterable(results(at_once([writer] * WRITERS))))
    assert won == list(range(30))
    assert history(connection, run.run_id)[2:] == ["state.updated"] * 30


def test_one_request_key_counts_once_among_eight_who_send_it(
    connection: Connection, connect: Callable[..., Connection]
) -> None:
    run = leased(connection, lease="1 day", budget='{"max_tokens": 1000}')
    together = Barrier(WRITERS, timeout=LONGEST)

    def sender() -> list[Any]:
        own = connect()
        told = []
        for number in range(20):
            together.wait()
            told.append(
                value(
                    own,
                    "select (tide.record_usage(%s, total_tokens => 1, request_key => %s)).usage_id",
                    run.run_id,
                    f"r{number}",
                )
            )
        return told

    answers = results(at_once([sender] * WRITERS))
    assert all(answer == answers[0] for answer in answers)
    assert value(connection, "select s.tokens from tide.spending as s") == 20
