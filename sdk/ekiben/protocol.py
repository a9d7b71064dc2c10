"""Bodies of requests and answers, and the OpenAPI document that describes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any, get_args

from ekiben.errors import Fault
from ekiben.explanations import KINDS
from ekiben.explanations.counterfactual import Outcome
from ekiben.pinning import Contract
from ekiben.schema import PARTS, Column, Output, Signature
from ekiben.spec import ServiceSpec
from ekiben.values import bounds, date_unit, item_column

MAX_FIELDS = 100  # a small request must not make a huge answer
ID, ARM, MODEL = "x-ekiben-id", "x-ekiben-arm", "x-ekiben-model"

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


def error(code: str, message: str, faults: Iterable[Fault] = ()) -> dict[str, Any]:
    """Make the one shape of every refusal.

    Examples
    --------
    >>> error("not_found", "No such path.")
    {'error': {'code': 'not_found', 'message': 'No such path.', 'fields': []}}
    """
    return {
        "error": {"code": code, "message": message, "fields": [_field(fault) for fault in islice(faults, MAX_FIELDS)]}
    }


def _field(fault: Fault) -> dict[str, Any]:
    facts = {
        "column": fault.column,
        "row": fault.row,
        "expected": fault.expected,
        "got": fault.got,
        "message": fault.message,
    }
    return {key: value for key, value in facts.items() if value is not None}


def fault_of(field: Mapping[str, Any]) -> Fault:
    """Read one entry of `fields` back."""
    known = ("column", "row", "expected", "got")
    return Fault(message=str(field["message"]), **{key: field[key] for key in known if key in field})


def predictions(rows: Iterable[Mapping[str, Any]], signature: Signature) -> list[dict[str, Any]]:
    """Turn rows of an answer's frame into the body's `predictions`; of several outputs each is under its name.

    Examples
    --------
    >>> from ekiben.schema import Output, Schema
    >>> scored = Output(parts=("label", "scores"), classes=("bad", "good"))
    >>> of = Signature(inputs=Schema(columns=()), task="classification", outputs=(scored,))
    >>> predictions([{"label": "bad", "score_bad": 0.7, "score_good": 0.3}], of)
    [{'label': 'bad', 'scores': {'bad': 0.7, 'good': 0.3}}]
    """
    parts = {output.name: _parts(output) for output in signature.outputs}
    if [*parts] == [""]:
        return [parts[""](row) for row in rows]
    return [{name: part(row) for name, part in parts.items()} for row in rows]


def _parts(output: Output) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Give what takes the parts of an output out of a row."""
    labels = [str(label) for label in output.classes]
    taken = [(part, output.columns_of(part)) for part in output.parts]

    def of_row(row: Mapping[str, Any]) -> dict[str, Any]:
        return {
            part: dict(zip(labels, [row[name] for name in names], strict=True)) if part == "scores" else row[names[0]]
            for part, names in taken
        }

    return of_row


def flat(prediction: Mapping[str, Any]) -> dict[str, Any]:
    """Turn one of the body's `predictions` into a row of the answer's frame; what a hook added stays as it is.

    Examples
    --------
    >>> flat({"label": "bad", "scores": {"bad": 0.7, "good": 0.3}})
    {'label': 'bad', 'score_bad': 0.7, 'score_good': 0.3}
    >>> flat({"rent": {"value": 7.0}, "sale": {"value": 9.0}})
    {'rent': 7.0, 'sale': 9.0}
    """
    if any(part in prediction and not isinstance(prediction[part], Mapping) for part in ("label", "value")):
        return _flat("", prediction)
    made: dict[str, Any] = {}
    for name, answered in prediction.items():
        made |= _flat(name, answered) if isinstance(answered, Mapping) else {name: answered}
    return made


def columns(predictions: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Turn the body's `predictions` into the columns of the answer's frame; what some of them leave out is missing there.

    Examples
    --------
    >>> columns([{"label": "bad", "scores": {"bad": 0.7}}, {"label": "good", "scores": {"bad": 0.2}}])
    {'label': ['bad', 'good'], 'score_bad': [0.7, 0.2]}
    """
    if not predictions:
        return {}
    if (found := alike(predictions)) is not None:
        return found
    rows = [flat(each) for each in predictions]
    return {key: [row.get(key) for row in rows] for key in dict.fromkeys(key for row in rows for key in row)}


def alike(predictions: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]] | None:
    """Turn predictions into columns where all of them have the same parts; None where they do not.

    >>> alike([{"label": "bad"}, {"label": "good", "scores": {"bad": 0.2}}])
    """
    first = predictions[0]
    if any(part in first and not isinstance(first[part], Mapping) for part in ("label", "value")):
        named: dict[str, Sequence[Mapping[str, Any]]] = {"": predictions}
    else:
        named = {name: [each.get(name) for each in predictions] for name in first}  # type: ignore[misc]
    same = all(each.keys() == first.keys() for each in predictions)
    if not same or not all(_are_alike(answered) for answered in named.values()):
        return None
    return {key: cells for name, answered in named.items() for key, cells in _columns(name, answered)}


def _are_alike(answered: Sequence[Any]) -> bool:
    """Tell whether all answers have the same parts, and scores for the same labels."""
    if not all(isinstance(each, Mapping) for each in answered):
        return False
    parts, labels = answered[0].keys(), answered[0].get("scores", {}).keys()
    return all(each.keys() == parts and each.get("scores", {}).keys() == labels for each in answered)


def _columns(name: str, answered: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    first = answered[0]
    of = Output(name=name, parts=tuple(part for part in PARTS if part in first), classes=(*first.get("scores", ()),))
    for part in of.parts:
        if part == "scores":
            for label, key in zip(of.classes, of.columns_of(part), strict=True):
                yield key, [each[part][label] for each in answered]
        else:
            yield of.columns_of(part)[0], [each[part] for each in answered]
    yield from ((key, [each[key] for each in answered]) for key in first if key not in PARTS)


def _flat(name: str, answered: Mapping[str, Any]) -> dict[str, Any]:
    of = Output(
        name=name, parts=tuple(part for part in PARTS if part in answered), classes=(*answered.get("scores", ()),)
    )
    values = {part: answered[part].values() if part == "scores" else [answered[part]] for part in of.parts}
    made = {key: item for part in of.parts for key, item in zip(of.columns_of(part), values[part], strict=True)}
    return made | {key: item for key, item in answered.items() if key not in PARTS}


# ── OpenAPI ─────────────────────────────────────────────────────────────────────────────────────────────────────


def openapi(spec: ServiceSpec, contract: Contract, *, version: str, description: str) -> dict[str, Any]:
    """Describe the service in OpenAPI 3.0.3, with its real columns and one real example."""
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
        "components": {"schemas": _schemas(spec, contract)},
    }


PROBES = {
    "livez": "The process lives.",
    "readyz": "The models are loaded.",
    "healthz": "The process lives.",
    "metrics": "Counters and latencies for Prometheus.",
}


# Tables in place of JSON: each column of the contract, or of the answer's frame, is one of theirs.
TABLES: dict[str, Any] = {
    f"application/vnd.apache.{kind}": {"schema": {"type": "string", "format": "binary"}}
    for kind in ("arrow.stream", "arrow.file", "parquet")
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


HEADERS = {ID: "The id of this answer.", ARM: "The arm that answered.", MODEL: "The version that the arm serves."}


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


def ref(name: str) -> dict[str, str]:
    """Point at one of the document's schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas(spec: ServiceSpec, contract: Contract) -> dict[str, Any]:
    head = {"id": {"type": "string"}, "arm": {"type": "string", "enum": list(spec.arms)}, "model": {"type": "string"}}
    return {
        "Row": _row(contract),
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


TEXT = {"type": "string"}
_NUMBER = {"type": "number"}
EXPLAINED: dict[str, Any] = {
    "rung": {**TEXT, "enum": ["exact", "sampled", "cached"], "description": "What the time allowed."},
    "why": {**TEXT, "description": "Why it is this rung."},
    "elapsed_ms": _NUMBER,
    "rounds": {"type": "integer", "description": "How many rounds a method drew: as many give the same again."},
    "distance": {**_NUMBER, "description": "How far the row is that stood in for this one, from 0 to 1."},
}


def closed(properties: Mapping[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    """Describe an object of these properties and no others, by default all required."""
    named = list(properties) if required is None else required
    return {"type": "object", "properties": dict(properties), "required": named, "additionalProperties": False}


def array(items: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a list."""
    return {"type": "array", "items": dict(items)}


def _row(contract: Contract) -> dict[str, Any]:
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


FRACTIONS = {"s": 0, "ms": 3, "us": 6, "ns": 9}  # digits of a second in each unit
YEARS = r"0[1-9]\d\d|[1-9]\d{3}"
YEARS_OF_NS = r"16(7[89]|[89]\d)|1[789]\d\d|2[01]\d\d|22([0-5]\d|6[01])"  # what 64 bits of nanoseconds hold
LEAP_YEARS = r"2000|(1[789]|2[01])(0[48]|[2468][048]|[13579][26])"
DAYS = r"(0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8])"


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
    known = {"label": label, "scores": closed(scores), "value": _NUMBER}
    return closed({part: known[part] for part in output.parts})


_ANY = {"description": "A text, a number, a boolean, or null."}
_MAYBE = {**_NUMBER, "nullable": True}


def _alternative() -> dict[str, Any]:
    """Describe one of a counterfactual's alternatives."""
    change = closed({"column": TEXT, "before": _ANY, "after": _ANY})
    counted = {"n_changed": {"type": "integer"}, "distance": _NUMBER, "nearest_distance": _MAYBE}
    answer = {"answer": _ANY, "score": _MAYBE, **counted, "verified": {"type": "boolean"}}
    return closed({"changes": array(change), **answer})


def _explanation() -> dict[str, Any]:
    """Describe all kinds together; `kind` says which of the fields are there."""
    near = array(closed({"row": {"type": "object"}, "answer": _ANY, "score": _MAYBE, "distance": _NUMBER}))
    return {
        "type": "object",
        "required": ["kind", "method", "faithfulness_error", "elapsed_ms"],
        "properties": {
            "kind": {"type": "string", "enum": [*KINDS]},
            "method": TEXT,
            "output": {**TEXT, "description": "What is explained."},
            "units": {**TEXT, "description": "The scale of every number here."},
            "base_value": {**_NUMBER, "description": "The output without knowing any column."},
            "value": {**_NUMBER, "description": "The output for this row: the base value and every contribution."},
            "contributions": {"type": "object", "additionalProperties": _NUMBER},
            "label": {
                "nullable": True,
                "description": "The class that is explained, or that a rule keeps to; none for a value.",
            },
            "standard_errors": {"type": "object", "nullable": True, "additionalProperties": _NUMBER},
            "conditions": {"type": "array", "items": TEXT},
            "threshold": {**_NUMBER, "description": "The precision that was searched for."},
            "reached": {"type": "boolean", "description": "Whether the precision is at least the threshold."},
            "precision": {**_NUMBER, "description": "The share of fresh rows under the rule that got the label."},
            "precision_interval": _interval("precision"),
            "coverage": {**_NUMBER, "description": "The share of the reference that the rule speaks of."},
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
            "faithfulness_error": {**_NUMBER, "description": "What the explanation misses of the output."},
            "elapsed_ms": _NUMBER,
        },
    }


def _interval(of: str) -> dict[str, Any]:
    says = f"The 95 % interval of the {of}: low, high."
    return {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2, "description": says}
