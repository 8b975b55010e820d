"""The schema `tide_harness`, where stores of pydantic-ai-harness keep what they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tidebase_pg.agents.schemas import Schema

SCHEMA: Final = Schema(
    "tide_harness", "Runs and memories of pydantic-ai-harness", Path(__file__).parent / "sql"
)
