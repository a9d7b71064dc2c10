"""Ask a model about several requests at once: those that came while it was busy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from copy import copy
from queue import SimpleQueue
from time import perf_counter
from typing import Generic, NamedTuple, TypeVar

from ekiben.pacing import Pace

T = TypeVar("T")
R = TypeVar("R")


class _Waiting(NamedTuple, Generic[T, R]):
    item: T
    size: int
    answer: asyncio.Future[R]


class Batcher(Generic[T, R]):
    """Give what waits to one thread, together, each time that it is free.

    There is no timer: what comes to an idle thread is asked at once and alone. What was given up, its future
    cancelled, is never asked. `n_unanswered` counts what came and has no answer yet. A thread that hangs holds up its own
    batcher and nothing else.

    Parameters
    ----------
    compute
        Called in the thread with the items of one batch; for each its answer. When it raises, its items are asked one by
        one, so that none is harmed by another.
    most
        How large a batch may be, in the sum of its items' sizes; a larger item goes alone.
    name
        The thread's name.
    pace
        What is known already of what items cost.

    Examples
    --------
    >>> import asyncio
    >>> async def doubled():
    ...     batcher = Batcher(lambda items: [2 * item for item in items], most=8, name="example")
    ...     answers = await asyncio.gather(*(batcher.ask(n) for n in range(4)))
    ...     batcher.close()
    ...     return answers
    >>> asyncio.run(doubled())
    [0, 2, 4, 6]
    """

    def __init__(
        self, compute: Callable[[Sequence[T]], Sequence[R]], *, most: int, name: str, pace: Pace | None = None
    ) -> None:
        self._compute, self._most = compute, most
        self._waiting: dict[asyncio.Future[R], _Waiting[T, R]] = {}  # in the order of their coming
        self._batches: SimpleQueue[tuple[asyncio.AbstractEventLoop, list[_Waiting[T, R]]] | None] = SimpleQueue()
        self._is_busy, self._busy_with, self._busy_since = False, 0, 0.0
        self._pace, self._size_waiting, self.n_unanswered = copy(pace) if pace else Pace(), 0, 0
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)  # a hung model must not keep it alive
        self._thread.start()

    def ask(self, item: T, size: int = 1) -> asyncio.Future[R]:
        """Give the future answer to one item; cancel it to give the item up."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._waiting[answer] = _Waiting(item, size, answer)
        self.n_unanswered += 1
        self._size_waiting += size
        answer.add_done_callback(self._left)
        if not self._is_busy:
            self._next(loop)
        return answer

    def expected_s(self, size: int | None = None) -> float:
        """Tell how many seconds an item that came now would take: what is asked just now, and what waits, included.

        Without a size it is as large as those that are here.
        """
        usual = (self._size_waiting + self._busy_with) // self.n_unanswered if self.n_unanswered else 1
        most = self._most - self._most % usual if 0 < usual < self._most else self._most
        full, rest = divmod(self._size_waiting + (usual if size is None else size), most)
        own = (self._pace.expected_s(rest) if rest else 0.0) + full * self._pace.expected_s(most)
        if not self._is_busy:
            return own
        # what has taken long already is expected to take as long again
        return own + max(self._pace.expected_s(self._busy_with), perf_counter() - self._busy_since)

    def close(self) -> None:
        """End the thread after what it was given."""
        self._batches.put(None)

    # ── on the event loop ──

    def _left(self, answer: asyncio.Future[R]) -> None:
        self.n_unanswered -= 1
        if (given_up := self._waiting.pop(answer, None)) is not None:
            self._size_waiting -= given_up.size

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        batch: list[_Waiting[T, R]] = []
        size = 0
        for waiting in [each for each in self._waiting.values() if not each.answer.done()]:
            if batch and size + waiting.size > self._most:
                break
            batch.append(waiting)
            size += waiting.size
            del self._waiting[waiting.answer]
        self._size_waiting -= size
        self._is_busy, self._busy_with, self._busy_since = bool(batch), size, perf_counter()
        if batch:
            self._batches.put((loop, batch))

    def _answer(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: list[_Waiting[T, R]],
        answers: Sequence[R | Exception],
        seconds: float,
    ) -> None:
        self._pace.took(seconds, self._busy_with)
        self._next(loop)  # first, so that the thread goes on
        for waiting, answer in zip(batch, answers, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(answer, Exception):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)

    # ── in the thread ──

    def _run(self) -> None:
        while (given := self._batches.get()) is not None:
            loop, batch = given
            began = perf_counter()
            answers = self._asked([waiting.item for waiting in batch])
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._answer, loop, batch, answers, perf_counter() - began)

    def _asked(self, items: list[T]) -> Sequence[R | Exception]:
        try:
            answers = self._compute(items)
            if len(answers) != len(items):
                raise RuntimeError("a batch must give an answer for each item")
        except BaseException as reason:  # noqa: BLE001 -- whatever it is, it is told, and the thread goes on
            told = reason if isinstance(reason, Exception) else RuntimeError(type(reason).__name__)
            return [told] if len(items) == 1 else [each for item in items for each in self._asked([item])]
        return answers
