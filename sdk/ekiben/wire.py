"""The wire: a small request that arrives whole is answered before uvicorn makes an ASGI cycle of it, and a head has an end.

Who keeps a connection sends nearly the same head each time. One that was read is known by its bytes, and not parsed again.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Mapping
from time import perf_counter
from typing import Any, NamedTuple, cast

import uvicorn.config
from uvicorn.config import Config
from uvicorn.protocols.http import auto, httptools_impl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from ekiben.endpoints import ENCODING, Endpoint
from ekiben.front import Front, why_not
from ekiben.shortcut import Headers, Outcome

ODD = {ENCODING, b"expect", b"transfer-encoding", b"upgrade"}  # headers by which a body comes otherwise
LONGEST_HEAD = 65_536  # bytes that may come, in several segments, without ending a head or being of a body
HEAD_S = 60.0  # within which a head must have come
END_OF_HEAD = b"\r\n\r\n"
MOST_KNOWN, LONGEST_KNOWN = 512, 1024  # heads that are known by their bytes, and how long one may be
# What some clients offer with every first request, Java's own among them; a request with an offer comes without its body.
OFFER = re.compile(rb"\r\nupgrade(?=:[ \t]*h2c[ \t]*(\r\n|\Z))", re.IGNORECASE)
AUTO = "uvicorn.protocols.http.auto:AutoHTTPProtocol"  # what uvicorn takes, where nobody says otherwise
# What is used of the protocol: the arguments of its methods, and the names that each of them sets or reads.
KNOWN = {
    "__init__": (
        ["self", "config", "server_state", "app_state", "_loop"],
        {"access_log", "cycle", "flow", "limit_concurrency", "parser", "root_path", "server_state", "transport"},
    ),
    "connection_made": (["self", "transport"], {"transport"}),
    "connection_lost": (["self", "exc"], {"parser"}),
    "data_received": (["self", "data"], {"_unset_keepalive_if_required", "feed_data", "_unsupported_upgrade_warning"}),
    "on_message_begin": (["self"], {"headers", "url"}),
    "on_header": (["self", "name", "value"], {"headers"}),
    "on_headers_complete": (
        ["self"],
        {"cycle", "get_http_version", "get_method", "response_complete", "should_keep_alive"},
    ),
    "on_body": (["self", "body"], {"body"}),
    "on_message_complete": (["self"], {"more_body"}),
    "on_response_complete": (["self"], {"total_requests", "pipeline", "timeout_keep_alive"}),
    "eof_received": (["self"], set()),
    "shutdown": (["self"], {"cycle", "transport", "close"}),
    "send_400_response": (["self", "msg"], {"default_headers"}),
    "timeout_keep_alive_handler": (["self"], {"transport"}),
}


class Head(NamedTuple):
    """What was read of a head: where it asks, its headers, and how long its body is."""

    url: bytes
    headers: Headers
    by_name: dict[bytes, bytes]
    length: int


_heads: dict[bytes, Head] = {}  # by their bytes; all of them were of requests that are answered at once


class Wire(HttpToolsProtocol):
    """uvicorn's protocol, which asks a `Front` at once for what it answers at once; all else goes uvicorn's own way.

    Of the requests of one segment only the first may be answered so: others wait for their turn, and keep nobody waiting.
    A head that is too long or too late ends its connection, and so does an upgrade that is not known. Trailers are passed over.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        is_plain = self.limit_concurrency is None and not self.root_path and not self.access_log
        self._front = config.app if is_plain and isinstance(config.app, Front) else None
        self._endpoint: Endpoint | None = None  # what is to answer, while its request arrives
        self._by_name: dict[bytes, bytes] = {}
        self._body, self._is_first = b"", True
        self._goes_on, self._is_deaf, self._n_stuck = False, False, 0
        self._is_between, self._has_answered = True, False  # whether no request has begun, and one was answered at once
        self._was_asked = False  # whether the front could not answer at once what came behind a head that was known
        self._in_head = False  # whether what is read is a head, and not what follows a body in chunks
        self._used = 0.0  # when a request that was known by its head was answered
        self._held_by: Endpoint | None = None  # what is to send an answer on this connection
        self._skips = False  # a body whose request was turned away by its head
        self._too_late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        super().connection_lost(exc)
        self._wait_no_more()

    def data_received(self, data: bytes) -> None:
        """Read a segment; what it leaves unfinished is uvicorn's."""
        if self._is_deaf:
            return
        if self._held_by is not None:
            self._release()
        was_between, self._was_asked = self._is_between, False
        if was_between and self._answers_known(data):
            return
        if b"h2c" in data:
            data = self._without_offer(data)
        self._is_first, self._goes_on, self._has_answered = not self._was_asked, False, False
        super().data_received(data)
        if was_between and self._has_answered:
            self._learn(data)
        if self._endpoint is not None:
            self._endpoint = None
            self._hand_over()
        if not self._goes_on:
            self._stuck(len(data))
        elif (self._too_late is not None or self._n_stuck) and not self._skips:
            self._n_stuck = 0
            self._wait_no_more()

    def _answers_known(self, data: bytes) -> bool:
        """Answer a segment that is one whole request with a head that was read before, and tell whether that was done."""
        end = data.find(END_OF_HEAD) + len(END_OF_HEAD)
        head, front, before = _heads.get(data[:end]), self._front, cast("RequestResponseCycle | None", self.cycle)
        if head is None or front is None or (before is not None and not before.response_complete):
            return False
        endpoint = front.endpoint_at_once(head.url)
        fits = endpoint is not None and len(data) - end == head.length <= endpoint.most_at_once
        if endpoint is None or not fits or self.flow.write_paused:
            return False
        self.headers, self._by_name, self._body = head.headers, head.by_name, data[end:]
        if not self._answers(endpoint, held=endpoint.holds_next()):
            self._was_asked = True
            return False
        self._n_stuck = 0
        if self._too_late is not None:
            self._wait_no_more()
        return True

    def _learn(self, data: bytes) -> None:
        """Know a head again, where a segment was its request and nothing else."""
        end, length = data.find(END_OF_HEAD) + len(END_OF_HEAD), int(self._by_name[b"content-length"])
        if end <= LONGEST_KNOWN and len(data) - end == length:
            if len(_heads) >= MOST_KNOWN:
                _heads.clear()
            _heads[data[:end]] = Head(self.url, self.headers, self._by_name, length)

    def _stuck(self, n: int) -> None:
        """Count bytes that ended no head and were of no body: those of a head, of chunks, or of what follows them."""
        self._n_stuck += n
        if self.transport.is_closing():
            return
        if self._n_stuck > LONGEST_HEAD:
            self.send_400_response("The head of a request is too long.")
        elif self._too_late is None:
            self._wait_for_head()

    def _wait_for_head(self) -> None:
        self._too_late = self.loop.call_later(HEAD_S, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._too_late is not None:
            self._too_late.cancel()
            self._too_late = None

    def _without_offer(self, data: bytes) -> bytes:
        """Rename, in a head, the offer to speak HTTP/2, which nobody has to take."""
        before = cast("RequestResponseCycle | None", self.cycle)
        if before is not None and not before.response_complete:
            return data
        head, blank, rest = data.partition(b"\r\n\r\n")
        return OFFER.sub(b"\r\nx-upgrade", head) + blank + rest

    def _unsupported_upgrade_warning(self) -> None:
        """Answer, and hang up: what follows may be a body, which must not be read as another request."""
        self._is_deaf = True
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._is_between, self._in_head = False, True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. A field behind the body is none: a proxy that sets or removes a header looks at the head alone."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Look whether the front may answer at once; the body is to come."""
        self._goes_on, self._in_head = True, False
        self._endpoint, self._is_first = self._found() if self._is_first else None, False
        if self._endpoint is None and not self._skips:
            super().on_headers_complete()
        self._body = b""

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._goes_on = True
        if self._endpoint is not None:
            self._body += body
        elif not self._skips:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer, or leave it to uvicorn."""
        self._goes_on = self._is_between = True
        if self._skips:
            self._skips = False
            self._begin_to_rest()
            return
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            if self._answers(endpoint):
                self._has_answered = True
                return
            self._hand_over()
        super().on_message_complete()

    def _found(self) -> Endpoint | None:
        """Give what may answer at once the request whose head has arrived; turn away by its head what waits in vain."""
        if self._front is None or (endpoint := self._front.endpoint_at_once(self.url)) is None:
            return None
        parser, headers, before = self.parser, dict(self.headers), cast("RequestResponseCycle | None", self.cycle)
        length, self._by_name = headers.get(b"content-length", b""), headers
        is_usual = (
            (before is None or before.response_complete)
            and len(length) < 8
            and length.isdigit()
            and int(length) > 0
            and ODD.isdisjoint(headers)
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not self.flow.write_paused
        )
        if not is_usual:
            return None
        if int(length) > endpoint.most_at_once:
            self._turn_away(endpoint)
            return None
        return endpoint

    def _turn_away(self, endpoint: Endpoint) -> None:
        """Refuse a large request by its head, where it would be refused in any case, and skip its body."""
        began, headers = perf_counter(), self._by_name
        if why_not(endpoint.name, self.headers) is None and (outcome := endpoint.hopeless(headers)) is not None:
            self._skips = True
            self.send(endpoint, outcome, headers, began)
            self._begin_to_rest()

    def _begin_to_rest(self) -> None:
        """Wait for the next request, or for the end of a body that is skipped."""
        self._wait_no_more()
        if self._skips:
            self._wait_for_head()
        elif self.timeout_keep_alive_task is None:
            wait = self.timeout_keep_alive_handler
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, wait)

    def _answers(self, endpoint: Endpoint, *, held: bool = False) -> bool:
        """Answer the request that has arrived whole, and tell whether that was done; what is held is sent with what follows."""
        began, headers = perf_counter(), self._by_name
        if why_not(endpoint.name, self.headers) is not None:
            return False
        outcome = endpoint.at_once(self.headers, headers, self._body, held=held)
        if outcome is None:
            return False
        if held:
            self._held_by, self._used = endpoint, began
            endpoint.hold(self, outcome, headers, began)
        else:
            self.send(endpoint, outcome, headers, began)
        return True

    def send(self, endpoint: Endpoint, outcome: Outcome, headers: Mapping[bytes, bytes], began: float) -> None:
        """Send an answer, and wait for the next request."""
        self._held_by = None
        if not self.transport.is_closing():
            self.transport.write(_written(outcome, self.server_state.default_headers))
        if self.timeout_keep_alive_task is None:
            self.on_response_complete()
        else:  # it goes on to wait, and looks by itself when it was used last: another timer for each request costs more
            self.server_state.total_requests += 1
        self._used = perf_counter()
        endpoint.tell(outcome, headers, self._used - began)

    def _release(self) -> None:
        """Send what is held for this connection, before anything else happens to it."""
        if self._held_by is not None:
            self._held_by.release()

    def eof_received(self) -> None:
        """Answer who sends no more, and may still listen."""
        self._release()
        super().eof_received()

    def shutdown(self) -> None:
        """Answer, and close the connection."""
        self._release()
        super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that was not used for so long."""
        left = self._used + self.timeout_keep_alive - perf_counter()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            self._release()
            super().timeout_keep_alive_handler()

    def _hand_over(self) -> None:
        """Let uvicorn make an ASGI cycle of what has arrived."""
        super().on_headers_complete()
        if self._body:
            super().on_body(self._body)


def _written(outcome: Outcome, default: Headers) -> bytes:
    parts = [STATUS_LINE[outcome.status]]
    for name, value in (*default, *outcome.headers):
        parts += (name, b": ", value, b"\r\n")
    parts += (b"\r\n", outcome.body)
    return b"".join(parts)


def install() -> None:
    """Let uvicorn take it in this process, where it would take httptools of its own accord.

    Raises
    ------
    TypeError, AttributeError
        If uvicorn's own protocol is not made as it is known here; uvicorn is left as it was.
    """
    for name, (arguments, used) in KNOWN.items():
        method = getattr(httptools_impl.HttpToolsProtocol, name)
        if [*inspect.signature(method).parameters] != arguments or not used <= {*method.__code__.co_names}:
            raise TypeError(f"{name} of uvicorn's protocol is not made as it is known here")
    if auto.AutoHTTPProtocol is not HttpToolsProtocol or uvicorn.config.HTTP_PROTOCOLS.get("auto") not in (AUTO, TAKEN):
        raise TypeError("uvicorn does not choose its protocol as it is known here")
    uvicorn.config.HTTP_PROTOCOLS["auto"] = TAKEN


TAKEN = f"{__name__}:{Wire.__name__}"
