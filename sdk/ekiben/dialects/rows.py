"""ekiben's own JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ekiben import codecs
from ekiben.dialects import JSON, Answer, Read, Request, Routed, bounded, media_type, unsupported
from ekiben.errors import Fault, SchemaError
from ekiben.pinning import Contract
from ekiben.spec import ServiceSpec


class Rows:
    """The bodies of `/predict` and `/explain`: `{"rows": [{…}]}`.

    Parameters
    ----------
    spec, contract
        What is served, and what was promised.
    max_rows
        How many rows a request may hold.
    """

    def __init__(self, spec: ServiceSpec, contract: Contract, max_rows: int) -> None:
        self._inputs, self._max_rows = contract.signature.inputs, max_rows
        self._unit = spec.unit.name if spec.unit and spec.unit.source == "field" else None
        self._known = {"rows"} | ({self._unit} if self._unit else set())

    def read(self, request: Request) -> Read:
        """Read the rows of a request as columns."""
        body = self._body(request)
        rows = self._rows(body)
        columns = codecs.columns_of(rows, self._inputs, ignore=self._unit)
        name, units = self._unit, list[Any]()
        if name is not None:
            units = [body[name]] if name in body else [row[name] for row in rows if name in row]
        return Read(columns=columns, units=units, body=body)

    def write(self, routed: Routed, predictions: list[dict[str, Any]]) -> tuple[bytes, Mapping[str, str]]:
        """Write predictions beside who gave them."""
        document = {"id": routed.id, "arm": routed.choice.arm, "model": routed.model, "predictions": predictions}
        return codecs.encode(document), {"content-type": JSON}

    def refused(self, answer: Answer) -> Answer:
        """Leave a refusal as it is."""
        return answer

    def _body(self, request: Request) -> dict[str, Any]:
        if media_type(request) != JSON:
            raise unsupported(JSON)
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
