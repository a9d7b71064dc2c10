"""Read values that a notebook's code uses back from the files beside this one, without pickle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def document(name: str) -> Any:
    """Read a JSON document."""
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def array(name: str) -> Any:
    """Read a numpy array; one of objects is a JSON document of its shape and values."""
    import numpy as np

    if name.endswith(".npy"):
        return np.load(HERE / name, allow_pickle=False)
    told = document(name)
    made = np.empty(len(told["values"]), dtype=object)
    made[:] = told["values"]
    return made.reshape(told["shape"])


def frame(name: str) -> Any:
    """Read a pandas DataFrame."""
    import pandas as pd

    told = document(name)
    index = _index(told["index"])
    columns = [_values(column).set_axis(index) for column in told["columns"]]
    made = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=index)
    made.columns = _index(told["names"])
    return made


def series(name: str) -> Any:
    """Read a pandas Series."""
    told = document(name)
    return _values(told["values"]).set_axis(_index(told["index"])).rename(told["name"])


def instance(make: Callable[..., Any], arguments: tuple[Any, ...], state: Any) -> Any:
    """Make an object and give it the state that it had in the notebook."""
    made = make(*arguments)
    if state is None:
        return made
    if hasattr(made, "__setstate__"):
        made.__setstate__(state)
        return made
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    vars(made).update(attributes or {})
    for attribute, value in (slots or {}).items():
        setattr(made, attribute, value)
    return made


def restored(made: type, state: Any) -> Any:
    """Make an object of a class without calling its `__init__`, in the state that it had in the notebook."""
    return instance(object.__new__, (made,), state)


def _values(told: dict[str, Any]) -> Any:
    import pandas as pd

    if "categories" in told:
        categories = pd.Index(_values(told["categories"]))
        return pd.Series(pd.Categorical.from_codes(told["values"], categories, ordered=told["ordered"]))
    if told["dtype"].startswith(("datetime64", "timedelta64")):
        return _times(told)
    return pd.Series(told["values"], dtype=told["dtype"])


def _times(told: dict[str, Any]) -> Any:
    import pandas as pd

    whole: Any = pd.Series(told["values"], dtype="int64")
    if told["dtype"].startswith("timedelta64"):
        return whole.astype(told["dtype"])
    zone, naive = told.get("zone"), whole.astype(f"datetime64[{told['unit']}]")
    return naive if zone is None else naive.dt.tz_localize("UTC").dt.tz_convert(zone)


def _index(told: dict[str, Any]) -> Any:
    import pandas as pd

    if "step" in told:
        return pd.RangeIndex(told["start"], told["stop"], told["step"], name=told["name"])
    return pd.Index(_values(told["values"]), name=told["name"])
