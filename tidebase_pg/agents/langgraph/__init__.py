"""LangGraph on Postgres: savers that are complete and grow linearly, and graphs inside runs."""

from tidebase_pg.agents.langgraph.runs import run_graph, step_node
from tidebase_pg.agents.langgraph.saver import AsyncTideSaver, TideSaver
from tidebase_pg.agents.langgraph.store import AsyncTideStore, TextIndex, TideStore
from tidebase_pg.agents.langgraph.vectors import VectorIndex, VectorsUnavailable

__all__ = [
    "AsyncTideSaver",
    "AsyncTideStore",
    "TextIndex",
    "TideSaver",
    "TideStore",
    "VectorIndex",
    "VectorsUnavailable",
    "run_graph",
    "step_node",
]
