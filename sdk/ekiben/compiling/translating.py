"""What a translator works with: the flow of numbers so far, the contract's columns, and the refusal that keeps the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias

from ekiben.compiling.nodes import Doc
from ekiben.schema import Column, Output, Schema

NUMERIC = ("number", "integer", "boolean")
TEXTS = ("text", "category")


class NoPlan(Exception):  # noqa: N818 -- the model is at no fault: it serves itself
    """Why a model has no plan, in a few words."""


# What a step makes is of 64 bits, without a name, and may be missing.
MADE = Column(name="", kind="number", dtype="float64", nullable=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What reaches a step: the document of the node that makes it, how wide it is, and how the model holds it.

    Parameters
    ----------
    doc, width
        The node, and how many numbers or values it gives for a row.
    names
        The contract's columns while nothing has been done to them; after that there are numbers without names.
    raw
        Whether it gives values of any kind, and not numbers alone.
    told
        What each column of a raw flow holds.
    dtype
        Of the matrix that the model has here.
    sparse
        Whether the model holds it as a sparse matrix: what is 0 there is missing to XGBoost.
    wide
        Whether it is too wide to be made whole for each row; `fold` and `weigh` of its node do without.
    frame
        Whether the model has a frame here, and not a matrix.
    flat
        Whether it has one column of that as a series.
    untold
        Why the step that made it has no node, where only the step after it can tell what it is, a matrix of texts say.
    """

    doc: Doc
    width: int
    names: tuple[str, ...] | None = None
    raw: bool = False
    told: tuple[Column, ...] | None = None
    dtype: str = "float64"
    sparse: bool = False
    wide: bool = False
    frame: bool = False
    flat: bool = False
    untold: str = ""

    @property
    def narrow(self) -> bool:
        """Whether the model computes in 32 bits here."""
        return self.dtype == "float32"

    @property
    def facts(self) -> tuple[Column, ...]:
        """What each column holds."""
        return self.told if self.told is not None else (MADE,) * self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What every translator may look at: the contract, the whole model, and the nodes that several others stand on."""

    schema: Schema
    heads: HeadTranslator  # how a model within another one is translated
    model: Any = None
    outputs: Sequence[Output] = ()
    seen: Mapping[str, Any] = field(default_factory=dict)  # a value of each column that holds texts
    shared: list[Doc] = field(default_factory=list)
    native: list[str] = field(default_factory=list)  # the classes of the steps that are asked themselves

    def frame(self) -> Flow:
        """Give the whole frame, as the first step meets it: a matrix where the model was fitted on one, or a series of texts."""
        from ekiben.models.sklearn import first_step  # what packs needs it, and what serves does not

        made = self.columns(self.schema.names)
        nameless = hasattr(self.model, "n_features_in_") and not hasattr(self.model, "feature_names_in_")
        flat = made.width == 1 and hasattr(first_step(self.model), "build_analyzer")
        return replace(made, frame=made.raw or not nameless, flat=flat)

    def columns(self, names: Sequence[str]) -> Flow:
        """Give some columns of the frame: numbers where all are, and values of any kind otherwise."""
        known = tuple(self.schema[name] for name in names)
        raw = any(column.kind not in NUMERIC for column in known)
        doc: Doc = {"op": "raw" if raw else "columns", "names": list(names)}
        made = Flow(doc=doc, width=len(names), names=tuple(names), raw=raw, told=known, frame=True)
        narrow = [column.dtype.lower() in ROUNDED for column in known]
        if raw:
            return replace(made, doc=_beside(names, narrow) if any(narrow) else doc, dtype="object")
        made = replace(made, dtype=joined_dtype([column.dtype for column in known]))
        return replace(made, doc={"op": "round", "of": doc, "only": _only(narrow)}) if any(narrow) else made

    def column(self, name: str) -> Column:
        """Give the contract of one column."""
        return self.schema[name]

    def share(self, flow: Flow) -> Flow:
        """Let several nodes stand on what a flow makes, so that it is made once; what is never made whole cannot be."""
        if flow.wide or flow.doc["op"] in ("shared", "columns", "raw", "core"):
            return flow
        self.shared.append(flow.doc)
        return replace(flow, doc={"op": "shared", "number": len(self.shared) - 1})


def _only(chosen: Sequence[bool]) -> list[int] | None:
    """List the places that were chosen; None where all were."""
    return None if all(chosen) else [i for i, each in enumerate(chosen) if each]


def _beside(names: Sequence[str], narrow: Sequence[bool]) -> Doc:
    """Put columns of 32 bits, rounded, beside those of any other kind, in their order."""
    parts: list[Doc] = []
    for rounds, run in groupby(zip(names, narrow, strict=True), key=itemgetter(1)):
        held: Doc = {"op": "columns" if rounds else "raw", "names": [name for name, _ in run]}
        parts.append({"op": "round", "of": held, "only": None} if rounds else held)
    return {"op": "beside", "parts": parts}


def joined_dtype(dtypes: Sequence[str]) -> str:
    """Tell in which dtype a model holds columns of these.

    Raises
    ------
    NoPlan
        If that depends on who joins them.

    Examples
    --------
    >>> joined_dtype(["float32", "float32"]), joined_dtype(["float32", "int64"])
    ('float32', 'float64')
    """
    kinds = set(dtypes)
    if len(kinds) == 1 and kinds <= {"float32", "int64", "object"}:
        return kinds.pop()
    if kinds <= SMALL:
        return "int8"
    if any(map(is_half, kinds)):
        raise NoPlan("there are numbers of 16 bits")
    if "float32" in kinds and kinds & SMALL:
        raise NoPlan("numbers of 32 bits are mixed with smaller ones")
    return "object" if "object" in kinds else "float64"


def is_half(dtype: str) -> bool:
    """Tell whether a dtype is of numbers of 16 bits, which no node rounds to."""
    return dtype.lower().startswith(("float16", "halffloat"))


ROUNDED = ("float32", "float[pyarrow]")
SMALL = {"bool", "boolean", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a last step makes of its flow, for one output.

    `core` is asked once for a row. `label` says how the label follows from it: `largest` (the first of the largest
    numbers), or `above` (its first number is above `at`, or at least `at` where it is not `strict`), or from numbers that a
    node makes `of` it. `scores` is a node on the core, and so are `value` and `decision`, what a model decides by.
    """

    core: Flow
    label: Mapping[str, Any] | None = None
    scores: Doc | None = None
    value: Doc | None = None
    decision: Doc | None = None

    @property
    def here(self) -> Doc:
        """The core itself, as `scores` and `value` see it."""
        return {"op": "core", "width": self.core.width}


Translator: TypeAlias = Callable[[Any, Flow, Scope], Flow]
HeadTranslator: TypeAlias = Callable[[Any, Flow, Scope], "list[Head]"]

CORE: Doc = {"op": "core"}


def on(flow: Flow, op: str, *, width: int | None = None, **settings: Any) -> Flow:
    """Put a node on a flow; it makes numbers, as many as reach it where nothing else is said."""
    doc = {"op": op, "of": flow.doc, **settings}
    return Flow(doc=doc, width=flow.width if width is None else width, sparse=flow.sparse)


def chain(width: int, *ops: str) -> Doc:
    """Put nodes without settings on a core, the first one first.

    >>> chain(1, "sigmoid", "pair")
    {'op': 'pair', 'of': {'op': 'sigmoid', 'of': {'op': 'core', 'width': 1}}}
    """
    doc: Doc = {"op": "core", "width": width}
    for op in ops:
        doc = {"op": op, "of": doc}
    return doc


def each_number(flow: Flow, scope: Scope) -> Iterator[Flow]:
    """Give each number of a flow as an output of its own."""
    if flow.width == 1:
        yield flow
        return
    shared = scope.share(flow)
    for i in range(flow.width):
        yield picked(shared, [i])


def picked(flow: Flow, keep: Sequence[int]) -> Flow:
    """Give some numbers of a flow; to be asked of a shared one where several parts are taken."""
    return Flow(doc={"op": "select", "of": flow.doc, "keep": list(keep)}, width=len(keep))


def whole(flow: Flow) -> Flow:
    """Refuse numbers of which one is missing or infinite, as a model does that looks first and hands on a matrix."""
    doc = {"op": "select", "of": flow.doc, "keep": list(range(flow.width)), "whole": True}
    return replace(flow, doc=doc, names=None, frame=False)


def joined(flows: Sequence[Flow]) -> Flow:
    """Put the numbers of several flows side by side."""
    if len(flows) == 1:
        return flows[0]
    return Flow(doc={"op": "join", "parts": [flow.doc for flow in flows]}, width=sum(flow.width for flow in flows))


def told(flow: Flow) -> Flow:
    """See that it is known what a flow holds."""
    if flow.untold:
        raise NoPlan(f"{flow.untold}, and makes neither numbers of 64 bits nor a frame of numbers and texts")
    return flow


def numeric(flow: Flow, what: Any, *, wide: bool = False) -> Flow:
    """See that only numbers reach a step, and, unless it can be `wide`, that they can be made whole for each row."""
    if flow.raw:
        raise NoPlan(f"{type(what).__name__} takes texts")
    if flow.wide and not wide:
        raise NoPlan(f"{type(what).__name__} takes {flow.width:,} numbers of texts")
    return flow


def doubles(flow: Flow, what: Any) -> Flow:
    """See that only numbers of 64 bits reach a step that would compute otherwise in 32."""
    if flow.narrow:
        raise NoPlan(f"{type(what).__name__} computes in 32 bits")
    return numeric(flow, what)


def is_of(part: Any, library: str) -> bool:
    """Tell whether an object is of a library's own class, not of one that somebody built on it."""
    return type(part).__module__.partition(".")[0] == library
