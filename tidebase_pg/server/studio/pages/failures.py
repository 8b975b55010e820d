"""Failures: what failed alike, since when and how often; from there all of a kind are retried."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from starlette.responses import Response

from tidebase_pg import calls
from tidebase_pg.display import moment
from tidebase_pg.errors import InvalidArgument
from tidebase_pg.server.studio.application import Visit
from tidebase_pg.server.studio.pages.runs import SPANS, read_filters

NOBODY: dict[str, Any] = {"groups": [], "next": None, "looked": 0}


async def failures(visit: Visit) -> Response:
    """Kinds of failure, most runs first. Who may not read errors sees none."""
    given = {name: value for name, value in visit.request.query_params.items() if value}
    wrong = None
    page = NOBODY
    filters: dict[str, Any] = {}
    try:
        filters = read_filters(given, visit.sees_payloads)
        filters.pop("status", None)
        filters.pop("waiting_on", None)
        before = UUID(given["before"]) if given.get("before") else None
        if visit.sees_payloads:
            key = ("failures", json.dumps(filters, sort_keys=True), before)
            page = await visit.look(key, calls.error_groups(filters=filters, before=before))
    except (InvalidArgument, ValueError) as error:
        wrong, filters = str(error), {}
    seen = await visit.look("overview", calls.overview())
    groups = [
        {
            **group,
            "first_at": moment(group["first_at"]),
            "last_at": moment(group["last_at"]),
            "filters": {**filters, "status": "failed", "fingerprint": group["fingerprint"]},
        }
        for group in page["groups"]
    ]
    return visit.page(
        "failures.html",
        now=moment(seen["now"]),
        groups=groups,
        page=page,
        given={name: given[name] for name in given if name != "before"},
        wrong=wrong,
        spans={span: name for span, (name, _) in SPANS.items()},
    )
