"""The form of a segment: a header, then each record with its length and its check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from struct import Struct
from typing import Any

import msgspec

FORMAT = 1
MAGIC = b"ekiben records 1\n"
OPEN, WHOLE, PACKED = ".open", ".records", ".records.gz"
FRAME = Struct("<II")  # how long a record is, and its CRC-32


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


class Decision(msgspec.Struct, frozen=True, gc=False):
    """One row of a record: what came in, in the order of the columns, and what was answered, as JSON."""

    id: str
    row: int
    ns: int
    endpoint: str
    unit: str | None
    arm: str
    propensity: float
    model: str
    digest: str
    us: float
    inputs: Sequence[Any]
    output: bytes


_parts = msgspec.json.Decoder(list[msgspec.Raw])


def decisions(header: Header, record: Record) -> Iterator[Decision]:
    """Part a record into its rows."""
    model, digest = header.arms.get(record.arm, ("", ""))
    for row, (values, output) in enumerate(zip(record.inputs, _parts.decode(record.outputs), strict=True)):
        yield Decision(
            record.id,
            row,
            record.ns,
            record.endpoint,
            record.unit,
            record.arm,
            record.propensity,
            model,
            digest,
            record.us,
            values,
            bytes(output),
        )


def segments(folder: Path) -> list[Path]:
    """List the segments of a folder, the oldest first; one that is being packed is listed once."""
    found: dict[str, Path] = {}
    for ending in (OPEN, WHOLE, PACKED):  # as it goes: what became the next between two looks is found by the later one
        for path in folder.glob(f"*{ending}"):
            found.setdefault(path.name.removesuffix(ending), path)
    return [found[name] for name in sorted(found)]


def name_of(path: Path) -> str:
    """Give what a segment is called, whether it is open, whole or packed."""
    return path.name.partition(".")[0]
