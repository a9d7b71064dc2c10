"""The tables of branches, filled: what their leaves together add to each feature, for every way to answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from math import prod
from operator import or_
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.explainers.shapley.bins import Bins
from ekiben.explainers.shapley.branching import MOST_QUESTIONS, Branch, Range
from ekiben.explainers.shapley.paths import rule
from ekiben.explainers.shapley.tables import Tables

if TYPE_CHECKING:
    from ekiben.models import Array

LEAVES_AT_ONCE = 2_000
EXACT_BYTES = 1_000_000  # up to here numbers are kept in 64 bits: they stay near all the same


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
    asked = [(branch, sorted({bins.players[feature] for feature in branch.features})) for branch in found]
    asked.sort(key=lambda each: -len(each[1]))  # so that those of as many players are added up together
    found, players = [branch for branch, _ in asked], [own for _, own in asked]
    answers, slots = _asked(found, bins)
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
