"""How a service wants rows written: the same attack is written for each in its own spelling."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Pair = tuple[bytes, bytes]  # a name and a value, each as bytes of JSON, or of what should have been JSON
Rows = Sequence[Sequence[Pair]]

PATHS = ("/predict", "/explain")


def text(value: Any) -> bytes:
    """Write a value as JSON."""
    return json.dumps(value, ensure_ascii=False).encode()


def record(pairs: Sequence[Pair]) -> bytes:
    """Write one row as an object."""
    return b"{" + b",".join(name + b":" + value for name, value in pairs) + b"}"


def records(rows: Rows) -> bytes:
    """Write rows as a list of objects.

    Examples
    --------
    >>> records([[(b'"age"', b"30")], [(b'"age"', b"NaN")]])
    b'[{"age":30},{"age":NaN}]'
    """
    return b"[" + b",".join(map(record, rows)) + b"]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """How a body is written from its rows, and where it is sent; by default as ekiben takes it.

    Parameters
    ----------
    name
        What the rows are called in the body, with its quotes.
    before
        Members of the body that come before the rows, each with its comma.
    table
        How rows are written.
    paths
        Where bodies are sent; the stream draws one of them, so a second one that is the same keeps its other choices.

    Examples
    --------
    >>> Spelling().body([[(b'"age"', b"30")]])
    b'{"rows":[{"age":30}]}'
    """

    name: bytes = b'"rows"'
    before: bytes = b""
    table: Callable[[Rows], bytes] = records
    paths: tuple[str, str] = PATHS

    def body(self, rows: Rows) -> bytes:
        """Write a body of rows."""
        return self.around(self.table(rows))

    def around(self, table: bytes) -> bytes:
        """Write a body in which `table` stands where the rows should."""
        return b"{" + self.before + self.member(table) + b"}"

    def member(self, table: bytes) -> bytes:
        """Write the rows as a member of the body."""
        return self.name + b":" + table
