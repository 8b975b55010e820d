"""Reconcile again and again, through a database that is gone for a while."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import psycopg

from tidebase_pg.client.failures import may_pass, pauses
from tidebase_pg.flows import one_line

logger: Final = logging.getLogger("tidebase_pg.reconciler")


def reports(
    reconcile: Callable[[], dict[str, Any]], every: float, ended: threading.Event
) -> Iterator[dict[str, Any]]:
    """What each call did, `every` so many seconds, until the event is set.

    Raises what no repetition will mend, and whatever the first call raises.
    """
    reached = False
    trouble: Iterator[float] | None = None
    while not ended.is_set():
        try:
            report = reconcile()
        except psycopg.Error as error:
            if not reached or not may_pass(error):
                raise
            if trouble is None:
                logger.warning("reconcile goes on trying: %s", one_line(error))
                trouble = pauses()
            ended.wait(next(trouble))
            continue
        if trouble is not None:
            logger.info("reconcile reaches the database again")
            trouble = None
        reached = True
        yield report
        ended.wait(every)
