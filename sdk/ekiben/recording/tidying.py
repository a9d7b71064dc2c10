"""What becomes of segments: they are packed, taken over, and deleted, and so is what a killed process left half made."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from isal import isal_zlib

from ekiben.recording.segments import OPEN, PACKED, WHOLE

if os.name == "posix":
    import fcntl

DAY_S = 86_400
LEVEL = 2  # of compression, from 0 to 3: the best takes a third more and saves a hundredth
GZIP = 31  # the window's largest size, and gzip's head and end around what is packed
PIECE = 1 << 20  # bytes that are compressed in one go; between two, who answers must give the interpreter away


def tidy(
    folder: Path,
    keep_bytes: float = float("inf"),
    keep_s: float = float("inf"),
    may_go: Callable[[Path], bool] = lambda _path: True,
) -> None:
    """Pack segments that are whole, adopt those whose process has ended, and delete the oldest beyond what is kept.

    Several processes may do this at once: each step is one rename or one deletion.

    Parameters
    ----------
    folder
        Where segments lie.
    keep_bytes, keep_s
        How large they may be together, and how old one may become.
    may_go
        Whether a segment may be deleted yet; one that is still to be shipped may not.
    """
    with suppress(FileNotFoundError):  # somebody deletes the folder: the next record makes it anew
        _tidy(folder, keep_bytes, keep_s, may_go)


def _tidy(folder: Path, keep_bytes: float, keep_s: float, may_go: Callable[[Path], bool]) -> None:
    for path in (*folder.glob("*.part"), *folder.glob("*.new")):
        _sweep(path)
    for path in sorted(folder.glob(f"*{OPEN}")):
        _adopt(path)
    for path in sorted(folder.glob(f"*{WHOLE}")):
        _pack(path)
    now, total = time.time(), 0
    for path in sorted(folder.glob(f"*{PACKED}"), reverse=True):
        with suppress(FileNotFoundError):
            told = path.stat()
            total += told.st_size
            if (total > keep_bytes or now - told.st_mtime > keep_s) and may_go(path):
                path.unlink()


def _sweep(path: Path) -> None:
    """Delete a file that was begun a day ago and never became what it should; none takes so long."""
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > DAY_S:
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
    """Compress a segment; the plain one goes once the packed one is whole, and on the disk itself."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    with suppress(OSError):
        try:
            with path.open("rb") as plain, beside.open("wb") as file:
                packer = isal_zlib.compressobj(LEVEL, wbits=GZIP)
                while piece := plain.read(PIECE):
                    file.write(packer.compress(piece))
                file.write(packer.flush())
                file.flush()
                os.fsync(file.fileno())
            shutil.copystat(path, beside)
            beside.rename(path.with_suffix(PACKED))
            path.unlink()
        finally:
            beside.unlink(missing_ok=True)
