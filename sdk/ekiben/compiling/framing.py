"""A frame as the columns that a plan takes: numbers stay in their arrays, and each text is looked at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben import tables
from ekiben.compiling.nodes import Coded, Held

if TYPE_CHECKING:
    import pandas as pd


def columns_of(frame: pd.DataFrame) -> list[Sequence[Any]]:
    """Give what `tables.as_columns` gives of a frame of many rows, in a form that takes less time.

    Examples
    --------
    >>> import pandas as pd
    >>> age, job = columns_of(pd.DataFrame({"age": [30, 41, 52], "job": ["cook", None, "cook"]}))
    >>> type(age).__name__, list(age), job.values, list(job)
    ('Held', [30, 41, 52], ['cook', None], ['cook', None, 'cook'])
    """
    return [_held(frame[name]) or _coded(frame[name]) or tables.as_columns(frame[[name]])[0] for name in frame.columns]


def _held(values: pd.Series[Any]) -> Held | None:
    is_numbers = isinstance(values.dtype, np.dtype) and values.dtype.kind in "iufb"
    return Held(values.to_numpy()) if is_numbers and len(values) else None


def _coded(values: pd.Series[Any]) -> Coded | None:
    """Give each text of a column once; None where it holds anything else."""
    import pandas as pd

    if values.dtype != object and not isinstance(values.dtype, pd.StringDtype):
        return None
    try:
        ids, found = pd.factorize(values)
    except TypeError:  # lists
        return None
    texts = found.tolist()
    if {*map(type, texts)} != {str} or _ends_early(values, ids):
        return None
    # a missing one is -1, the last; where there is none, nothing may ask what becomes of it
    return Coded([*texts, None] if (ids < 0).any() else texts, ids)


def _ends_early(values: pd.Series[Any], ids: Any) -> bool:
    """Tell whether a text holds the letter at which pandas, though not Arrow, stops to compare: two would be one."""
    if getattr(values.dtype, "storage", "python") != "python":
        return False
    return "\0" in "".join(values.to_numpy(dtype=object)[ids >= 0].tolist())
