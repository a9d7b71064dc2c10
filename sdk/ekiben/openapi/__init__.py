"""The OpenAPI document of a service: its protocols, its real columns, one real example."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from ekiben.openapi import explaining, protocols
from ekiben.openapi.bodies import schemas
from ekiben.openapi.words import HEADERS, REFUSALS, TABLES, ref
from ekiben.pinning import Contract
from ekiben.protocol import predictions
from ekiben.spec import ServiceSpec

PROBES = {
    "livez": "The process lives.",
    "readyz": "The models are loaded.",
    "healthz": "The process lives.",
    "metrics": "Counters and latencies for Prometheus.",
}


def document(
    spec: ServiceSpec, contract: Contract, methods: Iterable[str], *, version: str, description: str
) -> dict[str, Any]:
    """Describe the service in OpenAPI 3.0.3: ekiben's own protocol, what `/explain` may be asked, and the other protocols.

    Parameters
    ----------
    spec, contract
        What is served, and what was promised.
    methods
        The methods of explaining that may be asked for.
    version, description
        Of ekiben, and what the service says of itself.
    """
    made = own(spec, contract, version=version, description=description)
    made = explaining.extended(made, sorted(methods), contract.signature.inputs.names, spec.limits.explain_columns)
    made["paths"] |= protocols.paths(spec.name)
    made["components"]["schemas"] |= protocols.schemas()
    made["tags"].append({"name": "protocols", "description": "The same answers to other clients"})
    return made


def own(spec: ServiceSpec, contract: Contract, *, version: str, description: str) -> dict[str, Any]:
    """Describe what is ekiben's own, with the real columns and one real example."""
    example = {"rows": [dict(contract.row)]}
    predicted = predictions([contract.answer], contract.signature)
    answered = {
        "id": "0" * 32,
        "arm": next(iter(spec.arms)),
        "model": str(next(iter(spec.arms.values()))),
        "predictions": predicted,
    }
    return {
        "openapi": "3.0.3",
        "info": {"title": spec.name, "version": version, "description": description},
        "servers": [{"url": "."}],
        "tags": [
            {"name": "model", "description": "Answers and what is behind them"},
            {"name": "operation", "description": "Probes and metrics"},
        ],
        "paths": {
            "/predict": {
                "post": _asking(
                    "predict", "Answer each row.", "PredictRequest", "PredictResponse", example, answered, TABLES
                )
            },
            "/explain": {
                "post": _asking(
                    "explain",
                    "Explain the answer for each row on its own columns.",
                    "ExplainRequest",
                    "ExplainResponse",
                    example,
                    None,
                )
            },
            "/schema": {"get": _showing("schema", "The contract: every column, and a real example.")},
            "/card": {"get": _showing("card", "The model card of every arm.")},
            "/routing": {"get": _showing("routing", "Which arm answers how often.")},
            **{f"/{probe}": {"get": _probing(probe, says)} for probe, says in PROBES.items()},
        },
        "components": {"schemas": schemas(spec, contract)},
    }


def _asking(
    name: str,
    summary: str,
    takes: str,
    gives: str,
    example: Any,
    answered: Any,
    tables: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    shown = {} if answered is None else {"example": answered}
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["model"],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": ref(takes), "example": example}, **tables},
        },
        "responses": {
            "200": {
                "description": "An answer for each row, in their order.",
                "headers": {key: {"schema": {"type": "string"}, "description": says} for key, says in HEADERS.items()},
                "content": {"application/json": {"schema": ref(gives), **shown}, **tables},
            },
            **{
                str(status): {"description": says, "content": {"application/json": {"schema": ref("Error")}}}
                for status, says in REFUSALS.items()
            },
        },
    }


def _showing(name: str, summary: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["model"],
        "responses": {"200": {"description": summary, "content": content}},
    }


def _probing(name: str, summary: str) -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}}}
    answers = {"200": {"description": summary, "content": content}}
    if name in ("readyz", "livez"):
        answers["503"] = {"description": "Not now.", "content": content}
    return {"operationId": name, "summary": summary, "tags": ["operation"], "responses": answers}
