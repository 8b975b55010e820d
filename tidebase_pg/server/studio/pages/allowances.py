"""Allowances: what tenants and teams may spend, and what is left."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from tidebase_pg import calls
from tidebase_pg.server.studio.application import Visit
from tidebase_pg.types import ListedAllowance

SHOWN: Final = 200


async def allowances(visit: Visit) -> Response:
    """Every allowance: those that are about to end first."""
    found = await visit.look("allowances", calls.list_allowances())
    found = sorted(found, key=lambda one: (-share(one), one.scope, one.unit, one.per))
    return visit.page("allowances.html", allowances=found[:SHOWN], all=len(found))


def share(allowance: ListedAllowance) -> float:
    """How much of it is spent or reserved; 1 = nothing is left."""
    taken = allowance.spent + allowance.reserved
    return float(taken / allowance.amount) if allowance.amount else 1.0
