"""Screens for people: a run in sections, and what goes on right now."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from tidebase_pg.display import TIMES, WAITS, ago, count, fact, length, moment, visible
from tidebase_pg.timeline import Line, Timeline, timeline
from tidebase_pg.types import EventRow, ListedQueue, RunTimes

COLOURS: Final[Mapping[str, str]] = {
    "completed": "green",
    "approved": "green",
    "running": "blue",
    "failed": "red",
    "rejected": "red",
    "lost": "red",
    "people": "magenta",
    "parked": "yellow",
    "queued": "bright_black",
    "pending": "bright_black",
    "cancelled": "bright_black",
    "worked": "cyan",
}
MARKS: Final[Mapping[str, str]] = {
    "lost": "░",
    "parked": "·",
    "queued": "·",
    "pending": "·",
    "worked": "▒",
}
KEPT: Final = 12
"""Lines of a document that is shown in part."""


def painted(text: str, tone: str) -> str:
    """The text in the colour of a state; click leaves colours out where there is no terminal."""
    return click.style(text, fg=COLOURS.get(tone)) if tone in COLOURS else text


def heading(text: str) -> str:
    return click.style(text, bold=True)


def said(run: Mapping[str, Any]) -> str:
    """The state of a run in words and colour."""
    waiting = run.get("waiting_on")
    tone = "people" if waiting in ("review", "gate", "budget") else "parked"
    if waiting:
        return painted(WAITS.get(waiting, str(waiting)), tone)
    return painted(str(run["status"]), str(run["status"]))


def outline(described: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """What `describe_run` answered, as `outline_run` would: for callers who may ask the first."""
    events = [
        {
            "seq": event["seq"],
            "type": event["type"],
            "at": event["created_at"],
            **{
                name: event["payload"].get(name)
                for name in ("attempt", "worker", "reason", "waiting_on")
            },
        }
        for event in described["events"]
        if event["type"].startswith("run.") and not event["type"].startswith("run.child")
    ]
    return {
        "now": now.isoformat(),
        "run": described["run"],
        "steps": described["steps"],
        "attempts": [event for event in events if event["type"] in _ATTEMPTS],
        "gates": described["gates"],
        "waits": described["waits"],
        "children": [
            {
                "edge": child["edge"],
                "run_id": child["child_id"],
                "workflow": "",
                "status": child["child_status"] or "running",
                "waiting_on": None,
                "created_at": child["created_at"],
                "finished_at": None,
            }
            for child in described["children"]
        ],
    }


_ATTEMPTS: Final = frozenset({
    "run.claimed", "run.started", "run.requeued", "run.parked", "run.resumed", "run.completed",
    "run.failed", "run.cancelled", "run.retried", "run.dispatched",
})  # fmt: skip


def run_screen(
    described: Mapping[str, Any],
    reasons: Sequence[Mapping[str, Any]],
    documents: Mapping[str, str | None],
    now: datetime,
) -> Iterator[str]:
    """A run in sections: facts, why it waits, timeline, steps, what it carries."""
    run = described["run"]
    yield f"{heading(visible(run['workflow']))}  {said(run)}"
    width = max(map(len, _facts(run, now)))
    for name, known in _facts(run, now).items():
        yield f"  {name:<{width}}  {known}"
    if reasons:
        yield ""
        still = run["status"] == "running"
        yield heading("Why it stands still" if still else "Why it is not running")
        for reason in reasons:
            yield f"  {visible(str(reason['detail']))}{_more(reason, now)}"
    drawn = timeline(outline(described, now), "")
    if described["steps"] or described["gates"] or run["attempt"]:
        yield ""
        yield f"{heading('Timeline')}  {length(drawn.ends - drawn.begins)}"
        yield from draw(drawn)
    yield from _table(described, now)
    for name, text in documents.items():
        if text is not None and text != "{}":
            yield ""
            yield heading(name.capitalize())
            yield from _document(text)


def _facts(run: Mapping[str, Any], now: datetime) -> dict[str, str]:
    def when(name: str) -> str | None:
        at = moment(run[name]) if run[name] not in (None, "infinity") else None
        return f"{ago(at, now)}, {at:%Y-%m-%d %H:%M:%S} UTC" if at else None

    attempt = f"{run['attempt']} of {run['max_attempts']}"
    if run["worker"]:
        attempt += f", {'on' if run['status'] == 'running' else 'last on'} {visible(run['worker'])}"
    facts = {
        "id": str(run["run_id"]),
        "queue": visible(run["queue"]) if run["queue"] else "none, begun by its id",
        "attempt": attempt,
        "priority": str(run["priority"]) if run["priority"] else None,
        "made": when("created_at"),
        "due": when("run_at") if run["status"] == "queued" and not run["ready"] else None,
        "ended": when("finished_at"),
        "lease": when("leased_until"),
        "deadline": when("deadline_at"),
        "parent": run["parent_id"],
        "fork of": run["forked_from"],
        "class": run["failure_class"],
        "cancelled": " ".join(
            visible(str(part))
            for part in (
                f"by {run['cancel_actor']}" if run["cancel_actor"] else "",
                f": {run['cancel_reason']}" if run["cancel_reason"] else "",
            )
            if part
        ),
    }
    return {name: str(fact) for name, fact in facts.items() if fact}


def _more(reason: Mapping[str, Any], now: datetime) -> str:
    parts: list[str] = []
    for name, value in reason.items():
        if name in ("reason", "detail") or value is None:
            continue
        if name in TIMES:
            at = moment(str(value))
            parts.append(f"{fact(name)} {ago(at, now) if at else value}")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            parts.append(f"{fact(name)} {visible(text)[:120]}")
    return f" ({'; '.join(parts)})" if parts else ""


def draw(drawn: Timeline, most: int = 40) -> Iterator[str]:
    """The timeline in letters."""
    columns = shutil.get_terminal_size((100, 24)).columns
    names = [_name(line) for line in drawn.lines[:most]]
    label = min(max(map(len, names), default=0), max(12, columns // 3))
    room = max(10, columns - label - 16)
    for line, name in zip(drawn.lines, names, strict=False):
        cells = [" "] * room
        tones = [""] * room
        for bar in line.bars:
            start = min(int(bar.left * room / 100), room - 1)
            end = min(max(start + 1, round((bar.left + bar.width) * room / 100)), room)
            for at in range(start, end):
                cells[at], tones[at] = MARKS.get(bar.tone, "█"), bar.tone
        shown = "".join(painted(cell, tone) for cell, tone in zip(cells, tones, strict=True))
        yield f"  {name[:label]:<{label}}  {shown}  {line.length:>10}"
    if len(drawn.lines) > most:
        yield f"  and {len(drawn.lines) - most} more"


def _name(line: Line) -> str:
    kinds = {"run": "", "step": "  ", "gate": "  ? ", "child": "  > "}
    return visible(kinds.get(line.kind, "  ") + line.name)


def _table(described: Mapping[str, Any], now: datetime) -> Iterator[str]:
    steps = described["steps"]
    if not steps:
        return
    yield ""
    done = sum(step["status"] == "completed" for step in steps)
    yield f"{heading('Steps')}  {done} of {len(steps)} done"
    names = [visible(step["name"])[:40] for step in steps[-50:]]
    width = max(map(len, names))
    if len(steps) > 50:
        yield f"  the last 50 of {len(steps)}"
    for step, name in zip(steps[-50:], names, strict=True):
        start, end = moment(step["started_at"]), moment(step["finished_at"])
        assert start is not None
        state = step["status"].replace("_", " ")
        tone: str = {"manual_review": "people", "failed_retryable": "failed"}.get(
            str(step["status"]), str(step["status"])
        )
        notes = [f"begun {step['attempt']} times"] if step["attempt"] > 1 else []
        if step["decided_by"]:
            notes.append(f"decided by {visible(step['decided_by'])}")
        yield (
            f"  {name:<{width}}  {painted(f'{state:<16}', tone)}  "
            f"{length((end or now) - start):>10}  {ago(start, now):<12}  {', '.join(notes)}"
        ).rstrip()


def _document(text: str) -> Iterator[str]:
    lines = visible(text, keep="\n").split("\n")
    for line in lines[:KEPT]:
        yield f"  {line[:400]}"
    if len(lines) > KEPT:
        yield f"  and {len(lines) - KEPT} more lines: --json has all of it"


def event_line(event: EventRow, since: datetime) -> str:
    """An event as it comes: how long after the beginning, what, and with what."""
    tones = {
        "run.completed": "completed",
        "run.failed": "failed",
        "run.cancelled": "cancelled",
        "step.failed": "failed",
        "step.review": "people",
        "gate.created": "people",
        "run.parked": "parked",
    }
    after = length(event.created_at - since)
    facts = visible(event.payload_text)
    shown = "" if facts == "{}" else click.style(facts[:160], dim=True)
    kind = painted(f"{event.type:<18}", tones.get(event.type, ""))
    return f"{event.seq:>5}  {'+' + after:>12}  {kind}  {shown}".rstrip()


def top_screen(
    seen: Mapping[str, Any],
    queues: Sequence[ListedQueue],
    runs: Sequence[Mapping[str, Any]],
    times: Mapping[str, RunTimes],
) -> Iterator[str]:
    """What goes on right now: counts, queues by pressure, running runs, failures."""
    now = moment(seen["now"]) or datetime.now(UTC)
    running = sum(row["runs"] for row in seen["running"])
    ready = sum(queue.ready for queue in queues)
    failed = sum(row["runs"] for row in seen["failures"])
    paused = painted("  PAUSED", "failed") if seen["health"]["paused_at"] else ""
    yield (
        f"{heading('tidebase')}  {now:%H:%M:%S} UTC  {count(running)} running  "
        f"{count(ready)} ready  {seen['workers']['alive']} workers  "
        f"{seen['gates']['pending']} decisions  "
        + painted(f"{count(failed, 2000)} failed within a day", "failed" if failed else "queued")
        + paused
    )
    yield ""
    yield heading(
        f"{'QUEUE':<28} {'READY':>8} {'RUNNING':>12} {'DELAYED':>8} {'PARKED':>8} {'WAITS':>12} "
        f"{'WAIT 95%':>10} {'RUN 95%':>10}"
    )
    zero = timedelta()
    for queue in sorted(
        queues, key=lambda q: (q.oldest_ready_age or zero, q.ready, q.running), reverse=True
    )[:10]:
        most = f"{count(queue.running)}/{queue.concurrency}" if queue.concurrency else ""
        age = length(queue.oldest_ready_age) if queue.oldest_ready_age else ""
        took = times.get(queue.queue)
        yield (
            f"{visible(queue.queue)[:28]:<28} {count(queue.ready):>8} "
            f"{most or count(queue.running):>12} {count(queue.delayed):>8} "
            f"{count(queue.parked):>8} {age:>12} "
            f"{_most(took.wait_p95 if took else None):>10} "
            f"{_most(took.run_p95 if took else None):>10}"
            + (painted("  paused", "parked") if queue.paused else "")
        )
    yield ""
    yield heading(f"{'RUNNING':<38} {'WORKFLOW':<24} {'TRY':>5} {'SINCE':>12}  WORKER")
    for run in runs:
        start = moment(run["started_at"])
        late = moment(run["leased_until"])
        lost = late is not None and late < now
        yield (
            f"{run['run_id']:<38} {visible(run['workflow'])[:24]:<24} {run['attempt']:>5} "
            f"{length(now - start) if start else '':>12}  {visible(run['worker'] or '')[:40]}"
            + (painted("  lease ended", "failed") if lost else "")
        ).rstrip()
    if seen["failures"]:
        yield ""
        yield heading(f"{'FAILING':<38} {'CLASS':<24} {'RUNS':>5} {'LAST':>12}")
        for row in seen["failures"][:5]:
            at = moment(row["newest_at"])
            yield (
                f"{visible(row['workflow'])[:38]:<38} "
                f"{visible(row['failure_class'] or 'error')[:24]:<24} "
                f"{count(row['runs'], 2000):>5} {ago(at, now) if at else '':>12}"
            )


def _most(span: timedelta | None) -> str:
    return "" if span is None else length(span)


def document_lines(value: Any) -> str:
    """A JSON value laid out for people."""
    return json.dumps(value, indent=2, ensure_ascii=False)
