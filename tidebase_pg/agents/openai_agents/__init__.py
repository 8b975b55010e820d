"""OpenAI Agents inside runs: model answers and tool calls are steps, approvals are gates."""

from tidebase_pg.agents.openai_agents.runs import durable_tool, run_agent
from tidebase_pg.agents.openai_agents.sessions import TideSession

__all__ = ["TideSession", "durable_tool", "run_agent"]
