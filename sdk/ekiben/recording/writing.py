"""The segment that one process writes."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4
from zlib import crc32

import msgspec

from ekiben.errors import RecordsError
from ekiben.loops import loops
from ekiben.narrowing import narrowed
from ekiben.recording.segments import FRAME, MAGIC, OPEN, WHOLE, Header
from ekiben.recording.tidying import DAY_S, tidy

if os.name == "posix":
    import fcntl

logger = logging.getLogger("ekiben")
SEGMENT_BYTES, SEGMENT_S = 64_000_000, DAY_S  # then the next one is begun
LOOKED_NS = 1_000_000_000  # how often its age is looked at, and whether it is still there
_encode, _append = msgspec.msgpack.Encoder().encode, os.write
_kept = None if loops is None else loops.kept
FILE, SIZE, LOOK, TORN = 0, 1, 3, -2  # places in what `loops.kept` is told of a segment, and what it says of its file
Fields = tuple[Any, ...]  # those of a Record in their order; a tuple costs less to make


class Recorder:
    """The segment that one process writes: each record before its answer leaves, by one write or with others by one.

    A record that was written survives its process, however that ends. A torn one, which a full disk left, is cut off again.

    Parameters
    ----------
    folder
        Where segments lie; it is made.
    header
        What is said of the records.
    sync
        Whether each record is on the disk itself before it counts, so that it survives the machine too.
    keep_bytes, keep_s
        How large the folder may grow, and how old a segment may become; the oldest are deleted.
    segment_bytes
        From which size on a segment is closed, and packed; one that is a day old is so too.
    may_go
        Whether a segment may be deleted yet.

    Raises
    ------
    RecordsError
        If the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        header: Header,
        *,
        sync: bool = False,
        keep_bytes: float = float("inf"),
        keep_s: float = float("inf"),
        segment_bytes: int = SEGMENT_BYTES,
        may_go: Callable[[Path], bool] = lambda _path: True,
    ) -> None:
        self.folder, self._header, self.syncs = folder, header, sync
        self._limits, self._segment_bytes = (keep_bytes, keep_s, may_go), segment_bytes
        self._lock, self._file, self._path, self._barred = threading.Lock(), -1, folder, ""
        self._acquire, self._release = self._lock.acquire, self._lock.release
        # the file while nobody holds the lock, the segment's size, the most of it, and when it is looked after again
        self._state = array("q", [-1, 0, segment_bytes, 0])
        self._until_ns, self._segment_s = 0, min(SEGMENT_S, keep_s)
        self._tidying: threading.Thread | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._hold()
            try:
                self._begin()
            finally:
                self._let_go()
        except OSError as reason:
            raise RecordsError(
                f"Records must be written to {folder.name}. They cannot be: {reason.strerror}."
            ) from None
        self._tidy()

    def write(self, record: Fields) -> None:
        """Append a record, given as its fields.

        Raises
        ------
        RecordsError
            If it is not on its way to the disk: there is no room, or the next segment cannot be begun.
        """
        self.append((packed(record),), record[1])

    @property
    def barred(self) -> str:
        """Why nothing more may be written, where that is so."""
        return self._barred

    @barred.setter
    def barred(self, why: str) -> None:
        self._hold()
        self._barred = why
        self._let_go()

    def append(self, records: Sequence[bytes], now_ns: int) -> None:
        """Append records, each as `packed` wrote it, by one write: all of them, or none.

        Raises
        ------
        RecordsError
            If they are not on their way to the disk.
        """
        if _kept is not None and _kept(self._state, records, now_ns):
            return
        frames = b"".join([FRAME.pack(len(each), crc32(each)) + each for each in records])
        self._hold()
        try:
            if self._file < 0 or self._barred:
                self._may_begin()
            elif now_ns > self._state[LOOK]:
                self._look(now_ns)
            written = _append(self._file, frames)
            if written < len(frames) or self.syncs:
                self._settle(written, len(frames))
            self._state[SIZE] += written
            if self._state[SIZE] >= self._segment_bytes:
                self._turn_over()
        except OSError as reason:
            raise RecordsError(f"A record must be written before its answer. It was not: {reason.strerror}.") from None
        finally:
            self._let_go()

    def _hold(self) -> None:
        """Keep every other record waiting, whichever way it goes; `with` would take longer than the record itself."""
        self._acquire()
        is_torn, self._state[FILE] = self._state[FILE] == TORN, -1
        if is_torn:
            with suppress(OSError):
                self._end()  # nothing may follow a torn record: whoever reads would stop at it

    def _let_go(self) -> None:
        if not self.syncs and not self._barred:
            self._state[FILE] = self._file
        self._release()

    def close(self) -> None:
        """End the segment; what was written stays."""
        self._hold()
        try:
            if self._file >= 0:
                self._end()
        finally:
            self._let_go()
        if self._tidying is not None:
            self._tidying.join()

    def _look(self, now_ns: int) -> None:
        """End a segment that is old, and one that somebody deleted: nobody would find what follows in it."""
        self._state[LOOK] = now_ns + LOOKED_NS
        if not os.fstat(self._file).st_nlink:
            logger.error(
                "the records of %s were deleted while they were written; a new segment begins", self.folder.name
            )
            os.close(self._file)
            self._file = -1
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        elif now_ns > self._until_ns:
            self._turn_over()
        if self._file < 0:
            self._may_begin()

    def _turn_over(self) -> None:
        """End a segment and begin the next; where that fails, the next record is refused, and not the one that was just written."""
        self._end()
        with suppress(OSError):
            self._begin()
        self._tidy()

    def _may_begin(self) -> None:
        if self._barred:
            raise OSError(errno.ENOSPC, self._barred)
        self._begin()

    def _settle(self, written: int, whole: int) -> None:
        """Wait for the disk where that is asked, and cut off what does not count."""
        try:
            if written < whole:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(self._file)
        except OSError:
            try:
                os.ftruncate(self._file, self._state[SIZE])
            except OSError:
                self._end()  # nothing may follow a torn record: whoever reads would stop at it
            raise

    def _begin(self) -> None:
        now = datetime.now(UTC)
        name = f"{now:%Y%m%dT%H%M%S}-{now.microsecond:06}-{uuid4().hex[:8]}"
        path, begun = self.folder / f"{name}{OPEN}", self.folder / f"{name}.new"
        head = msgspec.json.encode(self._header)
        file = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            if os.name == "posix":
                fcntl.flock(file, fcntl.LOCK_EX)  # who finds it unlocked knows that its process has ended
            start = MAGIC + FRAME.pack(len(head), crc32(head)) + head
            if os.write(file, start) < len(start):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            begun.rename(path)  # only now does it look like one: nobody finds it before it is locked
            if self.syncs and os.name == "posix":
                _settle_names(self.folder)
        except OSError:
            os.close(file)
            for half in (begun, path):
                half.unlink(missing_ok=True)
            raise
        now_ns = time.time_ns()
        self._file, self._path, self._until_ns = file, path, now_ns + int(self._segment_s * 1e9)
        self._state[SIZE], self._state[LOOK] = len(start), now_ns + LOOKED_NS

    def _end(self) -> None:
        file, self._file = self._file, -1
        with suppress(OSError):
            self._path.rename(self._path.with_suffix(WHOLE))
        os.close(file)

    def _tidy(self) -> None:
        """Pack what is whole, take over what a process that has ended left open, and delete what is too much or too old."""
        if self._tidying is not None and self._tidying.is_alive():
            return
        self._tidying = threading.Thread(
            target=tidy, args=(self.folder, *self._limits), name="ekiben-records", daemon=True
        )
        self._tidying.start()


def _settle_names(folder: Path) -> None:
    """Wait until a folder's own name and those in it are on the disk: a file whose name is not is lost with all that it holds."""
    for each in (folder, folder.parent):
        try:
            file = os.open(each, os.O_RDONLY)
        except PermissionError:  # a folder that may be gone through and not listed: nobody can wait for it
            continue
        try:
            os.fsync(file)
        finally:
            os.close(file)


def packed(record: Fields) -> bytes:
    """Write a record, given as its fields, as a segment holds it behind its length and its check."""
    try:
        return _encode(record)
    except OverflowError:  # an integer of more than 64 bits, where a column takes any number
        return _encode(narrowed(record))
