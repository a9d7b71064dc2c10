"""What lies in every explainer's folder: which method it is of, with its settings, and arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ekiben.errors import IntegrityError, NotFoundError

FORMAT = 1
HEADER = "explainer.json"


def write_header(folder: Path, method: str, **settings: Any) -> None:
    """Write which method lies in a folder, with its settings."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"format": FORMAT, "method": method, **settings}
    (folder / HEADER).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_header(folder: Path) -> dict[str, Any]:
    """Read which method lies in a folder."""
    path = folder / HEADER
    if not path.is_file():
        raise NotFoundError(f"The folder of an explainer must hold {HEADER}. Got {str(folder)!r}, which does not.")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if document.get("format") != FORMAT or "method" not in document:
        raise IntegrityError(
            f"An explainer must be of format {FORMAT} and name its method. Got format {document.get('format')!r} and "
            f"method {document.get('method')!r} in {str(path)!r}. Pack the model again."
        )
    return document


def read_array(path: Path) -> npt.NDArray[Any]:
    """Read one array of plain values; a file of another kind, or one of objects, is refused."""
    with path.open("rb") as file:
        made: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)  # type: ignore[no-untyped-call]
    return made
