"""Records in Postgres: the tables, and rows that go in and come out as they were.

JSON and Postgres' texts hold less than a record may: no NUL character, no number that is not finite, no difference between a
large float and an integer. A row with such a value holds the nearest in its columns, and the whole of it in `exact`.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import msgspec

from ekiben._optional import require
from ekiben.errors import EkibenError, RecordsError, SpecError, UnreachableError
from ekiben.recording.segments import Decision, Header

TEXT, FILE = "EKIBEN_RECORDS_DSN", "EKIBEN_RECORDS_DSN_FILE"
SCHEMES = ("postgresql", "postgres")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")
SCHEMA = 1
CONNECT_S, COMMAND_S = 10.0, 30.0
FETCHED = 2_000  # rows that are read at once
LARGE = 1e15  # a float from here on may come back as an integer
_LOCK = 0x656B_6962_656E  # of those who make the tables
_HOST = re.compile(r"(\[[^\[\]]+\]|[^\[\]:]*)(:\d{1,5})?")

TABLES = """
CREATE TABLE IF NOT EXISTS ekiben_schema (version integer NOT NULL);
CREATE TABLE IF NOT EXISTS ekiben_columns (
  id uuid PRIMARY KEY,
  service text NOT NULL,
  names text NOT NULL,
  example text NOT NULL
);
CREATE TABLE IF NOT EXISTS ekiben_records (
  id text NOT NULL,
  row integer NOT NULL,
  service text NOT NULL,
  at timestamptz NOT NULL,
  ns bigint NOT NULL,
  endpoint text NOT NULL,
  arm text NOT NULL,
  model text NOT NULL,
  digest text NOT NULL,
  unit text,
  propensity double precision NOT NULL,
  latency_us double precision NOT NULL,
  columns uuid NOT NULL,
  inputs jsonb NOT NULL,
  outputs jsonb NOT NULL,
  exact bytea,
  PRIMARY KEY (id, row)
);
CREATE INDEX IF NOT EXISTS ekiben_records_by_time ON ekiben_records (service, at);
CREATE INDEX IF NOT EXISTS ekiben_records_by_unit ON ekiben_records USING hash (unit);
"""
INSERT = """
INSERT INTO ekiben_records
SELECT id, row, $1, timestamptz 'epoch' + ns / 1000 * interval '1 microsecond', ns, endpoint, arm, model, digest, unit,
  propensity, latency_us, $2, inputs, outputs, exact
FROM unnest($3::text[], $4::integer[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
  $11::double precision[], $12::double precision[], $13::jsonb[], $14::jsonb[], $15::bytea[])
  AS told (id, row, ns, endpoint, unit, arm, model, digest, propensity, latency_us, inputs, outputs, exact)
ON CONFLICT (id, row) DO NOTHING
"""
SELECT = """
SELECT r.id, row, ns, endpoint, unit, arm, propensity, model, digest, latency_us, inputs, outputs, exact, names, example
FROM ekiben_records r JOIN ekiben_columns c ON c.id = r.columns
WHERE r.service = $1 AND at >= timestamptz 'epoch' + $2::bigint / 1000 * interval '1 microsecond' AND ns >= $2::bigint
ORDER BY ns, r.id, row
"""
DELETE = """
DELETE FROM ekiben_records WHERE ctid = ANY (ARRAY (
  SELECT ctid FROM ekiben_records
  WHERE service = $1 AND at < timestamptz 'epoch' + $2::bigint / 1000 * interval '1 microsecond' ORDER BY at LIMIT $3))
"""

# What a state of SQL means for whoever runs the service; the server's own words may hold names and values.
_STATES = {
    "28": "it does not take the user or the password",
    "3D": "it has no database of that name",
    "42501": "the user may not make, fill or empty the tables",
    "42": "its tables are not those of ekiben",
    "53": "it has no room or no connection left",
    "57": "it is being stopped or started",
}
_REFUSED = ("22", "23", "54")  # the rows are at fault, and not the server
T = TypeVar("T")
Names = tuple[Any, ...] | None
_encode, _decode = msgspec.json.encode, msgspec.json.decode


# ── its address ─────────────────────────────────────────────────────────────────────────────────────────────────────


def is_address(place: object) -> bool:
    """Tell whether a place of records is a database.

    >>> is_address("postgresql://localhost/risk"), is_address("risk")
    (True, False)
    """
    return isinstance(place, str) and place.partition("://")[0] in SCHEMES and "://" in place


def address() -> str | None:
    """Give the address that the environment names; None for none.

    Raises
    ------
    SpecError
        If it is none of Postgres, or its file cannot be read.
    """
    text, file = os.environ.get(TEXT, ""), os.environ.get(FILE, "")
    if file and not text:
        try:
            text = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise SpecError(f"The file that {FILE} names must hold an address. It cannot be read.") from None
    return checked(text) if text or file else None


def checked(dsn: str) -> str:
    """Give an address of Postgres, or say what is wrong with it; never what it is.

    Raises
    ------
    SpecError
        If it is none.

    Examples
    --------
    >>> checked("mysql://localhost/risk")
    Traceback (most recent call last):
    ...
    ekiben.errors.SpecError: The address of records must be postgresql://user:password@host:5432/database. Its scheme is another.
    """
    if (fault := _fault(dsn)) is not None:
        form = "postgresql://user:password@host:5432/database"
        raise SpecError(f"The address of records must be {form}. {fault}")
    return dsn


def _fault(dsn: str) -> str | None:
    try:
        parts = urlsplit(dsn)
        asked = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
    except ValueError:
        return "Some of it cannot be read; write @, :, / and ? of a password as %40, %3A, %2F and %3F."
    if parts.scheme not in SCHEMES:
        return "Its scheme is another."
    if parts.fragment or not all(map(_HOST.fullmatch, parts.netloc.rpartition("@")[2].split(","))):
        return "Its host or port is none; write @, :, / and ? of a password as %40, %3A, %2F and %3F."
    if asked.get("sslmode", "prefer") not in SSL_MODES:
        return f"Its sslmode must be one of {', '.join(SSL_MODES)}."
    gone = sorted(name for name in FILES if name in asked and not Path(asked[name]).is_file())
    return f"The files of {', '.join(gone)} must be there. They are not." if gone else None


# ── the database ────────────────────────────────────────────────────────────────────────────────────────────────────


class RefusedRowsError(RecordsError):
    """The database is there, and does not take these rows."""


class Database:
    """One connection, made when it is needed; for one thread, which runs no event loop of its own.

    Parameters
    ----------
    dsn
        Gives the address; asked at each connection, since a password may have changed.
    """

    def __init__(self, dsn: Callable[[], str | None]) -> None:
        self._dsn = dsn
        self._asyncpg = asyncpg = require("asyncpg", to="keep records in Postgres")
        self._asyncpg_faults = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
        self._runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        self._connection: Any = None
        self._known: dict[UUID, Names] = {}  # the names in an answer, of each kind of columns

    def insert(self, header: Header, told: Sequence[Decision]) -> None:
        """Put rows into the table, but for those that are there.

        Raises
        ------
        UnreachableError
            If the database does not answer, or not with what it should.
        RefusedRowsError
            If it does not take one of the rows.
        RecordsError
            If its tables are those of a newer ekiben.
        """
        self._done(lambda: self._insert(header, told))

    def fetch(self, service: str, since_ns: int = 0) -> Generator[tuple[Sequence[str], Decision], None, None]:
        """Read the rows of a service, the oldest first, each with the names of its columns; a few at a time.

        Raises
        ------
        UnreachableError
            If the database does not answer, or not any more.
        RecordsError
            If its tables are those of a newer ekiben.
        """
        parts = self._fetch(service, since_ns)
        try:
            while some := self._done(lambda: _next(parts)):
                for found in some:
                    names = _decode(found["names"])
                    yield names, _decision(found, names)
        finally:
            self._done(parts.aclose)

    def delete(self, service: str, before_ns: int, most: int) -> int:
        """Delete the oldest rows of a service that are older than a moment, and tell how many there were.

        Raises
        ------
        UnreachableError
            If the database does not answer, or does not let its user delete.
        """
        return self._done(lambda: self._delete(service, before_ns, most))

    def ask(self) -> None:
        """Ask whether the database is there.

        Raises
        ------
        UnreachableError
            If it is not.
        """
        self._done(lambda: self._query("SELECT 1"))

    def services(self) -> list[str]:
        """Name the services that have records."""
        found = self._done(lambda: self._query("SELECT DISTINCT service FROM ekiben_columns ORDER BY service"))
        return [each["service"] for each in found]

    def close(self) -> None:
        """Leave."""
        self._leave()
        self._runner.run(asyncio.sleep(0))  # what was left closes its socket only then
        self._runner.close()

    def _done(self, act: Callable[[], Awaitable[T]]) -> T:
        try:
            return self._runner.run(_awaited(act))
        except EkibenError:
            self._leave()
            raise
        except (*self._asyncpg_faults, OSError, ValueError) as reason:
            state = getattr(reason, "sqlstate", None) or ""
            if state[:2] in _REFUSED:
                raise RefusedRowsError(f"Rows must fit the table of records. Some do not: SQLSTATE {state}.") from None
            self._leave()
            raise UnreachableError(f"The database of records must answer. {_words(reason, state)}.") from None

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _insert(self, header: Header, told: Sequence[Decision]) -> None:
        if not told:
            return
        connection, columns = await self._connected(), columns_id(header)
        if columns not in self._known:
            names, example = _encode(header.columns).decode(), told[0].output.decode()
            statement = "INSERT INTO ekiben_columns VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING"
            await connection.execute(statement, columns, header.service, names, example)
            example = await connection.fetchval("SELECT example FROM ekiben_columns WHERE id = $1", columns)
            self._known[columns] = _names(_decode(example))
        rows = [_row(each, header.columns, self._known[columns]) for each in told]
        await connection.execute(INSERT, header.service, columns, *map(list, zip(*rows, strict=True)))

    async def _fetch(self, service: str, since_ns: int) -> AsyncGenerator[Sequence[Any], None]:
        connection = await self._connected()
        async with connection.transaction(readonly=True):
            cursor = await connection.cursor(SELECT, service, since_ns)
            while some := await cursor.fetch(FETCHED):
                yield some

    async def _delete(self, service: str, before_ns: int, most: int) -> int:
        told: str = await (await self._connected()).execute(DELETE, service, before_ns, most)
        return int(told.rpartition(" ")[2])  # as in: DELETE 5

    async def _query(self, statement: str) -> list[Any]:
        found: list[Any] = await (await self._connected()).fetch(statement)
        return found

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            # a pooler between may give each statement another connection: none is prepared under a name
            self._connection = await self._asyncpg.connect(
                self._dsn(), timeout=CONNECT_S, command_timeout=COMMAND_S, statement_cache_size=0
            )
            self._known.clear()
            await _make_tables(self._connection)
        return self._connection


async def _awaited(act: Callable[[], Awaitable[T]]) -> T:
    return await act()


async def _next(parts: AsyncGenerator[Sequence[Any], None]) -> Sequence[Any]:
    """Give the next part; nothing after the last one."""
    async for part in parts:
        return part
    return ()


async def _make_tables(connection: Any) -> None:
    """Make the tables where they are missing, and leave those of a newer ekiben alone."""
    if await connection.fetchval("SELECT to_regclass('ekiben_schema') IS NULL"):
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await connection.execute(TABLES)
            if await connection.fetchval("SELECT count(*) = 0 FROM ekiben_schema"):
                await connection.execute("INSERT INTO ekiben_schema VALUES ($1)", SCHEMA)
    version = await connection.fetchval("SELECT max(version) FROM ekiben_schema")
    if version != SCHEMA:
        raise RecordsError(
            f"The tables of records must be of version {SCHEMA}, which this ekiben knows. They are of {version}. Install a newer one."
        )


def _words(reason: BaseException, state: str) -> str:
    """Tell what is wrong in words of ours: those of a server or a driver may hold names and values."""
    known = _STATES.get(state) or _STATES.get(state[:2])
    return f"It does not: {known or type(reason).__name__}{f' (SQLSTATE {state})' if state else ''}"


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def columns_id(header: Header) -> UUID:
    """Name the columns of a service: the same in every process."""
    return UUID(bytes=blake2b(_encode((header.service, header.columns)), digest_size=16).digest())


def _row(told: Decision, columns: Sequence[str], answered: Names) -> tuple[Any, ...]:
    unit, output, exact = told.unit, told.output, None
    inputs, document = dict(zip(columns, told.inputs, strict=True)), _decode(output)
    if _is_odd((unit, *columns, *told.inputs)) or _ODD_JSON.search(output) or _names(document) != answered:
        exact = msgspec.msgpack.encode((unit, told.inputs, output))
        unit, inputs, output = _safe(unit), _safe(inputs), _encode(_safe(document))
    who = (told.id, told.row, told.ns, told.endpoint, unit, told.arm, told.model, told.digest)
    return (*who, told.propensity, told.us, _encode(inputs).decode(), output.decode(), exact)


_ODD_JSON = re.compile(rb"\\u0000|\d[eE]\+?\d")  # NUL, or a number so large that its fraction is not told


def _is_odd(values: Sequence[Any]) -> bool:
    """Tell whether JSON in Postgres gives back something else."""
    for value in values:
        kind = type(value)
        if kind is str:
            if "\0" in value:
                return True
        elif kind is float:
            if not -LARGE < value < LARGE:
                return True
        elif kind is list or kind is tuple:
            if _is_odd(value):
                return True
        elif value is not None and kind is not int and kind is not bool:
            return True
    return False


def _safe(value: Any) -> Any:
    """Give the nearest that JSON in Postgres can hold: a visible sign for NUL; a number that is not finite is null."""
    if isinstance(value, str):
        return value.replace("\0", "\N{SYMBOL FOR NULL}")
    if isinstance(value, Mapping):
        return {_safe(name): _safe(each) for name, each in value.items()}
    return [_safe(each) for each in value] if isinstance(value, list | tuple) else value


def _decision(found: Mapping[str, Any], names: Sequence[str]) -> Decision:
    unit, output = found["unit"], found["outputs"].encode()
    if found["exact"] is not None:
        unit, inputs, output = msgspec.msgpack.decode(found["exact"])
    else:
        document = _decode(found["inputs"])
        inputs = [document[name] for name in names]
        output = _encode(_like(_decode(found["example"]), _decode(output)))
    who = (found["id"], found["row"], found["ns"], found["endpoint"], unit, found["arm"], found["propensity"])
    return Decision(*who, found["model"], found["digest"], found["latency_us"], inputs, output)


def _names(document: Any) -> Names:
    """Give the names in a document, in their order; None where it has none."""
    if isinstance(document, dict):
        return tuple((name, _names(each)) for name, each in document.items())
    names = tuple(map(_names, document)) if isinstance(document, list) else ()
    return names if any(names) else None


def _like(example: Any, found: Any) -> Any:
    """Put the names of a document into the order of another one that has the same: Postgres keeps an order of its own."""
    if isinstance(found, dict):
        return {name: _like(example[name], found[name]) for name in example}
    if isinstance(found, list) and isinstance(example, list) and len(found) == len(example):
        return [_like(*pair) for pair in zip(example, found, strict=True)]
    return found
