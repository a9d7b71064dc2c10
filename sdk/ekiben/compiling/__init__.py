"""A fitted model as a plan that answers one row in microseconds, proved equal to the model before it serves.

`translate` turns a fitted model into a document of nodes; `certify` tries it against the model; a plan that differs is
refused, and the model serves itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben.compiling.building import PLAN, write
from ekiben.compiling.certifying import TOLERANCE, Certificate, certify, measure
from ekiben.compiling.costs import UNMEASURED, Costs
from ekiben.compiling.framing import columns_of
from ekiben.compiling.nodes import Coded, Doc, Node, Row, Table, finite, finite_row
from ekiben.compiling.plans import NO_ANSWER, Choosing, Grown, Plan, Sums, load
from ekiben.compiling.translating import Head, NoPlan, Scope
from ekiben.errors import IntegrityError, MissingExtraError
from ekiben.schema import PARTS, Column, Schema, Signature

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.compiling.certifying import Ask

__all__ = [
    "NO_ANSWER",
    "PLAN",
    "TOLERANCE",
    "UNMEASURED",
    "Certificate",
    "Choosing",
    "Coded",
    "Costs",
    "Grown",
    "NoPlan",
    "Node",
    "Outcome",
    "Plan",
    "Row",
    "Sums",
    "Table",
    "certify",
    "columns_of",
    "compiled",
    "finite",
    "finite_row",
    "load",
    "measure",
    "translate",
    "write",
]


TOO_SLOW = 1.5  # times the model's own row: well apart, so that the same model is compiled or not each time


def translate(model: Any, signature: Signature, reference: pd.DataFrame | None = None) -> Doc:
    """Turn a fitted model into the document of a plan.

    Parameters
    ----------
    model, signature
        The fitted model, what it takes and what it answers.
    reference
        Rows that fit the contract: steps without a node try themselves at texts of theirs.

    Raises
    ------
    NoPlan
        If there is no node for one of its steps, or for the way it was set.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> from ekiben import tables
    >>> from ekiben.schema import Output
    >>> X = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 6.0]})
    >>> model = LinearRegression().fit(X, [20, 30, 40, 60])
    >>> flat = Signature(inputs=tables.learn(X), task="regression", outputs=(Output(parts=("value",)),))
    >>> plan = Plan(translate(model, flat), flat.inputs, flat.outputs)
    >>> round(plan.predictions([(5.0,)])[0]["value"], 6)
    50.0
    """
    from ekiben.compiling.heads import heads  # what packs needs them, and what serves does not
    from ekiben.compiling.native import gains

    seen = {} if reference is None else _texts(reference, signature.inputs)
    scope = Scope(schema=signature.inputs, model=model, outputs=signature.outputs, seen=seen, heads=heads)
    found = _heads(model, scope)
    answered = [{part for part in PARTS if getattr(head, part) is not None} for head in found]
    if len(found) != len(signature.outputs) or any(
        set(output.parts) - parts for output, parts in zip(signature.outputs, answered, strict=True)
    ):
        raise NoPlan(f"{type(model).__name__} answers otherwise than its plan would")
    outputs = [_told(head) for head in found]
    document: Doc = {"columns": list(signature.inputs.names), "shared": scope.shared, "outputs": outputs}
    if not scope.native:
        return document
    if not gains(document):
        raise NoPlan("every step would be asked itself")
    return {**document, "native": list(scope.native)}


def _texts(reference: pd.DataFrame, contract: Schema) -> dict[str, Any]:
    """Give the first text of each column that holds some."""
    held = {column.name: reference[column.name].dropna() for column in contract.columns if column.kind == "text"}
    return {name: texts.iloc[0] for name, texts in held.items() if len(texts)}


def _heads(model: Any, scope: Scope) -> list[Head]:
    """Translate a model; what its library has not where it is looked for, in another version, is no reason to fail."""
    try:
        return scope.heads(model, scope.frame(), scope)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as reason:
        raise NoPlan(f"{type(model).__name__} is not as it is known here ({type(reason).__name__})") from reason


def _told(head: Head) -> Doc:
    told: Doc = {"core": head.core.doc}
    for part in ("label", "scores", "value"):
        if getattr(head, part) is not None:
            told[part] = getattr(head, part)
    return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a model that was to be compiled: a plan with its certificate, or the reason why it serves itself."""

    reason: str = ""
    certificate: Certificate | None = None
    costs: Costs | None = None
    plan: Plan | None = None
    native: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Say it as a package's manifest does."""
        if self.certificate is None:
            return {"compiled": False, "reason": self.reason}
        own = {"native": list(self.native)} if self.native else {}
        return {"compiled": True, **own, "certificate": self.certificate.to_json()}


def compiled(
    model: Any,
    signature: Signature,
    *,
    ask: Ask,
    reference: pd.DataFrame,
    folder: Path,
    unseen: Callable[[Column, Any], Sequence[str]],
) -> Outcome:
    """Compile a model into a folder, try the plan that was written against the model, and keep it if it holds.

    Parameters
    ----------
    model, signature
        The fitted model, what it takes and what it answers.
    ask
        Asks the model itself about a frame of the contract.
    reference
        Rows of shape (n_rows, n_columns) that fit the contract.
    folder
        Where the plan is written; there is none afterwards when the plan was refused.
    unseen
        Gives texts that a column has not seen, for one that it has.
    """
    try:
        write(folder, translate(model, signature, reference))
        plan = load(folder, signature.inputs, signature.outputs, model=lambda: model)
        certificate = certify(plan, ask, signature.inputs, reference, unseen)
    except NoPlan as reason:
        return _refused(folder, str(reason))
    except IntegrityError as reason:
        return _refused(folder, f"its plan could not be read back: {reason}")
    except MissingExtraError:
        return _refused(folder, "onnxruntime is not installed here: pip install 'ekiben[compile]'")
    if not certificate.holds:
        return _refused(folder, f"its plan did not answer as it does: {certificate}")
    costs = measure(plan, ask, reference, signature.inputs)
    if costs.row_us > TOO_SLOW * costs.native_row_us:
        return _refused(folder, "its plan was no quicker")
    trees = any(path.suffix == ".onnx" for path in folder.iterdir())
    needed = ("onnxruntime",) if trees else ()
    plan.costs = costs
    return Outcome(certificate=certificate, costs=costs, plan=plan, native=plan.native, requirements=needed)


def _refused(folder: Path, reason: str) -> Outcome:
    shutil.rmtree(folder, ignore_errors=True)
    return Outcome(reason=reason)
