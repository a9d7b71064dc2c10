"""The shadows: arms that see what is asked beside the answers, and never answer."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("ekiben")
MAX_WATCHED = 256  # requests that may wait for a shadow; more are dropped and counted


class Watcher:
    """One thread that lets the shadows see requests, and drops what they are too slow for."""

    def __init__(self, watch: Callable[[Any], None]) -> None:
        self._waiting: queue.Queue[Any] = queue.Queue(MAX_WATCHED)
        self._watch = watch
        self._ends = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="ekiben-shadows")
        self._thread.start()

    def submit(self, seen: Any) -> bool:
        """Let the thread see a request; False where too many wait for it, or it has ended."""
        if self._ends:
            return False
        try:
            self._waiting.put_nowait(seen)
        except queue.Full:
            return False
        return True

    def _run(self) -> None:
        while (seen := self._waiting.get()) is not None:
            self._watch(seen)
            if self._ends and self._waiting.empty():
                return

    def close(self, timeout_s: float = 5) -> None:
        """Let it finish what waits, and end it; one that is too slow to be waited for ends when it has finished."""
        self._ends = True
        try:
            self._waiting.put(None, timeout=timeout_s)
        except queue.Full:
            logger.warning("the shadows were too slow to finish; %d requests wait", self._waiting.qsize())
            return
        self._thread.join(timeout_s)
