"""Stores of pydantic-ai-harness on Postgres: steps of runs, and memories."""

from tidebase_pg.agents.harness.memories import TideMemoryStore
from tidebase_pg.agents.harness.steps import TideStepStore

__all__ = ["TideMemoryStore", "TideStepStore"]
