"""A balancer that obeys readiness, as a cluster's network does: each new connection goes to a server that says it is ready."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

READY = "/readyz"  # where a server says whether it is
EVERY_S = 0.1  # between two probes of one server


class _End(asyncio.Protocol):
    """One end of a joint: what comes in goes out at the other, and so does the end of it."""

    def __init__(self, other: _End | None = None, joins: Callable[[_End], None] | None = None) -> None:
        self.other, self._joins = other, joins
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self._joins is not None:
            transport.pause_reading()  # until there is another end
            self._joins(self)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class Balancer:
    """It knows which servers are ready, and joins each caller to one of them, in turn."""

    def __init__(self, ports: Sequence[int], probe: str = READY) -> None:
        self._probed = f"GET {probe} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode()
        self._ready = dict.fromkeys(ports, False)
        self._turn = count()
        self._knows, self._done = asyncio.Event(), asyncio.Event()
        self._joining = set[asyncio.Task[None]]()
        self.port = 0
        self.n_blind = 0  # callers who were sent to a server that was not known to be ready, because none was

    @property
    def ready(self) -> list[int]:
        """The ports of the servers that were ready when they were last asked."""
        return [port for port, is_ready in self._ready.items() if is_ready]

    async def run(self, opened: threading.Event) -> None:
        """Probe and join until it is closed."""
        self._loop = asyncio.get_running_loop()
        server = await self._loop.create_server(lambda: _End(joins=self._begin), "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        probing = [asyncio.create_task(self._probe(port)) for port in self._ready]
        opened.set()
        await self._done.wait()
        server.close()
        for each in (*probing, *self._joining):
            each.cancel()

    def close(self) -> None:
        """Let go of every caller; called in another thread."""
        self._loop.call_soon_threadsafe(self._done.set)

    async def _probe(self, port: int) -> None:
        while True:
            try:
                async with asyncio.timeout(1):
                    self._ready[port] = await _is_ready(port, self._probed)
            except OSError:  # a TimeoutError is one
                self._ready[port] = False
            if self.ready:
                self._knows.set()
            await asyncio.sleep(EVERY_S)

    def _begin(self, caller: _End) -> None:
        task = asyncio.create_task(self._join(caller))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)

    async def _join(self, caller: _End) -> None:
        await self._knows.wait()
        among = self.ready or list(self._ready)
        self.n_blind += not self.ready
        assert caller.transport is not None
        try:
            port = among[next(self._turn) % len(among)]
            _, caller.other = await self._loop.create_connection(lambda: _End(caller), "127.0.0.1", port)
            caller.transport.resume_reading()
        except OSError:
            caller.transport.abort()


async def _is_ready(port: int, probe: bytes) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(probe)
        return b" 200 " in await reader.readline()
    finally:
        writer.close()


@contextmanager
def balancing(ports: Sequence[int], *, probe: str = READY) -> Iterator[Balancer]:
    """Balance over servers of this machine that say at the path `probe` whether they are ready, in a thread of its own."""
    balancer, opened = Balancer(ports, probe), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(balancer.run(opened)), daemon=True)
    thread.start()
    opened.wait()
    try:
        yield balancer
    finally:
        balancer.close()
        thread.join()
