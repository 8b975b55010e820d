"""Kill a worker in the middle of a report, let another one finish it, and show who did what.

Needs nothing that runs: it starts a Postgres of its own in a temporary folder and removes it at
the end, also after Ctrl-C. The report and the logs of both workers stay under .output/report.
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
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TypeVar

from report import report, tide

from tidebase_pg import admin, new_run_id
from tidebase_pg.admin.embedded import EmbeddedError, Server
from tidebase_pg.types import EventRow

T = TypeVar("T")

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RUN_ID = new_run_id()  # made here, so that enqueueing may be repeated and makes one run
OUTPUT = ROOT / ".output" / "report" / str(RUN_ID)

LEASE = 3.0  # seconds a dead worker keeps its run
PACE = 0.4  # seconds an extraction takes here, so that the kill falls into one
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

        say("Enqueue one report on documents of this repository")
        task = {"folder": str(ROOT), "output": str(OUTPUT), "pace": PACE}
        tide.enqueue(report, input=task, run_id=RUN_ID)
        print(f"  run {RUN_ID}")

        say("Worker 1 takes it, and is killed in the middle of a step")
        first = start_worker(ending, "worker-1")
        victim = wait_for_a_step_to_kill(first)
        first.send_signal(signal.SIGKILL)
        first.wait()
        killed_at = datetime.now(UTC)
        print(f"  kill -9 {first.pid}, in the middle of the step {victim!r}")
        print(f"  the run is still {tide.runs.get(RUN_ID).status!r}, until its lease ends")

        say(f"Worker 2 starts, and gets the run once the lease of {LEASE:g} s has ended")
        second = start_worker(ending, "worker-2")
        wait_for_the_end(second)
        run = tide.runs.get(RUN_ID)
        story = Story.read(tide.runs.events(RUN_ID), killed_at)

        say("What happened, from the event log of the run")
        story.tell()

        say("What that proves")
        story.check(run.status, called("worker-1"), called("worker-2"))

        path = Path(run.result["path"])
        say(f"The report: {path}")
        print(textwrap.indent(head(path, 12), "  "))
        stop(second)
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
    command = [sys.executable, "-m", "tidebase_pg", "work", "report:tide", f"--lease={LEASE:g}s"]
    with log_of(name).open("wb") as log:
        worker = subprocess.Popen(
            command, cwd=HERE, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
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


def log_of(name: str) -> Path:
    return OUTPUT / f"{name}.log"


# Watching: the event log says what is going on, nobody has to guess how long it takes ---------


def wait_for_a_step_to_kill(worker: subprocess.Popen[bytes]) -> str:
    """The name of the step that runs now, once a third of the extractions have completed."""

    def in_the_middle() -> str | None:
        story = Story.read(tide.runs.events(RUN_ID))
        extracted = [step for step in story.completed if step.startswith("extract ")]
        sources = [step for step in story.completed if step.startswith("read ")]
        return story.running if sources and len(extracted) * 3 >= len(sources) else None

    return wait_until(in_the_middle, worker)


def wait_for_the_end(worker: subprocess.Popen[bytes]) -> None:
    wait_until(lambda: tide.runs.get(RUN_ID).finished, worker)


def wait_until(condition: Callable[[], T | None], worker: subprocess.Popen[bytes]) -> T:
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


# The story ------------------------------------------------------------------------------------


@dataclass
class Story:
    """What the events of a run say about its steps."""

    events: Sequence[EventRow]
    killed_at: datetime | None = None
    running: str | None = None
    started: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Step name → the attempts of the run in which its function was called."""
    completed: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Step name → the attempts of the run in which it completed."""

    @classmethod
    def read(cls, events: Sequence[EventRow], killed_at: datetime | None = None) -> Story:
        story = cls(events, killed_at)
        attempt = 0
        for event in events:
            match event.type:
                case "run.claimed":
                    attempt = event.payload["attempt"]
                case "step.started":
                    story.running = event.payload["name"]
                    story.started.setdefault(event.payload["name"], []).append(attempt)
                case "step.completed":
                    story.running = None
                    story.completed.setdefault(event.payload["name"], []).append(attempt)
                case _:
                    pass
        return story

    @property
    def kept(self) -> list[str]:
        """Steps that attempt 1 completed."""
        return [step for step, attempts in self.completed.items() if attempts[0] == 1]

    @property
    def lost(self) -> list[str]:
        """Steps that attempt 1 started and did not complete."""
        return [step for step in self.started if step not in self.kept and 1 in self.started[step]]

    def tell(self) -> None:
        """One line for each thing that happened, with the seconds since the run was enqueued."""
        killed_at = self.killed_at
        begun: dict[str, datetime] = {}
        for event in self.events:
            if killed_at is not None and event.created_at > killed_at:
                self._line(killed_at, "KILLED    by SIGKILL; nobody told the database")
                killed_at = None
            payload = event.payload
            match event.type:
                case "run.enqueued":
                    self._line(event.created_at, "enqueued")
                case "run.claimed":
                    said = f"claimed   by {payload['worker']}: attempt {payload['attempt']}"
                    self._line(event.created_at, said)
                    if payload["attempt"] == 2:
                        self._tell_what_replayed()
                case "run.requeued":
                    said = "requeued  " + payload["reason"].replace("_", " ")
                    self._line(event.created_at, said)
                case "step.started":
                    begun[payload["name"]] = event.created_at
                    if payload["name"] in self.lost and payload["attempt"] == 1:
                        self._line(event.created_at, f"  started {payload['name']}")
                case "step.completed":
                    took = (event.created_at - begun[payload["name"]]).total_seconds()
                    again = "  (again: it had not completed)" if payload["attempt"] > 1 else ""
                    said = f"  ran     {payload['name']:<42} {took:5.2f} s{again}"
                    self._line(event.created_at, said)
                case _:
                    self._line(event.created_at, event.type.removeprefix("run."))

    def _tell_what_replayed(self) -> None:
        print(f"{'':14}replayed without running, from what attempt 1 kept ({len(self.kept)}):")
        unbroken = ", ".join(self.kept).replace(" ", "\xa0").replace(",\xa0", ", ")
        names = textwrap.fill(unbroken, 78, break_on_hyphens=False).replace("\xa0", " ")
        print(textwrap.indent(names, " " * 16))

    def _line(self, moment: datetime, said: str) -> None:
        seconds = (moment - self.events[0].created_at).total_seconds()
        print(f"  {seconds:7.2f} s  {said}".rstrip())

    def check(self, status: str, by_first: set[str], by_second: set[str]) -> None:
        """Compare the log of the run with what the workers wrote down; any doubt ends the demo."""
        again = [step for step in self.kept if len(self.started[step]) > 1]
        twice = [step for step, attempts in self.completed.items() if len(attempts) != 1]
        unfinished = set(self.started) - set(self.completed)
        assure(status == "completed", f"the run is {status}")
        assure(
            not twice and not unfinished,
            f"each of the {len(self.completed)} steps completed exactly once",
        )
        assure(
            bool(self.kept) and not again,
            f"none of the {len(self.kept)} steps that attempt 1 completed was started again",
        )
        assure(
            len(self.lost) <= 1 and all(self.started[step] == [1, 2] for step in self.lost),
            f"only what was in the air ran twice: {', '.join(self.lost) or 'nothing was'}",
        )
        assure(
            by_first & set(self.started) == set(self.kept + self.lost)
            and by_second & set(self.started) == set(self.completed) - set(self.kept),
            "the logs of both workers say the same",
        )


def called(name: str) -> set[str]:
    """The steps whose functions a worker called, by its own log: `report.py` writes their names."""
    lines = log_of(name).read_text(errors="replace").splitlines()
    return {line.split(" INFO ", 1)[-1] for line in lines}


def assure(fact: bool, sentence: str) -> None:
    print(f"  {'ok ' if fact else 'NOT'} {sentence}")
    if not fact:
        sys.exit(f"this must not be; the logs are in {OUTPUT}")


def say(sentence: str) -> None:
    print(f"\n== {sentence}")


def head(path: Path, lines: int) -> str:
    return "\n".join(path.read_text(encoding="utf-8").splitlines()[:lines])


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
