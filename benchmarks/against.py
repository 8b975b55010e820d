"""The peers, each installed at run time into a folder of its own and run in its own processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from benchmarks.crew import Spent
from benchmarks.measures import Measures
from benchmarks.others import Others, used
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
FAST: Final = ("pgqueuer", "graphile", "pgboss")
"""Peers that are given as many jobs as we are; the others would need minutes for them."""
JOBS: Final = 20_000
ROUNDS: Final = 3
SECONDS: Final = 1.0
WORK_SECONDS: Final = 10.0
INSTALL_SECONDS: Final = 600

NOT_DURABLE: Final = """
select 'table ' || c.relname
from pg_class as c
where c.relkind = 'r' and c.relpersistence = 'u' and pg_relation_size(c.oid) > 0
union all
select 'function ' || p.proname
from pg_proc as p
where array_to_string(p.proconfig, ',') like '%synchronous_commit%'
union all
select 'a setting of the database or of a role'
from pg_db_role_setting as s
where array_to_string(s.setconfig, ',') like '%synchronous_commit%'
"""
"""What loses jobs in a crash: nobody may have it, so that a commit costs all the same. A table that
stays empty while jobs wait holds none."""


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
        shutil.rmtree(self.folder, ignore_errors=True)  # what an interrupted install left
        self.folder.mkdir(parents=True)
        if self.name in PYTHON:
            pip = [str(self._program("python")), "-m", "pip", "install", "--quiet", "--retries=1"]
            more = ["--disable-pip-version-check", "psycopg[binary,pool]"]
            self._run([sys.executable, "-m", "venv", str(self.folder)])
            self._run([*pip, *more, *PYTHON[self.name]])
        else:
            npm = ["npm", "install", "--loglevel=error", "--fetch-retries=1", "--no-fund"]
            self._run([*npm, "--no-audit", "--prefix", str(self.folder), *NODE[self.name]])
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
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Absent(f"not installed: {error}") from error
        if done.returncode:
            lines = (done.stderr.strip() or f"{command[0]} failed").splitlines()
            errors = [line for line in lines if line.startswith(("ERROR", "npm error"))]
            raise Absent(f"not installed: {(errors or lines)[0]}")

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
            text=True, env=peer.environment, cwd=HERE, start_new_session=True,
        )  # fmt: skip

    def stop(self) -> list[tuple[int, float]]:
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.write("stop\n")
            self.process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # and the processes it began
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
        self.spent = Spent(0.0, 0.0)
        """By a job of the last command."""

    def run(self, names: Sequence[str]) -> dict[str, str]:
        """In turns, round by round; returns their versions, or why one was left out."""
        told = {}
        ready = []
        results = {result.name: result for result in self.measures.results}
        for name in names:
            peer = Peer(name)
            try:
                peer.install()
                began = time.monotonic()
                self._prepare(peer)
            except (Absent, RuntimeError) as error:
                told[name] = f"left out: {error}"
                print(f"\n{name} {told[name]}", flush=True)
                continue
            told[name] = peer.version
            ready.append((peer, self._measures(peer)))
            self.measures.seconds[name] = round(time.monotonic() - began, 1)
        for turn in range(ROUNDS):
            for peer, measures in ready:
                began = time.monotonic()
                with Others(self.measures.roots) as others:
                    for measured, measure in measures.items():
                        once = measured.startswith("pickup")
                        if measured in results and not (once and turn):
                            self._take(results[measured], peer.name, measure)
                took = time.monotonic() - began
                self.measures.seconds[peer.name] += round(took, 1)
                busy = f", others used {others.cores:.2f} cores" if others.cores > 0.1 else ""
                print(f"\n{peer.name}, round {turn + 1}: {took:.0f} s{busy}", flush=True)
        for result in results.values():
            if any(name in result.values or name in result.skipped for name in names):
                self.measures.show(result)
        return told

    def _prepare(self, peer: Peer) -> None:
        """Its tables, its jobs, and one of each statement, in databases to copy."""
        self.stage.template(peer.name, partial(peer.call, "setup"))
        with self.stage.database(peer.name) as dsn:
            peer.call("preload", dsn, ready=10)
            if loses := [what for (what,) in execute(dsn, NOT_DURABLE)]:
                raise Absent(f"not durable: {', '.join(loses)}")
        self.stage.template(f"{peer.name}_loaded", partial(self._loaded, peer))

    def _jobs(self, peer: Peer) -> int:
        most = self.measures.scale.loaded
        return most if peer.name in FAST else min(JOBS, most)

    def _loaded(self, peer: Peer, dsn: str) -> None:
        peer.call("setup", dsn)
        peer.call("preload", dsn, ready=self._jobs(peer))
        self.stage.settle(dsn)

    def _take(self, result: Result, name: str, measure: Callable[[], float]) -> None:
        if name in result.skipped:
            return
        try:
            value = measure()
        except (Absent, OSError, ZeroDivisionError) as error:
            result.skipped[name] = str(error)
        else:
            result.values.setdefault(name, []).append(value)
            self.measures.note(result, name, self.spent)

    def _call(self, peer: Peer, command: str, dsn: str, **given: Any) -> float:
        """The rate of a command that does nothing but the work, and what a job cost."""
        began = used(self.stage.process)
        answer = peer.call(command, dsn, **given)
        server = used(self.stage.process) - began
        self.spent = Spent(server / answer["jobs"], answer["processor"] / answer["jobs"])
        return float(answer["rate"])

    def _measures(self, peer: Peer) -> dict[str, Callable[[], float]]:
        picked_up = cache(partial(self._pickup, peer))
        found: dict[str, Callable[[], float]] = {
            "enqueue_one": partial(self._enqueue, peer, 1),
            "enqueue_many": partial(self._enqueue, peer, 0),
            "one_by_one": partial(self._drain, peer, 1),
            "batches_10": partial(self._drain, peer, 10),
            "batches_100": partial(self._drain, peer, 100),
            "worker": partial(self._work, peer, "work"),
            "pickup_idle_p50": lambda: percentile(picked_up(), 50),
            "pickup_idle_p99": lambda: percentile(picked_up(), 99),
        }
        if peer.name in DURABLE:
            found["steps"] = partial(self._work, peer, "durable_work")
        return found

    def _enqueue(self, peer: Peer, chunk: int) -> float:
        most = self.measures.scale.bulk
        with self.stage.database(peer.name) as dsn:
            return self._call(peer, "enqueue", dsn, chunk=chunk, most=most, seconds=SECONDS)

    def _drain(self, peer: Peer, batch: int) -> float:
        with self.stage.database(f"{peer.name}_loaded") as dsn:
            return self._call(
                peer, "drain", dsn,
                connections=self.measures.scale.connections, batch=batch, seconds=SECONDS,
                most=self._jobs(peer),
            )  # fmt: skip

    def _work(self, peer: Peer, command: str) -> float:
        """From the first handler to the end of the last job; steps, when the jobs have steps."""
        durable = command == "durable_work"
        jobs = self.measures.scale.steps_runs if durable else self._jobs(peer)
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

    def _pickup(self, peer: Peer) -> tuple[float, ...]:
        """Milliseconds from the return of the enqueue to the handler."""
        with self.stage.database(peer.name) as dsn:
            worker = peer.work("work", dsn, concurrency=16, latency=1)
            try:
                time.sleep(3)
                sent = peer.call("paced", dsn, count=self.measures.scale.pickups, interval=0.05)[
                    "sent"
                ]
                time.sleep(1)
            finally:
                seen = dict(reversed(worker.stop()))
        times = tuple((seen[job] - moment) * 1000 for job, moment in sent if job in seen)
        if len(times) < len(sent):
            raise Absent(f"{len(sent) - len(times)} of {len(sent)} jobs were not picked up")
        return times
