"""Score a file of many rows in one process: in constant memory, told step by step, and resumed where it was killed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Generator, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben import packages, tables
from ekiben._optional import require
from ekiben.arrow import frames
from ekiben.arrow.values import EXACT
from ekiben.errors import SchemaError, SpecError
from ekiben.models import Answers
from ekiben.packages import Package
from ekiben.progress import Progress, shown
from ekiben.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd

N_ROWS = 50_000  # of a batch: what a model is asked about at once, and what is lost at most when the process is killed
PARQUET, CSV = (".parquet", ".pq"), (".csv",)
GAPS = frozenset(
    ["", "#N/A", "#NA", "-NaN", "-nan", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]
)  # of CSV
READ = ("number", "integer", "boolean")  # kinds whose fields of CSV are no texts
BOOLEANS = {
    text: value for value in (True, False) for text in (value, f"{value}", f"{value}".lower(), f"{value}".upper())
}
JOB = "job.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What was done: how many rows, how many of them had been answered by an earlier run, and in how many seconds."""

    rows: int
    resumed: int
    seconds: float


def score(
    package: Package,
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    keep: Sequence[str] = (),
    n_rows: int = N_ROWS,
    progress: Progress | bool | None = None,
) -> Scored:
    """Answer every row of a file, and write the answers to another, in their order.

    Batches are written one by one into a folder beside `out`, which becomes `out` at the end. A run that was killed goes on behind the
    last whole batch, if the package, the source and the settings are the same; the result is the same bytes.

    Parameters
    ----------
    package
        What answers.
    source
        A file of Parquet or CSV with every column of the contract.
    out
        The file of Parquet to write.
    keep
        Columns of the source that stand beside the answers, such as an id.
    n_rows
        Rows of a batch.
    progress
        Takes a few words after each batch; False keeps them from being shown.

    Raises
    ------
    SchemaError
        If rows do not fit the contract, with the number of each in the file. What was answered before is kept.
    SpecError
        If the source cannot be read, or lacks a column.

    Examples
    --------
    >>> score(ek.load("packages/churn"), "customers.parquet", "scores.parquet", keep=["customer_id"])  # doctest: +SKIP
    Scored(rows=1000000, resumed=0, seconds=9.6)
    """
    require("pyarrow", to="score a file")
    began, source, out = time.monotonic(), Path(source), Path(out)
    if out.suffix not in PARQUET:
        raise SpecError(
            f"The answers must be written to a file of Parquet. Got {out.name!r}: name it {out.stem}.parquet."
        )
    if n_rows < 1:
        raise SpecError(f"A batch must hold at least one row. Got {n_rows}.")
    _has_columns(source, package, keep)
    if out.exists() and out.samefile(source):
        raise SpecError(f"The answers must be written to another file than the source. Got {out.name!r} for both.")
    parts = out.with_name(f"{out.name}.parts")
    resumed = 0
    job = _job(package, source, keep, n_rows)
    with shown(progress) as say, _begun(parts, job), _Writer(package, keep, parts) as writer:

        def tell() -> None:
            if done := writer.settled():
                say(f"{done:,} rows answered, {done / (time.monotonic() - began):,.0f} a second")

        for batch in _ahead(_batches(source, package, keep, n_rows), package.schema, keep, parts):
            answers = None if batch.rows is None else package.answers(batch.rows)
            resumed += batch.n_rows if answers is None else 0
            tell()  # of what is written, and will not be lost
            writer.write(batch, answers)
        tell()
        writer.finish(out)
    return Scored(rows=writer.n_rows, resumed=resumed, seconds=round(time.monotonic() - began, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Some rows: as they were read, where their answers go, and as the model takes them; None where they are answered."""

    came: Any
    part: Path
    rows: pd.DataFrame | None

    @property
    def n_rows(self) -> int:
        return len(self.came)


def _conformed(batch: Any, schema: Schema, keep: Sequence[str], before: int) -> pd.DataFrame:
    """Bring a batch into the contract: all of its columns but those that are only kept."""
    import pandas as pd

    is_frame = isinstance(batch, pd.DataFrame)
    names = _taken(list(batch) if is_frame else batch.schema.names, schema, keep)
    try:
        return tables.conform(batch[names], schema) if is_frame else frames.fitted(batch.select(names), schema)
    except SchemaError as misfit:
        raise misfit.later(before, len(batch), of="file") from None


def _taken(came: Sequence[str], schema: Schema, keep: Sequence[str]) -> list[str]:
    """List the columns that the model takes; an alias that is kept beside its column is none of them."""
    beside = {alias for alias, name in schema.aliases.items() if alias in keep and name in came}
    return [name for name in came if name in {*schema.names, *schema.aliases} - beside]


# ── the source ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _names(source: Path) -> list[str]:
    import pandas as pd

    try:
        if source.suffix in PARQUET:
            found: list[str] = require("pyarrow.parquet", to="read Parquet").read_schema(source).names
            return found
        if source.suffix in CSV:
            return [str(name) for name in pd.read_csv(source, nrows=0)]
    except (OSError, ValueError) as reason:
        raise SpecError(f"The source must be readable. {source.name} is not: {type(reason).__name__}.") from None
    raise SpecError(f"The source must be a file of Parquet or CSV. Got {source.name!r}.")


def _has_columns(source: Path, package: Package, keep: Sequence[str]) -> None:
    names = _names(source)
    aliases = {name: alias for alias, name in package.schema.aliases.items()}
    wanted = [name for name in package.schema.names if name not in names and aliases.get(name) not in names]
    if missing := [*wanted, *(name for name in keep if name not in names)]:
        raise SpecError(
            f"The source must have every column of the contract, and those to keep. It lacks: {', '.join(missing)}."
        )


def _batches(source: Path, package: Package, keep: Sequence[str], n_rows: int) -> Generator[Any, None, None]:
    """Read the source batch by batch: frames of CSV, and Arrow's own batches of Parquet."""
    import pandas as pd

    known = {*package.schema.names, *package.schema.aliases, *keep}
    names = [name for name in _names(source) if name in known]
    if source.suffix in CSV:
        try:
            yield from _frames(source, names, package.schema, keep, n_rows)
        except (pd.errors.ParserError, UnicodeError) as reason:  # too many fields, or no UTF-8
            raise SpecError(f"The source must be a CSV in UTF-8. {source.name} is not: {reason}.") from None
        return
    parquet = require("pyarrow.parquet", to="read Parquet")
    repeated = frames.repeated(parquet.read_schema(source), package.schema)
    with parquet.ParquetFile(source, read_dictionary=[name for name in repeated if name not in keep]) as file:
        yield from file.iter_batches(batch_size=n_rows, columns=names)


def _frames(
    source: Path, names: Sequence[str], schema: Schema, keep: Sequence[str], n_rows: int
) -> Iterator[pd.DataFrame]:
    """Read frames of CSV; where a gap makes floats of integers too long for them, from there on by their texts."""
    import pandas as pd

    long, n_read = set[str](), 0
    while True:
        told = _csv(names, schema, keep)
        told["dtype"] |= dict.fromkeys(long, str)
        # all columns are read: of some alone pandas cuts a line that is too long, or moves its values
        with pd.read_csv(source, chunksize=n_rows, **told) as coming:
            for i, frame in enumerate(coming):
                if i < n_read:
                    continue
                _refuse_longer(frame, source)
                if more := _too_long(frame[names], schema):
                    long |= more
                    break
                yield _field_by_field(frame[names], schema)
                n_read += 1
            else:
                return


def _too_long(frame: pd.DataFrame, schema: Schema) -> set[str]:
    """Name the columns of integers that were read as floats and hold one that a float may not be."""
    whole = {name for column in schema.columns if column.kind == "integer" for name in (column.name, column.alias)}
    floats = [name for name in frame if name in whole and frame[name].dtype.kind == "f"]
    return {str(name) for name in floats if (frame[name].abs() >= EXACT).any()}


def _csv(names: Sequence[str], schema: Schema, keep: Sequence[str]) -> dict[str, Any]:
    """Say how CSV is read, so that a frame comes back as it was written: numbers to the last bit, and texts as texts.

    What is only kept is a text as it stands there: `00123` is no number.
    """
    columns = [column for column in schema.columns if _is_text(column)]
    only_kept = dict.fromkeys(set(names) - set(_taken(names, schema, keep)), GAPS - {""})
    known = {name: column for column in columns for name in (column.name, column.alias) if name in names}
    spelled = {name: _spelled(known.get(name)) for name in names} | only_kept
    return {
        "dtype": dict.fromkeys([*known, *only_kept], str),
        "keep_default_na": False,
        "na_values": {name: sorted(GAPS - spelled[name]) for name in names},
        "float_precision": "round_trip",
    }


def _refuse_longer(frame: pd.DataFrame, source: Path) -> None:
    """Refuse lines of more fields than there are names, the first of which pandas takes for an index."""
    import pandas as pd

    if not isinstance(frame.index, pd.RangeIndex):
        raise SpecError(
            f"A line of CSV must have a field for each name of the first line. Those of {source.name} have more. "
            "Name each column; a text with a comma needs quotes around it."
        )


def _field_by_field(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Read again what pandas left as texts for one field that is no number, so that this one is told and not all of them."""
    import pandas as pd

    read = {}
    for column in schema.columns:
        name = next((each for each in (column.name, column.alias) if each in frame), "")
        if not name or column.kind not in READ or pd.api.types.is_numeric_dtype(frame[name]):
            continue
        cells = frame[name]
        if column.kind == "boolean":
            read[name] = cells.map(lambda cell: BOOLEANS.get(cell, cell))
        else:  # pandas says which are numbers, and Python which number, to the last bit
            is_number = pd.to_numeric(cells, errors="coerce").notna()
            both = zip(cells, is_number, strict=True)
            read[name] = pd.Series([_number(cell) if is_one else cell for cell, is_one in both], cells.index, object)
    return frame.assign(**read) if read else frame


def _number(cell: str) -> int | float:
    try:
        return int(cell)
    except ValueError:
        return float(cell)


def _is_text(column: Column) -> bool:
    return column.kind in ("text", "category") and all(isinstance(known, str) for known in column.categories or ())


def _spelled(column: Column | None) -> Set[str]:
    """Tell which spellings of a missing value are texts of a column: those that it knows, and all where it must hold one.

    An empty field is an empty text there, as in CSV over HTTP, and no category; where a value may be missing, it is.
    """
    if column is None:
        return set()
    if column.nullable:
        return set(map(str, column.categories or ())) - {""}
    return GAPS if column.kind == "text" else GAPS - {""}


def _ahead(came: Generator[Any, None, None], schema: Schema, keep: Sequence[str], parts: Path) -> Iterator[_Batch]:
    """Read the next batch, and bring it into the contract, while the model answers this one."""
    reading = ThreadPoolExecutor(1, "ekiben-reading")
    with closing(came), closing(_prepared(came, schema, keep, parts)) as batches, reading:
        coming = reading.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reading.submit(next, batches, None)
            yield batch


def _prepared(came: Iterator[Any], schema: Schema, keep: Sequence[str], parts: Path) -> Generator[_Batch, None, None]:
    before = 0
    for number, batch in enumerate(came):
        part = parts / f"{number:06}.arrow"
        rows = None if part.exists() else _conformed(batch, schema, keep, before)
        yield _Batch(came=batch, part=part, rows=rows)
        before += len(batch)


# ── the job ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _job(package: Package, source: Path, keep: Sequence[str], n_rows: int) -> str:
    """Say what makes two runs the same: the package, the source's own bytes at both ends, and the settings."""
    size = source.stat().st_size
    with source.open("rb") as file:
        ends = hashlib.sha256(file.read(1 << 20))
        file.seek(max(0, size - (1 << 20)))
        ends.update(file.read())
    costs = package.manifest.get("costs")  # which say what answers: the plan and the model differ in their last bits
    told = {
        "package": package.digest,
        "costs": costs,
        "size": size,
        "modified": source.stat().st_mtime_ns,
        "ends": ends.hexdigest(),
    }
    return json.dumps({**told, "keep": list(keep), "rows": n_rows}, indent=1)


@contextmanager
def _begun(parts: Path, job: str) -> Iterator[None]:
    """Hold the folder of the parts, so that two runs do not write one file; go on in it, or begin it anew."""
    parts.mkdir(parents=True, exist_ok=True)
    held = os.open(parts, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_there = os.path.samestat(os.fstat(held), parts.stat())
        except (BlockingIOError, FileNotFoundError):
            is_there = False
        if not is_there:  # held by a run, or dropped by one that ended just now
            raise SpecError(
                f"One run at a time may write {parts.stem}. Another one does: wait for its end, or name another file."
            )
        _begin(parts, job)
        yield
    finally:
        os.close(held)


def _begin(parts: Path, job: str) -> None:
    """Go on with a folder of the same job, or begin a new one."""
    with suppress(OSError):
        if (parts / JOB).read_text(encoding="utf-8") == job:
            return
    for old in parts.iterdir():
        old.unlink()
    (parts / JOB).write_text(job, encoding="utf-8")


# ── the answers ─────────────────────────────────────────────────────────────────────────────────────────────────────


class _Writer:
    """Write answers in a thread of its own: each batch into its part, and all parts, in their order, into one file.

    The file is begun with the columns of the first part. Where a later one shows that they must be others, as a column had no
    value before, it is begun again from the parts.
    """

    def __init__(self, package: Package, keep: Sequence[str], parts: Path) -> None:
        self._signature, self._keep, self._parts = package.signature, keep, parts
        self._apart = ThreadPoolExecutor(1, "ekiben-writing")
        self._last = self._apart.submit(lambda: None)
        self._files, self.n_rows = list[Path](), 0
        self._schema: Any = None
        self._whole: Any = None
        self._open = ExitStack()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *failure: object) -> None:
        with self._open, self._apart:  # what was given to the thread is written before
            pass

    def settled(self) -> int:
        """Wait for what is being written; tell how many rows there are."""
        self._last.result()
        return self.n_rows

    def write(self, batch: _Batch, answers: Sequence[Answers] | None) -> None:
        """Write the answers to a batch, once those before it are written; None for one that an earlier run has written."""
        self.settled()  # one batch at a time may wait: memory stays what it is
        self._last = self._apart.submit(self._written, batch, answers)

    def _written(self, batch: _Batch, answers: Sequence[Answers] | None) -> None:
        if answers is None:
            table = _read(batch.part)
        else:
            table, beside = self._table(batch, answers), batch.part.with_suffix(".part")
            require("pyarrow.feather", to="score a file").write_feather(table, beside, compression="uncompressed")
            beside.replace(batch.part)
        self._add(table)
        self._files.append(batch.part)
        self.n_rows += batch.n_rows

    def _table(self, batch: _Batch, answers: Sequence[Answers]) -> Any:
        """Give answers as a table of Arrow, what is kept beside them."""
        arrow = require("pyarrow", to="score a file")
        assert batch.rows is not None
        answered = packages.table(answers, self._signature, batch.rows.index)
        found = arrow.Table.from_pandas(answered, preserve_index=False, nthreads=1)
        kept = {called: batch.came[name] for name, called in _beside(self._keep, found.column_names).items()}
        return arrow.table({**kept, **dict(zip(found.column_names, found.columns, strict=True))})

    def _add(self, table: Any) -> None:
        if self._schema is None:
            self._begin(table.schema)
        if table.schema != self._schema:
            arrow = require("pyarrow", to="score a file")
            # a column that is missing in all rows of one part has no type there
            self._begin(arrow.unify_schemas([self._schema, table.schema], promote_options="permissive"))
            for file in self._files:
                self._whole.write_table(_read(file).cast(self._schema))
        self._whole.write_table(table if table.schema == self._schema else table.cast(self._schema))

    def _begin(self, schema: Any) -> None:
        """Begin the whole file, or begin it again."""
        types = require("pyarrow", to="score a file").types
        self._open.close()
        # a dictionary of scores and ids, which hardly repeat, would only cost time
        unlike = {field.name for field in schema if types.is_floating(field.type)} | {*self._keep}
        repeats = [field.name for field in schema if field.name not in unlike or types.is_string(field.type)]
        parquet = require("pyarrow.parquet", to="score a file")
        writer = parquet.ParquetWriter(self._parts / "whole.part", schema, use_dictionary=repeats)
        self._schema, self._whole = schema, self._open.enter_context(writer)

    def finish(self, out: Path) -> None:
        """Put the whole file into its place, and drop the parts."""
        self._last.result()
        self._open.close()
        if not self._files:
            shutil.rmtree(self._parts)
            raise SchemaError("The source must hold at least one row. Got none.")
        (self._parts / "whole.part").replace(out)
        shutil.rmtree(self._parts)


def _beside(keep: Sequence[str], answers: Sequence[str]) -> dict[str, str]:
    """Name what is kept: as it was called or, where an answer has that name, with `_in` behind it until nothing else has."""
    taken = {*answers, *keep}
    named = {}
    for name in dict.fromkeys(keep):
        called = name
        while called in answers or (called != name and called in taken):
            called += "_in"
        named[name] = called
        taken.add(called)
    return named


def _read(part: Path) -> Any:
    return require("pyarrow.feather", to="score a file").read_table(part, memory_map=True)
