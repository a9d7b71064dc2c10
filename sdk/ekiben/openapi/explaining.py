"""What is asked of `/explain` beside the rows, and its tickets, in OpenAPI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ekiben.explainers import UNITS
from ekiben.explaining.wishes import LONGEST_S, MOST_SEED
from ekiben.openapi.words import TEXT, closed, ref

_NUMBER = {"type": "number", "minimum": 0}
GONE = "It was cancelled, or the process that had its work has ended."


LANGUAGE = {
    "name": "accept-language",
    "in": "header",
    "required": False,
    "description": "The language of a page: `en` or `fr`.",
    "schema": TEXT,
}


def extended(
    document: dict[str, Any], methods: Sequence[str], columns: Sequence[str], most: int | None = None
) -> dict[str, Any]:
    """Give a service's document with what `/explain` takes and gives beside rows and explanations."""
    post = document["paths"]["/explain"]["post"]
    told = {**post["responses"], "202": _answer("It comes later: a ticket for it.", "Ticket")}
    told |= {"200": _seen_too(post["responses"]["200"])}
    extended = {**post, "parameters": [*_parameters(methods, columns, most), LANGUAGE], "responses": told}
    paths = {**document["paths"], "/explain": {"post": extended}, "/explain/{ticket}": _ticket()}
    schemas = {**document["components"]["schemas"], "Ticket": _schema()}
    return {**document, "paths": paths, "components": {**document["components"], "schemas": schemas}}


def _parameters(methods: Sequence[str], columns: Sequence[str], most: int | None) -> list[dict[str, Any]]:
    top, seed = {"type": "integer", "minimum": 1, "maximum": most or 10_000}, {"type": "integer", "minimum": 0}
    several: dict[str, Any] = {
        "type": "array",
        "items": {**TEXT, "enum": [*columns]},
        "minItems": 1,
        "uniqueItems": True,
    }
    return [
        _query("method", {**TEXT, "enum": [*methods]}, "By which method; by default the packed one."),
        _query("units", {**TEXT, "enum": [*UNITS]}, "On which scale; by default that of the method."),
        {
            **_query("columns", several, "Only these are told; the rest is one number."),
            "style": "form",
            "explode": False,
        },
        _query("top", top, "Only so many columns are told, the strongest; the rest is one number."),
        _query("seed", seed | {"maximum": MOST_SEED}, "Seeds a method that draws: the same seed explains the same."),
        _query("wait", {**_NUMBER, "maximum": LONGEST_S}, "How many seconds to wait before a ticket is given."),
    ]


def _query(name: str, schema: dict[str, Any], says: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": says, "schema": schema}


def _ticket() -> dict[str, Any]:
    path = {"name": "ticket", "in": "path", "required": True, "schema": {**TEXT, "pattern": "^[0-9a-f]{32}$"}}
    missing = {"404": _answer("There is no such ticket for this key.", "Error"), "410": _answer(GONE, "Error")}
    failed = {str(status): _answer("What was asked has failed.", "Error") for status in (422, 500, 503)}
    found = _seen_too(_answer("The explanations.", "ExplainResponse"))
    done = {"200": found, "202": _answer("Not yet.", "Ticket")}
    stopped = {"200": _answer("It is cancelled.", None)}
    common = {"tags": ["model"], "parameters": [path]}
    return {
        "get": {
            "operationId": "fetch_explanation",
            "summary": "Fetch what was explained.",
            "responses": {**done, **missing, **failed},
            **common,
            "parameters": [path, LANGUAGE],
        },
        "delete": {
            "operationId": "cancel_explanation",
            "summary": "Cancel an explanation that is under way.",
            "responses": {**stopped, **missing},
            **common,
        },
    }


def _seen_too(answer: dict[str, Any]) -> dict[str, Any]:
    """Say that an answer may be a page."""
    return {**answer, "content": {**answer["content"], "text/html": {"schema": TEXT}}}


def _answer(says: str, name: str | None) -> dict[str, Any]:
    schema = {"type": "object"} if name is None else ref(name)
    return {"description": says, "content": {"application/json": {"schema": schema}}}


def _schema() -> dict[str, Any]:
    told: dict[str, Any] = dict.fromkeys(("id", "arm", "model", "ticket", "poll", "why"), TEXT)
    told |= {"rung": {**TEXT, "enum": ["later"]}, "status": {**TEXT, "enum": ["running"]}}
    told |= {"progress": {**_NUMBER, "maximum": 1, "nullable": True}}
    return closed(told, required=[name for name in told if name != "why"])
