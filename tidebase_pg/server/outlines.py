"""What those see who may see no payload: runs and their steps, without what they carry."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from tidebase_pg import calls
from tidebase_pg.call import Call
from tidebase_pg.server import bodies, objects
from tidebase_pg.server.identity import step_id, wire_id
from tidebase_pg.server.objects import NULL, Run, RunDetail, known_time, time
from tidebase_pg.server.routing import Ask
from tidebase_pg.types import Row


class _Run(Struct):
    run_id: UUID
    workflow: str
    queue: str | None
    status: str
    waiting_on: str | None
    priority: int
    attempt: int
    max_attempts: int
    run_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime | None
    leased_until: datetime | None
    worker: str | None
    failure_class: str | None
    cancel_reason: str | None
    cancel_actor: str | None

    def shown(self) -> Run:
        running = self.status == "running"
        ended = time(self.finished_at)
        cancelled = ended if self.status == "cancelled" else None
        return Run(
            id=wire_id("run", self.run_id),
            workflow_name=self.workflow,
            input=NULL,
            metadata=NULL,
            status=self.status,
            waiting_on=self.waiting_on,
            result=NULL,
            error=NULL,
            recovery_webhook=None,
            lease_owner=self.worker if running else None,
            lease_expires_at=time(self.leased_until) if running else None,
            attempt=self.attempt,
            queue=self.queue,
            dedupe_key=None,
            priority=self.priority,
            run_at=time(self.run_at) if self.queue is not None else None,
            max_attempts=self.max_attempts,
            deadline_at=time(self.deadline_at),
            cancel_requested_at=cancelled,
            cancelled_at=cancelled,
            cancel_reason=self.cancel_reason,
            cancel_actor=self.cancel_actor,
            failure_class=None if self.failure_class == "error" else self.failure_class,
            created_at=known_time(self.created_at),
            started_at=time(self.started_at),
            updated_at=known_time(self.finished_at or self.started_at or self.created_at),
            completed_at=ended,
        )


class _Step(Struct):
    name: str
    status: str
    attempt: int
    replay: str
    side_effects: list[str]
    started_at: datetime
    finished_at: datetime | None


class _Event(Struct):
    seq: int
    type: str
    created_at: datetime


class _Page(Struct):
    runs: list[_Run]
    next: UUID | None = None


class _Outline(Struct):
    run: _Run
    steps: list[_Step]
    events: list[_Event]


async def list_runs(ask: Ask, query: bodies.ListRuns, before: UUID | None) -> objects.Runs:
    """Runs, newest first, a page at a time."""
    given = {"status": query.status, "queue": query.queue, "workflow": query.workflow}
    filters = {name: value for name, value in given.items() if value is not None}
    page = await ask.execute(
        _as(_Page, calls.find_runs(filters=filters, before=before, max_runs=query.limit))
    )
    following = None if page.next is None else wire_id("run", page.next)
    return objects.Runs([run.shown() for run in page.runs], following)


async def get_run(ask: Ask, run_id: UUID) -> RunDetail:
    """A run with its steps and the types of its events."""
    found = await ask.execute(_as(_Outline, calls.outline_run(run_id)))
    run = found.run.shown()
    return RunDetail(
        run=run,
        steps=[_step(run, step) for step in found.steps],
        state=None,
        state_streams=[],
        state_versions=[],
        run_edges=[],
        child_runs=[],
        recovery_attempts=[],
        channels=[],
        channel_deliveries=[],
        gates=[],
        usage=[],
        events=[
            objects.Event(
                id=event.seq,
                run_id=run.id,
                seq=event.seq,
                type=event.type,
                payload=objects.EMPTY,
                created_at=known_time(event.created_at),
            )
            for event in sorted(found.events, key=lambda event: event.seq)
        ],
    )


def _step(run: Run, step: _Step) -> objects.Step:
    started, ended = time(step.started_at), time(step.finished_at)
    return objects.Step(
        id=step_id(step.name),
        run_id=run.id,
        name=step.name,
        resume_contract=objects.ResumeContract(side_effects=step.side_effects, replay=step.replay),
        status=step.status,
        attempt=step.attempt,
        started_at=started,
        completed_at=ended if step.status == "completed" else None,
        created_at=started,
        updated_at=ended or started,
    )


def _as(kind: type[Any], call: Call[Any]) -> Call[Any]:
    """The same call, its document read as this kind."""

    def read(rows: Sequence[Row]) -> Any:
        return msgspec.json.decode(rows[0][0], type=kind)

    return Call(call.name, call.columns, call.arguments, read, call.kind)
