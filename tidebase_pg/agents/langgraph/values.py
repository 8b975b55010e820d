"""Values of channels as blobs with hashes, and what a saver knows to be stored already. No I/O."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import takewhile
from math import isfinite
from typing import Any, Final, TypeAlias, TypeVar

from langgraph.checkpoint.serde.base import SerializerProtocol

from tidebase_pg.errors import BadPayload, PayloadTooLarge

Blob: TypeAlias = tuple[str, bytes]
Place: TypeAlias = tuple[str, str]
T = TypeVar("T")

PRIMITIVE: Final = (str, int, float, bool, type(None))
LONGEST_INLINE: Final = 256
MOST_BYTES: Final = 64 * 2**20
REMEMBERED_THREADS: Final = 256
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
    return blake2b(data, digest_size=16, key=kind.encode()[:64]).digest()


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


@dataclass(slots=True)
class Known:
    """What is stored of a thread, as far as this saver has seen it."""

    hashes: set[bytes] = field(default_factory=set[bytes])
    lists: dict[Place, tuple[str, list[bytes]]] = field(
        default_factory=dict[Place, tuple[str, list[bytes]]]
    )
    """Of each namespace and channel the version seen last, and its elements."""


class Memory:
    """What a saver knows of the threads it used last. A wrong entry costs a round trip, no data."""

    def __init__(self) -> None:
        self._threads: OrderedDict[str, Known] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, thread_id: str) -> Known:
        with self._lock:
            known = self._threads.setdefault(thread_id, Known())
            self._threads.move_to_end(thread_id)
            while len(self._threads) > REMEMBERED_THREADS:
                self._threads.popitem(last=False)
            return known

    def forget(self, thread_id: str | None = None) -> None:
        with self._lock:
            if thread_id is None:
                self._threads.clear()
            else:
                self._threads.pop(thread_id, None)


class Draft:
    """The blobs of one call: each once, and only those not known to be stored."""

    def __init__(self, serde: SerializerProtocol, known: Known) -> None:
        self._serde = serde
        self._known = known
        self._size = 0
        self.blobs: dict[bytes, Blob] = {}

    def one(self, value: Any, what: str) -> bytes:
        """The hash of a value."""
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
        return key

    def many(self, values: Sequence[Any], what: str) -> list[bytes]:
        return [self.one(value, f"{what}[{place}]") for place, value in enumerate(values)]

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


def unflatten(counts: Sequence[int], parts: Sequence[T]) -> Iterator[tuple[bool, list[T]]]:
    """For each count whether it is a list, and its parts; -1 = one value that is no list."""
    place = 0
    for count in counts:
        length = 1 if count < 0 else count
        yield count >= 0, list(parts[place : place + length])
        place += length
