"""What is kept of a decision: some columns in clear, some hashed, some not at all."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from ekiben.errors import RecordsError, SpecError
from ekiben.recording.writing import Fields, Recorder

logger = logging.getLogger("ekiben")
KEY_BYTES = 32


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
    ended
        Called once the records have ended.

    Attributes
    ----------
    keep
        Record a decision, given as the fields of its record, before its answer leaves. It raises `RecordsError` if that
        cannot be, where that refuses the request.
    append
        Record several decisions, each as `packed` wrote it, by one write; None where each is recorded alone.
    syncs
        Whether a write waits for the disk.

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
        ended: Callable[[], object] = lambda: None,
    ) -> None:
        for name in (*hash, *drop):
            if name not in columns and name != unit:
                raise SpecError(f"`records` must hash or drop columns of the contract. {name!r} is none.")
        self._write, self._refuse, self._lost = recorder.write, refuse, lost
        self._keyed = blake2b(key=key, digest_size=16)
        acts = {**dict.fromkeys(hash, self._hashed), **dict.fromkeys(drop, _nothing)}
        self._acts = [(i, acts[name]) for i, name in enumerate(columns) if name in acts]
        self._of_unit = acts.get(unit)
        self._recorder, self._ended, self._loses = recorder, ended, False
        is_whole = refuse and not self._acts and self._of_unit is None
        self.keep: Callable[[Fields], None] = recorder.write if is_whole else self._keep
        self.append = recorder.append if is_whole else None
        self.syncs = recorder.syncs

    def _keep(self, record: Fields) -> None:
        """Record a decision as its columns may be kept."""
        *asked, unit, propensity, us, rows, outputs = record
        if self._acts:
            rows = [self._without(row) for row in rows]
        if self._of_unit is not None:
            unit = self._of_unit(unit)
        try:
            self._write((*asked, unit, propensity, us, rows, outputs))
        except RecordsError as reason:
            if self._refuse:
                raise
            self._lost(1)
            if not self._loses:
                logger.error("decisions are answered that are not recorded: %s", reason)
            self._loses = True
            return
        if self._loses:
            self._loses = False
            logger.warning("decisions are recorded again")

    def close(self) -> None:
        """End the records; what was written stays."""
        self._recorder.close()
        self._ended()

    def _without(self, row: Sequence[Any]) -> Sequence[Any]:
        kept = list(row)
        for i, act in self._acts:
            kept[i] = act(kept[i])
        return kept

    def _hashed(self, value: Any) -> str | None:
        if value is None:
            return None
        hashed = self._keyed.copy()
        hashed.update(msgspec.json.encode(value if isinstance(value, str) else [value]))
        return hashed.hexdigest()


def _nothing(_value: Any) -> None:
    """Keep nothing."""


def key_of(folder: Path) -> bytes:
    """Give the secret of a folder's hashes; it is made once, for its owner alone to read.

    Raises
    ------
    RecordsError
        If it cannot be kept, or was cut short: what is hashed by less could be tried out.
    """
    path = folder / "hashes.key"
    beside = path.with_name(f"{uuid4().hex}.part")
    try:
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(file, os.urandom(KEY_BYTES))
            os.fsync(file)
        finally:
            os.close(file)
        with suppress(FileExistsError):
            os.link(beside, path)  # the first of several processes wins
        key = path.read_bytes()
    except OSError as reason:
        raise RecordsError(
            f"The key of hashed columns must lie in {folder.name}. It cannot: {reason.strerror}."
        ) from None
    finally:
        beside.unlink(missing_ok=True)
    if len(key) != KEY_BYTES:
        raise RecordsError(
            f"The key of hashed columns must hold {KEY_BYTES} bytes. {folder.name}/{path.name} holds {len(key)}. "
            "Bring it back, or delete it: the same values then have other hashes."
        )
    return key
