"""The peers, each installed at run time into a folder of its own and run in its own processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.measures import Measures
from benchmarks.results import Result, percentile
from benchmarks.stage import HOME, execute

HERE: Final = Path(__file__).resolve().parent / "peers"
CACHE: Final = HOME / "peers"

PYTHON: Final = {
    "procrastinate": ["procrastinate==3.10.*"],
    "pgqueuer": ["pgqueuer==1.6.*", "asyncpg", "uvloop"],
    "dbos": ["dbos==3.4.*"],
    "absurd": ["absurd-sdk==0.5.*", "absurdctl==0.5.*"],
    "chancy": ["chancy==0.26.*"],
}
NODE: Final = {
    "graphile": ["graphile-worker@0.18", "pg@8"],
    "pgboss": ["pg-boss@12.35", "pg@8"],
}
NAMES: Final = (*PYTHON, *NODE)
DURABLE: Final = ("dbos", "absurd")
WORKERS: Final = ("worker", "steps", "pickup_idle_p50")
JOBS: Final = 10_000
SECONDS: Final = 2.5
WORK_SECONDS: Final = 10.0


class Absent(RuntimeError):
    """The peer cannot be installed, or cannot do what is measured."""


class Peer:
    """One peer: where it is installed, and how its adapter is called."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = CACHE / name

    def install(self) -> None:
        mark = self.folder / "installed"
        if mark.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.name in PYTHON:
            pip = [str(self._program("python")), "-m", "pip", "install", "--quiet"]
            more = ["--disable-pip-version-check", "psycopg[binary,pool]"]
            self._run([sys.executable, "-m", "venv", str(self.folder)])
            self._run([*pip, *more, *PYTHON[self.name]])
        else:
            npm = ["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix"]
            self._run([*npm, str(self.folder), *NODE[self.name]])
        mark.touch()

    @property
    def version(self) -> str:
        """Of its first package, as installed."""
        package = (PYTHON | NODE)[self.name][0].partition("==")[0].partition("@")[0]
        if self.name in NODE:
            told = self.folder / "node_modules" / package / "package.json"
            return str(json.loads(told.read_text())["version"])
        script = f"from importlib.metadata import version; print(version('{package}'))"
        command = [str(self._program("python")), "-c", script]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    def _program(self, name: str) -> Path:
        return self.folder / "bin" / name

    def _run(self, command: list[str]) -> None:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Absent(f"not installed: {error}") from error
        if done.returncode:
            lines = (done.stderr.strip() or f"{command[0]} failed").splitlines()
            raise Absent(f"not installed: {lines[-1]}")

    def command(self, command: str, dsn: str, given: dict[str, Any]) -> list[str]:
        if self.name in PYTHON:
            start = [str(self._program("python")), str(HERE / "act.py")]
        else:
            start = ["node", str(HERE / "node.mjs")]
        return [*start, self.name, command, dsn, json.dumps(given)]

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{self.folder / 'bin'}:{os.environ.get('PATH', '')}",
            "NODE_MODULES_DIR": str(self.folder / "node_modules"),
        }

    def call(self, command: str, dsn: str, **given: Any) -> dict[str, Any]:
        try:
            done = subprocess.run(
                self.command(command, dsn, given),
                capture_output=True, text=True, timeout=90, env=self.environment, cwd=HERE,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Absent(f"{command}: {error}") from error
        for line in reversed(done.stdout.splitlines()):
            if line.startswith("RESULT "):
                answer: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
                return answer
        lines = [line for line in done.stderr.splitlines() if "Error" in line]
        raise Absent(f"{command}: {lines[-1] if lines else done.stderr.strip()[-300:]}")

    def work(self, command: str, dsn: str, **given: Any) -> Worker:
        return Worker(self, command, dsn, given)


class Worker:
    """A worker of a peer, running until it is told to stop and tell what it saw."""

    def __init__(self, peer: Peer, command: str, dsn: str, given: dict[str, Any]) -> None:
        self.output = CACHE / f"{peer.name}.json"
        self.output.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            peer.command(command, dsn, {**given, "output": str(self.output)}),
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            text=True, env=peer.environment, cwd=HERE,
        )  # fmt: skip

    def stop(self) -> list[tuple[int, float]]:
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.write("stop\n")
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if not self.output.exists():
            raise Absent("the worker ended without a word")
        seen = [(int(job), float(moment)) for job, moment in json.loads(self.output.read_text())]
        if not seen:
            raise Absent("the worker handled nothing")
        return seen


class Against:
    """The measurements that peers can be put to; values join those of the results of ours."""

    def __init__(self, measures: Measures) -> None:
        self.measures = measures
        self.stage = measures.stage

    def run(self, names: Sequence[str]) -> dict[str, str]:
        """One peer after the other; returns their versions. Values join the results of ours."""
        versions = {}
        results = {result.name: result for result in self.measures.results}
        for name in names:
            peer = Peer(name)
            began = time.monotonic()
            try:
                peer.install()
                self.stage.template(name, partial(peer.call, "setup"))
                with self.stage.database(name) as dsn:
                    peer.call("preload", dsn, ready=10)
                self.stage.template(f"{name}_loaded", partial(self._loaded, peer))
            except (Absent, RuntimeError) as error:
                print(f"\n{name} left out: {error}", flush=True)
                continue
            versions[name] = peer.version
            for measured, measure in self._measures(peer).items():
                if measured in results:
                    self._take(results[measured], name, measure)
            print(f"\n{name}: {time.monotonic() - began:.0f} s", flush=True)
        for result in results.values():
            if any(name in result.values for name in names):
                self.measures.show(result)
        return versions

    def _loaded(self, peer: Peer, dsn: str) -> None:
        peer.call("setup", dsn)
        peer.call("preload", dsn, ready=JOBS)
        self.stage.settle(dsn)

    def _take(self, result: Result, name: str, measure: Callable[[], float]) -> None:
        try:
            # A worker takes long to start and steadies itself.
            rounds = 1 if result.name in WORKERS else 2
            values = [measure() for _ in range(rounds)]
        except (Absent, OSError, ZeroDivisionError) as error:
            result.skipped[name] = str(error)
        else:
            result.values[name] = values

    def _measures(self, peer: Peer) -> dict[str, Callable[[], float]]:
        found = {
            "enqueue_one": partial(self._enqueue, peer, 1),
            "enqueue_many": partial(self._enqueue, peer, 0),
            "one_by_one": partial(self._drain, peer, 1),
            "batches_100": partial(self._drain, peer, 100),
            "worker": partial(self._work, peer, "work"),
            "pickup_idle_p50": partial(self._pickup, peer, 50),
        }
        if peer.name in DURABLE:
            found["steps"] = partial(self._work, peer, "durable_work")
        return found

    def _enqueue(self, peer: Peer, chunk: int) -> float:
        most = self.measures.scale.bulk
        with self.stage.database(peer.name) as dsn:
            answer = peer.call("enqueue", dsn, chunk=chunk, most=most, seconds=SECONDS)
        return float(answer["rate"])

    def _drain(self, peer: Peer, batch: int) -> float:
        with self.stage.database(f"{peer.name}_loaded") as dsn:
            answer = peer.call("drain", dsn, connections=4, batch=batch, seconds=SECONDS, most=JOBS)
        return float(answer["rate"])

    def _work(self, peer: Peer, command: str) -> float:
        """From the first handler to the end of the last job; steps, when the jobs have steps."""
        durable = command == "durable_work"
        jobs = self.measures.scale.steps_runs if durable else JOBS
        queries = peer.call("info", self.stage.dsn())
        with self.stage.database(peer.name if durable else f"{peer.name}_loaded") as dsn:
            if durable:
                peer.call("durable_enqueue", dsn, count=jobs)
            worker = peer.work(command, dsn, concurrency=20 if durable else 16)
            try:
                limit = time.time() + WORK_SECONDS
                while execute(dsn, queries["pending_sql"])[0][0] and time.time() < limit:
                    time.sleep(0.05)
                ended = time.time()
                left = execute(dsn, queries["left_sql"])[0][0]
            finally:
                seen = worker.stop()
        began = min(moment for _, moment in seen)
        return float((jobs - left) * (20 if durable else 1) / (ended - began))

    def _pickup(self, peer: Peer, percent: float) -> float:
        with self.stage.database(peer.name) as dsn:
            worker = peer.work("work", dsn, concurrency=16, latency=1)
            try:
                time.sleep(4)
                sent = peer.call("paced", dsn, count=100, interval=0.05)["sent"]
                time.sleep(1.5)
            finally:
                seen = dict(reversed(worker.stop()))
        times = [(seen[job] - moment) * 1000 for job, moment in sent if job in seen]
        return percentile(times, percent)
