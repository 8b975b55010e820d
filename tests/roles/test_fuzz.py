"""Random calls by logins of one role each find nothing of a restricted queue, whatever they change
on the way: all that is in it is marked. TIDE_TEST_CALLS=100000 for many."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.roles.test_grant_matrix import (
    FUNCTIONS,
    MARK,
    NAMES,
    PLAIN,
    QUEUE,
    ROLES,
    STATES,
    Scene,
    about,
    furnish,
)
from tests.roles.test_grant_matrix import others as others
from tests.roles.test_grant_matrix import scene as scene
from tests.runs.acts import DOCUMENTS, Tide, as_json
from tests.support import Connection

CALLS = int(os.environ.get("TIDE_TEST_CALLS", "1500"))
QUEUES = ["default", "open", QUEUE]


def argument(chance: random.Random, function: str, name: str, scene: Scene, login: str) -> Any:
    """A value that may fit: of the scene, of nothing, of one's own, or null."""
    known = about(scene, chance.choice(STATES), real=chance.random() < 0.8)
    if name in known and not (name == "name" and function in NAMES):
        return known[name]
    if name == "name":
        return chance.choice([NAMES.get(function, "nightly"), "nightly", "write", "ok"])
    if name in ("queue", "only_queue"):
        return chance.choice(QUEUES)
    if name == "queues":
        return chance.sample(QUEUES, chance.randint(1, 3))
    if name == "role":
        return chance.choice([login, *ROLES])
    if name in ("at_step", "step"):
        return "write"
    if name in ("fork_id", "lost_lease_id"):
        return uuid4()
    return PLAIN.get(name)


def call(login: Connection, name: str, given: dict[str, Any]) -> str:
    """What is answered; what it changes stays."""
    listed = ", ".join(f"{argument} => %s" for argument in given)
    shown = "r.accepted, r.reason" if name == "settle_and_claim" else "r::text"
    values = [
        as_json(value) if argument in DOCUMENTS or argument == "reports" else value
        for argument, value in given.items()
    ]
    try:
        rows = login.execute(
            f"select {shown} from tide.{name}({listed}) as r".encode(), values
        ).fetchall()
        return f"rows {[tuple(row) for row in rows]}"
    except psycopg.Error as error:
        return f"{error.sqlstate} {error}"


@pytest.mark.parametrize("seed", [1])
def test_random_calls_find_nothing_of_a_restricted_queue(
    connection: Connection, scene: Scene, log_in: Callable[..., Connection], seed: int
) -> None:
    chance = random.Random(seed)
    functions = connection.execute(FUNCTIONS.encode()).fetchall()
    granted = {role: [f for f in functions if _may(connection, role, f.name)] for role in ROLES}
    logins = {role: log_in(role) for role in ROLES}
    for login in logins.values():
        login.execute("set statement_timeout = '5s'")
    told = Counter[str]()
    for _ in range(CALLS):
        role = chance.choice(ROLES)
        function = chance.choice(granted[role])
        login = logins[role]
        given: dict[str, Any] = {}
        for place, name in enumerate(function.arguments or []):
            if place < function.required or chance.random() < 0.3:
                given[name] = argument(chance, function.name, name, scene, login.info.user)
        given = {
            name: value
            for place, (name, value) in enumerate(given.items())
            if value is not None or place < function.required
        }
        said = call(login, function.name, given)
        assert MARK not in said, (role, function.name, given, said[:500])
        told[said.split(" ")[0]] += 1
    assert told["rows"] > CALLS / 20
    assert told["42501"] > CALLS / 20


TENANTS = ("tide_client", "tide_worker", "tide_operator", "tide_approver")
"""Of each role one login, which alone may use the queue of its tenant."""
OPENING = {"grant_queue", "revoke_queue", "grant_secret"}
"""By these a tenant lets others in."""


@pytest.mark.parametrize("seed", [2])
def test_random_calls_of_tenants_find_nothing_of_each_other(
    connection: Connection, tide: Tide, log_in: Callable[..., Connection], seed: int
) -> None:
    chance = random.Random(seed)
    functions = connection.execute(FUNCTIONS.encode()).fetchall()
    granted = {
        role: [f for f in functions if f.name not in OPENING and _may(connection, role, f.name)]
        for role in TENANTS
    }
    logins, scenes = {role: log_in(role) for role in TENANTS}, dict[str, Scene]()
    for role, login in logins.items():
        login.execute("set statement_timeout = '5s'")
        scenes[role] = furnish(tide, f"of_{role}", f"mark-of-{role}", f"nightly_{role}")
        tide.grant_queue(queue=f"of_{role}", role=login.info.user)
    queues = ["open", *(f"of_{role}" for role in TENANTS)]
    told, own = Counter[str](), Counter[str]()
    for _ in range(CALLS):
        role, whose = chance.choice(TENANTS), chance.choice(TENANTS)
        function = chance.choice(granted[role])
        given: dict[str, Any] = {}
        for place, name in enumerate(function.arguments or []):
            if place >= function.required and chance.random() >= 0.3:
                continue
            value = argument(chance, function.name, name, scenes[whose], logins[role].info.user)
            if name in ("queue", "only_queue"):
                value = chance.choice(queues)
            if name == "queues":
                value = chance.sample(queues, chance.randint(1, 3))
            if name == "name" and value == "nightly":
                value = f"nightly_{whose}"
            if value is not None or place < function.required:
                given[name] = value
        said = call(logins[role], function.name, given)
        for other in TENANTS:
            if other != role:
                assert f"mark-of-{other}" not in said, (role, function.name, given, said[:500])
        told[said.split(" ")[0]] += 1
        own[role] += f"mark-of-{role}" in said
    assert told["rows"] > CALLS / 20
    assert told["42501"] > CALLS / 20
    assert own.total() > CALLS / 100, "tenants see what is theirs, so marks would be seen"


def _may(connection: Connection, role: str, name: str) -> bool:
    row = connection.execute(
        "select has_function_privilege(%s, p.oid, 'execute') as may from pg_proc as p "
        "where p.pronamespace = 'tide'::regnamespace and p.proname = %s",
        (role, name),
    ).fetchone()
    return bool(row and row.may)
