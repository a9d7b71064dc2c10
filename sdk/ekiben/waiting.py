"""How long one request is waited for: its body, its answer, and the caller who may leave."""

from __future__ import annotations

import asyncio
import math
import types
from collections.abc import Callable, Generator
from http import HTTPStatus
from time import perf_counter
from typing import Any, cast

from starlette.types import Message, Receive

from ekiben.dialects import Answer, refuse

LONGEST_MS = 86_400_000  # a day: who waits longer has mistaken the unit
SAFELY = 0.7  # of the time that is left may be expected to pass: what is expected is not what comes
FEW = 4  # that may wait for a slow model in turn, where nobody has said until when
LONGEST_RETRY_S = 30


class Patience:
    """When one request is given up, and what is told then.

    Parameters
    ----------
    began, waits_s
        When it came, by `perf_counter`, and how many seconds it may take from there.
    patience_s
        Within how many seconds the answer is wanted, where the caller has not said it; None where it has.
    """

    __slots__ = ("_began", "_patience_s", "_waits_s")

    def __init__(self, began: float, waits_s: float, patience_s: float | None = None) -> None:
        self._began, self._waits_s, self._patience_s = began, waits_s, patience_s

    @property
    def left_s(self) -> float:
        """How many seconds are left; below 0 when none are."""
        return self._began + self._waits_s - perf_counter()

    @property
    def patience_s(self) -> float:
        """How many seconds are left within which the answer is wanted; below 0 when none are."""
        return self._began + self._wanted_s - perf_counter()

    @property
    def _wanted_s(self) -> float:
        return self._waits_s if self._patience_s is None else min(self._patience_s, self._waits_s)

    def in_vain(self, expected_s: float, n_before: int) -> Answer | None:
        """Refuse what would wait too long behind others; None lets it wait.

        Who finds nobody before it is never refused, so that a slow model is asked, and measured, all the same.
        """
        if n_before < (1 if self._patience_s is None else FEW):
            return None
        if expected_s <= SAFELY * self.patience_s:
            return None
        says = f"An answer must be there within {self._wanted_s:g} s. It would not be, after those before it. Come back later."
        return too_many(says, expected_s)

    def late(self) -> Answer:
        """Say that the answer was not there in time."""
        says = f"An answer must be there within {self._waits_s:g} s. It was not. Send fewer rows."
        return refuse(HTTPStatus.GATEWAY_TIMEOUT, "timeout", says)


class Arriving:
    """How many bytes of bodies that are still to arrive whole are held, and how many may be."""

    __slots__ = ("most", "n_bytes")

    def __init__(self, most: float) -> None:
        self.most, self.n_bytes = most, 0


class Until(Patience):
    """The patience for a request that comes in parts, and whose caller may leave.

    Parameters
    ----------
    began, waits_s, patience_s
        As of every `Patience`.
    receive
        Where its body comes from, and after it the news that its caller has left.
    """

    __slots__ = ("_receive",)

    def __init__(self, began: float, waits_s: float, patience_s: float | None, receive: Receive) -> None:
        super().__init__(began, waits_s, patience_s)
        self._receive = receive

    def sooner(self, waits_s: float) -> Until:
        """Give an earlier end, some seconds from now."""
        return Until(perf_counter(), min(waits_s, self.left_s), None, self._receive)

    async def body(self, most_bytes: int, arriving: Arriving) -> bytes | Answer:
        """Read the body up to a limit; give the refusal itself when it is larger, late or cut off, or too much arrives beside it."""
        waiting, message, rest = self._receive().__await__(), None, None
        try:
            first = next(waiting)
        except StopIteration as done:  # it is there already: no timer is needed
            message = cast("Message", done.value)
            if not message.get("more_body"):
                return _whole(message, message.get("body", b""), most_bytes)
        else:
            rest = _rest(waiting, first)
        try:
            async with asyncio.timeout(self.left_s):
                messages = [message if rest is None else await rest]
                return await self._rest_of_body(cast("list[Message]", messages), most_bytes, arriving)
        except TimeoutError:
            says = f"A body must arrive within {self._waits_s:g} s. It did not."
            return refuse(HTTPStatus.REQUEST_TIMEOUT, "slow_body", says)

    async def _rest_of_body(self, messages: list[Message], most_bytes: int, arriving: Arriving) -> bytes | Answer:
        size = held = len(messages[0].get("body", b""))
        arriving.n_bytes += held
        try:
            while messages[-1].get("more_body") and size <= 4 * most_bytes:
                if arriving.n_bytes > arriving.most:
                    return too_many("Less must arrive at once than does now. Come back later.")
                messages.append(await self._receive())
                size += (more := len(messages[-1].get("body", b"")))
                if size > most_bytes:  # read on, so that the refusal arrives, but keep none of it
                    del messages[:-1]
                    more = -held
                held += more
                arriving.n_bytes += more
        finally:
            arriving.n_bytes -= held
        if size > most_bytes:
            return too_large(most_bytes)
        return _whole(messages[-1], b"".join(message.get("body", b"") for message in messages), most_bytes)

    async def done(self, work: asyncio.Future[Any]) -> Any:
        """Wait for some work while somebody waits for it; give it up, and say so, when nobody does."""
        gone = asyncio.ensure_future(_gone(self._receive))
        try:
            await asyncio.wait((work, gone), timeout=max(0.0, self.left_s), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            return _left() if gone.done() else self.late()
        finally:
            work.cancel()
            gone.cancel()


def deadline_s(asked_ms: bytes) -> float | Answer:
    """Read how many seconds a caller waits, or refuse what cannot be.

    >>> deadline_s(b"250")
    0.25
    >>> deadline_s(b"soon").code
    'invalid_deadline'
    """
    if not asked_ms.isdigit() or len(asked_ms) > 9 or int(asked_ms) > LONGEST_MS:
        says = f"x-ekiben-deadline-ms must be whole milliseconds from 0 to {LONGEST_MS:,}. Got something else."
        return refuse(HTTPStatus.BAD_REQUEST, "invalid_deadline", says)
    return int(asked_ms) / 1000


def too_many(says: str, after_s: float = 1) -> Answer:
    """Refuse a request that is one too many, and tell when to come back."""
    retry = str(math.ceil(min(max(after_s, 1), LONGEST_RETRY_S)))
    return refuse(HTTPStatus.TOO_MANY_REQUESTS, "too_many_requests", says, headers={"retry-after": retry})


def too_large(most_bytes: int) -> Answer:
    """Refuse a body that is too large."""
    says = f"A body may hold {most_bytes / 1_000_000:g} MB here. Got more. Split it."
    return refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", says)


def _left() -> Answer:
    says = "The body must arrive whole, and somebody must wait for the answer. Neither was so."
    return refuse(HTTPStatus.BAD_REQUEST, "disconnected", says)


def _whole(last: Message, body: bytes, most_bytes: int) -> bytes | Answer:
    if last["type"] == "http.disconnect":
        return _left()
    return body if len(body) <= most_bytes else too_large(most_bytes)


async def _gone(receive: Receive) -> None:
    """Wait until the client has left."""
    if (await receive())["type"] != "http.disconnect":  # not what ASGI promises: then nothing can be told
        await asyncio.Event().wait()


@types.coroutine
def _rest(waiting: Generator[Any, Any, Message], first: Any) -> Generator[Any, Any, Message]:
    """Go on with an awaitable that was begun."""
    while True:
        try:
            sent = yield first
        except BaseException as thrown:  # noqa: BLE001 -- it is theirs, a cancellation too
            resume: Callable[[Any], Any] = waiting.throw
            given: Any = thrown
        else:
            resume, given = waiting.send, sent
        try:
            first = resume(given)
        except StopIteration as done:
            return cast("Message", done.value)
