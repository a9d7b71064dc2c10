"""How an explanation shows itself: as a card in a notebook, as a page, and as a picture."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

from ekiben.errors import MissingExtraError
from ekiben.explanations import cards, pages
from ekiben.explanations.look import CARD

if TYPE_CHECKING:
    from ekiben.plots.figures import Axes, Figure


class Shown:
    """What every kind of explanation can do to be seen."""

    __slots__ = ()

    kind: ClassVar[str]
    method: str
    faithfulness_error: float
    elapsed_ms: float

    def plot(self, *, ax: Axes | None = None) -> Figure:
        """Draw a picture with matplotlib, to change and to save.

        Parameters
        ----------
        ax
            Axes to draw on; by default those of a figure of its own.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        raise NotImplementedError

    def html(self, language: str = "en") -> str:
        """Draw a card of HTML, which needs a stylesheet around it; a notebook and a page have one."""
        return cards.card(self, language)

    def page(self, language: str = "en") -> str:
        """Write a whole page of HTML on this decision, which needs nothing from elsewhere.

        Parameters
        ----------
        language
            `en` or `fr`.

        Raises
        ------
        SpecError
            If there are no words of the language.
        """
        return pages.page([self], language)

    def _repr_html_(self) -> str:
        return sheet(section(self, picture(self) or self.html()))


def picture(shown: Any) -> str:
    """Draw the picture that stands in a notebook for an attribution; empty where there is no matplotlib."""
    if getattr(shown, "kind", "attribution") != "attribution":
        return ""  # a table of HTML reads better than a picture of one
    try:
        drawn: str = shown.plot()._repr_html_()
    except MissingExtraError:
        return ""
    return drawn


def section(one: Any, inside: str) -> str:
    """Put a card or a picture into a frame, with how it was made below it."""
    foot = f"{escape(one.method)} · error {one.faithfulness_error:.2g} · {one.elapsed_ms:.3g} ms"
    return f'<section>{inside}<p class="note">{foot}</p></section>'


def sheet(inside: str) -> str:
    """Put sections below the stylesheet that they need."""
    return f'<style>{CARD}</style><div class="ek">{inside}</div>'
