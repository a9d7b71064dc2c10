"""Results that no file may hold: they stay in the memory of a worker, which hands them to the others over a socket."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path

SOCKET = ".socket"
PATIENCE_S = 5.0  # how long a worker that asks, or one that is asked, may take
AGAIN_S = 0.05  # until the next try, where nobody can be let in: a process may have too many files open
LONGEST_PATH = 100  # in bytes: macOS takes 103 for a socket's path, Linux 107
_FOLDERS = Path("/proc/self/fd")


class Kept:
    """The results in one worker's memory, by their tickets, and the socket by which the others ask for them.

    Parameters
    ----------
    folder, worker
        Where its socket lies, and how it is called; the folder is for its owner alone.

    Raises
    ------
    OSError
        If there can be no socket.
    """

    def __init__(self, folder: Path, worker: str) -> None:
        self._results: dict[str, bytes] = {}
        self._closed = threading.Event()
        self._path = folder / f"{worker}{SOCKET}"
        self._folder = os.open(folder, os.O_RDONLY)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(_address(self._path, self._folder))
        self._path.chmod(0o600)
        self._socket.listen()
        self._thread = threading.Thread(target=self._hand, daemon=True, name="ekiben-results")
        self._thread.start()

    def keep(self, ticket: str, body: bytes) -> None:
        """Keep a result."""
        self._results[ticket] = body

    def drop(self, ticket: str) -> None:
        """Forget a result."""
        self._results.pop(ticket, None)

    def tickets(self) -> dict[str, int]:
        """Give the size of each result, the oldest first."""
        return {ticket: len(body) for ticket, body in list(self._results.items())}

    def find(self, ticket: str, worker: str) -> bytes | None:
        """Give a result that a worker keeps; None where it has ended, or keeps it no more."""
        if worker == self._path.stem:
            return self._results.get(ticket)
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(PATIENCE_S)
            asking.connect(_address(self._path.with_name(f"{worker}{SOCKET}"), self._folder))
            asking.sendall(f"{ticket}\n".encode())
            with asking.makefile("rb") as told:
                n_bytes = told.readline().strip()
                body = told.read()
            return body if n_bytes and int(n_bytes) == len(body) else None
        return None

    def close(self) -> None:
        """End, and forget them all."""
        self._closed.set()
        self._path.unlink(missing_ok=True)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # ends the wait for the next who asks, where the system has it so
        self._socket.close()
        os.close(self._folder)
        self._results.clear()

    def _hand(self) -> None:
        """Answer whoever asks, one after the other."""
        while True:
            try:
                asked, _ = self._socket.accept()
            except OSError:
                if self._closed.wait(AGAIN_S):
                    return
                continue
            with suppress(OSError), asked:
                asked.settimeout(PATIENCE_S)
                with asked.makefile("rb") as lines:
                    body = self._results.get(lines.readline(64).decode("ascii", "replace").strip())
                asked.sendall(b"" if body is None else b"%d\n%b" % (len(body), body))


def _address(path: Path, folder: int) -> str:
    """Give a path that is short enough for a socket, where the system has one: by the folder that is open."""
    if len(os.fsencode(path)) <= LONGEST_PATH or not _FOLDERS.is_dir():
        return str(path)
    return str(_FOLDERS / str(folder) / path.name)
