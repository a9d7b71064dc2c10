"""Shapley values from tables: what every branch adds to each feature, for all ways in which a row can meet its splits.

A *branch* is a part of a tree that hangs on at most eight questions: whether the row keeps to the ranges on the way there,
and which way it goes at each split within. Their answers are one byte, and the byte names a row of the branch's table. So a
row costs one search a feature, some bits, and one look-up a branch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, reduce
from math import prod
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ekiben.compiling.forest import Forest
from ekiben.errors import IntegrityError
from ekiben.explainers._header import read_array
from ekiben.explainers.shapley.bins import Bins
from ekiben.explainers.shapley.paths import rule
from ekiben.loops import loops

if TYPE_CHECKING:
    from ekiben.models import Array

MOST_QUESTIONS = 8  # of a branch: a byte
MOST_BYTES = 64_000_000  # of the tables of a model
LEAVES_AT_ONCE = 2_000
EXACT_BYTES = 16_000_000  # up to here numbers are kept in 64 bits


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What the trees of one output add to each feature of a row, looked up.

    Parameters
    ----------
    bins
        Of the forest.
    answers
        For each feature a byte row for each bin, the last for a missing number: the answers to the questions on it.
    slots
        Where the bit of each of the eight questions of each branch is: shape (8 n_branches,).
    begins
        Where the table of each branch begins: shape (n_branches,).
    table
        What is added, for each byte that a branch can get: shape (n_rows, n_slots).
    owners
        Which feature of the model each slot of each branch is of; `n_players` for none: shape (n_branches * n_slots,).
    base
        What the trees give on average.
    """

    bins: Bins
    answers: list[Array]
    slots: Array
    begins: Array
    table: Array
    owners: Array
    base: float
    n_players: int = field(init=False)
    _taken: Any = field(init=False)

    def __post_init__(self) -> None:
        """Count the features of the model once, see that the arrays fit, and let the inner loops take them over."""
        object.__setattr__(self, "n_players", self.bins.n_players)
        self._check()
        object.__setattr__(self, "_taken", self._taken_over())

    def _taken_over(self) -> Any:
        """Give what the inner loops hold of the tables; None where they are not built, or there is nothing to look up."""
        if loops is None or not len(self.begins) or self.table.dtype not in (np.float32, np.float64):
            return None
        edges = [np.asarray(each, dtype=np.float64) for each in self.bins.edges]
        parts = (
            np.concatenate(edges),
            np.array([len(each) for each in edges], dtype=np.int64),
            np.concatenate([each.ravel() for each in self.answers]),
            np.array([each.shape[1] for each in self.answers], dtype=np.int64),
            *(each.astype(np.int64) for each in (self.slots, self.begins, self.owners)),
        )
        bins, single = self.bins, self.table.dtype == np.float32
        try:
            return loops.tables(self.n_players, bins.strict, bins.bits == 32, single, self.table, parts)
        except ValueError:
            raise IntegrityError(_UNFIT) from None

    def row(self, features: Sequence[float]) -> Array:
        """Break the sum for a row down: shape (n_features,)."""
        if loops is not None and self._taken is not None:
            parts: Array = np.zeros(self.n_players + 1)
            loops.parts(self._taken, features, parts)
            return parts[:-1]
        bins, answers = self.bins.row(features), self.answers
        told = [answers[i][bins[i]] for i in range(len(bins))]
        bits = np.unpackbits(np.concatenate([*told, _NONE]), bitorder="little")
        asked = np.packbits(bits.take(self.slots), bitorder="little")  # eight a branch: a byte
        found = self.table.take(self.begins + asked, axis=0)
        n_players = self.n_players
        summed: Array = np.bincount(self.owners, weights=found.ravel(), minlength=n_players + 1)[:n_players]
        return summed

    def save(self, folder: Path, stem: str) -> None:
        """Write the arrays."""
        widths = np.array([each.shape for each in self.answers], dtype=np.int64).reshape(-1, 2)
        flat = np.concatenate([each.ravel() for each in self.answers] or [_NONE[:0]])
        for name, array in (
            ("widths", widths), ("answers", flat), ("slots", self.slots), ("begins", self.begins),
            ("table", self.table), ("owners", self.owners),
        ):  # fmt: skip
            np.save(folder / f"{stem}-{name}.npy", array, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, stem: str, bins: Bins, base: float) -> Tables:
        """Read what `save` wrote; the table stays in the file until it is looked into.

        Raises
        ------
        IntegrityError
            If the arrays do not fit each other.
        """
        names = ("widths", "answers", "slots", "begins", "owners")
        widths, flat, slots, begins, owners = (read_array(folder / f"{stem}-{name}.npy") for name in names)
        table = np.asarray(np.load(folder / f"{stem}-table.npy", mmap_mode="r", allow_pickle=False))
        ends = np.cumsum(widths.prod(axis=1)).tolist()
        if (ends[-1] if ends else 0) != len(flat) or (widths < 0).any():
            raise IntegrityError(_UNFIT)
        return cls(
            bins=bins,
            answers=[
                flat[end - rows * width : end].reshape(rows, width)
                for (rows, width), end in zip(widths.tolist(), ends, strict=True)
            ],
            slots=slots,
            begins=begins,
            table=table,
            owners=owners,
            base=base,
        )

    def _check(self) -> None:
        """See that every look-up finds something."""
        n_bits = 8 * (sum(each.shape[1] for each in self.answers) + 1)
        n_branches, n_slots = len(self.begins), self.table.shape[1]
        fits = (
            len(self.answers) == len(self.bins.edges)
            and all(len(each) == len(edges) + 2 for each, edges in zip(self.answers, self.bins.edges, strict=True))
            and len(self.slots) == 8 * n_branches
            and len(self.owners) == n_branches * n_slots
            and _within_bounds(self.slots, n_bits)
            and _within_bounds(self.begins, len(self.table))
            and _within_bounds(self.owners, self.n_players + 1)
        )
        if not fits:
            raise IntegrityError(_UNFIT)


_UNFIT = "The tables of an explainer must fit each other. They do not. Pack the model again."
_NONE = np.zeros(1, dtype=np.uint8)  # the answer to a question that a branch does not ask


def _within_bounds(values: Array, n: int) -> bool:
    return bool(((values >= 0) & (values < n)).all())


def tabulated(found: list[Branch], bins: Bins, background: Array | None = None) -> Tables:
    """Fill the tables of branches.

    Parameters
    ----------
    found
        Branches of one forest.
    bins
        Of the forest.
    background
        Bins of rows, of shape (n_rows, n_features): the values are interventional then, and path-dependent without.
    """
    answers, slots = _asked(found, bins)
    players = [sorted({bins.players[feature] for feature in branch.features}) for branch in found]
    n_slots = max(map(len, players), default=0) or 1
    sizes = np.array([1 << len(branch.questions) for branch in found], dtype=np.int64)
    begins = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)[: len(found)]
    table = np.zeros((int(sizes.sum()), n_slots))
    owners = np.full((len(found), n_slots), bins.n_players, dtype=np.intp)
    for i, own in enumerate(players):
        owners[i, : len(own)] = own
    base = 0.0
    for group in _groups(found, players, bins.players):
        for part in group.parts():
            base += part.fill(table, begins, background)
    small = table.nbytes <= EXACT_BYTES
    return Tables(
        bins=bins,
        answers=answers,
        slots=slots,
        begins=begins,
        table=table if small else table.astype(np.float32),
        owners=owners.ravel(),
        base=base,
    )


def _asked(found: list[Branch], bins: Bins) -> tuple[list[Array], Array]:
    """Give the answers to the distinct questions for every bin, and where each branch finds its own."""
    numbers: list[dict[tuple[int, int, bool], int]] = [{} for _ in bins.edges]
    told = [
        [(each.feature, numbers[each.feature].setdefault((each.low, each.high, each.gap), len(numbers[each.feature])))
         for each in branch.questions]
        for branch in found
    ]  # fmt: skip
    answers, starts, start = [], [], 0
    for edges, known in zip(bins.edges, numbers, strict=True):
        at = np.arange(len(edges) + 1)[:, None]
        low, high, gap = (np.array(part) for part in zip(*known, strict=True)) if known else (np.empty(0),) * 3
        held = np.vstack([(low <= at) & (at <= high), gap.astype(bool)[None]])
        answers.append(np.packbits(held, axis=1, bitorder="little"))
        starts.append(start)
        start += 8 * answers[-1].shape[1]
    slots = np.full((len(found), MOST_QUESTIONS), start, dtype=np.intp)  # a bit that is 0
    for i, questions in enumerate(told):
        slots[i, : len(questions)] = [starts[feature] + number for feature, number in questions]
    return answers, slots.ravel()


# ── what a leaf adds ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Leaves with equally many features on their paths, in branches of equally many questions; arrays of a row a leaf.

    A feature may lie in several ranges, of which each is asked for itself: the last axis of their arrays.
    """

    branch: Array
    value: Array
    n_questions: int
    slot: Array
    mask: Array
    want: Array
    feature: Array
    low: Array
    high: Array
    gap: Array
    share: Array

    def parts(self) -> Iterator[_Group]:
        """Give so many leaves at once as memory can bear."""
        for start in range(0, len(self.branch), LEAVES_AT_ONCE):
            chosen = slice(start, start + LEAVES_AT_ONCE)
            arrays = {name: getattr(self, name)[chosen] for name in self.__dataclass_fields__ if name != "n_questions"}
            yield _Group(n_questions=self.n_questions, **arrays)

    def fill(self, table: Array, begins: Array, background: Array | None) -> float:
        """Add what the leaves add to the tables of their branches, and give what they add to the base."""
        n_leaves, n = self.share.shape
        chances = self._chances() if background is None else self._shares_of(background)
        weighed = chances * self.value[:, None]
        base = float(weighed[:, -1].sum())  # where the background is in every range
        if n:
            added = (weighed @ _universal(n).reshape(1 << n, -1)).reshape(n_leaves, 1 << n, n)
            asked = np.arange(1 << self.n_questions)
            met = (asked[None, :, None] & self.mask[:, None]) == self.want[:, None]
            patterns = (met << np.arange(n)).sum(axis=2)
            told = added[np.arange(n_leaves)[:, None], patterns]
            rows = (begins[self.branch][:, None] + asked)[:, :, None]
            np.add.at(table, (rows, self.slot[:, None]), told)
        return base

    def _chances(self) -> Array:
        """Give the chance of each pattern of ranges that training rows keep to, each range by itself: (n_leaves, 2^n)."""
        found = np.ones((len(self.share), 1))
        for i in range(self.share.shape[1]):
            share = self.share[:, i, None]
            found = np.concatenate([found * (1 - share), found * share], axis=1)
        return found

    def _shares_of(self, background: Array) -> Array:
        """Give the share of background rows with each pattern of ranges that they keep to: (n_leaves, 2^n)."""
        n_leaves, n = self.share.shape
        at = background.T[self.feature]  # (n_leaves, n, n_ranges, n_rows)
        low, high, gap = (each[..., None] for each in (self.low, self.high, self.gap))
        inside = ((low <= at) & (at <= high) | (gap & (at < 0))).all(axis=2)
        patterns = (inside << np.arange(n)[:, None]).sum(axis=1)
        flat = patterns + (np.arange(n_leaves) << n)[:, None]
        counts: Array = np.bincount(flat.ravel(), minlength=n_leaves << n).reshape(n_leaves, 1 << n)
        return counts / len(background)


def _groups(found: list[Branch], players: list[list[int]], of: Sequence[int]) -> list[_Group]:
    gathered: dict[tuple[int, int], list[tuple[Any, ...]]] = {}
    for number, (branch, own) in enumerate(zip(found, players, strict=True)):
        slots = {player: i for i, player in enumerate(own)}
        for leaf in branch.leaves:
            asked: dict[int, list[int]] = {}
            for feature in sorted(leaf.ranges):
                asked.setdefault(of[feature], []).append(feature)
            ranges = [[leaf.ranges[feature] for feature in asked[player]] for player in sorted(asked)]
            row = (
                number,
                leaf.value,
                [slots[player] for player in sorted(asked)],
                [reduce(or_, (leaf.mask[feature] for feature in asked[player])) for player in sorted(asked)],
                [reduce(or_, (leaf.want[feature] for feature in asked[player])) for player in sorted(asked)],
                [prod(each.share for each in several) for several in ranges],
                ranges,
            )
            gathered.setdefault((len(asked), len(branch.questions)), []).append(row)
    return [_group(n, n_questions, rows) for (n, n_questions), rows in gathered.items()]


_OPEN = Range(0, -2, 2**62, gap=True, share=1.0)  # every number is in it, and a missing one


def _group(n: int, n_questions: int, rows: list[tuple[Any, ...]]) -> _Group:
    branch, value, slot, mask, want, share, ranges = zip(*rows, strict=True)
    most = max((len(each) for row in ranges for each in row), default=1)
    padded = [[[*each, *[_OPEN] * (most - len(each))] for each in row] for row in ranges]
    told = np.array(padded, dtype=np.float64).reshape(len(rows), n, most, 5)
    feature, low, high = (told[..., i].astype(np.int64) for i in range(3))

    def shaped(values: Any, kind: Any) -> Array:
        made: Array = np.array(values, dtype=kind).reshape(len(rows), n)
        return made

    return _Group(
        branch=np.array(branch, dtype=np.intp),
        value=np.array(value, dtype=np.float64),
        n_questions=n_questions,
        slot=shaped(slot, np.int64),
        mask=shaped(mask, np.int64),
        want=shaped(want, np.int64),
        share=shaped(share, np.float64),
        feature=feature,
        low=low,
        high=high,
        gap=told[..., 3] == 1,
    )


@cache
def _universal(n: int) -> Array:
    """Give what a leaf of value 1 with `n` features adds: shape (2^n background, 2^n explained, n), by who is in which range."""
    bits = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1
    explained, background = bits[None].astype(float), bits[:, None].astype(float)
    found = np.zeros((1 << n, 1 << n, n))
    for point, weight in zip(*rule(n), strict=True):
        each = explained * point + background * (1 - point)
        for i in range(n):
            found[:, :, i] += weight * np.delete(each, i, axis=2).prod(axis=2)
    made: Array = found * (explained - background)
    return made
