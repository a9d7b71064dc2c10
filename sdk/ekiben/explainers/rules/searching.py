"""The search for an anchor: a beam of rules, all candidates of a step answered together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ekiben.explainers._intervals import fewest_met
from ekiben.explainers.rules.predicates import Codes, Predicate, Rule, Table, rule_of

FEWEST_TOGETHER = 50  # fewer rows than this would be drawn over and over
BEAM = 2  # rules that each step goes on from
N_DRAWN = 256  # rows under each of them, which tell of the next step's candidates too
N_RARE = 24  # of them must hold a candidate; otherwise it is drawn itself, so often
N_SETTLED = 4  # of the widest candidates, looked into together
N_TRIED = 192  # rows under each of them
N_DECIDED = 1024  # rows after which a rule is taken for what it seems
LEVEL = 1.0  # a rule is given up where the chance of its count, had it the threshold's precision, is below exp(-1)
SURE = 1.5  # standard errors by which its precision must be above the threshold
WORTH = 1.1  # a rule must cover so many times what another one does to be worth a look

Agree = Callable[[Codes], npt.NDArray[np.bool_]]
Packed = npt.NDArray[np.uint8]

_BITS = np.array([number.bit_count() for number in range(256)], dtype=np.uint8)


def n_set(masks: Packed) -> Codes:
    """Count the bits of each packed mask.

    >>> n_set(np.array([[255, 1], [0, 3]], dtype=np.uint8)).tolist()
    [9, 2]
    """
    return np.asarray(_BITS[masks].sum(axis=-1, dtype=np.int64))


class Draws:
    """Rows under a rule: whole rows of the background, with the columns of the rule from rows under it.

    The columns of the rule come together from one row, or where few rows are under the rule each from a row under its own
    predicate; where there is none, from the explained row.
    """

    def __init__(self, table: Table, rng: np.random.Generator) -> None:
        self.table, self.rng = table, rng
        self._sources: dict[Predicate, Codes] = {}

    def rows(self, predicates: Sequence[Predicate], n: int) -> Codes:
        """Draw n rows under one rule: (n_columns, n) numbers of rows."""
        rule = rule_of(predicates)
        return self.under([rule], np.packbits(self.table.holds(rule))[None], n)[:, 0]

    def under(self, rules: Sequence[Rule], masks: Packed, n: int) -> Codes:
        """Draw n rows under each rule, the same but for the columns of the rules: (n_columns, n_rules, n)."""
        n_columns, n_background = self.table.background.codes.shape
        rows = np.empty((n_columns, len(rules), n), dtype=np.int64)
        rows[:] = self.rng.integers(n_background, size=n)
        chances = self.rng.random((n_columns, n))
        whole, few = self._parted(masks)
        sources = _picked(masks[whole], n_background, chances[0])
        for column, which in _by(((one.column, i) for i, k in enumerate(whole) for one in rules[k])).items():
            rows[column, [whole[i] for i in which]] = sources[which]
        for one, which in _by((one, k) for k in few for one in rules[k]).items():
            rows[one.column, which] = self._source(one, chances[one.column])
        return rows

    def _parted(self, masks: Packed) -> tuple[list[int], list[int]]:
        """Part the rules with enough rows under them from the others."""
        enough = (n_set(masks) >= FEWEST_TOGETHER).tolist()
        return [k for k, is_so in enumerate(enough) if is_so], [k for k, is_so in enumerate(enough) if not is_so]

    def _source(self, one: Predicate, chances: npt.NDArray[np.float64]) -> Codes:
        """Draw from the rows under one predicate; where there is none, take the explained row."""
        found = self._sources.get(one)
        if found is None:
            listed = self.table.holds([one]).nonzero()[0]
            found = self._sources[one] = listed if len(listed) else np.array([self.table.n_background])
        return found[(chances * len(found)).astype(np.intp)]


def _picked(masks: Packed, n_background: int, chances: npt.NDArray[np.float64]) -> Codes:
    """Pick rows from those of each mask: (n_masks, n), the same chances for all."""
    found = np.flatnonzero(np.unpackbits(masks, axis=1, count=n_background).view(bool))
    counts = n_set(masks)[:, None]
    places = found[np.cumsum(counts)[:, None] - counts + (chances * counts).astype(np.intp)]
    return np.asarray(places - n_background * np.arange(len(masks))[:, None])


def _by(pairs: Iterable[tuple[Any, int]]) -> dict[Any, list[int]]:
    """Group numbers by what stands before them."""
    groups: dict[Any, list[int]] = {}
    for key, number in pairs:
        groups.setdefault(key, []).append(number)
    return groups


class Found(NamedTuple):
    """A rule of a search, with the background rows that it covers, and what was counted of it."""

    rule: Rule
    mask: Packed
    n_covered: int
    n: int
    n_met: int

    @property
    def precision(self) -> float:
        """The share of its rows that got the label."""
        return self.n_met / max(self.n, 1)


class Step:
    """The candidates of one step: their rules, how many rows each covers, and how often each met the label.

    `seen` and `seen_met` count rows of the shorter rule that a candidate grew from, where they hold the candidate too.
    """

    def __init__(self, rules: Sequence[Rule], masks: Packed) -> None:
        self.rules, self.masks, self.covered = rules, masks, n_set(masks)
        self.n, self.met, self.seen, self.seen_met = np.zeros((4, len(rules)), dtype=np.int64)

    @property
    def precision(self) -> npt.NDArray[np.float64]:
        """The share that met the label, of each, as far as is known."""
        return np.asarray((self.met + self.seen_met) / np.maximum(self.n + self.seen, 1))

    def found(self, i: int) -> Found:
        """Give one of them by its number."""
        return Found(self.rules[i], self.masks[i], int(self.covered[i]), int(self.n[i]), int(self.met[i]))


@dataclass(slots=True, eq=False)
class Search:
    """A search for the rule that covers most of the background and whose precision reaches `threshold`.

    As in [1]_ a beam of rules grows by one predicate a step. Rows are drawn under the rules of the beam and answered in one
    call; those of them that hold a further predicate tell how promising it is. The widest candidates that may reach the
    threshold are then drawn themselves, until a Chernoff bound [2]_ gives them up or they have shown what they are. A
    candidate that covers hardly more than the widest rule that did is dropped unseen.

    References
    ----------
    .. [1] Ribeiro, Singh, Guestrin, "Anchors: High-Precision Model-Agnostic Explanations", 2018.
    .. [2] Kaufmann, Kalyanakrishnan, "Information Complexity in Bandit Subset Selection", 2013.
    """

    table: Table
    draws: Draws
    agree: Agree
    threshold: float
    most_rows: int
    n_rows: int = 0
    reached: list[Found] = field(default_factory=list)
    _masks: Packed = field(init=False)
    _columns: Codes = field(init=False)

    def __post_init__(self) -> None:
        """Pack the masks of the row's predicates."""
        self._masks = np.packbits(self.table.held[:, :-1], axis=1)
        self._columns = np.array([one.column for one in self.table.predicates], dtype=np.intp)

    def found(self) -> list[Found]:
        """Give rules that reach the threshold, the widest first; if there is none, the most precise that was met."""
        step = Step([()], np.packbits(np.ones((1, self.table.n_background), dtype=bool), axis=1))
        met: list[Found] = []
        while len(step.rules) and self.n_rows < self.most_rows:
            self._settle(step)
            best = np.lexsort((-step.covered, -step.precision))[:BEAM]
            beam = Step([step.rules[i] for i in best.tolist()], step.masks[best])
            step = self._grown(beam)
            met += [beam.found(i) for i in range(len(beam.rules))]
        return self.reached or [max(met, key=lambda each: (each.precision, each.n_covered))]

    @property
    def _least(self) -> float:
        """What a rule must cover more than to be worth a look."""
        return self.reached[0].n_covered * WORTH if self.reached else -1

    def _grown(self, beam: Step) -> Step:
        """Draw rows under the rules of the beam, and add one predicate to each rule."""
        rows, agreed = self._asked(beam, np.arange(len(beam.rules)), N_DRAWN)
        step, of, added = self._longer(beam)
        holds = self.table.held[added[:, None], rows[self._columns[added], of]]
        step.seen, step.seen_met = holds.sum(axis=1), (holds & agreed[of]).sum(axis=1)
        rare = (step.seen < N_RARE).nonzero()[0]
        if len(rare):
            self._asked(step, rare, N_RARE)
        return step

    def _longer(self, beam: Step) -> tuple[Step, Codes, Codes]:
        """Add each predicate that tells anything; give also which rule each candidate has it from, and which it is."""
        made: dict[Rule, tuple[int, int]] = {}
        covered = n_set(beam.masks[:, None] & self._masks)
        fewer = (covered < beam.covered[:, None]) | (beam.covered[:, None] < FEWEST_TOGETHER)
        for k, i in np.argwhere((covered > self._least) & fewer).tolist():
            rule = rule_of([*beam.rules[k], self.table.predicates[i]])
            if rule != beam.rules[k]:
                made.setdefault(rule, (k, i))
        of, added = np.array(list(made.values()), dtype=np.intp).reshape(len(made), 2).T
        return Step(list(made), beam.masks[of] & self._masks[added]), of, added

    def _asked(self, step: Step, which: Codes, n: int) -> tuple[Codes, npt.NDArray[np.bool_]]:
        """Ask about n fresh rows under each of some candidates, and count; give the rows too, and which got the label."""
        rows = self.draws.under([step.rules[i] for i in which.tolist()], step.masks[which], n)
        agreed = self.agree(rows.reshape(len(rows), -1)).reshape(len(which), n)
        step.met[which] += agreed.sum(axis=1)
        step.n[which] += n
        self.n_rows += len(which) * n
        return rows, agreed

    def _settle(self, step: Step) -> None:
        """Ask about the widest rules that may reach the threshold until each does, or shows that it does not."""
        sure = self.threshold + SURE * (self.threshold * (1 - self.threshold) / N_DECIDED) ** 0.5
        while self.n_rows < self.most_rows:
            open_ = ((step.n < N_DECIDED) & (step.covered > self._least) & self._may(step)).nonzero()[0]
            if not len(open_):
                break
            widest = open_[np.lexsort((-step.precision[open_], -step.covered[open_]))][:N_SETTLED]
            tried = widest[step.n[widest] >= N_TRIED]
            some = tried if len(tried) else widest
            self._asked(step, some, N_DECIDED - N_TRIED if len(tried) else N_TRIED)
            done = some[(step.n[some] >= N_DECIDED) & (step.met[some] >= sure * step.n[some])]
            found = [step.found(i) for i in done.tolist()]
            self.reached = sorted([*self.reached, *found], key=lambda each: -each.n_covered)

    def _may(self, step: Step) -> npt.NDArray[np.bool_]:
        """Tell which candidates may still reach the threshold, by what was counted of them or of rows that hold them."""
        own, seen = (
            np.array([fewest_met(n, self.threshold, level=LEVEL) for n in counted.tolist()])
            for counted in (step.n, step.seen)
        )
        return np.asarray((step.met >= own) & ((step.seen_met >= seen) | (step.n >= N_TRIED)))
