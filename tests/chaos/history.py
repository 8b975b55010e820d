"""What clients were told, in files that outlive them, and what it has to agree with.

Each process appends lines of JSON to a file of its own, before and after what it does. The checkers
read these files and the database, and know nothing of how either came about.
"""

from __future__ import annotations

import bisect
import json
import math
import os
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.support import Connection

ENDS = {"run.completed", "run.failed", "run.cancelled"}
LEAVES = ENDS | {"run.requeued", "run.parked"}
TAKES = {"run.claimed", "run.started"}
LOG_LINE = "%m [%p] %e "
"""How lines of the server's log begin: time, process, SQLSTATE."""
LOGGED = re.compile(r"\d{4}-\d\d-\d\d [\d:.]+ \S+ \[\d+\] (\w{5}) ([A-Z]+): ")
SPENT = 10
"""Tokens of each step that spends."""
NEVER = ("40P01", "XX000", "XX001", "XX002")
"""SQLSTATEs that nothing a campaign does may cause: deadlocks, and what Postgres cannot explain."""
AT_ONCE = 1.0
"""Seconds within which a process that goes on after a stop has done what it was about to do."""


class Log:
    """The history of one process; a line is whole or absent."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = os.open(
            folder / f"{name}-{os.getpid()}.jsonl", os.O_APPEND | os.O_CREAT | os.O_WRONLY
        )
        self.kinds: Counter[str] = Counter()
        """How many lines of each kind were written."""

    def write(self, kind: str, **facts: Any) -> None:
        told = {"kind": kind, "at": time.time(), **facts}
        self.kinds[kind] += 1
        os.write(self._file, (json.dumps(told, default=str) + "\n").encode())

    def effect(self, run_id: object, step: str, attempt: int) -> None:
        """What the function of a step does first."""
        self.write("effect", run_id=run_id, step=step, attempt=attempt, pid=os.getpid())


def read(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


LONGEST_POSTING = 60.0
"""Seconds from the signature of a webhook to its arrival, with a stop of its dispatcher between."""


@dataclass
class Facts:
    """The histories of the clients and the event logs of the database, after the campaign."""

    told: list[dict[str, Any]]
    """Lines of the clients."""
    runs: Mapping[str, tuple[str, str | None]]
    """Run → status and schedule fire, if a schedule made it."""
    events: Mapping[str, list[tuple[int, str, Any, float]]]
    """Run → seq, type, payload, time in seconds; by seq."""
    ledger: Mapping[str, int] = field(default_factory=dict)
    """Run → rows that its database step wrote."""
    outbox: set[str] = field(default_factory=set)
    """Runs whose enqueue committed together with a row of the application."""
    slots: list[Any] = field(default_factory=list)
    """Slots that say they hold a run which is not running."""
    keys: Mapping[str, int] = field(default_factory=dict)
    """Idempotency key of a request → runs it made."""
    dedupe_keys: Mapping[str, str] = field(default_factory=dict)
    """Run → its key, of those that have one."""
    spent: Mapping[str, int] = field(default_factory=dict)
    """Run → tokens recorded."""
    allowance: tuple[int, int] = (0, 0)
    """Tokens that are spent and reserved of what the runs that spend may spend together."""
    server: list[str] = field(default_factory=list)
    """What the server's log has under a SQLSTATE of NEVER, with the lines that belong to it."""

    def of(self, kind: str) -> Iterator[dict[str, Any]]:
        return (line for line in self.told if line["kind"] == kind)

    def in_flight_at_a_stop(self, effect: Mapping[str, Any]) -> bool:
        """Whether a process did what it was about to do when it was stopped for longer than its
        lease: nothing can take that back. It looked at its lease before, and by what its log has
        it lost it meanwhile."""
        at = effect["at"]
        return any(
            stop["pid"] == effect.get("pid")
            and stop["ended"] <= at <= stop["ended"] + AT_ONCE
            and any(
                kind == "run.requeued"
                and payload.get("reason") == "lease_expired"
                and payload.get("attempt") == effect["attempt"]
                and stop["began"] <= lost <= at
                for _, kind, payload, lost in self.events.get(effect["run_id"], [])
            )
            for stop in self._stops
        )

    @cached_property
    def _stops(self) -> list[dict[str, Any]]:
        return list(self.of("stopped"))


def grave(log: Path) -> list[str]:
    """What the log of a server has that is never right; each with its DETAIL, CONTEXT and
    STATEMENT."""
    found: list[str] = []
    wanted = False
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if begins := LOGGED.match(line):
                sqlstate, level = begins.groups()
                wanted = sqlstate in NEVER
                if wanted and level not in ("DETAIL", "HINT", "CONTEXT", "STATEMENT"):
                    found.append("")
            if wanted and found:
                found[-1] += line
    return found


def gather(
    connection: Connection, folder: Path, log: Path | None = None, apart: Sequence[str] = ()
) -> Facts:
    """Everything the checkers look at, but for runs of queues that are judged apart. The connection
    belongs to the owner of the schema, `log` is the server's."""
    runs: dict[str, tuple[str, str | None]] = {}
    dedupe_keys: dict[str, str] = {}
    for row in connection.execute(
        """
        select
          r.run_id::text,
          r.status,
          concat_ws(' ', r.metadata ->> 'schedule', r.metadata ->> 'fire_at') as fire,
          r.dedupe_key
        from tide.runs as r
        where r.queue is null or r.queue <> all (%s)
        """,
        [list(apart)],
    ):
        runs[row.run_id] = (row.status, row.fire or None)
        if row.dedupe_key is not None:
            dedupe_keys[row.run_id] = row.dedupe_key
    events: dict[str, list[tuple[int, str, Any, float]]] = defaultdict(list)
    with connection.transaction(), connection.cursor("events") as cursor:
        cursor.itersize = 20_000
        cursor.execute(
            """
            select
              l.run_id::text, l.seq, l.type, l.payload,
              extract(epoch from l.created_at)::float8 as at
            from tide.event_log as l
            join tide.runs as r on r.run_id = l.run_id
            where r.queue is null or r.queue <> all (%s)
            order by l.run_id, l.seq
            """,
            [list(apart)],
        )
        for row in cursor:
            events[row.run_id].append((row.seq, sys.intern(row.type), row.payload, row.at))
    ledger = connection.execute(
        """
        select l.run_id::text, count(*)::int
        from ledger as l
        left join tide.runs as r on r.run_id = l.run_id
        where r.queue is null or r.queue <> all (%s)
        group by l.run_id
        """,
        [list(apart)],
    ).fetchall()
    spent = connection.execute(
        "select u.run_id::text, sum(u.total_tokens)::int from tide.usage as u group by u.run_id"
    ).fetchall()
    allowance = connection.execute(
        "select a.spent::int, a.reserved::int from tide.list_allowances('{house}') as a"
    ).fetchone()
    outbox = connection.execute("select o.run_id::text from outbox as o").fetchall()
    slots = connection.execute(
        """
        select s.queue, s.slot, s.run_id
        from tide.slots as s
        left join tide.runs as r on r.run_id = s.run_id
        where s.run_id is not null and r.status is distinct from 'running'
        """
    ).fetchall()
    keys = connection.execute(
        """
        select r.metadata ->> 'key', count(*)::int
        from tide.runs as r
        where r.metadata ? 'key'
        group by 1
        """
    ).fetchall()
    return Facts(
        list(read(folder)), runs, events, {row[0]: row[1] for row in ledger},
        {row[0] for row in outbox}, slots, {row[0]: row[1] for row in keys}, dedupe_keys,
        {row[0]: row[1] for row in spent}, tuple(allowance) if allowance else (0, 0),
        grave(log) if log is not None and log.exists() else [],
    )  # fmt: skip


TABLES = ("tide.runs", "tide.steps", "tide.event_log", "tide.usage", "tide.slots")
ROWS = ("ledger", "outbox")
"""What the application of a campaign writes itself."""


def dump(connection: Connection, folder: Path) -> None:
    """The rows that say what has happened to runs, a line of JSON each, one file a table: all that
    the checks look at, should they have to be made again."""
    there = connection.execute(
        "select t.name from unnest(%s::text[]) as t(name) where to_regclass(t.name) is not null",
        [[*TABLES, *ROWS]],
    ).fetchall()
    for (table,) in there:
        query = f"copy (select row_to_json(t) from {table} as t) to stdout"
        with (folder / f"{table.removeprefix('tide.')}.jsonl").open("w") as file:
            with connection.cursor().copy(query.encode()) as rows:
                # Not as COPY has it, where each backslash stands twice.
                file.writelines(f"{line}\n" for (line,) in rows.rows())


def nothing_acknowledged_is_lost(facts: Facts) -> Iterator[str]:
    for line in facts.of("enqueued"):
        if line["run_id"] not in facts.runs:
            yield f"the enqueue of {line['run_id']} was acknowledged and there is no such run"


def a_rolled_back_enqueue_left_nothing(facts: Facts) -> Iterator[str]:
    for line in facts.of("rolled back"):
        if line["run_id"] in facts.runs:
            yield f"the enqueue of {line['run_id']} was rolled back and the run is there"


def an_enqueue_and_its_row_are_one_commit(facts: Facts) -> Iterator[str]:
    for line in facts.of("with a row"):
        run_id = line["run_id"]
        if (run_id in facts.runs) != (run_id in facts.outbox):
            yield f"of {run_id} and its row only one is there"


def events_are_numbered_without_a_gap(facts: Facts) -> Iterator[str]:
    for run_id, events in facts.events.items():
        seqs = [seq for seq, *_ in events]
        if seqs != list(range(1, len(seqs) + 1)):
            yield f"events of {run_id} are numbered {seqs}"


def a_run_ends_once_each_time_it_is_started(facts: Facts) -> Iterator[str]:
    for run_id, events in facts.events.items():
        ended = False
        for seq, kind, *_ in events:
            if kind in ENDS:
                if ended:
                    yield f"run {run_id} ends again at {seq}"
                ended = True
            elif kind == "run.retried":
                if not ended:
                    yield f"run {run_id} is retried at {seq} and had not ended"
                ended = False
            elif ended and kind.startswith(("run.claimed", "run.started", "step.")):
                yield f"run {run_id} has ended, and {kind} follows at {seq}"


def attempts_do_not_overlap(facts: Facts) -> Iterator[str]:
    for run_id, events in facts.events.items():
        held = False
        for seq, kind, *_ in events:
            if kind in TAKES:
                if held:
                    yield f"run {run_id} is taken at {seq} while an attempt holds it"
                held = True
            elif kind in LEAVES:
                held = False


def an_acknowledged_end_is_the_end(facts: Facts) -> Iterator[str]:
    for line in facts.of("completed"):
        ends = [kind for _, kind, *_ in facts.events.get(line["run_id"], []) if kind in ENDS]
        if "run.completed" not in ends:
            yield f"the completion of {line['run_id']} was acknowledged; its log has {ends}"


def a_stale_lease_writes_nothing(facts: Facts) -> Iterator[str]:
    for line in facts.of("zombie"):
        if line["accepted"] and line["taken"]:
            yield f"a worker of {line['run_id']} wrote after another attempt had begun"


def a_kept_step_is_not_executed_again(facts: Facts) -> Iterator[str]:
    """By the clock: a retry counts attempts from one again."""
    kept: dict[tuple[str, str], dict[str, Any]] = {}
    for line in facts.of("kept"):
        first = kept.setdefault((line["run_id"], line["step"]), line)
        if line["at"] < first["at"]:
            kept[line["run_id"], line["step"]] = line
    for line in facts.of("effect"):
        first = kept.get((line["run_id"], line["step"]), line)
        if line["at"] > first["at"] and not facts.in_flight_at_a_stop(line):
            yield (
                f"step {line['step']} of {line['run_id']} was kept by attempt {first['attempt']} "
                f"at {first['at']:.3f} and executed by attempt {line['attempt']} at "
                f"{line['at']:.3f}"
            )


def a_database_step_happens_once(facts: Facts) -> Iterator[str]:
    for run_id, rows in facts.ledger.items():
        if rows != 1:
            yield f"the database step of {run_id} wrote {rows} rows"
    for line in facts.of("completed"):
        if line.get("ledger") and line["run_id"] not in facts.ledger:
            yield f"run {line['run_id']} has completed without the row of its database step"


def a_cap_holds(facts: Facts) -> Iterator[str]:
    for line in facts.of("seen running"):
        if line["running"] > line["cap"]:
            running, cap = line["running"], line["cap"]
            yield f"{running} runs of {line['queue']} were running, its cap is {cap}"
    for slot in facts.slots:
        yield f"a slot is held by a run that is not running: {slot}"


def a_time_of_a_schedule_has_one_run(facts: Facts) -> Iterator[str]:
    fires = Counter(fire for _, fire in facts.runs.values() if fire)
    for fire, times in fires.items():
        if times > 1:
            yield f"the schedule fired {times} times for {fire}"


def a_cancel_is_final(facts: Facts) -> Iterator[str]:
    retried = {
        run_id
        for run_id, events in facts.events.items()
        if any(kind == "run.retried" for _, kind, *_ in events)
    }
    for line in facts.of("cancelled"):
        run_id = line["run_id"]
        if run_id not in retried and facts.runs.get(run_id, ("",))[0] != "cancelled":
            yield f"the cancel of {run_id} was acknowledged; it is {facts.runs.get(run_id)}"


def a_key_has_one_new_run_a_time(facts: Facts) -> Iterator[str]:
    """Who was told that he made a run is the only one, and the run that a key is answered with has
    this key."""
    made = Counter(line["run_id"] for line in facts.of("keyed") if line["new"])
    for run_id, times in made.items():
        if times > 1:
            yield f"{times} callers were told that they made {run_id}"
    for line in facts.of("keyed"):
        key = facts.dedupe_keys.get(line["run_id"])
        if key != line["key"]:
            yield f"key {line['key']} was answered with {line['run_id']}, whose key is {key}"


def a_run_that_is_completed_and_cancelled_at_once_ends_one_way(facts: Facts) -> Iterator[str]:
    for line in facts.of("crossed"):
        if line["second"] == "accepted":
            yield f"run {line['run_id']} was {line['first']}, and the other was accepted after it"


def a_word_is_heard_once_and_by_whom_it_was_said_to(facts: Facts) -> Iterator[str]:
    said = {(line["run_id"], line["word"]) for line in facts.of("says")}
    heard: dict[tuple[str, int], set[str | None]] = defaultdict(set)
    for line in facts.of("heard a word"):
        heard[line["run_id"], line["place"]].add(line["word"])
    words: Counter[tuple[str, str]] = Counter()
    for (run_id, place), found in heard.items():
        if len(found) > 1:
            yield f"wait {place} of {run_id} heard {sorted(map(str, found))}"
        for word in found - {None}:
            words[run_id, str(word)] += 1
            if (run_id, word) not in said:
                yield f"{run_id} heard {word}, which nobody said to it"
    for (run_id, word), times in words.items():
        if times > 1:
            yield f"{run_id} heard {word} {times} times"


def no_step_begins_beyond_a_budget(facts: Facts) -> Iterator[str]:
    """Two steps spend more than the limit, so that the third needs another."""
    raised: dict[str, float] = {}
    for line in facts.of("raises"):
        raised[line["run_id"]] = min(line["at"], raised.get(line["run_id"], line["at"]))
    for line in facts.of("effect"):
        if line["step"] == "spend 2" and line["at"] < raised.get(line["run_id"], math.inf):
            yield f"step spend 2 of {line['run_id']} began beyond its budget"


def what_is_spent_is_counted_once(facts: Facts) -> Iterator[str]:
    began: dict[str, set[str]] = defaultdict(set)
    kept: dict[str, set[str]] = defaultdict(set)
    for kind, steps in (("effect", began), ("kept", kept)):
        for line in facts.of(kind):
            if line["step"].startswith("spend "):
                steps[line["run_id"]].add(line["step"])
    for run_id in facts.spent.keys() | began.keys():
        tokens = facts.spent.get(run_id, 0)
        least, most = SPENT * len(kept[run_id]), SPENT * len(began[run_id])
        if not least <= tokens <= most:
            yield f"run {run_id} spent {least} to {most} tokens; {tokens} are recorded"
    spent, reserved = facts.allowance
    if (spent, reserved) != (sum(facts.spent.values()), 0):
        yield (
            f"{sum(facts.spent.values())} tokens were spent; the allowance says {spent}, "
            f"and {reserved} reserved"
        )


def a_decision_is_made_once(facts: Facts) -> Iterator[str]:
    won = Counter(line["gate_id"] for line in facts.of("decided"))
    for gate_id, times in won.items():
        if times > 1:
            yield f"{times} people were told that they decided gate {gate_id}"


def a_request_asked_again_makes_one_run(facts: Facts) -> Iterator[str]:
    for key, runs in facts.keys.items():
        if runs != 1:
            yield f"the requests with key {key} made {runs} runs"


def a_stream_tells_the_log(facts: Facts) -> Iterator[str]:
    """Whatever gateway told it, and however often it was cut: each event once, in order."""
    for line in facts.of("heard"):
        heard = [(seq, kind) for seq, kind in line["events"]]
        logged = [(seq, kind) for seq, kind, *_ in facts.events.get(line["run_id"], [])]
        if heard != logged[: len(heard)]:
            yield f"a watcher of {line['run_id']} heard {heard}, its log is {logged}"


def an_event_has_one_webhook(facts: Facts) -> Iterator[str]:
    ids: dict[tuple[str, int], set[str]] = defaultdict(set)
    for line in facts.of("delivered"):
        ids[line["run_id"], line["seq"]].add(line["delivery_id"])
    for (run_id, seq), found in ids.items():
        if len(found) != 1:
            yield f"event {seq} of {run_id} was sent under {sorted(found)}"


def a_webhook_asked_for_arrives(facts: Facts) -> Iterator[str]:
    arrived = {(line["run_id"], line["seq"]) for line in facts.of("delivered") if line["accepted"]}
    for line in facts.of("enqueued"):
        if line.get("webhook"):
            for seq, kind, *_ in facts.events.get(line["run_id"], []):
                if kind in ENDS and (line["run_id"], seq) not in arrived:
                    yield f"the webhook of {kind} of {line['run_id']} never arrived"


def no_call_ends_with_an_error_nobody_caused(facts: Facts) -> Iterator[str]:
    """Cut connections are the campaign's; a deadlock, or any other refusal, is not."""
    for line in facts.of("error"):
        yield f"{line['doing']} ended with {line['sqlstate']}: {line['message']}"
    for line in facts.of("unknown"):
        if line["sqlstate"] == "40P01":
            yield f"{line['doing']} met a deadlock"
    for line in facts.of("not taken"):
        # The clock of a receiver does not move with that of the database, by which it is signed.
        moved = any(
            one["began"] <= line["at"] <= one["ended"] + LONGEST_POSTING
            for one in facts.of("clock moved")
        )
        if not moved:
            yield f"a webhook was not taken: {line['message']}"


def the_server_met_no_deadlock(facts: Facts) -> Iterator[str]:
    """Nor anything internal, which its log has with all details."""
    yield from facts.server


def every_run_comes_to_its_end(facts: Facts) -> Iterator[str]:
    for run_id, (status, _) in facts.runs.items():
        if status not in ("completed", "failed", "cancelled"):
            yield f"run {run_id} is {status} after everything has been quiet"


CHECKS: list[Callable[[Facts], Iterable[str]]] = [
    nothing_acknowledged_is_lost,
    a_rolled_back_enqueue_left_nothing,
    an_enqueue_and_its_row_are_one_commit,
    events_are_numbered_without_a_gap,
    a_run_ends_once_each_time_it_is_started,
    attempts_do_not_overlap,
    an_acknowledged_end_is_the_end,
    a_stale_lease_writes_nothing,
    a_kept_step_is_not_executed_again,
    a_database_step_happens_once,
    a_cap_holds,
    a_time_of_a_schedule_has_one_run,
    a_cancel_is_final,
    a_key_has_one_new_run_a_time,
    a_run_that_is_completed_and_cancelled_at_once_ends_one_way,
    a_word_is_heard_once_and_by_whom_it_was_said_to,
    no_step_begins_beyond_a_budget,
    what_is_spent_is_counted_once,
    a_decision_is_made_once,
    a_request_asked_again_makes_one_run,
    a_stream_tells_the_log,
    an_event_has_one_webhook,
    a_webhook_asked_for_arrives,
    no_call_ends_with_an_error_nobody_caused,
    the_server_met_no_deadlock,
    every_run_comes_to_its_end,
]


def violations(facts: Facts) -> dict[str, list[str]]:
    """By check, what does not agree; empty is good."""
    found = {check.__name__: list(check(facts)) for check in CHECKS}
    return {name: problems for name, problems in found.items() if problems}


def coverage(facts: Facts) -> dict[str, int]:
    """How often the interleavings that matter were met."""
    reasons = Counter(
        payload.get("reason")
        for events in facts.events.values()
        for _, kind, payload, _ in events
        if kind == "run.requeued" and isinstance(payload, dict)
    )
    kinds = Counter(kind for events in facts.events.values() for _, kind, *_ in events)
    zombies = list(facts.of("zombie"))
    crossed = Counter((line["first"], line["second"]) for line in facts.of("crossed"))
    asked = Counter(line["there"] for line in facts.of("asked again") if line["how"] != "rollback")
    waits = Counter(
        payload.get("waiting_on")
        for events in facts.events.values()
        for _, kind, payload, _ in events
        if kind == "run.parked"
    )
    return {
        "runs": len(facts.runs),
        "attempts lost": reasons["lease_expired"],
        "attempts retried": reasons["failed"],
        "zombies refused": sum(not line["accepted"] for line in zombies),
        "zombies beside a newer attempt": sum(line["taken"] for line in zombies),
        "answers lost": sum(1 for line in facts.of("unknown")),
        "lost answers that were commits": asked[True],
        "lost answers that were none": asked[False],
        "completions before a cancel": crossed["completed", "TD003"],
        "cancels before a completion": crossed["cancelled", "TD001"],
        "steps repeated": kinds["step.started"] - kinds["step.completed"],
        "parked": kinds["run.parked"],
        "parked over a budget": waits["budget"],
        "words heard": sum(line["word"] is not None for line in facts.of("heard a word")),
        "cancelled": kinds["run.cancelled"],
        "cancelled in an attempt": sum(map(_is_cancelled_in_an_attempt, facts.events.values())),
        "retried": kinds["run.retried"],
        "gates decided": sum(1 for _ in facts.of("decided")),
        "decisions lost to another": sum(1 for _ in facts.of("decided before")),
        "schedule fires": sum(fire is not None for _, fire in facts.runs.values()),
        "children": kinds["run.child.created"],
        "zombies of HTTP refused": sum(
            line["taken"] and not line["accepted"] for line in zombies if line.get("http")
        ),
        "streams heard": sum(1 for _ in facts.of("heard")),
        "webhooks asked for": sum(bool(line.get("webhook")) for line in facts.of("enqueued")),
        "webhooks sent again": sum(not line["accepted"] for line in facts.of("delivered")),
        "requests asked again": sum(line.get("asked", 1) > 1 for line in facts.of("enqueued")),
        "keys asked for beside a completion": _beside_a_completion(facts),
    }


def _is_cancelled_in_an_attempt(events: Sequence[tuple[int, str, Any, float]]) -> bool:
    held = False
    for _, kind, *_ in events:
        if kind == "run.cancelled" and held:
            return True
        held = kind in TAKES or (held and kind not in LEAVES)
    return False


def _beside_a_completion(facts: Facts) -> int:
    """Enqueues of a key that began while the completion of its run waited for the commit."""
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in facts.of("completed a key"):
        spans[line["key"]].append((line["began"], line["at"]))
    for found in spans.values():
        found.sort()
    met = 0
    for line in facts.of("keyed"):
        found = spans[line["key"]]
        place = bisect.bisect_right(found, (line["began"], math.inf)) - 1
        met += place >= 0 and line["began"] < found[place][1]
    return met
