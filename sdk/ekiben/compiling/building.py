"""A plan's document and its nodes: every node is named in one table, and a file names nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ekiben.compiling import forest
from ekiben.compiling.forest import Forest
from ekiben.compiling.nodes import (
    Core,
    Doc,
    Node,
    categories,
    classes,
    columns,
    cutting,
    kernels,
    links,
    native,
    neighbours,
    neural,
    numbers,
    reducing,
    shaping,
    sides,
    voting,
)
from ekiben.compiling.nodes.texts import Texts
from ekiben.compiling.nodes.trees import Trees
from ekiben.compiling.translating import NoPlan
from ekiben.errors import IntegrityError
from ekiben.schema import Schema

LARGEST_INLINE = 1000  # numbers that a plan.json holds itself; larger arrays have a file
PLAN = "plan.json"
FORMAT = 1


@dataclass(kw_only=True)
class Building:
    """What nodes are built from: the contract, the live model for steps that are asked themselves, and the shared nodes."""

    contract: Schema
    model: Callable[[], Any]
    shared: list[Node] = field(default_factory=list)

    @property
    def names(self) -> Sequence[str]:
        """The contract's columns, in order."""
        return self.contract.names

    def node(self, doc: Doc) -> Node:
        """Build the node of a document."""
        return OPS[doc["op"]](doc, self)

    def places(self, names: Sequence[str]) -> list[int]:
        """Tell where columns stand in a row."""
        return [self.names.index(name) for name in names]


Build = Callable[[Doc, Building], Node]


def plain(kind: Callable[..., Node], *settings: str) -> Build:
    """Build a node on another one, with these of its document's settings."""
    return lambda doc, building: kind(building.node(doc["of"]), *(doc.get(name) for name in settings))


def on_parts(kind: Callable[..., Node], *settings: str) -> Build:
    """Build a node on several others, with these of its document's settings."""
    return lambda doc, building: kind(
        [building.node(part) for part in doc["parts"]], *(doc.get(name) for name in settings)
    )


def _columns(doc: Doc, building: Building) -> Node:
    nullable = any(building.contract[name].nullable for name in doc["names"])
    return columns.Columns(building.places(doc["names"]), nullable)


def _constant(doc: Doc, building: Building) -> Node:
    return columns.Constant(doc["numbers"], building.node(doc["of"]) if "of" in doc else None)


def _native(doc: Doc, building: Building) -> Node:
    names = doc.get("names")
    if names is None:
        return native.NativeStep(building.node(doc["of"]), doc, (), None, building.model)
    contract = Schema(columns=tuple(building.contract[name] for name in names))
    return native.NativeStep(None, doc, building.places(names), contract, building.model)


def _shared(doc: Doc, building: Building) -> Node:
    return columns.Shared(building.shared[int(doc["number"])])


def _select(doc: Doc, building: Building) -> Node:
    return columns.Select(building.node(doc["of"]), doc["keep"], whole=bool(doc.get("whole", False)))


def _trees(doc: Doc, building: Building) -> Node:
    leaves = doc.get("leaves")
    return Trees(
        building.node(doc["of"]),
        doc["forest"],
        None if leaves is None else np.asarray(leaves),
        narrow=bool(doc["narrow"]),
        whole=bool(doc.get("whole", False)),
    )


OPS: dict[str, Build] = {
    "alike": plain(kernels.Alike, "kernel", "vectors", "coef", "intercept"),
    "bells": plain(classes.Bells, "mean", "spread", "prior", "begun"),
    "beside": on_parts(columns.Beside),
    "bins": plain(categories.Bins, "edges"),
    "box_cox": plain(shaping.BoxCox, "by"),
    "centres": plain(classes.Centres, "centres", "scale", "add", "straight", "squared"),
    "chosen": plain(voting.Chosen, "rule", "rows"),
    "clip": plain(cutting.Clip, "low", "high"),
    "columns": _columns,
    "confidence": plain(voting.Confidence, "n_classes"),
    "constant": _constant,
    "core": lambda doc, _: Core(int(doc["width"])),
    "coupled": plain(voting.Coupled, "slopes", "offsets", "n_classes"),
    "distances": plain(reducing.Distances, "centres"),
    "duels": plain(voting.Duels, "n_classes"),
    "ellipsoids": plain(classes.Ellipsoids, "means", "axes", "add", "prior"),
    "exceeds": plain(cutting.Exceeds, "threshold"),
    "fill": plain(columns.Fill, "fill"),
    "gaps": plain(numbers.Gaps, "marker", "narrow", "within"),
    "impute": plain(numbers.Impute, "fill", "missing", "keep", "told"),
    "is_missing": plain(cutting.IsMissing, "keep", "refused"),
    "join": on_parts(columns.Join),
    "laplace": plain(kernels.Laplace, "kernel", "vectors", "coef", "spread"),
    "layers": plain(neural.Layers, "coefs", "intercepts", "hidden", "last"),
    "linear": plain(links.Linear, "coef", "intercept"),
    "linear32": plain(links.Linear32, "coef", "intercept"),
    "lookup": plain(categories.Lookup, "tables", "others"),
    "median": plain(voting.Median, "weights"),
    "neighbours": plain(neighbours.Neighbours, "vectors", "known", "n", "radius", "power", "inverse", "exact"),
    "occurrences": plain(classes.Occurrences, "tables", "add"),
    "onehot": plain(categories.OneHot, "tables", "others", "refused", "width"),
    "native": _native,
    "native_head": lambda doc, building: native.NativeHead(building.node(doc["of"]), doc, building.model),
    "norm": plain(shaping.Norm, "kind", "sparse"),
    "numbers": plain(columns.Numbers, "keep"),
    "pair": plain(links.Pair),
    "pick": plain(columns.Pick, "keep"),
    "posterior": plain(links.Posterior),
    "power": plain(links.Power),
    "products": plain(shaping.Products, "factors", "keep"),
    "project": plain(reducing.Project, "coef", "intercept"),
    "quantiles": plain(shaping.Quantiles, "quantiles", "references", "normal"),
    "raw": lambda doc, building: columns.Raw(building.places(doc["names"])),
    "round": plain(numbers.Round, "only"),
    "scale": plain(numbers.Scale, "shift", "scale"),
    "select": _select,
    "shared": _shared,
    "shares": plain(links.Shares, "strict"),
    "sides": plain(sides.Sides, "sources", "tables", "cut"),
    "sigmoid": plain(links.Sigmoid),
    "signed_square": plain(links.SignedSquare),
    "soft_plus": plain(links.SoftPlus),
    "softmax": plain(links.Softmax),
    "splines": lambda doc, building: shaping.Splines(building.node(doc["of"]), doc),
    "steps": plain(numbers.Steps, "at", "values", "low", "high"),
    "stretch": plain(numbers.Stretch, "scale", "add", "low", "high"),
    "sum": on_parts(voting.Sum, "weights", "by"),
    "texts": lambda doc, building: Texts(building.node(doc["of"]), doc),
    "trees": _trees,
    "ufunc": plain(shaping.Ufunc, "name", "finite"),
    "yeo_johnson": plain(shaping.YeoJohnson, "by"),
}


# ── the files ───────────────────────────────────────────────────────────────────────────────────────────────────────


def write(folder: Path, document: Doc) -> None:
    """Write a plan's document: readable JSON, trees as ONNX, and large arrays as .npy.

    Raises
    ------
    NoPlan
        If a setting is no finite number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = {"trees": 0, "array": 0}

    def told(part: Any) -> Any:
        if isinstance(part, Forest):
            return {"onnx": _file(folder, "trees", "onnx", counts, forest.encode(part))}
        if isinstance(part, np.ndarray):
            if part.size <= LARGEST_INLINE and np.isfinite(part).all():
                return part.tolist()
            return {"npy": _file(folder, "array", "npy", counts, _npy(part))}
        if isinstance(part, dict):
            return {key: told(value) for key, value in part.items()}
        if isinstance(part, list | tuple):
            return [told(value) for value in part]
        return _plain(part)

    text = json.dumps({"format": FORMAT, **told(document)}, ensure_ascii=False, allow_nan=False, indent=1)
    (folder / PLAN).write_text(text + "\n", encoding="utf-8")


def _plain(setting: Any) -> Any:
    """Give a setting as JSON holds it: a search may have set one of numpy's numbers, and somebody one that is infinite."""
    value = setting.item() if isinstance(setting, np.generic) else setting
    if isinstance(value, float) and not math.isfinite(value):
        raise NoPlan(f"it is set to {value}, which no plan holds")
    return value


def _file(folder: Path, stem: str, suffix: str, counts: dict[str, int], data: bytes) -> str:
    name = f"{stem}-{counts[stem]}.{suffix}"
    counts[stem] += 1
    (folder / name).write_bytes(data)
    return name


def _npy(array: Any) -> bytes:
    import io

    held = io.BytesIO()
    np.lib.format.write_array(held, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)  # type: ignore[no-untyped-call]
    return held.getvalue()


def read(folder: Path) -> Doc:
    """Read a plan's document with its trees and arrays.

    Raises
    ------
    IntegrityError
        If a file is not what `write` writes.
    """
    try:
        document = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        made: Doc = _resolved(document, folder)
        if made["format"] != FORMAT:
            raise IntegrityError(f"A plan must be of format {FORMAT}. Got another: a newer ekiben wrote it.")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as reason:
        raise IntegrityError(
            f"The plan of a package must be as ekiben wrote it. It is not: {type(reason).__name__}. Pack the model again."
        ) from None
    return made


def _resolved(part: Any, folder: Path) -> Any:
    if isinstance(part, list):
        return [_resolved(each, folder) for each in part]
    if not isinstance(part, dict):
        return part
    if set(part) == {"onnx"}:
        return forest.decode((folder / _bare(part["onnx"])).read_bytes())
    if set(part) == {"npy"}:
        with (folder / _bare(part["npy"])).open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)  # type: ignore[no-untyped-call]
    return {key: _resolved(value, folder) for key, value in part.items()}


def _bare(name: Any) -> str:
    if not isinstance(name, str) or Path(name).name != name:
        raise ValueError(name)
    return name
