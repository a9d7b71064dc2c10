"""Trees as tables, their ONNX file, and the session that answers rows by them.

The file is ONNX as any tool reads it, written by the few lines below: one `TreeEnsemble` node and nothing else. What is
loaded is read into tables, its nodes are looked at, and it must be, to the last byte, what these tables are written as; so
no other operator, no path to another file and no way round in a circle reaches the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ekiben.errors import IntegrityError

if TYPE_CHECKING:
    from ekiben.models import Array

LEQ, LT = 0, 1  # as ONNX numbers its comparisons
NO_CHILD = -1


@dataclass(frozen=True, kw_only=True)
class Tree:
    """One tree as its library holds it: arrays of one entry a node, the first node its root.

    A row goes left where its number is at most the threshold (or below it, where `strict`), and where it is missing and
    `missing_left`. `value` of shape (n_nodes,) is what a leaf adds to `target`. `cover` of shape (n_nodes,) is the weight
    of the training rows that came through each node.
    """

    left: Array
    right: Array
    feature: Array
    threshold: Array
    missing_left: Array
    value: Array
    cover: Array
    target: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Forest:
    """Every node of many trees in ONNX's tables: interior nodes, leaves, and the root of each tree.

    `cover` and `leaf_cover` are the weights of the training rows that came there; ONNX has no place for them, so that they
    are None where trees were read from a file.
    """

    n_features: int
    n_targets: int
    feature: Array
    threshold: Array
    mode: Array
    missing_true: Array
    true_leaf: Array
    true_id: Array
    false_leaf: Array
    false_id: Array
    root: Array
    leaf_target: Array
    leaf_weight: Array
    cover: Array | None = None
    leaf_cover: Array | None = None

    @property
    def bits(self) -> int:
        """32 or 64: what numbers are compared and added up in."""
        return 8 * self.threshold.dtype.itemsize

    @property
    def split_points(self) -> dict[int, Array]:
        """The distinct thresholds of each feature."""
        return {int(f): np.unique(self.threshold[self.feature == f]) for f in np.unique(self.feature)}


def grow(trees: Iterable[Tree], *, n_features: int, n_targets: int, strict: bool, bits: int) -> Forest:
    """Put trees into tables; a number that starts the sum is a tree of one leaf.

    Examples
    --------
    >>> stump = Tree(
    ...     left=np.array([1, -1, -1]),
    ...     right=np.array([2, -1, -1]),
    ...     feature=np.array([0, 0, 0]),
    ...     threshold=np.array([0.5, 0, 0]),
    ...     missing_left=np.array([1, 0, 0]),
    ...     value=np.array([0, -1.0, 1.0]),
    ...     cover=np.array([9.0, 5.0, 4.0]),
    ... )
    >>> forest = grow([stump], n_features=1, n_targets=1, strict=False, bits=64)
    >>> forest.leaf_weight.tolist(), forest.true_leaf.tolist()
    ([-1.0, 1.0], [1])
    """
    kind = np.float32 if bits == 32 else np.float64
    parts: dict[str, list[Array]] = {
        field.name: [] for field in fields(Forest) if field.name not in ("n_features", "n_targets")
    }
    n_nodes = n_leaves = 0
    for tree in trees:
        made = _placed(tree, n_nodes, n_leaves, LT if strict else LEQ, kind)
        for name, values in made.items():
            parts[name].append(values)
        n_nodes += len(made["feature"])
        n_leaves += len(made["leaf_weight"])
    return Forest(
        n_features=n_features, n_targets=n_targets, **{name: np.concatenate(each) for name, each in parts.items()}
    )


def _placed(tree: Tree, n_nodes: int, n_leaves: int, mode: int, kind: Any) -> dict[str, Array]:
    """Give the nodes and leaves of one tree the numbers behind those before it."""
    leaf = tree.left == NO_CHILD
    if leaf[0]:  # ONNX knows no tree without a node: both ways lead to the leaf
        node, zero, one = np.array([0]), np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64)
        ways = {"true_leaf": one, "true_id": zero + n_leaves, "false_leaf": one, "false_id": zero + n_leaves}
        leaf = np.array([True])
    else:
        node = np.nonzero(~leaf)[0]
        place = np.where(leaf, np.cumsum(leaf) - 1 + n_leaves, np.cumsum(~leaf) - 1 + n_nodes)
        left, right = tree.left[node], tree.right[node]
        ways = {
            "true_leaf": leaf[left].astype(np.int64),
            "true_id": place[left],
            "false_leaf": leaf[right].astype(np.int64),
            "false_id": place[right],
        }
    n_own = int(leaf.sum())
    single = bool(tree.left[0] == NO_CHILD)
    return {
        "feature": np.zeros(1, dtype=np.int64) if single else tree.feature[node].astype(np.int64),
        "threshold": np.zeros(1, dtype=kind) if single else tree.threshold[node].astype(kind),
        "mode": np.full(len(node), mode, dtype=np.uint8),
        "missing_true": np.zeros(1, dtype=np.int64) if single else tree.missing_left[node].astype(np.int64),
        **ways,
        "root": np.array([n_nodes]),
        "leaf_target": np.full(n_own, tree.target, dtype=np.int64),
        "leaf_weight": (tree.value[:1] if single else tree.value[leaf]).astype(kind),
        "cover": np.asarray(tree.cover[:1] if single else tree.cover[node], dtype=np.float64),
        "leaf_cover": np.asarray(tree.cover[:1] if single else tree.cover[leaf], dtype=np.float64),
    }


def constant(value: float, target: int = 0) -> Tree:
    """Give a tree of one leaf: a number that every row gets."""
    none = np.array([NO_CHILD])
    zero = np.zeros(1)
    return Tree(
        left=none,
        right=none,
        feature=zero,
        threshold=zero,
        missing_left=zero,
        value=np.array([value]),
        cover=np.ones(1),
        target=target,
    )


def check(forest: Forest) -> None:
    """See that every way through the trees leads forward, to a node or leaf that there is.

    Raises
    ------
    IntegrityError
        If one does not: the engine would read beyond its memory, or go round in a circle.
    """
    n_nodes, n_leaves = len(forest.feature), len(forest.leaf_weight)
    here = np.arange(n_nodes)
    sides = ((forest.true_leaf, forest.true_id), (forest.false_leaf, forest.false_id))
    good = (
        n_nodes > 0
        and n_leaves > 0
        and all(len(values) == n_nodes for side in sides for values in side)
        and all(len(values) == n_nodes for values in (forest.threshold, forest.mode, forest.missing_true))
        and all(_leads_on(leaf, place, here, n_leaves) for leaf, place in sides)
        and _within(forest.feature, forest.n_features)
        and len(forest.leaf_target) == n_leaves
        and _within(forest.leaf_target, forest.n_targets)
        and forest.n_targets <= n_leaves
        and len(forest.root) > 0
        and _within(forest.root, n_nodes)
        and bool(np.isin(forest.mode, (LEQ, LT)).all() and np.isin(forest.missing_true, (0, 1)).all())
        and bool(np.isfinite(forest.threshold).all() and np.isfinite(forest.leaf_weight).all())
    )
    if not good:
        raise IntegrityError(
            "The trees of a plan must lead forward to nodes and leaves that there are. Got others. Pack again."
        )


def _leads_on(leaf: Array, place: Array, here: Array, n_leaves: int) -> bool:
    to_leaf = leaf == 1
    forward = (place > here) & (place < len(here))
    return bool((np.where(to_leaf, place < n_leaves, forward) & (to_leaf | (leaf == 0))).all())


def _within(values: Array, n: int) -> bool:
    return bool(((values >= 0) & (values < n)).all())


# ── ONNX, as protobuf writes it ─────────────────────────────────────────────────────────────────────────────────────

INT, TENSOR, INTS = 2, 4, 7  # types of an attribute
FLOAT, UINT8, DOUBLE = 1, 2, 11  # types of a tensor's elements
NUMBERS: dict[int, Any] = {FLOAT: np.dtype("<f4"), UINT8: np.dtype("u1"), DOUBLE: np.dtype("<f8")}
# the attributes of the one node, in the order in which they are written
ATTRIBUTES = (
    ("nodes_featureids", "feature"),
    ("nodes_splits", "threshold"),
    ("nodes_modes", "mode"),
    ("nodes_missing_value_tracks_true", "missing_true"),
    ("nodes_trueleafs", "true_leaf"),
    ("nodes_truenodeids", "true_id"),
    ("nodes_falseleafs", "false_leaf"),
    ("nodes_falsenodeids", "false_id"),
    ("tree_roots", "root"),
    ("leaf_targetids", "leaf_target"),
    ("leaf_weights", "leaf_weight"),
)
TENSORS = ("threshold", "mode", "leaf_weight")
DOMAIN, OPSET, IR = b"ai.onnx.ml", 5, 10


def encode(forest: Forest) -> bytes:
    """Write the tables as an ONNX model of one `TreeEnsemble`: input `x` (n_rows, n_features), output `y` (n_rows, n_targets)."""
    attributes = [_attribute(name, getattr(forest, field), tensor=field in TENSORS) for name, field in ATTRIBUTES]
    attributes += [
        _scalar(b"aggregate_function", 1),
        _scalar(b"post_transform", 0),
        _scalar(b"n_targets", forest.n_targets),
    ]
    node = _text(1, b"x") + _text(2, b"y") + _text(4, b"TreeEnsemble")
    node += b"".join(_text(5, each) for each in attributes) + _text(7, DOMAIN)
    kind = FLOAT if forest.bits == 32 else DOUBLE
    graph = _text(1, node) + _text(2, b"trees")
    graph += _text(11, _described(b"x", kind, forest.n_features)) + _text(12, _described(b"y", kind, forest.n_targets))
    ml = _text(1, DOMAIN) + _number(2, OPSET)
    return _number(1, IR) + _text(2, b"ekiben") + _text(7, graph) + _text(8, _number(2, 21)) + _text(8, ml)


def decode(data: bytes) -> Forest:
    """Read tables back from what `encode` wrote, and see that every way in them leads on.

    Raises
    ------
    IntegrityError
        If the bytes are anything else.
    """
    try:
        forest = _read(data)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as reason:
        raise IntegrityError(
            f"The trees of a plan must be ONNX as ekiben writes it. Got other bytes: {type(reason).__name__}."
        ) from None
    check(forest)
    if encode(forest) != data:
        raise IntegrityError("The trees of a plan must be ONNX as ekiben writes it. Got more than trees. Pack again.")
    return forest


def _read(data: bytes) -> Forest:
    graph = _last(data, 7)
    found: dict[str, Any] = {}
    names = dict(ATTRIBUTES)
    for number, part in _fields(_last(graph, 1)):
        if number != 5:
            continue
        told = dict(_fields(part))
        name = told[1].decode()
        if name == "n_targets":
            found["n_targets"] = int(told[3])
        elif name in names:
            found[names[name]] = _tensor(told[5]) if names[name] in TENSORS else _varints(told[8])
    wide = _last(_last(_last(_last(graph, 11), 2), 1), 2)
    n_features = dict(_fields([part for number, part in _fields(wide) if number == 1][1]))[1]
    return Forest(n_features=int(n_features), **found)


def _described(name: bytes, kind: int, width: int) -> bytes:
    rows, columns = _text(2, b"n_rows"), _number(1, width)
    shape = _text(1, rows) + _text(1, columns)
    return _text(1, name) + _text(2, _text(1, _number(1, kind) + _text(2, shape)))


def _attribute(name: str, values: Array, *, tensor: bool) -> bytes:
    head = _text(1, name.encode())
    if not tensor:
        return head + _text(8, _as_varints(values)) + _number(20, INTS)
    kind = next(number for number, dtype in NUMBERS.items() if dtype == values.dtype)
    told = _number(1, len(values)) + _number(2, kind) + _text(9, values.astype(NUMBERS[kind]).tobytes())
    return head + _text(5, told) + _number(20, TENSOR)


def _scalar(name: bytes, value: int) -> bytes:
    return _text(1, name) + _number(3, value) + _number(20, INT)


def _tensor(data: bytes) -> Array:
    told = dict(_fields(data))
    return cast("Array", np.frombuffer(told[9], dtype=NUMBERS[told[2]]).copy())


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Go through a message: numbers as they are, texts and messages as bytes."""
    at = 0
    while at < len(data):
        key, at = _next(data, at)
        value, at = _next(data, at)
        if key & 7 == 0:
            yield key >> 3, value
        elif key & 7 == 2 and at + value <= len(data):
            yield key >> 3, data[at : at + value]
            at += value
        else:
            raise ValueError(at)


def _next(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] & 128:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if shift > 63:
            raise ValueError(at)
    return value | data[at] << shift, at + 1


def _last(data: bytes, field: int) -> bytes:
    """Give the last message of a field."""
    found = [value for number, value in _fields(data) if number == field]
    if not isinstance(found[-1], bytes):
        raise TypeError(field)
    return found[-1]


def _as_varints(values: Array) -> bytes:
    """Write many numbers of at least 0 at once, 7 bits a byte."""
    left = values.astype(np.uint64)
    n_bytes = np.ones(len(left), dtype=np.intp)
    for i in range(1, 10):
        n_bytes += left >= np.uint64(1) << np.uint64(7 * i) if i < 9 else 0
    ends = np.cumsum(n_bytes)
    made = np.zeros(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
    starts = ends - n_bytes
    for i in range(int(n_bytes.max(initial=0))):
        has = n_bytes > i
        byte = (left[has] >> np.uint64(7 * i)) & np.uint64(127)
        made[starts[has] + i] = byte | np.where(n_bytes[has] > i + 1, 128, 0).astype(np.uint64)
    return made.tobytes()


def _varints(data: bytes) -> Array:
    """Read many numbers at once."""
    found = np.frombuffer(data, dtype=np.uint8)
    if not len(found) or found[-1] & 128:
        raise ValueError(len(found))
    ends = np.nonzero(found < 128)[0]
    starts = np.concatenate([[0], ends[:-1] + 1])
    within = np.arange(len(found)) - np.repeat(starts, ends - starts + 1)
    if within.max() > 8:
        raise ValueError(int(within.max()))
    parts = (found & 127).astype(np.int64) << (7 * within)
    made: Array = np.add.reduceat(parts, starts)
    return made
