"""What a run has recorded, read once, as answers to the calls its code will make."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast
from uuid import UUID

import psycopg
from psycopg.rows import namedtuple_row, tuple_row

from tidebase_pg import calls
from tidebase_pg.call import Call
from tidebase_pg.registry import VERSION_MARK
from tidebase_pg.types import (
    AwaitedChild,
    AwaitedEvent,
    AwaitedGate,
    LeasedRun,
    OpenGate,
    Slept,
    Spawned,
    SpawnedMany,
    StepStart,
)

READS: Final = frozenset({
    "get_gate", "get_run", "get_state", "list_children", "list_events", "list_snapshots",
    "list_usage", "state_versions",
})  # fmt: skip
"""Calls that are executed as they are, in the read-only transaction."""

WRITES: Final = frozenset({"patch_state", "record_usage", "save_state", "set_state"})
"""Calls that every attempt makes again; nothing is written, they get the newest row there is."""


class Reached(BaseException):
    """The code asks for something the run has not done yet: as far as a check can go."""


class Drift(BaseException):
    """The code asks for something in another way than the run recorded it."""


@dataclass
class Recording:
    """One active run: what it has recorded, and what its code has asked for so far."""

    leased: LeasedRun
    steps: Mapping[str, Any]
    gates: Mapping[str, Any]
    edges: Mapping[str, Any]
    waits: Mapping[tuple[str, str], Any]
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Kind and name of everything asked for, in order."""
    branches: dict[object, list[str]] = field(default_factory=dict[object, list[str]])
    """Names of the steps that each task or thread asked for, in its order."""
    ahead: str | None = None
    """The first thing asked for that is not recorded."""

    def done(self) -> list[tuple[str, str]]:
        """Kind and name of everything recorded that code asks for again, in its order."""
        steps = [
            (row.position, ("step", name))
            for name, row in self.steps.items()
            if row.status == "completed"
        ]
        later = [
            *(("gate", name) for name, row in self.gates.items() if row.status != "pending"),
            *(("child", name) for name in self.edges),
            *(key for key, row in self.waits.items() if row.status != "pending"),
        ]
        return [key for _, key in sorted(steps)] + later

    def reached(self, what: str) -> Reached:
        """What to raise where code asks for something that is not recorded."""
        if self.ahead is None:
            self.ahead = what
        return Reached(what)


def branch() -> object:
    """The task or thread that asks; within one, what follows one another has an order."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident() if task is None else task


class Reader:
    """Reads runs in one read-only transaction of the owner of the schema."""

    def __init__(self, dsn: str) -> None:
        self.connection: psycopg.Connection[Any] = psycopg.connect(dsn, row_factory=namedtuple_row)
        self.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self.connection.read_only = True

    def close(self) -> None:
        self.connection.close()

    def active(
        self, workflow: str | None, queue: str | None, sample: int | None
    ) -> list[tuple[UUID, str]]:
        """Ids and workflows of the runs that have not ended, newest first."""
        rows = self.connection.execute(
            """
            select r.run_id, r.workflow
            from tide.runs as r
            where r.status in ('pending', 'queued', 'running')
              and (%(workflow)s::text is null or r.workflow = %(workflow)s)
              and (%(queue)s::text is null or r.queue = %(queue)s)
            order by case when %(sample)s::integer is null then 0 else random() end, r.run_id desc
            limit %(sample)s
            """,
            {"workflow": workflow, "queue": queue, "sample": sample},
        ).fetchall()
        return [(row.run_id, row.workflow) for row in rows]

    def recording(self, run_id: UUID) -> Recording:
        run = self._one(
            "select r.workflow, r.attempt, r.max_attempts, r.input::text as input, "
            "r.metadata::text as metadata from tide.get_run(%s) as r",
            run_id,
        )
        leased = LeasedRun(
            run_id, run_id, run.workflow, run.attempt, run.max_attempts, run.input, run.metadata,
            False,
        )  # fmt: skip
        return Recording(
            leased,
            self._by_name(
                "select s.name, s.status, s.position, s.output::text as output, s.attempt, "
                "s.replay from tide.steps as s where s.run_id = %s",
                run_id,
            ),
            self._by_name(
                "select g.name, g.gate_id, g.status, g.prompt, g.data, g.actor, "
                "g.payload::text as payload from tide.gates as g where g.run_id = %s "
                "order by g.created_at",
                run_id,
            ),
            self._by_name(
                "select e.edge as name, e.child_id, c.workflow, "
                "(tide.get_run(c.run_id)).input, c.status, "
                "c.result::text as result, c.error::text as error from tide.run_edges as e "
                "join tide.runs as c on c.run_id = e.child_id where e.parent_id = %s "
                "order by e.created_at, e.edge",
                run_id,
            ),
            {
                (row.kind, row.name): row
                for row in self.connection.execute(
                    "select w.kind, w.name, w.status, w.due_at, w.payload::text as payload "
                    "from tide.waits as w where w.run_id = %s order by w.created_at",
                    [run_id],
                ).fetchall()
            },
        )

    def same_input(self, run_id: UUID, name: str, input: str | None) -> bool:
        """Whether a step was recorded with this input."""
        row = self._one(
            "select s.input_hash = tide._input_hash(%s::jsonb) as same from tide.steps as s "
            "where s.run_id = %s and s.name = %s",
            input, run_id, name,
        )  # fmt: skip
        return bool(row.same)

    def now(self) -> datetime:
        found: datetime = self._one("select tide._now() as now").now
        return found

    def read(self, call: Call[Any]) -> Any:
        """The answer of a call that only reads."""
        cursor = psycopg.RawCursor(self.connection, row_factory=tuple_row)
        cursor.execute(call.query.encode(), tuple(call.arguments.values()), binary=True)
        return call.decode(cursor.fetchall())

    def _one(self, query: str, *arguments: Any) -> Any:
        row = self.connection.execute(query.encode(), arguments).fetchone()
        assert row is not None
        return row

    def _by_name(self, query: str, run_id: UUID) -> dict[str, Any]:
        return {
            row.name: row for row in self.connection.execute(query.encode(), [run_id]).fetchall()
        }


class Answers:
    """Answers the calls of one run from its recording; nothing is written."""

    def __init__(self, recording: Recording, reader: Reader) -> None:
        self.recording = recording
        self.reader = reader

    def answer(self, call: Call[Any]) -> Any:
        """The recorded answer. Raises Reached, or Drift."""
        arguments = call.arguments
        match call.name:
            case "begin_step":
                return self._step(arguments)
            case "open_gate":
                return self._gate(arguments)
            case "await_gate":
                return self._decision(arguments)
            case "spawn":
                return self._child(arguments)
            case "spawn_many":
                return [
                    self._one_of_many(child) for child in json.loads(str(arguments["children"]))
                ]
            case "await_children":
                return self._children(arguments)
            case "sleep":
                return self._sleep(arguments)
            case "await_event":
                return self._event(arguments)
            case function if function in READS:
                return self.reader.read(call)
            case function if function in WRITES:
                return self._newest(function, arguments)
            case function:
                raise self.recording.reached(f"a call of {function}")

    def _newest(self, function: str, arguments: Mapping[str, Any]) -> Any:
        run_id = self.recording.leased.run_id
        if function == "record_usage":
            rows: list[Any] = self.reader.read(calls.list_usage(run_id))
        else:
            stream = cast("str | None", arguments.get("stream"))
            rows = list(self.reader.read(calls.state_versions(run_id, stream=stream)))
        if not rows:
            raise self.recording.reached(f"a call of {function}")
        return rows[-1]

    def _ask(self, kind: str, name: Any) -> str:
        self.recording.asked.append((kind, str(name)))
        if kind == "step":
            self.recording.branches.setdefault(branch(), []).append(str(name))
        return str(name)

    def _step(self, arguments: Mapping[str, Any]) -> StepStart:
        name = self._ask("step", arguments["name"])
        row = self.recording.steps.get(name)
        if row is None or row.status != "completed":
            raise self.recording.reached(f"step {name!r}")
        given = cast("str | None", arguments.get("input"))
        if not self.reader.same_input(self.recording.leased.run_id, name, given):
            raise Drift(f"step {name!r} gets another input than the recorded one")
        return StepStart("replay", row.output, row.attempt, row.replay)

    def _gate(self, arguments: Mapping[str, Any]) -> OpenGate:
        name = self._ask("gate", arguments["name"])
        row = self.recording.gates.get(name)
        if row is None:
            raise self.recording.reached(f"gate {name!r}")
        data = json.loads(str(arguments.get("data") or "{}"))
        if (row.prompt, row.data) != (arguments["prompt"], data):
            raise Drift(f"gate {name!r} asks another question than the recorded one")
        return OpenGate(row.gate_id, row.status, row.payload, row.actor, None)

    def _decision(self, arguments: Mapping[str, Any]) -> AwaitedGate:
        for name, row in self.recording.gates.items():
            if str(row.gate_id) == str(arguments["gate_id"]) and row.status != "pending":
                return AwaitedGate(False, row.status, row.payload, row.actor)
            if str(row.gate_id) == str(arguments["gate_id"]):
                raise self.recording.reached(f"the decision of gate {name!r}")
        raise self.recording.reached("the decision of a gate")

    def _child(self, arguments: Mapping[str, Any]) -> Spawned:
        row = self._edge(arguments)
        return Spawned(row.child_id, False, row.status)

    def _one_of_many(self, child: Mapping[str, Any]) -> SpawnedMany:
        row = self._edge(child)
        return SpawnedMany(row.name, row.child_id, False, row.status)

    def _edge(self, given: Mapping[str, Any]) -> Any:
        name = self._ask("child", given["edge"])
        row = self.recording.edges.get(name)
        if row is None:
            raise self.recording.reached(f"child {name!r}")
        wanted = given.get("input")
        if isinstance(wanted, str) and "lease_id" in given:
            wanted = json.loads(wanted)
        if _unversioned(row.workflow) != _unversioned(given["workflow"]):
            raise Drift(
                f"child {name!r} is of workflow {given['workflow']!r}, recorded {row.workflow!r}"
            )
        if row.input != ({} if wanted is None else wanted):
            raise Drift(f"child {name!r} gets another input than the recorded one")
        return row

    def _children(self, arguments: Mapping[str, Any]) -> list[AwaitedChild]:
        edges = arguments.get("edges")
        rows = [row for name, row in self.recording.edges.items() if edges is None or name in edges]
        if any(row.status in ("pending", "queued", "running") for row in rows):
            raise self.recording.reached("the end of its children")
        return [
            AwaitedChild(False, row.name, row.child_id, row.status, row.result, row.error)
            for row in rows
        ]

    def _sleep(self, arguments: Mapping[str, Any]) -> Slept:
        name = self._ask("timer", arguments["name"])
        row = self.recording.waits.get(("timer", name))
        if row is None or row.status == "pending":
            raise self.recording.reached(f"sleep {name!r}")
        return Slept(False, row.due_at)

    def _event(self, arguments: Mapping[str, Any]) -> AwaitedEvent:
        name = self._ask("event", arguments.get("wait") or arguments["name"])
        row = self.recording.waits.get(("event", name))
        if row is None or row.status == "pending":
            raise self.recording.reached(f"event {name!r}")
        return AwaitedEvent(False, row.status == "received", row.payload)


def _unversioned(workflow: str) -> str:
    return workflow.partition(VERSION_MARK)[0]
