"""A model made servable: the package, and the folder that holds it (format 1).

::

    package.json      name, signature, metrics, owner, environment, provenance, the digest of every file
    model/            native and readable first: skops for scikit-learn, binary JSON for XGBoost
    plan/             the compiled plan, and the certificate that it equals the model
    explainer/        what the explanations were fitted to
    reference/        a profile of the reference data, and a capped sample
    examples.json     a few real rows and their answers, to replay
    overview.json     what explains the model as a whole, where that was asked for
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ekiben import models
from ekiben.errors import EkibenError, IntegrityError, SpecError, UnsupportedModelError
from ekiben.models import Adapter
from ekiben.packages import documents
from ekiben.packages.carrying import called_for, carried, permit
from ekiben.packages.package import OVERVIEW, Package, ask, table
from ekiben.sealing import FORMAT, seal, verify, write_json

__all__ = [
    "FORMAT",
    "OVERVIEW",
    "Package",
    "ask",
    "build",
    "called_for",
    "carried",
    "inspect",
    "load",
    "seal",
    "table",
    "verify",
    "write_json",
]


def load(folder: str | Path, *, trust: str | None = None) -> Package:
    """Read a package from its folder, its bytes verified before anything is built from them.

    Parameters
    ----------
    folder
        What `package.save` wrote.
    trust
        For a package that carries code: its digest, whole or its first 12 digits or more, as your word for this once.

    Raises
    ------
    NotFoundError
        If there is no package in the folder.
    IntegrityError
        If a file was changed, added or removed since it was packed.
    TrustError
        If it carries code, pickles or types of other libraries, and its digest is not trusted here.

    Examples
    --------
    >>> load("no/such/folder")
    Traceback (most recent call last):
    ...
    ekiben.errors.NotFoundError: A package's folder must hold package.json. Got 'no/such/folder', which has none.
    """
    if isinstance(folder, Package):
        raise SpecError("What is loaded must be a package's folder, as package.save(folder) writes it. Got Package.")
    folder = Path(folder)
    if folder.is_file():
        raise SpecError(
            f"What is loaded must be a package's folder, as package.save(folder) writes it. Got the file {folder.name!r}. "
            "A model in a file of its own is loaded by what wrote it, and packed: ek.pack(model, …)."
        )
    package = build(folder, verify(folder), trust=trust)
    _ = package.model  # what cannot be built is known now
    return package


def build(folder: Path, manifest: Mapping[str, Any], *, trust: str | None = None) -> Package:
    """Give a package whose bytes were verified, if nothing in it is code or somebody here trusts it; its model is built when it is needed."""
    adapter = _adapter(manifest)
    signature = documents.signature(manifest)
    # A file that names foreign types without saying so is refused when it is read: that is one way through it, not two.
    found = carried(folder, adapter, types="types" in manifest.get("carries", []))
    permit(folder, manifest, found, trust)
    return Package(
        folder=folder,
        manifest=manifest,
        adapter=adapter,
        signature=signature,
        read_model=lambda: _model(folder, adapter, found),
    )


def inspect(folder: Path) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Give a package's manifest and what it carries, its bytes verified and nothing built."""
    manifest = verify(folder)
    return manifest, carried(folder, _adapter(manifest))


def _adapter(manifest: Mapping[str, Any]) -> Adapter:
    try:
        return models.named(manifest["kind"])
    except UnsupportedModelError as unknown:
        raise IntegrityError(f"The 'kind' of a package must be a library that has an adapter here. {unknown}") from None


def _model(folder: Path, adapter: Adapter, found: Mapping[str, Sequence[str]]) -> Any:
    from ekiben import slicing  # a plan needs none of it

    try:
        code = slicing.importable(folder / "code") if "code" in found else None
        return adapter.load(folder / "model", trust=(*found.get("types", ()), *([code.__name__] if code else ())))
    except EkibenError:
        raise
    except Exception as reason:
        raise IntegrityError(
            f"The files in {folder.name}/model must be a model of {adapter.library}. They are not: "
            f"{type(reason).__name__}. Pack the model again."
        ) from reason
