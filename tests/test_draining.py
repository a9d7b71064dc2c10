"""A service's last seconds, in one process: who hears of the signal, and what callers are told."""

import asyncio
import os
import signal

import pytest

import ekiben as ek
from asking import ask
from ekiben import draining
from ekiben.draining import Drain


def test_the_time_to_drain_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv(draining.SECONDS, raising=False)
    assert draining.seconds() == 3
    monkeypatch.setenv(draining.SECONDS, "0.5")
    assert draining.seconds() == 0.5


@pytest.mark.parametrize("told", ["soon", "-1", "3601", "nan", "inf"])
def test_a_time_to_drain_that_is_none_is_refused(monkeypatch, told):
    monkeypatch.setenv(draining.SECONDS, told)
    with pytest.raises(
        ek.EkibenError, match=r"EKIBEN_DRAIN_S must be a number of seconds from 0 to 3600\. Got another"
    ):
        draining.seconds()


@pytest.fixture
def server():
    """What a server does with SIGTERM: it notes it."""
    heard, before = [], signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    yield heard
    signal.signal(signal.SIGTERM, before)


async def told_to_end(drain, times=1):
    drain.stand_before(asyncio.get_running_loop())
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGTERM)


def test_the_server_hears_of_the_end_when_the_time_is_over(server):
    drain = Drain(0.05)

    async def life():
        await told_to_end(drain)
        heard_at_once = [*server]
        while not server:  # noqa: ASYNC110 -- a signal sets no event
            await asyncio.sleep(0.01)
        return heard_at_once

    assert asyncio.run(life()) == []
    assert drain.has_begun
    assert server == [signal.SIGTERM]


def test_the_server_hears_at_once_of_an_end_that_is_told_twice(server):
    asyncio.run(told_to_end(Drain(600), times=2))
    assert server == [signal.SIGTERM]


def test_without_a_time_to_drain_the_server_hears_at_once(server):
    drain = Drain(0)
    asyncio.run(told_to_end(drain))
    assert (server, drain.has_begun) == ([signal.SIGTERM], False)


def test_each_caller_comes_by_a_new_connection_next_time():
    async def app(scope, receive, send):
        send = Drain(1).closing(send)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"c"})

    answer = asyncio.run(ask(app, "GET", "/"))
    assert (answer.headers, answer.body) == ({"a": "b", "connection": "close"}, b"c")
