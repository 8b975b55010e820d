"""Tasks of the Django project of the tests."""

from __future__ import annotations

from typing import Any

from django_tasks import task


@task()
def add(a: int, b: int = 0) -> int:
    return a + b


@task(takes_context=True)
def attempts(context: Any) -> int:
    return int(context.attempt)


@task()
async def later(word: str) -> str:
    return word.upper()


class OwnError(Exception):
    pass


@task()
def fails() -> None:
    raise OwnError("no paper")


def plain() -> None:
    raise AssertionError("it is no task and must not be called")
