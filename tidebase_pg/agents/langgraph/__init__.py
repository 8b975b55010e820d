"""LangGraph on Postgres: savers that are complete and grow linearly, and graphs inside runs."""

from tidebase_pg.agents.langgraph.runs import run_graph, step_node
from tidebase_pg.agents.langgraph.saver import AsyncTideSaver, TideSaver
from tidebase_pg.agents.langgraph.store import AsyncTideStore, TideStore

__all__ = [
    "AsyncTideSaver",
    "AsyncTideStore",
    "TideSaver",
    "TideStore",
    "run_graph",
    "step_node",
]
