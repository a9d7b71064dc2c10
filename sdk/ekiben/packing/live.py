"""The live model while it is packed, and whether it reads back equal from what was written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben import models, probing, slicing, tables
from ekiben.errors import EkibenError, SchemaError, SpecError, UnsupportedModelError
from ekiben.models import Adapter
from ekiben.packages import ask, table
from ekiben.packing import gaps
from ekiben.packing.inventing import blurred
from ekiben.schema import Output, Schema, Signature

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_ROWS = 1000  # of the reference, kept in the package


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
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

    @property
    def class_name(self) -> str:
        """The class of the model, and of what is inside of it."""
        parts = (self.model, self.adapter.steps(self.model)[1])
        outer, inner = (getattr(part, "__name__", type(part).__name__) for part in parts)  # functions have names
        return outer if outer == inner else f"{outer} → {inner}"


def live_of(
    model: Any,
    reference: pd.DataFrame,
    name: str,
    target: Any,
    trust: tuple[str, ...],
    allow_pickle: tuple[str, ...],
    contract: Schema | None,
) -> Live:
    """Slice a model off its notebook, and sign it by its reference."""
    code = _sliced(model, allow_pickle)
    bound = code.model if code else model
    trust = (*trust, code.module) if code else trust
    adapter = models.chosen(bound, trust=trust, allow_pickle=allow_pickle)
    signature = probing.sign(model, adapter, reference, name, contract)
    signature = replace(signature, inputs=blurred(signature.inputs), outputs=_named_after(target, signature.outputs))
    try:
        rows = tables.conform(reference, signature.inputs)
    except SchemaError as misfit:
        raise SpecError(f"The 'reference' must fit what the 'contract' declares.\n{misfit}") from misfit
    gaps.refuse_two_kinds(model, adapter, reference, rows, signature)
    return Live(
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


def _named_after(target: Any, outputs: tuple[Output, ...]) -> tuple[Output, ...]:
    """Give several outputs the names of the target's columns, where it has names."""
    names = [str(name) for name in getattr(target, "columns", ())]
    if len(outputs) == 1 or len(names) != len(outputs):
        return outputs
    return tuple(replace(output, name=name) for output, name in zip(outputs, names, strict=True))


def _sampled(rows: pd.DataFrame) -> pd.DataFrame:
    if len(rows) <= SAMPLE_ROWS:
        return rows.reset_index(drop=True)
    return rows.sample(SAMPLE_ROWS, random_state=0).sort_index().reset_index(drop=True)


def refuse_unequal(live: Live, folder: Path) -> None:
    """Read back what was written, and refuse a model that answers otherwise then."""
    tried = live.rows.head(SAMPLE_ROWS)
    with probing.quiet():
        foreign = models.foreign(live.adapter, folder / "model")  # as `save` allowed it
        again = _read_back(live, folder / "model", (*live.trust, *foreign))
        with probing.answering():
            there = table(ask(live.adapter, live.model, tried), live.signature, tried.index)
            ask(live.adapter, live.model, live.sample)
        back = table(ask(live.adapter, again, tried), live.signature, tried.index)
    _refuse_gaps(there)
    differ = [name for name in there.columns if not there[name].equals(back[name])]
    if differ:
        _refuse_moods(live, tried, there)
        raise UnsupportedModelError(
            f"A packed model must answer as the live one. {type(live.model).__name__} gives another {', '.join(differ)} "
            "after it was written and read back. Was it fitted on a slice of a larger table? Fit it on a copy: X.copy()."
        )


def _read_back(live: Live, folder: Path, trust: tuple[str, ...]) -> Any:
    try:
        return live.adapter.load(folder, trust=trust)
    except EkibenError:
        raise
    except Exception as reason:
        raise UnsupportedModelError(
            f"A packed model must read back. {type(live.model).__name__} does not: {type(reason).__name__}: {reason}. "
            "Does it hold a member of an Enum, or an object that is made with arguments? Hold its plain value instead."
        ) from reason


def _refuse_gaps(there: pd.DataFrame) -> None:
    """See that no label is missing: a function may give numbers for some rows and texts for others."""
    absent = [name for name in there.columns if there[name].dtype == object and there[name].isna().any()]
    if absent:
        raise SpecError(
            f"The model must answer every row with values of one kind. It does not in {', '.join(map(repr, absent))}. "
            "Let it give numbers, or texts, for all rows."
        )


def _refuse_moods(live: Live, tried: pd.DataFrame, there: pd.DataFrame) -> None:
    """Ask the live model again: one that answers the same rows otherwise never reads back equal."""
    with probing.quiet():
        again = table(ask(live.adapter, live.model, tried), live.signature, tried.index)
    if not again.equals(there):
        raise UnsupportedModelError(
            f"The model must answer the same rows the same. {live.class_name} does not: it draws at "
            "random, or remembers what it was asked. Let it depend on its rows alone."
        )
