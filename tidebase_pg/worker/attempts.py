"""What becomes of an attempt: what to settle for an answer or an error, and what the log says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from tidebase_pg import flows
from tidebase_pg.errors import BadPayload, Snooze
from tidebase_pg.flows import Outcome
from tidebase_pg.registry import Registry, Workflow
from tidebase_pg.types import LeasedRun
from tidebase_pg.worker.active_run import ActiveRun
from tidebase_pg.worker.batches import Batch

logger: Final = logging.getLogger("tidebase_pg.worker")

Ended = tuple[ActiveRun, Outcome | None]
"""A run whose function has returned; without an outcome nothing is recorded."""


def begins(leased: LeasedRun) -> None:
    if not logger.isEnabledFor(logging.INFO):
        return
    logger.info(
        "run %s of %s, attempt %d of %d, begins",
        leased.run_id,
        leased.workflow,
        leased.attempt,
        leased.max_attempts,
        extra=facts(leased),
    )


def facts(leased: LeasedRun) -> dict[str, object]:
    """What structured logs say of a run."""
    return {
        "run_id": str(leased.run_id),
        "workflow": leased.workflow,
        "attempt": leased.attempt,
    }


def unrecorded(run_id: UUID, record: Mapping[str, Any], error: Exception) -> None:
    """What a run used is in the log at least."""
    logger.error(
        "what run %s used could not be recorded, %s: %s", run_id, record, flows.one_line(error)
    )


def returned(run: ActiveRun, result: Any, registry: Registry) -> Outcome | None:
    """What to settle for the answer of a workflow."""
    leased = run.leased
    if run.stop is not None:
        logger.info(
            "run %s of %s dropped: %s",
            leased.run_id,
            leased.workflow,
            run.stop,
            extra=facts(leased),
        )
        return None
    try:
        outcome = flows.completed(leased, result, registry.codec)
    except BadPayload as error:
        logger.warning(
            "run %s of %s failed: %s", leased.run_id, leased.workflow, error, extra=facts(leased)
        )
        return flows.failed(leased, flows.bad_output(error))
    if logger.isEnabledFor(logging.INFO):
        logger.info("run %s of %s completed", leased.run_id, leased.workflow, extra=facts(leased))
    return outcome


def raised(run: ActiveRun, error: BaseException) -> Outcome | None:
    """What to settle for an error of a workflow; nothing when the run is no longer held."""
    leased = run.leased
    if run.stop is not None:
        logger.info(
            "run %s of %s dropped: %s",
            leased.run_id,
            leased.workflow,
            run.stop,
            extra=facts(leased),
        )
        return None
    if isinstance(error, asyncio.CancelledError):
        error = RuntimeError("the task of the workflow was cancelled from within")
    said = flows.verdict_of(error)
    if isinstance(said, Snooze):
        logger.info(
            "run %s of %s runs again after %s: %s",
            leased.run_id,
            leased.workflow,
            said.after,
            said,
            extra=facts(leased),
        )
        return flows.released(leased, said)
    failure = flows.failure(error)
    logger.warning(
        "run %s of %s, attempt %d of %d, failed: %s: %s\n%s",
        leased.run_id,
        leased.workflow,
        leased.attempt,
        leased.max_attempts,
        failure.error["type"],
        failure.error["message"],
        flows.account(error),
        extra=facts(leased),
    )
    return flows.failed(leased, failure)


def begun_together(
    batch: Batch, registry: Registry, report: Callable[[ActiveRun, Outcome | None], None]
) -> tuple[Workflow, list[ActiveRun], list[Any]] | None:
    """The runs of a batch that begin, and their inputs; those that stopped meanwhile, or whose
    input does not fit, are reported. None when no run is left."""
    runs: list[ActiveRun] = []
    inputs: list[Any] = []
    workflow = registry.of_run(batch.runs[0].leased.workflow)
    for run in batch.runs:
        if run.stop is None:
            try:
                inputs.append(workflow.given(run.leased, registry.codec))
            except BadPayload as error:
                run.end()
                report(run, flows.failed(run.leased, flows.bad_input(error)))
            else:
                runs.append(run)
                begins(run.leased)
        else:
            run.end()
            report(run, None)
    return (workflow, runs, inputs) if runs else None


def answered(runs: Sequence[ActiveRun], found: Sequence[Any], registry: Registry) -> list[Ended]:
    """What to settle for the answers a workflow gave for a batch."""
    return [
        (
            run,
            raised(run, answer)
            if isinstance(answer, BaseException)
            else returned(run, answer, registry),
        )
        for run, answer in zip(runs, found, strict=True)
    ]


def raised_together(runs: Sequence[ActiveRun], error: BaseException) -> list[Ended]:
    """What to settle when a workflow answered nothing for a batch: an error is that of every run,
    but the end of some hands the others back, for another batch."""
    if not isinstance(error, Exception) and any(run.stop is not None for run in runs):
        return handed_back(runs)
    return [(run, raised(run, error)) for run in runs]


def handed_back(runs: Sequence[ActiveRun]) -> list[Ended]:
    """Those that are still held come again, and the attempt does not count."""
    return [(run, None if run.stop is not None else flows.released(run.leased)) for run in runs]
