"""Requests that are asked together, and what one of them may never do to another."""

import asyncio
import gc
import threading

import pytest

from ekiben.batching import Batcher
from ekiben.pacing import Pace

PATIENCE_S = 120


class Model:
    """Doubles numbers, refuses negative ones, and waits to be let go when it is told to."""

    def __init__(self, *, held=False):
        self.asked, self.began, self.go = [], threading.Event(), threading.Event()
        if not held:
            self.go.set()

    def __call__(self, items):
        self.asked.append([*items])
        self.began.set()
        assert self.go.wait(PATIENCE_S)
        if any(item < 0 for item in items):
            raise ValueError("a number must not be negative")
        return [2 * item for item in items]


def run(model, story, most=100, pace=None):
    """Play an asynchronous story with a batcher."""

    async def played():
        batcher = Batcher(model, most=most, name="test", pace=pace)
        try:
            return await asyncio.wait_for(story(batcher), PATIENCE_S)
        finally:
            model.go.set()
            batcher.close()

    return asyncio.run(played())


async def begun(model):
    await asyncio.to_thread(model.began.wait, PATIENCE_S)


def test_what_comes_to_an_idle_thread_is_asked_at_once_and_alone():
    model = Model()

    async def story(batcher):
        return [await batcher.ask(n) for n in (1, 2, 3)]

    assert run(model, story) == [2, 4, 6]
    assert model.asked == [[1], [2], [3]]


def test_what_is_no_error_costs_its_own_item_alone():
    class Panic(BaseException):
        pass

    def model(items):
        if 0 in items:
            raise Panic("a value")
        return [2 * item for item in items]

    async def played():
        batcher = Batcher(model, most=100, name="test")
        try:
            return await asyncio.gather(*map(batcher.ask, (0, 1)), return_exceptions=True), await batcher.ask(2)
        finally:
            batcher.close()

    (panic, one), later = asyncio.run(asyncio.wait_for(played(), PATIENCE_S))
    assert (repr(panic), one, later) == ("RuntimeError('Panic')", 2, 4)


def test_what_comes_while_the_thread_is_busy_is_asked_together():
    model = Model(held=True)

    async def story(batcher):
        answers = [batcher.ask(n) for n in range(5)]
        await begun(model)
        model.go.set()
        return await asyncio.gather(*answers)

    assert run(model, story) == [0, 2, 4, 6, 8]
    assert model.asked == [[0], [1, 2, 3, 4]]


def test_a_batch_is_no_larger_than_its_limit_and_what_is_larger_goes_alone():
    model = Model(held=True)

    async def story(batcher):
        answers = [batcher.ask(n, size) for n, size in enumerate([1, 4, 4, 4, 11, 1])]
        model.go.set()
        return await asyncio.gather(*answers)

    assert run(model, story, most=10) == [0, 2, 4, 6, 8, 10]
    assert model.asked == [[0], [1, 2], [3], [4], [5]]


def test_a_request_that_makes_the_model_raise_harms_no_other():
    model = Model(held=True)

    async def story(batcher):
        answers = [batcher.ask(n) for n in (0, 1, -1, 3)]
        model.go.set()
        return await asyncio.gather(*answers, return_exceptions=True)

    first, second, third, fourth = run(model, story)
    assert (first, second, fourth) == (0, 2, 6)
    assert isinstance(third, ValueError)
    assert model.asked == [[0], [1, -1, 3], [1], [-1], [3]]


def test_a_model_that_loses_an_answer_gives_nobody_another_s():
    async def story(batcher):
        return await asyncio.gather(*(batcher.ask(n) for n in range(3)), return_exceptions=True)

    model = Model()

    async def played():
        batcher = Batcher(lambda items: model(items)[:1], most=10, name="test")
        answers = await story(batcher)
        batcher.close()
        return answers

    assert asyncio.run(played()) == [0, 2, 4]


def test_what_was_given_up_is_never_asked_and_is_forgotten():
    model = Model(held=True)

    async def story(batcher):
        first, second, third = (batcher.ask(n) for n in range(3))
        await begun(model)
        second.cancel()
        await asyncio.sleep(0)
        assert batcher.n_unanswered == 2
        model.go.set()
        return await asyncio.gather(first, third)

    assert run(model, story) == [0, 4]
    assert model.asked == [[0], [2]]


def test_what_is_given_up_while_it_is_asked_disturbs_nobody():
    model = Model(held=True)

    async def story(batcher):
        first = batcher.ask(0)
        await begun(model)
        first.cancel()
        second = batcher.ask(1)
        model.go.set()
        return await second

    assert run(model, story) == 2


def test_a_model_that_hangs_holds_nothing_in_memory_that_was_given_up():
    model = Model(held=True)

    async def story(batcher):
        kept = batcher.ask(0)
        await begun(model)
        for n in range(1000):
            batcher.ask(n).cancel()
        await asyncio.sleep(0)
        gc.collect()
        assert batcher.n_unanswered == 1
        model.go.set()
        return await kept

    assert run(model, story) == 0


@pytest.mark.parametrize("n_loops", [2])
def test_a_batcher_outlives_the_loop_that_asked_it_first(n_loops):
    model = Model()
    batcher = Batcher(model, most=10, name="test")

    async def asked():
        return await batcher.ask(3)

    assert [asyncio.run(asked()) for _ in range(n_loops)] == [6, 6]
    batcher.close()


def test_an_item_is_expected_to_take_what_the_batch_before_it_and_its_own_take():
    model, pace = Model(held=True), Pace()
    for size in (1, 2, 4):
        pace.took(10.0 + size, size)

    async def story(batcher):
        alone = batcher.expected_s(3)
        asked = [batcher.ask(1, 5), *(batcher.ask(n, 4) for n in (2, 3))]
        behind = batcher.expected_s(2), batcher.expected_s()
        asked[1].cancel()
        await asyncio.sleep(0)
        fewer = batcher.expected_s(2)
        model.go.set()
        await asked[0], await asked[2]
        return alone, behind, fewer

    alone, behind, fewer = run(model, story, most=8, pace=pace)
    assert alone == pytest.approx(13)
    assert behind[0] == pytest.approx(15 + 18 + 12)  # what is asked, a full batch, and the rest
    assert behind[1] == pytest.approx(15 + 18 + 14)  # as large as those that are here
    assert fewer == pytest.approx(15 + 16)


def test_a_batch_that_takes_longer_than_it_should_is_expected_to_take_as_long_again():
    model, pace = Model(held=True), Pace()
    pace.took(0.001, 1)

    async def story(batcher):
        asked = batcher.ask(1)
        await begun(model)
        first = batcher.expected_s()
        await asyncio.sleep(0.05)
        second = batcher.expected_s()
        model.go.set()
        await asked
        return first, second

    first, second = run(model, story, pace=pace)
    assert second - first > 0.04


def test_what_batches_took_is_learnt():
    model = Model()

    async def story(batcher):
        assert batcher.expected_s() == 0
        await batcher.ask(1)
        return batcher.expected_s()

    assert 0 < run(model, story) < PATIENCE_S
