"""The pages, and the paths they have."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import BaseRoute, Route

from tidebase_pg.server.studio.application import Front
from tidebase_pg.server.studio.pages import (
    acts,
    allowances,
    bulk,
    failures,
    gates,
    installation,
    lanes,
    live,
    login,
    overview,
    queues,
    run,
    runs,
    schedules,
    webhooks,
    written,
)


def routes(front: Front) -> Sequence[BaseRoute]:
    """Every path of Studio."""

    def get(path: str, handler: object) -> Route:
        return Route(path, front.page(handler), methods=["GET"])  # type: ignore[arg-type]

    def post(path: str, handler: object, *, decides: bool = False) -> Route:
        return Route(path, front.action(handler, decides=decides), methods=["POST"])  # type: ignore[arg-type]

    return [
        Route("/login", front.open(login.login), methods=["GET", "POST"]),
        Route("/logout", front.open(login.logout), methods=["POST"]),
        Route("/theme", front.open(login.theme), methods=["POST"]),
        get("/", overview.overview),
        get("/runs", runs.runs),
        post("/runs/bulk", bulk.prepare),
        post("/runs/bulk/go", bulk.go),
        get("/runs/{run_id:uuid}", run.run),
        get("/runs/{run_id:uuid}/events", run.events),
        get("/runs/{run_id:uuid}/step", run.step),
        get("/runs/{run_id:uuid}/state", run.state),
        get("/runs/{run_id:uuid}/stream", written.download),
        get("/runs/{run_id:uuid}/fork", run.fork),
        get("/runs/{run_id:uuid}/payload/{part}", run.payload),
        post("/runs/{run_id:uuid}/cancel", acts.cancel),
        post("/runs/{run_id:uuid}/retry", acts.retry),
        post("/runs/{run_id:uuid}/reschedule", acts.reschedule),
        post("/runs/{run_id:uuid}/revoke", acts.revoke),
        post("/runs/{run_id:uuid}/budget", acts.budget),
        post("/runs/{run_id:uuid}/event", acts.event),
        post("/runs/{run_id:uuid}/resolve", acts.resolve),
        post("/runs/{run_id:uuid}/fork", acts.fork),
        get("/failures", failures.failures),
        get("/gates", gates.gates),
        Route("/gates/{gate_id:uuid}", front.open(gates.gate), methods=["GET", "POST"]),
        get("/queues", queues.queues),
        get("/queues/{queue:path}", queues.queue),
        post("/queues/{queue:path}", queues.change),
        get("/allowances", allowances.allowances),
        get("/lanes", lanes.lanes),
        get("/lanes/{lane:path}", lanes.lane),
        post("/lanes/{lane:path}", lanes.change),
        get("/schedules", schedules.schedules),
        get("/schedules/preview", schedules.preview),
        get("/schedules/{name:path}", schedules.schedule),
        post("/schedules/{name:path}", schedules.change),
        get("/workers", installation.workers),
        get("/webhooks", webhooks.webhooks),
        post("/webhooks", webhooks.redeliver),
        get("/doctor", installation.doctor),
        post("/doctor/pause", installation.pause),
        post("/doctor/resume", installation.resume),
        get("/live", live.pages),
        get("/live/runs/{run_id:uuid}", live.run),
    ]
