"""Directed schedules: named sessions take named steps in an order that is written down.

A script has one line for each thing that is seen, in order: `session.step  answer`. A step that
has to wait for another session answers `waiting`; a later line with the same step says what it
answered in the end, below the step that let it go on. No line sleeps: whether a step waits is what
the server says about its backend.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import psycopg

from tests.support import one, open_connection, value

LONGEST = 120.0
"""Seconds for which a step may neither answer nor wait for another session."""

ROUTINE = "finished_counts"
"""What a report of upkeep may hold at any time: a minute has passed on the clock."""


class Session:
    """A connection, and a thread for each step that is sent over it."""

    def __init__(self, dsn: str, name: str, steps: Mapping[str, str]) -> None:
        self.name = name
        self.steps = {"begin": "begin", "commit": "commit", "rollback": "rollback", **steps}
        self.connection = psycopg.connect(
            dsn, autocommit=True, cursor_factory=psycopg.ClientCursor, prepare_threshold=None
        )
        self.pid = self.connection.info.backend_pid
        self.step = ""
        self.answered = threading.Event()
        self.answered.set()
        self.rows: list[tuple[Any, ...]] = []
        self.error: psycopg.Error | None = None

    @property
    def waiting(self) -> bool:
        return not self.answered.is_set()

    def send(self, step: str, facts: Mapping[str, Any]) -> None:
        assert not self.waiting, f"session {self.name} still waits in {self.step}"
        self.step, self.rows, self.error = step, [], None
        self.answered.clear()
        threading.Thread(target=self._run, args=(self.steps[step], facts), daemon=True).start()

    def _run(self, statement: str, facts: Mapping[str, Any]) -> None:
        try:
            cursor = self.connection.execute(statement.encode(), facts)
            self.rows = cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            self.error = error
        finally:
            self.answered.set()

    def close(self) -> None:
        if self.waiting:
            self.connection.cancel_safe()
            self.answered.wait()
        self.connection.close()


class Stepper:
    """Sessions on one database, and the facts their statements may name: `%(run)s`.

    In answers a value that is a fact shows as the name of the fact: ids read like words.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._sessions: dict[str, Session] = {}
        self._observer = open_connection(dsn)
        self.facts: dict[str, Any] = {}

    def session(self, name: str, **steps: str) -> None:
        """A session and its steps; begin, commit and rollback every session has."""
        self._sessions[name] = Session(self._dsn, name, steps)

    def gate(self, name: str, function: str) -> None:
        """Let every call of a private function wait at a gate, which a session of that name shuts.

        So a step is stopped between two of its statements, where it holds no lock of its own.
        """
        number = len(self._sessions)
        self.session(name, shut=f"select pg_advisory_xact_lock(1, {number})::text")
        arguments, names, result, definition = one(
            self._observer,
            """
            select
              pg_get_function_arguments(p.oid),
              array_to_string(p.proargnames, ', '),
              pg_get_function_result(p.oid),
              pg_get_functiondef(p.oid)
            from pg_proc as p
            where p.oid = ('tide.' || %s)::regproc
            """,
            function,
        )
        behind = f"{function}_behind_gate"
        self._observer.execute(re.sub(rf"\b{function}\b", behind, definition))
        self._observer.execute(
            f"""
            create or replace function tide.{function}({arguments})
            returns {result}
            language plpgsql
            volatile
            as $$
            begin
              perform pg_advisory_xact_lock_shared(1, {number});
              {"perform" if result == "void" else "return"} tide.{behind}({names});
            end;
            $$
            """
        )

    def play(self, script: str) -> None:
        """Take the steps in the order of the script and compare what is seen with what it says."""
        expected = [" ".join(line.split()) for line in script.splitlines() if line.strip()]
        seen: list[str] = []
        for place, line in enumerate(expected):
            if place == len(seen):
                name, step = line.split()[0].split(".")
                seen += self._take(self._sessions[name], step)
            if seen[place] != line:
                break
        assert seen == expected, "\n".join(["the script:", *expected, "", "was seen as:", *seen])

    def after(self, name: str, step: str, waiting: Sequence[str]) -> list[Any]:
        """Take a step that lets several sessions go on, in whatever order; the value that each of
        them answers in the end."""
        self._sessions[name].send(step, self.facts)
        answers: list[Any] = []
        for session in (self._sessions[name] for name in waiting):
            assert session.answered.wait(LONGEST), f"session {session.name} still waits"
            assert session.error is None, session.error
            answers.append(session.rows[0][0])
        return answers

    def lose(self, name: str) -> None:
        """Wait until a session whose backend was ended knows it."""
        session = self._sessions[name]
        assert session.answered.wait(LONGEST), f"session {name} still waits"
        assert isinstance(session.error, psycopg.OperationalError), session.error

    def close(self) -> None:
        for session in reversed(self._sessions.values()):
            session.close()
        self._observer.close()

    def _take(self, session: Session, step: str) -> list[str]:
        """The lines seen from sending the step until nothing moves any more.

        Sessions that it lets go on are listed as they were named: which of them was first nobody
        can see from outside.
        """
        others = [other for other in self._sessions.values() if other.waiting]
        session.send(step, self.facts)
        if not self._answers(session):
            return [f"{session.name}.{step} waiting"]
        still = others
        while any([self._answers(other) for other in still]):  # noqa: C419 - each is asked
            still = [other for other in still if other.waiting]
        return [self._line(seen) for seen in (session, *others) if not seen.waiting]

    def _answers(self, session: Session) -> bool:
        """Whether the step has its answer; False once it waits for another of these sessions."""
        pids = [other.pid for other in self._sessions.values()]
        until = time.monotonic() + LONGEST
        while not session.answered.wait(0.002):
            if value(
                self._observer, "select pg_blocking_pids(%s) && %s::integer[]", session.pid, pids
            ):
                return not session.waiting
            assert time.monotonic() < until, f"{session.name}.{session.step} goes on and on"
        return True

    def _line(self, session: Session) -> str:
        step = f"{session.name}.{session.step}"
        if session.error is not None:
            return f"{step} {session.error.sqlstate or session.error}"
        answer = "; ".join(", ".join(map(self._word, row)) for row in session.rows)
        if not answer and session.step not in ("begin", "commit", "rollback"):
            answer = "nothing"
        return f"{step} {answer}".strip()

    def _word(self, cell: Any) -> str:
        if isinstance(cell, UUID):
            return next((name for name, fact in self.facts.items() if fact == cell), "an id")
        if isinstance(cell, dict):
            done = {name: count for name, count in cell.items() if count and name != ROUTINE}
            return "+".join(f"{name}={count}" for name, count in done.items()) or "idle"
        if isinstance(cell, list):
            return "+".join(map(self._word, cell))
        if isinstance(cell, bool):
            return "yes" if cell else "no"
        return "null" if cell is None else str(cell)
