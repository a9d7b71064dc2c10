"""What requests and answers hold: rows, predictions, refusals, names in a query."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ekiben.errors import Fault
from ekiben.schema import PARTS, Output, Signature

MAX_FIELDS = 100  # a small request must not make a huge answer
ID, ARM, MODEL = "x-ekiben-id", "x-ekiben-arm", "x-ekiben-model"


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


def listed(names: Sequence[str]) -> str:
    """Write names as one row of CSV: those that hold a comma, a quotation mark or a line's end stand in quotation marks.

    >>> listed(["age", "town, street"])
    'age,"town, street"'
    """
    made = io.StringIO()
    csv.writer(made, lineterminator="\r\n").writerow(names)  # what may end a row is quoted within one
    return made.getvalue().removesuffix("\r\n")


def names_in(text: str) -> tuple[str, ...]:
    """Read what `listed` wrote; nothing where that is none.

    >>> names_in('age,"town, street"'), names_in('"age')
    (('age', 'town, street'), ())
    """
    try:
        return tuple(next(csv.reader([text], strict=True), ()))
    except csv.Error:
        return ()
