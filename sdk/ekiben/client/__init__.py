"""A table in, a table out: ask a running service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import httpx

from ekiben import protocol
from ekiben.client import frames
from ekiben.client.asking import Ask, Asking, Part, Steps, T
from ekiben.client.frames import Answered
from ekiben.errors import SpecError, UnreachableError
from ekiben.explanations import Explanations
from ekiben.progress import Progress, shown
from ekiben.schema import Signature

if TYPE_CHECKING:
    import pandas as pd

TIMEOUT_S, RETRIES, AT_ONCE = 60.0, 2, 4
Send = Callable[[], Ask | float]


@overload
def connect(
    url: str, *, timeout_s: float = ..., token: str | None = ..., retries: int = ..., asynchronous: Literal[False] = ...
) -> Client: ...


@overload
def connect(
    url: str,
    *,
    timeout_s: float = ...,
    token: str | None = ...,
    retries: int = ...,
    asynchronous: Literal[True],
    at_once: int = ...,
) -> AsyncClient: ...


def connect(
    url: str,
    *,
    timeout_s: float = TIMEOUT_S,
    token: str | None = None,
    retries: int = RETRIES,
    asynchronous: bool = False,
    at_once: int = AT_ONCE,
) -> Client | AsyncClient:
    """Give a client of a running service, which takes and gives frames.

    Many rows go as Arrow where the service takes it and pyarrow is installed here, and as JSON otherwise; the answers are the
    same. A frame that is larger than one request may be goes in several, and its answers come as one frame.

    Parameters
    ----------
    url
        The service's address, such as `http://127.0.0.1:3000`.
    timeout_s
        How long one request may take, in seconds.
    token
        What the service knows this client by; by default what `EKIBEN_TOKEN` holds.
    retries
        How often a request is sent again that was never taken: nobody listened, or the service said when to come back.
        What may have been answered is not sent twice.
    asynchronous
        Whether its methods are awaited.
    at_once
        How many requests of one frame an asynchronous client has under way.

    Examples
    --------
    >>> connect("http://127.0.0.1:9").url
    'http://127.0.0.1:9'
    >>> connect("http://127.0.0.1:9", asynchronous=True)
    <AsyncClient http://127.0.0.1:9>
    """
    if asynchronous:
        return AsyncClient(url, timeout_s=timeout_s, token=token, retries=retries, at_once=at_once)
    return Client(url, timeout_s=timeout_s, token=token, retries=retries)


class _Named:
    """How a client shows itself."""

    _asking: Asking
    _again = "connect again, by ek.connect(url)"

    @property
    def url(self) -> str:
        """The service's address."""
        return self._asking.url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    def _refuse_closed(self, http: httpx.Client | httpx.AsyncClient) -> None:
        if http.is_closed:
            raise UnreachableError(f"{self!r} must be open to be asked. It was closed: {self._again}.")

    def _repr_html_(self) -> str:
        return f'<a href="{self.url}" target="_blank">{self.url}</a>'


class Client(_Named):
    """A running service, asked with frames: what `connect` gives.

    Parameters
    ----------
    url, timeout_s, token, retries
        As in `connect`.

    Examples
    --------
    >>> Client("http://127.0.0.1:9").url
    'http://127.0.0.1:9'
    """

    def __init__(
        self, url: str, *, timeout_s: float = TIMEOUT_S, token: str | None = None, retries: int = RETRIES
    ) -> None:
        self._asking = Asking(url, timeout_s=timeout_s, token=token, retries=retries)
        self._http = httpx.Client(**self._asking.settings)

    def predict(
        self,
        frame: pd.DataFrame,
        *,
        unit: str | None = None,
        explain: bool = False,
        progress: Progress | bool | None = None,
    ) -> pd.DataFrame:
        """Ask for an answer to each row.

        Parameters
        ----------
        frame
            Rows of shape (n_rows, n_columns).
        unit
            Who asks; the same unit is answered by the same arm.
        explain
            Whether to ask why in the same request, of an arm that its plan explains at once: what explains is in
            `attrs["explanations"]`. More rows than one request may explain go in several.
        progress
            Takes a few words after each of several requests; False keeps them from being shown.

        Returns
        -------
        What the package's own `predict` gives. Which arm answered is in `attrs`; of several requests each is in
        `attrs["requests"]`.

        Raises
        ------
        RequestError
            If the service refuses the rows, with every fault.
        SchemaError
            If the rows hold what no JSON can.
        UnreachableError
            If the service does not answer.
        """
        parts = self._run(self._asking.explained_parts(frame) if explain else self._asking.parts(frame))
        if len(parts) == 1:
            return frames.joined(self._run(self._asking.predicted(parts[0], unit, explain=explain)), frame.index)
        answers: list[Answered] = []
        with shown(progress) as say:
            for part in parts:
                answers += self._run(self._asking.predicted(part, unit, explain=explain))
                say(_so_far(answers, frame))
        return frames.joined(answers, frame.index)

    def explain(
        self,
        frame: pd.DataFrame,
        *,
        unit: str | None = None,
        method: str | None = None,
        units: str | None = None,
        columns: Sequence[str] | None = None,
        top: int | None = None,
        seed: int | None = None,
        wait: float | None = None,
    ) -> Explanations:
        """Ask why, for each row; what the service explains later is fetched by its ticket.

        More rows than one request may explain go in several.

        Parameters
        ----------
        frame
            Rows of shape (n_rows, n_columns).
        unit
            Who asks; the arm that answers this unit is explained.
        method
            One of those that the service offers; by default the packed one.
        units
            The scale: `probability`, `log-odds`, `margin` or `target`; by default that of the method.
        columns, top
            Which columns to tell, and how many of the strongest; the rest is told as one number, `other`.
        seed
            Seeds the methods that draw samples; 0 by default.
        wait
            How many seconds the service may take before it gives a ticket; by default its own budget.

        Raises
        ------
        RequestError
            If the service refuses, or the explanation is not there within `timeout_s`: then it is cancelled.
        UnreachableError
            If the service does not answer.
        """
        wish = _wish(method=method, units=units, columns=columns, top=top, seed=seed, wait=wait)
        parts = self._run(self._asking.explained_parts(frame))
        return Explanations(each for part in parts for each in self._run(self._asking.explained(part, unit, wish)))

    def schema(self) -> dict[str, Any]:
        """Give the service's contract."""
        return self._run(self._asking.page("/schema"))

    def card(self) -> dict[str, Any]:
        """Give the model card of every arm."""
        return self._run(self._asking.page("/card"))

    def routing(self) -> dict[str, Any]:
        """Give which arm answers how often."""
        return self._run(self._asking.page("/routing"))

    @cached_property
    def signature(self) -> Signature:
        """The contract as a signature."""
        return self._run(self._asking.signature())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, steps: Steps[T]) -> T:
        """Send what the steps give, one by one, until they have come to their end."""
        self._refuse_closed(self._http)
        act: Send = partial(steps.send, None)
        while True:
            step, found = _next(act)
            if step is None:
                return found  # type: ignore[no-any-return]
            act = partial(steps.send, None)
            if isinstance(step, Ask):
                try:
                    act = partial(steps.send, self._http.request(**_sent(step)))
                except httpx.TransportError as reason:
                    act = partial(steps.throw, reason)
            else:
                time.sleep(step)


class AsyncClient(_Named):
    """A running service, asked with frames and awaited: what `connect(…, asynchronous=True)` gives.

    Parameters
    ----------
    url, timeout_s, token, retries, at_once
        As in `connect`.

    Raises
    ------
    SpecError
        If not even one request may be under way.

    Examples
    --------
    >>> asyncio.run(AsyncClient("http://127.0.0.1:9").close())
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = TIMEOUT_S,
        token: str | None = None,
        retries: int = RETRIES,
        at_once: int = AT_ONCE,
    ) -> None:
        if at_once < 1:
            raise SpecError(f"The 'at_once' must be at least one request. Got {at_once}.")
        self._asking = Asking(url, timeout_s=timeout_s, token=token, retries=retries)
        self._http = httpx.AsyncClient(**self._asking.settings)
        self._at_once = at_once

    async def predict(
        self,
        frame: pd.DataFrame,
        *,
        unit: str | None = None,
        explain: bool = False,
        progress: Progress | bool | None = None,
    ) -> pd.DataFrame:
        """Ask for an answer to each row, as `Client.predict` does; several requests at once where one may not hold all rows."""
        parts = await self._run(self._asking.explained_parts(frame) if explain else self._asking.parts(frame))
        if len(parts) == 1:
            return frames.joined(await self._run(self._asking.predicted(parts[0], unit, explain=explain)), frame.index)
        done = list[Answered]()
        with shown(progress) as say:

            async def one(part: Part) -> list[Answered]:
                found = await self._run(self._asking.predicted(part, unit, explain=explain))
                done.extend(found)
                say(_so_far(done, frame))
                return found

            return frames.joined(await self._at_a_time(parts, one), frame.index)

    async def _at_a_time(self, parts: list[Part], ask: Callable[[Part], Awaitable[list[T]]]) -> list[T]:
        """Ask for some parts side by side; the first that is refused ends the others."""
        gate = asyncio.Semaphore(self._at_once)

        async def one(part: Part) -> list[T]:
            async with gate:
                return await ask(part)

        tasks = [asyncio.ensure_future(one(part)) for part in parts]
        try:
            return [each for found in await asyncio.gather(*tasks) for each in found]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def explain(
        self,
        frame: pd.DataFrame,
        *,
        unit: str | None = None,
        method: str | None = None,
        units: str | None = None,
        columns: Sequence[str] | None = None,
        top: int | None = None,
        seed: int | None = None,
        wait: float | None = None,
    ) -> Explanations:
        """Ask why, for each row, as `Client.explain` does."""
        wish = _wish(method=method, units=units, columns=columns, top=top, seed=seed, wait=wait)
        parts = await self._run(self._asking.explained_parts(frame))
        return Explanations(
            await self._at_a_time(parts, lambda part: self._run(self._asking.explained(part, unit, wish)))
        )

    async def schema(self) -> dict[str, Any]:
        """Give the service's contract."""
        return await self._run(self._asking.page("/schema"))

    async def card(self) -> dict[str, Any]:
        """Give the model card of every arm."""
        return await self._run(self._asking.page("/card"))

    async def routing(self) -> dict[str, Any]:
        """Give which arm answers how often."""
        return await self._run(self._asking.page("/routing"))

    async def signature(self) -> Signature:
        """Give the contract as a signature."""
        return await self._run(self._asking.signature())

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, steps: Steps[T]) -> T:
        """Send what the steps give, one by one, until they have come to their end.

        They run in a thread: who awaits a large frame has other work, which must not wait until it is written and read.
        """
        self._refuse_closed(self._http)
        act: Send = partial(steps.send, None)
        while True:
            step, found = await asyncio.to_thread(_next, act)
            if step is None:
                return found  # type: ignore[no-any-return]
            act = partial(steps.send, None)
            if isinstance(step, Ask):
                try:
                    act = partial(steps.send, await self._http.request(**_sent(step)))
                except httpx.TransportError as reason:
                    act = partial(steps.throw, reason)
            else:
                await asyncio.sleep(step)


def _next(act: Send) -> tuple[Ask | float | None, Any]:
    """Take the next step; None and what came of them where it was the last: no future holds a `StopIteration`."""
    try:
        return act(), None
    except StopIteration as done:
        return None, done.value


def _wish(*, columns: Sequence[str] | None, **rest: Any) -> dict[str, Any]:
    if isinstance(columns, str):
        raise SpecError(f"The 'columns' must be a list of names. Got the text {columns!r}. Did you mean [{columns!r}]?")
    return {**rest, "columns": None if columns is None else protocol.listed(columns)}


def _sent(ask: Ask) -> dict[str, Any]:
    return {"method": ask.method, "url": ask.path, "headers": ask.headers, "content": ask.content or None}


def _so_far(answers: list[Answered], frame: pd.DataFrame) -> str:
    return f"{sum(each.n_rows for each in answers):,} of {len(frame):,} rows answered"
