"""Which packages that carry code this user trusts, by their digests; the list is the loader's, never the package's."""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ekiben.errors import SpecError

FORMAT = 1
FILE = "trusted.json"
SHORT = 12  # hex digits of a digest that a person types
# What no word of a user opens: in a model file these are not types, they are ways to run anything.
NEVER = (
    *("_ctypes", "_io", "_pickle", "_posixsubprocess", "_socket", "asyncio", "bdb", "builtins", "cProfile", "code"),
    *("codeop", "concurrent", "copyreg", "ctypes", "dbm", "distutils", "doctest", "ftplib", "http", "imp", "importlib"),
    *(
        "io",
        "joblib",
        "logging",
        "marshal",
        "multiprocessing",
        "nt",
        "os",
        "pathlib",
        "pdb",
        "pickle",
        "pip",
        "pkgutil",
    ),
    *("platform", "posix", "posixpath", "profile", "pty", "pydoc", "runpy", "setuptools", "shelve", "shutil", "signal"),
    *("site", "smtplib", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "sys", "tarfile", "telnetlib"),
    *("tempfile", "threading", "timeit", "trace", "types", "urllib", "venv", "webbrowser", "xmlrpc", "zipfile"),
    *("zipimport", "cloudpickle", "dill"),
)


def is_trusted(digest: str) -> bool:
    """Tell whether this user trusts the package of this digest.

    Examples
    --------
    >>> is_trusted("0" * 64)
    False
    """
    return digest in _listed(_file())


def trust(digest: str, *, name: str, why: str) -> None:
    """Trust a package that carries code, by its digest: from now on it is loaded here without asking.

    Parameters
    ----------
    digest
        All 64 hex digits of the package's digest.
    name
        The package's name, for people who read the list.
    why
        Who looked at it, or where it comes from.

    Raises
    ------
    SpecError
        If the digest is none, or the list cannot be read or written.

    Examples
    --------
    >>> trust("ab" * 32, name="churn", why="reviewed by risk")
    >>> is_trusted("ab" * 32)
    True
    """
    if not re.fullmatch(r"[0-9a-f]{64}", str(digest)):
        raise SpecError(f"What is trusted must be a digest of 64 hex digits. Got {digest!r}.")
    file = _file()
    with _alone(file):
        listed = _listed(file)
        if digest not in listed:
            entry = {"name": name, "why": why, "since": datetime.now(UTC).isoformat(timespec="seconds")}
            _write(file, {**listed, digest: entry})


def names(word: str | None, digest: str) -> bool:
    """Tell whether a user's word is this digest, whole or its first 12 digits or more.

    Examples
    --------
    >>> names("abababababab", "ab" * 32), names("abab", "ab" * 32), names(None, "ab" * 32)
    (True, False, False)
    """
    if word is None:
        return False
    if not isinstance(word, str):
        raise SpecError(f"A package is named by its digest, or the first {SHORT} digits of it. Got {word!r}.")
    return len(word) >= SHORT and digest.startswith(word.lower())


def forbidden(name: str) -> bool:
    """Tell a dotted name that no word of a user opens.

    Examples
    --------
    >>> forbidden("os.system"), forbidden("category_encoders.ordinal.OrdinalEncoder")
    (True, False)
    """
    return name.partition(".")[0] in NEVER


# ── the file ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _file() -> Path:
    return Path(os.environ.get("EKIBEN_HOME") or Path.home() / ".ekiben") / FILE


def _listed(file: Path) -> dict[str, dict[str, Any]]:
    try:
        mode, text = file.stat().st_mode, file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as reason:
        raise SpecError(f"The list of trusted packages must be readable. {file} is not: {reason}.") from reason
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SpecError(
            f"The list of trusted packages must be yours alone to write. {file} is not. Run: chmod 600 {file}"
        )
    return _entries(text, file)


def _entries(text: str, file: Path) -> dict[str, dict[str, Any]]:
    try:
        document = json.loads(text)
        entries: dict[str, dict[str, Any]] = dict(document["digests"])
        broken = document["format"] != FORMAT or not all(isinstance(entry, dict) for entry in entries.values())
    except (ValueError, KeyError, TypeError, RecursionError):
        broken, entries = True, {}
    if broken:
        raise SpecError(
            f"The list of trusted packages must be as ekiben wrote it, in format {FORMAT}. {file} is not. "
            f"Mend it, or remove it and trust again."
        )
    return entries


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Hold the list's lock, so that of two processes that add to it neither is lost."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as reason:
        raise SpecError(
            f"The list of trusted packages must be writable. {file} is not: {reason}. Set EKIBEN_HOME to a folder of yours."
        ) from reason
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _write(file: Path, entries: dict[str, dict[str, Any]]) -> None:
    """Put a whole new file in the place of the old one, so that no reader sees half of it."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{FILE}.")  # of mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as made:
            json.dump({"format": FORMAT, "digests": entries}, made, indent=1)
            made.flush()
            os.fsync(made.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
