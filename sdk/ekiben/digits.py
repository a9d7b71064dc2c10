"""How many digits of a number are written for a reader."""

from __future__ import annotations

LARGEST = 1e12  # what is read without an exponent


def digits(amount: float, n: int, sign: str = "") -> str:
    """Write a number with `n` digits that count, and with all that stand before the point.

    `sign` is what `format` takes before a width: `+` writes that of positive numbers too, and `#` keeps zeros at the end.

    >>> digits(0.123456, 3), digits(229964.47, 4), digits(-33812.6, 3, "+")
    ('0.123', '229,964', '-33,813')
    """
    amount += 0.0  # no zero has a sign
    told = format(amount, f"{sign}.{n}g")
    plus = "+" if "+" in sign else ""
    return format(amount, f"{plus},.0f") if "e+" in told and abs(amount) < LARGEST else told
