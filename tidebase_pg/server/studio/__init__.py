"""Studio: the pages where people look, decide and intervene."""

from __future__ import annotations

from starlette.types import ASGIApp

from tidebase_pg.server.gateway import Gateway
from tidebase_pg.server.studio.application import Options, build
from tidebase_pg.server.studio.pages import routes

__all__ = ["Options", "studio"]


def studio(
    gateway: Gateway,
    *,
    read_only: bool = False,
    user_header: str | None = None,
    user_role: str = "all",
) -> ASGIApp:
    """The pages as an ASGI application, to mount at a path of its own.

    `read_only`: no page offers an action, and none is done. `user_header`: a header in which a
    proxy, the only way here, names whom it let in, who then has `user_role`.

    >>> application = Starlette(routes=[Mount("/studio", studio(gateway, read_only=True))])
    """
    return build(gateway, Options(read_only, user_header, user_role), routes)
