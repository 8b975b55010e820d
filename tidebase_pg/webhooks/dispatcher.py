"""The dispatcher: sends what is in the outbox, and reports how it went."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

import psycopg

from tidebase_pg import calls
from tidebase_pg.client import Client
from tidebase_pg.client.connections import PinnedConnection, Source
from tidebase_pg.client.failures import may_pass, pauses
from tidebase_pg.errors import LeaseLost, NotFound, TideError
from tidebase_pg.flows import one_line
from tidebase_pg.types import ClaimedDelivery
from tidebase_pg.values import Duration, seconds, texts, whole
from tidebase_pg.webhooks.addresses import rules
from tidebase_pg.webhooks.signing import DEFAULT_SECRET, environment_secrets, signatures

if TYPE_CHECKING:
    from tidebase_pg.webhooks.http_sender import Answer, Poster

logger: Final = logging.getLogger("tidebase_pg.dispatcher")

SHORTEST_PAUSE: Final = 0.02
LONGEST_WAIT: Final = 0.5
"""Seconds after which a blocked wait looks up: Python notices a signal that arrives just before
the wait begins only at its end."""
LEASE_MARGIN: Final = 45.0
"""Seconds of a lease beyond the time of an attempt, for the report to arrive."""
LONGEST_FAREWELL: Final = 10.0
"""Seconds for which a dispatcher that ends tries to report to a database it cannot reach."""


class DispatchOptions(TypedDict, total=False):
    """How a dispatcher works."""

    concurrency: int
    """Webhooks on their way at once, 1 to 1000; default 32."""
    allow: Sequence[str]
    """Networks such as 10.1.0.0/16 and names of hosts that are not public and still allowed."""
    allow_ports: Sequence[int]
    """Ports beside 443 and 80."""
    allow_http: bool
    """Send without encryption to URLs that say http."""
    timeout: Duration
    """Seconds for one attempt in all; default 15."""
    connect_timeout: Duration
    """Seconds to find the host and connect; default 5."""
    read_timeout: Duration
    """Seconds of silence until an attempt is given up; default 15."""
    ca_file: str | None
    """Certificates (PEM) to trust beside the public ones."""
    poll: Duration
    """The longest pause in seconds between two looks at an idle outbox; default 1."""
    resolve: Callable[[str, int], Sequence[str]] | None
    """Looks up the addresses of a host and port; default the resolver of the system."""


@dataclass(slots=True)
class DispatchReport:
    """What a dispatcher did."""

    sent: int = 0
    """Attempts that were made."""
    delivered: int = 0
    failed: int = 0
    """Attempts without success; the database says whether there is another."""
    lost: int = 0
    """Attempts whose lease was lost before the report; somebody sends them again."""


class Dispatcher:
    """Sends webhooks with threads of its own over one connection; made by `Tidebase.dispatcher`.

    Any number of dispatchers may run at once. A killed one loses nothing: what it was sending goes
    out again after the lease, with the same id.

    >>> dispatcher = tide.dispatcher()
    >>> dispatcher.start()
    >>> dispatcher.stop()
    """

    def __init__(
        self, source: Source, *, shared: bool = True, **options: Unpack[DispatchOptions]
    ) -> None:
        """`shared` leaves the source open at the end."""
        self._poster, self._timeout = _poster(options)
        self._concurrency = whole("concurrency", options.get("concurrency", 32), 1, 1000)
        self._poll = seconds("poll", options.get("poll", 1.0), least=0.001)
        environment_secrets()  # a wrong one is told now, not by each webhook
        kept = PinnedConnection(source)
        self._sources: list[Source] = [kept] if shared else [kept, source]
        self._client = Client(kept, patience=0.0)
        self._to_send: queue.SimpleQueue[ClaimedDelivery | None] = queue.SimpleQueue()
        self._answered: queue.SimpleQueue[tuple[ClaimedDelivery, Answer] | None] = (
            queue.SimpleQueue()
        )
        self._unreported: deque[tuple[ClaimedDelivery, Answer]] = deque()
        self._sending = 0
        self._met = False
        self._threads = 0
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._unsigned: set[str] = set()
        self.report = DispatchReport()

    def start(self) -> None:
        """Work in a thread beside the caller until `stop`, whenever the database is there."""
        self._met = True
        self._thread = threading.Thread(target=self._live, name="tidebase dispatcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Claim nothing more, and return when what is being sent has been reported."""
        self.end()
        if self._thread is not None:
            self._thread.join(self._timeout + LONGEST_FAREWELL + 5.0)

    def end(self) -> None:
        """Claim nothing more; returns at once. For any thread or signal handler."""
        self._ending.set()
        self._answered.put(None)

    def run(self, *, once: bool = False, until: threading.Event | None = None) -> DispatchReport:
        """Work in this thread until `end`, or `until` is set; with `once` until nothing is due.

        Raises what cannot be mended: no database at first, or a missing privilege."""
        try:
            self._work(once, until or self._ending)
        finally:
            for _ in range(self._threads):
                self._to_send.put(None)
            for source in self._sources:
                source.close()
        return self.report

    def _live(self) -> None:
        try:
            self.run()
        except Exception as error:
            logger.error("the dispatcher ends: %s", one_line(error))

    def _work(self, once: bool, until: threading.Event) -> None:
        troubles: Iterator[float] | None = None
        pause = 0.0
        claim_at = 0.0
        give_up_at: float | None = None
        while True:
            troubled = False
            if until.is_set():
                self._ending.set()
            try:
                freed = self._report()
                room = self._concurrency - self._sending
                now = time.monotonic()
                if room and not self._ending.is_set() and (freed or now >= claim_at):
                    claimed = self._claim(room)
                    if claimed:
                        pause = 0.0
                    elif now >= claim_at:
                        pause = min(max(pause * 2, SHORTEST_PAUSE), self._poll)
                    claim_at = time.monotonic() + pause
                    self._met = True
                    if once and not claimed and not self._sending:
                        return
                troubles = None
            except (psycopg.Error, TideError) as error:
                if not self._met or not may_pass(error):
                    raise
                troubled = True
                if troubles is None:
                    logger.warning("the dispatcher goes on trying: %s", one_line(error))
                    troubles = pauses()
                claim_at = time.monotonic() + next(troubles)
            if self._ending.is_set() and not self._sending:
                if not self._unreported:
                    return
                give_up_at = give_up_at or time.monotonic() + LONGEST_FAREWELL
                if time.monotonic() >= give_up_at:
                    logger.warning(
                        "%d webhooks could not be reported and go out again", len(self._unreported)
                    )
                    return
            self._collect(self._wait(claim_at, troubled=troubled))

    def _wait(self, claim_at: float, *, troubled: bool) -> float:
        if not troubled and (self._ending.is_set() or self._sending >= self._concurrency):
            return LONGEST_WAIT
        return min(max(0.0, claim_at - time.monotonic()), LONGEST_WAIT)

    def _claim(self, room: int) -> int:
        claimed = self._client.execute(
            calls.claim_deliveries(max_deliveries=room, lease=self._timeout + LEASE_MARGIN)
        )
        for delivery in claimed:
            self._sending += 1
            self._to_send.put(delivery)
            if self._threads < self._sending:
                self._threads += 1
                threading.Thread(
                    target=self._send, name=f"tidebase sender {self._threads}", daemon=True
                ).start()
        return len(claimed)

    def _collect(self, timeout: float) -> None:
        """Take in the answers there are, waiting for the first at most so long."""
        try:
            answered = self._answered.get(timeout=timeout)
            while True:
                if answered is not None:
                    self._sending -= 1
                    self._unreported.append(answered)
                answered = self._answered.get_nowait()
        except queue.Empty:
            return

    def _report(self) -> bool:
        """Whether an answer was reported, so that its endpoint has room again."""
        reported = False
        while self._unreported:
            delivery, answer = self._unreported[0]
            try:
                status = self._client.execute(
                    calls.finish_delivery(
                        delivery.delivery_id,
                        delivery.lease_id,
                        http_status=answer.http_status,
                        response=answer.response,
                        error=answer.error,
                        retry_after=answer.retry_after,
                    )
                ).status
            except (LeaseLost, NotFound) as error:
                self.report.lost += 1
                logger.warning("%s", error)
            else:
                self._count(delivery, answer, status)
            self._unreported.popleft()
            reported = True
        return reported

    def _count(self, delivery: ClaimedDelivery, answer: Answer, status: str) -> None:
        self.report.sent += 1
        if status == "delivered":
            self.report.delivered += 1
            return
        self.report.failed += 1
        logger.warning(
            "webhook %s (%s of run %s), attempt %d, is %s: %s",
            delivery.delivery_id,
            delivery.type,
            delivery.run_id,
            delivery.attempt,
            status,
            answer.error or f"status {answer.http_status}",
        )

    def _send(self) -> None:
        while (delivery := self._to_send.get()) is not None:
            body = delivery.body.encode()
            headers = partial(self._headers, delivery, body)
            self._answered.put((delivery, self._poster.post(delivery.url, headers, body)))

    def _headers(self, delivery: ClaimedDelivery, body: bytes) -> dict[str, str]:
        """With signatures: those of the database, else by the secrets in the environment."""
        headers = delivery.headers
        if "webhook-signature" in headers:
            return headers
        secrets = environment_secrets(delivery.secret_name)
        if not secrets:
            self._warn_unsigned(delivery.secret_name)
        sent_at = headers["webhook-timestamp"]
        return headers | signatures(secrets, headers["webhook-id"], sent_at, body)

    def _warn_unsigned(self, name: str) -> None:
        if name not in self._unsigned and name != DEFAULT_SECRET:
            self._unsigned.add(name)
            logger.warning("there is no secret %r here or in the database: sent unsigned", name)


def _poster(options: DispatchOptions) -> tuple[Poster, float]:
    try:
        from tidebase_pg.webhooks.http_sender import Limits, Poster
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"sending webhooks needs {error.name}: pip install 'tidebase-pg[webhooks]'"
        ) from None
    total = seconds("timeout", options.get("timeout", 15.0), least=0.1)
    limits = Limits(
        connect=seconds("connect_timeout", options.get("connect_timeout", 5.0), least=0.05),
        read=seconds("read_timeout", options.get("read_timeout", 15.0), least=0.05),
        total=total,
    )
    allowed: Any = options.get("allow", ())
    return Poster(
        rules(
            texts("allow", allowed),
            [whole("allow_ports", port, 1, 65535) for port in options.get("allow_ports", ())],
            http=options.get("allow_http", False),
        ),
        limits,
        ca_file=options.get("ca_file"),
        resolve=options.get("resolve"),
    ), total
