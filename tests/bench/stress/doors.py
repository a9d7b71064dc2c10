"""Every route of a server, asked without a good key: which of them answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from bench.stress.dialects import JSON, Locks, is_probe

Door = tuple[str, str]  # a method and a path

DOCUMENTS = ("/openapi.json", "/docs.json", "/v2/docs/dataplane.json")
USUAL = (
    *("/", "/metrics", "/docs", "/redoc", "/docs.json", "/openapi.json", "/schema", "/version", "/info", "/card"),
    *("/livez", "/readyz", "/healthz", "/health", "/ping", "/routing", "/v2", "/v2/docs", "/v2/models"),
)
METHODS = ("get", "post", "put", "delete", "patch")
SHUT = (401, 403)
NONE = (404, 405)


def doors(url: str, locks: Locks, *, body: bytes, named: Mapping[str, str]) -> dict[str, Any]:
    """Find the routes that a server has, and ask each without a good key.

    Parameters
    ----------
    url
        The server.
    locks
        The keys it was given.
    body
        A body that is valid where rows are asked for.
    named
        What stands for a parameter of a path, such as the model's name.
    """
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as http:
        listed = {*listed_in(document(http, locks), named)}
        usual = {("get", path) for path in USUAL} - listed
        found = listed | {door for door in usual if status(http, door, locks.good, body) not in NONE}
        behind = sorted(door for door in found if not is_probe(door[1]))
        answering = {
            name: [shown(door) for door in behind if answers(http, door, headers, body)]
            for name, headers in locks.bad.items()
        }
    return {
        "listed": len(listed),
        "doors": len(behind),
        "probes": len(found) - len(behind),
        "open": {name: len(names) for name, names in answering.items()},
        "names": answering,
        "knows_keys": locks.knows_keys,
        "says": locks.says,
    }


def document(http: httpx.Client, locks: Locks) -> Mapping[str, Any]:
    """Give the server's own OpenAPI document; an empty one where there is none."""
    for path in DOCUMENTS:
        answer = http.get(path, headers=locks.good)
        if answer.status_code == 200 and "json" in answer.headers.get("content-type", ""):
            return dict(json.loads(answer.content))
    return {}


def listed_in(told: Mapping[str, Any], named: Mapping[str, str]) -> Iterator[Door]:
    """Give each method and path of an OpenAPI document, its parameters filled in."""
    for path, methods in told.get("paths", {}).items():
        filled = re.sub(r"\{(\w+)[^}]*\}", lambda found: named.get(found[1], "1"), path)
        yield from ((method, filled) for method in METHODS if method in methods)


def answers(http: httpx.Client, door: Door, headers: Mapping[str, str], body: bytes) -> bool:
    return status(http, door, headers, body) not in SHUT


def status(http: httpx.Client, door: Door, headers: Mapping[str, str], body: bytes) -> int:
    """Ask at a door, and give the status alone; 0 where the connection is closed instead."""
    method, path = door
    content = body if method != "get" else None
    try:
        with http.stream(method.upper(), path, headers={**JSON, **headers}, content=content) as answer:
            return answer.status_code
    except httpx.TransportError:
        return 0


def shown(door: Door) -> str:
    return f"{door[0].upper()} {door[1]}"
