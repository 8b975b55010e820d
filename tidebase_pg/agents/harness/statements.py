"""Statements of both stores: what Postgres cannot store is refused before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tidebase_pg.agents.connections import Statement
from tidebase_pg.errors import BadPayload

DOCUMENTS: Final = ("record", "metadata")
"""JSON texts, in which a NUL is an escape."""


def statement(
    function: str, given: Mapping[str, Any], stored: Callable[[], None] = lambda: None
) -> Statement:
    """A call with the arguments that are not None. Raises BadPayload naming the argument whose text
    holds a NUL or half a character."""
    arguments = {name: value for name, value in given.items() if value is not None}
    for name, value in arguments.items():
        if isinstance(value, str) and name not in DOCUMENTS and (problem := _problem(value)):
            raise BadPayload(
                f"{name} {value[:60]!r} holds {problem}, which Postgres cannot store; leave it out"
            )
    return Statement(function, arguments, stored)


def _problem(text: str) -> str | None:
    if "\0" in text:
        return f"a NUL at {text.index(chr(0))}"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"half a character at {error.start}"
    return None
