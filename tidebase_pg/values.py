"""Arguments as people write them, turned into what Postgres takes; a wrong one is named."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias, TypeVar, cast
from uuid import UUID

T = TypeVar("T")

Duration: TypeAlias = timedelta | float
"""A length of time: a timedelta, or seconds."""

RunId: TypeAlias = UUID | str
"""The id of a run, as a UUID or as its text."""

_LABEL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/@-]{0,127}")
INTEGER_RANGE: Final = range(-(2**31), 2**31)


def new_run_id() -> UUID:
    """A UUIDv7: ids made later sort later. Give it to enqueue to be free to send it again."""
    milliseconds = time.time_ns() // 1_000_000
    bits = milliseconds << 80 | int.from_bytes(os.urandom(10), "big")
    return UUID(int=bits & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)


def new_secret() -> str:
    """A random secret for webhooks, in the form of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def worker_name() -> str:
    """Who holds a lease, for people: host, process and a random part."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def told_as(secret: UUID | str) -> UUID:
    """What notifications call a run, a worker or its session: it tells nothing to who does not know
    the secret."""
    return UUID(bytes=hashlib.sha256(str(secret).encode()).digest()[:16])


def identifier(name: str, value: object) -> UUID:
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a UUID, not {type(value).__name__}")
    try:
        return UUID(value)
    except ValueError:
        raise ValueError(f"{name} = {value[:80]!r} is not a UUID") from None


def interval(name: str, value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a timedelta or seconds, not {type(value).__name__}")
    try:
        return timedelta(seconds=value)
    except (OverflowError, ValueError):
        raise ValueError(f"{name} = {value} is not a length of time: give seconds") from None


def interval_or_text(name: str, value: object) -> timedelta | str:
    """For an argument that is a length of time in one function and a document in another."""
    return value if isinstance(value, str) else interval(name, value)


def place_moment_or_runs(name: str, value: object) -> int | datetime | list[UUID]:
    """For an argument that is a place in one function, a time in another and ids in a third."""
    if isinstance(value, list | tuple):
        return identifiers(name, cast("Sequence[Any]", value))
    return moment(name, value) if isinstance(value, datetime) else integer(name, value)


def identifier_or_moment(name: str, value: object) -> UUID | datetime:
    """For an argument that is an id in one function and a time in another."""
    return moment(name, value) if isinstance(value, datetime) else identifier(name, value)


def seconds(name: str, value: Duration, *, least: float = 0.0) -> float:
    """The length in seconds, for waits of the driver itself."""
    length = interval(name, value).total_seconds()
    if length < least:
        raise ValueError(f"{name} = {length:g} s is too short: give at least {least:g} seconds")
    return length


def interval_text(value: timedelta) -> str:
    """As an options object of the schema takes it."""
    return f"{value // timedelta(microseconds=1) / 1_000_000:.6f} seconds"


def backoff_lengths(backoff: Mapping[str, Any]) -> dict[str, Any]:
    """A backoff object whose base and max may be timedeltas or seconds, as the schema takes it."""
    return {
        key: interval_text(interval(f"backoff.{key}", value))
        if key in ("base", "max") and not isinstance(value, str)
        else value
        for key, value in backoff.items()
    }


def integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}")
    if value not in INTEGER_RANGE:
        shown = value if value.bit_length() < 128 else f"a number of {value.bit_length()} bits"
        raise ValueError(f"{name} = {shown} is out of range: give a 32-bit number")
    return value


def big_integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}")
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{name} is out of range: give a 64-bit number")
    return value


def units(name: str, value: object) -> int:
    """As many units as a lane can allow, or fewer."""
    number = big_integer(name, value)
    if not 1 <= number <= 10**12:
        raise ValueError(f"{name} = {number} is out of range: give 1 to {10**12}")
    return number


def amount(name: str, value: object) -> Decimal:
    """A float is taken as it is printed: 0.1 is one tenth."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    number = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise ValueError(f"{name} = {value} is not a number: leave it out instead")
    return number


def amount_or_text(name: str, value: object) -> Decimal | str:
    """Text is the JSON of an estimate."""
    return value if isinstance(value, str) else amount(name, value)


def boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")
    return value


def moment(name: str, value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"{name} must be a datetime, not {type(value).__name__}")
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError(
            f"{name} = {value} has no time zone: use datetime.now(timezone.utc) or .astimezone()"
        )
    return value


def octets(name: str, value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"{name} must be bytes, not {type(value).__name__}")
    return value


def text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {type(value).__name__}")
    if "\0" in value:
        raise ValueError(f"{name} = {value[:80]!r} holds a NUL character: remove it")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{name} = {value[:80]!r} holds a lone surrogate: decode it with errors='replace'"
        ) from None
    return value


def label(name: str, value: object) -> str:
    """A short name as the schema takes it."""
    given = text(name, value)
    if not _LABEL.fullmatch(given):
        raise ValueError(
            f"{name} = {given[:200]!r} is not a valid name: use 1 to 128 letters, digits and "
            "_ . : / @ - of ASCII"
        )
    return given


def texts(name: str, value: object) -> list[str]:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence | set | frozenset):
        raise TypeError(f"{name} must be a list of texts, not {type(value).__name__}")
    return [text(name, element) for element in cast("Sequence[Any]", value)]


def identifiers(name: str, value: object) -> list[UUID]:
    return [identifier(name, element) for element in cast("Sequence[Any]", value)]


def whole(name: str, value: object, least: int, most: int) -> int:
    """A whole number between two limits, both included."""
    number = integer(name, value)
    if not least <= number <= most:
        raise ValueError(f"{name} = {number} is out of range: give {least} to {most}")
    return number


def check_kind(name: str, value: T, *kinds: type[Any]) -> T:
    """The value, or TypeError when it is neither None nor of one of these kinds."""
    if value is not None and not isinstance(value, kinds):
        words = " or ".join(f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in kinds)
        raise TypeError(f"{name} must be {words}, not {type(value).__name__}")
    return value


def unreadable_dsn(dsn: str, complaint: str) -> str:
    """What is wrong with a DSN, for messages: libpq repeats the DSN, with its password."""
    scheme = re.match(r"\s*([A-Za-z][A-Za-z0-9.-]*)(\+[A-Za-z0-9]+)?:/", dsn)
    if scheme is not None and (scheme[2] or scheme[1] not in ("postgresql", "postgres")):
        return (
            f"the DSN begins with {scheme[1]}{scheme[2] or ''}://, which is no address of libpq: "
            "begin it with postgresql://"
        )
    if scheme is not None and "percent" in complaint:
        return "the DSN cannot be read: write a % in a user, password or name as %25"
    return (
        "the DSN cannot be read: write postgresql://user:password@host:port/database, with "
        "characters such as @ : / % encoded, or host=... dbname=... user=..."
    )
