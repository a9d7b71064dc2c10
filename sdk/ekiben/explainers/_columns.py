"""Which raw column each transformed feature depends on, found by probing."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ekiben.errors import ExplainError, IntegrityError, UnsupportedModelError
from ekiben.explainers._context import Matrix, Transform
from ekiben.loops import loops
from ekiben.models.lightgbm import Boosted
from ekiben.schema import Schema
from ekiben.tables import as_frame, comparable, with_columns

if TYPE_CHECKING:
    import pandas as pd

Rows = npt.NDArray[np.int64]
Columns: TypeAlias = Sequence[Sequence[Any]]
Weighing: TypeAlias = Callable[[Sequence[float]], tuple[float, list[float]]]
Pick = tuple[int, int]  # a column, and the row its value comes from

N_QUANTILES = 21
MOST_VALUES = 1_000
MOST_BASES = 8
MOST_PROBES = 5_000  # rows in one call of the preprocessing
N_MOSAICS = 256
MOST_NUMBERS = 250_000_000  # of a matrix that is made whole: 2 GB
CHUNK = 25_000_000  # numbers of a matrix that is looked through


def mosaic(frame: pd.DataFrame, rows: Rows) -> pd.DataFrame:
    """Lay a table whose cell (i, j) is the cell (rows[i, j], j) of `frame`; every column keeps its dtype.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    >>> mosaic(frame, np.array([[0, 1]])).to_dict("records")
    [{'a': 1, 'b': 'y'}]
    """
    import pandas as pd

    return pd.DataFrame({name: frame[name].array.take(rows[:, i]) for i, name in enumerate(frame)}, copy=False)


def stack(frame: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """Put rows under rows, a column at a time, so that no column's dtype depends on another's."""
    import pandas as pd

    return pd.DataFrame({name: _join(frame[name], more[name]) for name in frame}, copy=False)


def _join(top: pd.Series, bottom: pd.Series) -> pd.Series:
    import pandas as pd

    if isinstance(top.dtype, pd.CategoricalDtype):
        new = [value for value in bottom.dropna().unique() if value not in top.cat.categories]
        top = top.cat.add_categories(new)
        bottom = bottom.astype(top.dtype)
    return pd.concat([top, bottom], ignore_index=True)


def feature_owners(
    transform: Transform, reference: pd.DataFrame, schema: Schema, known: pd.DataFrame | None = None
) -> Rows:
    """Find the one raw column that moves each transformed feature.

    From a few base rows one raw column at a time is varied over its known values. What is found is then held against
    rows patched together at random, where each feature must still be what its own column makes it. The rows of `known`
    that move what no row of the reference moves, such as those with a rare word, are taken as well.

    Returns
    -------
    Column numbers of shape (n_features,); -1 for a feature that nothing moves.

    Raises
    ------
    ExplainError
        If a feature depends on two or more columns.
    """
    with _mixing_rows():
        frame = _with_all_known(transform, reference, schema)
        if known is not None and len(known) > len(reference):
            frame = _with_rare(transform, frame, known)
        return _owners(transform, frame, schema)


@contextmanager
def _mixing_rows() -> Iterator[None]:
    """Take what the preprocessing raises at rows that mix others for a reason to explain otherwise."""
    try:
        yield
    except (ArithmeticError, ValueError) as reason:
        raise ExplainError(
            f"The preprocessing must take rows that mix others. It does not ({type(reason).__name__}). "
            "Explain this model with the method 'sampling'."
        ) from reason


def _owners(transform: Transform, frame: pd.DataFrame, schema: Schema) -> Rows:
    matrix = dense(transform, frame)
    picks = [(i, row) for i, name in enumerate(frame) for row in _telling_rows(frame[name])]
    moved = np.any([_moved(transform, frame, base, picks) for base in _bases(frame)], axis=0)
    late = [(i, row) for row in _rows_of_unmoved(matrix, moved) for i in range(frame.shape[1])]
    moved |= _moved(transform, frame, 0, late)
    _refuse_entangled([schema.names[i] for i in np.flatnonzero(moved[:, moved.sum(axis=0) > 1].any(axis=1))])
    owners = np.where(moved.any(axis=0), moved.argmax(axis=0), -1).astype(np.int64)
    wrong = _disproved(transform, frame, matrix, owners)
    _refuse_entangled([schema.names[i] for i in np.unique(owners[wrong]) if i >= 0], some=bool(wrong.any()))
    return owners


def _refuse_entangled(columns: list[str], *, some: bool = False) -> None:
    if columns or some:
        raise ExplainError(
            f"Every transformed feature must depend on one raw column. Got entangled columns: {sorted(columns)}. "
            "Explain this model with the method 'sampling'."
        )


def _with_all_known(transform: Transform, reference: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Add a row for every category, boolean and missing value that the contract allows, the model takes and the reference lacks."""
    frame = reference
    for column in schema.columns:
        seen = reference[column.name]
        absent: list[Any] = []
        values = (False, True) if column.kind == "boolean" else sorted(column.categories or ())
        if values:
            known = set(seen.dropna().unique())
            absent = [value for value in values if value not in known]
        if column.nullable and not seen.isna().any():
            absent.append(None)
        if absent:
            cells = as_frame({column.name: absent}, Schema(columns=(column,)))[column.name]
            extra = with_columns(reference.iloc[[0] * len(absent)].reset_index(drop=True), {column.name: cells})
            frame = stack(frame, _taken(transform, extra))
    return frame


def _taken(transform: Transform, frame: pd.DataFrame) -> pd.DataFrame:
    """Keep the rows that the model does not refuse, as an encoder does a category that it never saw."""
    try:
        dense(transform, frame)
    except (ArithmeticError, ValueError, UnsupportedModelError):
        if len(frame) == 1:
            return frame.head(0)
        half = len(frame) // 2
        return stack(_taken(transform, frame.iloc[:half]), _taken(transform, frame.iloc[half:]))
    return frame


def _with_rare(transform: Transform, frame: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Add rows that move features which are the same in every row of the frame: each the first that does."""
    matrix = dense(transform, frame)
    first, width = matrix[:1], matrix.shape[1]
    still = np.flatnonzero(same(matrix, first, matrix).all(axis=0))
    size, found = max(1, CHUNK // max(width, 1)), list[int]()
    for start in range(0, min(len(known), MOST_NUMBERS // max(width, 1)), size):
        if not len(still) or len(found) >= MOST_VALUES:
            break
        chunk = dense(transform, known.iloc[start : start + size])[:, still]
        differ = ~same(chunk, first[:, still], np.vstack([chunk, first[:, still]]))
        found += np.unique(start + differ.argmax(axis=0)[differ.any(axis=0)]).tolist()
        still = still[~differ.any(axis=0)]
    return stack(frame, known.iloc[found[:MOST_VALUES]]) if found else frame


def _bases(reference: pd.DataFrame) -> list[int]:
    """Pick two rows, and one for each column that is missing somewhere."""
    missing = reference.isna().to_numpy()
    gaps = [int(missing[:, i].argmax()) for i in range(missing.shape[1]) if missing[:, i].any()]
    return list(dict.fromkeys([0, len(reference) // 2, *gaps]))[:MOST_BASES]


def _moved(transform: Transform, frame: pd.DataFrame, base: int, picks: list[Pick]) -> npt.NDArray[np.bool_]:
    """Say which columns move which features, when one cell of the base row at a time comes from another row."""
    first = dense(transform, frame.iloc[[base]])
    moved = np.zeros((frame.shape[1], first.shape[1]), dtype=bool)
    size = max(1, min(MOST_PROBES, MOST_NUMBERS // (4 * max(first.shape[1], 1))))
    for start in range(0, len(picks), size):
        columns, rows = np.array(picks[start : start + size]).T
        patches = np.full((len(columns), frame.shape[1]), base)
        patches[np.arange(len(columns)), columns] = rows
        matrix = dense(transform, mosaic(frame, patches))
        np.logical_or.at(moved, columns, ~same(matrix, first, np.vstack([matrix, first])))
    return moved


def _rows_of_unmoved(matrix: Matrix, moved: npt.NDArray[np.bool_]) -> list[int]:
    """Find rows where features that nothing has moved yet differ from the first row: rare bins and words."""
    differ = ~same(matrix, matrix[:1], matrix) & ~moved.any(axis=0)
    return [int(row) for row in np.unique(differ.argmax(axis=0)[differ.any(axis=0)])]


def _telling_rows(values: pd.Series) -> list[int]:
    """Point at rows that hold every distinct value of a column, or the quantiles of a number."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        told = comparable(values.to_frame("cells"))["cells"]  # a list cannot be hashed
        return [int(row) for row in np.flatnonzero(~told.duplicated().to_numpy())[:MOST_VALUES]]
    order = np.argsort(values.to_numpy(dtype=np.float64, na_value=np.nan), kind="stable")  # NaN last
    n_present = int(values.notna().sum())
    quantiles = order[np.linspace(0, n_present - 1, N_QUANTILES).astype(int)] if n_present else []
    return [int(row) for row in dict.fromkeys([*quantiles, *order[n_present : n_present + 1]])]


def _disproved(transform: Transform, frame: pd.DataFrame, matrix: Matrix, owners: Rows) -> npt.NDArray[np.bool_]:
    """Say which features are not what their owner alone makes them."""
    rows = np.random.default_rng(0).integers(len(frame), size=(N_MOSAICS, frame.shape[1]))
    patched = dense(transform, mosaic(frame, rows))
    features = np.arange(len(owners))
    expected = np.where(owners >= 0, matrix[rows[:, owners], features], matrix[0])
    return np.asarray(~same(patched, expected, matrix).all(axis=0))


def same(left: Matrix, right: Matrix, sample: Matrix) -> npt.NDArray[np.bool_]:
    """Compare up to rounding, on each feature's own scale in `sample`; NaN equals NaN."""
    finite = np.where(np.isfinite(sample), sample, 0.0)
    tolerance = 1e-9 * np.ptp(finite, axis=0) + 1e-12 * np.abs(finite).max(axis=0)
    with np.errstate(invalid="ignore"):
        close = (left == right) | (np.abs(left - right) <= tolerance)
    return np.asarray(close | (np.isnan(left) & np.isnan(right)))


def dense(transform: Transform, frame: pd.DataFrame) -> Matrix:
    """Transform rows to a matrix of float64."""
    return np.asarray(transform(frame), dtype=np.float64)


def named(estimator: Any) -> str:
    """Name the class of an estimator as its user knows it."""
    return estimator.kind if isinstance(estimator, Boosted) else type(estimator).__name__


def refuse_wide(transform: Transform, reference: pd.DataFrame, method: str) -> None:
    """Refuse features that are too many to be made whole for the reference, before any are.

    Raises
    ------
    ExplainError
        If they are.
    """
    width = dense(transform, reference.head(1)).shape[1]
    most = MOST_NUMBERS // max(len(reference), 2 * N_MOSAICS)
    if width > most:
        raise ExplainError(
            f"The method {method!r} takes a model whose features can be made whole for the reference: {most:,} for "
            f"{len(reference):,} rows. Got {width:,}. Let a vectorizer make fewer, or explain with the method 'sampling'."
        )


class Folding:
    """Adds up what features are told to raw columns.

    Parameters
    ----------
    owners
        Which column each feature is of, of shape (n_features,); -1 for a feature that no known value moves.
    names
        The columns.

    Examples
    --------
    >>> Folding(np.array([0, 1, 1]), ["a", "b"])([1.0, 2.0, 4.0])
    {'a': 1.0, 'b': 6.0}
    """

    def __init__(self, owners: Rows, names: Sequence[str]) -> None:
        self._names, self._owners, self._n = list(names), owners, len(names)
        self._is_plain = owners.tolist() == list(range(self._n))
        self._free: list[int] = np.flatnonzero(owners < 0).tolist()
        self._places: list[int] = np.where(owners < 0, self._n, owners).tolist()
        n_parts = len(self._places)
        self._told = (array("d", [1.0]) * n_parts, array("q", self._places), array("d", [0.0]) * (self._n + 1), 0.0)

    def __call__(self, parts: Sequence[float]) -> dict[str, float]:
        """Add the parts of the features of one row up.

        Raises
        ------
        ExplainError
            If a feature that no known value moves takes part: its column holds a value that the reference lacks.
        """
        if self._free:
            self._refuse_moved(parts)
        if self._is_plain:
            totals = parts
        else:
            totals = self.summed(parts) if loops is None else loops.folded(parts, *self._told)[1]
        return dict(zip(self._names, totals, strict=False))

    def summed(self, parts: Sequence[float]) -> list[float]:
        """Add parts up, the last number what no column owns."""
        totals = [0.0] * (self._n + 1)
        for place, part in zip(self._places, parts, strict=True):
            totals[place] += part
        return totals

    def weighing(self, weights: Sequence[float], starts: Sequence[float], base: float) -> Weighing:
        """Give what adds weighed features of one row, most of them 0, to a base, and by column to what `summed` gave.

        It gives the base, and the total of each column.

        Raises
        ------
        ExplainError
            As above, when it is asked.
        """
        places, n, has_free = self._places, self._n, bool(self._free)
        told = (array("d", weights).tobytes(), array("q", places).tobytes(), array("d", starts).tobytes())

        def weighed(row: Sequence[float]) -> tuple[float, list[float]]:
            found, totals = (
                _added(row, weights, places, starts, base) if loops is None else loops.folded(row, *told, base)
            )
            if has_free and abs(totals[-1]) > 1e-9 * max(map(abs, totals)):
                self._refuse()
            return found, totals[:n]

        return weighed

    def _refuse_moved(self, parts: Sequence[float]) -> None:
        if max(abs(parts[i]) for i in self._free) > 1e-9 * max(map(abs, parts)):
            self._refuse()

    def _refuse(self) -> None:
        raise ExplainError(
            "Every value of a row must be one that the reference knows. Got a value that moves a feature that no "
            "reference row moves. Add such rows to the reference, or explain with the method 'sampling'."
        )


def _added(
    row: Sequence[float], weights: Sequence[float], places: Sequence[int], starts: Sequence[float], base: float
) -> tuple[float, list[float]]:
    """Do what `loops.folded` does, to the same bits."""
    totals = list(starts)
    for place, weight, value in compress(zip(places, weights, row, strict=True), row):
        part = weight * value
        totals[place] += part
        base += part
    return base, totals


def matching_owners(owners: Rows, n_features: int) -> Rows:
    """Return saved owners if they fit a model of `n_features` features."""
    if owners.shape != (n_features,):
        raise IntegrityError(
            f"A saved explainer must fit its model. Got {owners.shape[0]} features for a model of {n_features}. "
            "Pack the model again."
        )
    return owners


def patched(ground: Sequence[Any], n_rows: int, columns: Mapping[int, Sequence[Any]] | None = None) -> Columns:
    """Repeat a row of plain values, but for some columns."""
    given = columns or {}
    return [given[i] if i in given else [value] * n_rows for i, value in enumerate(ground)]
