"""A small house at work: queues, runs in every state, decisions, schedules, webhooks.

Made by public functions alone, so what the pages show is what a user's database would hold.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from tests.support import Connection, one, value

REPORT = {
    "topic": "tides of the Bay of Fundy",
    "audience": "harbour masters",
    "sources": [
        {"title": "Canadian Tide and Current Tables", "year": 2026, "trusted": True},
        {"title": "Resonance in the Gulf of Maine", "year": 1972, "trusted": True},
    ],
    "length": {"words": 1200, "sections": 5},
}


STREAMED = {
    "text": [
        "The Bay of Fundy has the largest tides on earth: at Burntcoat Head the water rises and ",
        "falls by up to 16 metres, twice a day.\n\nThe bay is as long as a quarter of the tidal ",
        "wave, so each flood meets the one before it",
    ],
    "progress": [{"done": 1, "of": 3}, {"done": 2, "of": 3}],
}


class Scene:
    """The runs by name: `scene.runs["report"]`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.runs: dict[str, UUID] = {}
        self.gates: dict[str, UUID] = {}
        self.tokens: dict[str, str] = {}

    def call(self, function: str, **arguments: Any) -> Any:
        given = ", ".join(f"{name} => %s" for name in arguments)
        values = [
            Jsonb(v) if isinstance(v, dict | list) and name != "queues" else v
            for name, v in arguments.items()
        ]
        return one(self.connection, f"select * from tide.{function}({given})", *values)

    def enqueue(self, name: str, workflow: str, queue: str, **options: Any) -> UUID:
        run_id: UUID = self.call("enqueue", workflow=workflow, queue=queue, **options).run_id
        self.runs[name] = run_id
        return run_id

    def claim(self, queue: str, worker: str, workflows: list[str] | None = None) -> Any:
        return one(
            self.connection,
            "select * from tide.claim(%s, 1, '10 minutes', %s, %s)",
            [queue],
            worker,
            workflows,
        )

    def step(self, run: Any, name: str, output: Any = None, **contract: Any) -> None:
        begun = value(
            self.connection,
            "select action from tide.begin_step(%s, %s, %s, null, %s)",
            run.run_id,
            run.lease_id,
            name,
            Jsonb(contract),
        )
        if begun == "execute":
            self.connection.execute(
                "select tide.complete_step(%s, %s, %s, %s)",
                (run.run_id, run.lease_id, name, Jsonb(output)),
            )

    def begin(self, run: Any, name: str, **contract: Any) -> None:
        self.connection.execute(
            "select tide.begin_step(%s, %s, %s, null, %s)",
            (run.run_id, run.lease_id, name, Jsonb(contract)),
        )

    def fail(self, run: Any, message: str, **options: Any) -> None:
        error = {
            "type": options.pop("type", "RuntimeError"),
            "message": message,
            "traceback": "Traceback (most recent call last):\n"
            '  File "agents/report.py", line 88, in send\n'
            "    response = await client.post(url, json=body)\n"
            f"RuntimeError: {message}\n",
        }
        self.call("fail", run_id=run.run_id, lease_id=run.lease_id, error=error, **options)


def furnish(connection: Connection, minutes: int = 40) -> Scene:
    """Fill a database: finished work of the last hour, and one run of each kind under way."""
    scene = Scene(connection)
    settings = {
        "reports": {"concurrency": 8, "max_attempts": 3},
        "emails": {"rate_limit": 60, "rate_period": "1 minute"},
        "research": {"concurrency": 4},
        "billing": {"paused": True},
    }
    for queue, chosen in settings.items():
        scene.call("set_queue", queue=queue, settings=chosen)
    scene.call("set_allowance", scope="team:search", unit="usd", amount=50)
    scene.call("set_lane", lane="openai", settings={"total": 20, "per_key": 2})
    scene.call(
        "throttle", lane="openai", until=datetime.now(UTC) + timedelta(hours=3), reason="status 429"
    )
    finished(scene, minutes)
    working(scene)
    deciding(scene)
    waiting(scene)
    failing(scene)
    scheduling(scene)
    sending(scene)
    return scene


def finished(scene: Scene, minutes: int) -> None:
    """Runs that ended, their ends spread over the last hours as upkeep counts them."""
    connection = scene.connection
    for queue, workflow, number in (
        ("emails", "send-digest", minutes),
        ("reports", "generate-report", minutes // 2),
        ("research", "deep-research", minutes // 4),
    ):
        for at in range(number):
            scene.enqueue(f"{workflow}-{at}", workflow, queue, input={"number": at})
            run = scene.claim(queue, f"worker-{at % 3 + 1}@harbour", [workflow])
            if at % 9 == 4:
                scene.fail(run, "the mail server closed the connection", retryable=False)
            else:
                scene.step(run, "collect", {"rows": at * 3})
                scene.call(
                    "complete", run_id=run.run_id, lease_id=run.lease_id, result={"sent": True}
                )
    connection.execute(
        """
        insert into tide.queue_minutes (queue, minute, completed, failed, cancelled)
        select
          q.queue,
          date_trunc('minute', clock_timestamp()) - m.number * interval '1 minute',
          (q.size * (1 + sin(m.number / 160.0)) * (1 + 0.3 * sin(m.number / 7.0)))::integer,
          case when m.number % 37 = 5 then q.size / 3 else 0 end,
          case when m.number % 211 = 9 then 1 else 0 end
        from (values ('emails', 42), ('reports', 11), ('research', 3)) as q(queue, size)
        cross join generate_series(1, 1439) as m(number)
        on conflict do nothing
        """
    )


def working(scene: Scene) -> None:
    """A report on its second attempt, with children; research that runs beside it."""
    scene.enqueue(
        "report",
        "generate-report",
        "reports",
        input=REPORT,
        metadata={"customer": "acme", "tier": "gold"},
        budget={"max_cost_usd": 2.5, "max_tokens": 400000},
        priority=10,
    )
    first = scene.claim("reports", "worker-1@harbour", ["generate-report"])
    scene.step(first, "plan", {"sections": ["origin", "extremes", "navigation"]})
    scene.begin(first, "draft", side_effects=["read"])
    scene.fail(first, "model overloaded, try again later", retry_after=timedelta(0))
    report = scene.claim("reports", "worker-2@harbour", ["generate-report"])
    scene.step(report, "plan")
    scene.step(report, "draft", {"words": 1204, "model": "large"}, side_effects=["read"])
    for edge in ("sources", "figures"):
        spawned = scene.call(
            "spawn",
            run_id=report.run_id,
            lease_id=report.lease_id,
            edge=edge,
            workflow="deep-research",
            input={"about": edge},
            queue="research",
        )
        scene.runs[edge] = spawned.child_id
    scene.step(
        report,
        "illustrate",
        {"figures": 3},
        side_effects=["storage.put"],
        idempotency_key="figures:1",
    )
    for state in (
        {"status": "planning", "progress": 0.1},
        {"status": "writing", "progress": 0.6, "section": "extremes"},
        {"status": "writing", "progress": 0.7, "section": "navigation", "words": 800},
    ):
        scene.call("set_state", run_id=report.run_id, value=state, lease_id=report.lease_id)
    scene.connection.execute(
        "select tide.record_usage(%s, kind => 'llm', step => 'draft', model => 'large', "
        "input_tokens => 182000, output_tokens => 9200, cost_usd => 2.11)",
        (report.run_id,),
    )
    scene.begin(report, "review-language", side_effects=["read"])
    for stream, chunks in STREAMED.items():
        scene.connection.execute(
            "select tide.append_stream(%s, %s, %s, %s, step => 'review-language')",
            (report.run_id, report.lease_id, stream, Jsonb(chunks)),
        )
    for topic in ("neap tides", "storm surges"):
        fork = scene.call(
            "fork_run", run_id=report.run_id, at_step="draft", input=REPORT | {"topic": topic}
        )
        scene.runs[topic] = fork.run_id
        scene.call("cancel", run_id=fork.run_id, reason="not needed", actor="mira")
    child = scene.claim("research", "worker-3@harbour", ["deep-research"])
    scene.step(child, "search", {"hits": 42})
    scene.begin(child, "read", side_effects=["read"])


REPLY = {
    "type": "object",
    "required": ["amount", "reason", "notify", "address"],
    "properties": {
        "amount": {"type": "number", "minimum": 0, "maximum": 500, "title": "Amount in EUR"},
        "reason": {"enum": ["broken", "late", "goodwill"], "title": "Reason"},
        "notify": {"type": "boolean", "title": "Tell the customer"},
        "address": {
            "type": "object",
            "title": "Where it goes",
            "required": ["city"],
            "properties": {
                "city": {"type": "string", "maxLength": 60, "title": "City"},
                "zip": {"type": ["string", "null"], "maxLength": 10, "title": "Code"},
            },
        },
        "items": {"type": "array", "items": {"type": "string"}, "maxItems": 3, "title": "Items"},
        "parcels": {"type": "integer", "title": "Parcels", "description": "How many came back."},
        "extra": {"type": "object", "title": "Anything else"},
    },
}
"""What an answer looks like; each kind of field a form has."""


def deciding(scene: Scene) -> None:
    """Gates that wait for people: two plain ones, and a run that asks two at once, one of them
    with a form and by several."""
    asked = (
        (
            "refund",
            "refund-customer",
            "Refund order 8812 (412.50 EUR)?",
            {
                "order": 8812,
                "amount": "412.50 EUR",
                "customer": "Aurélie Dupont",
                "reason": "arrived broken",
                "previous_refunds": 0,
            },
            timedelta(hours=4),
        ),
        (
            "publish",
            "publish-post",
            "Publish “Spring tides, explained” to the blog?",
            {"title": "Spring tides, explained", "words": 1180, "channel": "blog"},
            None,
        ),
    )
    for name, workflow, prompt, data, timeout in asked:
        scene.enqueue(name, workflow, "reports", input={"for": name}, priority=50)
        run = scene.claim("reports", "worker-1@harbour", [workflow])
        scene.step(run, "prepare", {"ready": True})
        gate = scene.call(
            "open_gate",
            run_id=run.run_id,
            lease_id=run.lease_id,
            name="approve",
            prompt=prompt,
            data=data,
            timeout=timeout,
        )
        scene.gates[name] = gate.gate_id
        scene.tokens[name] = gate.token
        scene.call("await_gate", run_id=run.run_id, lease_id=run.lease_id, gate_id=gate.gate_id)
    returning(scene)


def returning(scene: Scene) -> None:
    """A run that asks how much to pay back, which takes two people, and whether to block."""
    scene.enqueue("return", "settle-return", "reports", input={"order": 9120}, priority=50)
    run = scene.claim("reports", "worker-1@harbour", ["settle-return"])
    asked = {
        "settle": (
            "How do we settle the return of order 9120?",
            {
                "answer": REPLY,
                "quorum": 2,
                "assignees": ["ann", "bob", "mira", "mira-approver", "mira-operator"],
                "escalate_after": "3 hours",
                "escalate_to": ["chief"],
            },
        ),
        "block": ("Block the customer from further returns?", {}),
    }
    for name, (prompt, rules) in asked.items():
        gate = scene.call(
            "open_gate",
            run_id=run.run_id,
            lease_id=run.lease_id,
            name=name,
            prompt=prompt,
            data={"order": 9120, "paid": "412.50 EUR", "returns_this_year": 3},
            rules=rules,
        )
        scene.gates[name] = gate.gate_id
        scene.tokens[name] = gate.token
    scene.call(
        "decide_gate",
        gate_id=scene.gates["settle"],
        decision="approved",
        actor="ann",
        payload={
            "amount": 120, "reason": "broken", "notify": True, "address": {"city": "Brest"},
        },
        comment="A partial refund is enough: the lamp works, its box was torn.",
    )  # fmt: skip
    scene.call(
        "await_gate",
        run_id=run.run_id,
        lease_id=run.lease_id,
        gate_id=scene.gates["settle"],
    )


def waiting(scene: Scene) -> None:
    """Ready, delayed, held up by a pause, without a worker, in review, beyond a budget."""
    for number in range(14):
        scene.enqueue(f"mail-{number}", "send-digest", "emails", input={"to": number})
    scene.enqueue("later", "send-digest", "emails", delay=timedelta(hours=2))
    for number in range(3):
        scene.enqueue(f"invoice-{number}", "send-invoice", "billing", input={"invoice": number})
    scene.enqueue("orphan", "translate", "translations", input={"text": "ebb"})

    scene.enqueue("review", "charge-card", "reports", priority=60, max_attempts=2)
    run = scene.claim("reports", "worker-1@harbour", ["charge-card"])
    scene.step(run, "quote", {"amount": 120})
    scene.begin(run, "charge", side_effects=["card.charge"])
    scene.call(
        "fail_step",
        run_id=run.run_id,
        lease_id=run.lease_id,
        name="charge",
        error={"type": "TimeoutError", "message": "no answer from the bank in 30 s"},
    )

    scene.enqueue("budget", "deep-research", "research", priority=90, budget={"max_cost_usd": 0.5})
    run = scene.claim("research", "worker-3@harbour", ["deep-research"])
    scene.step(run, "search", {"hits": 7})
    scene.connection.execute(
        "select tide.record_usage(%s, kind => 'llm', model => 'large', cost_usd => 0.61)",
        (run.run_id,),
    )
    scene.begin(run, "read")


def failing(scene: Scene) -> None:
    """Failures of three kinds."""
    for number in range(5):
        scene.enqueue(f"failed-{number}", "sync-crm", "default", metadata={"tenant": f"t{number}"})
        run = scene.claim("default", "worker-2@harbour", ["sync-crm"])
        scene.begin(run, "push", side_effects=["read"])
        scene.fail(
            run,
            f"HTTP 502 from crm.example for tenant t{number}",
            retryable=False,
            type="HTTPStatusError",
        )
    scene.enqueue("bad-input", "sync-crm", "default")
    run = scene.claim("default", "worker-2@harbour", ["sync-crm"])
    scene.fail(
        run, "tenant is missing", retryable=False, failure_class="bad_input", type="ValueError"
    )
    scene.enqueue("cancelled", "generate-report", "reports")
    scene.call("cancel", run_id=scene.runs["cancelled"], reason="customer left", actor="mira")


def scheduling(scene: Scene) -> None:
    """A schedule that fires, one that is paused, one in another zone."""
    scene.call(
        "set_schedule",
        name="daily-digest",
        cron="0 9 * * *",
        workflow="send-digest",
        queue="emails",
        time_zone="Europe/Paris",
    )
    scene.call("set_schedule", name="crm-sync", cron="*/15 * * * *", workflow="sync-crm")
    scene.call(
        "set_schedule",
        name="month-end",
        cron="30 23 28-31 * *",
        workflow="send-invoice",
        queue="billing",
        time_zone="America/New_York",
        overlap="skip",
    )
    scene.call("fire_schedule", name="daily-digest")
    scene.call("pause_schedule", name="month-end")


def sending(scene: Scene) -> None:
    """Webhooks: one delivered, one dead, one to be sent."""
    connection = scene.connection
    for name, host in (
        ("hook-ok", "hooks.example"),
        ("hook-dead", "gone.example"),
        ("hook-due", "slow.example"),
    ):
        scene.enqueue(
            name,
            "notify",
            "emails",
            priority=90,
            channels=[{"url": f"https://{host}/in/secret-path"}],
        )
        if name == "hook-due":
            continue
        for _ in range(20):
            taken = connection.execute("select * from tide.claim_deliveries(10)").fetchall()
            if not taken:
                break
            for delivery in taken:
                connection.execute(
                    "select * from tide.finish_delivery(%s, %s, %s, %s)",
                    (
                        delivery.delivery_id,
                        delivery.lease_id,
                        200 if name == "hook-ok" else 410,
                        json.dumps({"seen": True}),
                    ),
                )
