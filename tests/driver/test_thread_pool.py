"""A pool of threads: everything is worked on once, at once where it blocks, and nothing is left."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import pytest

from tidebase_pg.worker.thread_pool import ThreadPool

PATIENCE = 60


class Ledger:
    """What was worked on, and how often."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self._noted = threading.Condition()

    def note(self, item: int) -> None:
        with self._noted:
            self.counts[item] += 1
            self._noted.notify_all()

    def wait_for(self, number: int) -> None:
        with self._noted:
            assert self._noted.wait_for(lambda: self.counts.total() >= number, PATIENCE)


def test_work_that_blocks_is_done_at_once_by_as_many_as_there_may_be() -> None:
    together, ledger = threading.Barrier(8), Ledger()

    def work(item: int) -> None:
        together.wait(PATIENCE)
        ledger.note(item)

    pool = ThreadPool(work, 8, "test")
    pool.put(range(24))
    ledger.wait_for(24)
    assert pool.threads == 8
    assert ledger.counts == Counter(range(24))
    pool.end()


def test_a_thread_that_waits_takes_what_comes_next() -> None:
    ledger = Ledger()
    pool = ThreadPool(ledger.note, 100, "test")
    for item in range(500):
        pool.put([item])
        ledger.wait_for(item + 1)
    assert ledger.counts == Counter(range(500))
    assert pool.threads < 100
    pool.end()


def test_nothing_is_left_lying_or_done_twice_whoever_brings_it() -> None:
    ledger = Ledger()
    pool = ThreadPool(ledger.note, 4, "test")
    start = threading.Barrier(4)

    def bring(first: int) -> None:
        start.wait(PATIENCE)
        for item in range(first, first + 5000, 5):
            pool.put(range(item, item + 5))

    threads = [threading.Thread(target=bring, args=(number * 5000,)) for number in range(4)]
    for thread in threads:
        thread.start()
    ledger.wait_for(20_000)
    for thread in threads:
        thread.join(PATIENCE)
    assert ledger.counts == Counter(range(20_000))
    pool.end()


def test_at_the_end_nothing_more_is_begun_and_the_threads_end() -> None:
    ledger, together, go_on = Ledger(), threading.Barrier(4), threading.Event()

    def work(item: int) -> None:
        together.wait(PATIENCE)
        assert go_on.wait(PATIENCE)
        ledger.note(item)

    pool = ThreadPool(work, 3, "last")
    pool.put(range(9))
    together.wait(PATIENCE)
    pool.end()
    go_on.set()
    while any(thread.name.startswith("tidebase last") for thread in threading.enumerate()):
        pass
    assert ledger.counts == Counter(range(3))


def test_work_goes_on_where_no_more_threads_are_to_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start: Callable[[threading.Thread], None] = threading.Thread.start
    started: list[str] = []

    def refuse(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    ledger = Ledger()
    pool = ThreadPool(ledger.note, 8, "test")
    pool.put(range(100))
    ledger.wait_for(100)
    assert (pool.threads, started) == (1, ["tidebase test 1"])
    assert ledger.counts == Counter(range(100))
    pool.end()
