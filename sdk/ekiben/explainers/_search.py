"""Search for rows near one row that are answered as wanted: few columns changed, and those as little as may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from ekiben.explainers._actions import Flags, Room
from ekiben.explainers._context import Matrix

MOST_SINGLES = 800  # rows of which one column is changed
MOST_VALUES = 40  # of one column, among them
MOST_EVERY = 20_000  # rows that are all asked, where the room holds no more
OPTIONS = 2  # values of each column that are joined with those of others
BEAM = 12
MOST_DEPTH = 5  # columns changed together, by the beam
NEAREST = 48  # reference rows to start from
THINNED, SHRUNK = 16, 8  # rows that are worked on together
SECTIONS = 8  # of a change, looked at together
ROUNDS = 9
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
        self.found += list(points[gaps == 0])
        return gaps

    # ── one column, then several ──

    def _single(self) -> tuple[Matrix, Matrix]:
        """Change one column at a time."""
        free = self.room.free
        most = int(np.clip(MOST_SINGLES // len(free), 4, MOST_VALUES))
        values = {i: self.room.sides[i].some(most) for i in free}
        points = np.tile(self.room.own, (sum(map(len, values.values())), 1))
        for (start, end), (i, tried) in zip(pairwise(accumulate(map(len, values.values()), initial=0)), values.items(), strict=True):
            points[start:end, i] = tried
        return points, self._ask(points)

    def _beam(self, singles: Matrix, gaps: Matrix) -> None:
        """Join the changes that help most, one column more at a time, until there are enough ways."""
        if not len(singles):
            return
        owners = self._changed(singles).argmax(axis=1)
        options = [i for owner in self.room.free for i in _least(gaps, np.flatnonzero(owners == owner), OPTIONS)]
        options = [i for i in options if gaps[i] > 0]
        self._ask(self._joined(singles, gaps, owners))
        states = singles[_least(gaps, np.array(options, dtype=np.int64), BEAM)]
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
        return np.unique(made[more], axis=0)

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
        made = np.unique(self.room.fitting(points), axis=0) if len(points) else points
        made = made[self._changed(made).any(axis=1)]
        return made[np.argsort(self._effort(made), kind="stable")]

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
        thinned = self._thinned(np.array(self._ways(THINNED)))
        self.found += list(thinned)
        shrunk = self._shrunk(np.array(self._ways(SHRUNK)))
        self.found += list(shrunk)
        return self._ways()

    def _ways(self, most: int | None = None) -> list[Matrix]:
        """Choose the least changes, of which none holds all columns of another; then, if they are few, other values of the same."""
        most = most or self.n_wanted
        points = np.unique(np.array(self.found), axis=0) if self.found else np.empty((0, len(self.room.own)))
        changed, effort = self._changed(points), self._effort(points)
        order = np.lexsort((effort, changed.sum(axis=1)))
        columns: list[Flags] = []
        kept: list[int] = []
        for i in order:
            if not any((changed[i] | other == changed[i]).all() for other in columns):
                columns.append(changed[i])
                kept.append(int(i))
            if len(kept) == most:
                break
        kept += self._of_other_choices(points, changed, order, kept)[: most - len(kept)]
        return [points[i] for i in sorted(kept, key=lambda i: (changed[i].sum(), effort[i]))]

    def _of_other_choices(self, points: Matrix, changed: Flags, order: Rows, kept: list[int]) -> list[int]:
        """Find points that change the columns of one that is kept, to other choices."""
        chosen = np.array([not axis.is_ordered for axis in self.room.space.axes])
        seen = {tuple(np.where(chosen & changed[i], points[i], np.nan).tolist()) for i in kept}
        seen = {tuple(map(str, each)) for each in seen}
        sets = [changed[i] for i in kept]
        others = []
        for i in order:
            told = tuple(map(str, np.where(chosen & changed[i], points[i], np.nan).tolist()))
            if told not in seen and any((changed[i] == each).all() for each in sets):
                seen.add(told)
                others.append(int(i))
        return others

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
        made = points.copy()
        tries, owners = [], []
        for row, point in enumerate(points):
            own = np.flatnonzero(rows == row)
            order = columns[own[np.argsort(gaps[own], kind="stable")]]
            for n in range(2, len(order)):
                tried = point.copy()
                tried[order[:n]] = self.room.own[order[:n]]
                tries.append(tried)
                owners.append(row)
        if tries:
            there = self._ask(np.array(tries)) == 0
            for i in np.flatnonzero(there):  # the later one puts back more
                made[owners[i]] = tries[i]
        return made

    def _put_back(self, points: Matrix, columns: Rows) -> Matrix:
        made = points.copy()
        made[np.arange(len(made)), columns] = self.room.own[columns]
        return made

    def _shrunk(self, points: Matrix) -> Matrix:
        """Bring numbers closer to the row's own, of each point the one that saves most at a time."""
        ordered = np.array([axis.is_ordered for axis in self.room.space.axes])
        for _ in range(ROUNDS):
            tried, owners = self._closer(points, ordered)
            if not len(tried):
                break
            there = self._ask(tried) == 0
            saved = self._effort(points)[owners] - self._effort(tried)
            if not (there & (saved > 0)).any():
                break
            for row in np.unique(owners[there]):
                among = np.flatnonzero(there & (owners == row))
                points[row] = tried[among[np.argmax(saved[among])]]
        return points

    def _closer(self, points: Matrix, ordered: Flags) -> tuple[Matrix, Rows]:
        """Move one number at a time towards the row's own, and all together, by eighths and by the least step."""
        tried, owners = [], []
        for row, columns in _movable(self._changed(points) & ordered & ~np.isnan(self.room.own)):
            groups = [[column] for column in columns] + ([columns] if len(columns) > 1 else [])
            for group in groups:
                for point in self._sections(points[row], group):
                    tried.append(point)
                    owners.append(row)
        if not tried:
            return np.empty((0, points.shape[1])), np.empty(0, dtype=np.int64)
        made, places = np.array(tried), np.array(owners)
        new = self._effort(made) < self._effort(points)[places]
        return made[new], places[new]

    def _sections(self, point: Matrix, columns: list[int]) -> Iterator[Matrix]:
        own = self.room.own
        shares = np.arange(1, SECTIONS) / SECTIONS
        shares = np.concatenate([shares, [1 - 1 / 64, 1 - 1 / 512]])
        made = np.tile(point, (len(shares), 1))
        for column in columns:
            side = self.room.sides[column]
            made[:, column] = side.fitting(own[column] + shares * (point[column] - own[column]))
        yield from made

    def _changed(self, points: Matrix) -> Flags:
        return self.room.space.changed(points, self.room.own)

    def _effort(self, points: Matrix) -> Matrix:
        return self.room.space.effort(points, self.room.own)


def _movable(flags: Flags) -> Iterator[tuple[int, list[int]]]:
    for row in range(len(flags)):
        if flags[row].any():
            yield row, np.flatnonzero(flags[row]).tolist()


def _least(gaps: Matrix, places: Rows, most: int) -> Rows:
    """Give the places of the smallest gaps among some."""
    return places[np.argsort(gaps[places], kind="stable")[:most]]
