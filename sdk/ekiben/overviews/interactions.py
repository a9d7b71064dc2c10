"""Which raw columns a model reads together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ekiben.overviews._showing import Shown, number, text_table

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.plots.figures import Axes, Figure

SHOWN_PAIRS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """How much two columns do together beyond what each does alone.

    `h` is 0 where their effects add up, and 1 where all of their joint effect is of their interplay. `strength` is the
    part that does not add up, as its root mean square, in the units of the answer.
    """

    columns: tuple[str, str]
    h: float
    strength: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Interactions(Shown):
    """How much pairs of columns interact: Friedman's H statistic [1]_, the strongest pair first.

    `h` of a pair that hardly moves the answer says little; `strength` tells which pairs matter.

    References
    ----------
    .. [1] Friedman, Popescu, "Predictive Learning via Rule Ensembles", 2008.

    Examples
    --------
    >>> pair = Interaction(columns=("rooms", "new"), h=0.25, strength=2.0)
    >>> Interactions(output="target", pairs=(pair,), n_rows=40)
    Interactions: target; 40 rows
    columns      H     strength
    rooms × new  0.25  2
    """

    kind: ClassVar[str] = "interactions"

    output: str
    pairs: tuple[Interaction, ...]
    n_rows: int

    @property
    def title(self) -> str:
        """Say in a few words what it shows."""
        return f"Interactions: {self.output}"

    def to_frame(self) -> pd.DataFrame:
        """Make a table: a row a pair, with `first`, `second`, `h` and `strength`."""
        import pandas as pd

        rows = [(*pair.columns, pair.h, pair.strength) for pair in self.pairs]
        return pd.DataFrame(rows, columns=["first", "second", "h", "strength"])

    def plot(self, *, ax: Axes | None = None) -> Figure:
        """Draw a bar for each pair, as strong as it is, with its H, on matplotlib's axes."""
        from ekiben.plots import overall

        shown = self.pairs[:SHOWN_PAIRS]
        notes = [f"H {pair.h:.2f}" for pair in shown]
        return overall.bars(
            ax, self.title, [_name(pair) for pair in shown], [pair.strength for pair in shown], notes=notes
        )

    def __repr__(self) -> str:
        rows = [(_name(pair), f"{pair.h:.2f}", number(pair.strength)) for pair in self.pairs[:SHOWN_PAIRS]]
        return f"{self.title}; {self.n_rows:,} rows\n{text_table(('columns', 'H', 'strength'), rows)}"

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Interactions:
        """Read the values of its fields back from JSON."""
        pairs = (Interaction(**{**each, "columns": tuple(each["columns"])}) for each in values["pairs"])
        return cls(**{**values, "pairs": tuple(pairs)})


def _name(pair: Interaction) -> str:
    return " × ".join(pair.columns)
