"""LangGraph on Postgres: savers that are complete and grow linearly."""

from tidebase_pg.agents.langgraph.saver import AsyncTideSaver, TideSaver

__all__ = ["AsyncTideSaver", "TideSaver"]
