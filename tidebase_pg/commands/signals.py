"""How commands that run on are ended: Ctrl-C and SIGTERM."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Final

_ENDING: Final = (signal.SIGINT, signal.SIGTERM)


def ended(*, by_force: bool) -> threading.Event:
    """Set by the first signal. `by_force`: a second ends the program where it stands."""
    event = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        event.set()
        if by_force:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    for number in _ENDING:
        signal.signal(number, end)
    return event
