"""Which reports of steps go out together, and whose answers are whose; no I/O."""

from __future__ import annotations

import threading
import time
from typing import Any, cast
from uuid import uuid4

import psycopg
import pytest

from tidebase_pg import calls
from tidebase_pg.client import limits
from tidebase_pg.client.settings import Connection
from tidebase_pg.errors import StepInProgress
from tidebase_pg.names import Names
from tidebase_pg.types import LeasedRun, StepAnswer
from tidebase_pg.worker.active_run import ActiveRun
from tidebase_pg.worker.step_batches import MOST_TEXT, Report, StepBatcher


def held() -> ActiveRun:
    leased = LeasedRun(uuid4(), uuid4(), "w", 1, 1, "{}", "{}", fresh=True)
    return ActiveRun(leased, 60.0, time.monotonic())


def completed(run: ActiveRun, name: str, output: Any = None) -> Report:
    call = calls.complete_step(run.run_id, run.lease_id, name, output=output)
    return Report(run, complete=call)


def begun(run: ActiveRun, name: str) -> Report:
    return Report(run, begin=calls.begin_step(run.run_id, run.lease_id, name), judge=lambda _: None)


def test_a_completion_takes_along_the_begin_of_its_step() -> None:
    run, batcher = held(), StepBatcher()
    early, other = begun(run, "one"), begun(run, "other")
    batcher.add_deferred(early)
    batcher.add_deferred(other)
    report = completed(run, "one")
    batcher.add(report)
    assert (report.begin, report.began_at) == (early.begin, early.began_at)
    assert batcher.waiting == [report]
    assert batcher.early_of(run) == [other]
    assert batcher.waiting == [report, other]


def test_a_begin_that_went_out_already_is_not_sent_again() -> None:
    run, batcher = held(), StepBatcher()
    early = begun(run, "one")
    batcher.add_deferred(early)
    assert batcher.early_of(run) == [early]
    report = completed(run, "one")
    batcher.add(report)
    assert report.begin is None
    assert batcher.batch() == [early, report]


def test_answers_go_to_the_reports_they_are_about() -> None:
    reports = [completed(held(), name) for name in "abc"]
    StepBatcher().take(reports, [StepAnswer(2, "busy", None, 0, "")])
    assert [report.busy for report in reports] == [False, True, False]


def test_a_batch_has_so_much_text_and_one_report_at_least() -> None:
    batcher, text = StepBatcher(), "x" * (MOST_TEXT * 3 // 5)
    reports = [completed(held(), name, text) for name in "abc"]
    reports.append(completed(held(), "d", 2 * text))
    for report in reports:
        batcher.add(report)
    assert [batcher.batch() for _ in reports] == [[report] for report in reports]


def test_what_may_pass_is_reported_again_and_what_may_not_is_raised() -> None:
    run = completed(held(), "a")
    StepBatcher().refuse([run], psycopg.OperationalError("the connection was lost"))
    assert run.busy
    run = completed(held(), "a")
    StepBatcher().refuse([run], RuntimeError("a bug"))
    assert isinstance(run.error, RuntimeError)


def test_a_limit_cuts_off_once_its_time_is_up_and_never_after_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cut: list[object] = []
    monkeypatch.setattr(limits, "cut", cut.append)
    connection, before = cast(Connection, object()), time.monotonic()
    limit, ended = limits.Limit(connection, 10.0), limits.Limit(connection, 10.0)
    limit.check(before + 9.9)
    assert (cut, limit.expired) == ([], False)
    ended.end()
    ended.check(time.monotonic() + 11)
    assert (cut, ended.expired) == ([], False)
    for _ in range(2):
        limit.check(time.monotonic() + 10)
    assert (cut, limit.expired) == ([connection], True)


def test_a_name_used_again_is_the_next_use() -> None:
    names = Names()
    names.enter(threading.current_thread())
    for assigned in ("a", "a:2", "a:3"):
        use = names.claim("step", "a")
        assert use is not None
        assert use.assigned == assigned
        use.open, use.done = False, True
    use = names.claim("gate", "a")
    assert use is not None
    assert use.assigned == "a"


@pytest.mark.parametrize(("mine", "others"), [(None, "1"), ("1", None), ("1", "1")])
def test_branches_whose_uses_nothing_tells_apart_are_refused(
    mine: str | None, others: str | None
) -> None:
    names = Names()
    names.enter(threading.current_thread())
    use = names.claim("step", "a", input=others)
    assert use is not None
    use.open, use.done, use.begun = False, True, True
    refused: list[Exception] = []

    def branch() -> None:
        try:
            names.claim("step", "a", input=mine)
        except StepInProgress as error:
            refused.append(error)

    thread = threading.Thread(target=branch)
    thread.start()
    thread.join()
    assert [type(error) for error in refused] == [StepInProgress]
