"""The typed endpoints: what BentoML itself answers by, and describes, with the contract's own columns."""

# No `from __future__ import annotations` here: BentoML reads the annotations of the endpoints at run time.

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import bentoml
from bentoml.exceptions import BentoMLException
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, create_model

from ekiben import codecs
from ekiben.dataplane import DataPlane
from ekiben.dialects import Answer, Request
from ekiben.schema import Column, Schema
from ekiben.spec import ServiceSpec

PYTHON_TYPES: dict[str, Any] = {
    "number": float,
    "integer": int,
    "boolean": bool,
    "category": str,
    "text": str,
    "datetime": str,  # ISO 8601
}


class _OfAPlane(Protocol):
    """A service that has a data plane."""

    plane: DataPlane


def _row_model(spec: ServiceSpec, inputs: Schema) -> Any:
    """Make a pydantic model of one row, its real column names as aliases of safe ones."""
    fields: dict[str, Any] = {
        f"column_{i}": (_annotation(column), _field(column)) for i, column in enumerate(inputs.columns)
    }
    settings = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=(), json_schema_extra=_nullable)
    return create_model(f"{_camel(spec.name)}Row", __config__=settings, **fields)


def _field(column: Column) -> Any:
    names = column.name if column.alias is None else AliasChoices(column.name, column.alias)
    return Field(default=..., validation_alias=names, serialization_alias=column.name, description=column.describe())


def _annotation(column: Column) -> Any:
    if column.kind == "list":
        kind: Any = list[PYTHON_TYPES[str(column.items)]]  # type: ignore[misc]
    elif column.kind == "category" and column.categories:
        kind = type(column.categories[0])
    else:
        kind = PYTHON_TYPES[column.kind]
    return kind | None if column.nullable else kind


def _nullable(document: dict[str, Any]) -> None:
    """Say `nullable` where OpenAPI 3.0 knows no null type."""
    for name, entry in document.get("properties", {}).items():
        if "anyOf" in entry:
            kinds = [kind for kind in entry.pop("anyOf") if kind != {"type": "null"}]
            document["properties"][name] = {**entry, **kinds[0], "nullable": True}


def _camel(name: str) -> str:
    return "".join(part.title() for part in name.split("_"))


def _input_model(spec: ServiceSpec, inputs: Schema, name: str, max_rows: int) -> Any:
    rows: Any = list[_row_model(spec, inputs)]  # type: ignore[misc]
    described = Field(min_length=1, max_length=max_rows, description="Rows to answer.")
    fields: dict[str, Any] = {"rows": (rows, described)}
    unit = spec.unit
    if unit is not None and unit.source == "field" and unit.name.isidentifier():
        fields[unit.name] = (str | int | None, Field(default=None, description="Keeps this unit on the same arm."))
    return create_model(f"{_camel(spec.name)}{name}", __base__=bentoml.IODescriptor, **fields)


def _output_model(spec: ServiceSpec, name: str, field: str) -> Any:
    fields: dict[str, Any] = dict.fromkeys(("id", "arm", "model"), (str, ...))
    fields[field] = (list[dict[str, Any]], ...)
    return create_model(f"{_camel(spec.name)}{name}", __base__=bentoml.IODescriptor, **fields)


def predict(spec: ServiceSpec, inputs: Schema) -> Any:
    """Make the endpoint that answers rows."""
    takes = _input_model(spec, inputs, "PredictRequest", spec.limits.max_rows)
    gives = _output_model(spec, "PredictResponse", "predictions")

    def predict(self: _OfAPlane, rows: Any, **unit: Any) -> Any:
        """Answer each row."""
        return _through(self.plane.predict, rows, unit)

    return bentoml.api(predict, input_spec=takes, output_spec=gives)


def explain(spec: ServiceSpec, inputs: Schema) -> Any:
    """Make the endpoint that explains the answers for rows."""
    takes = _input_model(spec, inputs, "ExplainRequest", spec.limits.explain_rows)
    gives = _output_model(spec, "ExplainResponse", "explanations")

    def explain(self: _OfAPlane, rows: Any, **unit: Any) -> Any:
        """Explain the answer for each row on its own columns."""
        return _through(self.plane.explain, rows, unit)

    return bentoml.api(explain, input_spec=takes, output_spec=gives)


def _through(act: Callable[[Request], Answer], rows: Sequence[Any], unit: Mapping[str, Any]) -> Any:
    """Take the rows of a typed call through the data plane."""
    plain = [row.model_dump(by_alias=True) if isinstance(row, BaseModel) else row for row in rows]
    body = {"rows": plain, **{key: value for key, value in unit.items() if value is not None}}
    answer = act(Request(body=codecs.encode(body)))
    document = codecs.decode(answer.body)
    if answer.status != HTTPStatus.OK:
        raise BentoMLException(document["error"]["message"], error_code=HTTPStatus(answer.status))
    return document
