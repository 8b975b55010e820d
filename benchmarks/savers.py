"""Checkpoint savers of LangGraph beside each other: Tidebase's and the official Postgres saver.

They take turns, operation by operation, in one process on one server; a first get is by a saver
that has not seen the thread. Processor time is that of the calling thread and of its server process
together, so that other work on the machine counts little.
Needs the venv of the adapters: `make bench-saver`.
"""

from __future__ import annotations

import argparse
import time
from base64 import b85encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final, TypeAlias

import psycopg
from langchain_core.messages import AIMessage
from langgraph.checkpoint.base import Checkpoint, create_checkpoint, empty_checkpoint
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg_pool import ConnectionPool

from benchmarks.stage import SUPERUSER, Stage, execute
from tidebase_pg.agents.langgraph import TideSaver

Saver: TypeAlias = TideSaver | PostgresSaver
Values: TypeAlias = Mapping[str, Any]

OURS: Final = "TideSaver"
OFFICIAL: Final = "PostgresSaver"
METADATA: Final[Any] = {"source": "loop", "step": 1, "parents": {}}
THREAD: Final[Any] = {"configurable": {"thread_id": "bench", "checkpoint_ns": ""}}
MESSAGES: Final = 100
MESSAGE_BYTES: Final = 900
VALUE_BYTES: Final = 100_000
TEXT: Final = (
    "the of and to in that is was for it with as his on be at by had not are but from or have an "
    "they which one you were all her she there would their we him been has when who will no more "
    "if out so up said what its about than into them can only other time new some could these two"
)


def text(random: Random, size: int) -> str:
    return " ".join(random.choices(TEXT.split(), k=size // 4))[:size]


def one_value(random: Random) -> Values:
    """What Postgres cannot compress, such as a picture: random digits."""
    return {"picture": b85encode(random.randbytes(VALUE_BYTES * 4 // 5)).decode()}


def one_transcript(random: Random) -> Values:
    """What Postgres compresses to half: sentences, kept as one value."""
    return {"notes": {"pages": [text(random, 1000) for _ in range(VALUE_BYTES // 1000)]}}


class Chat:
    """A hundred messages that grow by one each time."""

    def __init__(self) -> None:
        self.messages: list[AIMessage] = []

    def __call__(self, random: Random) -> Values:
        while True:
            name = f"m{len(self.messages)}"
            self.messages.append(AIMessage(text(random, MESSAGE_BYTES), id=name))
            if len(self.messages) > MESSAGES:
                return {"messages": list(self.messages)}


STATES: Final[Mapping[str, Callable[[], Callable[[Random], Values]]]] = {
    "one value of 100 kB that does not compress, new each time": lambda: one_value,
    "one value of 100 kB of sentences, new each time": lambda: one_transcript,
    "a chat of 100 messages of 900 bytes that grows by one": Chat,
}


@dataclass(slots=True)
class Spent:
    """Milliseconds of processor time and of waiting, one of each for each operation."""

    client: list[float] = field(default_factory=list[float])
    server: list[float] = field(default_factory=list[float])
    wall: list[float] = field(default_factory=list[float])

    def summary(self) -> str:
        both = [client + server for client, server in zip(self.client, self.server, strict=True)]
        return (
            f"{median(both):.2f} = {median(self.client):.2f} + {median(self.server):.2f} "
            f"({median(self.wall):.2f})"
        )


def spent_on_nothing() -> dict[str, Spent]:
    return {what: Spent() for what in ("put", "get", "first get")}


class Contender:
    """A saver in a database of its own, and what it has spent."""

    def __init__(self, name: str, dsn: str, ending: ExitStack) -> None:
        self.name, self.dsn = name, dsn
        marked = f"{dsn}&application_name={name}"
        self.saver: Saver
        if name == OURS:
            # One connection, as the other has, so that there is one process to look at.
            one = ConnectionPool(marked, min_size=1, max_size=1, kwargs={"autocommit": True})
            self.saver = TideSaver(ending.enter_context(one))
        else:
            self.saver = ending.enter_context(PostgresSaver.from_conn_string(marked))
        self.saver.setup()
        self.spent = spent_on_nothing()
        (row,) = execute(dsn, f"select pid from pg_stat_activity where application_name = '{name}'")
        self._schedule = Path(f"/proc/{row[0]}/schedstat")

    def _server(self) -> int:
        return int(self._schedule.read_text().split()[0])

    def measured(self, what: str, operation: Callable[[], Any]) -> Any:
        server, wall, client = self._server(), time.perf_counter_ns(), time.thread_time_ns()
        answer = operation()
        spent = self.spent[what]
        spent.client.append((time.thread_time_ns() - client) / 1e6)
        spent.wall.append((time.perf_counter_ns() - wall) / 1e6)
        spent.server.append((self._server() - server) / 1e6)
        return answer

    def forget(self) -> None:
        """Be as a saver that has just started."""
        if isinstance(self.saver, TideSaver):
            self.saver._memory.forget()

    def bytes(self) -> int:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            found = connection.execute(
                "select sum(pg_total_relation_size(c.oid)) from pg_class as c "
                "join pg_namespace as n on n.oid = c.relnamespace "
                "where c.relkind = 'r' and n.nspname in ('public', 'tide_langgraph')"
            ).fetchone()
        return int(found[0]) if found else 0


def checkpoint_of(values: Values, number: int) -> tuple[Checkpoint, dict[str, Any]]:
    checkpoint = create_checkpoint(empty_checkpoint(), None, number)
    versions: dict[str, Any] = dict.fromkeys(values, f"{number:010}.{number:012x}")
    checkpoint["channel_values"] = dict(values)
    checkpoint["channel_versions"] = dict(versions)
    return checkpoint, versions


def compete(contenders: Sequence[Contender], make: Callable[[Random], Values], count: int) -> None:
    random = Random(7)
    places: dict[str, Any] = {one.name: THREAD for one in contenders}
    warm = max(5, count // 8)
    for number in range(1, count + warm + 1):
        checkpoint, versions = checkpoint_of(make(random), number)
        turns = contenders if number % 2 else list(reversed(contenders))
        for one in turns:
            put = partial(one.saver.put, places[one.name], checkpoint, METADATA, versions)
            places[one.name] = one.measured("put", put)
        for what in ("get", "first get"):
            for one in turns:
                if what == "first get":
                    one.forget()
                found = one.measured(what, partial(one.saver.get_tuple, THREAD))
                assert found.checkpoint["channel_values"] == checkpoint["channel_values"], one.name
        if number == warm:
            for one in contenders:
                one.spent = spent_on_nothing()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.savers", description=__doc__)
    parser.add_argument("--count", type=int, default=150, help="checkpoints of each state")
    parser.add_argument("--only", help="states whose name holds this")
    given = parser.parse_args()
    print("milliseconds, medians: processor time = client + server (waiting)")
    with Stage() as stage:
        for place, (state, make) in enumerate(STATES.items()):
            if given.only and given.only not in state:
                continue
            with ExitStack() as ending:
                contenders = []
                for name in (OURS, OFFICIAL):
                    database = f"{name.lower()}_{place}"
                    execute(stage.dsn(), f"create database {database}")
                    dsn = f"postgresql:///{database}?host={stage.server.socket_folder}"
                    dsn += f"&port={stage.port}&user={SUPERUSER}"
                    contenders.append(Contender(name, dsn, ending))
                compete(contenders, make(), given.count)
                print(f"\n{state}")
                for one in contenders:
                    cells = [f"{what} {spent.summary()}" for what, spent in one.spent.items()]
                    print(f"  {one.name:14}{'  '.join(cells)}  {one.bytes() / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
