"""Storms: many real connections at once, each doing its part until the work is done.

A storm is bounded by counts, never by the clock, and a test of one says how often each
interleaving it is about must have happened: a storm that misses them proves nothing, and is
played again, since which are met is up to the machine.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import psycopg

from tests.support import Connection, at_once, open_connection, results

LONGEST = 120.0
"""Seconds after which a storm that does not end has failed: something was lost."""
MOST_PLAYS = 20
"""Plays after which a storm that still misses an interleaving proves too little."""


class Actor:
    """One connection of a storm, and what it met."""

    def __init__(
        self,
        dsn: str,
        number: int,
        over: threading.Event,
        barriers: set[threading.Barrier],
    ) -> None:
        self.dsn = dsn
        self.number = number
        self.random = random.Random(number)
        self.hits: Counter[str] = Counter()
        self.connection = open_connection(dsn)
        self._over = over
        self._barriers = barriers

    def rows(self, query: str, *arguments: Any, refused: Sequence[str] = ()) -> list[Any]:
        """The rows of a query; none when it is refused as the storm expects, which is counted."""
        try:
            return self.connection.execute(query.encode(), arguments or None).fetchall()
        except psycopg.Error as error:
            if error.sqlstate not in refused:
                raise
            self.hits[error.sqlstate or ""] += 1
            return []

    def value(self, query: str, *arguments: Any, refused: Sequence[str] = ()) -> Any:
        rows = self.rows(query, *arguments, refused=refused)
        return rows[0][0] if rows else None

    def die(self) -> None:
        """Lose the connection in the midst of whatever it does, and come back as another worker."""
        self.connection.close()
        self.connection = open_connection(self.dsn)
        self.hits["died"] += 1

    def meet(self, barrier: threading.Barrier) -> None:
        """Go on together with the other parties of the barrier."""
        self._barriers.add(barrier)
        barrier.wait(LONGEST)

    def until(self, question: str) -> Iterator[None]:
        """Go round until the query answers true, every few rounds."""
        until = time.monotonic() + LONGEST
        while True:
            for _ in range(10):
                yield
            if self._over.is_set() or self.value(question):
                return
            assert time.monotonic() < until, f"the storm does not end: {question}"

    def until_over(self) -> Iterator[None]:
        """Go round until all the others have done their parts."""
        while not self._over.is_set():
            yield


Part = Callable[[Actor], None]


def storm(dsn: str, parts: Sequence[Part], beside: Sequence[Part] = ()) -> Counter[str]:
    """Play all parts at once, and those beside them until they are done; what was met, summed up.

    The first unexpected error ends the storm and is raised.
    """
    over = threading.Event()
    left = threading.Semaphore(0)
    barriers: set[threading.Barrier] = set()
    actors = [Actor(dsn, number, over, barriers) for number in range(len(parts) + len(beside))]

    def play(part: Part, actor: Actor) -> Counter[str]:
        try:
            part(actor)
        except BaseException:
            over.set()
            for barrier in barriers:
                barrier.abort()
            raise
        finally:
            if actor.number < len(parts):
                left.release()
            actor.connection.close()
        return actor.hits

    def end() -> Counter[str]:
        for _ in parts:
            left.acquire()
        over.set()
        return Counter()

    played = [
        partial(play, part, actor) for part, actor in zip([*parts, *beside], actors, strict=True)
    ]
    outcomes = at_once([*played, end])
    # Who waited for one that failed has failed of that only.
    outcomes.sort(key=lambda outcome: isinstance(outcome.error, threading.BrokenBarrierError))
    met: Counter[str] = sum(results(outcomes), Counter())
    return met


def until_met(
    play: Callable[[], Counter[str]], most: int = MOST_PLAYS, **needed: int
) -> Counter[str]:
    """Play a storm until each interleaving was met as often as it must be for it to count."""
    met: Counter[str] = Counter()
    missed: dict[str, tuple[int, int]] = {}
    for met["plays"] in range(1, most + 1):
        met += play()
        missed = {name: (met[name], least) for name, least in needed.items() if met[name] < least}
        if not missed:
            return met
    raise AssertionError(f"too few of {missed} among {dict(met)}: the storm proves too little")


def check_histories(connection: Connection) -> None:
    """Of every run: events 1, 2, 3 without a gap, in a legal order, one end and nothing after it;
    and no slot is held by nobody.
    """
    for run in connection.execute(
        """
        select
          r.run_id,
          r.last_seq,
          r.finished_at is not null as finished,
          array_agg(e.seq order by e.seq) as seqs,
          array_agg(e.type order by e.seq) as types
        from tide.runs as r
        left join tide.event_log as e on e.run_id = r.run_id
        group by
          r.run_id,
          r.last_seq,
          finished
        """
    ):
        assert run.seqs == list(range(1, run.last_seq + 1)), f"{run.run_id} has events {run.seqs}"
        moves = "".join(MOVES.get(move, "") for move in run.types)
        assert LIFE.fullmatch(moves), f"{run.run_id} cannot have had {run.types}"
        assert run.finished == (run.types[-1] in ENDS), f"{run.run_id} after {run.types}"
    leaked = connection.execute(
        """
        select
          s.queue,
          s.slot
        from tide.slots as s
        left join tide.runs_active as r on r.run_id = s.run_id and r.slot = s.slot
        where s.run_id is not null
          and r.run_id is null
        """
    ).fetchall()
    assert not leaked, f"slots held by nobody: {leaked}"


MOVES = {
    "run.enqueued": "Q",
    "run.claimed": "C",
    "run.requeued": "R",
    "run.parked": "P",
    "run.resumed": "W",
    "run.retried": "Y",
    "run.completed": "E",
    "run.failed": "E",
    "run.cancelled": "X",
}
ENDS = ("run.completed", "run.failed", "run.cancelled")
_ATTEMPTS = "(C(R|PW))*"
_END = "(X|CE|CX|CPX|CPE)"
LIFE = re.compile(f"Q+W?({_ATTEMPTS}{_END}YQ*)*{_ATTEMPTS}(C|CP|{_END})?")
