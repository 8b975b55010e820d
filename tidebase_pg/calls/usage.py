"""Calls about what runs spend and may spend."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from tidebase_pg.call import Call, call
from tidebase_pg.documents import encode, optional
from tidebase_pg.types import RunRow, UsageRow
from tidebase_pg.values import RunId


def record_usage(
    run_id: RunId,
    *,
    kind: str | None = None,
    step: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    label: str | None = None,
    quantity: Decimal | float | None = None,
    unit: str | None = None,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    total_tokens: int | None = None,
    cost_usd: Decimal | float | None = None,
    metadata: Mapping[str, Any] | None = None,
    request_key: str | None = None,
    lease_id: UUID | None = None,
) -> Call[UsageRow]:
    """Record what a run spent, also after it ended; total_tokens = input + output unless given,
    negative amounts are 22023, the same request_key counts once. With its lease_id a worker
    renews its lease.
    """
    return call(
        "record_usage",
        UsageRow.columns(),
        UsageRow.one,
        run_id=run_id,
        kind=kind,
        step=step,
        provider=provider,
        model=model,
        label=label,
        quantity=quantity,
        unit=unit,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=total_tokens,
        cost_usd=cost_usd,
        metadata=optional(metadata, "metadata"),
        request_key=request_key,
        lease_id=lease_id,
    )


def list_usage(run_id: RunId, *, max_records: int | None = None) -> Call[list[UsageRow]]:
    """What a run spent, record by record, oldest first."""
    return call(
        "list_usage", UsageRow.columns(), UsageRow.many, run_id=run_id, max_records=max_records
    )


def set_budget(run_id: RunId, limits: Mapping[str, Any] | None) -> Call[RunRow]:
    """Set the limits of a run, {"max_cost_usd", "max_tokens", "max_steps"}, null = none. It and its
    descendants, who may outlive it, go on if they were parked on a budget that now suffices.
    """
    return call(
        "set_budget",
        RunRow.columns(),
        RunRow.one,
        run_id=run_id,
        limits=encode(limits, "limits"),
    )
