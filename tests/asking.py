"""Ask an ASGI application without a server."""

import asyncio
import json
from dataclasses import dataclass, field


@dataclass
class Asked:
    """What an application sent."""

    status: int = 0
    headers: dict = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self):
        return json.loads(self.body)


class Caller:
    """A caller who sends a body in parts, waits, and may leave."""

    def __init__(self, *parts, silent=False):
        self.parts, self.silent, self.left = [*parts], silent, asyncio.Event()

    async def receive(self):
        if self.parts:
            part = self.parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self.parts) or self.silent}
        await self.left.wait()
        return {"type": "http.disconnect"}


async def ask(app, method, path, *parts, headers=None, caller=None):
    """Ask for a path and give what came."""
    told, caller = Asked(), caller or Caller(*parts)

    async def send(message):
        if message["type"] == "http.response.start":
            told.status = message["status"]
            told.headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
        else:
            told.body += message.get("body", b"")

    named = [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    path, _, query = path.partition("?")
    scope = {"type": "http", "method": method, "path": path, "headers": named, "query_string": query.encode()}
    await app(scope, caller.receive, send)
    return told
