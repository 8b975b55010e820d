"""Runs whose workflow takes many at once: gathered after they were claimed, begun together."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tidebase_pg.registry import BatchSize
from tidebase_pg.worker.active_run import ActiveRun


@dataclass(slots=True)
class Batch:
    """Runs of one workflow that are handed to it together."""

    runs: list[ActiveRun] = field(default_factory=list[ActiveRun])
    since: float = 0.0
    """When the first of them was claimed."""

    def __str__(self) -> str:
        return f"{self.runs[0]} and others"

    @property
    def stopped(self) -> bool:
        """Whether none of them is held any more."""
        return all(run.stop is not None for run in self.runs)


class Gathering:
    """What waits for more runs of its workflow, or for its wait to be over."""

    def __init__(self, sizes: Mapping[str, BatchSize]) -> None:
        """`sizes`: the workflows that take many, by name."""
        self._sizes = sizes
        self._open: dict[str, Batch] = {}
        self._full: list[Batch] = []

    def take(self, started: Iterable[ActiveRun], now: float) -> list[ActiveRun]:
        """Keep those whose workflow takes many; gives the others."""
        others: list[ActiveRun] = []
        for run in started:
            name = run.leased.workflow
            size = self._sizes.get(name)
            if size is None:
                others.append(run)
                continue
            batch = self._open.setdefault(name, Batch(since=now))
            batch.runs.append(run)
            if len(batch.runs) == size.most:
                self._full.append(self._open.pop(name))
        return others

    def due(self, now: float, *, alone: bool) -> list[Batch]:
        """Those to be begun now; all of them when nothing can join them."""
        due, self._full = self._full, []
        for name, batch in list(self._open.items()):
            if alone or now >= batch.since + self._sizes[name].wait:
                due.append(self._open.pop(name))
        return due

    def moment(self) -> float | None:
        """When the next one is due of itself."""
        if self._full:
            return time.monotonic()
        return min(
            (batch.since + self._sizes[name].wait for name, batch in self._open.items()),
            default=None,
        )
