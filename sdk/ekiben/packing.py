"""Make a model servable: learn its contract, fit its explainer, keep examples, prove that it reads back equal."""

from __future__ import annotations

import ast
import hashlib
import math
import platform
import re
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ekiben import (
    cards,
    dtypes,
    explainers,
    imports,
    learning,
    locking,
    models,
    proving,
    schema,
    slicing,
    tables,
    trusting,
)
from ekiben.errors import EkibenError, ExplainError, SchemaError, SpecError, UnsupportedModelError
from ekiben.explainers import Context, Explainer
from ekiben.models import Adapter, Answers
from ekiben.models.measuring import measure
from ekiben.packages import FORMAT, Package, ask, build, carried, inspect, seal, table, write_json
from ekiben.progress import Progress, shown
from ekiben.provenance import seeds_of
from ekiben.refs import ModelRef
from ekiben.schema import Column, Output, Schema, Signature

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SAMPLE_ROWS = 1000  # of the reference, kept in the package
N_EXAMPLES = 6
UNSEEN = "ekiben: an unseen text"


def pack(  # noqa: PLR0913 -- the widest verb; every one has a default that most people keep
    model: Any,
    *,
    name: str,
    reference: pd.DataFrame,
    target: Any = None,
    holdout: tuple[pd.DataFrame, Any] | None = None,
    owner: str | None = None,
    explainer: str = "auto",
    examples: pd.DataFrame | None = None,
    training: tuple[pd.DataFrame, Any] | None = None,
    trust: Sequence[str] = (),
    allow_pickle: Sequence[str] = (),
    contract: Schema | None = None,
    progress: Progress | None = None,
) -> Package:
    """Make a model servable: learn its contract, fit its explainer, keep examples, prove that it reads back equal.

    Parameters
    ----------
    model
        A fitted scikit-learn estimator or pipeline, or one of XGBoost's scikit-learn classes; a function from a frame to
        its answers, or anything with `predict(frame)`; or where a model of MLflow is: `models:/other/3`,
        `models:/other@champion`, `runs:/…/model`, a folder.
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
    training
        The rows and labels that the model was fitted on, where the reference is a sample of them: their digest is kept,
        the rows are not.
    trust
        Libraries whose classes the model may hold beyond scikit-learn's and XGBoost's, such as `category_encoders`.
        Whoever loads the package must trust it.
    allow_pickle
        Classes, such as `prophet.forecaster.Prophet`, that may be kept as a pickle when nothing else can hold them.
        Whoever loads the package must trust it.
    contract
        What `ek.contract` gave, edited: its limits, policies and aliases are kept, or refused with the reason.
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
        trust, allow_pickle = _listed("trust", trust), _listed("allow_pickle", allow_pickle)
        model, source, told = _opened(model, reference, trust, allow_pickle)
        live = _live(model, _as_frame("reference", reference), name, target, trust, allow_pickle, contract)
        _fits_outputs("target", target, live.rows, live.signature)
        _labels_are_known("target", target, live.signature)
        digest = data_digest(live.rows, target)
        facts = {"name": name, "owner": owner, "balance": _balance(target, live.signature), "data_digest": digest}
        folder = Path(tempfile.mkdtemp(prefix="ekiben-"))
        try:
            method, notes = _write_parts(folder, live, explainer, examples, say)
            say("measuring and sealing")
            described = _described(live, holdout, method)
            manifest = {**described, **facts, **_whence(live, described["requirements"], training, source)}
            findings = [*manifest["findings"], *live.notes, *_doubts(live.code, method), *notes, *told]
            found = carried(folder, live.adapter)
            seal(folder, _with_what_it_carries({**manifest, "findings": findings}, found, live))
            made = _own(folder, say)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    weakref.finalize(made, shutil.rmtree, folder, ignore_errors=True)
    return made


def _opened(
    model: Any, reference: Any, trust: Sequence[str], allow_pickle: Sequence[str]
) -> tuple[Any, str | None, tuple[str, ...]]:
    """Open a model that is given by reference, and say where it comes from and what the user should know."""
    if not isinstance(model, str):
        return model, None, ()
    from ekiben.models import pyfunc

    columns = list(_as_frame("reference", reference).columns)
    found = pyfunc.opened(model, columns=columns, trust=trust, allow_pickle=allow_pickle)
    return found.model, found.source, found.notes


def _listed(parameter: str, names: Any) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise SpecError(f"The {parameter!r} must be a list of names, such as {parameter}=['a_library']. Got {names!r}.")
    return tuple(names)


def _with_what_it_carries(manifest: dict[str, Any], found: Mapping[str, list[str]], live: _Live) -> dict[str, Any]:
    """Add what makes the package code: the words `carries`, and what was allowed by the user's word."""
    allowed = {}
    notes = []
    foreign = [name for name in found.get("types", []) if not name.startswith(models.CODE)]
    if foreign:
        allowed["types"] = foreign
        notes.append(f"Holds types of other libraries: {', '.join(foreign)}. It is loaded only where trusted.")
    if "pickle" in found:
        name = "mlflow.pyfunc" if live.adapter.library == "pyfunc" else models.class_of(live.model)
        allowed["pickle"] = [name]
        notes.append(f"Holds a pickle of {name}: it is loaded only where trusted.")
    return {
        **manifest,
        "findings": [*manifest["findings"], *notes],
        "carries": sorted(found),
        "code": found.get("code", []),
        "allowed": allowed,
    }


def _own(folder: Path, say: Progress) -> Package:
    """Load what was packed just now; when it is code, this user trusts it from now on, and a clean interpreter must answer."""
    manifest, found = inspect(folder)
    if not found:
        return build(folder, manifest)
    trusting.trust(manifest["digest"], name=manifest["name"], why="packed here")
    say("answering in a clean interpreter")
    evidence = proving.replay(folder)
    if not evidence.ok:
        raise UnsupportedModelError(
            f"A packed model must answer without its notebook. {evidence} "
            "What it reads must be a value of the notebook, or be learnt in `fit`."
        )
    return build(folder, manifest)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Live:
    """The live model while it is packed: with its contract, the rows that it was fitted on, and a sample of them.

    `bound` is what is written: the model itself, or its copy that is bound to the `code` sliced off the notebook.
    """

    model: Any
    bound: Any
    code: slicing.Sliced | None
    trust: tuple[str, ...]
    adapter: Adapter
    signature: Signature
    rows: pd.DataFrame
    sample: pd.DataFrame

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of the code."""
        return self.code.notes if self.code else ()


def _live(
    model: Any,
    reference: pd.DataFrame,
    name: str,
    target: Any,
    trust: tuple[str, ...],
    allow_pickle: tuple[str, ...],
    contract: Schema | None,
) -> _Live:
    code = _sliced(model, allow_pickle)
    bound = code.model if code else model
    trust = (*trust, code.module) if code else trust
    adapter = models.chosen(bound, trust=trust, allow_pickle=allow_pickle)
    signature = _sign(model, adapter, reference, name, contract)
    signature = replace(signature, outputs=_named_after(target, signature.outputs))
    try:
        rows = tables.conform(reference, signature.inputs)
    except SchemaError as misfit:
        raise SpecError(f"The 'reference' must fit what the 'contract' declares.\n{misfit}") from misfit
    return _Live(
        model=model,
        bound=bound,
        code=code,
        trust=trust,
        adapter=adapter,
        signature=signature,
        rows=rows,
        sample=_sampled(rows),
    )


def _sliced(model: Any, allow_pickle: tuple[str, ...]) -> slicing.Sliced | None:
    """Slice off the notebook's code; what cannot be sliced may still be pickled whole, by the user's word."""
    if models.class_of(model) not in allow_pickle:
        models.find(model).task(model)  # what is refused anyway is refused in its own words
    try:
        return slicing.slice_off(models.bare(model))
    except UnsupportedModelError:
        if models.class_of(model) in allow_pickle:
            return None
        raise


CLOCK = ("now", "today", "utcnow", "time")


def _doubts(code: slicing.Sliced | None, method: str) -> list[str]:
    """Tell what nobody can prove of code: that columns stay apart where no reference row was, and that time stands still."""
    if code is None:
        return []
    trees = [ast.parse(content) for name, content in code.files.items() if name.endswith(".py")]
    calls = [node.func for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    asked = {getattr(call, "attr", getattr(call, "id", "")) for call in calls}
    notes = ["Its code reads the clock: the same row may get another answer later."] if asked & {*CLOCK} else []
    if method in ("linear", "trees"):
        notes.append(
            "Explained exactly as far as the reference shows: code that joins columns beyond its ranges would be explained wrongly."
        )
    return notes


def _write_code(folder: Path, code: slicing.Sliced | None) -> None:
    for name, content in code.files.items() if code else ():
        path = folder / "code" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _write_parts(folder: Path, live: _Live, explainer: str, examples: Any, say: Progress) -> tuple[str, list[str]]:
    """Write everything but the manifest, see that the model reads back equal, and name the method that explains, with notes."""
    say("writing the model")
    (folder / "model").mkdir()
    _write_code(folder, live.code)
    live.adapter.save(live.bound, folder / "model", trust=live.trust)
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
    arrow = ("pyarrow",) if dtypes.needs_arrow(live.signature.inputs) else ()
    named = (*live.adapter.requirements(live.bound), *explainers.requirements(method), *arrow)
    found = (*imports.modules_of(live.bound), *(live.code.imports if live.code else ()))
    needed = locking.pins(named, [module for module in found if module.partition(".")[0] != live.adapter.library])
    return {
        "format": FORMAT,
        "kind": live.adapter.library,
        "class": _class_name(live.model, live.adapter),
        "signature": schema.to_json(live.signature),
        "metrics": metrics,
        "findings": [*findings, *_findings(live.signature, live.rows), *locking.doubts(needed)],
        "n_reference": len(live.rows),
        "explainer": method,
        "requirements": needed,
        "python": platform.python_version(),
    }


def _whence(
    live: _Live, needed: list[str], training: tuple[pd.DataFrame, Any] | None, source: str | None
) -> dict[str, Any]:
    """Tell what of the manifest is not the package itself: where it was packed, and from what."""
    provenance = {"seeds": seeds_of(live.model), **_trained_on(training, live.signature)}
    provenance |= {"source": source} if source else {}
    return {"environment": locking.environment(needed), "provenance": provenance}


def _trained_on(training: tuple[pd.DataFrame, Any] | None, signature: Signature) -> dict[str, Any]:
    if training is None:
        return {}
    if type(training) not in (tuple, list) or len(training) != 2:
        raise SpecError(
            "The 'training' must be rows and their labels: training=(X_train, y_train). Got something else."
        )
    rows = _as_frame("training", training[0])
    _fits_outputs("training", training[1], rows, signature)
    return {"training_digest": data_digest(rows, training[1]), "n_training": len(rows)}


def _as_frame(parameter: str, data: Any) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, np.ndarray) and data.ndim == 2:
        return pd.DataFrame(data, columns=[f"x{i}" for i in range(data.shape[1])])
    if isinstance(data, pd.Series):
        return data.to_frame("text" if data.name is None else str(data.name))
    if isinstance(data, list | tuple) and data and all(isinstance(each, str) for each in data):
        return pd.DataFrame({"text": data})
    raise SpecError(
        f"The {parameter!r} must be a pandas DataFrame, a 2-D numpy array, or texts. Got {type(data).__name__}."
    )


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


def _sign(model: Any, adapter: Adapter, reference: pd.DataFrame, name: str, contract: Schema | None) -> Signature:
    ModelRef(name=name, version=1)  # refuses a name that no registry takes
    task = adapter.task(model)
    _has_the_fitted_columns(_fitted_columns(adapter, model, reference), reference)
    learnt = learning.hold(tables.learn(reference), contract)
    outputs = _outputs(model, adapter, reference, learnt)
    asked = partial(_takes, model, adapter, outputs, learnt, reference)
    seen = {name: next(iter(reference[name].dropna()), None) for name in learnt.names}
    for column in learnt.columns:
        _can_keep(column, asked, seen[column.name])
    columns = tuple(_with_policy(asked, column, seen[column.name]) for column in _with_gaps(asked, learnt))
    return Signature(inputs=replace(learnt, columns=columns), task=task, outputs=outputs)


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


Asked: TypeAlias = Callable[[Mapping[str, list[Any]]], bool]


def _with_gaps(takes: Asked, learnt: Schema) -> tuple[Column, ...]:
    """Ask the model what it does without a value: of all columns at once, and one by one where that fails."""
    unsure = [column.name for column in learnt.columns if not column.nullable and "nullable" not in column.declared]
    every = {name: [None if name == other else ... for other in unsure] for name in unsure}
    free = set(unsure) if not unsure or takes(every) else {name for name in unsure if takes({name: [None]})}
    return tuple(replace(column, nullable=column.nullable or column.name in free) for column in learnt.columns)


def _with_policy(takes: Asked, column: Column, seen: Any) -> Column:
    """Ask the model what it does with a text that it has never seen."""
    if column.kind != "text" or "unseen" in column.declared:
        return column
    strict = column.dtype == "category" or not _takes_unseen(takes, column, seen)
    return replace(column, unseen="refuse" if strict else "accept")


def unseen_texts(column: Column, seen: Any) -> list[str]:
    """Give texts that were not seen: one of no form at all, and where one that was seen has digits, one of its form.

    >>> zips = Column(name="zip", kind="text", dtype="object", nullable=False, categories=("z95814", "z95825"))
    >>> unseen_texts(zips, "z95814")
    ['ekiben: an unseen text', 'z06925']
    """
    alike = (re.sub(r"\d", partial(_turned, by=by), seen) for by in range(1, 10)) if isinstance(seen, str) else ()
    known = {*(column.categories or ()), seen}
    return [UNSEEN, *[text for text in alike if text not in known][:1]]


def _turned(digit: re.Match[str], by: int) -> str:
    return str((int(digit[0]) + by) % 10)


def _takes_unseen(takes: Asked, column: Column, seen: Any) -> bool:
    return any(takes({column.name: [text]}) for text in unseen_texts(column, seen))


def _can_keep(column: Column, takes: Asked, seen: Any) -> None:
    """Refuse a declared policy that the model has no answer for."""
    if "nullable" in column.declared and column.nullable and not takes({column.name: [None]}):
        raise SpecError(
            f"The model must answer a missing value in {column.name!r}, which the 'contract' allows. It fails on one. "
            f"Fit it on rows that lack one, or declare: contract.edit({column.name!r}, nullable=False)"
        )
    if "unseen" in column.declared and column.unseen == "accept" and not _takes_unseen(takes, column, seen):
        raise SpecError(
            f"The model must answer an unseen text in {column.name!r}, which the 'contract' accepts. It fails on one. "
            f'Use an encoder that ignores unknown ones, or declare: contract.edit({column.name!r}, unseen="refuse")'
        )


def _takes(
    model: Any,
    adapter: Adapter,
    outputs: tuple[Output, ...],
    learnt: Schema,
    reference: pd.DataFrame,
    probes: Mapping[str, list[Any]],
) -> bool:
    """Tell whether the model has finite answers for its first row with these values; an ellipsis is the row's own."""
    n_rows = len(next(iter(probes.values())))
    first = {name: reference[name].iloc[0] for name in learnt.names}
    rows: dict[str, Any] = {}
    for name in learnt.names:
        own = reference[name].iloc[[0] * n_rows]
        rows[name] = [first[name] if each is ... else each for each in probes[name]] if name in probes else own
    parts = tuple({part for output in outputs for part in models.explained(output)})
    try:
        with quiet():
            answers = adapter.answers(model, tables.as_frame(rows, learnt), parts)
    except Exception:  # noqa: BLE001 -- whatever a model raises at such a value, it does not take it
        return False
    return all(_is_finite(answered) for answered in answers)


def _is_finite(answered: Answers) -> bool:
    import numpy as np

    labels = np.asarray(answered.labels) if answered.labels is not None else None
    numbers = (answered.scores, answered.values, labels if labels is not None and labels.dtype.kind == "f" else None)
    return all(np.isfinite(part).all() for part in numbers if part is not None)


def _read_back(live: _Live, folder: Path, trust: tuple[str, ...]) -> Any:
    try:
        return live.adapter.load(folder, trust=trust)
    except EkibenError:
        raise
    except Exception as reason:
        raise UnsupportedModelError(
            f"A packed model must read back. {type(live.model).__name__} does not: {type(reason).__name__}: {reason}. "
            "Does it hold a member of an Enum, or an object that is made with arguments? Hold its plain value instead."
        ) from reason


def _reads_back_equal(live: _Live, folder: Path) -> None:
    tried = live.rows.head(SAMPLE_ROWS)
    with quiet():
        foreign = models.foreign(live.adapter, folder / "model")  # as `save` allowed it
        again = _read_back(live, folder / "model", (*live.trust, *foreign))
        there = table(ask(live.adapter, live.model, tried), live.signature, tried.index)
        back = table(ask(live.adapter, again, tried), live.signature, tried.index)
    _refuse_gaps(there)
    differ = [name for name in there.columns if not there[name].equals(back[name])]
    if differ:
        _refuse_moods(live, tried, there)
        raise UnsupportedModelError(
            f"A packed model must answer as the live one. {type(live.model).__name__} gives another {', '.join(differ)} "
            "after it was written and read back. Was it fitted on a slice of a larger table? Fit it on a copy: X.copy()."
        )


def _refuse_gaps(there: pd.DataFrame) -> None:
    """See that no label is missing: a function may give numbers for some rows and texts for others."""
    absent = [name for name in there.columns if there[name].dtype == object and there[name].isna().any()]
    if absent:
        raise SpecError(
            f"The model must answer every row with values of one kind. It does not in {', '.join(map(repr, absent))}. "
            "Let it give numbers, or texts, for all rows."
        )


def _refuse_moods(live: _Live, tried: pd.DataFrame, there: pd.DataFrame) -> None:
    """Ask the live model again: one that answers the same rows otherwise never reads back equal."""
    with quiet():
        again = table(ask(live.adapter, live.model, tried), live.signature, tried.index)
    if not again.equals(there):
        raise UnsupportedModelError(
            f"The model must answer the same rows the same. {_class_name(live.model, live.adapter)} does not: it draws at "
            "random, or remembers what it was asked. Let it depend on its rows alone."
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
        unexplained = _cannot_explain(chosen, context)
    last = context.adapter.steps(context.model)[1]
    near = {"linear": hasattr(last, "coef_"), "trees": type(last).__module__.startswith(("xgboost", "lightgbm"))}
    told = [reason for reason in reasons if near[reason.partition(":")[0]]]  # of the others nobody expected it
    notes = [f"No exact explanation by {reason}" for reason in told] if chosen.method == "sampling" else []
    return chosen.method, [*notes, *unexplained]


def _cannot_explain(chosen: Explainer, context: Context) -> list[str]:
    """Let the method explain one row, so that what it cannot do is known here."""
    try:
        chosen.explain(context.reference_rows(chosen.method).head(1))
    except ExplainError as reason:
        return [f"Rows may go without an explanation. {reason}"]
    return []


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
    if values.dtype == object and present.map(lambda value: hasattr(value, "__len__") and type(value) is not str).any():
        return {"missing": missing, "lists": len(present)}
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

    known = set(pd.util.hash_pandas_object(tables.comparable(rows), index=False))
    twice = int(pd.util.hash_pandas_object(tables.comparable(X), index=False).isin(known).sum())
    return (
        [f"{twice:,} of {len(X):,} held-out rows are in the reference too: the metrics may flatter."] if twice else []
    )


def _findings(signature: Signature, rows: pd.DataFrame) -> list[str]:
    found = []
    strict = [column.name for column in signature.inputs.columns if column.unseen == "refuse"]
    if strict:
        found.append(f"A text that the model has not seen is refused in {', '.join(strict)}.")
    told = tables.comparable(rows)
    constant = [str(name) for name in rows.columns if told[name].nunique(dropna=False) == 1]
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
    outer, inner = (getattr(part, "__name__", type(part).__name__) for part in (model, last))  # functions have names
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
    whole.update(pd.util.hash_pandas_object(tables.comparable(frame), index=False).to_numpy().tobytes())
    if target is not None:
        values = pd.DataFrame(target) if getattr(target, "ndim", 1) > 1 else pd.Series(target)
        whole.update(pd.util.hash_pandas_object(values, index=False).to_numpy().tobytes())
    return f"sha256:{whole.hexdigest()}"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a library's warnings about probes out of the notebook; for one thread only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
