"""Shapley values as sums over the paths to the leaves: for trees of any depth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling.forest import Forest
from ekiben.errors import IntegrityError
from ekiben.explainers._header import read_array
from ekiben.explainers.shapley.bins import Bins

if TYPE_CHECKING:
    from ekiben.models import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The paths on which as many distinct features lie: arrays of shape (n_paths, n_on_path), the features ascending.

    A number is in a path's range where its bin lies in [low, high], and a missing one where `gap`. `share` is the share
    of training rows that keep to the range, and `value` of shape (n_paths, n_numbers) what the leaf adds. `asked` is whose
    bin that is: the feature itself; or where splits by categories cut it, for each of them a feature of their own, which
    are the last axis of the arrays of ranges.
    """

    feature: Array
    asked: Array
    low: Array
    high: Array
    gap: Array
    share: Array
    value: Array


NAMES = ("feature", "asked", "low", "high", "gap", "share", "value")


def levels(forest: Forest, values: Array, bins: Bins) -> list[Level]:
    """Follow all paths at once, a level of the trees at a time, and join the ranges of a feature that comes again.

    Parameters
    ----------
    forest
        Trees that know the weights of their training rows.
    values
        What each leaf adds: shape (n_leaves, n_numbers).
    bins
        Of the forest.
    """
    found: dict[int, list[Level]] = {}
    for level in _unjoined(forest, values, bins):
        for joined in _joined(level, np.array(bins.players)):
            found.setdefault(joined.feature.shape[1], []).append(joined)
    return [_flat(_stacked(_padded(found[n]))) for n in sorted(found)]


def _unjoined(forest: Forest, values: Array, bins: Bins) -> Iterator[Level]:
    """Give the paths that end at each depth, a column for each node on them."""
    assert forest.cover is not None
    assert forest.leaf_cover is not None
    places, last = bins.places(forest), np.array([len(edges) for edges in bins.edges], dtype=np.int64)
    alone = (forest.true_leaf == 1) & (forest.false_leaf == 1) & (forest.true_id == forest.false_id)
    roots = forest.root
    single = roots[alone[roots]]
    if len(single):
        none = np.empty((len(single), 0), dtype=np.int64)
        yield Level(
            feature=none, asked=none, low=none, high=none, gap=none.astype(bool), share=none.astype(float),
            value=values[forest.true_id[single]],
        )  # fmt: skip
    node = roots[~alone[roots]]
    empty = np.empty((len(node), 0), dtype=np.int64)
    on = Level(
        feature=empty,
        asked=empty,
        low=empty,
        high=empty,
        gap=empty.astype(bool),
        share=empty.astype(np.float64),
        value=empty,
    )
    while len(node):
        feature, place = forest.feature[node], places[node]
        sides = []
        for true in (True, False):
            leaf, number = (
                (forest.true_leaf[node], forest.true_id[node])
                if true
                else (forest.false_leaf[node], forest.false_id[node])
            )
            is_leaf = leaf == 1
            cover = np.where(
                is_leaf, forest.leaf_cover[np.where(is_leaf, number, 0)], forest.cover[np.where(is_leaf, 0, number)]
            )
            step = Level(
                feature=np.column_stack([on.feature, feature]),
                asked=np.column_stack([on.feature, feature]),
                low=np.column_stack([on.low, np.zeros_like(place) if true else place + 1]),
                high=np.column_stack([on.high, place if true else last[feature]]),
                gap=np.column_stack([on.gap, (forest.missing_true[node] == 1) == true]),
                share=np.column_stack([on.share, _share(cover, forest.cover[node])]),
                value=number,
            )
            sides.append((is_leaf, step))
        for is_leaf, step in sides:
            if is_leaf.any():
                ended = _rows(step, is_leaf)
                yield Level(
                    feature=ended.feature, asked=ended.asked, low=ended.low, high=ended.high, gap=ended.gap, share=ended.share,
                    value=values[ended.value],
                )  # fmt: skip
        further = [_rows(step, ~is_leaf) for is_leaf, step in sides]
        on = _stacked(further)
        node = on.value


def _share(cover: Array, of: Array) -> Array:
    """Give the share of a node's training rows that go on to a child; where there are none, half."""
    found: Array = np.divide(cover, of, out=np.full(len(of), 0.5), where=of > 0)
    return found


def _rows(level: Level, chosen: Array) -> Level:
    return Level(
        feature=level.feature[chosen], asked=level.asked[chosen], low=level.low[chosen], high=level.high[chosen], gap=level.gap[chosen],
        share=level.share[chosen], value=level.value[chosen],
    )  # fmt: skip


def _stacked(parts: list[Level]) -> Level:
    return Level(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in NAMES})


OPEN = {"asked": 0, "low": -2, "high": 2**62, "gap": True}  # a range that every number is in, and a missing one


def _joined(level: Level, players: Array) -> Iterator[Level]:
    """Join what a path says of one feature, and give the paths by how many features they have then."""
    n_paths, depth = level.feature.shape
    if not depth:
        yield Level(
            feature=level.feature, asked=level.asked[..., None], low=level.low[..., None], high=level.high[..., None],
            gap=level.gap[..., None], share=level.share, value=level.value,
        )  # fmt: skip
        return
    order = np.lexsort((level.feature, players[level.feature]), axis=1)
    asked, low, high, gap, share = (
        np.take_along_axis(part, order, axis=1)
        for part in (level.feature, level.low, level.high, level.gap, level.share)
    )
    starts = _starts(asked)
    ranges = {
        "asked": asked.ravel()[starts],
        "low": np.maximum.reduceat(low.ravel(), starts),
        "high": np.minimum.reduceat(high.ravel(), starts),
        "gap": np.logical_and.reduceat(gap.ravel(), starts),
    }
    begun = _starts(players[asked])  # where a feature of the model begins
    feature, shares = players[asked].ravel()[begun], np.multiply.reduceat(share.ravel(), begun)
    entry = np.searchsorted(begun, starts, side="right") - 1
    within = np.arange(len(starts)) - np.searchsorted(entry, entry)
    wide = {name: _laid(values, entry, within, len(begun), OPEN[name]) for name, values in ranges.items()}
    of = begun // depth
    counts = np.bincount(of, minlength=n_paths)
    for n in np.unique(counts):
        here, chosen = np.flatnonzero(counts == n), counts[of] == n
        shaped = {name: values[chosen].reshape(len(here), n, -1) for name, values in wide.items()}
        yield Level(
            feature=feature[chosen].reshape(len(here), n),
            share=shares[chosen].reshape(len(here), n),
            value=level.value[here],
            **shaped,
        )


def _starts(values: Array) -> Array:
    """Tell where in the flat array a run of equal values of a row begins."""
    first = np.ones(values.shape, dtype=bool)
    first[:, 1:] = values[:, 1:] != values[:, :-1]
    return np.flatnonzero(first.ravel())


def _laid(values: Array, entry: Array, within: Array, n: int, fill: Any) -> Array:
    """Lay values side by side that are of one entry: (n, n_most)."""
    made = np.full((n, int(within.max(initial=0)) + 1), fill, dtype=values.dtype)
    made[entry, within] = values
    return made


def _padded(parts: list[Level]) -> list[Level]:
    """Give all parts room for as many ranges of a feature."""
    most = max(part.asked.shape[2] for part in parts)
    return [
        replace(part, **{name: _wide(getattr(part, name), most, fill) for name, fill in OPEN.items()}) for part in parts
    ]


def _wide(values: Array, n: int, fill: Any) -> Array:
    return np.pad(values, ((0, 0), (0, 0), (0, n - values.shape[2])), constant_values=fill)


def _flat(level: Level) -> Level:
    """Drop the last axis where each feature has one range."""
    if level.asked.shape[2] > 1:
        return level
    return replace(level, **{name: getattr(level, name)[..., 0] for name in OPEN})


def n_points(n: int) -> int:
    """Count the points of the rule for `n` features, which takes long to find for thousands."""
    return max(1, (n + 1) // 2)


@cache
def rule(n: int) -> tuple[Array, Array]:
    """Give the points in [0, 1] and weights that integrate exactly what `n` features ask for."""
    points, weights = np.polynomial.legendre.leggauss(n_points(n))  # type: ignore[no-untyped-call]
    return (points + 1) / 2, weights / 2


class Paths:
    """What the paths to the leaves of a forest add to each feature of a row: path-dependent.

    Parameters
    ----------
    parts
        The paths.
    bins
        Of the forest.
    """

    def __init__(self, parts: list[Level], bins: Bins) -> None:
        self.parts, self.bins, self.n_features = parts, bins, bins.n_players
        summed = [(part.share.prod(axis=1)[:, None] * part.value).sum(axis=0) for part in parts]
        self.base: list[float] = np.sum(summed, axis=0).tolist()  # what the forest gives on average, for each number

    def row(self, features: Sequence[float], number: int = 0) -> list[float]:
        """Break one of the sums for a row down: one number for each feature."""
        bins = np.array(self.bins.row(features))
        gaps = bins < 0
        total = np.zeros(self.n_features)
        for part in self.parts:
            if part.feature.shape[1]:
                added = _added(part, bins, gaps if gaps.any() else None) * part.value[:, number, None]
                total += np.bincount(part.feature.ravel(), weights=added.ravel(), minlength=self.n_features)
        broken: list[float] = total.tolist()
        return broken

    def save(self, folder: Path) -> None:
        """Write the paths, one array for each of their parts and for how many features lie on them."""
        for part in self.parts:
            for name in NAMES:
                np.save(folder / f"paths-{part.feature.shape[1]}-{name}.npy", getattr(part, name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, bins: Bins) -> Paths:
        """Read what `save` wrote.

        Raises
        ------
        IntegrityError
            If the arrays do not fit the trees.
        """
        counts = sorted(int(path.name.split("-")[1]) for path in folder.glob("paths-*-value.npy"))
        parts = [Level(**{name: read_array(folder / f"paths-{n}-{name}.npy") for name in NAMES}) for n in counts]
        fits = bool(parts) and all(
            len({len(getattr(part, name)) for name in NAMES}) == 1
            and len({getattr(part, name).shape[:2] for name in NAMES if name != "value"}) == 1
            and len({getattr(part, name).shape for name in OPEN}) == 1
            and ((part.asked >= 0) & (part.asked < len(bins.edges))).all()
            and ((part.feature >= 0) & (part.feature < bins.n_players)).all()
            for part in parts
        )
        if not fits:
            raise IntegrityError("The paths of an explainer must fit its trees. They do not. Pack the model again.")
        return cls(parts, bins)


def _added(part: Level, bins: Array, gaps: Array | None) -> Array:
    """Give what each feature adds to 1 at the end of each path: shape (n_paths, n_on_path)."""
    at = bins[part.asked]
    inside = (part.low <= at) & (at <= part.high)
    if gaps is not None:
        inside |= part.gap & gaps[part.asked]
    if inside.ndim == 3:
        inside = inside.all(axis=2)
    summed = np.zeros(part.share.shape)
    for point, weight in zip(*rule(part.feature.shape[1]), strict=True):
        each = part.share * (1 - point) + inside * point
        whole = each.prod(axis=1, keepdims=True)
        summed += weight * np.divide(whole, each, out=np.zeros_like(each), where=each > 0)
    return (inside - part.share) * summed
