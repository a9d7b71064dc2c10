"""A report on a whole model: what it leans on, how, with what else, and what it comes down to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from ekiben.drawing import STYLE
from ekiben.overviews._showing import Shown, plain
from ekiben.overviews.curve import Curve
from ekiben.overviews.importance import Importance
from ekiben.overviews.interactions import Interactions
from ekiben.overviews.surrogate import Surrogate

FORMAT = 1
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root{{color-scheme:light dark}}
body{{margin:2rem auto;max-width:60rem;padding:0 1rem;font:15px/1.5 system-ui,sans-serif}}
.ekiben{{max-width:none!important}}
</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A report on a whole model: what it leans on, how, with what else, and what it comes down to.

    It is made from the reference when a model is packed, and holds aggregates alone: no row of the data. Its figures are
    of few rows; `package.importance()`, `package.curve(…)` and their like tell more.

    Parameters
    ----------
    name
        The name of the package.
    importance
        How much the answers move when a column is shuffled.
    curves
        Partial dependence on the strongest columns.
    interactions
        Which of them the model reads together; None where it is slow to ask, or has one column.
    surrogate
        A tree that imitates the model; None where there are too few rows for one.
    """

    name: str
    importance: Importance
    curves: tuple[Curve, ...]
    interactions: Interactions | None
    surrogate: Surrogate | None

    @property
    def parts(self) -> Iterator[Shown]:
        """Go through what it holds."""
        found = (self.importance, *self.curves, self.interactions, self.surrogate)
        yield from (part for part in found if part is not None)

    def to_json(self) -> dict[str, Any]:
        """Write it as values that JSON knows, its numbers to six digits."""
        found: dict[str, Any] = plain(self)
        return {"format": FORMAT, **found}

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> Overview:
        """Read what `to_json` wrote."""
        if document["format"] != FORMAT:
            raise ValueError(document["format"])
        interactions, surrogate = document["interactions"], document["surrogate"]
        return cls(
            name=str(document["name"]),
            importance=Importance.of_json(document["importance"]),
            curves=tuple(map(Curve.of_json, document["curves"])),
            interactions=None if interactions is None else Interactions.of_json(interactions),
            surrogate=None if surrogate is None else Surrogate.of_json(surrogate),
        )

    def page(self) -> str:
        """Write it as one page of HTML that needs nothing from elsewhere, light or dark as its reader's browser."""
        return PAGE.format(title=escape(f"{self.name}: the model as a whole"), body=self._repr_html_())

    def __repr__(self) -> str:
        return "\n\n".join([f"{self.name}: the model as a whole", *map(repr, self.parts)])

    def _repr_html_(self) -> str:
        curves = "".join(f"<div>{curve._repr_html_()}</div>" for curve in self.curves)
        wide = [self.interactions, self.surrogate]
        rest = "".join(f"<div>{part._repr_html_()}</div>" for part in wide if part is not None)
        words = f"{self.importance.n_rows:,} rows of the reference; aggregates alone, no row of the data"
        return (
            f'{STYLE}<div class="ekiben"><h3>{escape(self.name)}: the model as a whole</h3>'
            f'<div class="sub">{words}</div><div>{self.importance._repr_html_()}</div>'
            f'<div style="display:grid;grid-template-columns:repeat(auto-fit,minmax(min(22rem,100%),1fr));gap:12px 24px;'
            f'margin:14px 0">{curves}</div>{rest}</div>'
        )
