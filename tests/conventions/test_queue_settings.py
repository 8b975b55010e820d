"""A setting of a queue is one row of tide._queue_settings: Python, the command line and the
documentation know the same ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from tests.support import Connection, value
from tidebase_pg.commands.queues import CLEARABLE, set_
from tidebase_pg.registry import QueueSettings
from tidebase_pg.types import QueueRow

DOCS = Path(__file__).parents[2] / "docs"
OWN_COMMANDS = {"paused"}
"""Set by `queues pause` and `queues resume`."""
PYTHON: dict[str, Any] = {"boolean": bool, "integer": int, "number": float, "choices": None}


@pytest.fixture
def settings(connection: Connection) -> dict[str, Any]:
    """The rows of the list, by key."""
    rows = connection.execute("select * from tide._queue_settings()").fetchall()
    return {row.key: row for row in rows}


def test_every_setting_is_a_column(connection: Connection, settings: dict[str, Any]) -> None:
    columns = value(
        connection,
        """
        select array_agg(a.attname::text)
        from pg_attribute as a
        where a.attrelid = 'tide.queues'::regclass
          and a.attnum > 0
          and not a.attisdropped
        """,
    )
    assert set(columns) - {"queue", "created_at", "updated_at"} == set(settings)
    assert set(get_type_hints(QueueRow)) >= {
        f"{key}_text" if setting.type in ("budget", "channels") else key
        for key, setting in settings.items()
    }


def test_python_knows_every_setting_and_its_type(settings: dict[str, Any]) -> None:
    known = get_type_hints(QueueSettings)
    assert set(known) == set(settings)
    for key, setting in settings.items():
        expected = PYTHON.get(setting.type)
        assert expected in (None, known[key], *get_args(known[key])), key


def test_the_command_line_sets_and_clears_every_setting(settings: dict[str, Any]) -> None:
    options = {option.name for option in set_.params} - {"queue", "clear", "dsn", "json"}
    assert options == set(settings) - OWN_COMMANDS
    assert set(CLEARABLE) == options


def test_the_documentation_names_every_setting(settings: dict[str, Any]) -> None:
    named = re.findall(r"`(\w+)`", (DOCS / "queues.md").read_text())
    assert set(settings) <= set(named)
