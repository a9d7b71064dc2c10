"""What makes a package code, and who may load one that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ekiben import models, sealing, trusting
from ekiben.errors import IntegrityError, TrustError
from ekiben.models import Adapter

PROGRAMS = (".dll", ".dylib", ".pth", ".py", ".pyc", ".pyd", ".pyw", ".so")
PICKLES = (".dill", ".joblib", ".pickle", ".pkl")
MOST_SHOWN = 6


def carried(folder: Path, adapter: Adapter, *, types: bool = True) -> dict[str, list[str]]:
    """Tell what makes a package code, by its files and not by its word; nothing of it is built.

    Returns
    -------
    `code`: its files. `pickle`: files that an unpickler would run. `types`: names in a model file beyond those that
    are built without asking. A package of none of them is data.

    Examples
    --------
    >>> import ekiben, pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> X = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 6.0]})
    >>> package = ekiben.pack(LinearRegression().fit(X, [20, 30, 40, 60]), name="flat", reference=X)
    >>> carried(package.folder, package.adapter)
    {}
    """
    names = sealing.files(folder)
    found = {
        "code": [name for name in names if _is_code(name)],
        "pickle": [name for name in names if _is_pickle(folder / name)],
        "types": models.foreign(adapter, folder / "model") if types else [],
    }
    return {kind: listed for kind, listed in found.items() if listed}


def _is_code(name: str) -> bool:
    return name.casefold().startswith("code/") or name.casefold().endswith(PROGRAMS)


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(1024)
    by_content = head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    objects = head.startswith(b"\x93NUMPY") and b"O" in head[6:].partition(b"fortran_order")[0]
    return by_content or objects or path.suffix.lower() in PICKLES


def called_for(path: Path) -> list[str]:
    """List what a pickle in a package calls for, by name and without running it."""
    from ekiben.models.pickled import globals_of

    try:
        return globals_of(path.read_bytes())
    except IntegrityError as reason:
        return [f"what cannot be told ({reason})"]


def permit(folder: Path, manifest: Mapping[str, Any], found: Mapping[str, Sequence[str]], word: str | None) -> None:
    """Refuse a package that is code, unless its digest is trusted here; and one that says it is none."""
    said, got = manifest.get("carries", []), sorted(found)
    if said != got:
        raise IntegrityError(
            f"package.json of {folder.name} must name all that makes the package code. "
            f"It names {said or 'nothing'}, its files hold {got or 'nothing'}. Do not load it."
        )
    digest = manifest["digest"]
    if not found or trusting.names(word, digest) or trusting.is_trusted(digest):
        return
    raise TrustError(
        f"A package that carries {_listed(found)} is code: it must be trusted before it is loaded. {folder.name} is not. "
        f"Look into {_where(folder, found)}, or run: ekiben trust {folder}\n"
        f'To load it once: trust="{digest[: trusting.SHORT]}".'
    )


def _listed(found: Mapping[str, Sequence[str]]) -> str:
    said = {"code": "code", "pickle": "pickles", "types": "types of other libraries"}
    return " and ".join(f"{said[kind]} ({_few(names)})" for kind, names in found.items())


def _few(names: Sequence[str]) -> str:
    more = f", {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return ", ".join(name[:80] for name in names[:MOST_SHOWN]) + more


def _where(folder: Path, found: Mapping[str, Sequence[str]]) -> str:
    first = next(iter(found.get("code") or found.get("pickle") or ["model"]))
    return str(folder / first)
