"""A closed-loop HTTP/1.1 client that accounts for every request it sends.

Each of `clients` holds one connection, sends one request, waits for its answer, and sends the next. It speaks raw
asyncio, because the requests worth sending are those that a polite library refuses to write.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count, islice, repeat, takewhile
from urllib.parse import urlsplit

KEPT = 20  # odd answers are kept up to this many, the others only counted
KEPT_BYTES = 4096  # of each kept body


@dataclass(frozen=True, slots=True)
class Request:
    """One request, with the statuses that would be a fair answer to it."""

    kind: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    expect: frozenset[int] = frozenset({200})


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; the names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Odd:
    """A request that was not answered as it should be; both bodies are cut to 4,096 bytes."""

    request: Request
    outcome: int | str
    body: bytes
    faults: tuple[str, ...] = ()


Judge = Callable[[Request, Answer], Sequence[str]]


@dataclass(slots=True)
class Tally:
    """What became of every request: an outcome is a status, or `closed`, `refused`, `timeout` or `garbled`."""

    seconds: float = 0.0
    by_kind: dict[str, Counter[int | str]] = field(default_factory=lambda: defaultdict(Counter))
    faults: Counter[str] = field(default_factory=Counter)
    n_unexpected: int = 0
    odd: list[Odd] = field(default_factory=list)
    latencies_ms: dict[int, array[float]] = field(default_factory=lambda: defaultdict(lambda: array("d")))

    @property
    def outcomes(self) -> Counter[int | str]:
        """How many requests came to each outcome."""
        return sum(self.by_kind.values(), Counter[int | str]())

    @property
    def sent(self) -> int:
        """How many requests were started; each has one outcome."""
        return self.outcomes.total()

    @property
    def dropped(self) -> int:
        """How many requests got no whole answer."""
        return sum(n for outcome, n in self.outcomes.items() if isinstance(outcome, str))

    @property
    def per_second(self) -> float:
        """Requests with an outcome, a second."""
        return self.sent / self.seconds if self.seconds else 0.0

    def percentile_ms(self, percent: float, *, status: int | None = None) -> float:
        """Latency that `percent` (0–100) of the answers stayed within, of one status or of all; NaN without answers."""
        chosen = self.latencies_ms.values() if status is None else [self.latencies_ms.get(status, array("d"))]
        ordered = sorted(value for one in chosen for value in one)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")

    def add(self, request: Request, outcome: int | str, body: bytes = b"", faults: Sequence[str] = ()) -> None:
        """Count one request."""
        self.by_kind[request.kind][outcome] += 1
        self.faults.update(faults)
        unexpected = outcome not in request.expect
        self.n_unexpected += unexpected
        if (unexpected or faults) and len(self.odd) < KEPT:
            cut = replace(request, body=request.body[:KEPT_BYTES])
            self.odd.append(Odd(cut, outcome, body[:KEPT_BYTES], tuple(faults)))

    def table(self) -> str:
        """Lay the counts out, a kind a line, with latencies and faults below."""
        outcomes = sorted(self.outcomes, key=str)
        width = max((len(kind) for kind in self.by_kind), default=5) + 2
        lines = ["".join([" " * width, f"{'sent':>8}", *(f"{outcome:>8}" for outcome in outcomes)])]
        for kind, counts in [*sorted(self.by_kind.items()), ("total", self.outcomes)]:
            cells = [counts.total(), *(counts[outcome] for outcome in outcomes)]
            lines.append(f"{kind:<{width}}" + "".join(f"{cell:>8}" for cell in cells))
        p50, p99 = self.percentile_ms(50), self.percentile_ms(99)
        lines.append(
            f"{self.per_second:.0f} requests/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms, "
            f"{self.n_unexpected} unexpected, {self.dropped} dropped, {self.faults.total()} faults"
        )
        lines += [f"{n:>8} × {fault}" for fault, n in self.faults.most_common(KEPT)]
        return "\n".join(lines)


def mix(valid: Callable[[int], Request], hostile: Iterator[Request], *, chance: float, seed: int) -> Iterator[Request]:
    """Draw endless traffic: `valid(i)`, or the next of `hostile` with `chance` (0–1)."""
    draw = random.Random(seed)
    for i in count():
        yield next(hostile) if draw.random() < chance else valid(i)


@contextmanager
def meanwhile(request: Request, send: Callable[[Iterator[Request]], Tally]) -> Iterator[Future[Tally]]:
    """Send one request again and again in a thread of its own until the block ends; what is under way is waited for."""
    done = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(send, takewhile(lambda _: not done.is_set(), repeat(request)))
        try:
            yield asked
        finally:
            done.set()


def run(
    url: str,
    requests: Iterable[Request],
    *,
    clients: int,
    seconds: float | None = None,
    n: int | None = None,
    judge: Judge | None = None,
    timeout_s: float = 30.0,
) -> Tally:
    """Send `requests` to a server on this machine until they end, `n` are sent, or `seconds` have passed.

    Requests under way when the time is up are still waited for and counted. A `judge` names the faults of an answer.
    """
    return asyncio.run(drive(url, requests, clients=clients, seconds=seconds, n=n, judge=judge, timeout_s=timeout_s))


async def drive(
    url: str,
    requests: Iterable[Request],
    *,
    clients: int,
    seconds: float | None = None,
    n: int | None = None,
    judge: Judge | None = None,
    timeout_s: float = 30.0,
) -> Tally:
    """Do what `run` does inside a running event loop."""
    port = port_of(url)
    tally, started, shared = Tally(), time.perf_counter(), islice(requests, n)
    ends = float("inf") if seconds is None else started + seconds

    async def client() -> None:
        one = Client(port, tally, judge, timeout_s)
        while time.perf_counter() < ends and (request := next(shared, None)) is not None:
            await one.send(request)
        one.hang_up()

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    tally.seconds = time.perf_counter() - started
    return tally


def port_of(url: str) -> int:
    """Give the port of a server on this machine: nothing else is ever asked."""
    parts = urlsplit(url)
    if parts.hostname not in ("127.0.0.1", "localhost") or parts.port is None:
        raise ValueError(f"The 'url' must be http://127.0.0.1:PORT. Got {url!r}.")
    return parts.port


@dataclass(slots=True)
class Client:
    """One of the many: it sends a request, counts what became of it, and keeps its connection while it may."""

    port: int
    tally: Tally
    judge: Judge | None
    timeout_s: float
    wire: _Wire | None = None

    async def send(self, request: Request, *, due: float | None = None) -> None:
        """Send a request; its latency counts from when it was `due`, by `perf_counter`, where that is told."""
        payload = as_bytes(request, host=f"127.0.0.1:{self.port}")
        started = time.perf_counter() if due is None else due
        try:
            async with asyncio.timeout(self.timeout_s):
                answer = await (await self._open_wire()).ask(payload)
        except (OSError, ValueError) as reason:  # a TimeoutError is an OSError
            await self._give_up(request, reason)
            return
        self.tally.latencies_ms[answer.status].append((time.perf_counter() - started) * 1000)
        faults = self.judge(request, answer) if self.judge else ()
        self.tally.add(request, answer.status, answer.body, faults)

    async def _open_wire(self) -> _Wire:
        if self.wire is None or self.wire.closed:
            _, self.wire = await asyncio.get_running_loop().create_connection(_Wire, "127.0.0.1", self.port)
        return self.wire

    async def _give_up(self, request: Request, reason: Exception) -> None:
        self.tally.add(request, _outcome(reason))
        self.hang_up()
        if isinstance(reason, ConnectionRefusedError):
            await asyncio.sleep(0.01)  # a server that is down is not hammered

    def hang_up(self) -> None:
        if self.wire is not None:
            self.wire.close()
        self.wire = None


def _outcome(reason: Exception) -> str:
    names = {TimeoutError: "timeout", ConnectionRefusedError: "refused", ValueError: "garbled"}
    return names.get(type(reason), "closed")


def as_bytes(request: Request, *, host: str) -> bytes:
    """Write the request as it goes over the wire; header values may hold any byte."""
    headers = {"host": host, **request.headers, "content-length": str(len(request.body))}
    lines = [f"{request.method} {request.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + request.body


class _Wire(asyncio.Protocol):
    """One connection, on which one request at a time waits for its answer."""

    def __init__(self) -> None:
        self.closed = False
        self.got = bytearray()
        self.waiting: asyncio.Future[Answer] | None = None

    async def ask(self, payload: bytes) -> Answer:
        self.got.clear()
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(payload)
        return await self.waiting

    def close(self) -> None:
        self.closed = True
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += data
        self._settle(ended=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._settle(ended=True)

    def _settle(self, *, ended: bool) -> None:
        if self.waiting is None or self.waiting.done():
            return
        try:
            answer = read_answer(bytes(self.got), ended=ended)
        except ValueError as reason:
            self.waiting.set_exception(reason)
            return
        if answer is not None:
            # An answer that came before the whole body was sent leaves the rest of it in the way of the next request.
            if answer.headers.get("connection", "").lower() == "close" or self.transport.get_write_buffer_size():
                self.close()
            self.waiting.set_result(answer)
        elif ended:
            self.waiting.set_exception(ConnectionResetError("closed before a whole answer"))


def read_answer(got: bytes, *, ended: bool) -> Answer | None:
    """Read one answer from the bytes so far, or None while it is not whole; ValueError when it is no HTTP."""
    head, blank, rest = got.partition(b"\r\n\r\n")
    if not blank:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    version, code = first.split(" ")[:2]
    if not version.startswith("HTTP/1.") or len(code) != 3:
        raise ValueError(f"no status line: {first[:40]!r}")
    if code.startswith("1"):
        return read_answer(rest, ended=ended)
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = _body(int(code), headers, rest, ended=ended)
    return None if body is None else Answer(int(code), headers, body)


def _body(status: int, headers: Mapping[str, str], rest: bytes, *, ended: bool) -> bytes | None:
    if status in (204, 304):
        return b""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return _unchunked(rest)
    if "content-length" in headers:
        length = int(headers["content-length"])
        return rest[:length] if len(rest) >= length else None
    return rest if ended else None


def _unchunked(rest: bytes) -> bytes | None:
    body = bytearray()
    while True:
        size, newline, rest = rest.partition(b"\r\n")
        if not newline:
            return None
        length = int(size.split(b";")[0], 16)
        if len(rest) < length + 2:
            return None
        if length == 0:
            return bytes(body)
        body += rest[:length]
        rest = rest[length + 2 :]
