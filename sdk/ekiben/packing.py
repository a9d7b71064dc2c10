"""Make a model servable: the package, and the folder that holds it (format 1).

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
import math
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben import cards, explainers, models, schema
from ekiben.errors import IntegrityError, NotFoundError, SchemaError, SpecError, UnsupportedModelError
from ekiben.explainers import Context, Explainer
from ekiben.explanations import Explanations
from ekiben.models import Adapter, Answers
from ekiben.models.measuring import measure
from ekiben.refs import ModelRef
from ekiben.schema import Label, Schema, Signature

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
SAMPLE_ROWS = 1000  # of the reference, kept in the package
N_EXAMPLES = 6
UNSEEN = "ekiben: an unseen text"
Progress = Callable[[str], None]


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
    >>> import pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> X = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 6.0]})
    >>> package = pack(LinearRegression().fit(X, [20, 30, 40, 60]), name="flat", reference=X)
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
        return schema.as_frame({name: [row[name] for row in rows] for name in self.schema.names}, self.schema)

    @cached_property
    def explainer(self) -> Explainer:
        """What explains, read back from its files."""
        context = Context(model=self.model, adapter=self.adapter, schema=self.schema, reference=self.sample)
        return explainers.load(self.folder / "explainer", context)

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Answer exactly as the service will.

        Parameters
        ----------
        frame
            Rows of shape (n_rows, n_columns), columns in any order.

        Returns
        -------
        One row an answer, with the index of `frame`: `label` and `score_<class>` in [0, 1], or `value`.

        Raises
        ------
        SchemaError
            If the rows do not fit the contract, with every fault.
        """
        rows = schema.conform(frame, self.schema)
        return table(ask(self.adapter, self.model, rows), self.signature, rows.index)

    def explain(self, frame: pd.DataFrame, *, method: str | None = None, seed: int = 0) -> Explanations:
        """Explain the answer for each row on the raw columns.

        Parameters
        ----------
        frame
            Rows of shape (n_rows, n_columns), columns in any order.
        method
            One of ekiben's methods; by default the one that was packed.
        seed
            Seeds the methods that draw samples; the same seed explains the same.

        Raises
        ------
        SchemaError
            If the rows do not fit the contract.
        ExplainError
            If the method cannot explain this model.
        """
        rows = schema.conform(frame, self.schema)
        chosen = self.explainer if method in (None, self.method) else self._other(str(method))
        return Explanations(chosen.explain(rows, seed=seed))

    def _other(self, method: str) -> Explainer:
        context = Context(model=self.model, adapter=self.adapter, schema=self.schema, reference=self.sample)
        return explainers.choose(method, context)

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


def ask(adapter: Adapter, model: Any, rows: pd.DataFrame) -> Answers:
    """Ask a model about rows that fit its contract."""
    return adapter.answers(model, rows)


def table(answers: Answers, signature: Signature, index: pd.Index[Any]) -> pd.DataFrame:
    """Put answers into a frame: label and one score a class, or value."""
    import pandas as pd

    if signature.task == "regression":
        return pd.DataFrame({"value": answers.values}, index=index)
    assert answers.scores is not None
    scores = {f"score_{label}": answers.scores[:, i] for i, label in enumerate(signature.classes)}
    return pd.DataFrame({"label": answers.labels, **scores}, index=index)


# ── pack ────────────────────────────────────────────────────────────────────────────────────────────────────────


def pack(
    model: Any,
    *,
    name: str,
    reference: pd.DataFrame,
    target: Any = None,
    holdout: tuple[pd.DataFrame, Any] | None = None,
    owner: str | None = None,
    explainer: str = "auto",
    examples: pd.DataFrame | None = None,
    progress: Progress | None = None,
) -> Package:
    """Make a model servable: learn its contract, fit its explainer, keep examples, prove that it reads back equal.

    Parameters
    ----------
    model
        A fitted scikit-learn classifier, regressor or pipeline, or one of XGBoost's scikit-learn classes.
    name
        The name under which versions are registered, such as `credit_risk`.
    reference
        The rows that the model was fitted on, or a fair sample, of shape (n_rows, n_columns).
    target
        The labels or values of the reference, of shape (n_rows,).
    holdout
        Rows and labels that the model has not seen, for metrics; without them there are none.
    owner
        Who answers for the model.
    explainer
        `auto` takes the exact method where there is one; otherwise the method's name.
    examples
        Rows to replay wherever the model goes; by default a few of the reference.
    progress
        Called with a few words before each step.

    Returns
    -------
    The package, read back from the files that were written.

    Raises
    ------
    UnsupportedModelError
        If no adapter knows the model, or it cannot be written without pickle.
    SpecError
        If the data or a name cannot be used.
    ExplainError
        If the named method cannot explain this model.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> X = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 6.0]})
    >>> pack(LinearRegression().fit(X, [20, 30, 40, 60]), name="flat", reference=X).method
    'linear'
    """
    say = progress or (lambda _: None)
    reference = _as_frame("reference", reference)
    adapter = models.find(model)
    say("learning the contract")
    signature = _sign(model, adapter, reference, name)
    rows = schema.conform(reference, signature.inputs)
    _same_length("target", target, rows)
    folder = Path(tempfile.mkdtemp(prefix="ekiben-"))
    try:
        say("writing the model")
        (folder / "model").mkdir()
        adapter.save(model, folder / "model")
        _reads_back_equal(model, adapter, folder, rows)
        say("fitting the explainer")
        sample = _sampled(rows)
        method = _fit_explainer(
            explainer, Context(model=model, adapter=adapter, schema=signature.inputs, reference=sample), folder
        )
        say("describing the reference data")
        _write_reference(folder, rows, sample)
        chosen = sample if examples is None else _conformed("examples", examples, signature.inputs)
        _write_examples(folder, model, adapter, signature, chosen if examples is not None else _telling(chosen))
        say("measuring on held-out rows" if holdout is not None else "sealing")
        metrics, findings = _measured(model, adapter, signature, holdout, rows)
        manifest = {
            "format": FORMAT,
            "name": ModelRef(name=name, version=1).name,
            "kind": adapter.library,
            "class": _class_name(model, adapter),
            "signature": schema.to_json(signature),
            "explainer": method,
            "owner": owner,
            "metrics": metrics,
            "findings": [*findings, *_findings(signature, rows)],
            "n_reference": len(rows),
            "balance": _balance(target, signature),
            "requirements": [f"{dist}=={version(dist)}" for dist in adapter.requirements(model)],
            "python": platform.python_version(),
            "data_digest": data_digest(rows, target),
        }
        _seal(folder, manifest)
        made = load(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(made, shutil.rmtree, folder, ignore_errors=True)
    return made


def _as_frame(parameter: str, data: Any) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, np.ndarray) and data.ndim == 2:
        return pd.DataFrame(data, columns=[f"x{i}" for i in range(data.shape[1])])
    raise SpecError(f"The {parameter!r} must be a pandas DataFrame or a 2-D numpy array. Got {type(data).__name__}.")


def _conformed(parameter: str, data: Any, contract: Schema) -> pd.DataFrame:
    try:
        return schema.conform(_as_frame(parameter, data), contract)
    except SchemaError as misfit:
        raise SchemaError(
            f"The {parameter!r} must fit the contract of the 'reference'.\n{misfit}", misfit.faults
        ) from None


def _same_length(parameter: str, values: Any, rows: pd.DataFrame) -> None:
    if values is not None and len(values) != len(rows):
        raise SpecError(f"The {parameter!r} must have one value a row. Got {len(values)} for {len(rows)} rows.")


def _sign(model: Any, adapter: Adapter, reference: pd.DataFrame, name: str) -> Signature:
    ModelRef(name=name, version=1)  # refuses a name that no registry takes
    task = adapter.task(model)
    learnt = schema.learn(reference)
    classes = adapter.classes(model) if task == "classification" else ()
    _answers_reference(model, adapter, reference, learnt)
    columns = tuple(_with_policy(model, adapter, learnt, column, reference) for column in learnt.columns)
    return Signature(inputs=Schema(columns=columns), task=task, classes=classes)


def _answers_reference(model: Any, adapter: Adapter, reference: pd.DataFrame, learnt: Schema) -> None:
    """Let the model answer a few reference rows, so that a mismatch is found here and not when it is served."""
    few = schema.as_frame({name: reference[name].head(5) for name in learnt.names}, learnt)
    try:
        ask(adapter, model, few)
    except UnsupportedModelError:
        raise
    except Exception as reason:
        raise SpecError(
            f"The model must answer the 'reference' rows. Got {type(reason).__name__}: {reason}. "
            "Pass the very frame that the model was fitted on, without the target."
        ) from reason


def _with_policy(
    model: Any, adapter: Adapter, learnt: Schema, column: schema.Column, reference: pd.DataFrame
) -> schema.Column:
    """Ask the model itself what it does without a value, and with a text that it has never seen."""
    takes = partial(_takes, model, adapter, learnt, reference, column)
    nullable = column.nullable or takes(None)
    if column.kind != "text":
        return replace(column, nullable=nullable)
    strict = column.dtype == "category" or not takes(UNSEEN)
    return replace(column, nullable=nullable, unseen="refuse" if strict else "accept")


def _takes(
    model: Any, adapter: Adapter, learnt: Schema, reference: pd.DataFrame, column: schema.Column, value: Any
) -> bool:
    """Tell whether the model has a finite answer for a row with this value."""
    import numpy as np

    row = {name: reference[name].head(1) for name in learnt.names} | {column.name: [value]}
    try:
        with quiet():
            return bool(np.isfinite(adapter.scores(model, schema.as_frame(row, learnt))).all())
    except Exception:  # noqa: BLE001 -- whatever a model raises at such a value, it does not take it
        return False


def _reads_back_equal(model: Any, adapter: Adapter, folder: Path, rows: pd.DataFrame) -> None:
    import numpy as np

    tried = rows.head(SAMPLE_ROWS)
    with quiet():
        live, read = adapter.scores(model, tried), adapter.scores(adapter.load(folder / "model"), tried)
    if not np.array_equal(live, read, equal_nan=True):
        worst = float(np.nanmax(np.abs(live - read)))
        raise UnsupportedModelError(
            f"A packed model must answer as the live one. {type(model).__name__} differs by up to {worst:.3g} "
            "after it was written and read back."
        )


def _sampled(rows: pd.DataFrame) -> pd.DataFrame:
    if len(rows) <= SAMPLE_ROWS:
        return rows.reset_index(drop=True)
    return rows.sample(SAMPLE_ROWS, random_state=0).sort_index().reset_index(drop=True)


def _fit_explainer(name: str, context: Context, folder: Path) -> str:
    (folder / "explainer").mkdir()
    with quiet():
        chosen = explainers.choose(name, context)
        chosen.save(folder / "explainer")
    return chosen.method


def _telling(sample: pd.DataFrame) -> pd.DataFrame:
    """Choose rows that between them show missing values and the ends of ranges, then ordinary ones."""
    order = sample.isna().sum(axis=1).sort_values(ascending=False, kind="stable").index
    with_gaps = [i for i in order if sample.loc[i].isna().any()][: N_EXAMPLES // 2]
    rest = [i for i in sample.index if i not in with_gaps][: N_EXAMPLES - len(with_gaps)]
    return sample.loc[[*rest, *with_gaps]]


def _write_examples(folder: Path, model: Any, adapter: Adapter, signature: Signature, rows: pd.DataFrame) -> None:
    answers = schema.as_records(table(ask(adapter, model, rows), signature, rows.index))
    if any(isinstance(value, float) and not math.isfinite(value) for answer in answers for value in answer.values()):
        raise SpecError(
            "The model must answer its examples with finite numbers. It does not. Look at model.predict(…) of them."
        )
    pairs = [{"row": row, "answer": answer} for row, answer in zip(schema.as_rows(rows), answers, strict=True)]
    _write(folder / "examples.json", pairs)


def _write_reference(folder: Path, rows: pd.DataFrame, sample: pd.DataFrame) -> None:
    (folder / "reference").mkdir()
    _write(folder / "reference" / "profile.json", {name: _profile(rows[name]) for name in rows.columns})
    listed = schema.as_rows(sample)
    _write(folder / "reference" / "sample.json", {name: [row[name] for row in listed] for name in rows.columns})


QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


def _profile(values: pd.Series[Any]) -> dict[str, Any]:
    import numpy as np

    missing = float(values.isna().mean())
    present = values.dropna()
    if values.dtype.kind not in "iuf":
        counts = present.astype(str).value_counts()
        top = {str(key): int(count) for key, count in counts.head(20).items()}
        return {"missing": missing, "distinct": len(counts), "top": top}
    numbers = present.to_numpy(dtype=np.float64)
    heights, edges = np.histogram(numbers, bins=20)
    return {
        "missing": missing,
        "mean": float(numbers.mean()),
        "std": float(numbers.std()),
        "quantiles": dict(zip(map(str, QUANTILES), np.quantile(numbers, QUANTILES).tolist(), strict=True)),
        "histogram": {"counts": heights.tolist(), "edges": edges.tolist()},
    }


def _measured(
    model: Any, adapter: Adapter, signature: Signature, holdout: tuple[pd.DataFrame, Any] | None, rows: pd.DataFrame
) -> tuple[dict[str, Any], list[str]]:
    if holdout is None:
        return {}, ["No held-out rows were given, so there are no metrics: pack(…, holdout=(X_test, y_test))."]
    X, y = holdout
    X = _conformed("holdout", X, signature.inputs)
    _same_length("holdout", y, X)
    _labels_are_known(y, signature.classes)
    metrics = measure(y, ask(adapter, model, X), signature.classes)
    return {"n_rows": len(X), **metrics}, _leaks(X, rows)


def _labels_are_known(y: Any, classes: Sequence[Label]) -> None:
    import numpy as np

    unknown = sorted({str(label) for label in np.asarray(y).tolist() if label not in classes}) if classes else []
    if unknown:
        raise SpecError(f"The labels of 'holdout' must be of {list(classes)}. Got {unknown[:5]} as well.")


def _leaks(X: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    import pandas as pd

    known = set(pd.util.hash_pandas_object(rows, index=False))
    twice = int(pd.util.hash_pandas_object(X, index=False).isin(known).sum())
    return (
        [f"{twice:,} of {len(X):,} held-out rows are in the reference too: the metrics may flatter."] if twice else []
    )


def _findings(signature: Signature, rows: pd.DataFrame) -> list[str]:
    found = []
    strict = [column.name for column in signature.inputs.columns if column.unseen == "refuse"]
    if strict:
        found.append(f"A text that the model has not seen is refused in {', '.join(strict)}.")
    constant = [str(name) for name in rows.columns if rows[name].nunique(dropna=False) == 1]
    if constant:
        found.append(f"Only one value was seen in {', '.join(constant)}.")
    return found


def _balance(target: Any, signature: Signature) -> dict[str, float]:
    import numpy as np

    if target is None or not signature.classes:
        return {}
    truth = np.asarray(target)
    return {str(label): float((truth == label).mean()) for label in signature.classes}


def _class_name(model: Any, adapter: Adapter) -> str:
    last = adapter.steps(model)[1]
    outer, inner = type(model).__name__, type(last).__name__
    return outer if outer == inner else f"{outer} → {inner}"


def data_digest(frame: pd.DataFrame, target: Any = None) -> str:
    """Give SHA-256 of every row, column name and dtype, and of the target.

    Examples
    --------
    >>> import pandas as pd
    >>> a, b = pd.DataFrame({"x": [1, 2]}), pd.DataFrame({"x": [1, 3]})
    >>> data_digest(a) == data_digest(a.copy()), data_digest(a) == data_digest(b)
    (True, False)
    """
    import pandas as pd

    whole = hashlib.sha256(repr([(str(name), str(dtype)) for name, dtype in frame.dtypes.items()]).encode())
    whole.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    if target is not None:
        whole.update(pd.util.hash_pandas_object(pd.Series(target), index=False).to_numpy().tobytes())
    return f"sha256:{whole.hexdigest()}"


# ── the folder ──────────────────────────────────────────────────────────────────────────────────────────────────


def _seal(folder: Path, manifest: dict[str, Any]) -> None:
    """Write `package.json`: the digest is of what the package is, the seal also of where it comes from."""
    manifest["files"] = {name: _sha256(folder / name) for name in _files(folder)}
    manifest["digest"] = _of_json(manifest)
    manifest["provenance"] = _provenance()
    manifest["seal"] = _of_json(manifest)
    _write(folder / "package.json", manifest)


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
    faults = [f"{name} is gone" for name in sorted(recorded.keys() - present)]
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
        manifest: dict[str, Any] = _read(path)
    except ValueError as reason:
        raise IntegrityError(f"package.json of {folder.name} is not what was packed: it is no JSON.") from reason
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


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


def _frame_in(path: Path, contract: Schema) -> pd.DataFrame:
    try:
        return schema.as_frame(_read(path), contract)
    except KeyError as reason:
        raise SchemaError(f"The sample of the package must hold the column {reason}.") from reason


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a library's warnings about probes out of the notebook; for one thread only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
