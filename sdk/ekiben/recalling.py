"""Records as a frame: one row for each decision."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from ekiben import dumping, gathering, recording, spec
from ekiben.errors import EkibenError, NotFoundError, SpecError, nearest
from ekiben.gathering import Gathered
from ekiben.recording import database
from ekiben.recording.database import Database
from ekiben.recording.merging import merged
from ekiben.recording.segments import Decision, Record, segments

if TYPE_CHECKING:
    import pandas as pd

ENDPOINTS = ("predict", "explain")  # whose answers are recorded


@overload
def records(
    place: str | os.PathLike[str],
    *,
    since: str | pd.Timestamp | None = None,
    service: str | None = None,
    endpoint: str = "predict",
    as_arrow: Literal[False] = False,
) -> pd.DataFrame: ...


@overload
def records(
    place: str | os.PathLike[str],
    *,
    since: str | pd.Timestamp | None = None,
    service: str | None = None,
    endpoint: str = "predict",
    as_arrow: Literal[True],
) -> Any: ...


def records(
    place: str | os.PathLike[str],
    *,
    since: str | pd.Timestamp | None = None,
    service: str | None = None,
    endpoint: str = "predict",
    as_arrow: bool = False,
) -> Any:
    """Read the decisions that a service has recorded, the oldest first.

    Parameters
    ----------
    place
        The service's name, or the folder with its `ekiben.toml`; or a segment or a folder of segments, such as one that was
        copied from another machine; or the address of a database, `postgresql://…`. A name is looked for in the database of
        `EKIBEN_RECORDS_DSN` where that is set.
    since
        A moment; what was answered before is left out.
    service
        Which of the services in a database; not needed where there is one.
    endpoint
        `predict` for decisions; `explain` for explanations, with what it takes to make each again as `output.<name>`.
    as_arrow
        Whether to give a table of Arrow in place of a frame, which takes less memory; it needs pyarrow.

    Returns
    -------
    A frame with a row for each decision: `id` of its answer and the number of its `row` there, `time` in UTC, `endpoint`, `unit`,
    `arm`, `propensity` (from 0 to 1), `model`, `digest`, `latency_ms`, then each column as `input.<name>` and what was answered as
    `output.<name>`, named as in the frame of `package.predict`.

    Raises
    ------
    NotFoundError
        If there are no records of that name.
    IntegrityError
        If a segment is not as it was written.
    UnreachableError
        If the database does not answer.

    Examples
    --------
    >>> import ekiben as ek
    >>> decisions = ek.records("credit_risk")  # doctest: +SKIP
    >>> decisions.groupby("arm")["output.score_1"].mean()  # doctest: +SKIP
    """
    found = parts(place, since=since, service=service, endpoint=endpoint)
    return dumping.table(found) if as_arrow else gathering.frame(found)


def write(
    place: str | os.PathLike[str],
    out: Path,
    *,
    since: str | pd.Timestamp | None = None,
    service: str | None = None,
    endpoint: str = "predict",
) -> int:
    """Write what `records` reads to a file of CSV, JSON or Parquet, in constant memory, and tell how many there are."""
    return dumping.write(lambda: parts(place, since=since, service=service, endpoint=endpoint), out)


def parts(
    place: str | os.PathLike[str], *, since: str | pd.Timestamp | None, service: str | None, endpoint: str
) -> Iterator[Gathered]:
    """Read what `records` reads a few at a time, the oldest first."""
    if endpoint not in ENDPOINTS:
        known = " or ".join(map(repr, ENDPOINTS))
        raise SpecError(f"The 'endpoint' must be {known}. Got {endpoint!r}.{nearest(str(endpoint), ENDPOINTS)}")
    if (Path(place) / spec.FILE).is_file():
        place = spec.read(place).name
    return _found(place, service, _Wanted(0 if since is None else _moment(since), endpoint))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """From which moment on, and whether explanations or decisions, whichever protocol asked for them."""

    first: int
    endpoint: str

    def has(self, one: Record | Decision) -> bool:
        return one.ns >= self.first and (one.endpoint == "explain") == (self.endpoint == "explain")


def _segments_of(place: str | os.PathLike[str]) -> list[Path]:
    """List the segments of a service, or of a folder, or the one that a path is."""
    home = recording.home()
    for folder in (home / str(place), Path(place)):
        if folder.is_dir() and (found := segments(folder)):
            return found
    if Path(place).is_file():
        return [Path(place)]
    within = (
        Path(place) if Path(place).is_dir() else home
    )  # a folder that EKIBEN_RECORDS named holds one for each service
    known = sorted(path.name for path in within.glob("*") if path.is_dir() and segments(path))
    where = "in it " if within != home else ""
    here = f" There are records {where}of {', '.join(known)}." if known else " Nothing was recorded here yet."
    hint = nearest(str(place), known) or here
    raise NotFoundError(
        f"Records must be of a service that was asked here, or a folder of segments. {str(place)!r} has none.{hint}"
    )


def _moment(since: str | pd.Timestamp) -> int:
    import pandas as pd

    try:
        moment = pd.Timestamp(since)
    except ValueError:
        raise SpecError(f"The 'since' must be a moment, such as 2026-11-26. Got {since!r}.") from None
    return int((moment if moment.tzinfo else moment.tz_localize("UTC")).value)


def _found(place: str | os.PathLike[str], service: str | None, wanted: _Wanted) -> Iterator[Gathered]:
    """Give the decisions of a place, whichever kind of place it is."""
    dsn = database.checked(str(place)) if database.is_address(place) else None
    if dsn is None and service is not None:
        raise SpecError(f"The 'service' chooses one of a database. {str(place)!r} is none: leave it out.")
    if dsn is None and not Path(place).exists():
        dsn, service = database.address(), str(place)
    if dsn is None:
        yield from _in_segments(_segments_of(place), wanted)
        return
    with ThreadPoolExecutor(1) as apart:  # a notebook's own event loop runs in this thread
        parts = _in_database(dsn, service, wanted)
        try:
            while (part := apart.submit(next, parts, None).result()) is not None:
                yield part
        finally:
            apart.submit(parts.close).result()


def _in_segments(paths: list[Path], wanted: _Wanted) -> Iterator[Gathered]:
    """Gather together what has the same columns and comes of the same models, whichever process wrote it."""
    coming = (each for each in merged(paths) if wanted.has(each[1]))
    for header, those in groupby(coming, key=itemgetter(0)):
        yield from gathering.of_records(header, map(itemgetter(1), those))


def _in_database(dsn: str, service: str | None, wanted: _Wanted) -> Generator[Gathered, None, None]:
    to = Database(lambda: dsn)
    try:
        known = to.services()
        if service is None and len(known) == 1:
            (service,) = known
        if service not in known:
            raise _unknown(service, known)
        with closing(to.fetch(service, wanted.first)) as told:
            yield from gathering.of_decisions(each for each in told if wanted.has(each[1]))
    finally:
        to.close()


def _unknown(service: str | None, known: Sequence[str]) -> EkibenError:
    names = ", ".join(known) or "nothing"
    if service is None and known:
        return SpecError(f"The database has records of several services: {names}. Choose one: service={known[0]!r}")
    hint = nearest(service or "", known) or f" It has {names}."
    return NotFoundError(f"Records must be of a service that the database has. {service!r} is none.{hint}")
