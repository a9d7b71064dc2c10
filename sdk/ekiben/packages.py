"""A model made servable: the package, and the folder that holds it (format 1).

::

    package.json      name, signature, metrics, owner, environment, provenance, the digest of every file
    model/            native and readable first: skops for scikit-learn, binary JSON for XGBoost
    explainer/        what the explanations were fitted to
    reference/        a profile of the reference data, and a capped sample
    examples.json     a few real rows and their answers, to replay
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben import cards, explainers, models, schema, tables
from ekiben.errors import IntegrityError, NotFoundError, SchemaError, SpecError, nearest
from ekiben.explainers import Context, Explainer
from ekiben.explanations import Explanations
from ekiben.models import Adapter, Answers
from ekiben.refs import ModelRef
from ekiben.schema import Schema, Signature

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Package:
    """A model made servable: what `pack` makes, `log` keeps and `scaffold` serves.

    Parameters
    ----------
    folder
        Where its files are; they were read and verified when the package was made.
    manifest
        The content of `package.json`.
    model, adapter, signature
        The model as read back from its files, how to ask it, and what it takes and gives.

    Examples
    --------
    >>> import ekiben, pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> X = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 6.0]})
    >>> package = ekiben.pack(LinearRegression().fit(X, [20, 30, 40, 60]), name="flat", reference=X)
    >>> package.predict(X.head(1)).round(6)
       value
    0   20.0
    >>> package.explain(X.head(1))[0].contributions["rooms"].__round__(6)
    -17.5
    """

    folder: Path
    manifest: Mapping[str, Any]
    model: Any
    adapter: Adapter
    signature: Signature

    @property
    def name(self) -> str:
        """The name under which versions are registered."""
        return str(self.manifest["name"])

    @property
    def digest(self) -> str:
        """SHA-256 of what the package holds; the same model and data give the same digest."""
        return str(self.manifest["digest"])

    @property
    def ref(self) -> ModelRef:
        """The package by its digest, for one that was never logged."""
        return ModelRef(name=self.name, digest=self.digest[:12])

    @property
    def schema(self) -> Schema:
        """The contract of the rows."""
        return self.signature.inputs

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """Metrics on held-out rows with their 95 % intervals; empty when no such rows were given."""
        found: Mapping[str, Mapping[str, float]] = self.manifest["metrics"]
        return found

    @property
    def method(self) -> str:
        """The name of the method that explains."""
        return str(self.manifest["explainer"])

    @cached_property
    def profile(self) -> Mapping[str, Any]:
        """Quantiles, counts and shares of each column of the reference data."""
        found: Mapping[str, Any] = _read(self.folder / "reference" / "profile.json")
        return found

    @cached_property
    def sample(self) -> pd.DataFrame:
        """At most 1,000 rows of the reference data."""
        return _frame_in(self.folder / "reference" / "sample.json", self.schema)

    @cached_property
    def examples(self) -> tuple[dict[str, Any], ...]:
        """A few real rows, each as `row` and the `answer` that was recorded."""
        return tuple(_read(self.folder / "examples.json"))

    @cached_property
    def example_frame(self) -> pd.DataFrame:
        """The rows of `examples` as a frame."""
        rows = [example["row"] for example in self.examples]
        return tables.as_frame({name: [row[name] for row in rows] for name in self.schema.names}, self.schema)

    @cached_property
    def explainer(self) -> Explainer:
        """What explains, read back from its files."""
        return explainers.load(self.folder / "explainer", self._context())

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Answer exactly as the service will.

        Parameters
        ----------
        frame
            Rows of shape (n_rows, n_columns), columns in any order.

        Returns
        -------
        One row an answer, with the index of `frame`: `label` and `score_<class>` in [0, 1], or `value`; of several
        outputs each under its own name.

        Raises
        ------
        SchemaError
            If the rows do not fit the contract, with every fault.
        """
        rows = tables.conform(frame, self.schema)
        return table(ask(self.adapter, self.model, rows), self.signature, rows.index)

    def explain(
        self, frame: pd.DataFrame, *, method: str | None = None, output: str | None = None, seed: int = 0
    ) -> Explanations:
        """Explain the answer for each row on the raw columns.

        Parameters
        ----------
        frame
            Rows of shape (n_rows, n_columns), columns in any order.
        method
            One of ekiben's methods; by default the one that was packed.
        output
            Which of several outputs to explain, by name; by default the first.
        seed
            Seeds the methods that draw samples; the same seed explains the same.

        Raises
        ------
        SchemaError
            If the rows do not fit the contract.
        ExplainError
            If the method cannot explain this model.
        SpecError
            If there is no such method or output.
        """
        rows = tables.conform(frame, self.schema)
        which = self._which(output)
        known = which == 0 and method in (None, self.method)
        chosen = self.explainer if known else explainers.choose(method or self.method, self._context(which))
        return Explanations(chosen.explain(rows, seed=seed))

    def _context(self, which: int = 0) -> Context:
        return Context(
            model=self.model,
            adapter=self.adapter,
            schema=self.schema,
            reference=self.sample,
            outputs=self.signature.outputs,
            which=which,
        )

    def _which(self, output: str | None) -> int:
        names = [each.name for each in self.signature.outputs]
        if output is not None and output not in names:
            raise SpecError(f"The 'output' must be one of {names}. Got {output!r}.{nearest(output, names)}")
        return 0 if output is None else names.index(output)

    def save(self, folder: str | Path) -> Path:
        """Copy the package into a new folder."""
        target = Path(folder)
        if target.exists() and any(target.iterdir()):
            raise SpecError(f"The 'folder' must be new or empty. Got {str(folder)!r}, which holds files.")
        shutil.copytree(self.folder, target, dirs_exist_ok=True)
        return target

    def __str__(self) -> str:
        return cards.text(self.manifest, self.signature)

    def __repr__(self) -> str:
        return f"<Package {self.ref} {self.manifest['class']} explained by {self.method}>"

    def _repr_html_(self) -> str:
        return cards.html(self.manifest, self.signature, self.profile)


def ask(adapter: Adapter, model: Any, rows: pd.DataFrame) -> tuple[Answers, ...]:
    """Ask a model about rows that fit its contract; for each output, what it answered."""
    return adapter.answers(model, rows)


def table(answers: Sequence[Answers], signature: Signature, index: pd.Index[Any]) -> pd.DataFrame:
    """Put answers into a frame: for each output label, one score a class, value, as its `columns` say."""
    import pandas as pd

    made: dict[str, Any] = {}
    for output, answered in zip(signature.outputs, answers, strict=True):
        found: dict[str, Any] = {"label": answered.labels, "value": answered.values, "scores": answered.scores}
        for part in output.parts:
            names, values = output.columns_of(part), found[part]
            made |= {name: values[:, i] for i, name in enumerate(names)} if part == "scores" else {names[0]: values}
    return pd.DataFrame(made, index=index)


# ── the folder ─────────────────────────────────────────────────────────────────────────────────────────────────────


def seal(folder: Path, manifest: dict[str, Any]) -> None:
    """Write `package.json`: the digest is of what the package is, the seal also of where it comes from."""
    told = manifest.pop("provenance", {})
    manifest["files"] = {name: _sha256(folder / name) for name in _files(folder)}
    manifest["digest"] = _of_json(manifest)
    manifest["provenance"] = {**_provenance(), **told}
    manifest["seal"] = _of_json(manifest)
    write_json(folder / "package.json", manifest)


def _provenance() -> dict[str, str | None]:
    return {
        "packed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "ekiben": version("ekiben"),
        "git_commit": _git("rev-parse", "HEAD"),
        "notebook": Path(os.environ["JPY_SESSION_NAME"]).name if "JPY_SESSION_NAME" in os.environ else None,
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def load(folder: str | Path) -> Package:
    """Read a package from its folder, its bytes verified before anything is built from them.

    Raises
    ------
    NotFoundError
        If there is no package in the folder.
    IntegrityError
        If a file was changed, added or removed since it was packed.

    Examples
    --------
    >>> load("no/such/folder")
    Traceback (most recent call last):
    ...
    ekiben.errors.NotFoundError: A package's folder must hold package.json. Got 'no/such/folder', which has none.
    """
    folder = Path(folder)
    manifest = verify(folder)
    signature = schema.from_json(manifest["signature"])
    adapter = models.named(manifest["kind"])
    return Package(
        folder=folder,
        manifest=manifest,
        model=adapter.load(folder / "model"),
        adapter=adapter,
        signature=signature,
    )


def verify(folder: Path) -> dict[str, Any]:
    """Compare every byte of a package with what was packed, and give its manifest."""
    manifest = _manifest(folder)
    if manifest.get("format") != FORMAT:
        raise IntegrityError(
            f"A package must be of format {FORMAT}. Got {manifest.get('format')!r}: a newer ekiben wrote it."
        )
    sealed = {key: value for key, value in manifest.items() if key != "seal"}
    digested = {key: value for key, value in sealed.items() if key not in ("digest", "provenance")}
    if manifest.get("seal") != _of_json(sealed) or manifest.get("digest") != _of_json(digested):
        raise IntegrityError(f"package.json of {folder.name} is not what was packed. Fetch or pack it again.")
    present = set(_files(folder))
    recorded = manifest["files"]
    faults = [f"{name} is a link" for name in sorted(present) if (folder / name).is_symlink()]
    faults += [f"{name} is gone" for name in sorted(recorded.keys() - present)]
    faults += [f"{name} was added" for name in sorted(present - recorded.keys())]
    faults += [
        f"{name} was changed" for name in sorted(present & recorded.keys()) if _sha256(folder / name) != recorded[name]
    ]
    if faults:
        raise IntegrityError(f"A package must hold the bytes that were packed. In {folder.name} {'; '.join(faults)}.")
    return manifest


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "package.json"
    if not path.is_file():
        raise NotFoundError(f"A package's folder must hold package.json. Got {str(folder)!r}, which has none.")
    try:
        manifest = _read(path)
    except ValueError as reason:
        raise IntegrityError(f"package.json of {folder.name} is not what was packed: it is no JSON.") from reason
    if not isinstance(manifest, dict):
        raise IntegrityError(f"package.json of {folder.name} is not what was packed: it is no object.")
    return manifest


def _files(folder: Path) -> list[str]:
    """List everything below a package but its manifest; a link counts as a file that does not belong."""
    every = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in every if path != folder / "package.json")


def _sha256(path: Path) -> str:
    if path.is_symlink():
        return "a link"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_json(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, document: Any) -> None:
    """Write one of a package's documents."""
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def _frame_in(path: Path, contract: Schema) -> pd.DataFrame:
    try:
        return tables.as_frame(_read(path), contract)
    except KeyError as reason:
        raise SchemaError(f"The sample of the package must hold the column {reason}.") from reason
