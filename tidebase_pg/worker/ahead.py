"""How many runs a worker holds beyond its slots, so that neither they nor the database wait."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 0.1
"""Seconds of work beyond the slots, and for which a run waits for one, at the most."""
LAST_CHANCE: Final = 0.02
"""Seconds at the end of that in which a run that waits is looked at twice: where the whole process
was held up, what waits soon begins."""
MARGIN: Final = 2
"""So many times longer than the last ones the next runs may take."""
ROUND_TRIPS: Final = 3
"""What the slots do meanwhile is held: one report and claim is under way, the next is gathered, and
with a third the share of each grows until it costs the least."""


class Ahead:
    """Told how fast runs end and what claims give. Times are of the monotonic clock, lengths are
    seconds; what is asked of the database besides is not its business."""

    def __init__(self, most: int) -> None:
        """`most`: never more than so many, however short they are."""
        self._most = most
        self._served = True
        """Whether the last claim gave all that it asked for."""
        self._pace: float | None = None
        """How long after one run the next ends."""
        self._round_trip = 0.0
        self._since = 0.0
        self._ended = 0
        self._has_steps = False
        self._late_since: float | None = None

    def room(self, *, free: bool) -> int:
        """How many to hold now. With `free` slots it costs nothing to ask. A claim for nothing else
        is worth while only after one that was served: queues may be empty, or have limits. Runs
        report their steps together as long as they begin together, which from here they do not."""
        if self._has_steps or self._pace is None or not (free or self._served):
            return 0
        seconds = min(LONGEST / MARGIN, ROUND_TRIPS * self._round_trip)
        return min(self._most, int(seconds / self._pace))

    def begins(self, now: float) -> None:
        """Runs begin where none was under way."""
        if not self._ended:
            self._since = now

    def ended(self, *, had_steps: bool) -> None:
        """One run more."""
        self._ended += 1
        self._has_steps = had_steps

    def asks(self, now: float) -> None:
        """A request is sent."""
        if self._ended:
            pace = max((now - self._since) / self._ended, 1e-6)
            self._pace = pace if self._pace is None else (self._pace + pace) / 2
            self._since, self._ended = now, 0

    def answered(self, round_trip: float, *, served: bool) -> None:
        """A claim was answered after so long."""
        self._round_trip = (self._round_trip or round_trip) / 2 + round_trip / 2
        self._served = served

    def moment(self, waits_since: float) -> float:
        """When to look at what has waited since then."""
        due = waits_since + LONGEST - LAST_CHANCE
        return due if self._late_since is None else self._late_since + LAST_CHANCE

    def late(self, waits_since: float | None, now: float) -> bool:
        """Whether what waits since then, if anything, has waited for too long."""
        if waits_since is None or now < waits_since + LONGEST - LAST_CHANCE:
            self._late_since = None
            return False
        self._late_since = now if self._late_since is None else self._late_since
        return now >= self._late_since + LAST_CHANCE

    def erred(self) -> None:
        """A run had to wait too long: nothing is known of those that follow."""
        self._pace, self._served, self._late_since = None, False, None
