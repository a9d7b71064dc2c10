"""What is told of each request: its id, the trace it belongs to, and its line in the access log."""

from __future__ import annotations

import atexit
import math
import os
import random
import re
import sys
import threading
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from time import monotonic

import msgspec

from ekiben.loops import loops

GATHERED_S = 0.2  # how long what was told may wait to be written
MOST_BYTES = 20_000_000  # of lines; more are dropped: a reader that has stopped must not fill the memory
SELDOM_S, MOST_WORDS = 1.0, 64
WHOLE_BYTES = 4096  # what a pipe takes in one piece, so that the lines of two workers do not mix
# Version 00 has these four parts; a later one may add some; ff is none.
_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_ids: deque[str] = deque()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.clear)


def new_id() -> str:
    """Make an id of 32 hex digits that nobody can guess and no other process makes.

    >>> len(new_id()), new_id() == new_id()
    (32, False)
    """
    try:
        return _ids.pop()
    except IndexError:  # many are drawn at once: asking the system costs more than the digits
        drawn = os.urandom(16 * 256).hex()
        _ids.extend(drawn[i : i + 32] for i in range(32, len(drawn), 32))
        return drawn[:32]


def trace_of(traceparent: bytes | None) -> str:
    """Give the trace that a `traceparent` header names; empty when it names none.

    >>> trace_of(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    '4bf92f3577b34da6a3ce929d0e0e4736'
    >>> trace_of(b"00-0-0-01")
    ''
    """
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if found is None:
        return ""
    form, trace, parent, more = found.groups()
    is_one = form != b"ff" and not (form == b"00" and more) and trace.strip(b"0") and parent.strip(b"0")
    return trace.decode() if is_one else ""


class Seldom:
    """A log of what may come with every request: the same words at most once a second, then with how often they were kept back.

    Examples
    --------
    >>> log = Seldom(print, clock=iter([0.0, 0.1, 0.2, 1.5]).__next__)
    >>> for _ in range(4):
    ...     log("there is no room")
    there is no room
    there is no room (2 times more)
    """

    def __init__(self, write: Callable[[str], object], clock: Callable[[], float] = monotonic) -> None:
        self._write, self._clock, self._lock = write, clock, threading.Lock()
        self._known: dict[str, tuple[float, int]] = {}  # when each was told last, and how often it was kept back since

    def __call__(self, words: str) -> None:
        """Tell words, or count that they were kept back."""
        now = self._clock()
        with self._lock:
            at, n = self._known.get(words, (-math.inf, 0))
            if now - at < SELDOM_S:
                self._known[words] = at, n + 1
                return
            if len(self._known) >= MOST_WORDS:
                self._known.clear()
            self._known[words] = now, 0
        self._write(f"{words} ({n} times more)" if n else words)


class Line(msgspec.Struct, frozen=True, gc=False):
    """One request in the access log: what came of it, and never a value of it."""

    time: datetime
    id: str
    endpoint: str
    arm: str
    model: str
    status: int
    code: str
    ms: float
    rows: int
    trace: str


Count = Callable[
    [str, str, str, Sequence[float]], object
]  # an endpoint, an arm, a code, and the seconds of each request


class AccessLog:
    """Tell each request in one line of JSON on standard output, in bulk from a thread of its own, within 0.2 s.

    A line is written out when it is told: what waits is plain bytes, and a request leaves no objects behind.

    Parameters
    ----------
    share
        Which share of the good answers is told, from 0 to 1; refusals always are.
    write
        Where whole lines go, a few at a time; by default standard output.
    count
        Called in bulk with what came of all requests, also of those that no sample takes; it never waits.

    Examples
    --------
    >>> from datetime import UTC
    >>> log = AccessLog(write=lambda text: print(text, end=""))
    >>> at = datetime(2026, 11, 26, tzinfo=UTC)
    >>> log.tell(Line(at, "0" * 32, "predict", "champion", "models:/risk/1", 200, "ok", 0.012, 1, ""))
    >>> log.close()
    {"time":"2026-11-26T00:00:00Z","id":"00000000000000000000000000000000","endpoint":"predict","arm":"champion",\
"model":"models:/risk/1","status":200,"code":"ok","ms":0.012,"rows":1,"trace":""}
    """

    def __init__(
        self, share: float = 1.0, write: Callable[[str], object] | None = None, count: Count | None = None
    ) -> None:
        self._share, self._count = share, count
        self._write = _print if write is None else partial(_in_pieces, write)
        self._lines = bytearray()
        self._seconds: dict[tuple[str, str, str], array[float]] = {}
        self._taking, self._writing = threading.Lock(), threading.Lock()
        self._some, self._closing, self._sleeps, self._is_closed = threading.Event(), threading.Event(), False, False
        self.n_dropped = 0
        self._thread = threading.Thread(target=self._run, daemon=True, name="ekiben-access-log")
        self._thread.start()
        atexit.register(self.close)

    def tell(self, line: Line) -> None:
        """Take one request's line; it never waits."""
        with self._taking:
            if line.code != "ok" or self._share >= 1 or random.random() < self._share:  # noqa: S311 -- a sample is no secret
                self._put(line)
            key = (line.endpoint, line.arm, line.code)
            if (seconds := self._seconds.get(key)) is None:
                seconds = self._seconds[key] = array("d")
            seconds.append(line.ms / 1000)
        if self._sleeps:
            self._some.set()
        elif self._is_closed:
            self.flush()

    def _put(self, line: Line) -> None:
        lines = self._lines
        if len(lines) >= MOST_BYTES:
            self.n_dropped += 1
            return
        _encode_into(line, lines, len(lines))
        lines += b"\n"

    def settle(self) -> None:
        """Count what was told, now; its lines are written when the writer comes to them."""
        with self._taking:
            told, self._seconds = self._seconds, {}
        if self._count is not None:
            for key, seconds in told.items():
                self._count(*key, seconds)

    def flush(self) -> None:
        """Count and write what was told, now."""
        self.settle()
        if not self._writing.acquire(timeout=GATHERED_S if self._is_closed else -1):
            return  # the thread waits for a reader that has stopped: whoever ends cannot
        try:
            with self._taking:
                lines, self._lines = self._lines, bytearray()
            with suppress(OSError, ValueError):  # nobody reads it any more: no reason to fail
                self._write(lines)
        finally:
            self._writing.release()

    def close(self) -> None:
        """Write what was told, and end the thread; what is told later is written at once."""
        atexit.unregister(self.close)
        self._is_closed = True
        self._closing.set()
        self._some.set()
        self._thread.join(GATHERED_S)
        self.flush()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._sleeps = True
            if not self._seconds:  # looked at only now: who tells something from here on wakes us
                self._some.wait()
            self._sleeps = False
            self._closing.wait(GATHERED_S)
            self._some.clear()
            self.flush()


_encode_into = msgspec.json.Encoder().encode_into


def _in_pieces(write: Callable[[str], object], lines: bytearray) -> None:
    """Write lines in pieces that a pipe takes whole; a line that is longer is a piece of its own."""
    start = 0
    while start < len(lines):
        end = lines.rfind(b"\n", start, start + WHOLE_BYTES)
        if end < 0:
            end = lines.index(b"\n", start)
        write(lines[start : end + 1].decode())
        start = end + 1


def _print(lines: bytearray) -> None:
    """Write lines on standard output; in one go where that can be, since each piece takes the interpreter from who answers."""
    out = sys.__stdout__
    if loops is None or out is None or out is not sys.stdout:
        _in_pieces(_say, lines)
    else:
        out.flush()
        loops.written(out.fileno(), lines, WHOLE_BYTES)


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
