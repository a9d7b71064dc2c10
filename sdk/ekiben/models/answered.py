"""What a function may answer about a frame, turned into columns of plain values."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ekiben.errors import SpecError, UnsupportedModelError
from ekiben.models import Answers
from ekiben.schema import PARTS, Output, Part
from ekiben.values import is_missing

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.models import Array

EXACT = 2**53  # beyond it a reader of JSON may round an integer
TAKEN = "a frame, a Series, an array, a list, or a dict of columns"


class Opaque:
    """The half of an adapter whose models can be asked about rows, and not be looked into."""

    noun = "A function"

    def asked(self, model: Any, frame: pd.DataFrame) -> dict[str, Array]:
        """Ask about a copy of the rows, since a model may write into its frame; give `columns` of the answer."""
        raise NotImplementedError

    def outputs(self, model: Any, frame: pd.DataFrame) -> tuple[Output, ...]:
        """Ask about a few rows: numbers with a fraction are values, anything else is a label."""
        try:
            return outputs(self.asked(model, frame))
        except SpecError as reason:
            raise UnsupportedModelError(str(reason)) from reason

    def answers(self, model: Any, frame: pd.DataFrame, parts: Sequence[Part] = PARTS) -> tuple[Answers, ...]:
        """Ask once."""
        return answers(self.asked(model, frame), parts)

    def steps(self, model: Any) -> tuple[Callable[[pd.DataFrame], Array], Any]:
        """Give the model itself, which has nothing before it that anybody knows of."""
        return self._no_matrix, model

    def _no_matrix(self, frame: pd.DataFrame) -> Array:  # noqa: ARG002 -- the protocol's
        raise UnsupportedModelError(f"{self.noun} has no last step. Explain it with the method 'sampling'.")

    def contributions(self, estimator: Any, matrix: Array) -> Array | None:  # noqa: ARG002 -- the protocol's
        """Give none: nothing is known of its inside."""
        return None

    def margin(self, estimator: Any, matrix: Array) -> Array:  # noqa: ARG002 -- the protocol's
        """Refuse: there are no contributions to hold against it."""
        raise UnsupportedModelError(f"{self.noun} has no margin. Explain it with the method 'sampling'.")


def columns(answer: Any, n_rows: int) -> dict[str, Array]:
    """Turn an answer into columns of numbers, booleans or texts, each under its name; an only one may have none.

    Parameters
    ----------
    answer
        A frame, a Series, an array of shape (n_rows,) or (n_rows, n_outputs), a list of values, of lists or of dicts,
        or a dict of columns. The names of a frame and of a dict are the outputs'; what has none is `y0`, `y1`, ….
    n_rows
        How many rows were asked about.

    Raises
    ------
    SpecError
        If it is something else, has another number of rows or another order, a name that cannot be one, a missing
        text, or values of another kind, such as dates.

    Examples
    --------
    >>> columns({"risk": [0.5, 0.25], "band": ["b", "a"]}, 2)
    {'risk': array([0.5 , 0.25]), 'band': array(['b', 'a'], dtype=object)}
    >>> columns([1, 2], 2)
    {'': array([1, 2])}
    """
    _refuse_another_order(answer, n_rows)
    named = _named(answer)
    _refuse_names([name for name, _ in named])
    if len(named) == 1 and named[0][0] in PARTS:  # what it is called already
        named = [("", named[0][1])]
    return {name: _plain(name, _flat(values, n_rows)) for name, values in named}


def outputs(found: dict[str, Array]) -> tuple[Output, ...]:
    """Tell the outputs: numbers with a fraction are values, anything else is a label.

    Examples
    --------
    >>> [output.parts for output in outputs(columns({"risk": [0.5], "band": ["b"]}, 1))]
    [('value',), ('label',)]
    """
    return tuple(
        Output(
            name=name,
            parts=("value",) if values.dtype.kind == "f" else ("label",),
            classes=(False, True) if values.dtype.kind == "b" else (),
        )
        for name, values in found.items()
    )


def answers(found: dict[str, Array], parts: Sequence[Part]) -> tuple[Answers, ...]:
    """Give numbers as labels and as values: a batch of whole numbers may come of a function that gives fractions too."""
    return tuple(_answers(values, parts) for values in found.values())


def _answers(values: Array, parts: Sequence[Part]) -> Answers:
    import numpy as np

    valued = "value" in parts and values.dtype.kind in "fiu"
    return Answers(
        labels=values if "label" in parts else None,
        values=np.asarray(values, dtype=np.float64) if valued else None,
    )


def _refuse_another_order(answer: Any, n_rows: int) -> None:
    """See that a frame of rows 0, 1, … was not sorted on its way."""
    import numpy as np
    import pandas as pd

    index = getattr(answer, "index", None)
    if not isinstance(index, pd.Index) or index.dtype.kind not in "iu" or len(index) != n_rows:
        return
    order, straight = index.to_numpy(), np.arange(n_rows)
    if not np.array_equal(order, straight) and np.array_equal(np.sort(order), straight):
        raise SpecError(
            "A function must answer rows in their order. It sorted them. Put them back: answer.sort_index()."
        )


def _named(answer: Any) -> list[tuple[Any, Any]]:
    import numpy as np
    import pandas as pd

    if isinstance(answer, list | tuple):
        answer = _of_list(list(answer))
    if isinstance(answer, dict):
        return list(answer.items())
    if isinstance(answer, pd.Series):
        return [("", answer)]
    if hasattr(answer, "to_pandas"):  # polars and pyarrow
        answer = answer.to_pandas()
    if isinstance(answer, pd.DataFrame):
        nameless = isinstance(answer.columns, pd.RangeIndex)
        names = _numbered(answer.shape[1]) if nameless else answer.columns.tolist()
        return [(name, answer.iloc[:, i]) for i, name in enumerate(names)]
    if not hasattr(answer, "__array__") and not hasattr(answer, "toarray"):
        raise SpecError(f"A function must answer with {TAKEN}. Got {type(answer).__name__}.")
    array = answer.toarray() if hasattr(answer, "toarray") else np.asarray(answer)
    if array.ndim not in (1, 2):
        raise SpecError(f"A function must answer with one row for each row. Got an array of shape {array.shape}.")
    return [("", array)] if array.ndim == 1 else list(zip(_numbered(array.shape[1]), array.T, strict=True))


def _numbered(n_columns: int) -> list[str]:
    return [""] if n_columns == 1 else [f"y{i}" for i in range(n_columns)]


def _of_list(values: list[Any]) -> Any:
    """Make a table of a list of rows, and an array of a list of values whose kinds are looked at one by one."""
    import numpy as np
    import pandas as pd

    if values and all(isinstance(value, dict) for value in values):
        return pd.DataFrame(values)
    if values and all(isinstance(value, list | tuple | np.ndarray) for value in values):
        if len({np.shape(value) for value in values}) > 1:
            raise SpecError("The rows of an answer must be equally long. They are not.")
        return np.asarray([list(value) for value in values], dtype=object)
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def _refuse_names(names: list[Any]) -> None:
    odd = [repr(name) for name in names if not isinstance(name, str) or (name == "" and len(names) > 1)]
    if odd or not names:
        raise SpecError(
            f"The columns of an answer must have names that are texts. Got {', '.join(odd) or 'no column'}."
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SpecError(f"The columns of an answer must have names that differ. Got more than one of {twice}.")
    taken = sorted(set(names) & set(PARTS))
    if taken and len(names) > 1:
        raise SpecError(
            f"Several columns of an answer must not be called {', '.join(map(repr, PARTS))}: so are the parts of each. "
            f"Got {taken}. Rename: answer.rename(columns={{{taken[0]!r}: 'my_{taken[0]}'}})."
        )


def _flat(values: Any, n_rows: int) -> Array:
    import numpy as np

    if isinstance(values, list | tuple):
        values = _of_list(list(values))
    if getattr(getattr(values, "dtype", None), "kind", "O") in "biuM" and _has_gaps(values):
        values = values.astype(object)  # or pandas makes floats of its nullable integers
    found = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    if found.ndim != 1 or len(found) != n_rows:
        got = f"shape {found.shape}" if found.ndim != 1 else f"{len(found)}"
        raise SpecError(f"A function must give one answer a row. Got {got} for {n_rows} rows.")
    return np.asarray(found)


def _has_gaps(values: Any) -> bool:
    return bool(values.isna().any()) if hasattr(values, "isna") else False


def _plain(name: str, values: Array) -> Array:
    import numpy as np

    if values.dtype.kind == "f":
        return values.astype(np.float64)
    if values.dtype.kind in "iu":
        return _exact(name, values)
    return values if values.dtype.kind == "b" else _of_objects(name, values)


def _of_objects(name: str, values: Array) -> Array:
    """Find the one kind that all values are of."""
    import numpy as np

    if values.dtype.kind in "mM":
        raise SpecError(_of_another_kind(name, [values.dtype.type()]))
    listed = values.astype(object).tolist()
    if set(map(type, listed)) == {str}:  # what most of them are
        return values.astype(object)
    absent = sum(map(is_missing, listed))
    if absent and not all(isinstance(value, float) for value in listed):
        raise SpecError(f"{_column(name)} must hold an answer for each row. Got {absent:,} missing. Fill them.")
    if all(isinstance(value, str) for value in listed):
        return np.array([str(value) for value in listed], dtype=object)
    if all(isinstance(value, bool | np.bool_) for value in listed):
        return np.array(listed, dtype=bool)
    if any(isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real) for value in listed):
        raise SpecError(_of_another_kind(name, listed))
    if all(isinstance(value, numbers.Integral) for value in listed):
        return _exact(name, np.array(listed, dtype=object))
    return np.array(listed, dtype=np.float64)


def _exact(name: str, values: Array) -> Array:
    import numpy as np

    if len(values) and max(-int(values.min()), int(values.max())) > EXACT:
        raise SpecError(
            f"{_column(name)} must hold integers up to 2**53, beyond which readers of JSON round them. "
            "Got a larger one. Turn them into texts: .astype(str)."
        )
    return values.astype(np.int64)


def _of_another_kind(name: str, listed: list[Any]) -> str:
    kinds = sorted({type(value).__name__ for value in listed})
    dated = any(hasattr(value, "isoformat") or kind.startswith("datetime") for value in listed for kind in kinds)
    way = "Turn dates into texts: .dt.strftime('%Y-%m-%d')." if dated else "Turn them into one of these."
    return f"{_column(name)} must hold numbers, booleans or texts, all of one kind. Got {', '.join(kinds)}. {way}"


def _column(name: str) -> str:
    return f"The column {name!r} of an answer" if name else "An answer"
