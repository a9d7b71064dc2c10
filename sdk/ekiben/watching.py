"""A small file that is looked at again and again, and what becomes of its text when it changes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from ekiben.errors import EkibenError, place_of

logger = logging.getLogger("ekiben")
LOOKED_S = 2.0


class Watched:
    """A file whose new text is taken, or refused and left alone until it changes again.

    The text is read anew each time, by its name: who swaps a link or a folder above it, as Kubernetes does with what it
    mounts, is followed as well as who writes the file.

    Parameters
    ----------
    path
        The file.
    text
        What it held when it was last taken; None where that is not known.
    take
        Called with a new text, in a thread of its own; it raises, `EkibenError` for one, where that cannot be.
    tell
        Called with `taken` or `refused`.
    every_s
        How often it is looked at, in seconds.
    """

    def __init__(
        self,
        path: Path,
        text: str | None,
        take: Callable[[str], object],
        tell: Callable[[str], object],
        *,
        every_s: float = LOOKED_S,
    ) -> None:
        self._path, self._seen, self._take, self._tell, self._every_s = path, text, take, tell, every_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="ekiben-watching")
        self._thread.start()

    def _run(self) -> None:
        while not self._closing.wait(self._every_s):
            self.look()

    def look(self) -> None:
        """Take the text where it is another; what is refused is told once."""
        text = self._text()
        if text == self._seen:
            return
        self._seen = text
        try:
            if text is None:
                raise EkibenError("It must be a text that can be read. It is not.")
            self._take(text)
        except Exception as reason:  # noqa: BLE001 -- whatever it is, the file is looked at on
            why = reason if isinstance(reason, EkibenError) else place_of(reason)
            logger.error("%s changed and is refused; what was taken last stays: %s", self._path.name, why)
            self._tell("refused")
        else:
            logger.warning("%s changed and was taken", self._path.name)
            self._tell("taken")

    def _text(self) -> str | None:
        try:
            return self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def close(self) -> None:
        """Look no more."""
        self._closing.set()
        self._thread.join(self._every_s + 1)
