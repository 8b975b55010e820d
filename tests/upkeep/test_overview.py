"""What the first page of a console shows."""

from __future__ import annotations

from tests.studio.scene import furnish
from tests.support import Connection, value


def test_the_overview_says_what_needs_a_look(connection: Connection) -> None:
    scene = furnish(connection, minutes=8)
    seen = value(connection, "select tide.overview()")
    assert seen["people"]["review"]["runs"] == 1
    assert seen["people"]["review"]["oldest"][0]["run_id"] == str(scene.runs["review"])
    assert seen["people"]["budget"]["oldest"][0]["run_id"] == str(scene.runs["budget"])
    assert seen["parked"] == {"gate": 3, "budget": 1, "review": 1}
    assert seen["gates"]["pending"] == 4
    assert [gate["gate_id"] for gate in seen["gates"]["oldest"]] == [
        str(scene.gates[name]) for name in ("refund", "publish", "settle", "block")
    ]
    crm = next(
        f for f in seen["failures"] if f["failure_class"] == "error" and f["workflow"] == "sync-crm"
    )
    assert (crm["runs"], crm["newest_run"]) == (5, str(scene.runs["failed-4"]))
    assert {row["workflow"]: row["runs"] for row in seen["running"]} == {
        "generate-report": 1,
        "deep-research": 1,
    }
    assert seen["budgets"] == [
        {"run_id": str(scene.runs["report"]), "workflow": "generate-report", "share": 0.844}
    ]
    assert seen["health"]["dead_deliveries"] == 1
    assert seen["workers"]["alive"] == 3
    assert (sum(seen["served"].values()), "translations" in seen["served"]) == (3, False)
    assert [lane["lane"] for lane in seen["throttled"]] == ["openai"]


def test_the_overview_of_an_empty_installation_is_calm(connection: Connection) -> None:
    seen = value(connection, "select tide.overview()")
    assert (seen["running"], seen["failures"], seen["people"], seen["parked"]) == ([], [], {}, {})
    assert seen["gates"] == {"pending": 0, "oldest": []}


def test_the_overview_holds_no_payload(connection: Connection) -> None:
    furnish(connection, minutes=0)
    text = str(value(connection, "select tide.overview()"))
    for secret in ("Refund order", "Aurélie", "HTTP 502", "secret-path", "Bay of Fundy"):
        assert secret not in text
