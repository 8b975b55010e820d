"""Many claimers at once in a fair lane, also while it is made fair and is so no longer."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.races.storm import Actor, storm, until_met
from tests.races.test_claim_storms import upkeep
from tests.races.test_lane_storm import (
    CENSUS,
    CLAIMERS,
    PER_KEY,
    RUNS,
    TOTAL,
    check_places,
    claim,
    claim_in_vain,
    fill,
)
from tests.support import open_connection, value


def check(dsn: str) -> None:
    check_places(dsn)
    with open_connection(dsn) as connection:
        assert value(connection, "select count(*) from tide.lane_heads") == 0


@pytest.mark.parametrize("limits", [{}, {"total": TOTAL, "per_key": PER_KEY}])
def test_sixteen_claimers_lose_no_run_of_a_fair_lane_and_keep_its_limits(
    dsn: str, limits: dict[str, int]
) -> None:
    def watch(actor: Actor) -> None:
        for _ in actor.until_over():
            ((running, of_a_key),) = actor.rows(CENSUS)
            assert running <= limits.get("total", RUNS)
            assert of_a_key <= limits.get("per_key", RUNS)
            actor.hits["waiting"] += bool(actor.value("select count(*) from tide.lane_waits"))

    def play() -> Counter[str]:
        fill(dsn, **limits, fair=True)
        return storm(dsn, [claim] * (CLAIMERS - 1) + [claim_in_vain], [upkeep, watch])

    needed = {"in vain": 1, "retried": 4, "died": 4, "cancelled": 4}
    until_met(play, **needed, claimed=RUNS, waiting=5)
    check(dsn)


def test_a_lane_made_fair_and_unfair_under_load_loses_and_leaks_nothing(dsn: str) -> None:
    def configure(actor: Actor) -> None:
        for _ in actor.until_over():
            settings = {
                "fair": actor.random.choice([None, True]),
                "weights": actor.random.choice([None, {"acme": 3}]),
                "total": actor.random.choice([None, TOTAL]),
                "per_key": actor.random.choice([None, 1, PER_KEY]),
            }
            actor.value("select tide.set_lane('shared', %s::jsonb) is null", json.dumps(settings))
            actor.hits["fair"] += settings["fair"] is True

    def play() -> Counter[str]:
        fill(dsn, fair=True)
        return storm(dsn, [claim] * (CLAIMERS - 1) + [claim_in_vain], [upkeep, configure])

    until_met(play, claimed=RUNS, fair=3, retried=4, died=4)
    check(dsn)
