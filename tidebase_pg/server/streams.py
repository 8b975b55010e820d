"""Answers as they go out: whole ones, and streams of events."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import Receive, Scope, Send


class Answer:
    """One whole answer."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.status = status
        self.body = body
        self.headers = headers

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, extra: Mapping[str, str]
    ) -> None:
        bare = self.status in (204, 304)
        fields = {**self.headers, **extra}
        if not bare:
            fields["content-length"] = str(len(self.body))
        await send(head(self.status, fields))
        sent = b"" if bare or scope["method"] == "HEAD" else self.body
        await send({"type": "http.response.body", "body": sent})


def head(status: int, fields: Mapping[str, str]) -> dict[str, object]:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (name.encode("latin-1"), value.encode("latin-1", "replace"))
            for name, value in fields.items()
        ],
    }
