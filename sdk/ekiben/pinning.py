"""What a service promises, pinned beside its spec: the columns, one real example, and the digest of every arm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ekiben import schema
from ekiben.errors import NotFoundError, SpecError
from ekiben.schema import Signature

FILE = "contract.json"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """The one package that an arm may be: its reference, its tag in BentoML's store, and its digest."""

    ref: str
    tag: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What one service takes and gives, and which packages keep it.

    Parameters
    ----------
    signature
        The columns that the arms take between them, and what they answer.
    pins
        The package of each arm.
    row, answer
        A real row, and what the first arm answered.
    takers
        For each column that some arms take and others do not, the arms that take it.
    """

    signature: Signature
    pins: Mapping[str, Pin]
    row: Mapping[str, Any]
    answer: Mapping[str, Any]
    takers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def write(contract: Contract, folder: Path) -> None:
    """Write `contract.json` into a service's folder."""
    document = {
        "format": FORMAT,
        "signature": schema.to_json(contract.signature),
        "pins": {arm: asdict(pin) for arm, pin in contract.pins.items()},
        "example": {"row": dict(contract.row), "answer": dict(contract.answer)},
    }
    if contract.takers:
        document["takers"] = {column: list(arms) for column, arms in contract.takers.items()}
    (folder / FILE).write_text(json.dumps(document, indent=1) + "\n")


def read(folder: Path) -> Contract:
    """Read `contract.json` from a service's folder.

    Raises
    ------
    NotFoundError
        If it is not there.
    SpecError
        If it is not what `write` wrote.
    """
    path = folder / FILE
    if not path.is_file():
        raise NotFoundError(
            f"A service's folder must hold {FILE}. Got {str(folder)!r}, which has none. Run: ekiben pin {folder}"
        )
    try:
        return _of_json(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError, AttributeError) as reason:
        raise SpecError(
            f"{FILE} must be as it was written, in format {FORMAT}. Got a broken one, or another's, in {str(folder)!r}. "
            f"Run: ekiben pin {folder}"
        ) from reason


def _of_json(document: Mapping[str, Any]) -> Contract:
    if document["format"] != FORMAT:
        raise ValueError(document["format"])
    return Contract(
        signature=schema.from_json(document["signature"]),
        pins={arm: Pin(**pin) for arm, pin in document["pins"].items()},
        row=document["example"]["row"],
        answer=document["example"]["answer"],
        takers={column: tuple(arms) for column, arms in document.get("takers", {}).items()},
    )
