"""Values as people read them: lengths of time, ages, counts, and text that cannot deceive."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

_LENGTH: Final = re.compile(
    r"(?:(-?\d+) years? ?)?(?:(-?\d+) mons? ?)?(?:(-?\d+) days? ?)?"
    r"(?:(-?)(\d+):(\d{2}):(\d{2}(?:\.\d+)?))?"
)
_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


WAITS: Final[Mapping[str, str]] = {
    "review": "needs a review",
    "gate": "waits for a decision",
    "children": "waits for children",
    "timer": "sleeps",
    "event": "waits for an event",
    "budget": "over budget",
    "push": "pushed, not begun",
    "lane": "waiting for a place in its lane",
    "provider": "waiting for its provider to be back",
    "after": "waits for runs it comes after",
}
"""What a parked run waits for, in words."""


def visible(text: str, *, keep: str = "") -> str:
    """The text with control characters and marks of direction made visible.

    Nothing in it can move a cursor, set a title, begin a line or turn the text around; `keep` are
    characters left as they are.

    >>> visible("a\\x1b[2Jb")
    'a␛[2Jb'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if letter in keep else _shown(letter) for letter in text)


def _shown(letter: str) -> str:
    code = ord(letter)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if letter in _BIDI or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp"):
        return f"<U+{code:04X}>"
    return letter


def length(span: timedelta) -> str:
    """A length of time in at most two units.

    >>> length(timedelta(seconds=200))
    '3 min 20 s'
    """
    seconds = abs(span.total_seconds())
    if seconds < 0.001:
        return "0 s"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    whole = round(seconds)
    for unit, size, below, small in (
        ("min", 60, "s", 1),
        ("h", 3600, "min", 60),
        ("d", 86400, "h", 3600),
    ):
        if whole < size * (60 if unit != "h" else 24) or unit == "d":
            rest = whole % size // small
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    raise AssertionError(span)


FACTS: Final[Mapping[str, str]] = {
    "run_at": "due",
    "due_at": "due",
    "until": "goes on",
    "next_at": "goes on",
    "expires_at": "expires",
    "leased_until": "lease ended",
    "gate_id": "decision",
    "delivery_id": "delivery",
}
"""What facts of `explain_wait` are called, where the name alone would puzzle."""
TIMES: Final = frozenset({"run_at", "due_at", "until", "next_at", "expires_at", "leased_until"})
"""Those of them that are times."""


def fact(name: str) -> str:
    """The name of a fact of `explain_wait` as people say it.

    >>> fact("expires_at"), fact("rate_limit")
    ('expires', 'rate limit')
    """
    return FACTS.get(name, name.replace("_", " "))


def ago(moment: datetime, now: datetime) -> str:
    """A time beside another: `3 min ago`, `in 2 h`, `just now`.

    >>> ago(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 2, tzinfo=UTC))
    '2 h ago'
    """
    span = now - moment
    seconds = span.total_seconds()
    if abs(seconds) < 1:
        return "just now"
    rough = timedelta(seconds=round(abs(seconds)))
    text = length(rough).split(" ")
    short = " ".join(text[:2])
    return f"{short} ago" if seconds > 0 else f"in {short}"


def count(number: int, most: int = 10_000) -> str:
    """A number that was counted to a bound: `10 000+` beyond it.

    >>> count(10_001)
    '10\u202f000+'
    """
    text = f"{min(number, most):,}".replace(",", "\u202f")
    return f"{text}+" if number > most else text


def moment(text: str | None) -> datetime | None:
    """A time as JSON documents of the schema hold it; None for none."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def span(text: str | None) -> timedelta | None:
    """A length of time as Postgres writes it into JSON: `1 day 02:03:04.5`; None for none."""
    if text is None:
        return None
    found = _LENGTH.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"not an interval: {text[:40]!r}")
    years, months, days, sign, hours, minutes, seconds = found.groups()
    clock = timedelta(hours=int(hours or 0), minutes=int(minutes or 0), seconds=float(seconds or 0))
    whole = int(years or 0) * 365 + int(months or 0) * 30 + int(days or 0)
    return timedelta(days=whole) + (-clock if sign else clock)
