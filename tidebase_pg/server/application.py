"""Puts the door together: routes, pages, upkeep and webhooks beside it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from importlib import import_module, util

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from tidebase_pg.server.background import Background
from tidebase_pg.server.door import Door
from tidebase_pg.server.gateway import Gateway
from tidebase_pg.server.openapi import document
from tidebase_pg.server.routes import table
from tidebase_pg.server.settings import Settings


def app(
    dsn: str | None = None,
    *,
    settings: Settings | None = None,
    reconcile: bool = True,
    deliver: bool = True,
    studio: bool = True,
) -> Starlette:
    """The gateway as an ASGI application, to serve alone or to mount into another.

    `reconcile` and `deliver`: do the background work and send webhooks while it runs; mounted,
    they need the lifespan of the outer application to be passed on.

    >>> application = Starlette(routes=[Mount("/tide", app("postgresql:///app"))])
    """
    chosen = settings or Settings()
    if dsn is not None:
        chosen = replace(chosen, dsn=dsn)
    gateway = Gateway(chosen)
    background = Background(gateway, reconcile=reconcile, deliver=deliver)

    @asynccontextmanager
    async def lifespan(application: Starlette) -> AsyncGenerator[None]:
        await gateway.open()
        async with background:
            yield
        await gateway.close()

    routed = table()
    gateway.document = cache(lambda: document(routed.routes))
    routes: list[BaseRoute] = []
    name = "tidebase_pg.server.studio"
    if studio and util.find_spec(name) is not None:
        pages = import_module(name).studio(
            gateway,
            read_only=chosen.studio_read_only,
            user_header=chosen.user_header,
            user_role=chosen.user_role,
        )
        routes += [Route(path, _to_studio) for path in ("/", "/studio")]
        routes.append(Mount("/studio", pages))
    made = Starlette(routes=routes, lifespan=lifespan)
    # Not mounted: a name may hold what a pattern of paths does not, and end in a slash.
    made.router.redirect_slashes = False
    made.router.default = Door(gateway, routed)
    made.state.gateway = gateway
    return made


async def _to_studio(request: Request) -> Response:
    return RedirectResponse(f"{request.scope.get('root_path', '')}/studio/")
