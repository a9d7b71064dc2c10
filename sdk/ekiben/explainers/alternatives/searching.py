"""Search for rows near one row that are answered as wanted: few columns changed, and those as little as may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from ekiben.explainers._context import Matrix
from ekiben.explainers.alternatives.actions import Room
from ekiben.explainers.alternatives.space import Flags, changed

MOST_SINGLES = 800  # rows of which one column is changed
MOST_VALUES = 40  # of one column, among them
MOST_EVERY = 20_000  # rows that are all asked, where the room holds no more
OPTIONS = 2  # values of each column that are joined with those of others
MOST_OPTIONS = 60
BEAM = 12
MOST_DEPTH = 5  # columns changed together, by the beam
NEAREST = 48  # reference rows to start from
THINNED, SHRUNK = 16, 8  # rows that are worked on together
SECTIONS = 8  # of a change, looked at together
ROUNDS = 4  # of sections of sections
OTHERS = 200  # rows among which other values of the same columns are looked for
RANDOM = 1_500  # rows of a last resort

Rows = npt.NDArray[np.int64]
Gaps = Callable[[Matrix], Matrix]  # for points, how far each is from what is wanted; 0 is there


@dataclass(slots=True)
class Search:
    """One row's search. Points are rows of numbers; `gaps` asks the model about them.

    Parameters
    ----------
    room
        What the row may become.
    gaps
        Asks the model.
    nearest
        Reference rows with a wanted answer, the nearest first.
    rng
        Draws what is tried where nothing else helped.
    n_wanted
        How many ways are looked for.
    """

    room: Room
    gaps: Gaps
    nearest: Matrix
    rng: np.random.Generator
    n_wanted: int
    found: list[Matrix] = field(default_factory=list)
    n_asked: int = 0

    def run(self) -> tuple[list[Matrix], bool]:
        """Give the best points that were found; and where there is none, whether every one was asked."""
        room = self.room
        if not room.free:
            return [], True
        self._beam(*self._single())
        self._ask(self._projected(self.nearest)[:NEAREST])
        if not self.found:
            self._ask(self._drawn())
        if not self.found and room.n_rows <= MOST_EVERY:
            self._ask(room.every())
            return self._best(), not self.found
        return self._best(), False

    def _ask(self, points: Matrix) -> Matrix:
        """Ask the model, and keep what is there."""
        if not len(points):
            return np.empty(0)
        self.n_asked += len(points)
        gaps = self.gaps(points)
        if (gaps == 0).any():
            self.found.append(points[gaps == 0])
        return gaps

    # ── one column, then several ──

    def _single(self) -> tuple[Matrix, Matrix]:
        """Change one column at a time."""
        free = self.room.free
        most = int(np.clip(MOST_SINGLES // len(free), 4, MOST_VALUES))
        values = {i: self.room.sides[i].some(most) for i in free}
        points = np.tile(self.room.own, (sum(map(len, values.values())), 1))
        for (start, end), (i, tried) in zip(
            pairwise(accumulate(map(len, values.values()), initial=0)), values.items(), strict=True
        ):
            points[start:end, i] = tried
        return points, self._ask(points)

    def _beam(self, singles: Matrix, gaps: Matrix) -> None:
        """Join the changes that help most, one column more at a time, until there are enough ways."""
        if not len(singles):
            return
        owners = self._changed(singles).argmax(axis=1)
        each = [i for owner in self.room.free for i in _least(gaps, np.flatnonzero(owners == owner), OPTIONS)]
        options = _least(gaps, np.array([i for i in each if gaps[i] > 0], dtype=np.int64), MOST_OPTIONS)
        self._ask(self._joined(singles, gaps, owners))
        states = singles[options[:BEAM]]
        for _ in range(MOST_DEPTH - 1):
            if len(self._ways()) >= self.n_wanted or not len(states):
                return
            points = self._longer(states, singles[options], owners[options])
            gaps = self._ask(points)
            states = points[_least(gaps, np.flatnonzero(gaps > 0), BEAM)]

    def _longer(self, states: Matrix, options: Matrix, owners: Rows) -> Matrix:
        """Change one column more in each state, by each of the options."""
        made = np.repeat(states, len(options), axis=0)
        places = np.tile(np.arange(len(options)), len(states))
        rows, columns = np.arange(len(made)), owners[places]
        more = ~self._changed(made)[rows, columns]
        made[rows, columns] = options[places, columns]
        return _distinct(made[more])

    def _joined(self, singles: Matrix, gaps: Matrix, owners: Rows) -> Matrix:
        """Join the best change of each column, the one that helps most first: one column, two, three, …."""
        best = [i for owner in self.room.free for i in _least(gaps, np.flatnonzero(owners == owner), 1)]
        best.sort(key=lambda i: gaps[i])
        points = np.tile(self.room.own, (len(best), 1))
        for n, i in enumerate(best):
            points[n:, owners[i]] = singles[i, owners[i]]
        return points

    # ── from rows that were seen ──

    def _projected(self, points: Matrix) -> Matrix:
        """Bring points into the room, without the row itself, the nearest first."""
        made = _distinct(self.room.fitting(points))
        made = made[self._changed(made).any(axis=1)]
        return np.asarray(made[np.argsort(self._effort(made), kind="stable")])

    def _drawn(self) -> Matrix:
        """Mix the row with reference rows, a random share of its columns."""
        points = self.room.space.points
        taken = points[self.rng.integers(len(points), size=RANDOM)]
        shares = self.rng.uniform(0.2, 1.0, size=(RANDOM, 1))
        return self._projected(np.where(self.rng.random(taken.shape) < shares, taken, self.room.own))

    # ── less ──

    def _best(self) -> list[Matrix]:
        """Thin and shrink what was found, and choose ways that differ in their columns."""
        if not self.found:
            return []
        self.found.append(self._thinned(np.array(self._ways(THINNED))))
        self.found.append(self._shrunk(np.array(self._ways(max(SHRUNK, self.n_wanted)))))
        return self._ways()

    def _ways(self, most: int | None = None) -> list[Matrix]:
        """Choose the least changes, of which none holds all columns of another; then, if they are few, other values of the same."""
        most = most or self.n_wanted
        if not self.found:
            return []
        points = np.concatenate(self.found)
        flags, effort = self._changed(points), self._effort(points)
        order = np.lexsort((effort, flags.sum(axis=1)))
        firsts = _firsts(flags, order)
        kept: list[int] = []
        for i in firsts:
            if not any((flags[i] >= flags[other]).all() for other in kept):
                kept.append(i)
            if len(kept) == most:
                return [points[i] for i in kept]
        kept += self._of_other_choices(points, flags, order, kept)[: most - len(kept)]
        return [points[i] for i in sorted(kept, key=lambda i: (flags[i].sum(), effort[i]))]

    def _of_other_choices(self, points: Matrix, flags: Flags, order: Rows, kept: list[int]) -> list[int]:
        """Find points that change the columns of one that is kept, to other choices."""
        chosen = np.array([not axis.is_ordered for axis in self.room.space.axes])
        known = {flags[i].tobytes() for i in kept}
        alike = [int(i) for i in order if flags[i].tobytes() in known][:OTHERS]
        told = {i: (flags[i].tobytes(), points[i, chosen & flags[i]].tobytes()) for i in (*kept, *alike)}
        seen = {told[i] for i in kept}
        return [i for i in alike if told[i] not in seen and not seen.add(told[i])]  # type: ignore[func-returns-value]

    def _thinned(self, points: Matrix) -> Matrix:
        """Put back, in each point, every column that is not needed: first many together, then one by one."""
        points = self._put_back_many(points)
        while True:
            rows, columns = np.nonzero(self._changed(points) & (self._changed(points).sum(axis=1) > 1)[:, None])
            if not len(rows):
                return points
            tried = self._put_back(points[rows], columns)
            there = self._ask(tried) == 0
            if not there.any():
                return points
            left = self._effort(tried)
            for row in np.unique(rows[there]):
                among = np.flatnonzero(there & (rows == row))
                points[row] = tried[among[np.argmin(left[among])]]

    def _put_back_many(self, points: Matrix) -> Matrix:
        """Put back the columns that help least, as many of them as can go."""
        rows, columns = np.nonzero(self._changed(points))
        gaps = self._ask(self._put_back(points[rows], columns))
        tried, owners = [], []
        for row, point in enumerate(points):
            own = np.flatnonzero(rows == row)
            order = columns[own[np.argsort(gaps[own], kind="stable")]]
            for n in range(2, len(order)):
                tried.append(np.where(np.isin(np.arange(len(point)), order[:n]), self.room.own, point))
                owners.append(row)
        made = points.copy()
        there = self._ask(np.array(tried)) == 0
        for i in np.flatnonzero(there):  # the later one puts back more
            made[owners[i]] = tried[i]
        return made

    def _put_back(self, points: Matrix, columns: Rows) -> Matrix:
        made = points.copy()
        made[np.arange(len(made)), columns] = self.room.own[columns]
        return made

    def _shrunk(self, points: Matrix) -> Matrix:
        """Bring numbers closer to the row's own: of each point all together, then one by one, the one that changes most first."""
        groups = [self._groups(point) for point in points]
        for turn in range(max(map(len, groups))):
            taken = [(i, each[turn]) for i, each in enumerate(groups) if turn < len(each)]
            rows, masks = np.array([i for i, _ in taken]), np.array([mask for _, mask in taken])
            points[rows] = self._closer(points[rows], masks)
        return points

    def _groups(self, point: Matrix) -> list[Flags]:
        """List the numbers that changed: all of them, then each."""
        space, own = self.room.space, self.room.own
        ordered = [axis.is_ordered for axis in space.axes]
        moved = self._changed(point) & ordered & ~np.isnan(own)
        each = [np.arange(len(point)) == column for column in np.flatnonzero(moved)]
        each.sort(key=lambda mask: -self._effort(np.where(mask, point, own)[None])[0])
        return [moved, *each] if len(each) > 1 else each

    def _closer(self, points: Matrix, masks: Flags) -> Matrix:
        """Find, by sections of sections, how little of the change in some columns is enough."""
        low, high = np.zeros(len(points)), np.ones(len(points))
        best = points
        for _ in range(ROUNDS):
            parts = np.arange(1, SECTIONS) / SECTIONS
            shares = low[:, None] + (high - low)[:, None] * parts
            tried = self._moved(points, masks, shares)
            there = np.zeros(tried.shape[:2], dtype=bool)
            new = self._changed(tried).any(axis=2) & changed(tried, best[:, None]).any(axis=2)
            if not new.any():
                break
            there[new] = self._ask(tried[new]) == 0
            first = np.where(there.any(axis=1), there.argmax(axis=1), len(parts))
            rows = np.flatnonzero(first < len(parts))
            best = best.copy()
            best[rows] = tried[rows, first[rows]]
            ends = np.column_stack([low, shares, high])
            low, high = ends[np.arange(len(ends)), first], ends[np.arange(len(ends)), first + 1]
        return best

    def _moved(self, points: Matrix, masks: Flags, shares: Matrix) -> Matrix:
        """Take shares of a change in some columns: of shape (n_points, n_shares, n_columns)."""
        own = self.room.own
        made = np.repeat(points[:, None, :], shares.shape[1], axis=1)
        for column in np.flatnonzero(masks.any(axis=0)):
            rows = masks[:, column]
            far = points[rows, column][:, None] - own[column]
            found = self.room.sides[column].fitting((own[column] + shares[rows] * far).ravel())
            made[rows, :, column] = found.reshape(-1, shares.shape[1])
        return made

    def _changed(self, points: Matrix) -> Flags:
        return changed(points, self.room.own)

    def _effort(self, points: Matrix) -> Matrix:
        return self.room.space.effort(points, self.room.own)


def _firsts(flags: Flags, order: Rows) -> list[int]:
    """Give, of rows in an order, the first of each pattern."""
    found: dict[bytes, int] = {}
    packed = np.packbits(flags, axis=1)
    for i in order.tolist():
        found.setdefault(packed[i].tobytes(), i)
    return list(found.values())


def _distinct(points: Matrix) -> Matrix:
    """Leave out points that came before."""
    whole = np.ascontiguousarray(points)
    if not whole.size:
        return whole
    told = whole.view(np.dtype((np.void, whole.dtype.itemsize * whole.shape[1]))).ravel()
    return np.asarray(whole[np.sort(np.unique(told, return_index=True)[1])])


def _least(gaps: Matrix, places: Rows, most: int) -> Rows:
    """Give the places of the smallest gaps among some."""
    return np.asarray(places[np.argsort(gaps[places], kind="stable")[:most]])
