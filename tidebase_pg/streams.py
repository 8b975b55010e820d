"""Streams of runs: written by workflows, a batch at a time, and followed."""

# Made from async_streams.py by tools/async_to_sync.py: change that, then `make sync`.

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from tidebase_pg import calls, threads
from tidebase_pg.calls.streams import append_text
from tidebase_pg.client import Client
from tidebase_pg.documents import encode
from tidebase_pg.errors import Stop
from tidebase_pg.event_reader import LONGEST_HEARING, LONGEST_POLLING, SHORTEST_PAUSE, WATCH
from tidebase_pg.subscriptions import Following
from tidebase_pg.types import StreamItem
from tidebase_pg.values import RunId, identifier, whole

if TYPE_CHECKING:
    from tidebase_pg.driver import Driver

DELAY: Final = 0.1
"""Seconds for which chunks are gathered: what a killed process loses of its streams."""
MOST_CHUNKS: Final = 1_000
MOST_BYTES: Final = 256 * 1024
PAGE: Final = 1_000


class RunStream:
    """A stream of a run, as its workflow writes to it; see `run.stream`."""

    def __init__(self, driver: Driver, name: str, step: str | None) -> None:
        self._driver = driver
        self._step = step
        self._texts: list[str] = []
        self._size = 0
        self._after = 0
        self._waits = False
        self._error: BaseException | None = None
        self._lock = threads.Lock()
        self.name = name

    def write(self, chunk: Any) -> None:
        """Append a chunk, any JSON. It goes out with others within a tenth of a second, before
        the next call of the run, and at once when there are many.

        Raises BadPayload when it is no JSON, PayloadTooLarge, or a Stop.

        >>> run.stream("out").write(token)
        """
        text = encode(chunk, f"a chunk of stream {self.name!r} of run {self._driver.run.run_id}")
        self._complain()
        self._texts.append(text)
        self._size += len(text)
        if len(self._texts) >= MOST_CHUNKS or self._size >= MOST_BYTES:
            self.flush()
        elif not self._waits:
            self._waits = True
            threads.in_background(self._later, "stream")

    def flush(self) -> None:
        """Append now what was written."""
        self._complain()
        with self._lock:
            while self._texts:
                texts, self._texts, self._size = self._texts, [], 0
                run = self._driver.run
                self._after = self._driver.perform(
                    append_text(
                        run.run_id,
                        run.lease_id,
                        self.name,
                        texts,
                        step=self._step,
                        after=self._after,
                    )
                )

    def _later(self) -> None:
        threads.sleep(DELAY)
        while self._driver.run.in_transaction and self._driver.run.stop is None:
            threads.sleep(DELAY)  # what is written meanwhile would wait for its locks
        self._waits = False
        try:
            self.flush()
        except (Exception, Stop) as error:
            self._error = error

    def _complain(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


def follow_stream(
    following: Following, client: Client, run_id: RunId, stream: str, after: int
) -> Generator[StreamItem]:
    """See `runs.stream`."""
    run: UUID = identifier("run_id", run_id)
    after = whole("after", after, 0, 2**31 - 1)
    seat = following.join(run)
    pause = SHORTEST_PAUSE
    watched = 0.0
    try:
        while True:
            hearing = following.hears
            if hearing and watched <= 0:
                client.execute(calls.watch_run(run, duration=WATCH))
                watched = WATCH / 2
            seat.news.clear()
            call = calls.read_stream(run, stream, after=after, max_chunks=PAGE)
            items = client.execute(call)
            for item in items:
                after = item.position
                yield item
                if item.kind == "end":
                    return
            if items:
                pause = SHORTEST_PAUSE
                continue
            threads.wait(seat.news, pause)
            watched -= pause
            pause = min(pause * 2, LONGEST_HEARING if hearing else LONGEST_POLLING)
    finally:
        following.leave(run, seat)
