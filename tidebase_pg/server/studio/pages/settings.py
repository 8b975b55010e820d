"""Settings in a form: changed with the old value beside, if they are as the form showed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class OutOfDate(Exception):
    """A setting is not what the page showed; the message says what it is."""


def wanted(
    form: Mapping[str, str],
    current: Mapping[str, Any],
    *,
    numbers: Sequence[str],
    texts: Sequence[str] = (),
) -> dict[str, Any]:
    """What a form changes. Raises OutOfDate, and ValueError for what is no number."""
    found: dict[str, Any] = {}
    for name in (*numbers, *texts):
        if name not in form:
            continue
        given, old = form[name].strip(), form.get(f"old_{name}", "")
        if given == old:
            continue
        now = as_field(current.get(name))
        if now != old:
            raise OutOfDate(
                f"{name} is {now or 'not set'} by now, not {old or 'unset'} as the page showed. "
                "Nothing was changed; look, and decide again."
            )
        found[name] = _number(name, given) if given and name in numbers else given or None
    return found


def said(settings: Mapping[str, Any]) -> str:
    """What was changed, in words."""
    return ", ".join(f"{name} = {as_field(value) or 'not set'}" for name, value in settings.items())


def as_field(value: Any) -> str:
    """A setting as its field in the form holds it."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _number(name: str, given: str) -> int:
    if not given.lstrip("-").isdecimal():
        raise ValueError(f"{name} = {given[:40]!r} is no whole number")
    return int(given)
