"""Judges of answers: what is wrong with a refusal, and whether anything was asked to call out."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from traffic.hostile import BELOW, DIGITS, MARKER
from traffic.load import Answer, Request

LEAKS = {
    "a marked text": MARKER,
    "a marked number": DIGITS,
    "a traceback": "Traceback",
    "a path of this checkout": str(Path(__file__).parents[2]),
    "a path of a library": "site-packages",
    "a path of a module": '.py"',
}
FIELD_TYPES = {"column": str, "row": int, "expected": str, "got": str, "message": str}


def judge(request: Request, answer: Answer) -> list[str]:
    """Name the faults of any answer: a 4xx must be well made, and no refusal or failure may leak.

    What the HTTP parser answers before any service has no JSON; only leaks are looked for there.
    """
    if answer.status < 400:
        return []
    if answer.status >= 500 or request.kind in BELOW:
        return leaks_of(answer)
    return faults_of(answer)


def faults_of(answer: Answer) -> list[str]:
    """Name what is wrong with a 4xx answer, in its form or by what it gives away.

    Examples
    --------
    >>> body = b'{"error": {"code": "bad_json", "message": "The body must be JSON.", "fields": []}}'
    >>> faults_of(Answer(400, {"content-type": "application/json"}, body))
    []
    """
    kind = answer.headers.get("content-type", "")
    plain = [] if kind.split(";")[0].strip().lower() == "application/json" else [f"the content type is {kind!r}"]
    return plain + _form_faults(answer.body) + leaks_of(answer)


def leaks_of(answer: Answer) -> list[str]:
    """Name what an answer gives away: a marked value, a traceback, a path."""
    raw = answer.body.decode("utf-8", "replace")
    shown = "\n".join([raw, *answer.headers.values(), *_texts(_parsed(answer.body))])
    return [f"it gives away {what}" for what, sign in LEAKS.items() if sign in shown]


def _parsed(body: bytes) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(body)
    return None


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, names and values, as its reader sees it."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        yield from (text for item in value for text in _texts(item))
        if isinstance(value, dict):
            yield from (text for item in value.values() for text in _texts(item))


def _form_faults(body: bytes) -> list[str]:
    try:
        root = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return ["the body is not JSON"]
    if not isinstance(root, dict) or set(root) != {"error"} or not isinstance(root["error"], dict):
        return ["the body is not one object 'error'"]
    return _error_faults(root["error"])


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _error_faults(error: Mapping[str, Any]) -> list[str]:
    faults = [f"error.{name} is not a text" for name in ("code", "message") if not _is_text(error.get(name))]
    faults += [f"error.{name} is not expected" for name in sorted(set(error) - {"code", "message", "fields"})]
    if not isinstance(error.get("fields"), list):
        return [*faults, "error.fields is not a list"]
    return faults + sorted({fault for item in error["fields"] for fault in _field_faults(item)})


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _field_faults(item: Any) -> list[str]:
    if not isinstance(item, dict):
        return ["a field is not an object"]
    faults = [] if _is_text(item.get("message")) else ["a field has no message"]
    faults += [f"a field's {name} is not expected" for name in item if name not in FIELD_TYPES]
    for name, kind in FIELD_TYPES.items():
        value = item.get(name)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            faults.append(f"a field's {name} is not of type {kind.__name__}")
    return faults


class Listener:
    """Counts the connections made to a port of this machine, closing each at once."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._count = 0
        self.port: int = server.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/{MARKER}"

    @property
    def connections(self) -> int:
        """How many connections were made until now; none that is still in the queue is overlooked."""
        with self._lock, suppress(OSError):  # nobody waits, or the port is closed
            while True:
                self._server.accept()[0].close()
                self._count += 1
        return self._count


@contextmanager
def listener() -> Iterator[Listener]:
    """Listen on a free port of 127.0.0.1 and count who calls.

    Examples
    --------
    >>> with listener() as calls:
    ...     socket.create_connection(("127.0.0.1", calls.port)).close()
    ...     calls.connections
    1
    """
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as server:
        server.setblocking(False)
        calls, done = Listener(server), threading.Event()
        answering = threading.Thread(target=_answer, args=(calls, server, done), daemon=True)
        answering.start()
        try:
            yield calls
        finally:
            done.set()
            answering.join()
            _ = calls.connections  # what came last is counted too


def _answer(calls: Listener, server: socket.socket, done: threading.Event) -> None:
    while not done.is_set():
        if select.select([server], [], [], 0.05)[0]:
            _ = calls.connections
