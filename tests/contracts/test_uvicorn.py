"""What is taken as known of uvicorn's protocol: this says first when a version changes it."""

import asyncio

import pytest
import uvicorn
import uvicorn.config
from uvicorn.protocols.http import auto
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ekiben import serving, wire


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch):
    monkeypatch.setitem(uvicorn.config.HTTP_PROTOCOLS, "auto", wire.AUTO)


def taken():
    """Give the protocol that a server takes which is told nothing of protocols."""

    async def app(scope, receive, send):
        pass

    config = uvicorn.Config(app, log_config=None)
    config.load()
    return config.http_protocol_class


def test_uvicorn_is_made_as_it_is_known_and_takes_the_wire():
    assert taken() is HttpToolsProtocol
    wire.install()
    wire.install()
    assert taken() is wire.Wire


@pytest.mark.parametrize("name", sorted(wire.KNOWN))
def test_a_protocol_that_is_made_otherwise_is_left_alone(monkeypatch, name):
    async def other(self, *parts):
        await asyncio.sleep(0)

    monkeypatch.setattr(HttpToolsProtocol, name, other)
    with pytest.raises(TypeError, match=f"{name} of uvicorn's protocol is not made as it is known here"):
        wire.install()
    monkeypatch.undo()
    assert taken() is HttpToolsProtocol


def test_a_protocol_without_a_part_is_left_alone(monkeypatch):
    monkeypatch.delattr(HttpToolsProtocol, "on_response_complete")
    with pytest.raises(AttributeError):
        wire.install()


def test_where_uvicorn_takes_h11_it_is_left_alone_and_one_warning_says_so(monkeypatch, caplog):
    monkeypatch.setattr(auto, "AutoHTTPProtocol", H11Protocol)
    serving._wired()
    assert "every request goes through ASGI, and is slower: uvicorn does not choose" in caplog.text
    assert taken() is H11Protocol
