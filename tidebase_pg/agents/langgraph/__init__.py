"""LangGraph on Postgres: savers that are complete and grow linearly, and graphs inside runs."""

from tidebase_pg.agents.langgraph.runs import run_graph, step_node
from tidebase_pg.agents.langgraph.saver import AsyncTideSaver, TideSaver

__all__ = ["AsyncTideSaver", "TideSaver", "run_graph", "step_node"]
