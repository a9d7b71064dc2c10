"""Many rows at once: tables of Arrow and Parquet, which the dialects that take them read and write alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from ekiben import arrow, protocol
from ekiben.arrow import KINDS, values
from ekiben.dialects import JSON, Refusal, Request, Routed, bounded, media_type, spelled
from ekiben.errors import Fault, MissingExtraError, SchemaError
from ekiben.pinning import Contract
from ekiben.schema import Column
from ekiben.spec import ServiceSpec
from ekiben.values import bounds

INDEX = re.compile(r"__index_level_\d+__")  # what pandas calls an index without a name, of which no model was told
ANY = ("*/*", "application/*")
Columns = dict[str, list[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What was read of a table: columns by the names that they came by, those of the contract that fit it, and the texts beside them."""

    columns: Columns
    fitting: frozenset[str]
    n_rows: int
    texts: Mapping[str, str]


class Tables:
    """The bodies that are tables: an Arrow stream, a file of Arrow, or Parquet.

    Parameters
    ----------
    spec, contract
        What is served, and what was promised.
    """

    def __init__(self, spec: ServiceSpec, contract: Contract) -> None:
        self._inputs, self._max_rows = contract.signature.inputs, spec.limits.max_rows
        self._most_bytes = int(spec.limits.max_body_mb * 1_000_000)
        self._unit = spec.unit.name if spec.unit and spec.unit.source == "field" else None
        columns = {column.name: column for column in self._inputs.columns}
        self._known = columns | {alias: columns[name] for alias, name in self._inputs.aliases.items()}

    def read(self, request: Request) -> Table:
        """Read the columns that the contract knows, and the unit's; what else came is named, and not looked at.

        Raises
        ------
        SchemaError
            If the body is no table, or a column holds what no row of JSON could.
        Refusal
            If it is too large, before it is unpacked, or cannot be read here.
        """
        kind = media_type(request)
        try:
            found = arrow.opened(
                request.body, kind, lambda name: name in self._known or name == self._unit, self._allow
            )
        except MissingExtraError:
            raise _without_pyarrow() from None
        bounded(found.n_rows, self._max_rows)
        self._refuse_types(found.columns)
        with arrow.sound(kind):
            told = {name: values.of_chunks(column, self._most_bytes) for name, column in found.columns.items()}
        columns: Columns = {
            name: told.get(name, []) for name in found.names if name in told or not INDEX.fullmatch(name)
        }
        fitting = set()
        for name, column in found.columns.items():
            known = self._known.get(name)
            if known is not None and _plainly_fits(known, str(column.type), columns[name]):
                fitting.add(known.name)
        return Table(columns=columns, fitting=frozenset(fitting), n_rows=found.n_rows, texts=found.texts)

    def write(self, routed: Routed, predictions: Sequence[Mapping[str, Any]], kind: str) -> bytes:
        """Write predictions as a table: the answer's frame, and in its metadata who gave it.

        Raises
        ------
        SchemaError
            If a number is not finite.
        Refusal
            If none can be written here.
        """
        texts = {"id": routed.id, "arm": routed.choice.arm, "model": routed.model}
        return arrow.written(protocol.columns(predictions), kind, texts)

    def _allow(self, n_rows: int, n_bytes: int) -> None:
        """Refuse what is too large, unpacked."""
        bounded(n_rows, self._max_rows)
        if n_bytes > self._most_bytes:
            says = f"A body may hold {self._most_bytes / 1_000_000:g} MB here, unpacked too. Got more. Split it."
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", says)

    def _refuse_types(self, columns: Mapping[str, Any]) -> None:
        """Refuse types that no value of JSON is like, each by its column."""
        faults = []
        for name, column in columns.items():
            if not values.is_known(column.type):
                known = self._known.get(name)
                expected = known.noun if known else "text or integer"
                got = values.word_for(column.type)
                message = f"The column {name!r} must hold a {expected}. Got Arrow's {got}."
                faults.append(Fault(message=message, column=name, expected=expected, got=got))
        if faults:
            raise SchemaError.of(faults)


def wanted(request: Request, otherwise: str, *others: str) -> str:
    """Give the kind of body that a request accepts best of JSON, tables and others; where it names none of them, this one.

    >>> wanted(Request(body=b"", headers={"accept": "application/json;q=0.5, application/vnd.apache.parquet"}), JSON)
    'application/vnd.apache.parquet'
    >>> wanted(Request(body=b"", headers={"accept": "*/*"}), arrow.STREAM)
    'application/vnd.apache.arrow.stream'
    """
    known = {JSON, *others, *(KINDS if arrow.is_here() else ()), *ANY}
    found, best = otherwise, 0.0
    for each in request.headers.get("accept", "").lower().split(","):
        name, *parameters = (spelled(part.strip()) for part in each.split(";"))
        if name in known and (weight := _weight(parameters)) > best:
            found, best = otherwise if name in ANY else name, weight
    return found


def names_one(accept: bytes | None) -> bool:
    """Tell whether a header may ask for a table.

    >>> names_one(b"*/*"), names_one(b"application/vnd.apache.arrow.stream")
    (False, True)
    """
    return accept is not None and (b"vnd.apache." in accept.lower() or b"x-parquet" in accept.lower())


def _weight(parameters: Sequence[str]) -> float:
    told = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    try:
        return min(1.0, float(told)) if told.isascii() else 0.0
    except ValueError:
        return 0.0


def _without_pyarrow() -> Refusal:
    says = "Arrow and Parquet need pyarrow, which this service does not have. Send and accept application/json."
    return Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", says)


def _plainly_fits(column: Column, kind: str, cells: Sequence[Any]) -> bool:
    """Answer for a whole column at once where its type can tell; anything else is looked at value by value."""
    there = cells if None not in cells else [cell for cell in cells if cell is not None]
    if len(there) < len(cells) and not column.nullable:
        return False
    if not there or (column.kind == "boolean" and kind == "bool" and not column.is_closed):
        return True
    if column.kind in ("text", "category"):
        known = column.categories or ()
        return type(there[0]) is str and _are_texts(kind) and (not column.is_closed or {*there} <= {*known})
    if column.kind not in ("number", "integer") or column.is_closed or not kind.startswith(NUMBERS):
        return False
    low, high = bounds(column)
    is_whole = column.kind == "number" or kind.startswith(INTEGERS)
    return low <= min(there) and max(there) <= high and (is_whole or all(map(float.is_integer, there)))


INTEGERS = ("int", "uint")
NUMBERS = (*INTEGERS, "float", "double", "halffloat")


def _are_texts(kind: str) -> bool:
    return "string" in kind and not kind.startswith(("list", "large_list", "fixed_size_list"))
