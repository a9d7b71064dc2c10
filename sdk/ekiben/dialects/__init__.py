"""How protocols spell rows and answers: a file for each, and what all of them share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from time import perf_counter
from typing import Any, Protocol

from ekiben import codecs, protocol
from ekiben.errors import EkibenError, Fault, SchemaError
from ekiben.routing import Choice

JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as any web framework can give it; header names are in lower case."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status, headers and a body; `code` names a refusal, `choice` which arm answered, `rows` how many were asked."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str = "ok"
    choice: Choice | None = None
    rows: int = 0


class Refusal(EkibenError):  # noqa: N818 -- the service is at no fault
    """A request that is refused: its status, and a code that a program may read."""

    def __init__(
        self, status: HTTPStatus, code: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers or {}


def refuse(
    status: HTTPStatus,
    code: str,
    message: str,
    *,
    faults: Iterable[Fault] = (),
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Refuse in the one shape of every refusal.

    >>> refuse(HTTPStatus.NOT_FOUND, "not_found", "No such path.").body
    b'{"error":{"code":"not_found","message":"No such path.","fields":[]}}'
    """
    body = codecs.encode(protocol.error(code, message, faults))
    return Answer(status=status, code=code, body=body, headers={"content-type": JSON, **(headers or {})})


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What a protocol read: columns that fit the contract, every value that names the unit, and what is wanted of the answer.

    `body` is the body's document, as a service's own `unit_of` sees it. `explains` asks for explanations beside predictions.
    """

    columns: dict[str, list[Any]]
    units: Sequence[Any] = ()
    body: Mapping[str, Any] = field(default_factory=dict)
    wants: Any = None
    explains: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """A request that fits: its id and columns, who answers it, what every answer to it says, and what stands beside it."""

    id: str
    columns: dict[str, list[Any]]
    choice: Choice
    model: str
    headers: Mapping[str, str]
    wants: Any = None
    explains: bool = False
    beside: Mapping[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=perf_counter)


class Dialect(Protocol):
    """How one protocol spells rows and answers; the data plane between the two is the same for all."""

    def read(self, request: Request) -> Read:
        """Read a body, held to the contract.

        Raises
        ------
        Refusal, SchemaError
            If it cannot be answered as it is.
        """

    def write(self, routed: Routed, predictions: list[dict[str, Any]]) -> tuple[bytes, Mapping[str, str]]:
        """Write the body of an answer, and the headers that tell how to read it.

        Raises
        ------
        SchemaError
            If a number in it is not finite.
        """

    def refused(self, answer: Answer) -> Answer:
        """Spell a refusal, which is in ekiben's own shape, as the protocol's clients read it."""


def media_type(request: Request) -> str:
    """Give the kind of a body, in lower case and without its parameters; JSON where none is named."""
    return spelled(request.headers.get("content-type", JSON).partition(";")[0].strip().lower())


def spelled(kind: str) -> str:
    """Give the name of a kind that has an older one, which SageMaker's clients use."""
    return "application/vnd.apache.parquet" if kind == "application/x-parquet" else kind


def unsupported(*kinds: str) -> Refusal:
    """Refuse a body of another kind."""
    *others, last = kinds
    named = f"{', '.join(others)} or {last}" if others else last
    says = f"The content type must be {named}. Got another."
    return Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", says)


def bounded(n_rows: int, most: int) -> None:
    """Refuse a request without rows, and one with more than it may hold."""
    if not n_rows:
        raise SchemaError("A request must hold at least one row. Got none.")
    if n_rows > most:
        says = f"A request may hold {most:,} rows here. Got {n_rows:,}. Split it."
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_many_rows", says)
