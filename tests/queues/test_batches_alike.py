"""A batch is read and written in a few statements, and does what its elements do one by one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock, Connection, value

LARGE = {"text": "x" * 5000}
DEEP: Any = {}
for _ in range(90):
    DEEP = {"d": DEEP}
INPUTS: list[Any] = [None, {}, [1, 2], 7, "text", {"n": {"m": [None, True, 1.50]}}, LARGE, DEEP]


def element(dice: random.Random, number: int, clock: Clock, given: list[UUID]) -> dict[str, Any]:
    """What one caller asks for: mostly little, sometimes everything there is."""
    options: dict[str, Any] = {
        "dedupe_key": f"key {dice.randrange(12)}",
        "on_conflict": dice.choice(["return", "replace", None]),
        "priority": dice.choice([0, -3, 5, None]),
        "delay": dice.choice(["0", "5 seconds", "1 hour", None]),
        "run_at": (clock.now + dice.randrange(-3, 3) * MINUTE).isoformat(),
        "max_attempts": dice.choice([1, 4, None]),
        "deadline": dice.choice(["1 hour", None]),
        "metadata": dice.choice([{}, {"customer": number}, LARGE, None]),
        "backoff": dice.choice([{"base": "1 second"}, None]),
        "budget": dice.choice([{"max_steps": 3}, None]),
        "channels": dice.choice(
            [[], [{"url": "https://example.com/a"}, {"url": "https://example.com/b"}], None]
        ),
    }
    chosen = dice.sample(sorted(options), dice.choice([0, 0, 1, 2, 5, len(options)]))
    made: dict[str, Any] = {"workflow": dice.choice(["report", "mail"])}
    if dice.random() < 0.8:
        made["input"] = dice.choice([{"n": number}, *INPUTS])
    made |= {name: options[name] for name in chosen}
    if dice.random() < 0.2:
        given.append(UUID(int=dice.getrandbits(128), version=4))
        made["run_id"] = str(given[-1])
    return made


def batch(dice: random.Random, clock: Clock, given: list[UUID]) -> list[dict[str, Any]]:
    """Some elements are sent twice, as by a caller who has lost an answer."""
    made: list[dict[str, Any]] = []
    for number in range(60):
        made.append(element(dice, number, clock, given))
        if "run_id" in made[-1] and dice.random() < 0.5:
            made.append(made[-1])
    return made


def rows(connection: Connection, names: dict[UUID, str]) -> dict[str, list[str]]:
    """What is stored, with runs by the names they have here and nothing of how they are stored."""
    queries = {
        "runs": "select r.run_id, to_jsonb(r) - '{run_id,lease_id}'::text[] from tide.runs as r",
        "events": "select e.run_id, to_jsonb(e) - 'run_id' from tide.event_log as e",
        "channels": "select c.run_id, to_jsonb(c) - 'run_id' from tide.channels as c",
        "deliveries": """
            select d.run_id, jsonb_build_array(d.type, d.url, d.body::jsonb -> 'payload')
            from tide.deliveries as d
        """,
    }
    return {
        table: sorted(
            f"{names[run_id]} {row}" for run_id, row in connection.execute(query.encode())
        )
        for table, query in queries.items()
    }


def standing(tide: Tide, ended: UUID) -> Iterator[Any]:
    """Runs that are there before the batch: queued, running, and one that has ended."""
    for key in range(3):
        yield tide.enqueue(workflow="report", dedupe_key=f"key {key}", priority=key).run_id
    (run,) = tide.claim(max_runs=1)
    assert run.dedupe_key == "key 2"
    made = tide.enqueue(workflow="report", input={}, run_id=ended, priority=9).run_id
    (run,) = tide.claim(max_runs=1)
    tide.complete(run_id=made, lease_id=run.lease_id)
    yield made


@pytest.mark.parametrize("seed", range(6))
def test_batch_does_what_its_elements_do_one_by_one(tide: Tide, hour: Clock, seed: int) -> None:
    tide.set_queue(queue="default", settings={"max_attempts": 3})
    dice = random.Random(seed)
    given = [UUID(int=dice.getrandbits(128), version=4)]
    runs = batch(dice, hour, given)
    runs.insert(30, {"workflow": "report", "run_id": str(given[0])})

    seen = []
    for many in (True, False):
        with tide.connection.transaction(force_rollback=True):
            before = list(standing(tide, given[0]))
            if many:
                answers = tide.enqueue_many(queue="default", runs=runs)
                assert [answer.ordinal for answer in answers] == list(range(1, len(runs) + 1))
            else:
                answers = [
                    tide.enqueue(**{k: v for k, v in run.items() if v is not None} | extra(run))
                    for run in runs
                ]
            names: dict[UUID, str] = {}
            for place, run_id in enumerate([*before, *(answer.run_id for answer in answers)]):
                names.setdefault(run_id, f"run {place}")
            said = [(names[answer.run_id], answer.deduplicated) for answer in answers]
            seen.append((said, rows(tide.connection, names)))
    (said, stored), (said_singly, stored_singly) = seen
    assert said == said_singly
    for table, found in stored.items():
        assert found == stored_singly[table]
        assert found != []


def extra(run: dict[str, Any]) -> dict[str, Any]:
    """Elements of a batch have their input as JSON; a text by itself would be read as JSON."""
    return {"input": f'"{run["input"]}"'} if isinstance(run.get("input"), str) else {}


@pytest.mark.parametrize("seed", range(4))
def test_error_in_the_middle_of_a_batch_leaves_nothing(tide: Tide, hour: Clock, seed: int) -> None:
    dice = random.Random(seed)
    given: list[UUID] = []
    list(standing(tide, UUID(int=seed, version=4)))
    runs = batch(dice, hour, given)
    wrong, said = dice.choice(
        [
            ({"workflow": "report", "priority": 40000}, "priority"),
            ({"workflow": "no name"}, "workflow"),
            ({"workflow": "report", "channels": [{"url": "nowhere"}]}, "channels.url"),
            ({"workflow": "report", "input": "x" * 2_000_000}, "input"),
        ]
    )
    runs.insert(30, wrong)
    tide.await_work(worker="w", queues=["default"])
    before = contents(tide.connection)
    with refused("TD040" if said == "input" else "22023", f"runs[30].{said} "):
        tide.enqueue_many(queue="default", runs=runs)
    assert contents(tide.connection) == before


def test_first_bad_element_is_the_one_named(tide: Tide) -> None:
    runs: list[Any] = [{"workflow": "report"}] * 5
    with refused("22023", "runs[3].delay "):
        tide.enqueue_many(
            queue="default", runs=[*runs[:3], {"workflow": "r", "delay": "soon"}, {}, {"x": 1}, 7]
        )


@pytest.mark.parametrize("runs", [None, {}, '"report"', 7, [{"workflow": "report"}] * 100_001])
def test_runs_must_be_an_array_of_at_most_100000(tide: Tide, runs: Any) -> None:
    with refused("22023", "runs is not an array of at most 100000 objects"):
        tide.enqueue_many(queue="default", runs=runs)


def test_first_element_with_a_key_makes_the_run_whatever_ids_are_given(tide: Tide) -> None:
    high, low = UUID(int=2**127 - 1, version=4), UUID(int=1, version=4)
    keyed = {"workflow": "report", "dedupe_key": "k"}
    rows = tide.enqueue_many(
        queue="default", runs=[keyed | {"run_id": high}, keyed | {"run_id": low}, keyed]
    )
    assert [(row.run_id, row.deduplicated) for row in rows] == [
        (high, False), (high, True), (high, True),
    ]  # fmt: skip


def test_ids_of_a_batch_are_its_own_and_sort_by_place_and_time(tide: Tide) -> None:
    runs = [{"workflow": "report"}] * 300
    ids = [row.run_id for _ in range(3) for row in tide.enqueue_many(queue="default", runs=runs)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 900
    assert {run_id.version for run_id in ids} == {7}
    assert {run_id.variant for run_id in ids} == {"specified in RFC 4122"}
    assert len({run_id.int & (1 << 44) - 1 for run_id in ids}) == 900  # not to be guessed


def test_ids_of_the_largest_batch_fit(tide: Tide) -> None:
    query = b"""
        select tide._batch_uuid7(f.first, p.place) as run_id
        from (select tide._uuid7()::text as first) as f,
          unnest(array[1, 2, 65536, 99999, 100000]) as p(place)
    """
    ids = [row.run_id for row in tide.connection.execute(query)]
    assert ids == sorted(ids)
    assert {run_id.version for run_id in ids} == {7}
    assert {run_id.variant for run_id in ids} == {"specified in RFC 4122"}


def buffers(tide: Tide, runs: list[dict[str, Any]]) -> int:
    """Shared buffers that a call touches, once the session has its plans."""
    query = """
        explain (analyze, buffers, format json)
        select e.run_id from tide.enqueue_many('default', %s) as e
    """
    for _ in range(3):
        (plan,) = value(tide.connection, query, Jsonb(runs))
    node = plan["Plan"]
    touched: int = node["Shared Hit Blocks"] + node["Shared Read Blocks"]
    return touched


def test_conflict_in_a_batch_reads_no_other_run_with_a_key(tide: Tide) -> None:
    # Nothing analyzed: the planner takes the table for what it was when it was made.
    tide.enqueue_many(
        queue="default",
        runs=[{"workflow": "report", "dedupe_key": f"key {n}"} for n in range(8000)],
    )
    runs = [{"workflow": "report", "dedupe_key": "key 7"}, {"workflow": "report"}]
    assert buffers(tide, runs) < 110
