"""Tables as bytes: Arrow's stream and file, and Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from ekiben._optional import require
from ekiben.arrow import messages, values
from ekiben.arrow.footers import Footer
from ekiben.errors import EkibenError, SchemaError

STREAM = "application/vnd.apache.arrow.stream"
FILE = "application/vnd.apache.arrow.file"
PARQUET = "application/vnd.apache.parquet"
KINDS = {STREAM: "an Arrow stream", FILE: "an Arrow file", PARQUET: "a file of Parquet"}
MAGIC, HEAD = b"ARROW1", 8  # a file of Arrow is a stream between its name, filled up to 8 bytes, and a footer
OWN = ("pandas", "ARROW:schema")  # what libraries write for themselves beside the columns

Allow = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A table that was read: every name in it, the columns that were wanted, and the texts beside them."""

    names: tuple[str, ...]
    columns: Mapping[str, Any]
    n_rows: int
    texts: Mapping[str, str]


@cache
def is_here() -> bool:
    """Whether tables can be read and written here; nothing is imported for it."""
    return find_spec("pyarrow") is not None


def opened(body: bytes, kind: str, wants: Callable[[str], bool], allow: Allow = lambda _rows, _bytes: None) -> Opened:
    """Read a table out of bytes that nobody vouches for.

    Parameters
    ----------
    body, kind
        The bytes, and what they are: one of `KINDS`.
    wants
        Tells by its name whether a column is read.
    allow
        Called with the number of rows and of bytes that the table will take, before a byte of it is unpacked; raises to refuse it.

    Raises
    ------
    SchemaError
        If the bytes are not what they should be.
    MissingExtraError
        If pyarrow is not installed.
    """
    with sound(kind):
        if kind == PARQUET:
            names, table = _of_parquet(body, wants, allow)
        else:
            names, table = _of_stream(_stream(body, kind), wants, allow)
        table.validate(full=True)
        beside = {name.decode(): text for name, text in (table.schema.metadata or {}).items()}
        texts = {name: text.decode() for name, text in beside.items() if name not in OWN}
        columns = {name: table.column(i) for i, name in enumerate(table.column_names) if wants(name)}
        return Opened(names=names, columns=columns, n_rows=table.num_rows, texts=texts)


@contextmanager
def sound(kind: str) -> Iterator[None]:
    """Say of bytes that cannot be read what they should have been; the libraries' own words may repeat values."""
    arrow = require("pyarrow", to="read Arrow and Parquet")
    try:
        yield
    except EkibenError:
        raise
    except (arrow.ArrowException, OSError, ValueError, LookupError, OverflowError, MemoryError, RecursionError):
        raise SchemaError(f"The body must be {KINDS[kind]}, whole and sound. Got something else.") from None


def _stream(body: bytes, kind: str) -> memoryview:
    """Give the stream that a body is, or that a file holds between its ends."""
    if kind == STREAM:
        return memoryview(body)
    if not body.startswith(MAGIC) or not body.endswith(MAGIC):
        raise ValueError(kind)
    return memoryview(body)[HEAD:]


def _of_stream(body: memoryview, wants: Callable[[str], bool], allow: Allow) -> tuple[tuple[str, ...], Any]:
    ipc = require("pyarrow.ipc", to="read Arrow")
    allow(*messages.of_stream(body))
    schema = ipc.open_stream(body).schema
    _differ(schema.names)
    places = [i for i, name in enumerate(schema.names) if wants(name)]
    options = ipc.IpcReadOptions(included_fields=places, use_threads=False)  # of no place all are read
    with ipc.open_stream(body, options=options) as reader:
        return tuple(schema.names), reader.read_all()


def _of_parquet(body: bytes, wants: Callable[[str], bool], allow: Allow) -> tuple[tuple[str, ...], Any]:
    arrow, parquet = require("pyarrow", to="read Parquet"), require("pyarrow.parquet", to="read Parquet")
    told = Footer(body)
    allow(told.n_rows, told.n_bytes())
    # a text that a thousand rows share stays one text
    source, texts = arrow.BufferReader(body), told.texts()
    with parquet.ParquetFile(source, read_dictionary=texts, pre_buffer=False) as file:
        names = file.schema_arrow.names
        _differ(names)
        return tuple(names), file.read(columns=[name for name in names if wants(name)], use_threads=False)


def _differ(names: list[str]) -> None:
    if len({*names}) != len(names):
        raise SchemaError("The columns must have names that differ. Got one twice.")


def written(columns: Mapping[str, list[Any]], kind: str, texts: Mapping[str, str]) -> bytes:
    """Write columns of plain values as a table, and some texts beside them.

    Raises
    ------
    SchemaError
        If a number is not finite.

    Examples
    --------
    >>> body = written({"label": ["bad", None], "score_bad": [0.75, 0.5]}, STREAM, {"arm": "champion"})
    >>> found = opened(body, STREAM, lambda name: True)
    >>> read(found), found.texts
    ({'label': ['bad', None], 'score_bad': [0.75, 0.5]}, {'arm': 'champion'})
    """
    arrow = require("pyarrow", to="write Arrow and Parquet")
    fields, arrays = [], []
    for name, cells in columns.items():
        array, metadata = values.as_array(cells)
        fields.append(arrow.field(name, array.type, metadata=metadata))
        arrays.append(array)
    table = arrow.Table.from_arrays(arrays, schema=arrow.schema(fields, metadata=dict(texts)))
    return packed(table, kind)


def packed(table: Any, kind: str) -> bytes:
    """Give the bytes of a table."""
    sink = require("pyarrow", to="write Arrow").BufferOutputStream()
    if kind == PARQUET:
        require("pyarrow.parquet", to="write Parquet").write_table(table, sink)
    else:
        ipc = require("pyarrow.ipc", to="write Arrow")
        make = ipc.new_stream if kind == STREAM else ipc.new_file
        with make(sink, table.schema) as writer:
            writer.write_table(table)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def read(table: Opened) -> dict[str, list[Any]]:
    """Give the columns of a table that `written` wrote, as the values that they were."""
    return {name: values.of_chunks(column) for name, column in table.columns.items()}
