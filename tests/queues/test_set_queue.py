"""set_queue: absent keys stay, null clears, unknown keys are refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import pytest

from tests.runs.acts import MINUTE, Tide, contents, refused
from tests.support import Clock

ALL: dict[str, Any] = {
    "paused": True,
    "concurrency": 3,
    "rate_limit": 5,
    "rate_period": "10 seconds",
    "max_attempts": 4,
    "backoff_base": "1 second",
    "backoff_max": "1 minute",
    "backoff_jitter": 0.5,
    "retention": "30 days",
}


def test_new_queue_has_the_defaults(tide: Tide, hour: Clock) -> None:
    queue = tide.set_queue(queue="q", settings={})
    assert (queue.queue, queue.paused, queue.rate_period) == ("q", False, MINUTE)
    cleared = [getattr(queue, key) for key in ALL if key not in ("paused", "rate_period")]
    assert cleared == [None] * 7
    assert queue.updated_at == hour.now


def test_every_key_is_set(tide: Tide) -> None:
    queue = tide.set_queue(queue="q", settings=ALL)
    assert (queue.paused, queue.concurrency, queue.rate_limit) == (True, 3, 5)
    assert (queue.rate_period, queue.max_attempts) == (timedelta(seconds=10), 4)
    assert (queue.backoff_base, queue.backoff_max) == (timedelta(seconds=1), MINUTE)
    assert (queue.backoff_jitter, queue.retention) == (0.5, timedelta(days=30))


@pytest.mark.parametrize("key", ALL)
def test_absent_keys_stay_and_null_clears_one(tide: Tide, key: str) -> None:
    before = tide.set_queue(queue="q", settings=ALL)
    after = tide.set_queue(queue="q", settings={key: None})
    default = {"paused": False, "rate_period": MINUTE}.get(key)
    assert getattr(after, key) == default
    for other in set(ALL) - {key}:
        assert getattr(after, other) == getattr(before, other)


PERTURBED: dict[str, Any] = ALL | {
    "retention_keeps": ["usage"],
    "budget": {"max_steps": 3},
    "push_url": "https://example.com/",
    "push_secret": "mine",
    "gate_channels": [{"url": "https://example.com/gates"}],
    "operator_urls": True,
}
CLAIMED_DESPITE: Final = {
    "concurrency": 2,
    "rate_limit": 5,
    "paused": 0,
    "push_url": 0,
}
"""How many of nine ready runs a claim still gets beside one that runs; nine with any other."""


def test_every_setting_there_is_is_perturbed_here(tide: Tide) -> None:
    rows = tide.connection.execute("select s.key from tide._queue_settings() as s").fetchall()
    assert {row.key for row in rows} == set(PERTURBED)


@pytest.mark.parametrize("worker", ["new", "known"])
@pytest.mark.parametrize("key", PERTURBED)
def test_a_setting_binds_the_very_next_claim_of_any_worker(
    tide: Tide, key: str, worker: str
) -> None:
    tide.enqueue_many(queue="default", runs=[{"workflow": "report"}] * 10)
    tide.claim(worker="known")
    before = tide.set_queue(queue="other", settings={})
    after = tide.set_queue(queue="default", settings={key: PERTURBED[key]})
    changed = {name for name, given in after._asdict().items() if given != getattr(before, name)}
    assert changed - {"queue", "created_at", "updated_at"} == {key}
    runs = tide.claim(worker=worker, max_runs=20)
    assert len(runs) == CLAIMED_DESPITE.get(key, 9)
    assert {run.budget and run.budget["max_steps"] for run in runs} <= {
        3 if key == "budget" else None
    }


@pytest.mark.parametrize("low_or_high", ["low", "high"])
def test_the_bounds_of_a_setting_are_those_of_the_list(tide: Tide, low_or_high: str) -> None:
    settings = tide.connection.execute(
        """
        select *
        from tide._queue_settings() as s
        where s.type in ('integer', 'number', 'interval')
        """
    ).fetchall()
    for setting in settings:
        bound = getattr(setting, low_or_high)
        if setting.type != "interval":
            bound = int(bound)
        changed = tide.set_queue(queue="q", settings={setting.key: bound})
        assert getattr(changed, setting.key) is not None
        beyond = -1 if low_or_high == "low" else 10**9
        with refused("22023", setting.key):
            tide.set_queue(
                queue="q",
                settings={setting.key: f"{beyond} days" if setting.type == "interval" else beyond},
            )


def test_same_settings_again_change_no_slot_and_no_permit(tide: Tide) -> None:
    tide.set_queue(queue="default", settings=ALL | {"paused": False})
    tide.started()
    before = contents(tide.connection)
    tide.set_queue(queue="default", settings=ALL | {"paused": False})
    after = contents(tide.connection)
    assert {name for name in before if before[name] != after[name]} <= {"queues"}


@pytest.mark.untouched
def test_unknown_key_is_refused_by_name(tide: Tide) -> None:
    before = contents(tide.connection)
    with refused("22023", "settings", "'concurency'"):
        tide.set_queue(queue="q", settings={"paused": True, "concurency": 1})
    assert contents(tide.connection) == before


@pytest.mark.untouched
@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        (key, wrong)
        for keys, values in {
            "paused": ("yes", 1, [], {}),
            "concurrency rate_limit max_attempts": (0, -1, 1.5, 10**6, 10**30, "3", True, [1]),
            "backoff_jitter": (-0.1, 1.1, 10**400, "0.1", False),
            "rate_period backoff_base backoff_max retention": (
                5,
                "soon",
                "",
                "-1 second",
                "infinity",
                "100000 years",
                "1e100000 s",
                True,
                {},
            ),
            "rate_period": ("0", "1 microsecond"),
        }.items()
        for key in keys.split()
        for wrong in values
    ],
)
def test_wrong_value_is_refused_by_the_name_of_its_key(tide: Tide, key: str, wrong: Any) -> None:
    with refused("22023", key):
        tide.set_queue(queue="q", settings={key: wrong})
    assert tide.connection.execute("select queue from tide.queues").fetchall() == []


@pytest.mark.untouched
@pytest.mark.parametrize("settings", ["null", "[]", "3", '"paused"', None])
def test_settings_must_be_an_object(tide: Tide, settings: str | None) -> None:
    with refused("22023", "settings"):
        tide.set_queue(queue="q", settings=settings)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_settings_are_not_changed_under_a_snapshot_of_before(tide: Tide, level: str) -> None:
    with refused("25001", "set_queue", level), tide.connection.transaction():
        tide.connection.execute(f"set transaction isolation level {level}".encode())
        tide.set_queue(queue="default", settings={})
