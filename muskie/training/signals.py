"""SIGTERM and SIGINT ask a run to save and leave, which counts as success; a second SIGINT ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any


class StopSignal:
    """While active, remembers the name of the first signal in `received` instead of dying of it."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignal:
        # Python allows handlers in the main thread alone; elsewhere (a notebook's worker) runs go without.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is None:
            self.received = signal.Signals(number).name
            # Not print: the signal may have come in the middle of one.
            os.write(2, f"\n{self.received}: saving after this step (Ctrl-C once more ends at once)\n".encode())
