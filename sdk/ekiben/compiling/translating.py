"""What a translator works with: the flow of numbers so far, the contract's columns, and the refusal that keeps the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from ekiben.compiling.nodes import Doc
from ekiben.schema import Column, Schema

NUMERIC = ("number", "integer", "boolean")
TEXTS = ("text", "category")


class NoPlan(Exception):  # noqa: N818 -- the model is at no fault: it serves itself
    """Why a model has no plan, in a few words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What reaches a step: the document of the node that makes it, how wide it is, and which columns it still is.

    `names` are the contract's columns while nothing has been done to them; after that there are numbers without names.
    `sparse` says that the library holds them in a sparse matrix, where XGBoost takes a zero for a gap.
    """

    doc: Doc
    width: int
    names: tuple[str, ...] | None = None
    raw: bool = False
    sparse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What every translator may look at: the contract, and the nodes that several others stand on."""

    schema: Schema
    heads: HeadTranslator  # how a model within another one is translated
    shared: list[Doc] = field(default_factory=list)

    def frame(self) -> Flow:
        """Give the whole frame, as the first step meets it."""
        return self.columns(self.schema.names)

    def columns(self, names: Sequence[str]) -> Flow:
        """Give some columns of the frame: numbers where all are, and values of any kind otherwise."""
        known = [self.schema[name] for name in names]
        if strange := [column.name for column in known if column.kind not in (*NUMERIC, *TEXTS)]:
            raise NoPlan(f"{strange[0]!r} holds dates or lists")
        raw = any(column.kind not in NUMERIC for column in known)
        doc: Doc = {"op": "raw" if raw else "columns", "names": list(names)}
        made = Flow(doc=doc, width=len(names), names=tuple(names), raw=raw)
        narrow = [column.dtype.lower() in ("float32", "float16", "float[pyarrow]") for column in known]
        if any(narrow) and not raw:
            if not all(narrow) or any(column.dtype.lower() != "float32" for column in known):
                raise NoPlan("numbers of 16, 32 and 64 bits are mixed")
            return Flow(doc={"op": "round", "of": doc}, width=len(names), names=tuple(names))
        return made

    def column(self, name: str) -> Column:
        """Give the contract of one column."""
        return self.schema[name]

    def share(self, flow: Flow) -> Flow:
        """Let several nodes stand on what a flow makes, so that it is made once."""
        if flow.doc["op"] in ("shared", "columns", "raw", "core"):
            return flow
        self.shared.append(flow.doc)
        return replace(flow, doc={"op": "shared", "number": len(self.shared) - 1}, names=None)


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


def on(flow: Flow, op: str, **settings: Any) -> Flow:
    """Put a node of as many numbers on a flow."""
    return Flow(doc={"op": op, "of": flow.doc, **settings}, width=flow.width)


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


def joined(flows: Sequence[Flow]) -> Flow:
    """Put the numbers of several flows side by side."""
    if len(flows) == 1:
        return flows[0]
    return Flow(doc={"op": "join", "parts": [flow.doc for flow in flows]}, width=sum(flow.width for flow in flows))


def numeric(flow: Flow, what: Any) -> Flow:
    """See that only numbers reach a step."""
    if flow.raw:
        raise NoPlan(f"{type(what).__name__} takes texts")
    return flow


def is_of(part: Any, library: str) -> bool:
    """Tell whether an object is of a library's own class, not of one that somebody built on it."""
    return type(part).__module__.partition(".")[0] == library


def renamed(flow: Flow, **changes: Any) -> Flow:
    """Give the flow with other facts."""
    return replace(flow, **changes)
