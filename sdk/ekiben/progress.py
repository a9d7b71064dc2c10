"""Show the step at hand of long work: to who asked for it, in a notebook's cell, or on a terminal."""

from __future__ import annotations

import html
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ekiben.errors import SpecError

Progress = Callable[[str], None]


@contextmanager
def shown(progress: Progress | bool | None = None) -> Iterator[Progress]:
    """Give a function that takes a few words before each step.

    Parameters
    ----------
    progress
        Takes the words instead; False keeps them back. Without it they are shown where somebody watches, and nowhere else.

    Raises
    ------
    SpecError
        If `progress` cannot be called.

    Examples
    --------
    >>> steps = []
    >>> with shown(steps.append) as say:
    ...     say("packing")
    >>> steps
    ['packing']
    """
    if callable(progress):
        yield progress
    elif progress not in (None, True, False):
        raise SpecError(
            f"`progress` must be a function of a text, or False for silence. Got {type(progress).__name__}."
        )
    elif progress is False:
        yield _silent
    elif _in_notebook():
        yield from _in_cell()
    elif sys.stderr.isatty():
        yield from _on_terminal()
    else:
        yield _silent


def _silent(_words: str) -> None:
    """Say nothing."""


def show_link(url: str) -> None:
    """Show an address in a notebook's cell; elsewhere nobody could click on it."""
    if _in_notebook():
        display, page = _display()
        display(page(f'<a href="{html.escape(url)}" target="_blank">{html.escape(url)}</a>'))


def show(thing: Any) -> None:
    """Show a value below a notebook's cell; elsewhere who asked for it prints it."""
    if _in_notebook():
        display, _ = _display()
        display(thing)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


def _display() -> tuple[Any, Any]:
    from IPython.display import HTML, display

    return display, HTML


def _in_cell() -> Iterator[Progress]:
    display, page = _display()
    cell = display(page(""), display_id=True)
    yield lambda words: cell.update(page(f'<span style="opacity:.65">{html.escape(words)} …</span>'))
    cell.update(page(""))


def _on_terminal() -> Iterator[Progress]:
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("") as status:
        yield lambda words: status.update(escape(words))  # what a column is called is no markup
