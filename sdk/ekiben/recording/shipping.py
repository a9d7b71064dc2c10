"""Bring the records of a folder into a database, in order and each once, by whichever process holds the folder's lock."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol

import msgspec

from ekiben.errors import EkibenError, IntegrityError
from ekiben.recording.database import Database, RefusedRowsError
from ekiben.recording.reading import read_on
from ekiben.recording.segments import OPEN, PACKED, Decision, Header, Record, decisions, name_of, segments
from ekiben.recording.writing import Recorder

if os.name == "posix":
    import fcntl

logger = logging.getLogger("ekiben")
CURSOR, LOCK = "shipped.json", "shipping.lock"
REFUSED = "refused"  # the folder of what can never be shipped, within that of the segments
LOOK_S = 0.5  # how long a record may wait where the database keeps up
LEAST_PAUSE_S, MOST_PAUSE_S = 0.5, 15.0  # before the database is asked again
CLOSE_S = 3.0  # for what waits when the service ends; the next one ships the rest
BATCH = 200  # rows, so that answering in the same process waits a millisecond at most
TIDIED, TIDY_S = 2_000, 60.0  # rows that are deleted at once, and how long until the next look where there are no more
DONE = -1


class Told(Protocol):
    """Who counts what becomes of records on their way."""

    def waiting(self, n_bytes: int) -> None:
        """Take how many bytes of segments wait."""

    def shipped(self, n: int) -> None:
        """Count records that are in the database."""

    def ship_failed(self, n: int) -> None:
        """Count batches that did not get there, and records that never will."""


class Cursor:
    """How far each segment of a folder was shipped: a byte, or all of it.

    Only the process that holds the folder's lock writes it, and only after the database has what it tells of.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CURSOR

    def read(self) -> dict[str, int]:
        """Give the byte up to which each segment was shipped, `DONE` for a whole one."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, int])
        except (FileNotFoundError, msgspec.MsgspecError):
            return {}  # what is shipped again is there already, and stays as it is

    def write(self, told: dict[str, int]) -> None:
        """Replace it as a whole."""
        beside, data = self._path.with_suffix(".part"), msgspec.json.encode(told)
        try:
            beside.write_bytes(data)
            beside.replace(self._path)
        except OSError:  # a full disk, which only what is shipped can empty: in the place that it has
            self._path.write_bytes(data)

    def may_go(self, path: Path) -> bool:
        """Tell whether all of a segment was shipped."""
        return self.read().get(name_of(path)) == DONE


def waiting_bytes(folder: Path, told: dict[str, int]) -> int:
    """Count the bytes of segments that are still to be shipped."""
    total = 0
    for path in segments(folder):
        at = told.get(name_of(path), 0)
        if at != DONE:
            with suppress(FileNotFoundError):
                size = path.stat().st_size
                total += size if path.name.endswith(PACKED) else max(0, size - at)
    return total


class Shipper:
    """A thread that ships the records of a folder, or waits to take over from the process that does.

    Parameters
    ----------
    folder
        Where the segments lie; it has the name of the service.
    database
        Where records go.
    most_bytes
        How much may wait.
    keep_s
        How old a row of the table may become.
    told
        Who counts.
    bar
        Called with why nothing more may be written, and with nothing once it may again.
    """

    def __init__(
        self,
        folder: Path,
        database: Database,
        *,
        most_bytes: float,
        keep_s: float = float("inf"),
        told: Told,
        bar: Callable[[str], object],
    ) -> None:
        self._folder, self._database, self._cursor = folder, database, Cursor(folder)
        self._most_bytes, self._told, self._bar = most_bytes, told, bar
        self._lock, self._broken = -1, set[str]()
        self._is_new, self._is_away = True, False
        self._pause_s, self._next_s = LEAST_PAUSE_S, 0.0
        self._keep_s, self._tidy_next_s, self._may_delete = keep_s, 0.0, True
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ekiben-shipping", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ship what waits, as far as that takes no long, and end."""
        self._closing.set()
        self._thread.join(2 * CLOSE_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._look()
            self._closing.wait(LOOK_S)
        end = time.monotonic() + CLOSE_S
        while not self._is_away and time.monotonic() < end and self._look():
            time.sleep(0.05)  # another process ships its own and ours
        self._database.close()
        if self._lock >= 0:
            os.close(self._lock)

    def _look(self) -> bool:
        """Ship what waits where that is ours to do, and tell whether something still waits."""
        waits = 0
        try:
            if self._is_ours() and time.monotonic() >= self._next_s:
                self._ship()
                self._tidy()
            waits = waiting_bytes(self._folder, self._cursor.read())
        except (EkibenError, OSError) as reason:
            self._failed(
                str(reason) if isinstance(reason, EkibenError) else f"{type(reason).__name__} in their folder."
            )
        except Exception as fault:  # noqa: BLE001 -- whatever fails, shipping goes on
            self._failed(f"The shipper failed: {type(fault).__name__}.")
        self._told.waiting(waits)
        is_full = waits > self._most_bytes
        self._bar(f"{waits / 1e6:,.1f} MB of records wait for the database" if is_full else "")
        return waits > 0

    def _is_ours(self) -> bool:
        """Hold the lock of the folder, if no other process does: its end frees it."""
        if self._lock < 0:
            file = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as reason:
                os.close(file)
                if isinstance(reason, BlockingIOError):
                    return False
                raise
            self._lock = file
        return True

    def _failed(self, why: str) -> None:
        self._told.ship_failed(1)
        if not self._is_away:
            logger.error("records wait in their folder until the database takes them: %s", why)
        self._is_away = True
        self._next_s = time.monotonic() + self._pause_s * random.uniform(0.5, 1)  # noqa: S311 -- no secret
        self._pause_s = min(2 * self._pause_s, MOST_PAUSE_S)

    def _ship(self) -> None:
        here = segments(self._folder)
        before, names = self._cursor.read(), {name_of(path) for path in here}
        told = {name: at for name, at in before.items() if name in names}
        if self._is_new or self._is_away:
            self._database.ask()  # a wrong password is told at the start, and not with the first record
        for path in here:
            if told.get(name_of(path)) != DONE:
                self._ship_segment(path, told)
        if self._is_away:
            logger.warning("the database takes records again")
        self._is_new, self._is_away, self._pause_s = False, False, LEAST_PAUSE_S

    def _tidy(self) -> None:
        """Delete some of the rows that are too old; what cannot be deleted stops no shipping."""
        if self._keep_s == float("inf") or time.monotonic() < self._tidy_next_s:
            return
        try:
            n = self._database.delete(self._folder.name, time.time_ns() - int(self._keep_s * 1e9), TIDIED)
            self._may_delete = True
        except EkibenError as reason:
            n = 0
            if self._may_delete:
                logger.error("rows that are too old stay in the database: %s", reason)
            self._may_delete = False
        self._tidy_next_s = time.monotonic() + (0 if n == TIDIED else TIDY_S)

    def _ship_segment(self, path: Path, told: dict[str, int]) -> None:
        name, is_whole = name_of(path), not path.name.endswith(OPEN)  # looked at before its end is
        before = told.get(name, 0)
        try:
            header, start, found = read_on(path, before)
            told[name] = start
            with closing(found):  # and its file, wherever the database stops it
                for batch in _batches(found):
                    self._insert(header, [record for record, _ in batch])
                    told[name] = batch[-1][1]
                    self._cursor.write(told)
                    self._told.shipped(len(batch))
        except IntegrityError as reason:
            self._set_aside(path, is_whole, str(reason))
            return
        if is_whole:
            told[name] = DONE
        if told[name] != before:
            self._cursor.write(told)

    def _insert(self, header: Header, records: Sequence[Record]) -> None:
        """Insert records; what the table can never hold is found by halves, and laid aside."""
        try:
            self._database.insert(header, [each for record in records for each in _rows(header, record)])
        except RefusedRowsError as reason:
            if len(records) == 1:
                self._lay_aside(header, records[0], str(reason))
                return
            half = len(records) // 2
            self._insert(header, records[:half])
            self._insert(header, records[half:])

    def _lay_aside(self, header: Header, record: Record, why: str) -> None:
        logger.error("a record is kept in the folder %s and not in the database: %s", REFUSED, why)
        self._told.ship_failed(1)
        aside = Recorder(self._folder / REFUSED, header)
        aside.write(msgspec.structs.astuple(record))
        aside.close()

    def _set_aside(self, path: Path, is_whole: bool, why: str) -> None:
        """Move a segment that is broken out of the way, once nobody writes to it."""
        if path.name not in self._broken:
            self._broken.add(path.name)
            logger.error("a segment goes to the folder %s, and what follows in it is not shipped: %s", REFUSED, why)
            self._told.ship_failed(1)
        if is_whole:
            (self._folder / REFUSED).mkdir(mode=0o700, exist_ok=True)
            with suppress(FileNotFoundError):
                path.rename(self._folder / REFUSED / path.name)


def _batches(found: Iterator[tuple[Record, int]]) -> Iterator[list[tuple[Record, int]]]:
    """Gather records with their ends, until there are enough rows; those before one that is broken are whole."""
    batch: list[tuple[Record, int]] = []
    n_rows = 0
    try:
        for record, end in found:
            batch.append((record, end))
            n_rows += len(record.inputs)
            if n_rows >= BATCH:
                yield batch
                batch, n_rows = [], 0
    except IntegrityError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _rows(header: Header, record: Record) -> list[Decision]:
    try:
        return list(decisions(header, record))
    except (ValueError, msgspec.MsgspecError):
        raise RefusedRowsError("A record must hold an answer for each of its rows. One does not.") from None
