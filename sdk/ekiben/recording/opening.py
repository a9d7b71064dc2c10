"""Open the records of one process: the segment that it writes, what keeps decisions, and what ships them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ekiben.errors import SpecError
from ekiben.recording import database
from ekiben.recording.database import Database
from ekiben.recording.keeping import Keeper, key_of
from ekiben.recording.segments import Header
from ekiben.recording.shipping import Cursor, Shipper, Told
from ekiben.recording.tidying import DAY_S
from ekiben.recording.writing import SEGMENT_BYTES, Recorder

LEAST_BYTES = 1_000_000  # of a segment: a busy service should not begin one with every second request


class Counted(Told, Protocol):
    """Who counts what becomes of records."""

    def unrecorded(self, n: int) -> None:
        """Count decisions that were answered and could not be recorded."""


def opened(
    folder: Path,
    columns: Sequence[str],
    arms: Mapping[str, tuple[str, str]],
    told: Any,
    *,
    unit: str,
    counted: Counted,
) -> Keeper:
    """Begin to keep the decisions of a service, whose name the folder has.

    Parameters
    ----------
    folder
        Where its segments lie; it is made.
    columns, arms
        Its columns in order, and each arm's model and digest.
    told
        What its spec says of records: `[records]`.
    unit
        What the unit is called.
    counted
        Who counts.

    Raises
    ------
    RecordsError
        If the folder cannot be written.
    SpecError
        If records shall go to a database that the environment does not name, or not as it must.
    """
    kept = dict.fromkeys(told.hash, "hash") | dict.fromkeys(told.drop, "drop")
    header = Header(service=folder.name, columns=tuple(columns), arms=arms, kept=kept)
    keep_bytes, keep_s, ships = told.keep_mb * 1_000_000, told.keep_days * DAY_S, told.to == "postgres"
    to = _database() if ships else None
    may_go = Cursor(folder).may_go if ships else lambda _path: True
    limits: dict[str, Any] = {"keep_bytes": keep_bytes, "keep_s": keep_s, "may_go": may_go}
    recorder = Recorder(folder, header, sync=told.sync, segment_bytes=_segment_bytes(keep_bytes), **limits)
    key = key_of(folder) if told.hash else b""
    ended = _shipping(recorder, to, keep_bytes, keep_s, counted) if to else lambda: None
    return Keeper(
        recorder,
        columns,
        unit=unit,
        hash=told.hash,
        drop=told.drop,
        key=key,
        refuse=told.when_full == "refuse",
        lost=counted.unrecorded,
        ended=ended,
    )


def _segment_bytes(keep_bytes: float) -> int:
    """Give how large a segment becomes: a quarter of what is kept, as only whole ones can be deleted; a megabyte at least."""
    return int(min(SEGMENT_BYTES, max(keep_bytes / 4, LEAST_BYTES)))


def _database() -> Database:
    if os.name != "posix":
        raise SpecError("Records are shipped to Postgres from POSIX systems. This is another.")
    if database.address() is None:
        raise SpecError(
            f"Records go to Postgres, whose address {database.TEXT} or {database.FILE} must hold. Neither is set."
        )
    return Database(database.address)


def _shipping(
    recorder: Recorder, to: Database, most_bytes: float, keep_s: float, counted: Told
) -> Callable[[], object]:
    """Ship the records of a folder, and give what ends that."""

    def bar(why: str) -> None:
        recorder.barred = why

    return Shipper(recorder.folder, to, most_bytes=most_bytes, keep_s=keep_s, told=counted, bar=bar).close
