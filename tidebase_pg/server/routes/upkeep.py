"""Routes about the gateway and the installation."""

from __future__ import annotations

from datetime import timedelta

from tidebase_pg import calls
from tidebase_pg.errors import SchemaError
from tidebase_pg.server import bodies, objects
from tidebase_pg.server.objects import encode
from tidebase_pg.server.prometheus import exposition
from tidebase_pg.server.refusals import translate
from tidebase_pg.server.routing import Ask, Topic
from tidebase_pg.server.streams import Answer

topic = Topic("upkeep")

UPKEEP_AGE = timedelta(minutes=1)


@topic.route("GET", "/health", open=True)
async def health(ask: Ask) -> objects.Health:
    """Whether the gateway is there; touches no database and needs no key."""
    return objects.Health()


@topic.route("GET", "/ready", open=True, errors=(503,))
async def ready(ask: Ask) -> objects.Ready | Answer:
    """Whether requests can be served: the database is reached, its schema fits, upkeep is younger
    than a minute. Needs no key."""
    problems: list[str] = []
    if ask.gateway.draining:
        problems.append("this gateway is ending")
    try:
        found = await ask.gateway.upkeep.execute(calls.health())
        age = found.last_reconcile_age
        if age is None or age > UPKEEP_AGE:
            problems.append("upkeep has not run for a minute")
    except SchemaError:
        problems.append("the schema does not fit: run tidebase-pg status")
    except Exception as error:
        if translate(error) is None:
            raise
        problems.append("the database cannot be reached")
    if problems:
        return Answer(
            503,
            encode(objects.Ready(ok=False, problems=problems)),
            {"content-type": "application/json", "retry-after": "1"},
        )
    return objects.Ready(ok=True)


@topic.route("GET", "/metrics", media="text/plain")
async def metrics(ask: Ask) -> Answer:
    """Queues, lanes and upkeep as Prometheus reads them."""
    queues = await ask(calls.queue_stats)
    times = await ask(calls.run_time_buckets)
    lanes = await ask(calls.list_lanes)
    upkeep = await ask(calls.health)
    return Answer(
        200,
        exposition(queues, times, lanes, upkeep, ask.gateway).encode(),
        {"content-type": "text/plain; version=0.0.4; charset=utf-8"},
    )


@topic.route("GET", "/openapi.json")
async def openapi(ask: Ask) -> Answer:
    """This document: every route, from the declarations that validate."""
    return Answer(200, ask.gateway.document(), {"content-type": "application/json"})


@topic.route("GET", "/installation/changes")
async def list_changes(ask: Ask, query: bodies.ListChanges) -> objects.SettingChanges:
    """Who changed which settings, and what was set before, newest first."""
    rows = await ask(
        calls.list_setting_changes,
        kind=query.kind,
        name=query.name,
        before_change=query.before,
        max_changes=query.limit,
    )
    found = [objects.SettingChange.of(row) for row in rows]
    return objects.SettingChanges(found, found[-1].id if len(found) == query.limit else None)


@topic.route("POST", "/installation/pause", optional_body=True)
async def pause(ask: Ask, body: bodies.Pause) -> objects.Paused:
    """Pause the whole installation: nothing is claimed, fired or sent; what runs goes on."""
    await ask(calls.pause, reason=body.reason, actor=ask.actor)
    return objects.Paused(True)


@topic.route("POST", "/installation/resume", optional_body=True, errors=(409,))
async def resume(ask: Ask) -> objects.Paused:
    """Let a paused installation go on."""
    await ask(calls.resume, actor=ask.actor)
    return objects.Paused(False)
