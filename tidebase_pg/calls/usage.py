"""Calls about what runs spend and may spend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from tidebase_pg.call import Call, call, truth
from tidebase_pg.documents import encode, optional
from tidebase_pg.types import AllowanceRow, ListedAllowance, PriceRow, RunRow, UsageRow
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
    list_cost_usd: Decimal | float | None = None,
) -> Call[UsageRow]:
    """Record what a run spent, also after it ended; total_tokens = input + output unless given,
    negative amounts are 22023, the same request_key counts once. With its lease_id a worker
    renews its lease. Without cost_usd it costs what set_price says, else list_cost_usd.
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
        list_cost_usd=list_cost_usd,
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


def set_price(
    provider: str,
    model: str,
    input_usd: Decimal | float | None,
    output_usd: Decimal | float | None,
    *,
    actor: str | None = None,
) -> Call[PriceRow]:
    """Set what a model of a provider, or of any (*), costs in dollars for a million tokens; null
    for both removes it. Usage recorded from then on without cost_usd is priced by it.
    """
    found = call(
        "set_price",
        PriceRow.columns(),
        PriceRow.one,
        provider=provider,
        model=model,
        input_usd=input_usd,
        output_usd=output_usd,
        actor=actor,
    )
    # Null says something here, so that it is no argument to leave out.
    prices = {"input_usd": None, "output_usd": None} | dict(found.arguments)
    return replace(found, arguments=prices)


def list_prices() -> Call[list[PriceRow]]:
    """The own prices of models, by provider and model."""
    return call("list_prices", PriceRow.columns(), PriceRow.many)


def set_allowance(
    scope: str,
    unit: str,
    amount: Decimal | float,
    *,
    per: str | None = None,
    time_zone: str | None = None,
    estimate: Decimal | float | None = None,
    actor: str | None = None,
) -> Call[AllowanceRow]:
    """Set what the runs of a scope may spend together: amount of unit (usd, tokens, or a unit of
    quantities) per window: null = ever, day, month, or an interval such as 5 hours; days and months
    begin in time_zone, UTC unless given. estimate is what a step reserves that has none of its own,
    a hundredth unless given. What is spent and reserved stays so. Runs that wait go on if enough is
    left now.
    """
    return call(
        "set_allowance",
        AllowanceRow.columns(),
        AllowanceRow.one,
        scope=scope,
        unit=unit,
        amount=amount,
        per=per,
        time_zone=time_zone,
        estimate=estimate,
        actor=actor,
    )


def drop_allowance(
    scope: str, unit: str, *, per: str | None = None, actor: str | None = None
) -> Call[bool]:
    """Remove an allowance; false = there was none. Its runs stay, from now on it limits nothing,
    and those that wait for it go on, a thousand at once and the others by upkeep.
    """
    return call(
        "drop_allowance",
        "drop_allowance",
        truth,
        scope=scope,
        unit=unit,
        per=per,
        actor=actor,
    )


def list_allowances(*, scopes: Sequence[str] | None = None) -> Call[list[ListedAllowance]]:
    """The allowances, of all scopes or of some: amount, and in the window from began_at to
    resets_at what is spent, reserved by steps under way and left_over; how many runs wait, counted
    to 10001.
    """
    return call(
        "list_allowances",
        ListedAllowance.columns(),
        ListedAllowance.many,
        scopes=scopes,
    )
