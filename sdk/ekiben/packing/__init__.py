"""Make a model servable: learn its contract, fit its explainer, keep examples, prove that it reads back equal."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben import describing, proving, tables, trusting
from ekiben.errors import SpecError, UnsupportedModelError
from ekiben.packages import Package, build, carried, inspect
from ekiben.packing import gaps
from ekiben.packing.live import live_of
from ekiben.packing.manifest import describe, whence, with_what_it_carries
from ekiben.packing.writing import compile_plan, write_model, write_overview, write_parts
from ekiben.progress import Progress, shown
from ekiben.schema import Schema
from ekiben.sealing import seal

if TYPE_CHECKING:
    import pandas as pd


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
    progress: Progress | bool | None = None,
) -> Package:
    """Make a model servable: learn its contract, fit its explainer, keep examples, prove that it reads back equal.

    Parameters
    ----------
    model
        A fitted scikit-learn estimator or pipeline, or one of XGBoost's scikit-learn classes; a function from a frame to
        its answers, or anything with `predict(frame)`; or where a model of MLflow is: `models:/other/3`,
        `models:/other@champion`, `models:/m-…`, `runs:/…/model`, a folder.
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
        Rows to replay wherever the model goes, kept as they are; by default a few of the reference, whose private columns
        hold values that nobody has.
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
        Called with a few words before each step; False keeps them from being shown.

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
        for parameter, value in (("owner", owner), ("explainer", explainer)):
            if value is not None and not isinstance(value, str):
                raise SpecError(f"The {parameter!r} must be a text. Got {type(value).__name__}.")
        model, source, told = _opened(model, reference, trust, allow_pickle)
        live = live_of(model, tables.given("reference", reference), name, target, trust, allow_pickle, contract)
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
            write_model(folder, live, say)
            say("compiling a plan, and trying it against the model")
            outcome = compile_plan(folder, live)
            method, notes = write_parts(folder, live, (explainer, settings), outcome, examples, say)
            strongest, unasked = write_overview(folder, live, name, outcome, say) if overview else ([], [])
            say("measuring and sealing")
            described = describe(live, holdout, method, outcome)
            manifest = {**described, **facts, **whence(live, described["requirements"], training, source)}
            manifest |= {"costs": asdict(outcome.costs)} if outcome.costs else {}
            manifest |= {"strongest": strongest} if strongest else {}
            findings = [
                *manifest["findings"],
                *live.notes,
                *describing.doubts(live.code, method),
                *gaps.doubts(live.model, live.adapter, live.rows, live.signature),
                *notes,
                *unasked,
                *told,
            ]
            found = carried(folder, live.adapter)
            seal(folder, with_what_it_carries({**manifest, "findings": findings}, found, live))
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
