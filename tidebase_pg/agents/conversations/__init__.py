"""Conversations of agents, one row per item, so that a thousand turns cost a thousand turns."""

from tidebase_pg.agents.conversations.store import (
    AsyncConversations,
    ConversationItem,
    Conversations,
)

__all__ = ["AsyncConversations", "ConversationItem", "Conversations"]
