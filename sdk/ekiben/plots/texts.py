"""How names and numbers are written in a picture."""

from __future__ import annotations

from math import isfinite

from ekiben import fitting
from ekiben.digits import digits

LONGEST = 44  # characters of a label


def number(amount: float, sign: str = "") -> str:
    """Write a number with three digits, and a minus that is as wide as the plus.

    >>> number(-0.50432), number(12345.6, "+")
    ('−0.504', '+12,346')
    """
    told = digits(amount, 3, f"{sign}#") if isfinite(amount) else str(amount)
    return told.rstrip(".").replace("-", "−")


def scale(output: str, units: str) -> str:
    """Say what is measured in which units, and each once.

    >>> scale("log-odds of 'bad'", "log-odds"), scale("rent", "target")
    ("log-odds of 'bad'", 'rent (target)')
    """
    return fitting.short(output, LONGEST) if units in output else f"{fitting.short(output, LONGEST)} ({units})"
