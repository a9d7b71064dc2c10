"""What was found of bytes that do not change is remembered by their digests, beside the other caches of images."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import IO, Any

from ekiben.containers.wheels import cache


def digest(parts: Iterable[object]) -> str:
    """Give one SHA-256 of several things, each by how Python writes it.

    >>> digest(["a", 1]) == digest(["a", 1]), digest(["a", 1]) == digest(["a1"])
    (True, False)
    """
    return hashlib.sha256(repr([*parts]).encode(errors="surrogateescape")).hexdigest()


def remembered(kind: str, parts: Iterable[object], find: Callable[[], Any]) -> Any:
    """Give what was found before of the same parts; else find it, and remember it.

    Parameters
    ----------
    kind
        The folder in the cache.
    parts
        All that it depends on, files by their digests.
    find
        Gives a value that JSON can hold.
    """
    place = cache() / kind / f"{digest(parts)}.json"
    with suppress(OSError, ValueError):  # not there, or not whole: it is found again
        return json.loads(place.read_text())
    found = find()
    place.parent.mkdir(exist_ok=True)
    part = place.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(found))
    part.replace(place)
    return found


class Clean:
    """Which bytes were looked through by certain rules, and nothing was found in them.

    Parameters
    ----------
    parts
        What decides beside the bytes: the rules, and what names this machine.
    """

    def __init__(self, parts: Iterable[object]) -> None:
        self._place = cache() / "looked-through" / digest(parts)
        self._place.parent.mkdir(exist_ok=True)
        self._known = {*self._place.read_text().split()} if self._place.is_file() else set()

    def knows(self, told: Iterable[object], file: IO[bytes] | None = None) -> bool:
        """Tell whether a file, or what is `told` by a digest of its own, is clean."""
        return _named(told, file) in self._known

    def keep(self, told: Iterable[object], file: IO[bytes] | None = None) -> None:
        """Remember that nothing was found in it."""
        name = _named(told, file)
        self._known.add(name)
        with self._place.open("a") as known:
            known.write(f"{name}\n")


def _named(told: Iterable[object], file: IO[bytes] | None) -> str:
    if file is None:
        return digest(told)
    file.seek(0)
    found = hashlib.sha256()
    while data := file.read(1 << 20):
        found.update(data)
    file.seek(0)
    return digest([*told, found.hexdigest()])
