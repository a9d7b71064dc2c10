"""One decision, one record: on its way to the disk before its answer leaves, so that a process that is killed loses none."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import Any
from uuid import uuid4
from zlib import crc32

import msgspec

from ekiben.errors import IntegrityError, RecordsError, SpecError

if os.name == "posix":
    import fcntl

HOME = "EKIBEN_RECORDS"  # the folder in which each service has its own; `off` records nothing, whatever the spec says
FORMAT = 1
MAGIC = b"ekiben records 1\n"
OPEN, WHOLE, PACKED = ".open", ".records", ".records.gz"
DAY_S = 86_400
SEGMENT_BYTES, SEGMENT_S = 64_000_000, DAY_S  # then the next one is begun
_FRAME = Struct("<II")  # how long a record is, and its CRC-32
LONGEST = 1 << 30


def home() -> Path:
    """Give the folder in which each service has the folder of its records."""
    own = os.environ.get(HOME)
    return Path(own) if own else Path(os.environ.get("EKIBEN_HOME") or Path.home() / ".ekiben") / "records"


class Record(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One request's decisions, as a segment holds them: a row of `inputs` and an entry of `outputs` for each.

    Parameters
    ----------
    id
        The id that its answer carried.
    ns
        When it was answered, in nanoseconds since 1970.
    endpoint, arm
        Where it was asked, and who answered.
    unit
        Who asked; None where nobody was named.
    propensity
        How likely the arm was to answer this unit, from 0 to 1.
    us
        How long it took, in microseconds.
    inputs
        For each row its values, in the order of the segment's columns.
    outputs
        The predictions, as JSON.
    """

    id: str
    ns: int
    endpoint: str
    arm: str
    unit: str | None
    propensity: float
    us: float
    inputs: Sequence[Sequence[Any]]
    outputs: bytes


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment says of its records: the service, its columns, and each arm's model and digest."""

    format: int = FORMAT
    service: str
    columns: tuple[str, ...]
    arms: Mapping[str, tuple[str, str]]
    kept: Mapping[str, str] = {}  # of a column that is not kept in clear: `hash` or `drop`
    host: str = ""
    pid: int = 0


class Recorder:
    """The segment that one process writes: each record by one write, before its answer leaves.

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
    ) -> None:
        self.folder, self._header, self._sync = folder, header, sync
        self._keep_bytes, self._keep_s, self._segment_bytes = keep_bytes, keep_s, segment_bytes
        self._lock, self._file, self._size, self._path = threading.Lock(), -1, 0, folder
        self._begun_s, self._segment_s = 0.0, min(SEGMENT_S, keep_s)
        self._encode = msgspec.msgpack.Encoder().encode
        self._tidying: threading.Thread | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._lock:
                self._begin()
        except OSError as reason:
            raise RecordsError(
                f"Records must be written to {folder.name}. They cannot be: {reason.strerror}."
            ) from None
        self._tidy()

    def write(self, record: Record) -> None:
        """Append a record.

        Raises
        ------
        RecordsError
            If it is not on its way to the disk: there is no room, or the folder is gone.
        """
        try:
            payload = self._encode(record)
        except OverflowError:  # an integer of more than 64 bits, where a column takes any number
            payload = self._encode(msgspec.structs.replace(record, inputs=_narrowed(record.inputs)))
        frame = _FRAME.pack(len(payload), crc32(payload)) + payload
        with self._lock:
            try:
                self._append(frame)
                if self._size >= self._segment_bytes or time.monotonic() - self._begun_s > self._segment_s:
                    self._end()
                    self._begin()
                    self._tidy()
            except OSError as reason:
                raise RecordsError(
                    f"A record must be written before its answer. It was not: {reason.strerror}."
                ) from None

    def close(self) -> None:
        """End the segment; what was written stays."""
        with self._lock:
            if self._file >= 0:
                self._end()
        if self._tidying is not None:
            self._tidying.join()

    def _append(self, frame: bytes) -> None:
        if self._file < 0:
            self._begin()
        written = 0
        try:
            written = os.write(self._file, frame)
            if written < len(frame):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._sync:
                os.fdatasync(self._file)
        except OSError:
            if written:
                with suppress(OSError):
                    os.ftruncate(self._file, self._size)
            raise
        self._size += len(frame)

    def _begin(self) -> None:
        now = datetime.now(UTC)
        name = f"{now:%Y%m%dT%H%M%S}-{now.microsecond:06}-{uuid4().hex[:8]}"
        path, begun = self.folder / f"{name}{OPEN}", self.folder / f"{name}.new"
        head = msgspec.json.encode(self._header)
        file = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            if os.name == "posix":
                fcntl.flock(file, fcntl.LOCK_EX)  # who finds it unlocked knows that its process has ended
            start = MAGIC + _FRAME.pack(len(head), crc32(head)) + head
            if os.write(file, start) < len(start):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            begun.rename(path)  # only now does it look like one: nobody finds it before it is locked
        except OSError:
            os.close(file)
            begun.unlink(missing_ok=True)
            raise
        self._file, self._size, self._path, self._begun_s = file, len(start), path, time.monotonic()

    def _end(self) -> None:
        file, self._file = self._file, -1
        with suppress(OSError):
            self._path.rename(self._path.with_suffix(WHOLE))
        os.close(file)

    def _tidy(self) -> None:
        """Pack what is whole, take over what a process that has ended left open, and delete what is too much or too old."""
        if self._tidying is not None and self._tidying.is_alive():
            return
        limits = (self._keep_bytes, self._keep_s)
        self._tidying = threading.Thread(target=tidy, args=(self.folder, *limits), name="ekiben-records", daemon=True)
        self._tidying.start()


def _narrowed(value: Any) -> Any:
    """Give numbers as a model sees them: an integer that 64 bits cannot hold is a float."""
    if isinstance(value, list | tuple):
        return [_narrowed(each) for each in value]
    return float(value) if type(value) is int and not -(2**63) <= value < 2**64 else value


# ── what is kept of a decision ──────────────────────────────────────────────────────────────────────────────────────


class Keeper:
    """Keep each decision: hash or drop what must not be kept in clear, and write the record.

    Parameters
    ----------
    recorder
        Where records go.
    columns
        The columns of the contract, in the order in which rows bring their values.
    unit
        What the unit is called; it may be hashed or dropped like a column.
    hash, drop
        The names of those.
    key
        The secret of the hashes.
    refuse
        Whether a decision that cannot be recorded is an error.
    lost
        Called with 1 for each decision that is answered and was not recorded.

    Raises
    ------
    SpecError
        If `hash` or `drop` names no column.
    """

    def __init__(
        self,
        recorder: Recorder,
        columns: Sequence[str],
        *,
        unit: str = "",
        hash: Sequence[str] = (),  # noqa: A002 -- as the spec calls it
        drop: Sequence[str] = (),
        key: bytes = b"",
        refuse: bool = True,
        lost: Callable[[int], object] = lambda _n: None,
    ) -> None:
        for name in (*hash, *drop):
            if name not in columns and name != unit:
                raise SpecError(f"`records` must hash or drop columns of the contract. {name!r} is none.")
        self._recorder, self._refuse, self._lost, self._key = recorder, refuse, lost, key
        acts = {**dict.fromkeys(hash, self._hashed), **dict.fromkeys(drop, _nothing)}
        self._acts = [(i, acts[name]) for i, name in enumerate(columns) if name in acts]
        self._of_unit = acts.get(unit)
        self.close = recorder.close

    def keep(
        self,
        *,
        id: str,  # noqa: A002 -- as an answer calls it
        endpoint: str,
        arm: str,
        unit: str | None,
        propensity: float,
        seconds: float,
        rows: Sequence[Sequence[Any]],
        outputs: bytes,
    ) -> None:
        """Record a decision before its answer leaves.

        Raises
        ------
        RecordsError
            If it cannot be recorded, where that refuses the request.
        """
        if self._acts:
            rows = [self._without(row) for row in rows]
        if self._of_unit is not None:
            unit = self._of_unit(unit)
        record = Record(id, time.time_ns(), endpoint, arm, unit, propensity, round(seconds * 1e6, 1), rows, outputs)
        try:
            self._recorder.write(record)
        except RecordsError:
            if self._refuse:
                raise
            self._lost(1)

    def _without(self, row: Sequence[Any]) -> Sequence[Any]:
        kept = list(row)
        for i, act in self._acts:
            kept[i] = act(kept[i])
        return kept

    def _hashed(self, value: Any) -> str | None:
        if value is None:
            return None
        told = msgspec.json.encode(value if isinstance(value, str) else [value])
        return blake2b(told, key=self._key, digest_size=16).hexdigest()


def _nothing(_value: Any) -> None:
    """Keep nothing."""


def key_of(folder: Path) -> bytes:
    """Give the secret of a folder's hashes; it is made once, for its owner alone to read."""
    path = folder / "hashes.key"
    try:
        beside = path.with_name(f"{uuid4().hex}.part")
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(file, os.urandom(32))
        finally:
            os.close(file)
        with suppress(FileExistsError):
            os.link(beside, path)  # the first of several processes wins
        beside.unlink()
        return path.read_bytes()
    except OSError as reason:
        raise RecordsError(
            f"The key of hashed columns must lie in {folder.name}. It cannot: {reason.strerror}."
        ) from None


# ── what becomes of segments ────────────────────────────────────────────────────────────────────────────────────────


def tidy(folder: Path, keep_bytes: float = float("inf"), keep_s: float = float("inf")) -> None:
    """Pack segments that are whole, adopt those whose process has ended, and delete the oldest beyond what is kept.

    Several processes may do this at once: each step is one rename or one deletion.
    """
    for path in sorted(folder.glob(f"*{OPEN}")):
        _adopt(path)
    for path in sorted(folder.glob(f"*{WHOLE}")):
        _pack(path)
    now, total = time.time(), 0
    for path in sorted(folder.glob(f"*{PACKED}"), reverse=True):
        with suppress(FileNotFoundError):
            told = path.stat()
            total += told.st_size
            if total > keep_bytes or now - told.st_mtime > keep_s:
                path.unlink()


def _adopt(path: Path) -> None:
    """Take over a segment that no process holds."""
    if os.name != "posix":
        return
    with suppress(OSError):
        file = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.rename(path.with_suffix(WHOLE))
        finally:
            os.close(file)


def _pack(path: Path) -> None:
    """Compress a segment; the plain one goes once the packed one is whole."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    with suppress(OSError):
        try:
            with path.open("rb") as plain, gzip.GzipFile(beside, "wb", compresslevel=6, mtime=0) as packed:
                shutil.copyfileobj(plain, packed)
            shutil.copystat(path, beside)
            beside.rename(path.with_suffix(PACKED))
            path.unlink()
        finally:
            beside.unlink(missing_ok=True)


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def segments(folder: Path) -> list[Path]:
    """List the segments of a folder, the oldest first; one that is being packed is listed once."""
    found: dict[str, Path] = {}
    for ending in (PACKED, WHOLE, OPEN):  # a plain one is there until its packed one is whole
        for path in folder.glob(f"*{ending}"):
            found[path.name.removesuffix(ending)] = path
    return [found[name] for name in sorted(found)]


def read(path: Path) -> tuple[Header, Iterator[Record]]:
    """Read a segment: what it says of its records, and each of them up to one that is being written.

    Raises
    ------
    IntegrityError
        If it is no segment, or a record before its end was changed.
    """
    data = _data(path)
    frames = _frames(path, data)
    if not data.startswith(MAGIC):
        raise IntegrityError(f"A segment of records must be one that ekiben wrote. {path.name} is not.")
    try:
        header = msgspec.json.decode(next(frames), type=Header)
    except (StopIteration, msgspec.MsgspecError):
        raise IntegrityError(f"A segment of records must begin with its header. {path.name} does not.") from None
    decode: Callable[[bytes], Record] = msgspec.msgpack.Decoder(Record).decode
    return header, map(decode, frames)


def _data(path: Path) -> bytes:
    """Give the bytes of a segment, which may be closed or packed between two looks at its folder."""
    name = path.name.partition(".")[0]
    for ending in (path.name.removeprefix(name), WHOLE, PACKED):
        with suppress(FileNotFoundError):
            data = path.with_name(f"{name}{ending}").read_bytes()
            try:
                return gzip.decompress(data) if ending == PACKED else data
            except (OSError, EOFError, zlib.error):
                raise IntegrityError(f"A packed segment must be as it was written. {path.name} is not.") from None
    raise RecordsError(f"A segment must be there while it is read. {path.name} is not: it was deleted.")


def _frames(path: Path, data: bytes) -> Iterator[bytes]:
    start, end = len(MAGIC), len(data)
    while start + _FRAME.size <= end:
        size, check = _FRAME.unpack_from(data, start)
        body = data[start + _FRAME.size : start + _FRAME.size + size]
        if len(body) < size:
            return  # the last one, which was never answered
        if crc32(body) != check:
            raise IntegrityError(
                f"Every record must be as it was written. One of {path.name} is not, at byte {start:,}."
            )
        yield body
        start += _FRAME.size + size
