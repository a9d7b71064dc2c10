"""Tickets for what is explained later: files in a folder that all workers of a service share."""

from __future__ import annotations

import hmac
import os
import re
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import monotonic, time
from typing import Literal, TypeAlias

import msgspec

from ekiben.explaining.handing import SOCKET, Kept

if os.name == "posix":
    import fcntl

HOME = "EKIBEN_TICKETS"  # the folder in which each service has its own
LOOKED_S = 0.2  # how often a worker looks whether another was told to cancel its work
SWEPT_S = 5.0
END, LOCK = ".ticket", ".worker"
_TICKET = re.compile(r"[0-9a-f]{32}")

State: TypeAlias = Literal["running", "done", "failed", "cancelled", "lost", "unknown"]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a ticket's file; what was answered follows it."""

    state: State
    owner: str
    worker: str
    at: float
    expected_s: float = 0.0
    status: int = 0
    id: str = ""
    arm: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What became of a ticket; `head` is None for one that nobody knows."""

    state: State
    head: Head | None = None
    body: bytes = b""

    @property
    def progress(self) -> float | None:
        """Estimate which share is done, from 0 to 1; None where nobody knows."""
        if self.head is None or not self.head.expected_s:
            return None
        return round(min(0.99, max(0.0, (time() - self.head.at) / self.head.expected_s)), 2)


_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Head).decode


def home() -> Path:
    """Give the folder in which each service has the folder of its tickets."""
    own = os.environ.get(HOME)
    return Path(own) if own else Path(os.environ.get("EKIBEN_HOME") or Path.home() / ".ekiben") / "tickets"


class Tickets:
    """The tickets of a service, as one of its workers holds them.

    Parameters
    ----------
    folder
        Where they lie; it is made, for its owner alone.
    keep_s, most, most_bytes
        How long a result is kept, how many tickets there may be, and how many bytes of results; the oldest go.
    in_memory
        Whether results stay in the memory of the worker that has the work, and no file holds any: they end with it.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """

    def __init__(self, folder: Path, *, keep_s: float, most: int, most_bytes: float, in_memory: bool = False) -> None:
        self.folder, self._keep_s, self._most, self._most_bytes = folder, keep_s, most, most_bytes
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.worker = secrets.token_hex(8)
        self._lock_path = folder / f"{self.worker}{LOCK}"
        self._held = os.open(self._lock_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._held, fcntl.LOCK_EX)  # who finds it unlocked knows that its process has ended
        self._kept = Kept(folder, self.worker) if in_memory else None
        self._own: dict[str, Callable[[], object]] = {}
        self._writing, self._closing = threading.Lock(), threading.Event()
        self._swept = 0.0
        self._watching: threading.Thread | None = None

    def open(
        self,
        owner: str,
        cancel: Callable[[], object],
        *,
        expected_s: float = 0.0,
        of: tuple[str, str, str] = ("", "", ""),
    ) -> str:
        """Make a ticket for work that is under way.

        Parameters
        ----------
        owner
            Who may ask for it: what `owner_of` made of their key.
        cancel
            What stops the work.
        expected_s
            How long it should take; 0 where nobody knows.
        of
            The id of the answer, the arm and the model.
        """
        self._sweep()
        ticket = secrets.token_hex(16)
        answer_id, arm, model = of
        head = Head(
            state="running", owner=_owned(owner, ticket), worker=self.worker, at=time(), expected_s=expected_s,
            id=answer_id, arm=arm, model=model,
        )  # fmt: skip
        with self._writing:
            self._write(ticket, head, b"")
            self._own[ticket] = cancel
            if self._watching is None:
                self._watching = threading.Thread(target=self._watch, daemon=True, name="ekiben-tickets")
                self._watching.start()
        return ticket

    def settle(self, ticket: str, state: Literal["done", "failed"], status: int, body: bytes) -> None:
        """Write what came of a ticket, unless it was cancelled."""
        with self._writing:
            self._own.pop(ticket, None)
            found = self._read(ticket)
            if found is None or found[0].state != "running":
                return
            if self._kept is not None:
                self._kept.keep(ticket, body)
                body = b""
            self._write(ticket, msgspec.structs.replace(found[0], state=state, status=status, at=time()), body)

    def look(self, ticket: str, owner: str) -> Seen:
        """Tell what became of a ticket, to the one who was given it."""
        found = self._read(ticket) if _TICKET.fullmatch(ticket) else None
        if found is None or not hmac.compare_digest(found[0].owner, _owned(owner, ticket)):
            return Seen(state="unknown")
        head, body = found
        if head.state != "running" and time() - head.at > self._keep_s:
            return Seen(state="unknown")
        lost = head.state == "running" and not self._lives(head.worker)
        if lost:  # unless its worker answered between the two looks, and then ended
            head, body = self._read(ticket) or found
            lost = head.state == "running"
        if self._kept is not None and head.state in ("done", "failed"):
            kept = self._kept.find(ticket, head.worker)
            lost, body = kept is None, kept or b""
        return Seen(state="lost" if lost else head.state, head=head, body=body)

    def cancel(self, ticket: str, owner: str) -> Seen:
        """Stop the work behind a ticket, in whichever worker it runs."""
        with self._writing:
            seen = self.look(ticket, owner)
            if seen.head is None:
                return seen
            self._write(ticket, msgspec.structs.replace(seen.head, state="cancelled", at=time()), b"")
            stop = self._own.pop(ticket, None)
            if self._kept is not None:
                self._kept.drop(ticket)
        if stop is not None:
            stop()
        return Seen(state="cancelled", head=seen.head)

    def close(self) -> None:
        """End; work that is under way is lost, and its tickets say so."""
        self._closing.set()
        if self._kept is not None:
            self._kept.close()
        self._lock_path.unlink(missing_ok=True)
        os.close(self._held)

    # ── files ──

    def _path(self, ticket: str) -> Path:
        return self.folder / f"{ticket}{END}"

    def _read(self, ticket: str) -> tuple[Head, bytes] | None:
        try:
            line, _, body = self._path(ticket).read_bytes().partition(b"\n")
            return _decode(line), body
        except (OSError, msgspec.MsgspecError):
            return None

    def _write(self, ticket: str, head: Head, body: bytes) -> None:
        path = self._path(ticket)
        beside = path.with_suffix(f".{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as made:
                made.write(_encode(head) + b"\n" + body)
            beside.replace(path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise

    def _lives(self, worker: str) -> bool:
        """Tell whether a worker lives: it holds its lock."""
        if worker == self.worker:
            return True
        try:
            file = os.open(self.folder / f"{worker}{LOCK}", os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
        return False

    def _watch(self) -> None:
        """Hear of tickets that were cancelled by another worker, and forget what is over."""
        forgot = monotonic()
        while not self._closing.wait(LOOKED_S):
            if self._kept is not None and monotonic() - forgot > SWEPT_S:
                self._forget(self._kept)
                forgot = monotonic()
            for ticket in list(self._own):
                found = self._read(ticket)
                if found is None or found[0].state == "cancelled":
                    stop = self._own.pop(ticket, None)
                    if stop is not None:
                        stop()

    def _forget(self, kept: Kept) -> None:
        """Forget the results of tickets that were cancelled or are too old, and the oldest of what is too much."""
        sizes = kept.tickets()
        size = sum(sizes.values())
        for ticket, n_bytes in sizes.items():
            found = self._read(ticket)
            is_over = found is None or found[0].state == "cancelled" or time() - found[0].at > self._keep_s
            if not is_over and size <= self._most_bytes:
                continue
            size -= n_bytes
            kept.drop(ticket)
            if not is_over:
                self._path(ticket).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Delete what is too old, and the oldest of what is too much."""
        if monotonic() - self._swept < SWEPT_S and self._swept:
            return
        self._swept = monotonic()
        found = _files(self.folder)
        tickets = [(told, path) for told, path in found if path.suffix == END]
        n, size, now = len(tickets), sum(told.st_size for told, _ in tickets), time()
        for told, path in tickets:
            if now - told.st_mtime <= self._keep_s and n < self._most and size <= self._most_bytes:
                break
            n, size = n - 1, size - told.st_size
            path.unlink(missing_ok=True)
        for told, path in found:
            stale = path.suffix not in (END, LOCK) or not self._lives(path.stem)
            if path.suffix != END and stale and now - told.st_mtime > self._keep_s:
                path.with_suffix(SOCKET).unlink(missing_ok=True)
                path.unlink(missing_ok=True)


def _files(folder: Path) -> list[tuple[os.stat_result, Path]]:
    """List the files of a folder, the oldest first; other workers write and delete some meanwhile."""
    found = []
    with suppress(OSError), os.scandir(folder) as listed:
        for each in listed:
            with suppress(FileNotFoundError):
                if each.is_file(follow_symlinks=False):
                    found.append((each.stat(follow_symlinks=False), Path(each.path)))
    return sorted(found, key=lambda one: one[0].st_mtime)


def owner_of(token: bytes | None) -> str:
    """Give what is kept of who asks; empty for a service that knows no keys.

    >>> owner_of(None)
    ''
    """
    return "" if token is None else sha256(token).hexdigest()


def _owned(owner: str, ticket: str) -> str:
    return sha256(f"{ticket}:{owner}".encode()).hexdigest()
