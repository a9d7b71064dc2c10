"""A model within another one: what it answers, as numbers that further nodes stand on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ekiben.compiling.nodes import Doc
from ekiben.compiling.translating import Flow, Head, NoPlan, Scope


def only(model: Any, flow: Flow, scope: Scope) -> Head:
    """Translate a model of one output; its core is made once, however often it is stood on."""
    found = scope.heads(model, flow, scope)
    if len(found) != 1:
        raise NoPlan(f"{type(model).__name__} within another model has several outputs")
    return settled(found[0], scope)


def settled(head: Head, scope: Scope) -> Head:
    """Let several nodes stand on a head's core."""
    return Head(
        core=scope.share(head.core), label=head.label, scores=head.scores, value=head.value, decision=head.decision
    )


def put(doc: Doc, core: Flow) -> Doc:
    """Put a node that stands on a core on the flow that makes it."""
    if doc["op"] == "core":
        return core.doc
    made = dict(doc)
    if "of" in doc:
        made["of"] = put(doc["of"], core)
    if "parts" in doc:
        made["parts"] = [put(part, core) for part in doc["parts"]]
    return made


def scores(head: Head, n_classes: int) -> Flow:
    """Give the scores of the classes."""
    if head.scores is None:
        raise NoPlan("a model within another one has no probabilities")
    return Flow(doc=put(head.scores, head.core), width=n_classes)


def value(head: Head) -> Flow:
    """Give the value."""
    if head.value is None:
        raise NoPlan("a model within another one answers with labels")
    return Flow(doc=put(head.value, head.core), width=1)


def decision(head: Head, n_classes: int) -> Flow:
    """Give what the model decides by: one number for two classes, and one a class for more."""
    if head.decision is None:
        raise NoPlan("a model within another one has no decision function that a plan knows")
    return Flow(doc=put(head.decision, head.core), width=n_classes if n_classes > 2 else 1)


def label(head: Head, rows: Sequence[Sequence[float]]) -> Flow:
    """Give the numbers that stand for the label: `rows` has one row for each class."""
    if head.label is None:
        raise NoPlan("a model within another one answers with values")
    seen = put(head.label.get("of", head.here), head.core)
    rule = {key: told for key, told in head.label.items() if key != "of"}
    return Flow(doc={"op": "chosen", "of": seen, "rule": rule, "rows": [list(row) for row in rows]}, width=len(rows[0]))


def answer(head: Head, classes: Sequence[Any] | None) -> Flow:
    """Give what `predict` gives, as one number: the value, or a label that is one."""
    if head.value is not None:
        return value(head)
    try:
        return label(head, [[float(each)] for each in classes or ()])
    except (TypeError, ValueError, IndexError):
        raise NoPlan("a model within another one answers with texts") from None


def classes_of(model: Any) -> list[Any]:
    """List the labels of a classifier."""
    found = getattr(model, "classes_", None)
    if found is None or isinstance(found, list):
        raise NoPlan(f"{type(model).__name__} within another model does not know its labels")
    return [each.item() if hasattr(each, "item") else each for each in found]


def summed(parts: Sequence[Flow], *, weights: Sequence[float] | None = None, by: float = 1.0) -> Flow:
    """Add up the numbers of several flows, weighed, and divide."""
    told = None if weights is None else [float(weight) for weight in weights]
    doc = {"op": "sum", "parts": [part.doc for part in parts], "weights": told, "by": float(by)}
    return Flow(doc=doc, width=parts[0].width)


def where(classes: Sequence[Any], among: Sequence[Any]) -> list[list[float]]:
    """Give for each of `classes` a row with a 1 at its place `among` others."""
    return [[1.0 if other == each else 0.0 for other in among] for each in classes]
