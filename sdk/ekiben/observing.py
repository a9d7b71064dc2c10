"""What is told of each request: its id, the trace it belongs to, and its line in the access log."""

from __future__ import annotations

import atexit
import os
import random
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")

GATHERED_S = 0.2  # how long what is told may wait to be written
MOST_GATHERED = 100_000  # more is dropped and counted: a reader that has stopped must not fill the memory
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


class Buffer(Generic[T]):
    """Gather what is told, and write it in bulk from a thread of its own, within 0.2 s.

    Parameters
    ----------
    write
        Called with what has gathered, in its order; by one thread at a time.
    name
        The thread's name.

    Examples
    --------
    >>> told = []
    >>> buffer = Buffer(told.extend, name="example")
    >>> buffer.add(1)
    >>> buffer.flush()
    >>> told
    [1]
    >>> buffer.close()
    """

    def __init__(self, write: Callable[[list[T]], object], *, name: str) -> None:
        self._write, self._gathered = write, deque[T]()
        self._some, self._closing, self._writing = threading.Event(), threading.Event(), threading.Lock()
        self.n_dropped = 0
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)
        self._thread.start()
        atexit.register(self.close)

    def add(self, item: T) -> None:
        """Take one; it never waits."""
        if len(self._gathered) >= MOST_GATHERED:
            self.n_dropped += 1
            return
        self._gathered.append(item)
        if not self._some.is_set():
            if self._closing.is_set():
                self.flush()
            else:
                self._some.set()

    def flush(self) -> None:
        """Write what has gathered, now."""
        with self._writing:
            if items := list(self._drained()):
                self._write(items)

    def close(self) -> None:
        """Write what has gathered, and end the thread; what is told later is written at once."""
        atexit.unregister(self.close)
        self._closing.set()
        self._some.set()
        self._thread.join(GATHERED_S)
        self.flush()

    def _drained(self) -> Iterator[T]:
        with suppress(IndexError):
            while True:
                yield self._gathered.popleft()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._some.wait()
            self._closing.wait(GATHERED_S)
            self._some.clear()
            self.flush()


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


class AccessLog:
    """Tell each request in one line of JSON on standard output, in bulk and off the event loop.

    Parameters
    ----------
    share
        Which share of the good answers is told, from 0 to 1; refusals always are.
    write
        Where whole lines go, a few at a time; by default standard output.

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

    def __init__(self, share: float = 1.0, write: Callable[[str], object] | None = None) -> None:
        self._share, self._to = share, write or _print
        self._buffer = Buffer[Line](self._write, name="ekiben-access-log")
        self.flush, self.close = self._buffer.flush, self._buffer.close

    def tell(self, line: Line) -> None:
        """Take one request's line; it never waits."""
        if self._share < 1 and line.code == "ok" and random.random() >= self._share:  # noqa: S311 -- a sample is no secret
            return
        self._buffer.add(line)

    def _write(self, lines: list[Line]) -> None:
        with suppress(OSError, ValueError):  # nobody reads it any more: no reason to fail
            for text in _pieces([msgspec.json.encode(line).decode() + "\n" for line in lines]):
                self._to(text)


def _pieces(lines: Sequence[str]) -> Iterator[str]:
    """Join lines into pieces that a pipe takes whole."""
    piece = ""
    for line in lines:
        if piece and len(piece) + len(line) > WHOLE_BYTES:
            yield piece
            piece = ""
        piece += line
    yield piece


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
