"""The timeline of a run: when it worked and waited, and what its steps, gates, children did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from tidebase_pg.display import WAITS, length, moment

TICKS: Final = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400,
    172800, 604800, 2592000,
)  # fmt: skip

STEP_TONES: Final[Mapping[str, str]] = {
    "completed": "completed",
    "running": "running",
    "failed": "failed",
    "failed_retryable": "lost",
    "manual_review": "people",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A span on the axis, in per cent of its length."""

    left: float
    width: float
    tone: str
    title: str
    at: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Line:
    """One row: its bars and what they belong to."""

    kind: str
    name: str
    state: str
    tone: str
    length: str
    bars: tuple[Bar, ...]
    link: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on the axis."""

    left: float
    label: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Rows over one axis."""

    lines: tuple[Line, ...]
    ticks: tuple[Tick, ...]
    begins: datetime
    ends: datetime
    live: bool


class _Axis:
    def __init__(self, begins: datetime, ends: datetime) -> None:
        self.begins = begins
        self.ends = max(ends, begins + timedelta(milliseconds=1))
        self.whole = (self.ends - begins).total_seconds()

    def at(self, when: datetime) -> float:
        share = (when - self.begins).total_seconds() / self.whole
        return 100 * min(max(share, 0.0), 1.0)

    def bar(self, start: datetime, end: datetime | None, tone: str, title: str) -> Bar:
        until = end or self.ends
        left = self.at(start)
        span = length(until - start)
        width = min(max(self.at(until) - left, 0.35), 100 - left) if left < 100 else 0.35
        return Bar(min(left, 99.65), width, tone, f"{title}: {span}", start, end)

    def ticks(self) -> Iterator[Tick]:
        step = next((size for size in TICKS if self.whole / size <= 8), TICKS[-1])
        for number in range(int(self.whole // step) + 1):
            at = timedelta(seconds=number * step)
            left = 100 * at.total_seconds() / self.whole
            if left <= 96:
                yield Tick(left, length(at) if number else "0")


def timeline(seen: Mapping[str, Any], base: str) -> Timeline:
    """The timeline of what `outline_run` answered; `base` begins the links."""
    run = seen["run"]
    now = _time(seen["now"])
    begins = _time(run["created_at"])
    finished = moment(run["finished_at"])
    ends = finished or now
    axis = _Axis(begins, ends)
    stints = list(_stints(seen["attempts"], ends if finished else None))
    lines: list[Line] = [_attempts(stints, axis, run)]
    link = f"{base}/runs/{run['run_id']}"
    below = [
        *(_step(step, stints, axis, link) for step in seen["steps"]),
        *(_gate(gate, axis, base) for gate in seen["gates"]),
        *(_wait(wait, axis) for wait in seen["waits"]),
        *(_child(child, axis, base) for child in seen["children"]),
    ]
    lines += sorted(below, key=lambda line: (line.bars[0].at, line.name))
    return Timeline(tuple(lines), tuple(axis.ticks()), begins, ends, finished is None)


@dataclass(frozen=True, slots=True)
class Stint:
    """A time at work, or parked, between two events."""

    kind: str
    tone: str
    begins: datetime
    ends: datetime | None
    attempt: int | None
    worker: str | None
    outcome: str


_OUTCOMES: Final[Mapping[str, tuple[str, str]]] = {
    "run.completed": ("completed", "completed"),
    "run.failed": ("failed", "failed"),
    "run.cancelled": ("cancelled", "cancelled"),
    "run.requeued": ("lost", "ended without finishing"),
    "run.parked": ("worked", "parked"),
}
_REQUEUED: Final[Mapping[str, tuple[str, str]]] = {
    "released": ("worked", "given back"),
    "failed": ("lost", "failed, to be tried again"),
    "revoked": ("lost", "taken from its worker"),
    "lease_expired": ("lost", "its worker went silent"),
}


def _stints(events: list[Mapping[str, Any]], end: datetime | None) -> Iterator[Stint]:
    """Each claim opens a time at work; what follows says how it ended."""
    opened: tuple[str, Mapping[str, Any]] | None = None
    for event in events:
        kind = event["type"]
        if opened is not None and kind != "run.dispatched":
            yield _stint(*opened, event)
            opened = None
        if kind in ("run.claimed", "run.started"):
            opened = ("work", event)
        elif kind == "run.parked":
            opened = ("wait", event)
        elif kind in ("run.requeued", "run.resumed", "run.retried"):
            opened = ("queue", event)
    if opened is not None:
        yield _stint(*opened, None, end)


def _stint(
    kind: str,
    event: Mapping[str, Any],
    closing: Mapping[str, Any] | None,
    end: datetime | None = None,
) -> Stint:
    begins = _time(event["at"])
    ends = _time(closing["at"]) if closing else end
    attempt, worker = event.get("attempt"), event.get("worker")
    if kind == "work":
        tone, outcome = _OUTCOMES.get(closing["type"] if closing else "", ("running", "at work"))
        if closing and closing["type"] == "run.requeued":
            tone, outcome = _REQUEUED.get(closing.get("reason") or "", (tone, outcome))
        return Stint(kind, tone, begins, ends, attempt, worker, outcome)
    if kind == "wait":
        reason = str(event.get("waiting_on") or event.get("reason") or "")
        return Stint(kind, "parked", begins, ends, None, None, WAITS.get(reason, "parked"))
    return Stint(kind, "queued", begins, ends, None, None, "in the queue")


def _attempts(stints: list[Stint], axis: _Axis, run: Mapping[str, Any]) -> Line:
    bars: list[Bar] = []
    first = min((stint.begins for stint in stints), default=None)
    if first is None or first > axis.begins:
        bars.append(axis.bar(axis.begins, first, "queued", "in the queue"))
    for stint in stints:
        if stint.kind == "work":
            who = f" on {stint.worker}" if stint.worker else ""
            title = f"Attempt {stint.attempt or '?'}{who}, {stint.outcome}"
        else:
            title = stint.outcome
        bars.append(axis.bar(stint.begins, stint.ends, stint.tone, title))
    worked = sum(1 for stint in stints if stint.kind == "work")
    lost = sum(1 for stint in stints if stint.tone == "lost")
    notes = [f"{lost} lost"] if lost else []
    return Line(
        "run",
        "Run",
        str(run["status"]),
        str(run["status"]),
        length(axis.ends - axis.begins),
        tuple(bars),
        note=", ".join([f"{worked} time{'s' if worked != 1 else ''} at work", *notes]),
    )


def _step(step: Mapping[str, Any], stints: list[Stint], axis: _Axis, link: str) -> Line:
    start, end = _time(step["started_at"]), moment(step["finished_at"])
    replays = (
        sum(1 for stint in stints if stint.kind == "work" and stint.begins > end)
        if end and step["status"] == "completed"
        else 0
    )
    notes: list[str] = []
    if step["attempt"] > 1:
        notes.append(f"begun {step['attempt']}\N{MULTIPLICATION SIGN}")
    if replays:
        notes.append(f"replayed {replays}\N{MULTIPLICATION SIGN}")
    if step["decided_by"]:
        notes.append(f"decided by {step['decided_by']}")
    tone = STEP_TONES.get(step["status"], "queued")
    return Line(
        "step",
        step["name"],
        step["status"].replace("_", " "),
        tone,
        length((end or axis.ends) - start),
        (axis.bar(start, end, tone, step["name"]),),
        link=f"{link}/step?name={quote(step['name'], safe='')}",
        note=", ".join(notes),
    )


def _gate(gate: Mapping[str, Any], axis: _Axis, base: str) -> Line:
    start, end = _time(gate["created_at"]), moment(gate["resolved_at"])
    tone = {"approved": "completed", "rejected": "failed", "pending": "people"}.get(
        gate["status"], "cancelled"
    )
    return Line(
        "gate",
        gate["name"],
        gate["status"],
        tone,
        length((end or axis.ends) - start),
        (axis.bar(start, end, tone, gate["name"]),),
        link=f"{base}/gates/{gate['gate_id']}",
        note=f"by {gate['actor']}" if gate["actor"] else "",
    )


def _wait(wait: Mapping[str, Any], axis: _Axis) -> Line:
    start, end = _time(wait["created_at"]), moment(wait["ended_at"])
    return Line(
        "timer" if wait["kind"] == "timer" else "event",
        wait["name"],
        wait["status"].replace("_", " "),
        "parked",
        length((end or axis.ends) - start),
        (axis.bar(start, end, "parked", wait["name"]),),
    )


def _child(child: Mapping[str, Any], axis: _Axis, base: str) -> Line:
    start, end = _time(child["created_at"]), moment(child["finished_at"])
    status = child["status"] or "removed"
    return Line(
        "child",
        child["edge"],
        status,
        "parked" if child["waiting_on"] else status,
        length((end or axis.ends) - start),
        (axis.bar(start, end, status, f"{child['edge']} ({child['workflow']})"),),
        link=f"{base}/runs/{child['run_id']}",
        note=child["workflow"] or "",
    )


def _time(text: str) -> datetime:
    found = moment(text)
    assert found is not None
    return found
