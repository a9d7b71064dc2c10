"""How names and numbers are written in a picture."""

from __future__ import annotations

from math import isfinite

from ekiben.digits import digits

LONGEST = 44  # characters of a label


def short(text: str, most: int = LONGEST) -> str:
    """Leave out the middle of a long text, and write every line break as a space.

    >>> short("the total of all charges since the contract began", 20)
    'the total o … began'
    """
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    kept = most - 3
    return f"{text[: kept * 2 // 3].rstrip()} … {text[-(kept // 3) :].lstrip()}"


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
    return short(output) if units in output else f"{short(output)} ({units})"
