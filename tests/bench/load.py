"""A closed-loop HTTP/1.1 client in a process of its own: every request is answered, and counted, before it ends.

Run as `echo '{"port": …, "path": …, "bodies": […], "clients": 16, "seconds": 2}' | python load.py`; it prints one line of JSON.
It needs nothing but Python, and one core: on two the server that it measures has the other. Where it is alone it never
sleeps: who answers somebody that sleeps on the same machine pays for the waking, up to 10 µs, and only where it is the slower
of the two. What a request costs would jump there, and clients elsewhere are woken by their own machine. Two that share their
core must sleep (`awake` is false), or each waits for the other's turn to end, and not for the server.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

WAIT_S = 60.0  # for an answer that does not come
CHUNK = 1 << 16
OK = 200


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is sent, by how many clients at once, and for how long."""

    port: int
    path: str
    bodies: Sequence[str]
    clients: int
    seconds: float
    core: int | None = None
    awake: bool = True

    def requests(self) -> list[bytes]:
        """Write each body as a whole request."""
        return [self._request(body.encode()) for body in self.bodies]

    def _request(self, body: bytes) -> bytes:
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n"
            f"Accept: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(kw_only=True)
class Told:
    """What became of the requests; each that was sent is one of `answered`, `refused` or `lost`."""

    sent: int = 0
    answered: int = 0  # with status 200
    refused: int = 0  # with another status
    lost: int = 0  # without a whole answer
    seconds: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    latencies: list[float] = field(default_factory=list, repr=False)

    def counts(self) -> dict[str, Any]:
        """Give all but the single latencies."""
        return {name: value for name, value in asdict(self).items() if name != "latencies"}

    def settle(self, seconds: float) -> None:
        """Replace the latencies by their percentiles."""
        ordered = sorted(self.latencies)
        self.seconds, self.latencies = seconds, []
        if ordered:
            self.p50_ms, self.p99_ms = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.99))


class Connection:
    """One client: it sends a request, reads the whole answer, and sends the next on the same connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.began = 0.0
        self.read = b""

    def send(self, request: bytes) -> None:
        self.read = b""
        self.began = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> int | None:
        """Read what came; give the status once the answer is whole.

        Raises
        ------
        ConnectionError
            If the server hung up.
        """
        came = self.socket.recv(CHUNK)
        if not came:
            raise ConnectionError("The server hung up.")
        self.read += came
        return status_of(self.read)


def status_of(answer: bytes) -> int | None:
    """Give the status of a whole answer, or None while some of it is missing.

    >>> status_of(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n[")
    >>> status_of(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n[]")
    200
    >>> status_of(b"HTTP/1.1 503 No\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n2\\r\\n[]\\r\\n0\\r\\n\\r\\n")
    503
    """
    head, gap, body = answer.partition(b"\r\n\r\n")
    if not gap:
        return None
    lowered = head.lower()
    _, found, rest = lowered.partition(b"\r\ncontent-length:")
    if found:
        is_whole = len(body) >= int(rest.partition(b"\r\n")[0])
    else:
        is_whole = b"chunked" in lowered and body.endswith(b"0\r\n\r\n")
    return int(head[9:12]) if is_whole else None


class Crowd:
    """All clients of one run: each is asking, or has hung up."""

    def __init__(self, work: Work) -> None:
        self.requests, self.told, self.poll = work.requests(), Told(), select.epoll()
        self.sleeps_s = 0.0 if work.awake else WAIT_S
        connections = [Connection(work.port) for _ in range(work.clients)]
        self.asking = {each.socket.fileno(): each for each in connections}

    def ask(self, one: Connection) -> None:
        self.told.sent += 1
        one.send(self.requests[self.told.sent % len(self.requests)])

    def hears(self, one: Connection) -> bool:
        """Read what came, and tell whether that was all of an answer."""
        status = one.receive()
        if status is not None:
            self.told.latencies.append(time.perf_counter() - one.began)
            self.told.answered += status == OK
            self.told.refused += status != OK
        return status is not None

    def leave(self, file: int) -> None:
        """Hang up at once: a server may do so on a client that only waits for the others."""
        self.poll.unregister(file)
        self.asking.pop(file).socket.close()

    def drive(self, ends: float) -> None:
        """Keep every client busy until the time is over, then wait for what is still under way."""
        for file, one in self.asking.items():
            self.poll.register(file, select.EPOLLIN)
            self.ask(one)
        while self.asking and (ready := self.ready()):
            for file, _ in ready:
                self.wake(file, ends)
        for one in self.asking.values():  # of whom no answer came
            one.socket.close()
        self.poll.close()

    def ready(self) -> list[tuple[int, int]]:
        """Look for answers until there are some; none where none comes for too long."""
        ends = time.perf_counter() + WAIT_S
        while not (ready := self.poll.poll(self.sleeps_s)) and time.perf_counter() < ends:
            pass
        return ready

    def wake(self, file: int, ends: float) -> None:
        one = self.asking[file]
        try:
            if self.hears(one):
                self.ask(one) if time.perf_counter() < ends else self.leave(file)
        except OSError:
            self.leave(file)


def drive(work: Work) -> Told:
    """Do the work, and account for every request."""
    crowd, began = Crowd(work), time.perf_counter()
    crowd.drive(began + work.seconds)
    told = crowd.told
    told.lost = told.sent - told.answered - told.refused
    told.settle(time.perf_counter() - began)
    return told


def main(given: str) -> dict[str, Any]:
    """Do the work that is given as JSON."""
    work = Work(**json.loads(given))
    if work.core is not None:
        os.sched_setaffinity(0, {work.core})
    return drive(work).counts()


if __name__ == "__main__":
    print(json.dumps(main(sys.stdin.read())))
