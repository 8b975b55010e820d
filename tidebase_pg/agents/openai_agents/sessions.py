"""Sessions of OpenAI Agents: conversations that outlive runs, the same in every attempt of one."""

from __future__ import annotations

import uuid
from typing import Any, Final, cast

from agents import SessionSettings, TResponseInputItem

from tidebase_pg import AsyncRun
from tidebase_pg.agents.conversations import AsyncConversations

STEP: Final = "session"


class TideSession:
    """A conversation in Postgres, for `run_agent(…, session=…)` and for `Runner.run`.

    >>> session = TideSession("ann", conversations)
    >>> result = await run_agent(run, agent, "And tomorrow?", session=session)
    """

    def __init__(
        self,
        session_id: str,
        conversations: AsyncConversations,
        *,
        session_settings: SessionSettings | None = None,
    ) -> None:
        self.session_id = session_id
        self.session_settings = session_settings
        self.conversations = conversations

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        return await self._read(limit=limit)

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        if items:
            await self.conversations.append(self.session_id, items)

    async def pop_item(self) -> TResponseInputItem | None:
        removed = await self.conversations.remove_last(self.session_id)
        return cast("TResponseInputItem | None", removed)

    async def clear_session(self) -> None:
        await self.conversations.delete(self.session_id)

    async def _read(
        self, *, through: int | None = None, limit: int | None = None
    ) -> list[TResponseInputItem]:
        rows = await self.conversations.read(self.session_id, through=through, limit=limit)
        return [row.item for row in rows]


class DurableSession:
    """A session as one run sees it: what was said before the run, and what the run adds, once."""

    def __init__(self, session: TideSession, key: str, through: int) -> None:
        self.session_id = session.session_id
        self.session_settings = session.session_settings
        self._session = session
        self._key = key
        self._through = through
        self._appends = 0
        self._added: list[tuple[str, TResponseInputItem]] = []

    @classmethod
    async def begin(cls, run: AsyncRun, session: TideSession) -> DurableSession:
        """Note where the conversation stands: later attempts see the same of it."""

        async def stand() -> dict[str, Any]:
            through = await session.conversations.last_position(session.session_id)
            return {"through": through, "key": uuid.uuid4().hex}

        stood = await run.step(STEP, stand, input={"session": session.session_id})
        # A fork has the steps of its run, and is another run.
        return cls(session, f"{run.id}:{stood['key']}", stood["through"])

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        own = [item for _, item in self._added]
        if limit is None:
            return await self._session._read(through=self._through) + own
        before = max(limit - len(own), 0)
        earlier = await self._session._read(through=self._through, limit=before) if before else []
        return earlier + own[max(len(own) - limit, 0) :]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        if not items:
            return
        self._appends += 1
        key = f"{self._key}:{self._appends}"
        await self._session.conversations.append(self.session_id, items, key=key)
        self._added += [(f"{key}:{place}", item) for place, item in enumerate(items, 1)]

    async def pop_item(self) -> TResponseInputItem | None:
        if not self._added:
            raise self._refusal("item to take back")
        key, item = self._added.pop()
        await self._session.conversations.remove(self.session_id, key)
        return item

    async def clear_session(self) -> None:
        raise self._refusal("session to clear")

    def _refusal(self, what: str) -> RuntimeError:
        return RuntimeError(
            f"session {self.session_id!r} has no {what} inside of run_agent but what the run has "
            "added: a later attempt must find what was said before; change it in a step of your own"
        )
