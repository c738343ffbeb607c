"""The end of the process, asked for by a signal."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

ASKED_BY = (signal.SIGINT, signal.SIGTERM)


class Ending:
    """Waits for a signal. Made in the main thread.

    A pipe and not a `threading.Event`: Python runs a signal's handler between two instructions of the main thread, and
    an event's lock is not reentrant, so a signal that comes while the main thread enters `wait` would stop it for good.
    """

    def __init__(self, numbers: Sequence[signal.Signals] = ASKED_BY) -> None:
        self._asked, self._ask = os.pipe()
        os.set_blocking(self._ask, False)  # a full pipe has said all that there is to say
        for number in numbers:
            signal.signal(number, self._told)

    def _told(self, *_: object) -> None:
        try:
            os.write(self._ask, b"x")
        except BlockingIOError:
            return

    def wait(self) -> None:
        """Returns when the first signal has come, also when it came before."""
        os.read(self._asked, 1)
