"""The command line has what operators can do in SQL: every function, each of its arguments, and
every setting. A function that is neither a command nor named here fails the test."""

from __future__ import annotations

import re
from typing import Any, Final

import click
import pytest

from tests.conventions.bodies import ROOT
from tests.support import Connection
from tidebase_pg.cli import main
from tidebase_pg.commands.output import TYPED
from tidebase_pg.registry import LaneSettings

GIVEN: Final = {"actor", "key_hash"}
"""What the program says by itself, and what only the HTTP door says."""

COMMANDS: Final[dict[str, tuple[str, dict[str, str | None]]]] = {
    "adopt": ("adopt", {}),
    "cancel": ("runs cancel", {"cascade": "spare_children"}),
    "cancel_many": ("runs cancel-many", {}),
    "create_key": ("keys create", {}),
    "decide_gate": ("gates approve", {"decision": None, "actor": "name"}),
    "drop_allowance": ("allowances drop", {}),
    "drop_lane": ("lanes drop", {}),
    "drop_schedule": ("schedules delete", {}),
    "enqueue": ("enqueue", {}),
    "fire_schedule": ("schedules fire", {}),
    "fork_run": ("runs fork", {}),
    "grant_queue": ("queues grant", {}),
    "grant_secret": ("webhooks grant", {}),
    "note_gate": ("gates comment", {"note": None, "actor": "name", "comment": "text"}),
    "pause": ("pause", {}),
    "pause_schedule": ("schedules pause", {}),
    "prune": ("prune", {}),
    "reconcile": ("reconcile", {"report": None}),
    "recover": ("runs recover", {}),
    "redeliver": ("deliveries redeliver", {"delivery_id": "delivery_ids"}),
    "redrive": (
        "runs redrive",
        {"filters": None, "place": None, "reset_attempts": "keep_attempts"},
    ),
    "reschedule": ("runs reschedule", {}),
    "resolve_step": ("runs resolve", {"name": "step"}),
    "resume": ("resume", {}),
    "resume_schedule": ("schedules resume", {}),
    "retry": ("runs retry", {"reset_attempts": "keep_attempts"}),
    "revoke_key": ("keys revoke", {}),
    # Which lease is meant matters to one who looked some time ago.
    "revoke_lease": ("runs revoke", {"started_at": None}),
    "revoke_queue": ("queues revoke", {}),
    "send_event": ("send-event", {}),
    "set_allowance": ("allowances set", {}),
    "set_budget": ("runs budget", {}),
    "set_lane": ("lanes set", {"settings": None}),
    "set_price": ("prices set", {}),
    "set_queue": ("queues set", {"settings": None}),
    "set_retention": ("retention", {"retention": "length"}),
    "set_schedule": ("schedules set", {"enabled": "disabled"}),
    "set_webhook_secret": ("webhooks set-secret", {"secret": None}),
    "throttle": ("lanes throttle", {}),
}
"""The command of a function, and arguments that it takes under another name or, with null, not."""

OTHERWISE: Final = {
    # Workers, dispatchers and doors speak these.
    "append_stream", "authenticate_key", "await_children", "await_event", "await_gate",
    "await_work", "begin_run", "begin_step", "cancel_children", "claim", "claim_deliveries",
    "complete", "complete_step", "create_run", "fail", "fail_step", "finish_delivery", "heartbeat",
    "hold_run", "open_gate", "refuse_report", "release", "renew_run", "report_steps", "settle",
    "settle_and_claim", "sleep", "spawn", "spawn_many", "store_channel_secret",
    # Applications call these beside their own work.
    "create_snapshot", "enqueue_many", "patch_state", "record_usage", "resolve_gate", "save_state",
    "send_events", "set_state",
    # These answer what a reader asks: runs show, runs watch.
    "get_run", "watch_run",
}  # fmt: skip


def command(path: str) -> click.Command:
    found: click.Command = main
    for name in path.split():
        assert isinstance(found, click.Group)
        found = found.commands[name]
    return found


def names(path: str) -> set[str]:
    """The arguments and options of a command."""
    return {str(parameter.name) for parameter in command(path).params}


@pytest.fixture
def writers(connection: Connection) -> dict[str, list[str]]:
    """The arguments of every public function that writes, by its name."""
    rows = connection.execute(
        """
        select p.proname, coalesce(p.proargnames[1:p.pronargs], '{}') as arguments
        from pg_proc as p
        where p.pronamespace = 'tide'::regnamespace
          and p.proname not like E'\\\\_%'
          and p.provolatile = 'v'
        """
    ).fetchall()
    return {row.proname: row.arguments for row in rows}


def test_every_function_that_writes_is_a_command_or_is_for_programs(
    writers: dict[str, list[str]],
) -> None:
    assert COMMANDS.keys().isdisjoint(OTHERWISE)
    assert set(writers) == COMMANDS.keys() | OTHERWISE


@pytest.mark.parametrize("function", sorted(COMMANDS))
def test_a_command_takes_each_argument_of_its_function(
    writers: dict[str, list[str]], function: str
) -> None:
    path, renamed = COMMANDS[function]
    assert renamed.keys() <= set(writers[function])
    wanted = {
        renamed.get(argument, argument)
        for argument in writers[function]
        if argument in renamed or argument not in GIVEN
    }
    assert wanted - {None} - names(path) == set()


def test_the_command_line_sets_and_clears_every_setting_of_a_lane(connection: Connection) -> None:
    rows: list[Any] = connection.execute("select key from tide._lane_settings()").fetchall()
    settings = {row.key for row in rows}
    assert names("lanes set") - {"lane", "clear", "dsn", "json"} == settings
    assert set(LaneSettings.__annotations__) == settings
    (clear,) = [option for option in command("lanes set").params if option.name == "clear"]
    assert isinstance(clear.type, click.Choice)
    assert set(clear.type.choices) == settings


UNTYPED: Final = {
    "cancel", "claim", "enqueue_many", "gate_tokens", "list_streams", "open_gate", "set_state"
}  # fmt: skip
"""Functions that hints name to programs, which no operator types."""


def test_what_a_hint_names_is_a_command_to_type(connection: Connection) -> None:
    rows: list[Any] = connection.execute(
        "select p.proname from pg_proc as p where p.pronamespace = 'tide'::regnamespace"
    ).fetchall()
    functions = {row.proname for row in rows}
    named: set[str] = set()
    for path in ROOT.glob("sql/functions/*/*.sql"):
        for hint in re.findall(r"hint = ((?:\s*'(?:[^']|'')*')+)", path.read_text()):
            named |= set(re.findall(r"(?<=\btide\.)[a-z_]+|\b[a-z]+_[a-z_]+\b", hint))
    used = named & functions
    assert used - UNTYPED == TYPED.keys()
    for path_of_command in TYPED.values():
        assert command(path_of_command).name
