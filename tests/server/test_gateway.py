"""What every request meets before its route."""

from __future__ import annotations

import httpx

from tidebase_pg.server import app


async def test_a_segment_of_the_path_is_one_name(dsn: str) -> None:
    application = app(dsn)
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        made = await client.post("/runs/team%2Freport", json={"input": {"a": 1}})
        listed = await client.get("/w/host-1/runs")
    await application.state.gateway.close()
    assert made.status_code == 200
    assert made.json()["run"]["workflowName"] == "team/report"
    assert [run["id"] for run in listed.json()["runs"]] == [made.json()["run"]["id"]]
