"""What a step is known by, and what its options say about doing it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from tidebase_pg.server.refusals import BadBody

_AMBIGUOUS: Final = {"retry": "auto", "review": "manual", "fail": "never"}
LONGEST: Final[Mapping[str, int]] = {
    "idempotency_key": 512,
    "checkpoint_invariant": 4096,
    "verified_by": 4096,
}


def canonical(value: Any) -> str:
    """JSON as the SDKs write it to hash it: compact, keys sorted."""
    return json.dumps(
        value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False
    )


def known_input(given: Raw, input_hash: str) -> Raw:
    """What the database is to know a step by.

    Where the hash of the client is that of its input, the input itself: then SDKs and drivers of
    all languages agree. Else the hash, as the client's own name for the input.
    """
    raw = bytes(given) or b"null"
    try:
        hashed = hashlib.sha256(canonical(json.loads(raw)).encode()).hexdigest()
    except (ValueError, RecursionError):
        hashed = ""
    if hashed == input_hash.lower():
        return Raw(raw)
    return Raw(msgspec.json.encode({"inputHash": input_hash}))


def estimate(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the step is expected to use, out of its options; the database judges the amounts.

    Raises 400 for what is no object.
    """
    given = options.get("estimate")
    if given is None:
        return None
    if not isinstance(given, dict):
        raise BadBody(["options", "estimate"], "it is not an object of amounts by unit")
    return cast("dict[str, Any]", given)


def contract(options: Mapping[str, Any]) -> dict[str, Any]:
    """The contract in the options of a step; what is of no known kind is passed over.

    Raises 400 for texts that are longer than the schema keeps.
    """
    found: dict[str, Any] = {}
    effects = options.get("sideEffects")
    if isinstance(effects, list):
        named = cast("Sequence[object]", effects)
        found["side_effects"] = [one for one in named if isinstance(one, str) and one]
    elif isinstance(legacy := options.get("sideEffect"), str) and legacy not in ("none", ""):
        found["side_effects"] = [legacy]
    key = options.get("idempotencyKey")
    if isinstance(key, str) and key:
        found["idempotency_key"] = key
    replay = options.get("replay")
    if replay not in ("auto", "manual", "never"):
        ambiguous = options.get("onAmbiguousFailure")
        replay = _AMBIGUOUS.get(ambiguous) if isinstance(ambiguous, str) else None
    if replay is not None:
        found["replay"] = replay
    for name, word in (
        ("checkpoint_invariant", "checkpointInvariant"),
        ("verified_by", "verifiedBy"),
    ):
        value = options.get(word)
        if isinstance(value, str) and value:
            found[name] = value
        elif isinstance(value, dict):
            found[name] = canonical(value)
    timeout = options.get("timeoutMs")
    if isinstance(timeout, int | float) and not isinstance(timeout, bool) and 1 <= timeout <= 3e10:
        found["timeout"] = f"{timeout / 1000:.6f} seconds"
    for name, most in LONGEST.items():
        if len(found.get(name, "").encode()) > most:
            raise BadBody(["options"], f"{name} has more than {most} bytes: shorten it")
    return found
