"""Ten times as much as a service can answer: what it takes it answers, and the rest hears at once when to come back."""

import json
from itertools import repeat

import numpy as np
import pandas as pd
import pytest
from sklearn.gaussian_process import GaussianProcessClassifier

import ekiben as ek
from traffic.arrivals import offer
from traffic.faults import workers_of
from traffic.load import Request, run

ROWS = 100  # a request, so that each costs the model tens of milliseconds
POINTS = 700
DEADLINE_MS = 10_000
SEED = 8


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A model that costs much, served by one worker that takes few requests at once; and a request to it."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(rng.normal(size=(POINTS, 6)), columns=[*"abcdef"])
    target = (frame["a"] + frame["b"] ** 2 + rng.normal(size=POINTS) > 1).astype(int)
    package = ek.pack(GaussianProcessClassifier(optimizer=None).fit(frame, target), name="slow", reference=frame)
    limits = ek.Limits(concurrency=8)
    folder = ek.scaffold(tmp_path_factory.mktemp("overload") / "slow", arms={"only": package}, limits=limits)
    rows = frame.head(ROWS).to_dict("records")
    headers = {"content-type": "application/json", "x-ekiben-deadline-ms": str(DEADLINE_MS)}
    body = json.dumps({"rows": rows}).encode()
    request = Request("valid", "POST", "/predict", headers, body, frozenset({200, 429}))
    with ek.serve(folder) as server:
        yield server, request


def comes_back(request, answer):
    """Name the fault of a refusal that does not say when to come back."""
    return ["no Retry-After"] if answer.status != 200 and not answer.headers.get("retry-after", "").isdigit() else []


def spent(server):
    """Give the CPU seconds and the bytes that the workers have used."""
    workers = workers_of(server.pid)
    times = [each.cpu_times() for each in workers]
    return sum(each.user + each.system for each in times), sum(each.memory_info().rss for each in workers)


@pytest.mark.parametrize("seconds", [6, pytest.param(600, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_ten_times_the_capacity_costs_what_is_answered_nothing(slow, seconds):
    server, request = slow

    def overload(per_second, seconds):
        arriving = {"per_second": per_second, "seconds": seconds, "seed": SEED, "judge": comes_back}
        return offer(server.url, repeat(request), **arriving)

    warm = run(server.url, repeat(request), clients=8, seconds=3)
    overload(10 * warm.per_second, 2)
    begun = spent(server)
    before = run(server.url, repeat(request), clients=8, seconds=4)
    between = spent(server)
    tally = overload(10 * before.per_second, seconds)
    ended = spent(server)

    assert before.outcomes == {200: before.sent}
    assert {*tally.outcomes} == {200, 429}, tally.table()
    assert tally.outcomes[429] > tally.outcomes[200], tally.table()
    assert not tally.faults, tally.table()
    # what is turned away costs next to nothing: the CPU goes to what is answered, as before
    assert (ended[0] - between[0]) / tally.outcomes[200] < 1.5 * (between[0] - begun[0]) / before.sent, tally.table()
    assert ended[1] < 1.2 * between[1]
    after = run(server.url, repeat(request), clients=8, seconds=2)
    assert after.outcomes == {200: after.sent}
