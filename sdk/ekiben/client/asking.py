"""What is asked of a service and what becomes of its answers, as steps that somebody else sends."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from numbers import Integral
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

import httpx

from ekiben import arrow, explanations, protocol, schema, spec, tables
from ekiben.client import frames
from ekiben.client.frames import JSON, Answered
from ekiben.errors import RequestError, SchemaError, SpecError, UnreachableError, nearest
from ekiben.explanations import Explanation, Explanations, Facts
from ekiben.schema import Signature

if TYPE_CHECKING:
    import pandas as pd

FIRST_WAIT_S = 0.1  # before a connection is tried again; twice as long each time
COME_BACK = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
MANY_ROWS = 100  # from here on it pays to ask first what the service takes
MB = 1_000_000
_OF_HEADERS = re.compile(r"[!-~](?:[ -~]*[!-~])?")  # ASCII that comes as it was sent: no space at an end
_OF_COOKIES = re.compile(r"[!#-+\--:<-\[\]-~]+")  # RFC 6265: no space, quote, comma, semicolon or backslash


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request to send."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""


T = TypeVar("T")
# Gives requests to send, or seconds to wait; is given each answer, or is thrown the error of the transport.
Steps = Generator[Ask | float, httpx.Response | None, T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some rows of a frame, and the number of the first of them there."""

    frame: pd.DataFrame
    first: int = 0
    is_all: bool = True

    def split(self, n_rows: int) -> list[Part]:
        """Give parts of at most so many rows."""
        if len(self.frame) <= n_rows:
            return [self]
        starts = range(0, len(self.frame), n_rows)
        return [Part(frame=self.frame[i : i + n_rows], first=self.first + i, is_all=False) for i in starts]


class Asking:
    """What a client knows of its service, and how it asks; it sends nothing itself.

    Parameters
    ----------
    url, timeout_s, token, retries
        As in `connect`.
    """

    def __init__(self, url: str, *, timeout_s: float, token: str | None, retries: int) -> None:
        if not isinstance(url, str):
            raise SpecError(f"The 'url' must be a text that begins with http:// or https://. Got {type(url).__name__}.")
        if not url.startswith(("http://", "https://")):
            raise SpecError(f"The 'url' must begin with http:// or https://. Got {url!r}. Did you mean 'http://{url}'?")
        self.url, self._timeout_s, self._retries = url.rstrip("/"), timeout_s, retries
        token = token or os.environ.get("EKIBEN_TOKEN")
        self._shown = {"authorization": f"Bearer {token}"} if token else {}
        self._contract: dict[str, Any] | None = None
        self._refused_tables = False

    @property
    def settings(self) -> dict[str, Any]:
        """What an httpx client of this service is made with."""
        # a proxy of the environment has no business between a client and its own machine
        elsewhere = not self.url.startswith(("http://127.", "http://localhost", "http://[::1]"))
        return {"base_url": self.url, "timeout": self._timeout_s, "headers": self._shown, "trust_env": elsewhere}

    # ── what is asked ──

    def parts(self, frame: Any) -> Steps[list[Part]]:
        """Part a frame into what one request may hold."""
        frames.checked(frame)
        if len(frame) >= MANY_ROWS:
            yield from self._learn()
        return Part(frame=frame).split(int(self._limit("max_rows")) or len(frame))

    def predicted(self, part: Part, unit: str | None, *, explain: bool = False) -> Steps[list[Answered]]:
        """Ask for an answer to each row of a part, and why; where that is too much, to each row of smaller ones."""
        ask = yield from self._for_rows("/predict", part.frame, unit, {"explain": True} if explain else {})
        n, most_bytes = len(part.frame), self._limit("max_body_mb") * MB
        if n > 1 and 0 < most_bytes < len(ask.content):
            return (yield from self._in_pieces(part, (n + 1) // 2, unit, explain=explain))
        try:
            answer = yield from self._sent(ask)
        except RequestError as refusal:
            if refusal.status == httpx.codes.UNSUPPORTED_MEDIA_TYPE and ask.headers["content-type"] != JSON:
                self._refused_tables = True
                return (yield from self.predicted(part, unit, explain=explain))
            if _is_too_many(refusal) and n > 1:
                yield from self._learn()
                fewer = self._fewer(n, "explain_rows" if explain else "max_rows")
                return (yield from self._in_pieces(part, fewer, unit, explain=explain))
            raise (yield from self._told(refusal, part)) from None
        found = frames.answered(answer)
        if found is None or found.n_rows != n:
            raise self._no_answer("predictions")
        return [replace(found, why=self._explanations(frames.document(answer), part.frame)) if explain else found]

    def explained_parts(self, frame: Any) -> Steps[list[Part]]:
        """Part a frame into what one request may ask to be explained."""
        frames.checked(frame)
        yield from self._learn()
        return Part(frame=frame).split(int(self._limit("explain_rows")) or len(frame))

    def explained(self, part: Part, unit: str | None, wish: Mapping[str, Any]) -> Steps[list[Explanation]]:
        """Ask why, for each row of a part; what comes later is fetched by its ticket."""
        ask = yield from self._for_rows("/explain", part.frame, unit)
        query = urlencode({name: value for name, value in wish.items() if value is not None}, safe=",")
        try:
            answer = yield from self._sent(replace(ask, path=f"{ask.path}?{query}" if query else ask.path))
        except RequestError as refusal:
            n = len(part.frame)
            if _is_too_many(refusal) and n > 1:
                found = list[Explanation]()
                for piece in part.split(self._fewer(n, "explain_rows")):
                    found += yield from self.explained(piece, unit, wish)
                return found
            raise (yield from self._told(refusal, part)) from None
        if answer.status_code == httpx.codes.ACCEPTED:
            answer = yield from self._fetched(answer)
        return list(self._explanations(frames.document(answer), part.frame))

    def _explanations(self, document: Mapping[str, Any], frame: Any) -> Explanations:
        found = document.get("explanations")
        if not isinstance(found, list) or len(found) != len(frame):
            raise self._no_answer("explanations")
        told, contract = Explanations([explanations.from_json(each) for each in found]), self._contract or {}
        columns = [schema.column_from_json(each) for each in contract.get("inputs", ())]
        known = schema.Schema(columns=tuple(columns))
        head: dict[str, Any] = {name: str(document.get(name, "")) for name in ("id", "arm", "model", "rung", "why")}
        return told.about(
            tables.as_rows(frame), labels=known.labels, units=known.units, days=known.days, facts=Facts(**head)
        )

    def _fetched(self, answer: httpx.Response) -> Steps[httpx.Response]:
        """Follow a ticket until its result is there; give it up, and say so, when that takes too long."""
        path, end = answer.headers.get("location", ""), time.monotonic() + self._timeout_s
        if not path.startswith("/explain/"):
            raise self._no_answer("ticket")
        while answer.status_code == httpx.codes.ACCEPTED:
            told = answer.headers.get("retry-after", "")
            if time.monotonic() > end:
                with suppress(httpx.TransportError):  # it says the same whether that was heard or not
                    yield Ask(method="DELETE", path=path)
                says = f"An explanation must be there within {self._timeout_s:g} s. It was not, and was cancelled."
                raise RequestError(says, status=int(answer.status_code), code="late")
            yield min(float(told) if told.isascii() and told.isdigit() else FIRST_WAIT_S, self._timeout_s)
            answer = yield from self._sent(Ask(method="GET", path=path))
        return answer

    def page(self, path: str) -> Steps[dict[str, Any]]:
        """Ask for a page."""
        return frames.document((yield from self._sent(Ask(method="GET", path=path))))

    def signature(self) -> Steps[Signature]:
        """Ask for the contract as a signature."""
        return schema.from_json((yield from self.page("/schema")))

    def _in_pieces(self, part: Part, n_rows: int, unit: str | None, *, explain: bool) -> Steps[list[Answered]]:
        found = []
        for piece in part.split(n_rows):
            found += yield from self.predicted(piece, unit, explain=explain)
        return found

    def _fewer(self, n: int, limit: str = "max_rows") -> int:
        """Give how many rows to send instead of so many that were refused."""
        most = self._limit(limit)
        return int(most) if 0 < most < n else (n + 1) // 2

    def _told(self, refusal: RequestError, part: Part) -> Steps[RequestError]:
        """Count the rows of a refusal from the first of the frame, and name columns too many, which the service does not."""
        told = refusal if part.is_all else _placed(refusal, part)
        names_each = bool(refusal.faults) and all(fault.column is not None for fault in refusal.faults)
        if names_each or refusal.status != httpx.codes.BAD_REQUEST:
            return told
        yield from self._learn()
        inputs = (self._contract or {}).get("inputs", ())
        known = {each.get(key) for each in inputs for key in ("name", "alias")}
        more = [str(name) for name in part.frame.columns if inputs and str(name) not in known]
        lacking = {fault.column for fault in told.faults if fault.column} - {*map(str, part.frame.columns)}
        misspelt = "".join(f" {name!r}:{near}" for name in more if (near := nearest(name, lacking)))
        fix = misspelt or f" Drop them: frame.drop(columns={more})"
        says = f"{told}\nThe frame has {more} more.{fix}" if more else str(told)
        return RequestError(says, status=told.status, code=told.code, faults=told.faults)

    # ── what is known of the service ──

    def _learn(self) -> Steps[None]:
        """Ask once what the service takes; one that does not say takes JSON."""
        if self._contract is None:
            try:
                self._contract = yield from self.page("/schema")
            except RequestError:
                self._contract = {}

    def _limit(self, name: str) -> float:
        """Give a limit of the service; 0 for one that is not known."""
        limits = (self._contract or {}).get("limits")
        found = limits.get(name) if isinstance(limits, dict) else None
        return found if isinstance(found, int | float) else 0

    @property
    def _takes_tables(self) -> bool:
        bodies = (self._contract or {}).get("bodies")
        told = isinstance(bodies, list) and arrow.STREAM in bodies
        return told and arrow.is_here() and not self._refused_tables

    def _no_answer(self, field: str) -> RequestError:
        says = f"A service must answer with {field!r}, one a row. Got something else. Is there a service of ekiben at {self.url}?"
        return RequestError(says, status=200, code="unknown")

    # ── one request ──

    def _for_rows(
        self, path: str, frame: pd.DataFrame, unit: str | None, more: Mapping[str, Any] = MappingProxyType({})
    ) -> Steps[Ask]:
        """Make the request that asks about some rows, in the form that serves them best."""
        headers, beside = (yield from self._named(_text_of(unit))) if unit is not None else ({}, {})
        if path == "/predict" and not more and len(frame) >= MANY_ROWS and self._takes_tables:
            table = frames.as_arrow(frame, beside)
            if table is not None:
                headers |= {"content-type": arrow.STREAM, "accept": arrow.STREAM}
                return Ask(method="POST", path=path, headers=headers, content=table)
        headers["content-type"] = JSON
        return Ask(method="POST", path=path, headers=headers, content=frames.as_json(frame, {**beside, **more}))

    def _named(self, unit: str) -> Steps[tuple[dict[str, str], dict[str, str]]]:
        """Put the unit where the service looks for it: in the headers, or beside the rows."""
        if not self._contract:
            self._contract = yield from self.page("/schema")
        told = self._contract.get("unit")
        if told is None:
            says = "A 'unit' needs a service that knows units. This one has none: set `unit` in its ekiben.toml."
            raise RequestError(says, status=400, code="no_unit")
        wanted = spec.parse_unit(str(told))
        if wanted.source == "field":
            return {}, {wanted.name: unit}
        if not (_OF_COOKIES if wanted.source == "cookie" else _OF_HEADERS).fullmatch(unit):
            raise SpecError(
                f"A 'unit' must be of the characters that a {wanted.source} can carry, as this service reads it from "
                f"{str(told)!r}. Got others. Send a key of letters and digits, such as an id or a digest."
            )
        return ({wanted.name: unit} if wanted.source == "header" else {"cookie": f"{wanted.name}={unit}"}), {}

    def _sent(self, ask: Ask) -> Steps[httpx.Response]:
        try:
            answer = yield from self._taken(ask)
        except httpx.TransportError as reason:
            raise UnreachableError(
                f"The service at {self.url} must answer. It did not: {type(reason).__name__}. Is it running?"
            ) from reason
        if answer.status_code not in (httpx.codes.OK, httpx.codes.ACCEPTED):
            raise _refused(answer.status_code, frames.document(answer))
        return answer

    def _taken(self, ask: Ask) -> Steps[httpx.Response]:
        """Send a request until it is taken, or was sent too often."""
        end, n_sent = time.monotonic() + self._timeout_s, 0
        while True:
            try:
                answer = yield ask
                assert answer is not None
            except httpx.ConnectError:
                wait_s = FIRST_WAIT_S * 2**n_sent
                if n_sent >= self._retries or time.monotonic() + wait_s > end:
                    raise
            else:
                asked_s = _wait_s(answer)
                if asked_s is None or n_sent >= self._retries or time.monotonic() + asked_s > end:
                    return answer
                wait_s = asked_s
            yield wait_s  # as long as the service says, or twice as long as before
            n_sent += 1


def _text_of(unit: Any) -> str:
    """Give a unit as the text that the service reads: a whole number says the same everywhere, and a column is many units."""
    if isinstance(unit, str | UUID) or (isinstance(unit, Integral) and not isinstance(unit, bool)):
        return str(unit)
    raise SpecError(
        f"The 'unit' must be one text or whole number that tells who asks. Got {type(unit).__name__}. "
        "Rows of several units are asked in several calls."
    )


def _wait_s(answer: httpx.Response) -> float | None:
    """Give in how many seconds a service that took nothing wants to be asked again; None where it does not say so."""
    told = answer.headers.get("retry-after", "")
    return float(told) if answer.status_code in COME_BACK and told.isascii() and told.isdigit() else None


def _refused(status: int, document: dict[str, Any]) -> RequestError:
    found = document.get("error") if isinstance(document.get("error"), dict) else None
    if found is None:
        return RequestError(f"The service refused with status {status}.", status=status, code="unknown")
    faults = [protocol.fault_of(field) for field in found.get("fields", [])]
    message = str(found.get("message", f"The service refused with status {status}."))
    return RequestError(message, status=status, code=str(found.get("code", "unknown")), faults=faults)


def _is_too_many(refusal: RequestError) -> bool:
    """Tell whether fewer rows would be taken."""
    return refusal.status == httpx.codes.REQUEST_ENTITY_TOO_LARGE and refusal.code != "too_many_columns"


def _placed(refusal: RequestError, part: Part) -> RequestError:
    """Count the rows of a refusal from the first of the frame."""
    moved = SchemaError(str(refusal), refusal.faults).later(part.first, len(part.frame), of="frame")
    return RequestError(str(moved), status=refusal.status, code=refusal.code, faults=moved.faults)
