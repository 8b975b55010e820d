"""The command that opens the HTTP door: serve."""

from __future__ import annotations

import ipaddress
import logging
import os
from datetime import timedelta
from typing import Any, Final

import click

from tidebase_pg import admin
from tidebase_pg.commands.connect import LENGTH
from tidebase_pg.commands.output import Command, Failure, dsn, echo_fact

LOOPBACK: Final = ("localhost", "")
MISSING: Final = "the HTTP door is not installed; run: pip install 'tidebase-pg[server]'"


@click.command(cls=Command)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), envvar="PORT", default=7373,
              show_default=True, show_envvar=True)  # fmt: skip
@click.option("--pool-size", type=click.IntRange(1, 1000), default=10, show_default=True,
              help="Connections to the database for each login.")  # fmt: skip
@click.option("--lease", type=LENGTH, help="Of begin and claim; default $TIDEBASE_LEASE_MS or 5m.")
@click.option("--cors-origin", envvar="TIDEBASE_CORS_ORIGIN", default="*", show_default=True,
              show_envvar=True)  # fmt: skip
@click.option("--install", is_flag=True, help="Bring the schema up to date first.")
@click.option("--no-reconcile", is_flag=True, help="Leave the background work to others.")
@click.option("--no-deliver", is_flag=True, help="Leave sending webhooks to others.")
@click.option("--insecure-open", is_flag=True, help="Serve everybody, without a key.")
def serve(
    host: str,
    port: int,
    pool_size: int,
    lease: timedelta | None,
    cors_origin: str,
    install: bool,
    no_reconcile: bool,
    no_deliver: bool,
    insecure_open: bool,
) -> None:
    """Serve HTTP to Tidebase's SDKs, browsers and programs in any language.

    The shared key is $TIDEBASE_API_KEY. Ends on SIGTERM or Ctrl-C: requests may finish.
    Needs: pip install 'tidebase-pg[server]'
    """
    try:
        import uvicorn

        from tidebase_pg.server import Settings, app
    except ImportError as error:
        raise Failure(MISSING) from error
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    key = os.environ.get("TIDEBASE_API_KEY") or None
    if key is None and not insecure_open and not _is_loopback(host):
        raise Failure(
            f"listening on {host} without a key serves everybody: set TIDEBASE_API_KEY, "
            "listen on 127.0.0.1, or say --insecure-open"
        )
    if install or os.environ.get("TIDEBASE_AUTO_MIGRATE") == "1":
        admin.install(dsn())
    settings = Settings(
        dsn=dsn(),
        api_key=key,
        cors_origin=cors_origin,
        lease=lease or _lease(),
        pool_size=pool_size,
    )
    application = app(settings=settings, reconcile=not no_reconcile, deliver=not no_deliver)
    options: dict[str, Any] = {"host": host, "port": port, "access_log": False, "log_config": None}
    server = uvicorn.Server(uvicorn.Config(application, **options))
    echo_fact(f"http://{host}:{port}", host=host, port=port)
    server.run()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOOPBACK[:1]


def _lease() -> timedelta:
    given = os.environ.get("TIDEBASE_LEASE_MS")
    if given is None:
        return timedelta(minutes=5)
    if not given.isdecimal() or not 1000 <= int(given) <= 86_400_000:
        raise Failure(f"TIDEBASE_LEASE_MS = {given[:40]!r} is not 1000 to 86400000 milliseconds")
    return timedelta(milliseconds=int(given))


COMMANDS: Final = [serve]
