"""A package's documents, read as ekiben wrote them; one of another shape is refused by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from ekiben import schema, sealing
from ekiben.errors import EkibenError, IntegrityError
from ekiben.schema import PARTS, Change, Kind, Missing, Signature, Task


def read(path: Path) -> Any:
    """Read one of a package's documents."""
    try:
        return sealing.parsed(path.read_bytes())
    except IntegrityError as reason:
        raise IntegrityError(f"{path.name} of a package must be JSON. It {reason}. Pack the model again.") from reason


@contextmanager
def understood(name: str) -> Iterator[None]:
    """Turn what a document of another shape does to its reader into one sentence."""
    try:
        yield
    except EkibenError:
        raise
    except Exception as reason:
        raise IntegrityError(
            f"{name} of a package must be as ekiben wrote it. It is not: {type(reason).__name__}. Pack the model again."
        ) from reason


def signature(manifest: Mapping[str, Any]) -> Signature:
    """Read the signature of a manifest, every word of it one that is known."""
    with understood("The 'signature'"):
        found = schema.from_json(manifest["signature"])
        if not _says_something(found):
            raise ValueError(found)
        return found


def _says_something(found: Signature) -> bool:
    """Tell whether every word of a signature is one that is known."""
    columns = all(
        column.kind in get_args(Kind)
        and column.missing in get_args(Missing)
        and column.change in get_args(Change)
        and isinstance(column.name, str)
        for column in found.inputs.columns
    )
    answers = all(
        output.parts and set(output.parts) <= set(PARTS) and isinstance(output.name, str) for output in found.outputs
    )
    return columns and answers and bool(found.outputs) and found.task in get_args(Task)
