"""Calls about keys of the HTTP door: made, listed, revoked, looked up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from tidebase_pg.call import Call, call, truth
from tidebase_pg.types import Identity, KeyRow, Row


def authenticate_key(token_hash: bytes) -> Call[list[Identity]]:
    """The name and role of the key with this sha256 of its token, and whether several workers share
    it; no row = unknown or revoked. Gives no right by itself: what the key may do decides the login
    of its role.
    """
    return call("authenticate_key", Identity.columns(), Identity.many, token_hash=token_hash)


def create_key(name: str, role: str, *, shared: bool | None = None) -> Call[str]:
    """Make a key of the HTTP door for one role, client, worker, operator, viewer or approver, and
    return its token, which is shown this once. shared: several workers use it, so it does not say
    which of them holds a run. Nobody makes a key for a role their login is not in: 42501.
    """
    return call("create_key", "create_key", _text, name=name, role=role, shared=shared)


def list_keys() -> Call[list[KeyRow]]:
    """All keys of the HTTP door by name, revoked ones too; neither tokens nor their hashes."""
    return call("list_keys", KeyRow.columns(), KeyRow.many)


def revoke_key(name: str) -> Call[bool]:
    """Let a key open nothing any more, for good; false = there is no such key, or it was revoked
    before.
    """
    return call("revoke_key", "revoke_key", truth, name=name)


def _text(rows: Sequence[Row]) -> str:
    return cast(str, rows[0][0])
