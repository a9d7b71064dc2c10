"""ekiben's own JSON, and tables in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ekiben import codecs
from ekiben.arrow import KINDS
from ekiben.dialects import JSON, Answer, Read, Request, Routed, bounded, media_type, unsupported
from ekiben.dialects.tables import Table, Tables, wanted
from ekiben.errors import Fault, SchemaError
from ekiben.pinning import Contract
from ekiben.reading import EXPLAIN
from ekiben.spec import ServiceSpec


class Rows:
    """The bodies of `/predict` and `/explain`: `{"rows": [{…}]}`, or a table where tables are taken.

    Parameters
    ----------
    spec, contract
        What is served, and what was promised.
    max_rows
        How many rows a request may hold.
    tables
        What reads and writes tables; None takes JSON alone.
    explains
        Whether a body may ask for explanations beside predictions: `explain`.
    shows_rows
        Whether `body` must hold the rows of a table too: the service looks for its unit there.
    """

    def __init__(
        self,
        spec: ServiceSpec,
        contract: Contract,
        max_rows: int,
        *,
        tables: Tables | None = None,
        explains: bool = False,
        shows_rows: bool = False,
    ) -> None:
        self._inputs, self._max_rows = contract.signature.inputs, max_rows
        self._unit = spec.unit.name if spec.unit and spec.unit.source == "field" else None
        self._explains = explains and self._unit != EXPLAIN
        self._known = {"rows", *([self._unit] if self._unit else []), *([EXPLAIN] if self._explains else [])}
        self._tables, self._shows_rows = tables, shows_rows

    def read(self, request: Request) -> Read:
        """Read the rows of a request as columns."""
        kind, tables = media_type(request), self._tables
        if tables is not None and kind in KINDS:
            return self._of_table(tables.read(request), wanted(request, kind))
        body = self._body(request)
        rows = self._rows(body)
        columns = codecs.columns_of(rows, self._inputs, ignore=self._unit)
        name, units = self._unit, list[Any]()
        if name is not None:
            units = [body[name]] if name in body else [row[name] for row in rows if name in row]
        wants = None if tables is None else wanted(request, JSON)
        return Read(columns=columns, units=units, body=body, wants=wants, explains=self._asks_why(body, wants))

    def _asks_why(self, body: Mapping[str, Any], wants: Any) -> bool:
        asked = body.get(EXPLAIN, False) if self._explains else False
        if type(asked) is not bool:
            raise SchemaError(f"`{EXPLAIN}` must be true or false. Got something else.")
        if asked and wants in KINDS:
            raise SchemaError(f"`{EXPLAIN}` must be answered in JSON. A table was wanted. Leave `Accept` out.")
        return asked

    def _of_table(self, table: Table, wants: str) -> Read:
        units, columns = self._units(table), table.columns
        if self._unit not in self._inputs.names:
            columns = {name: cells for name, cells in columns.items() if name != self._unit}
        held = codecs.held(columns, self._inputs, fitting=table.fitting)
        body: dict[str, Any] = dict(table.texts)
        if self._shows_rows:
            shown = {str(self._unit): units, **held} if len(units) == table.n_rows else held
            body["rows"] = [dict(zip(shown, row, strict=True)) for row in zip(*shown.values(), strict=True)]
        return Read(columns=held, units=units, body=body, wants=wants)

    def _units(self, table: Table) -> list[Any]:
        """Give what names the unit: a text beside the columns, or a column of its name."""
        if self._unit is None:
            return []
        return [table.texts[self._unit]] if self._unit in table.texts else table.columns.get(self._unit, [])

    def write(self, routed: Routed, predictions: list[dict[str, Any]]) -> tuple[bytes, Mapping[str, str]]:
        """Write predictions beside who gave them."""
        if self._tables is not None and routed.wants in KINDS:
            return self._tables.write(routed, predictions, routed.wants), {"content-type": routed.wants}
        document = {"id": routed.id, "arm": routed.choice.arm, "model": routed.model, "predictions": predictions}
        return codecs.encode(document | dict(routed.beside)), {"content-type": JSON}

    def refused(self, answer: Answer) -> Answer:
        """Leave a refusal as it is."""
        return answer

    def _body(self, request: Request) -> dict[str, Any]:
        if media_type(request) != JSON:
            raise unsupported(JSON, *(KINDS if self._tables else ()))
        body = codecs.decode(request.body)
        if not isinstance(body, dict):
            raise SchemaError('The body must be an object: {"rows": [{…}]}. Got something else.')
        return body

    def _rows(self, body: Mapping[str, Any]) -> list[Any]:
        if set(body) - self._known:
            raise SchemaError(f"The body may hold {', '.join(sorted(self._known))}. Got another field.")
        rows = body.get("rows")
        if not isinstance(rows, list) or not rows:
            what = "nothing" if rows is None else "an empty list" if rows == [] else "something else"
            fault = Fault(
                message=f"`rows` must be a list of at least one row. Got {what}.", expected="a list of rows", got=what
            )
            raise SchemaError.of([fault])
        bounded(len(rows), self._max_rows)
        return rows
