"""How a worker is told to end, and how it ends what works beside it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from typing import Final

from tidebase_pg.client.async_connections import AsyncPinnedConnection
from tidebase_pg.client.connections import PinnedConnection
from tidebase_pg.client.limits import cut
from tidebase_pg.webhooks.dispatcher import Dispatcher
from tidebase_pg.worker.renewal import LeaseRenewer
from tidebase_pg.worker.ticker import Ticker

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
ENDING: Final = 1.0
"""Seconds the threads beside a worker have at its end."""
LAST_REPORTS: Final = 2.0
"""Seconds a worker that was stopped twice waits for the server."""


def takes_signals(asked: bool | None) -> bool:
    """Whether a worker stops at signals: in the main thread, where nothing else waits for them
    unless it was asked to."""
    if asked is False or threading.current_thread() is not threading.main_thread():
        return False
    return asked is True or signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def end_dispatcher(dispatcher: Dispatcher | None, *, hurried: bool) -> None:
    """Let what is being sent come to its end, unless there is hurry: then it is sent again."""
    if dispatcher is None:
        return
    if hurried:
        dispatcher.end()
    else:
        dispatcher.stop()


def end_threads(renewer: LeaseRenewer, ticker: Ticker | None) -> None:
    """Give the threads beside the worker a moment to give their connections back."""
    renewer.join(ENDING)
    if ticker is not None:
        ticker.join(ENDING)


def cut_off_soon(pinned: Sequence[PinnedConnection | AsyncPinnedConnection]) -> None:
    """A server that does not take the last reports within a moment is not waited for."""

    def cut_off() -> None:
        for one in pinned:
            if (connection := one.pinned) is not None:
                cut(connection)

    for seconds in (LAST_REPORTS, 2 * LAST_REPORTS):
        timer = threading.Timer(seconds, cut_off)
        timer.daemon = True
        timer.start()
