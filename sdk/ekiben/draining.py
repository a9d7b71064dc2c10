"""A service's last seconds: it is not ready any more, and still answers, until its balancer has heard of it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from starlette.types import Message, Send

from ekiben.errors import SpecError

logger = logging.getLogger("bentoml.ekiben")

SECONDS = "EKIBEN_DRAIN_S"  # how long a service that is told to end goes on answering
DEFAULT_S = 3.0
LONGEST_S = 3600.0

Handler = Callable[[int, FrameType | None], Any]


class Drain:
    """Whether this process is about to end, and what becomes of the signal that says so.

    Parameters
    ----------
    seconds
        How long to go on answering after SIGTERM, before the server closes its door and finishes what it has taken.

    Attributes
    ----------
    has_begun
        Whether the process is not ready any more.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.has_begun = seconds, False

    def stand_before(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hear of SIGTERM before the server does: called in its loop, once it listens to signals itself."""
        server = signal.getsignal(signal.SIGTERM)
        if not self.seconds or threading.current_thread() is not threading.main_thread() or not callable(server):
            return
        told: Handler = server

        def begin(number: int, frame: FrameType | None) -> None:
            if self.has_begun:  # told twice: now
                told(number, frame)
                return
            self.has_begun = True
            logger.info("not ready any more; answering for %g s, then ending", self.seconds)
            loop.call_soon_threadsafe(loop.call_later, self.seconds, told, number, None)

        signal.signal(signal.SIGTERM, begin)

    def closing(self, send: Send) -> Send:
        """Let each caller come by a new connection next time, which the balancer takes elsewhere."""

        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        return send_and_close


def seconds() -> float:
    """Read from the environment for how long a service that is told to end goes on answering.

    Raises
    ------
    SpecError
        If it is no number of seconds from 0 to 3600.
    """
    told = os.environ.get(SECONDS) or DEFAULT_S
    try:
        found = float(told)
    except ValueError:
        found = -1
    if not 0 <= found <= LONGEST_S:
        raise SpecError(f"{SECONDS} must be a number of seconds from 0 to {LONGEST_S:g}. Got another value.")
    return found
