"""pydantic-ai agents as durable runs: each model request and tool call is a step of the run."""

from pydantic_ai.durable_exec import ExternalEventError

from tidebase_pg.agents.pydantic_ai.conversations import TideConversationStore
from tidebase_pg.agents.pydantic_ai.durability import (
    StepOptions,
    TideApprovals,
    TideDurability,
    idempotency_key,
    refuse,
    resolve,
    running,
)

__all__ = [
    "ExternalEventError",
    "StepOptions",
    "TideApprovals",
    "TideConversationStore",
    "TideDurability",
    "idempotency_key",
    "refuse",
    "resolve",
    "running",
]
