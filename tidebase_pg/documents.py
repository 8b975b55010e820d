"""JSON in and out: what cannot be stored or read is refused by name, path and remedy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from tidebase_pg.errors import BadPayload, CollidingKeys

_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_read: Final = json.JSONDecoder().raw_decode
WHITE: Final = " \t\n\r"
"""What may stand around a JSON text."""
MAX_DEPTH: Final = 100

_REMEDIES: Final[Mapping[str, str]] = {
    "datetime": "store value.isoformat()",
    "date": "store value.isoformat()",
    "time": "store value.isoformat()",
    "timedelta": "store value.total_seconds()",
    "UUID": "store str(value)",
    "Decimal": "store str(value)",
    "Path": "store str(value)",
    "PosixPath": "store str(value)",
    "bytes": "store it elsewhere, or as base64 text",
    "bytearray": "store it elsewhere, or as base64 text",
    "set": "store sorted(value)",
    "frozenset": "store sorted(value)",
    "coroutine": "await it first",
    "generator": "store list(value)",
}


def encode(value: object, what: str, *about: object) -> str:
    """The JSON text of a value. `what` names it in the error: "the output of step 'plan'"; `about`
    fills its braces, which costs nothing while all is well.

    Raises BadPayload for NaN, infinities, NUL and lone surrogates in text, and types JSON lacks.
    """
    try:
        text = _encode(value)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        found = _find(value) or f"{type(error).__name__}: {error}"
        raise BadPayload(_complaint(what, about, found)) from None
    if "\\u0000" in text and (problem := _find(value)):
        raise BadPayload(_complaint(what, about, problem))
    if "{" in text and (problem := _collision(value)):
        raise CollidingKeys(_complaint(what, about, problem))
    return text


def canonical(value: object, what: str) -> str:
    """The JSON text of a value, the same for the same value whatever the order of its keys."""
    encode(value, what)
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def optional(value: object, what: str, *about: object) -> str | None:
    """The JSON text of a value; None stays None, which leaves the argument out."""
    return None if value is None else encode(value, what, *about)


def decode(text: str | None, what: str, *about: object) -> Any:
    """The value of a stored JSON text; None for SQL null. Raises BadPayload when unreadable.

    `about` is that of `encode`.
    """
    if text is None:
        return None
    text = text.strip(WHITE)
    try:
        value, end = _read(text)
        if end != len(text):
            raise json.JSONDecodeError("Extra data", text, end)
        return value
    except (ValueError, RecursionError) as error:
        named = _named(what, about)
        raise BadPayload(f"{named} cannot be read: {type(error).__name__}: {error}") from None


def _collision(value: object, path: str = "$") -> str | None:
    """Where two keys of a dict become one text, as 1 and "1" do."""
    if isinstance(value, dict):
        given = cast("dict[object, object]", value)
        for key, part in given.items():
            if not isinstance(key, str):
                (name,) = cast("dict[str, int]", json.loads(_encode({key: 0})))
                if name in given:
                    return f"at {path} the keys {key!r} and {name!r} become one; use text keys"
            if isinstance(part, dict | list | tuple) and (
                problem := _collision(cast(object, part), f"{path}.{key}")
            ):
                return problem
    elif isinstance(value, list | tuple):
        for index, part in enumerate(cast("Sequence[object]", value)):
            if isinstance(part, dict | list | tuple) and (
                problem := _collision(cast(object, part), f"{path}[{index}]")
            ):
                return problem
    return None


def _complaint(what: str, about: Sequence[object], problem: str) -> str:
    return f"{_named(what, about)} cannot be stored as JSON: {problem}"


def _named(what: str, about: Sequence[object]) -> str:
    return what.format(*about) if about else what


def _find(value: object) -> str | None:
    """Where and why the first part of a value cannot be stored, or None."""
    pending: list[tuple[str, object, int]] = [("$", value, 0)]
    while pending:
        path, part, depth = pending.pop()
        if depth > MAX_DEPTH:
            return f"it is nested deeper than {MAX_DEPTH} levels, or contains itself; flatten it"
        if isinstance(part, Mapping):
            children: list[tuple[str, object, int]] = []
            for key, child in cast("Mapping[object, object]", part).items():
                if not isinstance(key, str | int | float | bool | None):
                    return f"at {path} a key is a {type(key).__name__}; use text keys"
                if isinstance(key, str) and (problem := _text_problem(key)):
                    return f"at {path} a key {problem}"
                children.append((f"{path}.{key}", child, depth + 1))
            if not isinstance(part, dict):
                return f"at {path} is a mapping that is no dict; store dict(value)"
            pending.extend(reversed(children))
        elif isinstance(part, list | tuple):
            pending.extend(
                (f"{path}[{index}]", child, depth + 1)
                for index, child in reversed(list(enumerate(cast("Sequence[object]", part))))
            )
        elif problem := _scalar_problem(part):
            return f"at {path} {problem}"
    return None


def _scalar_problem(value: object) -> str | None:
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        return _text_problem(value)
    if isinstance(value, int):
        return (
            "is a number of too many digits; store it as text"
            if value.bit_length() > 1328
            else None
        )
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return f"is {value}; store null or text"
        return None
    kind = type(value).__name__
    return f"is a {kind}; {_REMEDIES.get(kind, 'store dicts, lists, text and numbers only')}"


def _text_problem(text: str) -> str | None:
    if "\0" in text:
        return "holds a NUL character; remove it"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds a lone surrogate; decode it with errors='replace'"
    return None
