"""A search for the points at which a workflow does not survive its process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tidebase_pg import calls
from tidebase_pg.testing.application import Call, watched
from tidebase_pg.testing.crashes import (
    KILLED,
    Counting,
    CrashReport,
    Finding,
    Point,
    in_child,
    kill_this_process,
)
from tidebase_pg.testing.databases import KitError

if TYPE_CHECKING:
    from tidebase_pg.testing.kit import TestRun, TideTest

ROUNDS: Final = 1000


class Everywhere:
    """One search of `crash_everywhere`."""

    def __init__(
        self, kit: TideTest, workflow: str | Callable[..., Any], options: Mapping[str, Any],
        keyed: frozenset[str], decide: str, events: Mapping[str, Any], max_points: int,
    ) -> None:  # fmt: skip
        self._kit = kit
        self._workflow = workflow
        self._options = options
        self._keyed = keyed
        self._decide = decide
        self._events = events
        self._max_points = max_points

    def search(self) -> CrashReport:
        run, points = self._undisturbed()
        if len(points) > self._max_points:
            raise KitError(
                f"there are {len(points)} points to kill at: raise max_points, {self._max_points}"
            )
        expected = Course.of(self._kit, run)
        report = CrashReport()
        for point in points:
            killed, struck = self._killed_at(point)
            (report.points if struck else report.missed).append(str(point))
            for problem in Course.of(self._kit, killed).problems(expected, self._keyed):
                report.findings.append(Finding(str(point), problem))
        if report.findings:
            shown = "\n".join(f"  {finding}" for finding in report.findings[:20])
            raise AssertionError(
                f"{len(report.findings)} findings at {len(report.points)} points:\n{shown}"
            )
        return report

    def _undisturbed(self) -> tuple[TestRun, list[Point]]:
        seen: list[Point] = []
        path = self._kit.journal.path.with_name("points")
        path.unlink(missing_ok=True)

        def note(point: Point) -> None:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{point.number}\t{point.place}\t{point.what}\n")

        run = self._begin()
        self._until_it_ends(run, note)
        for line in path.read_text(encoding="utf-8").splitlines():
            number, place, what = line.split("\t", 2)
            seen.append(Point(what, int(number), place))
        if run.status != "completed":
            raise KitError(f"undisturbed, the run ends as {run.status}: {run.error!r}")
        return run, list(dict.fromkeys(seen))

    def _killed_at(self, wanted: Point) -> tuple[TestRun, bool]:
        run = self._begin()

        def kill(point: Point) -> None:
            if point == wanted:
                kill_this_process()

        return run, self._until_it_ends(run, kill)

    def _begin(self) -> TestRun:
        run = self._kit.enqueue(self._workflow, **self._options)
        for name, payload in self._events.items():
            self._kit.send_event(run, name, payload)
        return run

    def _until_it_ends(self, run: TestRun, reached: Callable[[Point], None]) -> bool:
        """Execute and decide until the run has ended; whether a process was killed on the way."""
        struck = False
        for _ in range(ROUNDS):
            self._kit.reconcile()
            if self._child(reached) == KILLED:
                struck = True
                self._kit.outlive_lease()
                reached = nothing
                continue
            row = run.row
            if row.finished:
                return struck
            if row.waiting_on == "gate":
                for gate in self._kit.tide.execute(calls.pending_gates()):
                    if gate.run_id == run.id:
                        self._kit.tide.gates.decide(gate.gate_id, self._decide, "tester")
            elif row.waiting_on == "review":
                self._review(run)
            else:
                wait = self._kit.next_due()
                if wait is None:
                    raise KitError(f"the run waits on {row.waiting_on} and nothing becomes due")
                self._kit.clock.advance(wait)
        raise KitError(f"the run had not ended after {ROUNDS} rounds")

    def _child(self, reached: Callable[[Point], None]) -> int:
        kit = self._kit

        def work() -> None:
            counting = Counting(reached)

            def watch(call: Call, place: str) -> None:
                counting.at(f"step {call.step!r}", place)

            with watched(kit.journal, kit.stubs, watch), counting.statements():
                kit.work_once()

        return in_child(work)

    def _review(self, run: TestRun) -> None:
        """What a careful operator does: look whether the effect happened, then say so."""
        lines = self._kit.journal.read()
        for name, step in run.steps.items():
            if step.status != "manual_review":
                continue
            done = [
                line
                for line in lines
                if line["kind"] == "returned" and (line["run"], line["step"]) == (str(run.id), name)
            ]
            decision: Any = ("use_output", done[-1]["output"]) if done else ("retry", None)
            self._kit.tide.execute(
                calls.resolve_step(run.id, name, decision[0], output=decision[1], actor="tester")
            )


@dataclass(frozen=True)
class Course:
    """How a run went: its end, and what its attempts executed."""

    status: str
    result: Any
    error: Any
    executions: Mapping[str, int]
    names: Sequence[str]
    """Of the recorded steps, in the order in which they were first begun."""

    @classmethod
    def of(cls, kit: TideTest, run: TestRun) -> Course:
        began = [
            line["step"]
            for line in kit.journal.read()
            if line["kind"] == "began" and line["run"] == str(run.id)
        ]
        return cls(
            run.status, run.result, run.error,
            {name: began.count(name) for name in began}, list(dict.fromkeys(began)),
        )  # fmt: skip

    def problems(self, expected: Course, keyed: frozenset[str]) -> list[str]:
        found: list[str] = []
        if self.status != expected.status:
            found.append(f"the run ended as {self.status}: {self.error!r}")
        elif self.result != expected.result:
            found.append(
                f"the result is {self.result!r}, undisturbed {expected.result!r}: code outside of "
                "steps differs between attempts"
            )
        for name, times in self.executions.items():
            if (
                times > expected.executions.get(name, 0)
                and name in expected.executions
                and name not in keyed
            ):
                found.append(f"the function of step {name!r} was called {times} times")
        if list(self.names) != list(expected.names):
            found.append(f"the steps were {list(self.names)}, undisturbed {list(expected.names)}")
        return found


def nothing(point: Point) -> None:
    """No point is of interest."""
