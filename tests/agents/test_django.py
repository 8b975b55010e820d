"""Django's tasks are runs: they exist iff the transaction commits, and are executed by workers."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

pytest.importorskip("django", reason="run: make test-agents")
pytest.importorskip("django_tasks", reason="run: make test-agents")

from tests.support import Connection, open_connection, value
from tidebase_pg import Tidebase
from tidebase_pg.errors import BadPayload

SITE = "tests.agents.django_site"


@pytest.fixture
def site(direct_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The tasks of a Django project whose database is that of the test."""
    import django
    from django.conf import settings
    from django.db import connections

    monkeypatch.setenv("TIDEBASE_DSN", direct_dsn)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", SITE)
    made = importlib.reload(importlib.import_module(SITE))
    if settings.configured:
        settings.DATABASES["default"].update(made.DATABASES["default"])
        for name in list(connections.settings["default"]):
            if name in made.DATABASES["default"]:
                connections.settings["default"][name] = made.DATABASES["default"][name]
    django.setup()
    if hasattr(connections._connections, "default"):
        del connections["default"]
    yield importlib.import_module("tests.agents.django_tasks_of_site")
    connections.close_all()


def worked() -> None:
    from tidebase_pg.agents.django import task_worker

    with task_worker() as tide:
        tide.work(queues=["default", "mails"], drain=True)


def test_a_task_is_executed_by_a_worker_and_its_result_is_given(site: Any) -> None:
    result = site.add.enqueue(2, b=3)
    assert (result.status.name, result.args, result.kwargs) == ("READY", [2], {"b": 3})
    context, later = site.attempts.enqueue(), site.later.enqueue("tides")
    worked()
    result.refresh()
    assert (result.status.name, result.return_value) == ("SUCCESSFUL", 5)
    assert result.finished_at >= result.started_at >= result.enqueued_at
    assert site.attempts.get_result(context.id).return_value == 1
    assert site.later.get_result(later.id).return_value == "TIDES"


def test_a_task_exists_if_and_only_if_the_transaction_commits(
    site: Any, connection: Connection
) -> None:
    from django.db import transaction

    count = "select count(*) from tide.runs"
    with pytest.raises(OSError, match="no more"), transaction.atomic():
        site.add.enqueue(1)
        assert value(connection, count) == 0
        raise OSError("no more")
    assert value(connection, count) == 0
    with transaction.atomic():
        inside = site.add.enqueue(1)
        assert site.add.get_result(inside.id).status.name == "READY"
        assert value(connection, count) == 0
    assert value(connection, count) == 1


def test_a_task_that_raises_has_failed_with_its_error(site: Any) -> None:
    result = site.fails.enqueue()
    worked()
    result.refresh()
    assert (result.status.name, result.attempts) == ("FAILED", 1)
    (error,) = result.errors
    assert error.exception_class is site.OwnError
    assert "raise OwnError" in error.traceback


def test_queue_priority_and_time_are_those_of_the_task(site: Any, connection: Connection) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    site.add.using(priority=7, queue_name="mails", run_after=tomorrow).enqueue(1)
    (row,) = connection.execute("select queue, priority, run_at, metadata from tide.runs")
    assert (row.queue, row.priority, row.run_at) == ("mails", 7, tomorrow)
    assert row.metadata["task"].endswith("django_tasks_of_site.add")


def test_what_is_no_task_is_not_called_and_bad_arguments_are_named(
    site: Any, direct_dsn: str
) -> None:
    from django_tasks.exceptions import TaskResultDoesNotExist

    from tidebase_pg.agents.django import WORKFLOW

    for path in ("tests.agents.django_tasks_of_site.plain", "os.system", "no.such.task"):
        with Tidebase(direct_dsn) as tide:
            given = {"task": path, "args": [], "kwargs": {}}
            run_id = tide.enqueue(WORKFLOW, input=given, queue="default").run_id
            worked()
            row = tide.runs.get(run_id)
            assert (row.status, row.failure_class) == ("failed", "no_task")
            assert path in row.error["message"]
            other = tide.enqueue("other").run_id
    with pytest.raises(BadPayload, match="object"):
        site.add.enqueue(object())
    for unknown in (str(uuid4()), "x", str(other)):
        with pytest.raises(TaskResultDoesNotExist):
            site.add.get_result(unknown)


def recursive() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        (object(), "object"),
        (float("nan"), "nan"),
        (b"bytes", "base64"),
        ("nul \0", "NUL"),
        ("\ud800", "surrogate"),
        (recursive(), "itself"),
        ("x" * 20_000_000, "too large"),
    ],
    ids=["object", "nan", "bytes", "nul", "surrogate", "recursive", "large"],
)
def test_arguments_of_django_tasks_are_named_and_make_no_run(
    direct_dsn: str, site: Any, argument: Any, words: str
) -> None:
    for place in ("args", "kwargs"):
        with pytest.raises(Exception, match=f"(?i){words}") as said:
            if place == "args":
                site.add.enqueue(1, argument)
            else:
                site.add.enqueue(a=1, b=argument)
        assert len(str(said.value)) < 1500
    with open_connection(direct_dsn) as connection:
        assert value(connection, "select count(*) from tide.runs") == 0
