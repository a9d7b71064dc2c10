"""The bodies of ekiben's own protocol in OpenAPI: rows with their real columns, predictions, explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, get_args

from ekiben.explanations import KINDS
from ekiben.explanations.counterfactual import Outcome
from ekiben.openapi.words import NUMBER, TEXT, array, closed, ref
from ekiben.pinning import Contract
from ekiben.schema import Column, Output, Signature
from ekiben.spec import ServiceSpec
from ekiben.values import bounds, date_unit, item_column

EXPLAINED: dict[str, Any] = {
    "rung": {**TEXT, "enum": ["exact", "sampled", "cached"], "description": "What the time allowed."},
    "why": {**TEXT, "description": "Why it is this rung."},
    "elapsed_ms": NUMBER,
    "rounds": {"type": "integer", "description": "How many rounds a method drew: as many give the same again."},
    "distance": {**NUMBER, "description": "How far the row is that stood in for this one, from 0 to 1."},
}
FRACTIONS = {"s": 0, "ms": 3, "us": 6, "ns": 9}  # digits of a second in each unit
YEARS = r"0[1-9]\d\d|[1-9]\d{3}"
YEARS_OF_NS = r"16(7[89]|[89]\d)|1[789]\d\d|2[01]\d\d|22([0-5]\d|6[01])"  # what 64 bits of nanoseconds hold
LEAP_YEARS = r"2000|(1[789]|2[01])(0[48]|[2468][048]|[13579][26])"
DAYS = r"(0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8])"
_ANY = {"description": "A text, a number, a boolean, or null."}
_MAYBE = {**NUMBER, "nullable": True}


def schemas(spec: ServiceSpec, contract: Contract) -> dict[str, Any]:
    """Give what the bodies of these paths hold."""
    head = {"id": {"type": "string"}, "arm": {"type": "string", "enum": list(spec.arms)}, "model": {"type": "string"}}
    return {
        "Row": row_of(contract),
        "PredictRequest": _request(spec, spec.limits.max_rows, beside=_beside(spec)),
        "ExplainRequest": _request(spec, spec.limits.explain_rows),
        "Prediction": _prediction(contract.signature),
        "PredictResponse": closed(
            {**head, "predictions": array(ref("Prediction")), "explanations": array(ref("Explanation")), **EXPLAINED},
            required=[*head, "predictions"],
        ),
        "Explanation": _explanation(),
        "ExplainResponse": closed(
            {**head, "explanations": array(ref("Explanation")), **EXPLAINED},
            required=[*head, "explanations", "rung", "why", "elapsed_ms"],
        ),
        "Error": closed({"error": closed({"code": TEXT, "message": TEXT, "fields": array(ref("Field"))})}),
        "Field": closed(
            {
                "column": TEXT,
                "row": {"type": "integer", "minimum": 0},
                "expected": TEXT,
                "got": TEXT,
                "message": TEXT,
            },
            required=["message"],
        ),
    }


def row_of(contract: Contract) -> dict[str, Any]:
    """Describe a row: each column by its name, or by its alias where it has one, and never by both."""
    inputs = contract.signature.inputs
    properties = {}
    for column in inputs.columns:
        told = _property(column, contract.takers.get(column.name, ()))
        properties[column.name] = told
        if column.alias is not None:
            properties[column.alias] = {**told, "description": f"Stands for {column.name!r}: {told['description']}"}
    made = closed(properties, required=[column.name for column in inputs.columns if column.alias is None])
    made |= {"additionalProperties": inputs.extra == "ignore", "example": dict(contract.row)}
    either = [{"oneOf": [{"required": [name]}, {"required": [alias]}]} for alias, name in inputs.aliases.items()]
    return {**made, "allOf": either} if either else made


def _property(column: Column, takers: Sequence[str] = ()) -> dict[str, Any]:
    words = [column.describe()]
    words += [f"may be sent as {column.alias!r} instead"] if column.alias is not None else []
    words += [f"taken by {' and '.join(takers)} alone"] if takers else []
    made: dict[str, Any] = {"description": "; ".join(words), **_type(column)}
    return {**made, "nullable": True} if column.nullable else made


def _type(column: Column) -> dict[str, Any]:
    if column.is_closed:
        categories = column.categories or ()
        kind = {str: "string", bool: "boolean", int: "integer"}[type(categories[0]) if categories else str]
        return {"type": kind, "enum": [*categories, *((None,) if column.nullable else ())]}
    if column.kind == "datetime":
        return {"type": "string", "pattern": _pattern(column)}
    if column.kind == "list":
        items = _type(item_column(column.name, str(column.items), str(column.holder)))
        return {"type": "array", "items": items, "minItems": column.length, "maxItems": column.length}
    if column.kind in ("number", "integer"):
        low, high = bounds(column)
        return {"type": column.kind, "minimum": low, "maximum": high}
    return {"type": {"text": "string", "category": "string"}.get(column.kind, column.kind)}


def _pattern(column: Column) -> str:
    """Tell the shape of a date in ISO 8601; OpenAPI's own formats know none without an offset."""
    unit = date_unit(column)
    day = f"(({YEARS_OF_NS if unit == 'ns' else YEARS})-({DAYS})|({LEAP_YEARS})-02-29)"
    if unit == "day":
        return f"^{day}$"
    fraction = rf"(\.\d{{1,{FRACTIONS[unit]}}})?" if FRACTIONS[unit] else ""
    time = rf"[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d{fraction})?"
    return rf"^{day}{time}(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$" if column.is_aware else f"^{day}({time})?$"


def _unit(spec: ServiceSpec) -> dict[str, Any]:
    """Describe the field that keeps a unit on its arm, where it is a field."""
    if spec.unit is None or spec.unit.source != "field":
        return {}
    says = "Keeps this unit on the same arm. It may stand in the rows instead, the same in each."
    return {spec.unit.name: {"description": says, "oneOf": [{"type": "string"}, {"type": "integer"}]}}


def _beside(spec: ServiceSpec) -> dict[str, Any]:
    """Describe the field that asks for explanations beside predictions, where the unit is not called so."""
    says = f"Explain as well, {spec.limits.explain_rows} rows at most: for arms that their plans explain at once."
    return {} if "explain" in _unit(spec) else {"explain": {"type": "boolean", "description": says}}


def _request(spec: ServiceSpec, max_rows: int, beside: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    rows = {"type": "array", "items": ref("Row"), "minItems": 1, "maxItems": max_rows}
    return closed({"rows": rows, **_unit(spec), **beside}, required=["rows"])


def _prediction(signature: Signature) -> dict[str, Any]:
    if len(signature.outputs) == 1 and not signature.outputs[0].name:
        return _answered(signature.outputs[0])
    return closed({output.name: _answered(output) for output in signature.outputs})


def _answered(output: Output) -> dict[str, Any]:
    scores = {str(label): {"type": "number", "minimum": 0, "maximum": 1} for label in output.classes}
    label = {"enum": list(output.classes)} if output.classes else {"description": "A text, a number or a boolean."}
    known = {"label": label, "scores": closed(scores), "value": NUMBER}
    return closed({part: known[part] for part in output.parts})


def _alternative() -> dict[str, Any]:
    """Describe one of a counterfactual's alternatives."""
    change = closed({"column": TEXT, "before": _ANY, "after": _ANY})
    counted = {"n_changed": {"type": "integer"}, "distance": NUMBER, "nearest_distance": _MAYBE}
    answer = {"answer": _ANY, "score": _MAYBE, **counted, "verified": {"type": "boolean"}}
    return closed({"changes": array(change), **answer})


def _explanation() -> dict[str, Any]:
    """Describe all kinds together; `kind` says which of the fields are there."""
    near = array(closed({"row": {"type": "object"}, "answer": _ANY, "score": _MAYBE, "distance": NUMBER}))
    return {
        "type": "object",
        "required": ["kind", "method", "faithfulness_error", "elapsed_ms"],
        "properties": {
            "kind": {"type": "string", "enum": [*KINDS]},
            "method": TEXT,
            "output": {**TEXT, "description": "What is explained."},
            "units": {**TEXT, "description": "The scale of every number here."},
            "base_value": {**NUMBER, "description": "The output without knowing any column."},
            "value": {**NUMBER, "description": "The output for this row: the base value and every contribution."},
            "contributions": {"type": "object", "additionalProperties": NUMBER},
            "label": {
                "nullable": True,
                "description": "The class that is explained, or that a rule keeps to; none for a value.",
            },
            "standard_errors": {"type": "object", "nullable": True, "additionalProperties": NUMBER},
            "conditions": {"type": "array", "items": TEXT},
            "threshold": {**NUMBER, "description": "The precision that was searched for."},
            "reached": {"type": "boolean", "description": "Whether the precision is at least the threshold."},
            "precision": {**NUMBER, "description": "The share of fresh rows under the rule that got the label."},
            "precision_interval": _interval("precision"),
            "coverage": {**NUMBER, "description": "The share of the reference that the rule speaks of."},
            "coverage_interval": _interval("coverage"),
            "n_samples": {"type": "integer", "description": "How many fresh rows the precision was measured on."},
            "before": {**_ANY, "description": "What the model answers now."},
            "score": {**_MAYBE, "description": "The score of that label."},
            "wanted": {**TEXT, "description": "What a changed row is to be answered."},
            "outcome": {**TEXT, "enum": [*get_args(Outcome)]},
            "alternatives": {**array(_alternative()), "description": "The least changes that give what is wanted."},
            "n_asked": {"type": "integer", "description": "Rows that the model was asked about in the search."},
            "answer": {**_ANY, "description": "What the model answers to the row."},
            "tolerance": {**_MAYBE, "description": "How far a value may lie off and be the same answer."},
            "alike": {**near, "description": "The nearest reference rows with the same answer."},
            "unlike": {**near, "description": "The nearest reference rows with another answer."},
            "left_out": {"type": "array", "items": TEXT, "description": "Columns that are not shown."},
            "faithfulness_error": {**NUMBER, "description": "What the explanation misses of the output."},
            "elapsed_ms": NUMBER,
        },
    }


def _interval(of: str) -> dict[str, Any]:
    says = f"The 95 % interval of the {of}: low, high."
    return {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2, "description": says}
