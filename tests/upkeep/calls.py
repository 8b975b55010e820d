"""Every public function once, with arguments that are right: what it needs is made on the way.

A function without a scene here fails `test_every_public_function_has_a_scene`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from tests.runs.acts import MINUTE, Tide

Arguments = dict[str, Any]
Scene = Callable[[Tide], Arguments]

CHANNEL = [{"type": "webhook", "url": "https://example.com/told"}]


def after(scene: object, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
    """The arguments of a call that is to find what a scene has made."""
    assert scene
    return arguments or {}


def own(run: Any, **more: Any) -> Arguments:
    """What a worker gives of a run it holds."""
    return {"run_id": run.run_id, "lease_id": run.lease_id, **more}


def held(tide: Tide, **more: Any) -> Arguments:
    return own(tide.started(max_attempts=3, input={"n": 1}), **more)


def stepped(tide: Tide, **more: Any) -> Arguments:
    """A held run in the midst of a step."""
    call = held(tide)
    tide.begin_step(**call, name="plan", contract={"side_effects": ["mail"]})
    return call | {"name": "plan"} | more


def reviewed(tide: Tide) -> Arguments:
    """A run parked until an operator decides about its step."""
    call = stepped(tide)
    tide.fail_step(**call)
    return {"run_id": call["run_id"], "name": "plan", "decision": "retry"}


def asked(tide: Tide, **more: Any) -> Any:
    """A held run and the gate it has opened."""
    call = held(tide)
    gate = tide.open_gate(**call, name="approve", prompt="Send it?", **more)
    return call, gate


def waiting_at_gate(tide: Tide) -> Arguments:
    call, gate = asked(tide)
    return call | {"gate_id": gate.gate_id}


def recoverable(tide: Tide) -> Arguments:
    """A plain run whose application can be asked to resume it."""
    run = tide.create_run(workflow="report", recovery_url="https://example.com/resume")
    return {"run_id": run.run_id, "reason": "by hand"}


def lost(tide: Tide) -> Arguments:
    """A report by a worker that lost its run."""
    run = tide.started(max_attempts=3)
    tide.cancel(run_id=run.run_id)
    tide.retry(run_id=run.run_id)
    return {
        "run_id": run.run_id,
        "kind": "fail",
        "worker": "w1",
        "lost_lease_id": run.lease_id,
        "error": {"message": "no"},
    }


def parent(tide: Tide) -> Arguments:
    call = held(tide)
    tide.spawn(**call, edge="first", workflow="part", queue="parts")
    return call


def streamed(tide: Tide) -> Arguments:
    run_id = tide.enqueue(workflow="report").run_id
    tide.set_state(run_id=run_id, value={"n": 1})
    return {"run_id": run_id}


def failed(tide: Tide) -> Arguments:
    run = tide.started()
    tide.fail(**own(run), retryable=False)
    return {"run_id": run.run_id}


def finished_step(tide: Tide) -> Arguments:
    call = held(tide)
    tide.begin_step(**call, name="plan")
    tide.complete_step(**call, name="plan", output=1)
    tide.complete(**call)
    return {"run_id": call["run_id"], "at_step": "plan"}


def scheduled(tide: Tide) -> Arguments:
    tide.set_schedule(name="daily", cron="0 9 * * mon-fri", workflow="report")
    return {"name": "daily"}


def allowed(tide: Tide) -> Arguments:
    tide.set_allowance(scope="tenant:a", unit="usd", amount="1.5")
    return {"scope": "tenant:a", "unit": "usd"}


def delivered(tide: Tide) -> Arguments:
    """A delivery on its way."""
    tide.enqueue(workflow="report", channels=CHANNEL)
    (delivery,) = tide.claim_deliveries()
    return {"delivery_id": delivery.delivery_id, "lease_id": delivery.lease_id}


def dead(tide: Tide) -> Arguments:
    call = delivered(tide)
    tide.finish_delivery(**call, http_status=410)
    return {"delivery_id": call["delivery_id"]}


def granted(tide: Tide) -> Arguments:
    tide.grant_queue(queue="closed", role="tide_worker")
    return {"queue": "closed", "role": "tide_worker"}


def queued(tide: Tide, **more: Any) -> Arguments:
    return {"run_id": tide.enqueue(workflow="report").run_id, **more}


def settled(tide: Tide) -> list[Arguments]:
    call = held(tide)
    return [{"run_id": str(call["run_id"]), "lease_id": str(call["lease_id"]), "result": 1}]


def gate_with_token(tide: Tide) -> Arguments:
    _, gate = asked(tide)
    return {"gate_id": gate.gate_id, "token": gate.token, "decision": "approved"}


def beat(tide: Tide) -> Arguments:
    call = held(tide)
    return {"run_ids": [call["run_id"]], "lease_ids": [call["lease_id"]], "lease": 2 * MINUTE}


def step_report(tide: Tide) -> Arguments:
    call = held(tide)
    report = {name: str(given) for name, given in call.items()}
    return {"reports": [report | {"name": "plan", "begin": True, "complete": True, "output": 1}]}


def streaming(tide: Tide) -> Arguments:
    call = held(tide, stream="words")
    tide.call("append_stream", **call, chunks=["a", "b"])
    return {"run_id": call["run_id"], "stream": "words"}


def sha256(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


SCENES: dict[str, Scene] = {
    "adopt": lambda tide: {"mode": "skip_missed"},
    "await_children": parent,
    "await_event": lambda tide: held(tide, name="paid", timeout="1 day"),
    "await_gate": waiting_at_gate,
    "await_work": lambda tide: {"worker": "w1", "duration": "10 seconds"},
    "begin_run": lambda tide: {"run_id": tide.create_run(workflow="report").run_id},
    "begin_step": lambda tide: held(tide, name="plan", input={"n": 1.0}),
    "cancel": queued,
    "cancel_children": lambda tide: {"run_id": parent(tide)["run_id"]},
    "cancel_many": lambda tide: after(queued(tide), {"workflow": "report"}),
    "claim": lambda tide: after(queued(tide), {"lease": "2 minutes"}),
    "claim_deliveries": lambda tide: (
        {"max_deliveries": 5} if tide.enqueue(workflow="report", channels=CHANNEL) else {}
    ),
    "complete": lambda tide: held(tide, result={"a": "\\ü'"}),
    "complete_step": lambda tide: stepped(tide, output={"a": [1.5]}),
    "create_run": lambda tide: {
        "workflow": "report",
        "deadline": "2 days",
        "recovery_url": "https://example.com/again",
    },
    "create_snapshot": lambda tide: queued(tide, label="before", state={"n": 1}),
    "decide_gate": lambda tide: {
        "gate_id": asked(tide)[1].gate_id,
        "decision": "approved",
        "actor": "ann",
    },
    "describe_run": lambda tide: {"run_id": parent(tide)["run_id"]},
    "drop_allowance": allowed,
    "drop_lane": lambda tide: {"lane": tide.set_lane(lane="l", settings={}).lane},
    "drop_schedule": scheduled,
    "enqueue": lambda tide: {
        "workflow": "report",
        "delay": "2 days",
        "deadline": "3 days",
        "metadata": {"a": "b\\"},
        "channels": [{"type": "webhook", "url": "https://[2606:4700::1111]:8443/x"}],
    },
    "enqueue_many": lambda tide: {
        "queue": "default",
        "runs": [
            {"workflow": "report", "dedupe_key": "k", "delay": "P2D", "deadline": "3 days"},
            {"workflow": "report", "run_at": "2031-03-04T05:06:07Z", "input": {"n": 1e-7}},
        ],
    },
    "explain_wait": queued,
    "fail": lambda tide: held(tide, error={"message": "no"}, retry_after="1 day"),
    "fail_step": stepped,
    "finish_delivery": lambda tide: delivered(tide) | {"http_status": 204},
    "fire_schedule": scheduled,
    "fork_run": finished_step,
    "get_gate": lambda tide: {"gate_id": asked(tide)[1].gate_id},
    "get_run": queued,
    "get_state": streamed,
    "grant_queue": lambda tide: {"queue": "closed", "role": "tide_worker"},
    "heartbeat": beat,
    "list_child_runs": lambda tide: {"run_id": parent(tide)["run_id"], "max_runs": 9},
    "list_children": lambda tide: {"run_id": parent(tide)["run_id"]},
    "list_deliveries": lambda tide: after(delivered(tide), {"max_deliveries": 9}),
    "list_events": lambda tide: {"run_id": finished_step(tide)["run_id"]},
    "outline_events": lambda tide: {"run_id": finished_step(tide)["run_id"]},
    "list_fires": lambda tide: scheduled(tide) if scheduled(tide) else {},
    "list_runs": lambda tide: after(finished_step(tide), {"status": "completed"}),
    "list_schedules": lambda tide: after(scheduled(tide)),
    "list_snapshots": lambda tide: {"run_id": streamed(tide)["run_id"]},
    "list_prices": lambda tide: {},
    "list_setting_changes": lambda tide: {},
    "list_usage": queued,
    "next_fire": lambda tide: {
        "cron": "*/15 9-17 * * mon-fri",
        "after": "2026-03-08T06:59:00Z",
        "time_zone": "America/New_York",
    },
    "next_wakeup": lambda tide: {},
    "open_gate": lambda tide: held(
        tide, name="approve", prompt="Send it?", timeout="2 days", channels=CHANNEL
    ),
    "patch_state": lambda tide: streamed(tide) | {"patch": {"n": None, "m": 2}},
    "pause": lambda tide: {"reason": "why", "actor": "ann"},
    "pause_schedule": scheduled,
    "prune": lambda tide: after(finished_step(tide), {"older_than": "1 day"}),
    "reconcile": lambda tide: after(scheduled(tide), {"batch": 10}),
    "record_usage": lambda tide: queued(
        tide, kind="tokens", input_tokens=3, cost_usd="0.001", request_key="k"
    ),
    "redeliver": dead,
    "release": lambda tide: held(tide, delay="1 day"),
    "report_steps": step_report,
    "reschedule": lambda tide: queued(tide, run_at="2031-03-04 05:06:07+00"),
    "resolve_gate": gate_with_token,
    "resolve_step": reviewed,
    "resume": lambda tide: {},
    "resume_schedule": lambda tide: {"name": tide.pause_schedule(**scheduled(tide)).schedule},
    "retry": failed,
    "revoke_lease": lambda tide: {"run_id": held(tide)["run_id"], "note": "hangs", "actor": "ann"},
    "revoke_queue": granted,
    "save_state": lambda tide: streamed(tide) | {"label": "kept"},
    "send_event": lambda tide: queued(tide, name="paid", payload={"n": 1}),
    "send_events": lambda tide: {
        "events": [{"run_id": str(queued(tide)["run_id"]), "name": "paid", "payload": {"n": 1}}]
    },
    "set_price": lambda tide: {
        "provider": "acme",
        "model": "small",
        "input_usd": 1,
        "output_usd": 2,
    },
    "set_budget": lambda tide: queued(tide, limits={"max_cost_usd": 1.5}),
    "set_allowance": lambda tide: {"scope": "tenant:a", "unit": "usd", "amount": "2.5"},
    "set_lane": lambda tide: {"lane": "l", "settings": {"total": 2, "per_key": 1}},
    "set_queue": lambda tide: {
        "queue": "q",
        "settings": {
            "concurrency": 2,
            "rate_limit": 3,
            "rate_period": "1 day",
            "retention": "2 days",
            "backoff_base": "5 seconds",
            "push_url": "https://example.com/push",
        },
    },
    "set_retention": lambda tide: {"retention": "30 days"},
    "set_schedule": lambda tide: {
        "name": "daily",
        "cron": "0 9 * * mon-fri",
        "workflow": "report",
        "deadline": "2 days",
    },
    "set_state": lambda tide: queued(tide, value={"n": 1}),
    "set_webhook_secret": lambda tide: {
        "name": "mine",
        "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "keep": "1 day",
    },
    "settle": lambda tide: {"outcomes": settled(tide)},
    "settle_and_claim": lambda tide: {"outcomes": settled(tide)},
    "sign": lambda tide: {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "body": '{"a":"\\"}'},
    "sleep": lambda tide: held(tide, name="nap", duration="2 days"),
    "spawn": lambda tide: held(
        tide, edge="first", workflow="part", queue="parts", options={"delay": "2 days"}
    ),
    "spawn_many": lambda tide: held(
        tide, children=[{"edge": "a", "workflow": "part", "deadline": "2 days"}]
    ),
    "state_versions": streamed,
    "throttle": lambda tide: {
        "lane": tide.set_lane(lane="l", settings={}).lane,
        "until": "2035-01-01Z",
    },
    "version": lambda tide: {},
    "append_stream": lambda tide: held(tide, stream="words", chunks=["a", {"b": "\\"}]),
    "authenticate_key": lambda tide: (
        {"token_hash": sha256(tide.create_key(name="mine", role="client").encode())}
    ),
    "count_runs": lambda tide: after(queued(tide), {"filters": {"status": "queued"}}),
    "create_key": lambda tide: {"name": "mine", "role": "client"},
    "describe_gate": lambda tide: {"gate_id": asked(tide)[1].gate_id},
    "note_gate": lambda tide: {
        "gate_id": asked(tide)[1].gate_id,
        "note": "viewed",
        "actor": "ann",
    },
    "grant_secret": lambda tide: {"name": "mine", "queues": ["q"], "roles": ["tide_client"]},
    "error_groups": lambda tide: after(queued(tide), {"max_groups": 9}),
    "redrive": lambda tide: after(queued(tide), {"filters": {"queue": "q"}}),
    "find_deliveries": lambda tide: after(delivered(tide), {"max_deliveries": 9}),
    "find_runs": lambda tide: after(queued(tide), {"max_runs": 9}),
    "get_step": lambda tide: {"run_id": stepped(tide)["run_id"], "name": "plan"},
    "list_endpoints": lambda tide: after(delivered(tide)),
    "list_gates": lambda tide: after(asked(tide), {"max_gates": 9}),
    "list_keys": lambda tide: after(tide.create_key(name="mine", role="client")),
    "list_allowances": lambda tide: after(allowed(tide)),
    "list_lanes": lambda tide: after(tide.set_lane(lane="l", settings={"total": 1})),
    "list_queues": lambda tide: after(queued(tide)),
    "list_streams": lambda tide: {"run_id": streaming(tide)["run_id"]},
    "list_workers": lambda tide: after(queued(tide) and tide.claim(worker="w1")),
    "next_fires": lambda tide: SCENES["next_fire"](tide),
    "outline_run": lambda tide: {"run_id": stepped(tide)["run_id"]},
    "outline_schedules": lambda tide: after(scheduled(tide)),
    "overview": lambda tide: after(queued(tide)),
    "read_stream": streaming,
    "revoke_key": lambda tide: (
        {"name": "mine"} if tide.create_key(name="mine", role="client") else {}
    ),
    "run_time_buckets": lambda tide: after(queued(tide)),
    "run_times": lambda tide: {"duration": "1 day", "per": "lane"},
    "search_runs": lambda tide: after(queued(tide), {"max_runs": 9}),
    "throughput": lambda tide: {"duration": "1 day", "bucket": "15 minutes"},
    "watch_run": lambda tide: queued(tide, duration="1 minute"),
    "gate_tokens": lambda tide: {"gate_ids": [asked(tide)[1].gate_id]},
    "hold_run": lambda tide: {
        "run_id": tide.started().run_id,
        "worker": "w1",
        "identity": "address",
        "failing": True,
        "error": {"message": "no"},
    },
    "recover": recoverable,
    "refuse_report": lost,
    "renew_run": lambda tide: {"run_id": tide.started().run_id, "lease": "2 minutes"},
    "store_channel_secret": lambda tide: {"secret": "a secret of some length"},
}
