"""Ask a model about several requests at once: those that came while it was busy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Waiting(NamedTuple, Generic[T, R]):
    item: T
    size: int
    answer: asyncio.Future[R]


class Batcher(Generic[T, R]):
    """Give what waits to one thread, together, each time that it is free.

    There is no timer: what comes to an idle thread is asked at once and alone. What was given up, its future
    cancelled, is never asked. `n_unanswered` counts what came and has no answer yet. A thread that hangs holds up its own batcher and nothing else.

    Parameters
    ----------
    compute
        Called in the thread with the items of one batch; for each its answer. When it raises, its items are asked one by
        one, so that none is harmed by another.
    most
        How large a batch may be, in the sum of its items' sizes; a larger item goes alone.
    name
        The thread's name.

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

    def __init__(self, compute: Callable[[Sequence[T]], Sequence[R]], *, most: int, name: str) -> None:
        self._compute, self._most = compute, most
        self._waiting: dict[asyncio.Future[R], _Waiting[T, R]] = {}  # in the order of their coming
        self._batches: SimpleQueue[tuple[asyncio.AbstractEventLoop, list[_Waiting[T, R]]] | None] = SimpleQueue()
        self._is_busy, self.n_unanswered = False, 0
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)  # a hung model must not keep it alive
        self._thread.start()

    def ask(self, item: T, size: int = 1) -> asyncio.Future[R]:
        """Give the future answer to one item; cancel it to give the item up."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._waiting[answer] = _Waiting(item, size, answer)
        self.n_unanswered += 1
        answer.add_done_callback(self._left)
        if not self._is_busy:
            self._next(loop)
        return answer

    def close(self) -> None:
        """End the thread after what it was given."""
        self._batches.put(None)

    # ── on the event loop ──

    def _left(self, answer: asyncio.Future[R]) -> None:
        self.n_unanswered -= 1
        self._waiting.pop(answer, None)  # given up before it was asked

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        batch: list[_Waiting[T, R]] = []
        size = 0
        for waiting in [each for each in self._waiting.values() if not each.answer.done()]:
            if batch and size + waiting.size > self._most:
                break
            batch.append(waiting)
            size += waiting.size
            del self._waiting[waiting.answer]
        self._is_busy = bool(batch)
        if batch:
            self._batches.put((loop, batch))

    def _answer(
        self, loop: asyncio.AbstractEventLoop, batch: list[_Waiting[T, R]], answers: Sequence[R | Exception]
    ) -> None:
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
            answers = self._asked([waiting.item for waiting in batch])
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._answer, loop, batch, answers)

    def _asked(self, items: list[T]) -> Sequence[R | Exception]:
        try:
            answers = self._compute(items)
            if len(answers) != len(items):
                raise RuntimeError("a batch must give an answer for each item")
        except Exception as reason:  # noqa: BLE001 -- whatever it is, it is told
            return [reason] if len(items) == 1 else [each for item in items for each in self._asked([item])]
        return answers
