"""Make a model servable: learn its contract, fit its explainer, keep examples, prove that it reads back equal."""

from __future__ import annotations

import math
import platform
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben import (
    compiling,
    describing,
    distributions,
    dtypes,
    explainers,
    imports,
    locking,
    models,
    probing,
    proving,
    schema,
    slicing,
    tables,
    trusting,
)
from ekiben.compiling import Outcome
from ekiben.errors import EkibenError, ExplainError, SchemaError, SpecError, UnsupportedModelError
from ekiben.explainers import Context, Explainer
from ekiben.explainers.whole import reporting
from ekiben.models import Adapter
from ekiben.packages import FORMAT, OVERVIEW, Package, ask, build, carried, inspect, seal, table, write_json
from ekiben.progress import Progress, shown
from ekiben.provenance import seeds_of
from ekiben.schema import Output, Schema, Signature

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_ROWS = 1000  # of the reference, kept in the package
N_EXAMPLES = 6
OF_TREES = ("Forest", "Tree", "GradientBoosting")  # in the name of a class of scikit-learn's


def pack(  # noqa: PLR0913 -- the widest verb; every one has a default that most people keep
    model: Any,
    *,
    name: str,
    reference: pd.DataFrame,
    target: Any = None,
    holdout: tuple[pd.DataFrame, Any] | None = None,
    owner: str | None = None,
    explainer: str = "auto",
    settings: Mapping[str, Any] | None = None,
    examples: pd.DataFrame | None = None,
    training: tuple[pd.DataFrame, Any] | None = None,
    trust: Sequence[str] = (),
    allow_pickle: Sequence[str] = (),
    contract: Schema | None = None,
    overview: bool = True,
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
    settings
        Settings of the named method, such as `{"wanted": "good"}` of `counterfactual`.
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
    overview
        Whether the package keeps a report on the model as a whole, of aggregates alone: `package.overview`.
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
        If the data, a name or a setting cannot be used.
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
        live = _live(model, tables.given("reference", reference), name, target, trust, allow_pickle, contract)
        describing.fits_outputs("target", target, live.rows, live.signature)
        describing.labels_are_known("target", target, live.signature)
        digest = describing.data_digest(live.rows, target)
        facts = {
            "name": name,
            "owner": owner,
            "balance": describing.balance(target, live.signature),
            "data_digest": digest,
        }
        folder = Path(tempfile.mkdtemp(prefix="ekiben-"))
        try:
            _write_model(folder, live, say)
            say("compiling a plan, and trying it against the model")
            outcome = _compiled(folder, live)
            method, notes = _write_parts(folder, live, (explainer, settings), outcome, examples, say)
            strongest, unasked = _write_overview(folder, live, name, outcome, say) if overview else ([], [])
            say("measuring and sealing")
            described = _described(live, holdout, method, outcome)
            manifest = {**described, **facts, **_whence(live, described["requirements"], training, source)}
            manifest |= {"costs": asdict(outcome.costs)} if outcome.costs else {}
            manifest |= {"strongest": strongest} if strongest else {}
            findings = [
                *manifest["findings"],
                *live.notes,
                *describing.doubts(live.code, method),
                *notes,
                *unasked,
                *told,
            ]
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

    columns = list(tables.given("reference", reference).columns)
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
    foreign = [name for name in found.get("types", []) if not name.startswith(distributions.CODE)]
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
        return _built(folder, manifest)
    trusting.trust(manifest["digest"], name=manifest["name"], why="packed here")
    say("answering in a clean interpreter")
    evidence = proving.replay(folder)
    if not evidence.ok:
        raise UnsupportedModelError(
            f"A packed model must answer without its notebook. {evidence} "
            "What it reads must be a value of the notebook, or be learnt in `fit`."
        )
    return _built(folder, manifest)


def _built(folder: Path, manifest: Mapping[str, Any]) -> Package:
    package = build(folder, manifest)
    _ = package.model  # read back now: the notebook may change what it was made of
    return package


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
    signature = probing.sign(model, adapter, reference, name, contract)
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


def _write_code(folder: Path, code: slicing.Sliced | None) -> None:
    for name, content in code.files.items() if code else ():
        path = folder / "code" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _write_model(folder: Path, live: _Live, say: Progress) -> None:
    """Write the model, and see that it reads back equal."""
    say("writing the model")
    (folder / "model").mkdir()
    _write_code(folder, live.code)
    live.adapter.save(live.bound, folder / "model", trust=live.trust)
    _reads_back_equal(live, folder)


def _write_parts(
    folder: Path, live: _Live, explainer: tuple[str, Any], outcome: Outcome, examples: Any, say: Progress
) -> tuple[str, list[str]]:
    """Write everything but the model, its plan and the manifest, and name the method that explains, with notes."""
    say("fitting the explainer")
    method, notes = _fit_explainer(*explainer, _context(live, outcome), folder)
    say("describing the reference data")
    _write_reference(folder, live.rows, live.sample)
    given = _telling(live.sample) if examples is None else tables.conformed("examples", examples, live.signature.inputs)
    _write_examples(folder, live.model, live.adapter, live.signature, given)
    return method, notes


def _context(live: _Live, outcome: Outcome) -> Context:
    return Context(
        model=live.model,
        adapter=live.adapter,
        schema=live.signature.inputs,
        reference=live.sample,
        outputs=live.signature.outputs,
        plan=outcome.plan,
    )


def _write_overview(
    folder: Path, live: _Live, name: str, outcome: Outcome, say: Progress
) -> tuple[list[str], list[str]]:
    """Write what explains the model as a whole; name the strongest columns, or tell why there is no such report."""
    say("looking at the model as a whole")
    try:
        with probing.quiet():
            found = reporting.report(_context(live, outcome), name)
    except ExplainError as reason:
        return [], [f"There is no overview. {reason}"]
    write_json(folder / OVERVIEW, found.to_json())
    return list(found.importance.strongest()), []


def _compiled(folder: Path, live: _Live) -> Outcome:
    """Compile the model as it is written, or say why it serves itself."""
    with probing.quiet():
        return compiling.compiled(
            live.bound,
            live.signature,
            ask=partial(ask, live.adapter, live.bound),
            reference=live.rows,
            folder=folder / "plan",
            unseen=probing.unseen_texts,
        )


def _described(live: _Live, holdout: tuple[pd.DataFrame, Any] | None, method: str, outcome: Outcome) -> dict[str, Any]:
    metrics, findings = describing.measured(live.model, live.adapter, live.signature, holdout, live.rows)
    arrow = ("pyarrow",) if dtypes.needs_arrow(live.signature.inputs) else ()
    named = (*live.adapter.requirements(live.bound), *explainers.requirements(method), *outcome.requirements, *arrow)
    found = (*imports.modules_of(live.bound), *(live.code.imports if live.code else ()))
    needed = locking.pins(named, [module for module in found if module.partition(".")[0] != live.adapter.library])
    return {
        "format": FORMAT,
        "kind": live.adapter.library,
        "class": _class_name(live.model, live.adapter),
        "signature": schema.to_json(live.signature),
        "metrics": metrics,
        "findings": [*findings, *describing.findings(live.signature, live.rows), *locking.doubts(needed)],
        "n_reference": len(live.rows),
        "explainer": method,
        "plan": outcome.to_json(),
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
    rows = tables.given("training", training[0])
    describing.fits_outputs("training", training[1], rows, signature)
    return {"training_digest": describing.data_digest(rows, training[1]), "n_training": len(rows)}


def _named_after(target: Any, outputs: tuple[Output, ...]) -> tuple[Output, ...]:
    """Give several outputs the names of the target's columns, where it has names."""
    names = [str(name) for name in getattr(target, "columns", ())]
    if len(outputs) == 1 or len(names) != len(outputs):
        return outputs
    return tuple(replace(output, name=name) for output, name in zip(outputs, names, strict=True))


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
    with probing.quiet():
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
    with probing.quiet():
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


def _fit_explainer(name: str, settings: Any, context: Context, folder: Path) -> tuple[str, list[str]]:
    """Fit, save, and tell the method, and why it is no exact one."""
    (folder / "explainer").mkdir()
    reasons: list[str] = []
    with probing.quiet():
        chosen = explainers.choose(name, context, settings=settings, reasons=reasons)
        chosen.save(folder / "explainer")
        unexplained = _cannot_explain(chosen, context)
    last = context.adapter.steps(context.model)[1]
    grown = any(word in type(last).__name__ for word in OF_TREES)
    near = {
        "linear": hasattr(last, "coef_"),
        "additive": False,
        "trees": grown or type(last).__module__.startswith(("xgboost", "lightgbm")),
    }
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
    write_json(folder / "reference" / "profile.json", {name: describing.profile(rows[name]) for name in rows.columns})
    listed = tables.as_rows(sample)
    write_json(folder / "reference" / "sample.json", {name: [row[name] for row in listed] for name in rows.columns})


def _class_name(model: Any, adapter: Adapter) -> str:
    last = adapter.steps(model)[1]
    outer, inner = (getattr(part, "__name__", type(part).__name__) for part in (model, last))  # functions have names
    return outer if outer == inner else f"{outer} → {inner}"
