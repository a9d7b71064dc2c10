"""What is to be said of a model and its data: metrics, profiles, findings, digests."""

from __future__ import annotations

import ast
import hashlib
import math
from typing import TYPE_CHECKING, Any

from ekiben import cards, slicing, tables
from ekiben.errors import SpecError
from ekiben.models import Adapter
from ekiben.models.measuring import measure
from ekiben.packages import ask
from ekiben.schema import Schema, Signature

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


CLOCK = ("now", "today", "utcnow", "time")


def profile(values: pd.Series[Any], *, private: bool = False) -> dict[str, Any]:
    """Describe one column: the share of missing values, and quantiles with a histogram, or counts of texts.

    Of a private column no text is told, and numbers to about a hundredth of their range.
    """
    import numpy as np

    missing = float(values.isna().mean())
    present = values.dropna()
    if values.dtype == object and present.map(lambda value: hasattr(value, "__len__") and type(value) is not str).any():
        return {"missing": missing, "lists": len(present)}
    if values.dtype.kind not in "iuf":
        counts = present.astype(str).value_counts()
        if private:
            return {"missing": missing, "distinct": len(counts)}
        top = {str(key): int(count) for key, count in counts.head(20).items()}
        return {"missing": missing, "distinct": len(counts), "top": top}
    numbers = present.to_numpy(dtype=np.float64)
    if private and len(numbers):
        numbers = np.round(numbers, decimals_of(float(np.ptp(numbers))))
    heights, edges = np.histogram(numbers, bins=20)
    return {
        "missing": missing,
        "mean": float(numbers.mean()),
        "std": float(numbers.std()),
        "quantiles": dict(zip(map(str, QUANTILES), np.quantile(numbers, QUANTILES).tolist(), strict=True)),
        "histogram": {"counts": heights.tolist(), "edges": edges.tolist()},
    }


def decimals_of(spread: float) -> int:
    """Tell to how many decimals a number is told so that it says about a hundredth of a spread.

    >>> decimals_of(5200.0), decimals_of(0.8), decimals_of(0.0)
    (-2, 2, 15)
    """
    return 2 - math.ceil(math.log10(spread)) if spread > 0 else 15


def measured(
    model: Any, adapter: Adapter, signature: Signature, holdout: tuple[pd.DataFrame, Any] | None, rows: pd.DataFrame
) -> tuple[dict[str, Any], list[str]]:
    """Measure a model on held-out rows, and tell what of these figures is to be known."""
    import numpy as np

    if holdout is None:
        return {}, ["No held-out rows were given, so there are no metrics: pack(…, holdout=(X_test, y_test))."]
    if type(holdout) not in (tuple, list) or len(holdout) != 2:
        got = (
            f"a {type(holdout).__name__} of {len(holdout)}"
            if type(holdout) in (tuple, list)
            else type(holdout).__name__
        )
        raise SpecError(f"The 'holdout' must be rows and their labels: holdout=(X_test, y_test). Got {got}.")
    given, y = tables.given("holdout", holdout[0]), np.asarray(holdout[1])
    if not len(given):
        raise SpecError("The 'holdout' must have rows. Got none.")
    fits_outputs("holdout", holdout[1], given, signature)
    taken = _only_seen_texts(given, signature.inputs)
    if not taken.any():
        raise SpecError("The 'holdout' must have rows whose texts the model has seen. Got none.")
    X, y = tables.conformed("holdout", given[taken], signature.inputs), y[taken]
    labels_are_known("holdout", y, signature)
    left = f"{int((~taken).sum()):,} of {len(given):,} held-out rows hold a text that the model refuses; the metrics are of the rest."
    if signature.task in ("clustering", "ranking", "other"):
        return {}, [f"There are no metrics for {cards.NOUNS[signature.task]}: measure it in the notebook."]
    metrics = measure(y, ask(adapter, model, X), signature.outputs)
    return {"n_rows": len(X), **metrics}, [*([] if taken.all() else [left]), *_leaks(X, rows)]


def _only_seen_texts(given: pd.DataFrame, contract: Schema) -> np.ndarray[Any, Any]:
    """Tell which rows hold no text that the contract refuses."""
    import numpy as np

    taken = np.ones(len(given), dtype=bool)
    for column in contract.columns:
        if column.unseen == "refuse" and column.categories is not None and column.name in given.columns:
            values = given[column.name]
            taken &= (values.isna() | values.astype(object).isin(column.categories)).to_numpy(dtype=bool)
    return taken


def fits_outputs(parameter: str, values: Any, rows: pd.DataFrame, signature: Signature) -> None:
    """See that there is one value a row, or one a row and output."""
    if values is None:
        return
    n_outputs = len(signature.outputs)
    shape = () if isinstance(values, str) else getattr(values, "shape", (len(values),))
    if shape[1:] not in ((), (n_outputs,)) or (n_outputs > 1 and len(shape) == 1) or not shape:
        wanted = "one column of values, such as y or frame['y']" if n_outputs == 1 else f"{n_outputs} columns"
        got = f"the text {values!r}" if isinstance(values, str) else f"shape {shape}"
        what = "labels of 'holdout'" if parameter == "holdout" else repr(parameter)
        raise SpecError(f"The {what} must be {wanted}. Got {got}.")
    if len(values) != len(rows):
        raise SpecError(f"The {parameter!r} must have one value a row. Got {len(values)} for {len(rows)} rows.")


def labels_are_known(parameter: str, y: Any, signature: Signature) -> None:
    """Refuse labels that the model has no class for."""
    import numpy as np
    import pandas as pd

    if y is None or signature.task not in ("classification", "outliers"):
        return
    columns = np.asarray(y).reshape(len(y), -1).T
    if gaps := int(pd.isna(columns).sum()):
        raise SpecError(
            f"The labels of {parameter!r} must not be missing. Got {gaps:,} that are. Leave their rows out."
        )
    for output, values in zip(signature.outputs, columns, strict=True):
        unknown = sorted({str(label) for label in values.tolist() if label not in output.classes})
        if unknown:
            known = list(output.classes)
            raise SpecError(f"The labels of {parameter!r} must be of {known}. Got {unknown[:5]} as well.")


def _leaks(X: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    import pandas as pd

    known = set(pd.util.hash_pandas_object(tables.comparable(rows), index=False))
    twice = int(pd.util.hash_pandas_object(tables.comparable(X), index=False).isin(known).sum())
    return (
        [f"{twice:,} of {len(X):,} held-out rows are in the reference too: the metrics may flatter."] if twice else []
    )


def findings(signature: Signature, rows: pd.DataFrame) -> list[str]:
    """Tell what is worth a look in a contract and its reference."""
    found = []
    strict = [column.name for column in signature.inputs.columns if column.unseen == "refuse"]
    if strict:
        found.append(f"A text that the model has not seen is refused in {', '.join(strict)}.")
    told = tables.comparable(rows)
    constant = [str(name) for name in rows.columns if told[name].nunique(dropna=False) == 1]
    if constant:
        found.append(f"Only one value was seen in {', '.join(constant)}.")
    return found


def doubts(code: slicing.Sliced | None, method: str) -> list[str]:
    """Tell what nobody can prove of code: that columns stay apart where no reference row was, and that time stands still."""
    if code is None:
        return []
    trees = [ast.parse(content) for name, content in code.files.items() if name.endswith(".py")]
    calls = [node.func for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    asked = {getattr(call, "attr", getattr(call, "id", "")) for call in calls}
    notes = ["Its code reads the clock: the same row may get another answer later."] if asked & {*CLOCK} else []
    if method in ("linear", "trees"):
        notes.append(
            "Explained exactly as far as the reference shows: code that joins columns beyond its ranges would be explained wrongly."
        )
    return notes


def balance(target: Any, signature: Signature) -> dict[str, float]:
    """Give the share of each class in the target."""
    import numpy as np

    if target is None or not signature.classes:
        return {}
    truth = np.asarray(target)
    return {str(label): float((truth == label).mean()) for label in signature.classes}


def data_digest(frame: pd.DataFrame, target: Any = None) -> str:
    """Give SHA-256 of every row, column name and dtype, and of the target.

    Examples
    --------
    >>> import pandas as pd
    >>> a, b = pd.DataFrame({"x": [1, 2]}), pd.DataFrame({"x": [1, 3]})
    >>> data_digest(a) == data_digest(a.copy()), data_digest(a) == data_digest(b)
    (True, False)
    """
    import pandas as pd

    whole = hashlib.sha256(repr([(str(name), str(dtype)) for name, dtype in frame.dtypes.items()]).encode())
    whole.update(pd.util.hash_pandas_object(tables.comparable(frame), index=False).to_numpy().tobytes())
    if target is not None:
        values = pd.DataFrame(target) if getattr(target, "ndim", 1) > 1 else pd.Series(target)
        whole.update(pd.util.hash_pandas_object(values, index=False).to_numpy().tobytes())
    return f"sha256:{whole.hexdigest()}"
