"""A campaign: a workload on a server of its own, faults beside it, then the checks.

Producers, workers of the driver in both colours, one of each through PgBouncer, workers in SQL and
over HTTP that play the zombie, two gateways, two dispatchers and who receives their webhooks,
people who decide, cancel and retry, watchers of events and of the cap. Meanwhile the server and
PgBouncer are killed, backends are ended, workers, gateways and dispatchers are killed or stopped
for longer than leases, the clock goes forth and back, the disk is full, and strangers hold rows.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg

from tests.chaos.application import BACKOFF, BUDGET, LEASE
from tests.chaos.disk import SmallDisk
from tests.chaos.history import LOG_LINE, Log, coverage, dump, gather, violations
from tests.chaos.masses import HANGING_UP, hang_up
from tests.chaos.wire import QUEUE, SECRET, Receiver, Wire
from tests.servers import PGBOUNCER, ROOT, Absent, Bouncer, OwnServer, RunningServer
from tests.support import Clock, Connection, open_connection
from tidebase_pg import admin

CAP = 5
NEEDED = {
    "attempts lost": 10, "attempts retried": 10, "zombies refused": 5,
    "zombies beside a newer attempt": 3, "answers lost": 3, "parked": 10, "cancelled": 5,
    "retried": 3, "gates decided": 10, "schedule fires": 1, "children": 20,
    "zombies of HTTP refused": 5, "streams heard": 10, "webhooks asked for": 20,
    "webhooks sent again": 3, "cancelled in an attempt": 5, "steps repeated": 3,
    "decisions lost to another": 1, "requests asked again": 3, "parked over a budget": 3,
    "words heard": 3, "lost answers that were commits": 3, "lost answers that were none": 3,
    "completions before a cancel": 5, "cancels before a completion": 5,
    "keys asked for beside a completion": 5,
}  # fmt: skip
"""What a campaign of ten minutes has to have met, or it was too weak to say anything."""

SCHEDULES = ("tick", "tock")
KEYS = ("red", "green", "blue")
"""Of runs of which there is one at a time."""
MOST_OPEN = 400
"""Orders under way before nobody sends more, so that all end soon after a campaign."""
FEWEST_FAULTS = 10
DISK = 1536
"""Megabytes of the disk that is filled: what a campaign of minutes leaves behind, and some."""
LONGEST_ON_DISK = 1800.0
"""Seconds of a campaign that fits on it."""


@dataclass
class Report:
    """What a campaign came to."""

    seconds: float
    seed: int
    faults: dict[str, int]
    met: dict[str, int]
    violations: dict[str, list[str]]
    too_weak: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Faults that could not be had here, and why."""
    seconds_without_a_server: dict[str, float] = field(default_factory=dict)
    """After it was killed."""
    asked: dict[str, float] = field(default_factory=dict)
    """What a long campaign went on for, and the minutes after which it would have given up."""
    kept: str | None = None
    """The folder with the logs of the clients and the rows of the database."""

    @property
    def good(self) -> bool:
        return not self.violations and not self.too_weak

    def text(self) -> str:
        shown = {**vars(self), "violations": {k: v[:5] for k, v in self.violations.items()}}
        return json.dumps(shown, indent=1)


Person = Callable[[Log, random.Random], None]
"""Who does something to the system until the campaign ends."""
Fault = Callable[[], None]


class Over(Exception):
    """The campaign has ended while a thread waited for the server."""


class Campaign:
    """One campaign; `run` returns its report."""

    def __init__(self, folder: Path, seconds: float, seed: int) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.logs.chmod(0o755)
        self.log = Log(self.logs, "faults")
        self.seconds = seconds
        self.seed = seed
        self.chance = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.ended = threading.Event()
        self.workers: dict[subprocess.Popen[bytes], str] = {}
        self.own = OwnServer(folder / "server", "18")
        self.own.server.settings["log_line_prefix"] = LOG_LINE
        (folder / "server").mkdir()
        self.server: RunningServer
        self.dsn = ""
        self.bouncer: Bouncer | None = None
        self.receiver: Receiver | None = None
        self.wire: Wire
        self.disk: SmallDisk | None = None
        self.left_out: list[str] = []
        self.absences: list[float] = []
        """Seconds without a server after each of its deaths by signal."""

    # The server and what lies in it

    def prepare(self) -> None:
        self.prepare_disk()
        self.server = self.own.start()
        self.dsn = self.server.dsn("postgres")
        admin.install(self.dsn)
        with open_connection(self.dsn) as connection:
            connection.execute("create table ledger (run_id uuid not null)")
            connection.execute("create table outbox (run_id uuid primary key)")
            connection.execute(
                "select tide.set_queue('parts', jsonb_build_object('concurrency', %s::int))", [CAP]
            )
            connection.execute("select tide.set_allowance('house', 'tokens', 1000000000)")
            for name in SCHEDULES:
                connection.execute(
                    "select tide.set_schedule(%s, '* * * * *', 'tick', queue => 'orders')", [name]
                )

    def prepare_disk(self) -> None:
        """A disk of the server's own, if it may be mounted and is large enough."""
        try:
            if self.seconds > LONGEST_ON_DISK:
                raise Absent("a campaign of hours needs more than a small disk")
            self.disk = SmallDisk(self.folder / "server", DISK)
        except Absent as absent:
            self.left_out.append(f"disk full: {absent}")
        else:
            self.own.server.settings["max_wal_size"] = "256MB"

    def prepare_lines(self) -> None:
        """What stands between clients and the server, and who receives webhooks."""
        if PGBOUNCER.exists():
            (self.folder / "bouncer").mkdir()
            self.bouncer = Bouncer(self.folder / "bouncer", self.server)
            self.bouncer.start()
        self.receiver = Receiver(Log(self.logs, "receiver"), random.Random(self.seed))
        self.wire = Wire(self.ended, self.receiver.port)
        Clock(self.dsn).close()  # what it has put in stays

    def connect(self) -> Connection:
        """A connection, as soon as there is a server again; Over when the campaign has ended."""
        while not self.ended.is_set():
            try:
                return open_connection(self.dsn)
            except psycopg.OperationalError:
                time.sleep(0.05)
        raise Over

    def reach(self) -> Connection:
        """A connection also after the campaign has ended, when the server is left alone."""
        return open_connection(self.dsn) if self.ended.is_set() else self.connect()

    @contextlib.contextmanager
    def connected(self, log: Log, doing: str) -> Iterator[Connection]:
        """A connection; what the campaign itself breaks is written down and not raised."""
        connection = self.connect()
        try:
            with connection:
                yield connection
        except psycopg.OperationalError as error:
            log.write("unknown", doing=doing, sqlstate=error.sqlstate)
        except psycopg.Error as error:
            if (error.sqlstate or "").startswith("TD"):
                log.write("refused", doing=doing, sqlstate=error.sqlstate)
                return
            log.write("error", doing=doing, sqlstate=error.sqlstate, message=str(error)[:300])

    # Who works

    def produce(self, log: Log, chance: random.Random) -> None:
        """Sends the same again, with the same id, until it is answered."""
        run_id, kind, asked = uuid4(), "plain", 0
        while not self.ended.wait(0.05):
            with self.connected(log, "enqueue") as connection:
                if _open_runs(connection, "orders") >= MOST_OPEN:
                    self.ended.wait(0.5)
                    continue
                if asked:
                    row = connection.execute(
                        "select exists (select from tide.runs as r where r.run_id = %s) as there",
                        [run_id],
                    ).fetchone()
                    log.write("asked again", run_id=run_id, how=kind, there=row.there)
                asked += 1
                call = (
                    "select run_id from tide.enqueue('order', queue => 'orders', input => %s, "
                    "max_attempts => 30, backoff => %s, run_id => %s, budget => %s)"
                )
                wanted = _input(run_id)
                values = [
                    json.dumps(wanted), json.dumps(BACKOFF), run_id,
                    json.dumps(BUDGET) if wanted["spends"] else None,
                ]  # fmt: skip
                if kind == "plain":
                    if chance.random() < HANGING_UP:
                        hang_up(connection, call, values, chance)
                    connection.execute(call.encode(), values)
                    log.write("enqueued", run_id=run_id)
                else:
                    with connection.transaction(force_rollback=kind == "rollback"):
                        connection.execute(
                            "insert into outbox values (%s) on conflict do nothing", [run_id]
                        )
                        connection.execute(call.encode(), values)
                        log.write("with a row", run_id=run_id)
                        if chance.random() < HANGING_UP:
                            # A transaction of a closed connection ends without a word.
                            connection.close()
                            raise psycopg.OperationalError("hung up before the commit")
                    log.write("rolled back" if kind == "rollback" else "enqueued", run_id=run_id)
                run_id, kind = uuid4(), chance.choice(["plain", "plain", "row", "rollback"])
                asked = 0

    def work_in_sql(self, log: Log, chance: random.Random) -> None:
        """Claims, sometimes oversleeps its lease, and reports all the same."""
        while not self.ended.is_set():
            with self.connected(log, "claim") as connection:
                run = connection.execute(
                    "select run_id, lease_id, attempt "
                    "from tide.claim('{zombies}', lease => '1 s', worker => 'sql')"
                ).fetchone()
                if run is None:
                    self.ended.wait(0.1)
                    continue
                late = chance.random() < 0.4
                time.sleep(1.3 if late else 0.02)
                before = _attempt(connection, run.run_id)
                try:
                    connection.execute(
                        "select tide.complete(%s, %s, '\"zombie\"')", [run.run_id, run.lease_id]
                    )
                    accepted = True
                except psycopg.DatabaseError as error:
                    if not (error.sqlstate or "").startswith("TD"):
                        raise
                    accepted = False
                if accepted:
                    log.write("completed", run_id=run.run_id)
                if late:
                    taken = before > run.attempt
                    log.write("zombie", run_id=run.run_id, accepted=accepted, taken=taken)

    def feed_zombies(self, log: Log, chance: random.Random) -> None:
        while not self.ended.wait(0.15):
            with self.connected(log, "enqueue") as connection:
                if _open_runs(connection, "zombies") >= MOST_OPEN:
                    self.ended.wait(0.5)
                    continue
                row = connection.execute(
                    "select run_id "
                    "from tide.enqueue('zombie', queue => 'zombies', max_attempts => 90)"
                ).fetchone()
                log.write("enqueued", run_id=row.run_id)

    def enqueue_keyed(self, log: Log, chance: random.Random) -> None:
        """Asks for the run of a key, which another completes meanwhile."""
        while not self.ended.wait(0.1):
            with self.connected(log, "enqueue") as connection:
                key, began = chance.choice(KEYS), time.time()
                row = connection.execute(
                    "select run_id, deduplicated from tide.enqueue("
                    "'keyed', queue => 'keys', dedupe_key => %s, max_attempts => 90)",
                    [key],
                ).fetchone()
                log.write(
                    "keyed", run_id=row.run_id, key=key, new=not row.deduplicated, began=began
                )

    def complete_keyed(self, log: Log, chance: random.Random) -> None:
        """Takes its time between the completion of a run with a key and the commit."""
        while not self.ended.wait(0.05):
            with self.connected(log, "complete") as connection:
                run = connection.execute(
                    "select run_id, lease_id, dedupe_key from tide.claim('{keys}', lease => '5 s')"
                ).fetchone()
                if run is None:
                    continue
                with connection.transaction():
                    connection.execute(
                        "select tide.complete(%s, %s, '\"keyed\"')", [run.run_id, run.lease_id]
                    )
                    began = time.time()
                    time.sleep(0.1)
                log.write("completed", run_id=run.run_id)
                log.write("completed a key", key=run.dedupe_key, began=began)

    def cross(self, log: Log, chance: random.Random) -> None:
        """Completes and cancels a run at once, of which one waits for the other."""
        while not self.ended.wait(0.3):
            with self.connected(log, "cross") as one, self.connected(log, "cross") as other:
                run = one.execute(
                    "select run_id, lease_id from tide.claim('{zombies}', lease => '5 s')"
                ).fetchone()
                if run is None:
                    continue
                calls = {
                    "completed": ("select tide.complete(%s, %s)", [run.run_id, run.lease_id]),
                    "cancelled": ("select tide.cancel(%s)", [run.run_id]),
                }
                first, second = chance.sample(sorted(calls), 2)
                done: list[str] = []

                def second_one(
                    connection: Connection = other, ending: str = second, done: list[str] = done
                ) -> None:
                    query, values = calls[ending]  # noqa: B023 joined before the next run
                    try:
                        connection.execute(query.encode(), values)
                        done.append("accepted")
                    except psycopg.Error as error:
                        done.append(error.sqlstate or "")

                waits = threading.Thread(target=second_one)
                with one.transaction():
                    query, values = calls[first]
                    one.execute(query.encode(), values)
                    waits.start()
                    time.sleep(0.05)
                waits.join()
                log.write(first, run_id=run.run_id)
                log.write("crossed", run_id=run.run_id, first=first, second=done[0])

    def help_along(self, log: Log, chance: random.Random) -> None:
        """Says words to runs that wait for one, and raises budgets that are spent."""
        while not self.ended.wait(0.3):
            with self.connected(log, "help") as connection:
                self._help(connection, log)

    def _help(self, connection: Connection, log: Log) -> None:
        for row in connection.execute(
            "select r.run_id, r.waiting_on from tide.runs as r "
            "where r.status = 'queued' and r.waiting_on in ('event', 'budget') limit 20"
        ).fetchall():
            word = str(uuid4())
            if row.waiting_on == "event":
                log.write("says", run_id=row.run_id, word=word)
                call = "select tide.send_event(%s, 'word', to_jsonb(%s::text))"
                values = [row.run_id, word]
            else:
                log.write("raises", run_id=row.run_id)
                call = "select tide.set_budget(%s, %s)"
                values = [row.run_id, json.dumps({"max_tokens": 1000})]
            try:
                connection.execute(call.encode(), values)
            except psycopg.DatabaseError as error:
                if not (error.sqlstate or "").startswith("TD"):
                    raise

    def decide(self, log: Log, chance: random.Random) -> None:
        """Two of these decide the same gates at once."""
        while not self.ended.wait(0.2):
            with self.connected(log, "decide") as connection:
                for gate in connection.execute(
                    "select gate_id from tide.pending_gates limit 20"
                ).fetchall():
                    decision = chance.choice(["approved", "approved", "rejected"])
                    try:
                        connection.execute(
                            "select tide.decide_gate(%s, %s, %s)",
                            [gate.gate_id, decision, f"person {uuid4()}"],
                        )
                        log.write("decided", gate_id=gate.gate_id)
                    except psycopg.DatabaseError as error:
                        if error.sqlstate not in ("TD022", "TD010", "TD001", "TD003"):
                            raise
                        log.write("decided before", gate_id=gate.gate_id)

    def operate(self, log: Log, chance: random.Random) -> None:
        while not self.ended.wait(0.4):
            with self.connected(log, "operate") as connection:
                rows = connection.execute(
                    "select run_id, status from tide.list_runs(workflow => 'order', max_runs => 60)"
                ).fetchall()
                for row in chance.sample(rows, min(2, len(rows))):
                    act = "retry" if row.status in ("failed", "cancelled") else "cancel"
                    try:
                        connection.execute(f"select tide.{act}(%s)".encode(), [row.run_id])
                    except psycopg.DatabaseError as error:
                        if not (error.sqlstate or "").startswith("TD"):
                            raise
                    else:
                        if act == "cancel":
                            log.write("cancelled", run_id=row.run_id)

    def watch_cap(self, log: Log, chance: random.Random) -> None:
        while not self.ended.wait(0.02):
            with self.connected(log, "watch") as connection:
                while not self.ended.wait(0.02):
                    row = connection.execute(
                        "select count(*) as running from tide.runs as r "
                        "where r.queue = 'parts' and r.status = 'running'"
                    ).fetchone()
                    if row.running >= CAP:
                        log.write("seen running", queue="parts", running=row.running, cap=CAP)

    def hold_rows(self, log: Log, chance: random.Random) -> None:
        """A stranger's transaction that has touched a run and takes its time."""
        while not self.ended.wait(1.0):
            with self.connected(log, "hold") as connection:
                rows = connection.execute(
                    "select run_id from tide.list_runs(status => 'running', max_runs => 20)"
                ).fetchall()
                if not rows:
                    continue
                with connection.transaction(force_rollback=chance.random() < 0.5):
                    connection.execute(
                        "select tide.send_event(%s, 'unheard')", [chance.choice(rows).run_id]
                    )
                    time.sleep(chance.random() * LEASE * 1.5)
                self.faults["rows held"] += 1

    # Faults

    def command(self, kind: str) -> tuple[list[str], str]:
        """What runs as a process of this kind, and the database it is told."""
        match kind.split():
            case ["gateway", number]:
                options = ["--port", str(self.wire.ports[int(number)]), "--lease", f"{LEASE:g}s"]
                return ["tidebase_pg", "serve", "--no-studio", "--no-deliver", *options], self.dsn
            case ["dispatcher"] if self.receiver is not None:
                allowed = ["--allow", "127.0.0.1", "--allow-port", str(self.receiver.port)]
                return ["tidebase_pg", "deliver", "--allow-http", *allowed], self.dsn
            case [colour, "pooled"] if self.bouncer is not None:
                dsn = f"postgresql://postgres@127.0.0.1:{self.bouncer.port}/postgres"
                return ["tests.chaos.application", colour, str(self.logs)], dsn
            case [colour, *_]:
                return ["tests.chaos.application", colour, str(self.logs)], self.dsn
        raise AssertionError(kind)

    def start_worker(self, kind: str) -> None:
        command, dsn = self.command(kind)
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT,
            env={**os.environ, "TIDEBASE_DSN": dsn, "TIDEBASE_WEBHOOK_SECRET": SECRET},
            stdout=subprocess.DEVNULL, stderr=(self.folder / "stderr").open("ab"),
        )  # fmt: skip
        self.workers[process] = kind

    def kill_worker(self) -> None:
        process = self.chance.choice(list(self.workers))
        kind = self.workers.pop(process)
        process.kill()
        process.wait()
        self.faults["workers killed"] += 1
        self.faults[f"{kind} killed"] += 1
        self.start_worker(kind)

    def stop_worker(self) -> None:
        process = self.chance.choice(list(self.workers))
        began = time.time()
        process.send_signal(signal.SIGSTOP)
        self.ended.wait(LEASE * 1.5)
        ended = time.time()
        process.send_signal(signal.SIGCONT)
        self.log.write("stopped", pid=process.pid, began=began, ended=ended)
        self.faults["workers stopped beyond their lease"] += 1

    def kill_bouncer(self) -> None:
        if self.bouncer is not None and self.bouncer.process is not None:
            self.bouncer.process.kill()
            self.bouncer.process.wait()
            self.bouncer.start()
            self.faults["PgBouncer killed"] += 1

    def move_clock(self) -> None:
        """Beyond every lease or back before them, for a moment."""
        began, step = time.time(), self.chance.choice([-600.0, -LEASE, LEASE * 2])
        with contextlib.suppress(psycopg.Error), open_connection(self.dsn) as connection:
            connection.execute(
                "update tide_test.clock set stopped_at = tide._now() + make_interval(secs => %s)",
                [step],
            )
            self.ended.wait(0.5)
            self.faults["clock moved"] += 1
        self.end_clock()
        self.log.write("clock moved", began=began, ended=time.time(), step=step)

    def end_clock(self) -> None:
        """The clock is the server's again."""
        with self.reach() as connection:
            connection.execute("update tide_test.clock set stopped_at = null")

    def kill_server(self) -> None:
        """Its first process; half the time each of its others at the same moment."""
        lines = (self.own.server.data / "postmaster.pid").read_text().splitlines()
        postmaster = int(lines[0])
        if self.chance.random() < 0.5:
            os.kill(postmaster, signal.SIGSTOP)  # it begins no other meanwhile
            self.kill_processes()
            self.faults["servers killed with all backends"] += 1
        else:
            os.kill(postmaster, signal.SIGKILL)
        self.faults["servers killed"] += 1
        began = time.monotonic()
        self.bring_back()
        self.absences.append(time.monotonic() - began)

    def fill_disk(self) -> None:
        """Whatever the server has to write fails, which may end it."""
        if self.disk is not None:
            self.disk.fill()
            self.ended.wait(1 + 2 * self.chance.random())
            self.disk.empty()
            self.faults["disk filled"] += 1
            self.bring_back()

    def kill_processes(self) -> None:
        """All that there are of the server: they work in its folder, whoever their parent is."""
        for folder in Path("/proc").glob("[0-9]*/cwd"):
            with contextlib.suppress(OSError):
                if folder.readlink() == self.own.server.data:
                    os.kill(int(folder.parent.name), signal.SIGKILL)

    def bring_back(self) -> None:
        for attempt in range(200):  # backends outlive their postmaster for a moment
            if attempt == 50:  # or for ever, when they wait for what another held at its death
                self.kill_processes()
                self.faults["orphans killed"] += 1
            try:
                self.own.start()
                with open_connection(self.dsn) as connection:
                    connection.execute("select 1")
                return
            except Exception:
                time.sleep(0.1)
        raise AssertionError("the server does not come back")

    def end_backends(self) -> None:
        with contextlib.suppress(psycopg.Error), open_connection(self.dsn) as connection:
            found = connection.execute(
                "select pg_terminate_backend(a.pid) from pg_stat_activity as a "
                "where a.backend_type = 'client backend' and a.pid <> pg_backend_pid() "
                "order by random() limit 6"
            ).fetchall()
            self.faults["backends ended"] += len(found)

    # All of it

    @property
    def colours(self) -> tuple[str, ...]:
        """The workers there are."""
        return (
            "sync", "async", "sync pooled", "async pooled", "gateway 0", "gateway 1",
            "dispatcher", "dispatcher",
        )  # fmt: skip

    def people(self) -> list[Person]:
        return [
            self.produce, self.produce, self.work_in_sql, self.work_in_sql, self.feed_zombies,
            self.decide, self.decide, self.operate, self.watch_cap, self.hold_rows,
            self.enqueue_keyed, self.enqueue_keyed, self.complete_keyed, self.help_along,
            self.cross, self.wire.produce, self.wire.work, self.wire.work, self.wire.work,
            self.wire.watch,
        ]  # fmt: skip

    def faults_and_weights(self) -> list[tuple[Fault, int]]:
        return [
            (self.kill_worker, 6), (self.stop_worker, 4), (self.end_backends, 4),
            (self.kill_bouncer, 2), (self.move_clock, 1), (self.kill_server, 1),
            (self.fill_disk, 1),
        ]  # fmt: skip

    def run(self) -> Report:
        self.prepare()
        self.prepare_lines()
        began = time.monotonic()
        errors: list[BaseException] = []

        def guarded(person: Person, number: int) -> None:
            try:
                person(
                    Log(self.logs, f"{person.__name__}-{number}"),
                    random.Random(f"{self.seed} {number}"),
                )
            except Over:
                pass
            except BaseException as error:
                errors.append(error)
                self.ended.set()

        threads = [
            threading.Thread(target=guarded, args=(person, number), daemon=True)
            for number, person in enumerate(self.people())
        ]
        try:
            for colour in self.colours:
                self.start_worker(colour)
            for thread in threads:
                thread.start()
            while self.goes_on(began) and not self.ended.wait(1.0):
                self.harm()
            self.ended.set()
            for thread in threads:
                thread.join(60)
            if errors:
                raise errors[0]
            self.quieten()
        finally:
            for process in self.workers:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        return self.report(began)

    def harm(self) -> None:
        acts, weights = zip(*self.faults_and_weights(), strict=True)
        self.chance.choices(acts, weights)[0]()

    def goes_on(self, began: float) -> bool:
        """For its time; on a machine too slow for any trouble in it, until there was some."""
        return time.monotonic() - began < self.seconds or self.faults.total() < FEWEST_FAULTS

    def report(self, began: float) -> Report:
        with open_connection(self.dsn) as connection:
            facts = gather(connection, self.logs, self.own.server.log)
        met = coverage(facts)
        scale = min(1.0, self.seconds / 600)
        weak = [
            f"{name}: {met[name]}" for name, least in NEEDED.items() if met[name] < least * scale
        ]
        seconds = round(time.monotonic() - began, 1)
        return Report(
            seconds, self.seed, dict(self.faults), met, violations(facts), weak, self.left_out,
            absences(self.absences),
        )  # fmt: skip

    def close(self) -> None:
        """End what is not a worker."""
        if self.bouncer is not None:
            self.bouncer.stop()
        if self.receiver is not None:
            self.receiver.close()
        self.own.stop()
        if self.disk is not None:
            self.disk.unmount()

    def keep(self, folder: Path | None) -> str:
        """Copy the logs of the clients, and the rows of the database if there still is one, to a
        folder that stays: this one, or one of its own."""
        folder = folder or Path(tempfile.mkdtemp(prefix="tide-chaos-kept-"))
        folder.mkdir(parents=True, exist_ok=True)
        logs = [*self.logs.rglob("*"), self.folder / "stderr", self.own.server.log]
        for path in filter(Path.is_file, logs):
            shutil.copyfile(path, folder / path.name)
        (folder / "database").mkdir(exist_ok=True)
        with contextlib.suppress(psycopg.Error), open_connection(self.dsn) as connection:
            dump(connection, folder / "database")
        return str(folder)

    def quieten(self) -> None:
        """No fault any more: everything that is there comes to its end."""
        with open_connection(self.dsn) as connection:
            for name in SCHEDULES:
                connection.execute("select tide.drop_schedule(%s)", [name])
            log = Log(self.logs, "quieten")
            give_up_at = time.monotonic() + 300
            while True:
                connection.execute("call tide.reconcile()")
                self._help(connection, log)
                for gate in connection.execute("select gate_id from tide.pending_gates").fetchall():
                    with contextlib.suppress(psycopg.DatabaseError):
                        connection.execute(
                            "select tide.decide_gate(%s, 'approved', 'last')", [gate.gate_id]
                        )
                # On a busy machine thousands of runs take longer one by one than a lease lasts.
                connection.execute(
                    "select tide.settle(coalesce(jsonb_agg(jsonb_build_object("
                    "'run_id', c.run_id, 'lease_id', c.lease_id, 'result', null)), '[]')) "
                    "from tide.claim(%s, max_runs => 500, lease => '10 minutes') as c",
                    [["zombies", "keys", QUEUE]],
                )
                row = connection.execute(
                    "select (select count(*) from tide.runs as r "
                    "where r.status not in ('completed', 'failed', 'cancelled')) "
                    "+ (select count(*) from tide.list_deliveries(status => 'pending')) as left"
                ).fetchone()
                if row.left == 0 or time.monotonic() > give_up_at:
                    return
                time.sleep(0.2)


def _input(run_id: UUID) -> dict[str, Any]:
    """What a run is to do, by its id: a call that is sent again has to say the same."""
    wants = random.Random(str(run_id)).random()
    return {
        "fails": wants < 0.15, "ask": 0.15 < wants < 0.3, "nap": 0.3 < wants < 0.4,
        "hears": 0.4 < wants < 0.5, "spends": 0.5 < wants < 0.6,
        "children": 3 if wants > 0.8 else 0,
    }  # fmt: skip


def _open_runs(connection: Connection, queue: str) -> int:
    row = connection.execute(
        "select count(*) as found from (select from tide.runs as r where r.queue = %s "
        "and r.status in ('queued', 'running') limit %s) as o",
        [queue, MOST_OPEN],
    ).fetchone()
    found: int = row.found
    return found


def _attempt(connection: Connection, run_id: UUID) -> int:
    row = connection.execute("select attempt from tide.get_run(%s)", [run_id]).fetchone()
    found: int = row.attempt
    return found


def absences(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    return {
        "median": round(statistics.median(seconds), 2),
        "longest": round(max(seconds), 2),
    }


def conduct(
    kind: Callable[[Path, float, int], Campaign],
    seconds: float,
    seed: int,
    keep: Path | None = None,
) -> Report:
    """`keep`: a folder for what was told and what has happened. Without one that is kept where a
    check fails, in a folder that the report names."""
    with tempfile.TemporaryDirectory(prefix="tide-chaos-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        made = kind(Path(folder), seconds, seed)
        try:
            report = made.run()
            if keep is not None or report.violations:
                report.kept = made.keep(keep)
            return report
        except BaseException as error:
            error.add_note(f"kept in {made.keep(keep)}")
            raise
        finally:
            made.close()
