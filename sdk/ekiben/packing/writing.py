"""Write the folder of a package: the model, its plan, its explainer, its reference and its examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben import compiling, describing, explainers, probing, slicing, tables
from ekiben.compiling import Outcome
from ekiben.errors import ExplainError, SpecError
from ekiben.explainers import Context, Explainer
from ekiben.explainers.whole import reporting
from ekiben.models import Adapter
from ekiben.packages import OVERVIEW, ask, table
from ekiben.packing.inventing import invented
from ekiben.packing.live import Live, refuse_unequal
from ekiben.progress import Progress
from ekiben.schema import Signature
from ekiben.sealing import write_json

if TYPE_CHECKING:
    import pandas as pd

N_EXAMPLES = 6
WITHOUT_ROWS = ("linear", "trees", "trees-interventional")  # the methods that keep no row of the reference,
LINKED = "says-of-background.npy"  # but where they explain on another scale than the model's own
OF_TREES = ("Forest", "Tree", "GradientBoosting")  # in the name of a class of scikit-learn's


def write_model(folder: Path, live: Live, say: Progress) -> None:
    """Write the model, and see that it reads back equal."""
    say("writing the model")
    (folder / "model").mkdir()
    _write_code(folder, live.code)
    live.adapter.save(live.bound, folder / "model", trust=live.trust)
    refuse_unequal(live, folder)


def _write_code(folder: Path, code: slicing.Sliced | None) -> None:
    for name, content in code.files.items() if code else ():
        path = folder / "code" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def compile_plan(folder: Path, live: Live) -> Outcome:
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


def write_parts(
    folder: Path, live: Live, explainer: tuple[str, Any], outcome: Outcome, examples: Any, say: Progress
) -> tuple[str, list[str]]:
    """Write everything but the model, its plan and the manifest, and name the method that explains, with notes."""
    say("fitting the explainer")
    method, notes = _fit_explainer(*explainer, _context(live, outcome), folder)
    say("describing the reference data")
    contract = live.signature.inputs
    private = [column.name for column in contract.columns if column.private]
    sample = invented(live.sample, contract) if private else live.sample
    _write_reference(folder, live.rows, sample, private)
    given = _telling(sample) if examples is None else tables.conformed("examples", examples, contract)
    _write_examples(folder, live.model, live.adapter, live.signature, given)
    clear = [f"the rows that {method!r} explains by"] * _keeps_rows(folder, method)
    clear += ["the examples that were given"] * (examples is not None)
    told = [f"Private columns are in clear in {' and in '.join(clear)}: {', '.join(private)}."] * bool(
        private and clear
    )
    return method, [*notes, *told]


def write_overview(folder: Path, live: Live, name: str, outcome: Outcome, say: Progress) -> tuple[list[str], list[str]]:
    """Write what explains the model as a whole; name the strongest columns, or tell why there is no such report."""
    say("looking at the model as a whole")
    try:
        with probing.quiet():
            found = reporting.report(_context(live, outcome), name)
    except ExplainError as reason:
        return [], [f"There is no overview. {reason}"]
    write_json(folder / OVERVIEW, found.to_json())
    return list(found.importance.strongest()), []


def _context(live: Live, outcome: Outcome) -> Context:
    return Context(
        model=live.model,
        adapter=live.adapter,
        schema=live.signature.inputs,
        reference=live.sample,
        known=live.rows,
        outputs=live.signature.outputs,
        plan=outcome.plan,
    )


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


def _keeps_rows(folder: Path, method: str) -> bool:
    """Tell whether a fitted explainer holds rows of the reference, or may: of another's own method nobody knows."""
    return method not in WITHOUT_ROWS or (folder / "explainer" / LINKED).exists()


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
    try:
        answers = tables.as_records(table(ask(adapter, model, rows), signature, rows.index))
    except Exception as reason:
        if not any(column.private for column in signature.inputs.columns):
            raise
        raise SpecError(
            "The model must answer examples whose private columns hold values that were made up. It does not: "
            f"{type(reason).__name__}. Give it rows of your own: pack(…, examples=…)."
        ) from reason
    if any(isinstance(value, float) and not math.isfinite(value) for answer in answers for value in answer.values()):
        raise SpecError(
            "The model must answer its examples with finite numbers. It does not. Look at model.predict(…) of them."
        )
    pairs = [{"row": row, "answer": answer} for row, answer in zip(tables.as_rows(rows), answers, strict=True)]
    write_json(folder / "examples.json", pairs)


def _write_reference(folder: Path, rows: pd.DataFrame, sample: pd.DataFrame, private: Sequence[str]) -> None:
    (folder / "reference").mkdir()
    profiles = {name: describing.profile(rows[name], private=name in private) for name in rows.columns}
    write_json(folder / "reference" / "profile.json", profiles)
    listed = tables.as_rows(sample)
    write_json(folder / "reference" / "sample.json", {name: [row[name] for row in listed] for name in rows.columns})
