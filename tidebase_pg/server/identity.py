"""Who sends a request, and the ids of the wire."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

_RUN: Final = re.compile(
    r"(?:[a-z]{2,8}_)?([0-9a-f]{32})|([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A key as it was recognised. `role` is a group role without its prefix, or `all` for the
    shared key and for an open door."""

    name: str
    role: str
    named: bool = False
    """Whether the key is one of its own: then it says who calls, as a scoped URL does."""
    key_hash: bytes | None = field(default=None, repr=False)
    """By which the database knows a named key among those that share its login."""
    shared: bool = False
    """Whether several workers use it: then it does not say which of them."""


def wire_id(prefix: str, value: UUID) -> str:
    """An id as clients know it: `run_` and 32 hexadecimal digits."""
    return f"{prefix}_{value.hex}"


def read_id(prefix: str, text: str) -> UUID | None:
    """The id in a path: with our prefix or bare; None when it is none."""
    found = _RUN.fullmatch(text)
    if found is None or (found[1] and len(text) > 32 and not text.startswith(f"{prefix}_")):
        return None
    return UUID(found[1] or found[2])


def step_id(name: str) -> str:
    """The id of a step: its name, in letters that need no encoding in a path."""
    return "step_" + base64.urlsafe_b64encode(name.encode()).rstrip(b"=").decode()


def step_name(text: str) -> str | None:
    """The name in the id of a step; None when it is none."""
    encoded = text.removeprefix("step_")
    if encoded == text:
        return None
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        return raw.decode()
    except (binascii.Error, ValueError):
        return None
