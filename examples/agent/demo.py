"""Kill the agent while it waits for an answer and while its researchers work; it finishes anyway.

The event logs of the agent and its researchers say when to do what. Needs nothing that runs: it
starts a Postgres of its own in a temporary folder and removes it at the end, also after Ctrl-C. The
answer and the logs of the workers stay under .output/agent.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TypeVar

from agent import RESEARCHERS, agent, tide

from tidebase_pg import PendingGate, admin, new_run_id
from tidebase_pg.admin.embedded import EmbeddedError, Server
from tidebase_pg.types import EventRow

T = TypeVar("T")

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RUN_ID = new_run_id()  # made here, so that enqueueing may be repeated and makes one run
OUTPUT = ROOT / ".output" / "agent" / str(RUN_ID)
QUESTION = "What happens to the step of a worker that is killed, and to its lease?"

LEASE = 3.0  # seconds a dead worker keeps its runs
PACE = 0.8  # seconds an extraction takes here, so that the kill falls into one
PATIENCE = 60.0  # seconds after which something must be wrong


def main() -> None:
    signal.signal(signal.SIGTERM, end)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Lines at once, and in any locale: a document may say what the terminal cannot show.
        sys.stdout.reconfigure(line_buffering=True, errors="replace")
    began = time.monotonic()
    with ExitStack() as ending:
        start_postgres(ending)
        OUTPUT.mkdir(parents=True, exist_ok=True)

        say(f"Ask the agent: {QUESTION}")
        task = {"question": QUESTION, "folder": str(ROOT), "output": str(OUTPUT), "pace": PACE}
        tide.enqueue(agent, input=task, run_id=RUN_ID)
        print(f"  run {RUN_ID}")

        say("Worker 1 takes it until it asks something back, and is killed while nobody answers")
        worker = start_worker(ending, "worker-1")
        wait_until(lambda: Family.read().waiting("gate"), worker)
        kill(worker)
        run = tide.runs.get(RUN_ID)
        print(f"  the run waits for a {run.waiting_on}; attempts used: {run.attempt}")

        say("Approve it, with no worker alive, but allow no more words than it asks for")
        gate = the_gate()
        allowed = sum(gate.data["documents"].values())
        print(f"  {gate.prompt}")
        print(textwrap.indent("\n".join(gate.data["documents"]), "    "))
        tide.runs.set_budget(RUN_ID, {"max_tokens": allowed})
        tide.gates.decide(gate.gate_id, "approved", "demo")

        say("Worker 2 goes on from there, and is killed while its researchers work")
        worker = start_worker(ending, "worker-2")
        wait_until(lambda: Family.read().under_way("facts"), worker)
        kill(worker)
        killed_at = datetime.now(UTC)
        lost = Family.read().under_way()
        print(f"  in the middle of: {', '.join(sorted(lost))}")

        say(f"Worker 3 gets the researchers after {LEASE:g} s, until their budget is used up")
        worker = start_worker(ending, "worker-3")
        wait_until(lambda: Family.read().out_of_budget, worker)
        short = Family.read()
        spent = tide.runs.explain_wait(short.waiting("budget")[0])["reasons"][0]
        print(f"  spent {spent['tokens']} of {allowed} words; nothing is lost, nobody is held up")

        say("Raise the budget: every researcher goes on where it was")
        tide.runs.set_budget(RUN_ID, {"max_tokens": 10 * allowed})
        wait_until(lambda: tide.runs.get(RUN_ID).finished, worker)
        stop(worker)
        family = Family.read()

        say("What happened, from the event logs of the agent and its researchers")
        family.tell(killed_at)

        say("What that proves")
        check(family, short, lost)

        path = Path(tide.runs.get(RUN_ID).result["path"])
        say(f"The answer: {path}")
        print(textwrap.indent("\n".join(path.read_text(encoding="utf-8").splitlines()[:9]), "  "))
        say("Stop the server and remove its folder")
        tide.close()
    print(f"\nDone in {time.monotonic() - began:.0f} seconds.")


def end(number: int, frame: FrameType | None) -> None:
    """End as after an error: whoever stops the demo leaves nothing running."""
    sys.exit(128 + number)


# Starting and stopping ----------------------------------------------------------------------


def start_postgres(ending: ExitStack) -> None:
    """A server and its schema; both end with the demo. From here on TIDEBASE_DSN names it."""
    server = Server(Path(tempfile.mkdtemp(prefix="tidebase-demo-")))
    ending.callback(remove, server)
    say(f"Start a Postgres in {server.folder}, to be removed at the end, and install the schema")
    os.environ["TIDEBASE_DSN"] = dsn = server.start()
    outcome = admin.install(dsn)
    print(f"  schema tide {outcome.version}, {outcome.functions} functions and views")


def remove(server: Server) -> None:
    """Stop it and remove its folder, also when it was interrupted while it was being made."""
    for _ in range(50):
        with suppress(EmbeddedError):
            server.stop(mode="immediate")
        shutil.rmtree(server.folder, ignore_errors=True)
        if not server.folder.exists():
            return
        time.sleep(0.1)


def start_worker(ending: ExitStack, name: str) -> subprocess.Popen[bytes]:
    """`tidebase-pg work` as a process of its own; what it does goes to a log of its own."""
    work = ["work", "agent:tide", f"--lease={LEASE:g}s", f"--concurrency={RESEARCHERS + 1}"]
    with (OUTPUT / f"{name}.log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "tidebase_pg", *work],
            cwd=HERE, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    ending.callback(stop, worker)
    print(f"  {name} is process {worker.pid}")
    return worker


def stop(worker: subprocess.Popen[bytes]) -> None:
    """Ask it to end; insist after a while."""
    if worker.poll() is None:
        worker.terminate()
        try:
            worker.wait(timeout=10)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def kill(worker: subprocess.Popen[bytes]) -> None:
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    print(f"  kill -9 {worker.pid}")


# Watching: the event logs say what is going on, nobody has to guess how long it takes ---------


@dataclass(frozen=True)
class Moment:
    """An event of the agent, whose document is "", or of the researcher of a document."""

    document: str
    event: EventRow

    @property
    def step(self) -> str:
        """The step it is about, as `agent.py` names it in its log."""
        return f"{self.event.payload['name']} {self.document}".rstrip()


@dataclass(frozen=True)
class Family:
    """The events of the agent and its researchers, in the order in which they happened."""

    moments: list[Moment]

    @classmethod
    def read(cls) -> Family:
        moments = [Moment("", event) for event in tide.runs.events(RUN_ID)]
        for child in tide.runs.children(RUN_ID):
            document = child.edge.removeprefix("research/")
            moments += [Moment(document, event) for event in tide.runs.events(child.child_id)]
        return cls(sorted(moments, key=lambda one: (one.event.created_at, one.event.seq)))

    def of(self, *types: str) -> list[Moment]:
        return [one for one in self.moments if one.event.type in types]

    def waiting(self, kind: str) -> list[str]:
        """The ids of the runs that are parked for this now."""
        last: dict[str, Moment] = {}
        for one in self.of("run.parked", "run.resumed", "run.claimed"):
            last[str(one.event.run_id)] = one
        return [
            run_id
            for run_id, one in last.items()
            if one.event.type == "run.parked" and one.event.payload["waiting_on"] == kind
        ]

    def under_way(self, name: str = "") -> set[str]:
        """The steps that were started and have not completed."""
        steps: set[str] = set()
        for one in self.of("step.started", "step.completed"):
            if one.event.type == "step.started":
                steps.add(one.step)
            else:
                steps.discard(one.step)
        return {step for step in steps if step.startswith(name)}

    @property
    def out_of_budget(self) -> bool:
        """Whether the agent waits for researchers, and all who have not finished for money."""
        left = RESEARCHERS - len([one for one in self.of("run.completed") if one.document])
        return bool(self.waiting("children")) and len(self.waiting("budget")) == left > 0

    @property
    def completed(self) -> Counter[str]:
        """How often each step completed."""
        return Counter(one.step for one in self.of("step.completed"))

    def tell(self, killed_at: datetime) -> None:
        """One line for each thing that happened, with the seconds since the agent was asked."""
        killed = False
        for one in self.moments:
            if not killed and one.event.created_at > killed_at:
                killed = True
                self._line(killed_at, "", "KILLED    by SIGKILL; nobody told the database")
            payload = one.event.payload
            match one.event.type:
                case "run.claimed":
                    said = f"claimed   attempt {payload['attempt']}"
                case "run.parked":
                    said = f"parked    for {payload['waiting_on']}: held by nobody"
                case "run.requeued":
                    said = f"requeued  {payload['reason'].replace('_', ' ')}"
                case "gate.resolved":
                    said = f"gate      {payload['decision']} by {payload['actor']}"
                case "step.started":
                    if payload["attempt"] == 1:
                        continue
                    said = f"  again   {payload['name']}: it had not completed"
                case "step.completed":
                    said = f"  ran     {payload['name']}"
                case "usage.recorded":
                    said = f"  spent   {payload['total_tokens']} words"
                case "run.resumed" | "run.completed":
                    said = one.event.type.removeprefix("run.")
                case _:
                    continue
            self._line(one.event.created_at, one.document or "agent", said)

    def _line(self, moment: datetime, who: str, said: str) -> None:
        seconds = (moment - self.moments[0].event.created_at).total_seconds()
        print(f"  {seconds:6.2f} s  {who:<20} {said}")


def the_gate() -> PendingGate:
    (gate,) = tide.gates.pending()
    return gate


def wait_until(condition: Callable[[], T], worker: subprocess.Popen[bytes]) -> T:
    """What the condition says once it says something; the worker must live as long."""
    give_up_at = time.monotonic() + PATIENCE
    while not (found := condition()):
        if worker.poll() is not None:
            log = "\n".join(path.read_text() for path in sorted(OUTPUT.glob("worker-?.log")))
            sys.exit(f"the worker ended early, with {worker.returncode}; its log:\n{log}")
        if time.monotonic() > give_up_at:
            sys.exit(f"nothing came of it in {PATIENCE:g} seconds; see the logs in {OUTPUT}")
        time.sleep(0.02)
    return found


# What must be true ----------------------------------------------------------------------------


def check(family: Family, short: Family, lost: set[str]) -> None:
    """Compare the event logs with what the workers wrote down; any doubt ends the demo."""
    steps = family.completed
    called = Counter[str]()
    for number in (1, 2, 3):
        called += calls_of(f"worker-{number}")
    runs = [tide.runs.get(RUN_ID)]
    runs += [tide.runs.get(child.child_id) for child in tide.runs.children(RUN_ID)]
    usage = [row for run in runs for row in tide.runs.usage(run.run_id)]

    assure(
        [run.status for run in runs] == ["completed"] * (1 + RESEARCHERS),
        f"the agent and its {RESEARCHERS} researchers have completed",
    )
    assure(
        len(steps) == 2 + 3 * RESEARCHERS and set(steps.values()) == {1},
        f"each of the {len(steps)} steps completed exactly once",
    )
    assure(
        calls_of("worker-1") == {"choose": 1}
        and runs[0].attempt == 1
        and not [one for one in family.of("run.requeued") if not one.document],
        "the kill at the gate lost nothing: no step again, no attempt used, no lease to wait for",
    )
    assure(
        bool(lost)
        and steps <= called <= steps + Counter(lost)
        and bool([one for one in family.of("run.requeued") if one.document]),
        f"the kill of the researchers repeated what was in the air and nothing else: "
        f"{called.total() - steps.total()} steps",
    )
    assure(
        short.under_way() == set() and "answer" not in short.completed,
        "with the budget used up nothing ran: all were parked, none was killed for it",
    )
    assure(
        len(usage) == 2 * RESEARCHERS == len({(row.run_id, row.request_key) for row in usage}),
        f"what the {len(usage)} readings cost was counted once, repeated or not",
    )
    parked = Counter(one.event.run_id for one in family.of("run.parked"))
    resumed = Counter(one.event.run_id for one in family.of("run.resumed"))
    assure(parked == resumed, f"everybody parked was resumed, {parked.total()} times in all")


def calls_of(name: str) -> Counter[str]:
    """The steps whose functions a worker called, by its own log: `agent.py` writes their names."""
    steps = set(Family.read().completed)
    lines = (OUTPUT / f"{name}.log").read_text(errors="replace").splitlines()
    return Counter(said for line in lines if (said := line.split(" INFO ", 1)[-1]) in steps)


def assure(fact: bool, sentence: str) -> None:
    print(f"  {'ok ' if fact else 'NOT'} {sentence}")
    if not fact:
        sys.exit(f"this must not be; the logs are in {OUTPUT}")


def say(sentence: str) -> None:
    print(f"\n== {sentence}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
