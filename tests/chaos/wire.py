"""Who of a campaign speaks HTTP: producers, workers and watchers before two gateways, and the
receiver of its webhooks."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

import httpx

from tests.chaos.application import LEASE
from tests.chaos.history import Log
from tests.servers import free_port
from tidebase_pg import BadSignature, verify_webhook_signature

QUEUE = "wire"
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
STEPS = ("fetch", "write")
LOST = ("lease_lost", "run_cancelled", "run_finished", "run_leased", "run_queued")
"""What a worker that lost its run is told."""
MOST_OPEN = 200
"""Runs under way before nobody sends more, so that all end soon after a campaign."""
FAILING = 0.3
"""The share of webhooks that the receiver fails at, the first time."""


def uuid_of(wire_id: str) -> UUID:
    """The id of a run as the schema has it."""
    return UUID(wire_id.removeprefix("run_"))


def plain_client(**options: Any) -> httpx.Client:
    """A client that reads no certificates: there is no TLS on loopback, and they cost 30 ms."""
    return httpx.Client(verify=False, trust_env=False, **options)


class Refused(Exception):
    """The gateway says no, for a reason that the client caused or has to expect."""


class Receiver:
    """Takes webhooks on loopback, fails now and then, and writes down what reached it."""

    def __init__(self, log: Log, chance: random.Random) -> None:
        failed: set[str] = set()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                try:
                    said = verify_webhook_signature(body, dict(self.headers), [SECRET])
                except BadSignature as error:
                    log.write("not taken", message=str(error))
                    self.send_error(401)
                    return
                delivery_id = str(said.delivery_id)
                fails = delivery_id not in failed and chance.random() < FAILING
                if fails:
                    failed.add(delivery_id)
                log.write(
                    "delivered", delivery_id=delivery_id, run_id=str(said.run_id),
                    seq=json.loads(body)["seq"], accepted=not fails,
                )  # fmt: skip
                self.send_response(500 if fails else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Wire:
    """What the campaign's people do through the gateways on these ports."""

    def __init__(self, ended: threading.Event, receiver_port: int) -> None:
        self.ports = (free_port(), free_port())
        self._ended = ended
        self._open = 0
        """Runs that were sent and are not known to have ended, more or less."""
        self._channel = {
            "type": "webhook",
            "url": f"http://127.0.0.1:{receiver_port}/hook",
            "events": ["run.completed", "run.failed", "run.cancelled"],
        }

    def produce(self, log: Log, chance: random.Random) -> None:
        """Sends the same again, with the same key, until it is answered."""
        while not self._ended.wait(0.15):
            if self._open >= MOST_OPEN:
                continue
            key, webhook = str(uuid4()), chance.random() < 0.5
            body: dict[str, Any] = {
                "workflowName": "wire", "input": {"key": key}, "metadata": {"key": key},
                "maxAttempts": 90,
            }  # fmt: skip
            if webhook:
                body["channels"] = [self._channel]
            asked = 0
            while not self._ended.is_set():
                asked += 1
                with self._connected(log, "enqueue", chance) as ask:
                    run = ask("POST", f"/queues/{QUEUE}/enqueue", body, {"idempotency-key": key})[
                        "run"
                    ]
                    run_id = uuid_of(run["id"])
                    log.write("enqueued", run_id=run_id, asked=asked, webhook=webhook)
                    self._open += 1
                    break
                self._ended.wait(0.1)

    def work(self, log: Log, chance: random.Random) -> None:
        """Claims under its own URL, keeps two steps, now and then sleeps beyond its lease."""
        name = f"wire-{uuid4()}"
        while not self._ended.is_set():
            with self._connected(log, "work", chance, prefix=f"/w/{name}") as ask:
                claimed = ask("POST", "/queues/claim", {"queues": [QUEUE]})
                if not claimed["runs"]:
                    self._ended.wait(0.2)
                    continue
                run, lease = claimed["runs"][0], claimed["leaseOwner"]
                wire_id = run["id"]
                run_id = uuid_of(wire_id)
                for step in STEPS:
                    begun = ask(
                        "POST", f"/runs/{wire_id}/steps/begin",
                        {"name": step, "inputHash": "0" * 64, "leaseOwner": lease},
                    )  # fmt: skip
                    if begun["action"] == "return":
                        continue
                    if begun["action"] != "execute":
                        raise Refused(begun["action"])
                    log.write("effect", run_id=run_id, step=step, attempt=run["attempt"])
                    ask(
                        "POST", f"/runs/{wire_id}/steps/{begun['step']['id']}/complete",
                        {"leaseOwner": lease, "output": step},
                    )  # fmt: skip
                    log.write("kept", run_id=run_id, step=step, attempt=run["attempt"])
                late = chance.random() < 0.25
                if late:
                    self._ended.wait(LEASE * 1.4)
                now = ask("GET", f"/runs/{wire_id}")["run"]
                taken = now["attempt"] > run["attempt"]
                accepted = False
                try:
                    ask("POST", f"/runs/{wire_id}/complete", {"result": {"lease": lease}})
                    accepted = True
                    log.write("completed", run_id=run_id)
                    self._open -= 1
                finally:
                    if late:
                        log.write(
                            "zombie", run_id=run_id, accepted=accepted, taken=taken, http=True
                        )

    def watch(self, log: Log, chance: random.Random) -> None:
        """Follows one run after another to its end, whatever gateway answers, where it was."""
        while not self._ended.wait(0.3):
            newest = None
            with self._connected(log, "list", chance) as ask:
                found = ask("GET", f"/runs?queue={QUEUE}&limit=5")["runs"]
                if found:
                    newest = chance.choice(found)["id"]
                    if chance.random() < 0.15:
                        ended = ask("POST", f"/runs/{newest}/cancel", {"reason": "chaos"})["run"]
                        if ended["status"] == "cancelled":
                            log.write("cancelled", run_id=uuid_of(newest))
                            self._open -= 1
            if newest is None:
                continue
            heard: list[tuple[int, str]] = []
            over = False
            while not over and not self._ended.is_set():
                with self._connected(log, "listen", chance, timeout=LEASE * 3) as ask:
                    for event in self._listen(newest, heard[-1][0] if heard else 0, chance):
                        heard.append(event)
                        if self._ended.is_set():
                            break
                    else:
                        over = True
                self._ended.wait(0.05)
            log.write("heard", run_id=uuid_of(newest), events=heard)

    def _listen(self, wire_id: str, after: int, chance: random.Random) -> Iterator[tuple[int, str]]:
        """(seq, type) of the events after one, until the run ends; an error if the line breaks."""
        url = f"http://127.0.0.1:{chance.choice(self.ports)}/runs/{wire_id}/events?until=end"
        with (
            plain_client(timeout=LEASE * 3) as client,
            client.stream("GET", url, headers={"last-event-id": str(after)}) as answer,
        ):
            if answer.status_code != 200:
                raise httpx.RemoteProtocolError(f"events: {answer.status_code}")
            ends = False
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    ends = event["type"] in ("run.completed", "run.failed", "run.cancelled")
                    yield event["seq"], event["type"]
            if not ends:
                raise httpx.RemoteProtocolError("a gateway that ends closes its streams")

    @contextlib.contextmanager
    def _connected(
        self,
        log: Log,
        doing: str,
        chance: random.Random,
        *,
        prefix: str = "",
        timeout: float = LEASE * 4,
    ) -> Iterator[Any]:
        """A way to ask one of the gateways; what the campaign breaks is written down."""
        base = f"http://127.0.0.1:{chance.choice(self.ports)}"
        with plain_client(base_url=base, timeout=timeout) as client:

            def ask(
                method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
            ) -> Any:
                answer = client.request(method, prefix + path, json=body, headers=headers)
                if answer.status_code == 200:
                    return answer.json()
                said = answer.json() if answer.content else {}
                if answer.status_code == 409 and said.get("code") in LOST:
                    raise Refused(said["code"])
                if answer.status_code == 503:
                    raise httpx.RemoteProtocolError(f"{answer.status_code} {said}")
                log.write(
                    "error",
                    doing=f"{method} {path}",
                    sqlstate=answer.status_code,
                    message=str(said),
                )
                raise Refused(answer.status_code)

            try:
                yield ask
            except httpx.TransportError as error:
                log.write("unknown", doing=f"http {doing}", sqlstate=type(error).__name__)
                time.sleep(0.05)
            except Refused as refusal:
                log.write("refused", doing=f"http {doing}", sqlstate=str(refusal))
