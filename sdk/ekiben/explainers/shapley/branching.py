"""Trees cut into branches: parts that hang on so few questions that every way to answer them has its row in a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ekiben.compiling.forest import Forest
from ekiben.explainers.shapley.bins import Bins

if TYPE_CHECKING:
    from ekiben.models import Array

MOST_QUESTIONS = 8  # of a branch: a byte
MOST_BYTES = 64_000_000  # of the tables of a model


class Range(NamedTuple):
    """Which bins of a feature a path leaves open, whether a missing number is in it, and the share of training rows that are."""

    feature: int
    low: int
    high: int
    gap: bool
    share: float

    def narrowed(self, low: int, high: int, share: float, *, gap: bool) -> Range:
        """Join another range of the feature."""
        return Range(self.feature, max(self.low, low), min(self.high, high), self.gap and gap, self.share * share)


@dataclass(slots=True)
class Leaf:
    """A leaf of a branch: the ranges on its whole path, and by which answers to the branch's questions a row is in each."""

    ranges: dict[int, Range]
    mask: dict[int, int]
    want: dict[int, int]
    value: float


@dataclass(slots=True)
class Branch:
    """A part of a tree: its questions, each a range, and its leaves."""

    questions: list[Range] = field(default_factory=list)
    leaves: list[Leaf] = field(default_factory=list)

    @property
    def features(self) -> list[int]:
        """The features that it asks about."""
        return sorted({each.feature for each in self.questions})


class _Walk:
    """Go through a forest, and cut it into branches."""

    def __init__(self, forest: Forest, values: Array, bins: Bins) -> None:
        assert forest.cover is not None
        assert forest.leaf_cover is not None
        names = ("feature", "true_leaf", "true_id", "false_leaf", "false_id", "missing_true", "cover", "leaf_cover")
        (self.feature, self.true_leaf, self.true_id, self.false_leaf, self.false_id, self.missing_true, self.cover,
         self.leaf_cover) = (getattr(forest, name).tolist() for name in names)  # fmt: skip
        self.roots: list[int] = forest.root.tolist()
        self.values: list[float] = values.tolist()
        self.places: list[int] = bins.places(forest).tolist()
        self.last = [len(edges) for edges in bins.edges]
        self.n_splits = self._splits()

    def _splits(self) -> list[int]:
        """Count the splits below and at each node; every way leads to a later node."""
        found = [1] * len(self.feature)
        for node in reversed(range(len(found))):
            found[node] += 0 if self.true_leaf[node] else found[self.true_id[node]]
            found[node] += 0 if self.false_leaf[node] else found[self.false_id[node]]
        return found

    def ways(self, node: int) -> Iterator[tuple[bool, int, Range, bool]]:
        """Give for both ways whether they end, where they lead, the range that they leave, and whether numbers up to the threshold go there."""
        feature, place, cover = self.feature[node], self.places[node], self.cover[node]
        for below in (True, False):
            ends, to = (
                (self.true_leaf[node] == 1, self.true_id[node])
                if below
                else (self.false_leaf[node] == 1, self.false_id[node])
            )
            came = self.leaf_cover[to] if ends else self.cover[to]
            low, high = (0, place) if below else (place + 1, self.last[feature])
            gap = (self.missing_true[node] == 1) == below
            yield ends, to, Range(feature, low, high, gap, came / cover if cover > 0 else 0.5), below

    def branches(self) -> Iterator[Branch | None]:
        """Give the branches; None for a leaf that more features lead to than a branch can ask about."""
        for root in self.roots:
            if self._is_constant(root):
                yield Branch(leaves=[Leaf({}, {}, {}, self.values[self.true_id[root]])])
                continue
            waiting: list[tuple[bool, int, dict[int, Range]]] = [(False, root, {})]
            while waiting:
                is_leaf, at, path = waiting.pop()
                asked = len(path) + (0 if is_leaf else self.n_splits[at])
                if asked <= MOST_QUESTIONS:
                    yield self._branch(is_leaf, at, path)
                elif is_leaf:
                    yield None
                else:
                    for ends, to, open_, _ in self.ways(at):
                        waiting.append((ends, to, {**path, open_.feature: _within(path, open_)}))

    def _is_constant(self, root: int) -> bool:
        ends = self.true_leaf[root] and self.false_leaf[root]
        return bool(ends and self.true_id[root] == self.false_id[root])

    def _branch(self, is_leaf: bool, at: int, path: dict[int, Range]) -> Branch:
        ordered = [path[feature] for feature in sorted(path)]
        made = Branch(questions=list(ordered))
        bits = {each.feature: 1 << i for i, each in enumerate(ordered)}
        waiting = [(is_leaf, at, path, dict(bits), dict(bits))]
        while waiting:
            ended, node, ranges, mask, want = waiting.pop()
            if ended:
                made.leaves.append(Leaf(ranges, mask, want, self.values[node]))
                continue
            bit = 1 << len(made.questions)
            for ends, to, open_, below in self.ways(node):
                if below:
                    made.questions.append(open_)
                asks = {**mask, open_.feature: mask.get(open_.feature, 0) | bit}
                wants = {**want, open_.feature: want.get(open_.feature, 0) | (bit if below else 0)}
                waiting.append((ends, to, {**ranges, open_.feature: _within(ranges, open_)}, asks, wants))
        return made


def _within(path: dict[int, Range], open_: Range) -> Range:
    known = path.get(open_.feature)
    return open_ if known is None else known.narrowed(open_.low, open_.high, open_.share, gap=open_.gap)


def branches(forest: Forest, values: Array, bins: Bins) -> list[Branch] | None:
    """Cut a forest into branches; None where they or their tables would be too many.

    Parameters
    ----------
    forest
        Trees that know the weights of their training rows.
    values
        What each leaf adds: shape (n_leaves,).
    bins
        Of the forest.
    """
    found: list[Branch] = []
    n_rows = widest = 0
    for branch in _Walk(forest, values, bins).branches():
        if branch is None:
            return None
        if any(leaf.value for leaf in branch.leaves):
            found.append(branch)
            n_rows += 1 << len(branch.questions)
            widest = max(widest, len(branch.features))
            if n_rows * max(widest, 1) * 4 > MOST_BYTES:
                return None
    return found
