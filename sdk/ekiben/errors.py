"""What can go wrong, as one tree.

::

    EkibenError
    ├── SpecError (ValueError)              what you asked for cannot be
    ├── SchemaError (ValueError)            the data does not fit the contract
    ├── UnsupportedModelError (TypeError)   no adapter knows this kind of model
    ├── NotFoundError (LookupError)         no such model, version, alias or bento
    ├── UnreachableError (ConnectionError)  a registry, a service or a database does not answer
    ├── MissingExtraError (ImportError)     an optional extra is not installed
    ├── IntegrityError                      a package's bytes are not those that were packed
    │   └── TrustError                      it carries code that nobody here trusts
    ├── ExplainError (RuntimeError)         a method could not explain this row
    ├── PlanError (ArithmeticError)          a compiled plan has no answer for these rows
    ├── RequestError                        a service answered that the request was at fault
    └── BuildError (RuntimeError)           BentoML or the image builder refused

A message says what must hold, what came, and what to do next.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

MOST_COMPARED = 1_000_000  # pairs of letters, to find the nearest spelling
MOST_SPELT = 20  # faults in the words of one error


class EkibenError(Exception):
    """Everything that ekiben raises on purpose."""


class SpecError(EkibenError, ValueError):
    """What you asked for cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One place where the data does not fit: where, what must hold, what came.

    `row` counts from 0 and is None for a fault of the whole table; `got` names a type or a count, never a value.
    """

    message: str
    column: str | None = None
    row: int | None = None
    expected: str | None = None
    got: str | None = None

    def __str__(self) -> str:
        return self.message

    def later(self, by: int) -> Fault:
        """Give the fault of a part as one of the whole, in which the part begins `by` rows later."""
        if self.row is None:
            return self
        row = self.row + by
        message = f" in row {row}.".join(self.message.rsplit(f" in row {self.row}.", 1))
        return replace(self, message=message, row=row)


class SchemaError(EkibenError, ValueError):
    """The data does not fit the contract; `faults` holds every place where it does not."""

    def __init__(self, message: str, faults: Iterable[Fault] = ()) -> None:
        super().__init__(message)
        self.faults = tuple(faults)

    @classmethod
    def of(cls, faults: Iterable[Fault], *, n_untold: int = 0) -> SchemaError:
        """Make one error of many faults, at most 20 of them spelt out; so many others were counted alone."""
        every = tuple(faults)
        lines = [str(fault) for fault in every[:MOST_SPELT]]
        if (n_more := len(every) + n_untold - len(lines)) > 0:
            lines.append(f"… and {n_more} more.")
        return cls("\n".join(lines), every)

    def later(self, by: int, n_rows: int, *, of: str) -> SchemaError:
        """Give the refusal of a part of `n_rows` as one of the whole, such as a file, in which the part begins `by` rows later."""
        moved = [fault.later(by) for fault in self.faults]
        spelt, respelt = ("\n".join(map(str, each[:MOST_SPELT])) for each in (self.faults, moved))
        says = respelt + str(self)[len(spelt) :] if str(self).startswith(spelt) else str(self)
        where = f"Row {by:,}" if n_rows == 1 else f"Rows {by:,} to {by + n_rows - 1:,}"
        return SchemaError(f"{where} of the {of}: {says}", moved)


class UnsupportedModelError(EkibenError, TypeError):
    """No adapter knows this kind of model, or not in this form."""


class NotFoundError(EkibenError, LookupError):
    """No such model, version, alias or bento."""


class UnreachableError(EkibenError, ConnectionError):
    """A registry, a service or a database does not answer."""


class MissingExtraError(EkibenError, ImportError):
    """An optional extra is not installed."""


class IntegrityError(EkibenError):
    """A package's bytes are not those that were packed."""


class TrustError(IntegrityError):
    """A package carries code, and its digest is not trusted here."""


class ExplainError(EkibenError, RuntimeError):
    """A method could not explain this row or this model."""


class PlanError(EkibenError, ArithmeticError):
    """A compiled plan has no answer for these rows; the model itself is asked."""


class RequestError(EkibenError):
    """A service refused the request: `status` is its HTTP status, `code` its machine-readable reason."""

    def __init__(self, message: str, *, status: int, code: str, faults: Iterable[Fault] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.faults = tuple(faults)


class RecordsError(EkibenError, OSError):
    """A decision could not be recorded, or its records cannot be read."""


class BuildError(EkibenError, RuntimeError):
    """BentoML or the image builder refused."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Suggest the nearest spelling as the end of a sentence, or nothing.

    >>> nearest("champoin", ["champion", "challenger"])
    " Did you mean 'champion'?"
    """
    close = difflib.get_close_matches(word, _compared(word, known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _compared(word: str, known: Iterable[str]) -> list[str]:
    """Give the words that are compared in the time that a hint is worth: all, unless they are thousands of long ones."""
    words = list(known)
    costs = accumulate(len(word) * len(each) for each in words)
    return [each for each, cost in zip(words, costs, strict=True) if cost <= MOST_COMPARED]


def place_of(failure: BaseException) -> str:
    """Tell what failed and where, without the words of the error: they may hold values.

    >>> place_of(ValueError("secret"))
    'ValueError'
    """
    frames = traceback.extract_tb(failure.__traceback__)[-8:]
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    return f"{type(failure).__name__} at {places}" if places else type(failure).__name__
