"""What every part of the OpenAPI document is said with: schemas by name, objects, lists, refusals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ekiben.protocol import ARM, ID, MODEL

TEXT = {"type": "string"}
NUMBER = {"type": "number"}
HEADERS = {ID: "The id of this answer.", ARM: "The arm that answered.", MODEL: "The version that the arm serves."}
# What each refusal means: its status and when it comes.
REFUSALS = {
    400: "The body does not fit the contract; `fields` names each row and column. Or a header cannot be what it is.",
    401: "The service asks for a key, and none that it knows came.",
    403: "The key is for something else, or the service does not show its reference rows.",
    408: "The body did not arrive in time.",
    413: "The body or its number of rows is above the service's limits.",
    415: "The content type is none that is taken here.",
    422: "The model has no finite answer, or no explanation, for rows that fit the contract.",
    429: "As many as may be are answered at once; come back after `Retry-After` seconds.",
    500: "The service failed; its log says why.",
    503: "The models are being loaded, or an explanation was given up.",
    504: "The answer was not there in time: the service's, or what `x-ekiben-deadline-ms` asked for.",
}
# Tables in place of JSON: each column of the contract, or of the answer's frame, is one of theirs.
TABLES: dict[str, Any] = {
    f"application/vnd.apache.{kind}": {"schema": {"type": "string", "format": "binary"}}
    for kind in ("arrow.stream", "arrow.file", "parquet")
}


def ref(name: str) -> dict[str, str]:
    """Point at one of the document's schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def closed(properties: Mapping[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    """Describe an object of these properties and no others, by default all required."""
    named = list(properties) if required is None else required
    return {"type": "object", "properties": dict(properties), "required": named, "additionalProperties": False}


def array(items: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a list."""
    return {"type": "array", "items": dict(items)}
