"""Django's tasks as runs: a backend whose enqueue is part of Django's transaction, and a worker."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final
from uuid import UUID

import psycopg
from django.db import close_old_connections, connections  # type: ignore[import-untyped]
from django.utils.module_loading import import_string  # type: ignore[import-untyped]

from tidebase_pg import Run, Tidebase, calls
from tidebase_pg.client import Client
from tidebase_pg.errors import Fail, NotFound
from tidebase_pg.types import RunRow

__all__ = ["WORKFLOW", "TideBackend", "task_worker"]

WORKFLOW: Final = "django.task"
DATABASE: Final = "default"
ERROR: Final = "django.error"
"""The stream of the state in which a run says what was raised."""


def _tasks(name: str) -> Any:
    """A module of django.tasks, which Django 6 has, or of the package django-tasks."""
    try:
        return import_module(f"django.tasks.{name}")
    except ImportError:
        return import_module(f"django_tasks.{name}")


_base, _exceptions, _signals = _tasks("base"), _tasks("exceptions"), _tasks("signals")
_Backend: Any = _tasks("backends.base").BaseTaskBackend
_STATUS: Final = {
    "completed": _base.TaskResultStatus.SUCCESSFUL,
    "failed": _base.TaskResultStatus.FAILED,
    "cancelled": _base.TaskResultStatus.FAILED,
    "running": _base.TaskResultStatus.RUNNING,
}


class TideBackend(_Backend):  # type: ignore[misc]
    """A backend of Django's tasks: each is a run, enqueued on Django's own connection, so that it
    exists if and only if the transaction commits; `on_commit` is not needed.

    OPTIONS: `DATABASE`, the alias of a database with the schema ("default"); `MAX_ATTEMPTS` (1).

    >>> TASKS = {"default": {"BACKEND": "tidebase_pg.agents.django.TideBackend"}}
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Enqueue a run. Raises BadPayload naming the argument that is no JSON."""
        self.validate_task(task)
        given = {"task": task.module_path, "args": list(args), "kwargs": kwargs}
        call = calls.enqueue(
            WORKFLOW,
            queue=task.queue_name,
            input=given,
            priority=task.priority,
            run_at=task.run_after,
            max_attempts=self.options.get("MAX_ATTEMPTS", 1),
            metadata={"task": task.module_path, "backend": self.alias},
        )
        result = self.get_result(str(self._client().execute(call).run_id))
        _signals.task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> Any:
        """What became of a task. Raises TaskResultDoesNotExist for ids of no task."""
        client = self._client()
        try:
            row = client.execute(calls.get_run(UUID(result_id)))
        except (NotFound, ValueError):
            row = None
        if row is None or row.workflow != WORKFLOW:
            raise _exceptions.TaskResultDoesNotExist(result_id)
        raised = None
        if row.status == "failed":
            raised = client.execute(calls.get_state(row.run_id, stream=ERROR)).value
        return _result(row, self.alias, raised)

    def _client(self) -> Client:
        connection = connections[self.options.get("DATABASE", DATABASE)]
        connection.ensure_connection()
        if not isinstance(connection.connection, psycopg.Connection):
            raise TypeError("Django's connection is one of psycopg2; install psycopg 3")
        return Client(connection.connection)


def task_worker(alias: str = DATABASE, *, queues: Sequence[str] = ("default",)) -> Tidebase:
    """A Tidebase whose workers execute Django's tasks, on the database of that alias.

    >>> django.setup()
    >>> tide = task_worker()    # in project/worker.py: tidebase-pg work project.worker:tide
    """
    given = connections[alias].get_connection_params()
    names = ("host", "port", "dbname", "user", "password", "sslmode", "sslrootcert")
    found = {name: given[name] for name in names if given.get(name)}
    tide = Tidebase(psycopg.conninfo.make_conninfo("", **found))
    tide.workflow(WORKFLOW, queue=queues[0])(_execute)
    return tide


def _execute(run: Run, input: dict[str, Any]) -> Any:
    task = _task(input["task"])
    close_old_connections()
    try:
        backend = str((run.metadata or {}).get("backend", DATABASE))
        result = _result(task.get_backend()._client().execute(calls.get_run(run.id)), backend, None)
        _signals.task_started.send(type(task.get_backend()), task_result=result)
        context = (_base.TaskContext(task_result=result),) if task.takes_context else ()
        try:
            return task.call(*context, *input["args"], **input["kwargs"])
        except Exception as error:
            kind = type(error)
            run.state.set(f"{kind.__module__}.{kind.__qualname__}", stream=ERROR)
            raise
    finally:
        close_old_connections()


def _task(path: str) -> Any:
    """The task at a path. What is no task is not called, whatever a run says."""
    try:
        found = import_string(path)
    except ImportError as error:
        raise Fail(f"there is no task {path!r} here: {error}", failure_class="no_task") from error
    if not isinstance(found, _base.Task):
        raise Fail(f"{path!r} is no task: decorate it with @task", failure_class="no_task")
    return found


def _result(row: RunRow, alias: str, raised: Any) -> Any:
    given: Any = row.input
    errors = []
    if row.status == "failed":
        error: Any = row.error or {}
        path = raised or f"builtins.{error.get('type', 'Exception')}"
        errors = [_base.TaskError(exception_class_path=path, traceback=str(error.get("traceback")))]
    result = _base.TaskResult(
        task=_task(given["task"]),
        id=str(row.run_id),
        status=_STATUS.get(row.status, _base.TaskResultStatus.READY),
        enqueued_at=row.created_at,
        started_at=row.started_at,
        last_attempted_at=row.started_at,
        finished_at=row.finished_at,
        args=given["args"],
        kwargs=given["kwargs"],
        backend=alias,
        errors=errors,
        worker_ids=[str(row.worker)] * row.attempt,
    )
    object.__setattr__(result, "_return_value", row.result)
    return result
