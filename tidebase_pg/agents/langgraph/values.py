"""Values of channels as blobs with hashes, and what a saver knows to be stored already. No I/O."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import takewhile
from math import isfinite
from typing import Any, Final, TypeAlias

from langgraph.checkpoint.serde.base import SerializerProtocol

from tidebase_pg.errors import BadPayload, PayloadTooLarge

Blob: TypeAlias = tuple[str, bytes]
Place: TypeAlias = tuple[str, str]

PRIMITIVE: Final = (str, int, float, bool, type(None))
LONGEST_INLINE: Final = 256
HASH_BYTES: Final = 16
MOST_BYTES: Final = 64 * 2**20
REMEMBERED_THREADS: Final = 256
MOST_REMEMBERED: Final = 32 * 2**20
"""Bytes of values; what a channel held last need not be read again."""
PACKED: Final = "+zlib"
"""At the end of the type of a value that is compressed."""
SHORTEST_PACKED: Final = 2048
"""What is shorter Postgres does not compress either, and a message of a chat is often shorter."""
SAMPLE: Final = 4096
WORTHWHILE: Final = 0.7


def is_inline(value: Any) -> bool:
    """Whether a value stands in the checkpoint itself, because a blob would cost more."""
    if isinstance(value, str):
        return len(value) <= LONGEST_INLINE and "\0" not in value and value.isprintable()
    if isinstance(value, float):
        return isfinite(value)
    return value is None or isinstance(value, int)


def is_list(value: Any) -> bool:
    """Whether a value is kept element by element, so that one that grows costs what it grows."""
    return type(value) is list and not any(isinstance(part, PRIMITIVE) for part in value)


def digest(blob: Blob) -> bytes:
    kind, data = blob
    return blake2b(data, digest_size=HASH_BYTES, key=kind.encode()[:64]).digest()


def packed(blob: Blob) -> Blob:
    """Compressed, unless that saves little, which a part of it tells. Postgres's own compression
    takes three times as long, and saves less."""
    kind, data = blob
    if len(data) < SHORTEST_PACKED:
        return blob
    if len(data) > 2 * SAMPLE:
        middle = len(data) // 2
        sample = zlib.compress(memoryview(data)[middle : middle + SAMPLE], 1)
        if len(sample) > WORTHWHILE * SAMPLE:
            return blob
    small = zlib.compress(data, 1)
    return (kind + PACKED, small) if len(small) <= WORTHWHILE * len(data) else blob


def unpacked(blob: Blob) -> Blob:
    """What `packed` was given, of a blob whose type says that it is compressed."""
    kind, data = blob
    return kind.removesuffix(PACKED), zlib.decompress(data, bufsize=4 * len(data))


@dataclass(frozen=True, slots=True)
class Kept:
    """What a channel held at a version: one value, or the elements of a list."""

    version: str
    hashes: list[bytes]
    blobs: list[Blob]
    listed: bool
    size: int

    @classmethod
    def of(cls, version: str, hashes: list[bytes], blobs: list[Blob], listed: bool) -> Kept:
        return cls(version, hashes, blobs, listed, sum(len(data) for _, data in blobs))


@dataclass(slots=True)
class Known:
    """What is stored of a thread, as far as this saver has seen it."""

    hashes: set[bytes] = field(default_factory=set[bytes])
    values: dict[Place, Kept] = field(default_factory=dict[Place, Kept])
    """Of each namespace and channel the version seen last."""
    size: int = 0

    def within(self, namespace: str) -> dict[str, Kept]:
        """What channels of a namespace held last, where that was anything."""
        return {
            channel: kept
            for (place, channel), kept in list(self.values.items())
            if place == namespace and kept.hashes
        }


class Memory:
    """What a saver knows of the threads it used last. A wrong entry costs a round trip, no data."""

    def __init__(self) -> None:
        self._threads: OrderedDict[str, Known] = OrderedDict()
        self._lock = threading.Lock()
        self._size = 0

    def of(self, thread_id: str) -> Known:
        with self._lock:
            known = self._threads.setdefault(thread_id, Known())
            self._threads.move_to_end(thread_id)
            while len(self._threads) > REMEMBERED_THREADS:
                self._size -= self._threads.popitem(last=False)[1].size
            return known

    def keep(self, thread_id: str, values: Mapping[Place, Kept]) -> None:
        """Remember what channels hold now; the values of the threads used longest ago go."""
        known = self.of(thread_id)
        with self._lock:
            before = known.size
            for place, kept in values.items():
                replaced = known.values.get(place)
                known.size += kept.size - (0 if replaced is None else replaced.size)
                known.values[place] = kept
            if self._threads.get(thread_id) is known:
                self._size += known.size - before
            for oldest in self._threads.values():
                if self._size <= MOST_REMEMBERED:
                    break
                self._size -= oldest.size
                oldest.values.clear()
                oldest.size = 0

    def forget(self, thread_id: str | None = None) -> None:
        with self._lock:
            if thread_id is None:
                self._threads.clear()
                self._size = 0
            elif (known := self._threads.pop(thread_id, None)) is not None:
                self._size -= known.size


class Draft:
    """The blobs of one call: each once, and only those not known to be stored."""

    def __init__(self, serde: SerializerProtocol, known: Known) -> None:
        self._serde = serde
        self._known = known
        self._size = 0
        self.blobs: dict[bytes, Blob] = {}

    def one(self, value: Any, what: str) -> tuple[bytes, Blob]:
        """A value as it is stored, and its hash."""
        try:
            blob = self._serde.dumps_typed(value)
        except (TypeError, ValueError) as error:
            raise BadPayload(
                f"{what} cannot be serialized: {error}; keep it out of the state, or give the "
                "saver a serializer that can"
            ) from error
        self._size += len(blob[1])
        if self._size > MOST_BYTES:
            raise PayloadTooLarge(
                f"{what} takes what is stored at once above {MOST_BYTES >> 20} MiB; keep large "
                "things elsewhere and their address in the state"
            )
        key = digest(blob)
        if key not in self._known.hashes:
            self.blobs[key] = packed(blob)
        return key, blob

    def many(self, values: Sequence[Any], what: str) -> tuple[list[bytes], list[Blob]]:
        hashes: list[bytes] = []
        blobs: list[Blob] = []
        for place, value in enumerate(values):
            key, blob = self.one(value, f"{what}[{place}]")
            hashes.append(key)
            blobs.append(blob)
        return hashes, blobs

    def arrays(self) -> tuple[list[bytes], list[str], list[bytes]]:
        return (
            list(self.blobs),
            [kind for kind, _ in self.blobs.values()],
            [data for _, data in self.blobs.values()],
        )

    def stored(self) -> None:
        """Remember that the call went through."""
        self._known.hashes.update(self.blobs)


def common(before: Sequence[bytes], now: Sequence[bytes]) -> int:
    """How many elements both begin with."""
    return sum(
        1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, now, strict=False))
    )


def split(hashes: bytes, count: int) -> tuple[list[bytes], bytes]:
    """So many hashes, and the rest."""
    end = count * HASH_BYTES
    return [hashes[at : at + HASH_BYTES] for at in range(0, end, HASH_BYTES)], hashes[end:]
