"""What OpenAPI says of the protocols that are not ekiben's own."""

from __future__ import annotations

from typing import Any

from ekiben.openapi.words import HEADERS, REFUSALS, TABLES, TEXT, array, closed, ref

OBJECT = {"type": "object"}
SHAPE = {"type": "array", "items": {"type": "integer", "minimum": -1}}
VALUES = {"type": "array", "items": {}}
LINES = {"text/csv": {"schema": TEXT}}
BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
STANDARD = "https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol"


def paths(name: str) -> dict[str, Any]:
    """Give the paths of a service's other protocols."""
    model = f"/v2/models/{name}"
    infer = _asked("infer", "Answer tensors, as the Open Inference Protocol spells them.", "Infer", BYTES)
    return {
        "/invocations": {
            "post": _asked("invocations", "Answer as MLflow's scoring server does.", "Invocation", TABLES | LINES)
        },
        "/score": {"post": _asked("score", "The same, where Azure ML asks.", "Invocation", TABLES | LINES)},
        f"{model}/infer": {"post": infer | {"externalDocs": {"url": STANDARD}}},
        model: {"get": _shown("v2_model", "Every input and output, as the Open Inference Protocol names them.")},
        f"{model}/ready": {"get": _shown("v2_model_ready", "The model is loaded.")},
        "/v2": {"get": _shown("v2", "What the server is.")},
        "/v2/health/live": {"get": _shown("v2_live", "The process lives.")},
        "/v2/health/ready": {"get": _shown("v2_ready", "The models are loaded.")},
    }


def schemas() -> dict[str, Any]:
    """Give what the bodies of these paths hold."""
    lists = {"type": "array", "items": {"type": "array", "items": {}}, "minItems": 1}
    rows = {"type": "array", "items": ref("Row"), "minItems": 1}
    split = closed({"columns": array(TEXT), "index": VALUES, "data": lists}, ["data"])
    tensor = {"name": TEXT, "shape": SHAPE, "datatype": TEXT, "data": VALUES, "parameters": OBJECT}
    wanted = {"name": TEXT, "parameters": OBJECT}
    told = {"model_name": TEXT, "model_version": TEXT, "id": TEXT, "parameters": OBJECT}
    return {
        "InvocationRequest": {
            "description": "One of these, and `params` beside it.",
            "oneOf": [
                _form("dataframe_records", rows),
                _form("dataframe_split", split),
                _form("instances", {"oneOf": [rows, lists, OBJECT]}),
                _form("inputs", {"oneOf": [rows, lists, OBJECT]}),
            ],
        },
        "InvocationResponse": _object({"predictions": VALUES}, ["predictions"]),
        "InferRequest": _object(
            {
                "id": TEXT,
                "parameters": OBJECT,
                "inputs": array(_object(tensor, ["name", "shape", "datatype"])),
                "outputs": array(_object(wanted, ["name"])),
            },
            ["inputs"],
        ),
        "InferResponse": _object(
            {**told, "outputs": array(_object(tensor, ["name", "shape", "datatype"]))}, [*told, "outputs"]
        ),
        "InvocationError": _object({"error": OBJECT, "error_code": TEXT, "message": TEXT}, ["error", "error_code"]),
        "InferError": _object({"error": TEXT}, ["error"]),
    }


def _form(name: str, holds: dict[str, Any]) -> dict[str, Any]:
    return closed({name: holds, "params": OBJECT}, [name])


def _asked(name: str, summary: str, kind: str, beside: dict[str, Any]) -> dict[str, Any]:
    """Describe what is asked in JSON, or in something beside it."""
    taken = {} if beside is BYTES else beside  # the Open Inference Protocol may send its tensors as bytes
    body = {"application/json": {"schema": ref(f"{kind}Request")}, **taken}
    gives = {"application/json": {"schema": ref(f"{kind}Response")}, **beside}
    refused = {"application/json": {"schema": ref(f"{kind}Error")}}
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["protocols"],
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": {
                "description": "An answer for each row, in their order.",
                "headers": {key: {"schema": TEXT, "description": says} for key, says in HEADERS.items()},
                "content": gives,
            },
            **{str(status): {"description": says, "content": refused} for status, says in REFUSALS.items()},
        },
    }


def _shown(name: str, summary: str) -> dict[str, Any]:
    content = {"application/json": {"schema": OBJECT}}
    loading = {"description": REFUSALS[503], "content": {"application/json": {"schema": ref("InferError")}}}
    answers = {"200": {"description": summary, "content": content}, "503": loading}
    return {"operationId": name, "summary": summary, "tags": ["protocols"], "responses": answers}


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}
