"""Make a model servable: learn its contract, fit its explainer, keep examples, prove that it reads back equal."""

from __future__ import annotations

import hashlib
import math
import platform
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben import cards, explainers, models, schema, tables
from ekiben.errors import SchemaError, SpecError, UnsupportedModelError
from ekiben.explainers import Context
from ekiben.models import Adapter, Answers
from ekiben.models.measuring import measure
from ekiben.packages import FORMAT, Package, ask, load, seal, table, write_json
from ekiben.progress import Progress, shown
from ekiben.refs import ModelRef
from ekiben.schema import Output, Schema, Signature

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SAMPLE_ROWS = 1000  # of the reference, kept in the package
N_EXAMPLES = 6
UNSEEN = "ekiben: an unseen text"


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
    with shown(progress) as say:
        say("learning the contract")
        live = _live(model, models.find(model), _as_frame("reference", reference), name, target)
        _fits_outputs("target", target, live.rows, live.signature)
        _labels_are_known("target", target, live.signature)
        digest = data_digest(live.rows, target)
        facts = {"name": name, "owner": owner, "balance": _balance(target, live.signature), "data_digest": digest}
        folder = Path(tempfile.mkdtemp(prefix="ekiben-"))
        try:
            method, notes = _write_parts(folder, live, explainer, examples, say)
            say("measuring and sealing")
            manifest = {**_described(live, holdout, method), **facts}
            seal(folder, {**manifest, "findings": [*manifest["findings"], *notes]})
            made = load(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    weakref.finalize(made, shutil.rmtree, folder, ignore_errors=True)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class _Live:
    """The live model while it is packed: with its contract, the rows that it was fitted on, and a sample of them."""

    model: Any
    adapter: Adapter
    signature: Signature
    rows: pd.DataFrame
    sample: pd.DataFrame


def _live(model: Any, adapter: Adapter, reference: pd.DataFrame, name: str, target: Any) -> _Live:
    signature = _sign(model, adapter, reference, name)
    signature = replace(signature, outputs=_named_after(target, signature.outputs))
    rows = tables.conform(reference, signature.inputs)
    return _Live(model=model, adapter=adapter, signature=signature, rows=rows, sample=_sampled(rows))


def _write_parts(folder: Path, live: _Live, explainer: str, examples: Any, say: Progress) -> tuple[str, list[str]]:
    """Write everything but the manifest, see that the model reads back equal, and name the method that explains, with notes."""
    say("writing the model")
    (folder / "model").mkdir()
    live.adapter.save(live.model, folder / "model")
    _reads_back_equal(live, folder)
    say("fitting the explainer")
    context = Context(
        model=live.model,
        adapter=live.adapter,
        schema=live.signature.inputs,
        reference=live.sample,
        outputs=live.signature.outputs,
    )
    method, notes = _fit_explainer(explainer, context, folder)
    say("describing the reference data")
    _write_reference(folder, live.rows, live.sample)
    given = _telling(live.sample) if examples is None else _conformed("examples", examples, live.signature.inputs)
    _write_examples(folder, live.model, live.adapter, live.signature, given)
    return method, notes


def _described(live: _Live, holdout: tuple[pd.DataFrame, Any] | None, method: str) -> dict[str, Any]:
    metrics, findings = _measured(live.model, live.adapter, live.signature, holdout, live.rows)
    needed = (*live.adapter.requirements(live.model), *explainers.requirements(method))
    return {
        "format": FORMAT,
        "kind": live.adapter.library,
        "class": _class_name(live.model, live.adapter),
        "signature": schema.to_json(live.signature),
        "metrics": metrics,
        "findings": [*findings, *_findings(live.signature, live.rows)],
        "n_reference": len(live.rows),
        "explainer": method,
        "requirements": [f"{dist}=={version(dist)}" for dist in needed],
        "python": platform.python_version(),
    }


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
        return tables.conform(_as_frame(parameter, data), contract)
    except SchemaError as misfit:
        raise SchemaError(
            f"The {parameter!r} must fit the contract of the 'reference'.\n{misfit}", misfit.faults
        ) from None


def _fits_outputs(parameter: str, values: Any, rows: pd.DataFrame, signature: Signature) -> None:
    """See that there is one value a row, or one a row and output."""
    if values is None:
        return
    n_outputs = len(signature.outputs)
    shape = () if isinstance(values, str) else getattr(values, "shape", (len(values),))
    if shape[1:] not in ((), (n_outputs,)) or (n_outputs > 1 and len(shape) == 1) or not shape:
        wanted = "one column of values, such as y or frame['y']" if n_outputs == 1 else f"{n_outputs} columns"
        got = f"the text {values!r}" if isinstance(values, str) else f"shape {shape}"
        raise SpecError(f"The {parameter!r} must be {wanted}. Got {got}.")
    if len(values) != len(rows):
        raise SpecError(f"The {parameter!r} must have one value a row. Got {len(values)} for {len(rows)} rows.")


def _sign(model: Any, adapter: Adapter, reference: pd.DataFrame, name: str) -> Signature:
    ModelRef(name=name, version=1)  # refuses a name that no registry takes
    task = adapter.task(model)
    _has_the_fitted_columns(_fitted_columns(adapter, model, reference), reference)
    learnt = tables.learn(reference)
    outputs = _outputs(model, adapter, reference, learnt)
    columns = tuple(_with_policy(model, adapter, learnt, column, reference) for column in learnt.columns)
    return Signature(inputs=Schema(columns=columns), task=task, outputs=outputs)


def _fitted_columns(adapter: Adapter, model: Any, reference: pd.DataFrame) -> tuple[str, ...] | None:
    if hasattr(adapter, "columns"):
        return adapter.columns(model, reference)
    names = getattr(model, "feature_names_in_", None)  # another's adapter that cannot tell
    return None if names is None else tuple(names)


def _has_the_fitted_columns(fitted: tuple[str, ...] | None, reference: pd.DataFrame) -> None:
    """Refuse a column that the model never saw: it would become part of what callers must send."""
    if fitted is None:
        return
    more, fewer = sorted(set(reference.columns) - set(fitted)), sorted(set(fitted) - set(reference.columns))
    if more or fewer:
        told = [f"{more} more"] * bool(more) + [f"{fewer} missing"] * bool(fewer)
        raise SpecError(
            f"The 'reference' must hold the columns that the model was fitted on. Got {' and '.join(told)}. "
            "Pass the very frame that the model was fitted on, without the target."
        )


def _outputs(model: Any, adapter: Adapter, reference: pd.DataFrame, learnt: Schema) -> tuple[Output, ...]:
    """Let the model answer a few reference rows, so that a mismatch is found here and not when it is served."""
    few = tables.as_frame({name: reference[name].head(5) for name in learnt.names}, learnt)
    try:
        outputs = adapter.outputs(model, few)
        ask(adapter, model, few)
    except UnsupportedModelError:
        raise
    except Exception as reason:
        raise SpecError(
            f"The model must answer the 'reference' rows. Got {type(reason).__name__}: {reason}. "
            "Pass the very frame that the model was fitted on, without the target."
        ) from reason
    return outputs


def _named_after(target: Any, outputs: tuple[Output, ...]) -> tuple[Output, ...]:
    """Give several outputs the names of the target's columns, where it has names."""
    names = [str(name) for name in getattr(target, "columns", ())]
    if len(outputs) == 1 or len(names) != len(outputs):
        return outputs
    return tuple(replace(output, name=name) for output, name in zip(outputs, names, strict=True))


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
    row = {name: reference[name].head(1) for name in learnt.names} | {column.name: [value]}
    try:
        with quiet():
            return all(_is_finite(answered) for answered in ask(adapter, model, tables.as_frame(row, learnt)))
    except Exception:  # noqa: BLE001 -- whatever a model raises at such a value, it does not take it
        return False


def _is_finite(answered: Answers) -> bool:
    import numpy as np

    return all(np.isfinite(part).all() for part in (answered.scores, answered.values) if part is not None)


def _reads_back_equal(live: _Live, folder: Path) -> None:
    tried = live.rows.head(SAMPLE_ROWS)
    with quiet():
        there = table(ask(live.adapter, live.model, tried), live.signature, tried.index)
        back = table(ask(live.adapter, live.adapter.load(folder / "model"), tried), live.signature, tried.index)
    differ = [name for name in there.columns if not there[name].equals(back[name])]
    if differ:
        raise UnsupportedModelError(
            f"A packed model must answer as the live one. {type(live.model).__name__} gives another {', '.join(differ)} "
            "after it was written and read back."
        )


def _sampled(rows: pd.DataFrame) -> pd.DataFrame:
    if len(rows) <= SAMPLE_ROWS:
        return rows.reset_index(drop=True)
    return rows.sample(SAMPLE_ROWS, random_state=0).sort_index().reset_index(drop=True)


def _fit_explainer(name: str, context: Context, folder: Path) -> tuple[str, list[str]]:
    """Fit, save, and tell the method, and why it is no exact one."""
    (folder / "explainer").mkdir()
    reasons: list[str] = []
    with quiet():
        chosen = explainers.choose(name, context, reasons=reasons)
        chosen.save(folder / "explainer")
    last = context.adapter.steps(context.model)[1]
    near = {"linear": hasattr(last, "coef_"), "trees": type(last).__module__.startswith(("xgboost", "lightgbm"))}
    told = [reason for reason in reasons if near[reason.partition(":")[0]]]  # of the others nobody expected it
    return chosen.method, [
        f"No exact explanation by {reason}" for reason in told
    ] if chosen.method == "sampling" else []


def _telling(sample: pd.DataFrame) -> pd.DataFrame:
    """Choose rows that between them show missing values and the ends of ranges, then ordinary ones."""
    order = sample.isna().sum(axis=1).sort_values(ascending=False, kind="stable").index
    with_gaps = [i for i in order if sample.loc[i].isna().any()][: N_EXAMPLES // 2]
    rest = [i for i in sample.index if i not in with_gaps][: N_EXAMPLES - len(with_gaps)]
    return sample.loc[[*rest, *with_gaps]]


def _write_examples(folder: Path, model: Any, adapter: Adapter, signature: Signature, rows: pd.DataFrame) -> None:
    answers = tables.as_records(table(ask(adapter, model, rows), signature, rows.index))
    if any(isinstance(value, float) and not math.isfinite(value) for answer in answers for value in answer.values()):
        raise SpecError(
            "The model must answer its examples with finite numbers. It does not. Look at model.predict(…) of them."
        )
    pairs = [{"row": row, "answer": answer} for row, answer in zip(tables.as_rows(rows), answers, strict=True)]
    write_json(folder / "examples.json", pairs)


def _write_reference(folder: Path, rows: pd.DataFrame, sample: pd.DataFrame) -> None:
    (folder / "reference").mkdir()
    write_json(folder / "reference" / "profile.json", {name: _profile(rows[name]) for name in rows.columns})
    listed = tables.as_rows(sample)
    write_json(folder / "reference" / "sample.json", {name: [row[name] for row in listed] for name in rows.columns})


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
    import numpy as np

    if holdout is None:
        return {}, ["No held-out rows were given, so there are no metrics: pack(…, holdout=(X_test, y_test))."]
    if type(holdout) not in (tuple, list) or len(holdout) != 2:
        raise SpecError("The 'holdout' must be rows and their labels: holdout=(X_test, y_test). Got something else.")
    given, y = _as_frame("holdout", holdout[0]), np.asarray(holdout[1])
    if not len(given):
        raise SpecError("The 'holdout' must have rows. Got none.")
    _fits_outputs("holdout", holdout[1], given, signature)
    taken = _only_seen_texts(given, signature.inputs)
    if not taken.any():
        raise SpecError("The 'holdout' must have rows whose texts the model has seen. Got none.")
    X, y = _conformed("holdout", given[taken], signature.inputs), y[taken]
    _labels_are_known("holdout", y, signature)
    left = f"{int((~taken).sum()):,} of {len(given):,} held-out rows hold a text that the model refuses; the metrics are of the rest."
    if signature.task in ("clustering", "ranking", "other"):
        return {}, [f"There are no metrics for {cards.NOUNS[signature.task]}: measure it in the notebook."]
    metrics = measure(y, ask(adapter, model, X), signature.outputs)
    return {"n_rows": len(X), **metrics}, [*([] if taken.all() else [left]), *_leaks(X, rows)]


def _only_seen_texts(given: pd.DataFrame, contract: Schema) -> np.ndarray[Any, Any]:
    """Tell which rows hold no text that the contract refuses."""
    import numpy as np

    taken = np.ones(len(given), dtype=bool)
    for column in contract.columns:
        if column.unseen == "refuse" and column.categories is not None and column.name in given.columns:
            values = given[column.name]
            taken &= (values.isna() | values.astype(object).isin(column.categories)).to_numpy(dtype=bool)
    return taken


def _labels_are_known(parameter: str, y: Any, signature: Signature) -> None:
    import numpy as np

    if y is None or signature.task not in ("classification", "outliers"):
        return
    columns = np.asarray(y).reshape(len(y), -1).T
    for output, values in zip(signature.outputs, columns, strict=True):
        unknown = sorted({str(label) for label in values.tolist() if label not in output.classes})
        if unknown:
            known = list(output.classes)
            raise SpecError(f"The labels of {parameter!r} must be of {known}. Got {unknown[:5]} as well.")


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


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a library's warnings about probes out of the notebook; for one thread only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
