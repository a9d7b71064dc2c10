"""What is refused of the numbers that a user sets."""

from __future__ import annotations

from math import isfinite
from numbers import Real
from typing import Any, TypeGuard

from ekiben.errors import SpecError


def at_least(parameter: str, number: Any, least: int) -> int:
    """Give a whole number, or refuse what is none or too small.

    >>> at_least("n_repeats", 1, 2)
    Traceback (most recent call last):
    ekiben.errors.SpecError: The 'n_repeats' must be a whole number of at least 2. Got 1.
    """
    if type(number) is not int or number < least:
        raise SpecError(f"The {parameter!r} must be a whole number of at least {least}. Got {number!r}.")
    return number


def is_finite(number: Any) -> TypeGuard[float]:
    """Tell whether something is a number, numpy's too, that a float can hold: no boolean, and no integer of hundreds of digits.

    >>> is_finite(0.5), is_finite(10**400), is_finite(float("nan")), is_finite(True)
    (True, False, False, False)
    """
    if isinstance(number, bool) or not isinstance(number, Real):
        return False
    try:
        return isfinite(number)
    except OverflowError:
        return False
