"""A simple model that imitates another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ekiben.explanations.rule import Label
from ekiben.overviews._showing import Shown, number, text_table

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.plots.figures import Axes, Figure

Form = Literal["tree", "linear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A part of the rows: the condition that leads there, the share of rows in it, and what is answered to them.

    `values` has a number for each of the surrogate's numbers; `branches` are two further parts, or none at a leaf.
    """

    condition: str
    share: float
    values: tuple[float, ...]
    branches: tuple[Branch, ...] = ()

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Branch]]:
        """Go through the parts from the top, each with its depth."""
        yield depth, self
        for each in self.branches:
            yield from each.walk(depth + 1)

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Branch:
        """Read the values of its fields back from JSON."""
        branches = tuple(map(cls.of_json, values["branches"]))
        return cls(**{**values, "values": tuple(values["values"]), "branches": branches})


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One term of a linear surrogate: its words, its weight in each number, and its standard deviation over the rows."""

    words: str
    column: str
    weights: tuple[float, ...]
    spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrogate(Shown):
    """A shallow tree, or a sparse linear model, over the raw columns that was fitted to a model's answers.

    Parameters
    ----------
    form, output
        Which of the two it is, and what the numbers are.
    labels
        The classes, where there is a number for each; empty for a single one.
    r2
        Fidelity: the share of the variance of the model's numbers that it explains, on rows it was not fitted on. At most 1.
    agreement
        The share of those rows to which it gives the model's label; None for a value.
    n_fitted, n_tested
        How many rows it was fitted on, and how many it was held against.
    tree
        The tree; None for a linear model.
    intercept, terms
        Of a linear model the constant of each number, and its terms, the strongest first.

    Examples
    --------
    >>> small = Branch(condition="rooms <= 3", share=0.5, values=(25.0,))
    >>> large = Branch(condition="rooms > 3", share=0.5, values=(50.0,))
    >>> Surrogate(
    ...     form="tree",
    ...     output="target",
    ...     labels=(),
    ...     r2=0.83,
    ...     agreement=None,
    ...     n_fitted=40,
    ...     n_tested=20,
    ...     tree=Branch(condition="", share=1.0, values=(37.5,), branches=(small, large)),
    ... )
    Surrogate tree: target; fidelity on 20 rows it was not fitted on: R² 0.830
    all rows: 37.5
      rooms <= 3 (50 %): 25
      rooms > 3 (50 %): 50
    """

    kind: ClassVar[str] = "surrogate"

    form: Form
    output: str
    labels: tuple[Label, ...]
    r2: float
    agreement: float | None
    n_fitted: int
    n_tested: int
    tree: Branch | None = None
    intercept: tuple[float, ...] = ()
    terms: tuple[Term, ...] = ()

    @property
    def title(self) -> str:
        """Say in a few words what it shows."""
        return f"Surrogate {'tree' if self.form == 'tree' else 'linear model'}: {self.output}"

    @property
    def fidelity(self) -> str:
        """Say how well it imitates the model."""
        same = "" if self.agreement is None else f", the same label for {percent(self.agreement)}"
        return f"fidelity on {self.n_tested:,} rows it was not fitted on: R² {self.r2:.3f}{same}"

    def to_frame(self) -> pd.DataFrame:
        """Make a table: a row a part of the tree or a term, with its numbers."""
        import pandas as pd

        names = [str(label) for label in self.labels] or ["value"]
        if self.tree is None:
            terms = [(term.words, term.column, *term.weights, term.spread) for term in self.terms]
            start = ("", "", *self.intercept, 0.0)
            return pd.DataFrame([start, *terms], columns=["term", "column", *names, "spread"])
        rows = [(depth, each.condition, each.share, *each.values) for depth, each in self.tree.walk()]
        return pd.DataFrame(rows, columns=["depth", "condition", "share", *names])

    def plot(self, *, ax: Axes | None = None) -> Figure:
        """Draw the tree, or for each term what its standard deviation moves, on matplotlib's axes; its own by default."""
        from ekiben.plots import overall, tree

        if self.tree is not None:
            return tree.draw(ax, self.title, self.fidelity, self.tree, self.labels)
        moved = [term.weights[-1] * term.spread for term in self.terms]
        return overall.bars(ax, self.title, [term.words for term in self.terms], moved, words=self.fidelity)

    def __repr__(self) -> str:
        told = self._branches() if self.tree is not None else self._terms()
        return f"{self.title}; {self.fidelity}\n{told}"

    def _branches(self) -> str:
        assert self.tree is not None
        return "\n".join(f"{'  ' * depth}{self._line(each)}" for depth, each in self.tree.walk())

    def _line(self, each: Branch) -> str:
        where = f"{each.condition} ({percent(each.share)})" if each.condition else "all rows"
        return f"{where}: {told(each.values, self.labels)}"

    def _terms(self) -> str:
        names = [str(label) for label in self.labels] or ["weight"]
        rows = [("(constant)", *map(number, self.intercept))]
        rows += [(term.words, *map(number, term.weights)) for term in self.terms]
        return text_table(("term", *names), rows)

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Surrogate:
        """Read the values of its fields back from JSON."""
        terms = tuple(Term(**{**each, "weights": tuple(each["weights"])}) for each in values["terms"])
        tree = None if values["tree"] is None else Branch.of_json(values["tree"])
        flat = {name: tuple(values[name]) for name in ("labels", "intercept")}
        return cls(**{**values, **flat, "terms": terms, "tree": tree})


def percent(share: float) -> str:
    """Write a share as a whole number of hundredths."""
    return f"{share * 100:.0f} %"


def told(values: tuple[float, ...], labels: tuple[Label, ...]) -> str:
    """Write a number, or of several the largest with its label."""
    if len(values) == 1:
        return number(values[0])
    best = max(range(len(values)), key=values.__getitem__)
    return f"{labels[best]} {number(values[best])}"
