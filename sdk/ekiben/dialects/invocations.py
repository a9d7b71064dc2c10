"""`/invocations`: MLflow's scoring protocol, SageMaker's container contract, and what Vertex sends."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from itertools import islice
from typing import Any

from ekiben import codecs
from ekiben.arrow import KINDS
from ekiben.dialects import JSON, Answer, Read, Refusal, Request, Routed, bounded, media_type, unsupported
from ekiben.dialects.tables import Tables, wanted
from ekiben.errors import Fault, SchemaError
from ekiben.pinning import Contract
from ekiben.protocol import flat
from ekiben.schema import Column
from ekiben.spec import ServiceSpec

CSV = "text/csv"
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
LONGEST_INTEGER = 40  # digits: 64 bits have half of them
INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*", re.ASCII)  # what Python takes for one, but for other scripts' digits
LONGEST_FIELD = 1 << 20  # characters of one field of CSV
BOM = b"\xef\xbb\xbf"  # which some editors and shells write before a text
# How R, pandas and databases write a missing number; a text may be one of these words.
MISSING = {"na", "n/a", "nan", "null", "none", "<na>"}
# What may stand beside the kind of a body; anything else could change what the body means.
BESIDE = {JSON: {"charset": ("utf-8", "utf8")}, CSV: {"charset": ("utf-8", "utf8"), "header": ("present", "absent")}}
Columns = dict[str, list[Any]]


class Invocations:
    """The bodies of `/invocations`: JSON with one of `dataframe_split`, `dataframe_records`, `instances` and `inputs`, CSV, or a table.

    Rows without names hold every column in the contract's order. The unit is a column of its own name, or one of `params`.

    Parameters
    ----------
    spec, contract
        What is served, and what was promised.
    """

    def __init__(self, spec: ServiceSpec, contract: Contract) -> None:
        self._inputs, self._max_rows = contract.signature.inputs, spec.limits.max_rows
        self._columns = {column.name: column for column in self._inputs.columns}
        self._tables = Tables(spec, contract)
        self._unit = spec.unit.name if spec.unit and spec.unit.source == "field" else None
        outputs = contract.signature.outputs
        self._only = (
            outputs[0].parts[0] if len(outputs) == 1 and not outputs[0].name and len(outputs[0].parts) == 1 else None
        )

    def read(self, request: Request) -> Read:
        """Read the rows of a request, in whichever form they come."""
        kind, params = media_type(request), dict[str, Any]()
        fitting: Collection[str] = ()
        if kind in KINDS:
            table = self._tables.read(request)
            columns, params, fitting = table.columns, dict(table.texts), table.fitting
        elif kind in BESIDE:
            told = _told(request, BESIDE[kind])
            if kind == CSV:
                columns = self._of_csv(request.body, has_header=told.get("header") != "absent")
            else:
                columns, params = self._of_json(codecs.decode_with_nan(request.body.removeprefix(BOM)))
        else:
            raise unsupported(*BESIDE, *KINDS)
        units = self._units(columns, params)
        held = codecs.held(columns, self._inputs, fitting=fitting)
        return Read(columns=held, units=units, body={"params": params}, wants=wanted(request, JSON, CSV))

    def write(self, routed: Routed, predictions: list[dict[str, Any]]) -> tuple[bytes, Mapping[str, str]]:
        """Write a row of the answer's frame for each row that came; in JSON and CSV bare values where the model gives no more."""
        if routed.wants in KINDS:
            return self._tables.write(routed, predictions, routed.wants), {"content-type": routed.wants}
        only = self._only
        told = [each[only] for each in predictions] if only else [flat(each) for each in predictions]
        document = codecs.encode({"predictions": told})  # refuses what is not finite
        if routed.wants == CSV:
            return _as_csv(told), {"content-type": CSV}
        return document, {"content-type": JSON}

    def refused(self, answer: Answer) -> Answer:
        """Spell a refusal for MLflow's clients too, which read `error_code` and `message`."""
        document = codecs.decode(answer.body)
        server = answer.status >= 500
        code = "INTERNAL_ERROR" if server else "BAD_REQUEST"
        body = codecs.encode({**document, "error_code": code, "message": document["error"]["message"]})
        return replace(answer, body=body)

    def _units(self, columns: Columns, params: Mapping[str, Any]) -> list[Any]:
        """Take the unit's values out of the columns that came, unless it is a column of the contract."""
        name = self._unit
        if name is None:
            return []
        found = [params[name]] if name in params else []
        if name in self._inputs.names:
            return found or list(columns.get(name, ()))
        return found + columns.pop(name, [])

    # ── JSON ──

    def _of_json(self, body: Any) -> tuple[Columns, dict[str, Any]]:
        forms = [name for name in FORMS if isinstance(body, dict) and name in body]
        if len(forms) != 1:
            got = "several" if forms else "none"
            raise SchemaError(f"The body must hold one of {', '.join(FORMS)}. Got {got}.")
        # `signature_name` and `parameters` are TensorFlow Serving's and Vertex's
        if set(body) - {*forms, "params", "parameters", "signature_name"}:
            raise SchemaError(f"The body may hold {forms[0]} and params. Got another field.")
        params = body.get("params") or body.get("parameters") or {}
        if not isinstance(params, dict):
            raise SchemaError("`params` must be an object. Got something else.")
        (form,) = forms
        read = {"dataframe_split": self._split, "inputs": self._by_column, "instances": self._instances}
        given = body[form]
        return read[form](given) if form in read else self._of_records(form, given), params

    def _split(self, given: Any) -> Columns:
        if not isinstance(given, dict) or not isinstance(given.get("data"), list):
            raise SchemaError("`dataframe_split` must be an object with `columns` and `data`. Got something else.")
        if set(given) - {"columns", "data", "index"}:
            raise SchemaError("`dataframe_split` may hold `columns`, `data` and `index`. Got another field.")
        index = given.get("index")
        if index is not None and not (isinstance(index, list) and len(index) == len(given["data"])):
            raise SchemaError("`index` must be a list as long as `data`. Got something else.")
        return self._of_lists("dataframe_split", given["data"], self._named(given.get("columns")))

    def _named(self, columns: Any) -> Sequence[str]:
        """Give the names of a split frame; pandas numbers those that nobody named, which are then every column in its place."""
        known = self._inputs.names
        if columns is None:
            return known
        kinds = {*map(type, columns)} if isinstance(columns, list) else set()
        if kinds not in ({str}, {int}) or len({*columns}) != len(columns):
            raise SchemaError("`columns` must be a list of names that differ. Got something else.")
        names = [str(name) for name in columns]
        return known if columns == [*range(len(known))] and {*names}.isdisjoint(known) else names

    def _instances(self, given: Any) -> Columns:
        if isinstance(given, dict):
            return self._by_column(given)
        if isinstance(given, list) and given and isinstance(given[0], dict):
            return self._of_records("instances", given)
        return self._of_lists("instances", given, self._inputs.names)

    def _by_column(self, given: Any) -> Columns:
        if not isinstance(given, dict):
            return self._instances(given)
        if given and not any(isinstance(value, list) for value in given.values()):
            return self._of_records("inputs", [given])  # one row
        sizes = {len(values) if isinstance(values, list) else -1 for values in given.values()}
        if len(sizes) != 1 or -1 in sizes:
            raise SchemaError("`inputs` must be an object of columns: lists of the same length. Got something else.")
        bounded(sizes.pop(), self._max_rows)
        return {str(name): list(values) for name, values in given.items()}

    def _of_records(self, form: str, given: Any) -> Columns:
        if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
            raise SchemaError(f"`{form}` must be a list of objects. Got something else.")
        bounded(len(given), self._max_rows)
        names = list(dict.fromkeys(name for row in given for name in row))
        _refuse_others("Every row must hold the same columns. Row {} does not.", given, len(names))
        return {name: [row[name] for row in given] for name in names}

    def _of_lists(self, form: str, given: Any, names: Sequence[str]) -> Columns:
        if not isinstance(given, list):
            raise SchemaError(f"`{form}` must hold a list of rows. Got something else.")
        bounded(len(given), self._max_rows)
        rows = [row if isinstance(row, list) else [row] for row in given]  # of one column a row may be its value
        _refuse_others(f"A row must hold {len(names)} values. Row {{}} holds others.", rows, len(names))
        return {name: [row[i] for row in rows] for i, name in enumerate(names)}

    # ── CSV ──

    def _of_csv(self, body: bytes, *, has_header: bool) -> Columns:
        """Read a header and rows; each field is what its column holds, an empty one is missing."""
        try:
            text = body.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise SchemaError("CSV must be in UTF-8. Got something else.") from None
        if "\0" in text or len(max(text.splitlines() or [""], key=len)) > LONGEST_FIELD:
            raise SchemaError("A line of CSV must be text of moderate length. Got another.")
        try:
            rows = list(islice(_lines(text), self._max_rows + 2))
            header = rows.pop(0) if has_header else list(self._inputs.names)
        except (csv.Error, IndexError):
            most = f"none of more than {csv.field_size_limit():,} characters"
            raise SchemaError(
                f"CSV must have a header and rows of as many fields, {most}. Got something else."
            ) from None
        if len({*header}) != len(header):
            raise SchemaError("The columns of CSV must have names that differ. Got others.")
        found = self._of_lists("CSV", rows, header)
        of = self._inputs.aliases
        known = {name: of.get(name, name) for name in header}
        return {
            name: values
            if (column := self._columns.get(known[name])) is None
            else [_field(text, column) for text in values]
            for name, values in found.items()
        }


def _told(request: Request, known: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Read what stands beside the kind of a body."""
    pairs = [pair.partition("=") for pair in request.headers.get("content-type", "").split(";")[1:] if pair.strip()]
    told = {name.strip().lower(): value.strip().strip('"').lower() for name, _, value in pairs}
    if all(value in known.get(name, ()) for name, value in told.items()):
        return told
    named = " and ".join(f"{name}={' or '.join(values)}" for name, values in known.items())
    says = f"Beside the content type may stand {named}. Got another."
    raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", says)


def _as_csv(told: Sequence[Any]) -> bytes:
    """Write a line for each prediction, without a header, as SageMaker joins them."""
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n").writerow
    for each in told:
        write(each.values() if isinstance(each, dict) else [each])
    return text.getvalue().encode()


def _refuse_others(words: str, rows: Sequence[Collection[Any]], width: int) -> None:
    """Refuse rows that hold another number of values, each by its number."""
    if others := [i for i, row in enumerate(rows) if len(row) != width]:
        told = [Fault(message=words.format(i), row=i) for i in others[: codecs.MOST_TOLD]]
        raise SchemaError.of(told, n_untold=len(others) - len(told))


def _lines(text: str) -> Iterator[list[str]]:
    return (row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row)


def _field(text: str, column: Column) -> Any:
    """Read a field as its column holds it; what it cannot be stays a text, for the contract to refuse."""
    if text == "" and (column.nullable or column.kind != "text"):
        return None
    kind = column.kind
    if column.kind == "category" and column.categories:
        kind = {bool: "boolean", int: "integer"}.get(type(column.categories[0]), "category")  # type: ignore[assignment]
    if kind in ("number", "integer", "boolean") and text.strip().lower() in MISSING:
        return None
    if kind == "boolean":
        return {"true": True, "false": False, "1": True, "0": False}.get(text.strip().lower(), text)
    if kind not in ("number", "integer"):
        return text
    if "_" in text or not text.isascii():  # which Python takes for digits
        return text
    if kind == "integer" and INTEGER.fullmatch(text) and len(text) < LONGEST_INTEGER:
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text
