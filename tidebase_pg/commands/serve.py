"""The command that opens the HTTP door: serve."""

from __future__ import annotations

import ipaddress
import logging
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from tidebase_pg import admin
from tidebase_pg.commands.connect import LENGTH
from tidebase_pg.commands.output import Command, Failure, dsn, echo_fact
from tidebase_pg.commands.signals import ended

if TYPE_CHECKING:
    from tidebase_pg.server.serving import Program

MISSING: Final = "the HTTP door is not installed; run: pip install 'tidebase-pg[server]'"


@click.command(cls=Command)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port; default $PORT, else 7373.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes."
)
@click.option(
    "--pool-size",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="Connections of a process to the database for each login.",
)
@click.option(
    "--lease", type=LENGTH, help="Of begin and claim; default $TIDEBASE_LEASE_MS, else 5m."
)
@click.option("--cors-origin", help="Who may ask from a browser; default $TIDEBASE_CORS_ORIGIN.")
@click.option("--max-body", type=click.IntRange(1024), help="Bytes of a request; default 4 MiB.")
@click.option("--rate", type=click.FloatRange(0.1), help="Requests a second for each key.")
@click.option("--trust-proxy", multiple=True, help="An address whose X-Forwarded-For is believed.")
@click.option("--install", is_flag=True, help="Bring the schema up to date first.")
@click.option("--no-reconcile", is_flag=True, help="Leave the background work to others.")
@click.option("--no-deliver", is_flag=True, help="Leave sending webhooks to others.")
@click.option("--no-studio", is_flag=True, help="Serve no pages.")
@click.option("--read-only", is_flag=True, help="Pages that show and do nothing.")
@click.option(
    "--base-path", default="", help="Where a proxy puts all of it: /tide, which it cuts off."
)
@click.option(
    "--user-header", help="The header in which a proxy names whom it let in to the pages."
)
@click.option("--user-role", default="all", show_default=True, help="What they may do there.")
@click.option("--insecure-open", is_flag=True, help="Serve everybody, without a key.")
def serve(install: bool, **options: Any) -> None:
    """Serve HTTP to Tidebase's SDKs, browsers and programs in any language.

    The shared key is $TIDEBASE_API_KEY. Keys of `tidebase-pg keys` are served by the logins of
    $TIDEBASE_DSN_CLIENT, _WORKER, _OPERATOR, _VIEWER and _APPROVER, for those that are set.
    SIGTERM ends it: requests may finish, event streams are closed.
    Needs: pip install 'tidebase-pg[server]'

    \b
    Example:
      tidebase-pg serve --host 0.0.0.0 --port 8000
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    program = prepare(dsn(), **options)
    if install or os.environ.get("TIDEBASE_AUTO_MIGRATE") == "1":
        admin.install(dsn())
    program.check()
    stop = ended(by_force=False)
    echo_fact(f"serving {program.url}", url=program.url)
    program.run(stop)


def prepare(
    database: str,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    workers: int = 1,
    pool_size: int = 10,
    lease: timedelta | None = None,
    cors_origin: str | None = None,
    max_body: int | None = None,
    rate: float | None = None,
    trust_proxy: tuple[str, ...] = (),
    no_reconcile: bool = False,
    no_deliver: bool = False,
    no_studio: bool = False,
    read_only: bool = False,
    base_path: str = "",
    user_header: str | None = None,
    user_role: str = "all",
    insecure_open: bool = False,
) -> Program:
    """What to serve. Raises Failure for a door that would be open to more than this machine."""
    try:
        from tidebase_pg.server import serving
        from tidebase_pg.server.settings import Settings
    except ImportError as error:
        raise Failure(MISSING) from error
    environment = os.environ
    settings = Settings(
        dsn=database,
        role_dsns=serving.role_dsns(),
        api_key=environment.get("TIDEBASE_API_KEY") or None,
        cors_origin=cors_origin or environment.get("TIDEBASE_CORS_ORIGIN") or "*",
        lease=lease or serving.lease(environment.get("TIDEBASE_LEASE_MS")),
        pool_size=pool_size,
        max_body=max_body or Settings().max_body,
        rate_per_key=rate,
        trusted_proxies=frozenset(trust_proxy),
        studio_read_only=read_only,
        user_header=user_header,
        user_role=user_role,
    )
    if settings.open_to_all and not insecure_open and not is_loopback(host):
        raise Failure(
            f"listening on {host} without a key serves everybody: set TIDEBASE_API_KEY, "
            "listen on 127.0.0.1, or say --insecure-open"
        )
    return serving.Program(
        settings=settings,
        host=host,
        port=port or _port(environment.get("PORT")),
        workers=workers,
        reconcile=not no_reconcile,
        deliver=not no_deliver,
        studio=not no_studio,
        base_path=_path(base_path),
    )


def _path(given: str) -> str:
    if given and (not given.startswith("/") or given.endswith("/") or "//" in given):
        raise Failure(f"--base-path {given[:60]!r} is no path: give one like /tide")
    return given


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _port(given: str | None) -> int:
    if not given:
        return 7373
    if not given.isascii() or not given.isdecimal() or not 0 < int(given) < 65536:
        raise Failure(f"PORT = {given[:40]!r} is no port: give 1 to 65535")
    return int(given)


COMMANDS: Final = [serve]
