"""What Studio says in words: states, reasons, expressions, and what to do about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from urllib.parse import quote

from tidebase_pg.display import WAITS, ago, count, length, moment, span, visible
from tidebase_pg.types import ListedQueue

STATES: Final[Mapping[str, str]] = {
    "pending": "pending",
    "queued": "queued",
    "running": "running",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}


def state(run: Mapping[str, Any]) -> str:
    """The state of a run as people say it."""
    if run.get("waiting_on"):
        return WAITS.get(run["waiting_on"], str(run["waiting_on"]))
    return STATES.get(run["status"], str(run["status"]))


def tone(run: Mapping[str, Any]) -> str:
    """Which colour the state has."""
    waiting = run.get("waiting_on")
    if waiting in ("review", "budget", "gate"):
        return "people"
    return "parked" if waiting else str(run["status"])


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that needs a look, and what to do about it."""

    weight: Literal["bad", "warn", "note"]
    title: str
    advice: str
    link: str
    action: str


def findings(seen: Mapping[str, Any], queues: list[ListedQueue]) -> list[Finding]:
    """What is wrong with the installation, worst first; empty when all is well."""
    now = moment(seen["now"])
    assert now is not None
    found = [*_upkeep(seen["health"]), *_people(seen, now), *_queues(seen, queues)]
    found += _lanes(seen, now)
    found += _webhooks(seen["health"])
    order = ("bad", "warn", "note")
    return sorted(found, key=lambda finding: order.index(finding.weight))


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{count(number)} {one if number == 1 else many}"


def _upkeep(health: Mapping[str, Any]) -> list[Finding]:
    found: list[Finding] = []
    minutes = timedelta(minutes=5)
    if health["paused_at"]:
        reason = f": {health['pause_reason']}" if health["pause_reason"] else ""
        found.append(
            Finding(
                "bad",
                f"The installation is paused{reason}",
                "Nothing is claimed, fired or sent. Resume it when the reason is gone.",
                "/doctor",
                "See how",
            )
        )
    ticked, reconciled = span(health["last_tick_age"]), span(health["last_reconcile_age"])
    known = [age for age in (ticked, reconciled) if age is not None]
    if known and min(known) > minutes:
        found.append(
            Finding(
                "bad",
                f"No upkeep for {length(min(known))}",
                "Expired leases, delays and schedules stand still. Start a worker, or call "
                "tide.reconcile() from cron.",
                "/workers",
                "Workers",
            )
        )
    expired = span(health["oldest_expired_lease_age"])
    if expired is not None and expired > timedelta(minutes=1):
        found.append(
            Finding(
                "bad",
                f"A lease expired {length(expired)} ago and nobody took the run back",
                "Its worker is gone. Upkeep hands the run out again; see whether it runs.",
                "/runs?status=running",
                "Running runs",
            )
        )
    due = span(health["oldest_due_schedule_age"])
    if due is not None and due > minutes:
        found.append(
            Finding(
                "warn",
                f"A schedule is {length(due)} late",
                "Schedules fire with upkeep: see that a worker or reconcile runs.",
                "/schedules",
                "Schedules",
            )
        )
    if health["poison_rows"]:
        found.append(
            Finding(
                "warn",
                f"Upkeep cannot handle {counted(health['poison_rows'], 'row', 'rows')}",
                "They are set aside and tried again later. Doctor names each with its error.",
                "/doctor?examine=yes",
                "Doctor",
            )
        )
    transaction = span(health["oldest_transaction_age"])
    if transaction is not None and transaction > timedelta(hours=1):
        found.append(
            Finding(
                "warn",
                f"A transaction has been open for {length(transaction)}",
                "Vacuum cannot clean behind it, and claims slow down. End it, or find its program.",
                "/doctor?examine=yes",
                "Doctor",
            )
        )
    if health["leaked_slots"]:
        found.append(
            Finding(
                "warn",
                f"{counted(health['leaked_slots'], 'slot is', 'slots are')} held by no run",
                "The next reconcile frees them.",
                "/queues",
                "Queues",
            )
        )
    return found


def _people(seen: Mapping[str, Any], now: datetime) -> list[Finding]:
    found: list[Finding] = []
    review = seen["people"].get("review")
    if review:
        oldest = review["oldest"][0]
        many = review["runs"] > 1
        found.append(
            Finding(
                "bad",
                f"{count(review['runs'])} run{'s need' if many else ' needs'} a review",
                "A step with side effects ended without an answer: say whether it happened.",
                "/runs?waiting_on=review" if many else f"/runs/{oldest['run_id']}",
                "Review",
            )
        )
    budget = seen["people"].get("budget")
    if budget:
        oldest = budget["oldest"][0]
        many = budget["runs"] > 1
        found.append(
            Finding(
                "warn",
                f"{count(budget['runs'])} run{'s are' if many else ' is'} over budget",
                "They wait until the limit is raised, or they are cancelled.",
                "/runs?waiting_on=budget" if many else f"/runs/{oldest['run_id']}",
                "Raise",
            )
        )
    near = [run for run in seen["budgets"] if run["share"] < 1]
    if near:
        first = near[0]
        others = f", and {len(near) - 1} more" if len(near) > 1 else ""
        found.append(
            Finding(
                "note",
                f"{first['workflow']} has spent {first['share']:.0%} of its budget{others}",
                "Raise the limit now, or it parks at its next step beyond it.",
                f"/runs/{first['run_id']}",
                "Look",
            )
        )
    for ending in seen["allowances"]:
        found.append(
            Finding(
                "warn" if ending["share"] >= 1 else "note",
                f"{ending['scope']} has {ending['left']:g} {ending['unit']} left of "
                f"{ending['amount']:g}, window: {ending['per']}",
                "Steps that ask for more park their runs until there is enough.",
                "/allowances",
                "Look",
            )
        )
    pending = seen["gates"]["pending"]
    if pending:
        soon = [
            gate
            for gate in seen["gates"]["oldest"]
            if gate["expires_at"] and (moment(gate["expires_at"]) or now) - now < timedelta(hours=1)
        ]
        since = moment(seen["gates"]["oldest"][0]["created_at"]) if seen["gates"]["oldest"] else now
        assert since is not None
        found.append(
            Finding(
                "warn" if soon else "note",
                f"{count(pending)} decision{'s wait' if pending != 1 else ' waits'} for people",
                f"{len(soon)} end within the hour."
                if soon
                else f"The oldest was asked {ago(since, now)}.",
                "/gates",
                "Decide",
            )
        )
    failed = sum(group["runs"] for group in seen["failures"])
    if failed:
        worst = seen["failures"][0]
        name = worst["failure_class"] or "error"
        found.append(
            Finding(
                "warn" if failed >= 5 else "note",
                f"{count(failed, 2000)} run{'s' if failed != 1 else ''} failed within a day",
                f"Most: {worst['workflow']} ({name}), {count(worst['runs'])}.",
                f"/runs?status=failed&workflow={quote(worst['workflow'], safe='')}",
                "Look",
            )
        )
    return found


def _queues(seen: Mapping[str, Any], queues: list[ListedQueue]) -> list[Finding]:
    found: list[Finding] = []
    late = [
        queue
        for queue in queues
        if not queue.paused
        and queue.oldest_ready_age is not None
        and queue.oldest_ready_age > timedelta(minutes=5)
    ]
    for queue in sorted(late, key=lambda q: q.oldest_ready_age or timedelta(), reverse=True)[:3]:
        assert queue.oldest_ready_age is not None
        found.append(
            Finding(
                "warn",
                f"{queue.queue}: ready runs wait {length(queue.oldest_ready_age)}",
                _held_up(queue, seen["served"].get(queue.queue, 0)),
                f"/queues/{quote(queue.queue, safe='')}",
                "Queue",
            )
        )
    paused = [queue for queue in queues if queue.paused and queue.ready]
    for queue in paused[:3]:
        found.append(
            Finding(
                "note",
                f"{queue.queue} is paused with {count(queue.ready)} ready",
                "Resume it when the reason is gone.",
                f"/queues/{quote(queue.queue, safe='')}",
                "Queue",
            )
        )
    if not seen["workers"]["alive"] and any(queue.ready for queue in queues):
        found.append(
            Finding(
                "bad",
                "No named worker claimed within the last minute",
                "Runs are ready and nobody takes them: start a worker.",
                "/workers",
                "Workers",
            )
        )
    return found


def _held_up(queue: ListedQueue, workers: int) -> str:
    """Why a queue is late, and what to do."""
    if queue.concurrency is not None and queue.slots_busy >= queue.concurrency:
        return "Its concurrency is used up: raise it, or wait."
    if queue.rate_limit is not None and not queue.rate_left:
        return "Its rate is used up: raise it, or wait."
    if queue.dispatch == "push":
        return "It is pushed: see whether its endpoint answers."
    if not workers:
        return "No named worker claims this queue: start one."
    return (
        f"{counted(workers, 'worker claims', 'workers claim')} it: add some, or see what they do."
    )


def _lanes(seen: Mapping[str, Any], now: datetime) -> list[Finding]:
    found: list[Finding] = []
    for lane in seen["throttled"][:3]:
        until = moment(lane["until"])
        assert until is not None
        found.append(
            Finding(
                "note",
                f"Lane {lane['lane']} is throttled",
                f"Its runs are claimed again {ago(until, now)}, or when the throttle is lifted.",
                f"/lanes/{quote(lane['lane'], safe='')}",
                "Lane",
            )
        )
    return found


def _webhooks(health: Mapping[str, Any]) -> list[Finding]:
    found: list[Finding] = []
    if health["dead_deliveries"]:
        found.append(
            Finding(
                "warn",
                f"{counted(health['dead_deliveries'], 'webhook was', 'webhooks were')} given up",
                "Mend the receiver, then deliver them again.",
                "/webhooks?status=dead",
                "Webhooks",
            )
        )
    if health["open_breakers"]:
        hosts = counted(health["open_breakers"], "host is", "hosts are")
        found.append(
            Finding(
                "warn",
                f"{hosts} left alone after failures",
                "One attempt decides when their time is over.",
                "/webhooks",
                "Webhooks",
            )
        )
    due = span(health["oldest_due_delivery_age"])
    if due is not None and due > timedelta(minutes=5):
        found.append(
            Finding(
                "warn",
                f"A webhook has been due for {length(due)}",
                "See that a dispatcher runs: tidebase-pg deliver, or a worker.",
                "/webhooks",
                "Webhooks",
            )
        )
    return found


def again(step: str | None, attempt: int) -> str:
    """The mark in a stream where an execution began again.

    >>> again("write", 2)
    'write begins again, attempt 2; what it wrote before is void'
    """
    what = visible(step)[:80] if step else "the workflow"
    return f"{what} begins again, attempt {attempt}; what it wrote before is void"


# Cron ------------------------------------------------------------------------------------

_DAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_MACROS: Final[Mapping[str, str]] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def cron(expression: str) -> str:
    """A cron expression in words; the expression itself where words would be longer.

    >>> cron("30 8 * * 1-5")
    'at 08:30, Monday to Friday'
    """
    fields = _MACROS.get(expression.strip().lower(), expression).split()
    if len(fields) != 5:
        return expression
    minute, hour, day, month, weekday = fields
    when = _time_of_day(minute, hour)
    if when is None:
        return expression
    parts = [when]
    days = _listed(day, str, 1)
    weekdays = _listed(weekday, lambda number: _DAYS[number % 7], 0, _DAYS)
    months = _listed(month, lambda number: _MONTHS[number - 1], 1, _MONTHS)
    if day != "*" and weekday != "*":
        parts.append(f"on day {days} or on {weekdays}")
    elif day != "*":
        parts.append(f"on day {days} of the month")
    elif weekday != "*":
        parts.append(weekdays)
    elif "every" not in when:
        parts.append("every day")
    if month != "*":
        parts.append(f"in {months}")
    return ", ".join(parts)


def _time_of_day(minute: str, hour: str) -> str | None:
    if minute == "*" and hour == "*":
        return "every minute"
    if minute.startswith("*/") and hour == "*":
        return f"every {minute[2:]} minutes"
    if minute.isdecimal() and hour == "*":
        return f"every hour at minute {int(minute)}"
    if minute.isdecimal() and hour.startswith("*/"):
        return f"every {hour[2:]} hours at minute {int(minute)}"
    if minute.isdecimal() and all(part.isdecimal() for part in hour.split(",")):
        times = [f"{int(part):02}:{int(minute):02}" for part in hour.split(",")]
        return f"at {_joined(times)}"
    if minute == "*" and hour.isdecimal():
        return f"every minute from {int(hour):02}:00 to {int(hour):02}:59"
    if minute.isdecimal() and "-" in hour and hour.replace("-", "").isdecimal():
        first, last = hour.split("-")
        return (
            f"every hour from {int(first):02}:{int(minute):02} to {int(last):02}:{int(minute):02}"
        )
    return None


def _listed(field: str, name: Callable[[int], str], low: int, names: tuple[str, ...] = ()) -> str:
    short = {full[:3].lower(): at + low for at, full in enumerate(names)}

    def one(text: str) -> str:
        number = short.get(text.lower(), int(text) if text.isdecimal() else None)
        return text if number is None else name(number)

    words: list[str] = []
    for part in field.split(","):
        first, dash, last = part.partition("-")
        words.append(f"{one(first)} to {one(last)}" if dash else one(part))
    return _joined(words)


def _joined(words: list[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" and {words[-1]}"
