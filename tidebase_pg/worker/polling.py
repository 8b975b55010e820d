"""When a worker that finds nothing looks again: soon at first, then listening, ever later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

SHORTEST_PAUSE: Final = 0.02
"""Seconds between the first two looks of a worker that polls; from there they double."""
QUICK: Final = 0.01
"""Seconds of quick looks before a worker registers as idle: where runs come all the time, nobody
ever registers, and so nobody is notified. Longer, and a run each 50 ms would meet a worker that
neither looks nor listens."""
QUICKEST_PAUSE: Final = 0.001
SHORTEST_STEP: Final = 0.1
LONGEST_STEP: Final = 30.0
"""Seconds between two looks of a registered worker; from the shortest they double. A transaction
that was open when it registered does not tell it of its runs: they are found after at most as long
as they took again. What is due later than `tide._soon` is found by looking, so it is longer."""
MARGIN: Final = 5.0
"""Seconds for which a registration outlives the longest step; those of a dead worker go then."""
SHORTEST_FLOOR: Final = 0.05
LONGEST_FLOOR: Final = 1.0
"""Seconds between looks for what is due and yet not to be had; from the shortest they double."""
PRESSING: Final = 0.2
"""Floor in seconds from which on the small tick in claims is not enough."""
DEAF: Final = 10.0
"""Seconds for which a worker polls after it could not register."""


class Polling:
    """Told what claims give and what is inbox; says when to claim again and when to register.

    Times are of the monotonic clock, lengths are seconds. A worker that does not listen is never
    told to register and polls, at most `poll` apart.
    """

    def __init__(self, poll: float, lease: float, *, listens: bool) -> None:
        self.listens = listens
        self.registered = False
        """Whether somebody may still notify this worker."""
        self.longest = min(LONGEST_STEP, max(lease, SHORTEST_STEP))
        """A lease that begins after the worker has looked is seen before it can end."""
        self._poll = poll
        self._deaf_until = 0.0
        self._foreseen: float | None = None
        self._step = SHORTEST_STEP
        self.found()

    @property
    def duration(self) -> float:
        """How long a registration is to hold."""
        return self.longest + MARGIN

    @property
    def resting(self) -> bool:
        """Whether nothing is due and the worker waits to be notified."""
        return self._waits and self._floor < PRESSING

    def found(self) -> None:
        """There is work: start over."""
        self._pauses = _pauses(SHORTEST_PAUSE, self._poll)
        self._quick = _pauses(QUICKEST_PAUSE, self._poll)
        self._since: float | None = None
        self._floor = 0.0
        self._again()

    def notified(self, *, alone: bool) -> None:
        """A notification came; `alone`: to this worker, whose registration is thereby gone."""
        if alone:
            self.registered = False
        self._again()

    def lost(self) -> None:
        """The connection that listened is gone."""
        self._again()

    def cannot_listen(self, now: float, *, forever: bool = False) -> None:
        """The worker could not register, or not listen at all: poll."""
        self.listens = self.listens and not forever
        self._deaf_until = now + DEAF
        self._again()

    def due(self, now: float) -> bool:
        """Whether to register now, before the next claim."""
        return now >= self._register_at

    def register(self, foreseen: float | None) -> None:
        """Registered; nothing becomes ready by itself for so many seconds, None = ever."""
        self.registered = self._fresh = True
        self._foreseen = foreseen
        self._register_at = float("inf")

    def nothing(self, now: float) -> float:
        """A claim gave nothing: when to claim again."""
        if self._since is None:
            self._since = now
        if not self.listens or now < self._deaf_until:
            return now + next(self._pauses)
        if now - self._since < QUICK:
            return now + next(self._quick)
        if not self._fresh:
            self._register_at = now
            return now
        self._fresh = False
        self._waits = True
        step = self._step
        self._step = min(step * 2, self.longest)
        if self._foreseen is None or self._foreseen > step:
            self._floor = 0.0
            self._register_at = now + step
            return self._register_at
        wait = max(self._foreseen, self._floor)
        self._floor = min(max(self._floor * 2, SHORTEST_FLOOR), LONGEST_FLOOR)
        return now + wait

    def _again(self) -> None:
        self._step = min(SHORTEST_STEP, self.longest)
        self._fresh = self._waits = False
        self._register_at = float("inf")


def _pauses(shortest: float, longest: float) -> Iterator[float]:
    pause = min(shortest, longest)
    while True:
        yield pause
        pause = min(pause * 2, longest)
