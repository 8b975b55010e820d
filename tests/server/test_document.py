"""docs/http.md lists the routes there are; its rows come from the declarations."""

from __future__ import annotations

from typing import Any

from msgspec import NODEFAULT, structs

from tests.servers import ROOT
from tidebase_pg.server.routes import table
from tidebase_pg.server.routing import Route

PAGE = ROOT / "docs" / "http.md"


def taken(kind: Any) -> str:
    if kind is None:
        return ""
    return ", ".join(
        field.encode_name + ("" if required(field) else "?") for field in structs.fields(kind)
    )


def required(field: structs.FieldInfo) -> bool:
    return field.default is NODEFAULT and field.default_factory is NODEFAULT


def row(route: Route) -> str:
    query = taken(route.query)
    given = " · ".join(part for part in (taken(route.body), query and f"query {query}") if part)
    summary = " ".join(route.summary.split())
    return f"| `{route.method} {route.path}` | {given} | {summary} |"


def test_the_page_lists_every_route_as_it_is_declared() -> None:
    rows = [row(route) for route in table().routes]
    shown = PAGE.read_text(encoding="utf-8").partition("## Routes")[2].splitlines()
    listed = [line for line in shown if line.startswith("| `")]
    assert listed == rows, "\n".join(rows)
