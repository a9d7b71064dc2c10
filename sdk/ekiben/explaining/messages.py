"""What a worker and its explaining process say to each other: MessagePack, each message with its length before it."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from struct import Struct
from typing import Any, TypeAlias

import msgspec

from ekiben.narrowing import narrowed

HEAD = Struct("<I")
LARGEST = 2**30  # bytes of a message


class Task(msgspec.Struct, tag="task", frozen=True, kw_only=True):
    """Rows to explain: the package, the method, and when to stop where the method can.

    `units` name a scale other than that of the packed method; where that has no such scale and the caller did not name it
    (`is_named`), sampling explains. `seconds` are counted from when the task arrives; `rounds` says how many rounds to draw, whatever they take.
    """

    folder: str
    digest: str
    method: str
    columns: Mapping[str, list[Any]]
    units: str | None = None
    is_named: bool = False
    seed: int = 0
    seconds: float | None = None
    rounds: int | None = None


class Warm(msgspec.Struct, tag="warm", frozen=True, kw_only=True):
    """A package to read, and to measure: what one row costs by its method, and where that is above `most_ms` by sampling."""

    folder: str
    digest: str
    most_ms: float


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of a method: what one row costs (of one that draws rounds, a round), whether it is exact, and draws."""

    ms: float = 0.0
    exact: bool = False
    draws: bool = False


class Measured(msgspec.Struct, tag="measured", frozen=True, kw_only=True):
    """What was found of each method, by its name."""

    methods: dict[str, Known]


class Done(msgspec.Struct, tag="done", frozen=True, kw_only=True):
    """What explains, as `explanations.to_json` writes it, by which method; `rounds` were drawn where it draws rounds."""

    explanations: list[dict[str, Any]]
    method: str
    is_exact: bool
    rounds: int | None = None
    ms: float


class Failed(msgspec.Struct, tag="failed", frozen=True, kw_only=True):
    """Why there is no explanation: a code, and words that hold no value of the rows."""

    code: str
    says: str


Asked: TypeAlias = Task | Warm
Told: TypeAlias = Measured | Done | Failed

_encode = msgspec.msgpack.Encoder().encode
_asked = msgspec.msgpack.Decoder(Asked).decode
_told = msgspec.msgpack.Decoder(Told).decode


def send(to: socket.socket, message: Asked | Told) -> None:
    """Send a message whole."""
    try:
        body = _encode(message)
    except OverflowError:  # an integer of more than 64 bits, where a column takes any number
        body = _encode(narrowed(msgspec.to_builtins(message)))
    to.sendall(HEAD.pack(len(body)) + body)


def asked(of: socket.socket) -> Asked | None:
    """Wait for what is asked; None once the other end is closed."""
    body = _body(of)
    return None if body is None else _asked(body)


def told(of: socket.socket) -> Told | None:
    """Wait for what is told; None once the other end is closed."""
    body = _body(of)
    return None if body is None else _told(body)


def _body(of: socket.socket) -> bytes | None:
    head = _exactly(of, HEAD.size)
    if head is None:
        return None
    (size,) = HEAD.unpack(head)
    return _exactly(of, size) if size <= LARGEST else None


def _exactly(of: socket.socket, size: int) -> bytes | None:
    parts, left = list[bytes](), size
    while left:
        try:
            part = of.recv(min(left, 1 << 20))
        except ConnectionError:
            return None
        if not part:
            return None
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
