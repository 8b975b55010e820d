"""The schema `tide_langgraph`, where savers and stores keep what they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tidebase_pg.agents.schemas import Schema

SCHEMA: Final = Schema(
    "tide_langgraph", "Checkpoints and memories of LangGraph", Path(__file__).parent / "sql"
)
