"""Anything with `predict` that no other file format holds, as a pickle: only when the user named its class."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ekiben import models, trusting
from ekiben._optional import require
from ekiben.errors import IntegrityError, UnsupportedModelError
from ekiben.models import Adapter, Answers, class_of
from ekiben.schema import PARTS, Output, Part, Task

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.models import Array

FILE = "model.pkl"
LIST = "pickle.json"
PROTOCOL = 5
# Of the modules that no word opens, those that honest pickles name too; the rest of builtins runs text as code.
HARMLESS = ("cloudpickle", "copyreg", "types")
RUNNING = ("__import__", "breakpoint", "compile", "delattr", "eval", "exec", "globals", "input", "open", "vars")
STRINGS = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING")
NO_GLOBALS = ("EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID")  # they name what is not in the file


class PickledAdapter:
    """Any object with `predict`, and `predict_proba` with `classes_`; the package is loaded only where it is trusted.

    A model that another adapter can ask, and only not write, is asked by that one.
    """

    library = "pickled"

    def task(self, model: Any) -> Task:
        """Tell a classifier, which gives probabilities, from what gives values or labels."""
        if (kin := _kin(model)) is not None:
            return kin.task(model)
        if not callable(getattr(model, "predict", None)):
            raise UnsupportedModelError(f"What is pickled must have predict(frame). {type(model).__name__} has none.")
        return "classification" if _is_classifier(model) else "other"

    def outputs(self, model: Any, frame: pd.DataFrame) -> tuple[Output, ...]:
        """Ask about a few rows: scores, or one column or several, of numbers or of labels."""
        if (kin := _kin(model)) is not None:
            return kin.outputs(model, frame)
        if _is_classifier(model):
            return (Output(parts=("label", "scores"), classes=tuple(map(_plain, model.classes_))),)
        columns = _columns(model.predict(frame.copy()))
        return tuple(Output(name=name, parts=(_part(values),)) for name, values in columns.items())

    def answers(self, model: Any, frame: pd.DataFrame, parts: Sequence[Part] = PARTS) -> tuple[Answers, ...]:
        """Ask once: labels follow from the scores."""
        import numpy as np

        if (kin := _kin(model)) is not None:
            return kin.answers(model, frame, parts)
        if _is_classifier(model):
            scores = np.asarray(model.predict_proba(frame.copy()), dtype=np.float64)
            return (Answers(labels=np.asarray(model.classes_)[scores.argmax(axis=1)], scores=scores),)
        columns = _columns(model.predict(frame.copy())).values()
        return tuple(
            Answers(values=_doubles(each)) if _part(each) == "value" else Answers(labels=each) for each in columns
        )

    def steps(self, model: Any) -> tuple[Callable[[pd.DataFrame], Array], Any]:
        """Give the columns as they are, and the model itself: nothing is known of its inside."""
        kin = _kin(model)
        return (_numbers, model) if kin is None else kin.steps(model)

    def contributions(self, estimator: Any, matrix: Array) -> Array | None:
        """Give none where nothing is known of its inside."""
        kin = _kin(estimator)
        return None if kin is None else kin.contributions(estimator, matrix)

    def margin(self, estimator: Any, matrix: Array) -> Array:
        """Give the values, which are their own margin."""
        import numpy as np

        if (kin := _kin(estimator)) is not None:
            return kin.margin(estimator, matrix)
        return np.column_stack([_doubles(each) for each in _columns(estimator.predict(matrix)).values()])

    def save(self, model: Any, folder: Path, *, trust: Sequence[str] = ()) -> None:  # noqa: ARG002 -- names are listed
        """Write a pickle, and beside it every name that it calls for."""
        data, by = _dumped(model)
        named = globals_of(data)
        if refused := [name for name in named if _never(name)]:
            raise UnsupportedModelError(
                f"A pickled model may not name what runs programs, opens files or reads pickles. Got {', '.join(refused)}. "
                "Take it out of the model, or keep it in the service's `preprocess`."
            )
        (folder / FILE).write_bytes(data)
        document = {"class": class_of(model), "by": by, "globals": named}
        (folder / LIST).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    def load(self, folder: Path, *, trust: Sequence[str] = ()) -> Any:  # noqa: ARG002 -- names are listed
        """Read the pickle back; it may call for nothing but the names beside it."""
        data = (folder / FILE).read_bytes()
        recorded = _recorded(folder / LIST)
        if globals_of(data) != recorded or any(map(_never, recorded)):
            raise IntegrityError(
                f"{FILE} must call for the names in {LIST}. It calls for others. Pack the model again."
            )
        return _Listed(data, frozenset(recorded)).load()

    def foreign(self, folder: Path) -> list[str]:  # noqa: ARG002 -- the protocol's
        """Name nothing: the pickle is told by itself."""
        return []

    def requirements(self, model: Any) -> tuple[str, ...]:
        """Name the distributions of every module that the pickle calls for."""
        data, by = _dumped(model)
        modules = {name.partition(":")[0].partition(".")[0] for name in globals_of(data)}
        found = packages_distributions()
        needed = {dist for module in modules for dist in found.get(module, [])}
        return tuple(sorted(needed | ({"cloudpickle"} if by == "cloudpickle" else set())))


ADAPTER = PickledAdapter()


# ── the pickle ─────────────────────────────────────────────────────────────────────────────────────────────────────


class _Listed(pickle.Unpickler):
    """An unpickler that finds what is on its list."""

    def __init__(self, data: bytes, names: frozenset[str]) -> None:
        super().__init__(io.BytesIO(data))
        self._names = names

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}:{name}" not in self._names:
            raise IntegrityError(f"{FILE} must call for the names in {LIST}. It calls for {module}.{name} as well.")
        return super().find_class(module, name)


def _dumped(model: Any) -> tuple[bytes, str]:
    """Pickle plainly, and by cloudpickle what no module holds."""
    try:
        plain = pickle.dumps(model, protocol=PROTOCOL)
    except Exception:  # noqa: BLE001 -- whatever a model's own state raises; cloudpickle may still know a way
        return _by_value(model), "cloudpickle"
    of_notebook = any(name.startswith("__main__:") for name in globals_of(plain))  # which is gone elsewhere
    return (_by_value(model), "cloudpickle") if of_notebook else (plain, "pickle")


def _by_value(model: Any) -> bytes:
    cloud = require("cloudpickle", to="pickle what no module holds")
    try:
        return cast("bytes", cloud.dumps(model, protocol=PROTOCOL))
    except Exception as reason:
        raise UnsupportedModelError(f"The model must be picklable. {type(model).__name__} is not: {reason}") from reason


def globals_of(data: bytes) -> list[str]:
    """List every `module:name` that a pickle calls for, without running it.

    Raises
    ------
    IntegrityError
        If it is no pickle, or calls for something that it does not name.

    Examples
    --------
    >>> from collections import OrderedDict
    >>> globals_of(pickle.dumps(OrderedDict(a=1), protocol=5))
    ['collections:OrderedDict']
    """
    try:
        return sorted(set(_globals(data)))
    except IntegrityError:
        raise
    except Exception as reason:
        raise IntegrityError(f"{FILE} must be a pickle. It is not: {type(reason).__name__}.") from reason


def _globals(data: bytes) -> Iterator[str]:
    """Follow the texts on the stack, which is where a pickle of today names what it calls for."""
    pushed: list[str | None] = [None, None]
    memo: dict[int, str | None] = {}
    for code, given, _ in pickletools.genops(data):
        if code.name in NO_GLOBALS:
            raise IntegrityError(f"{FILE} must name what it calls for. It holds {code.name}.")
        if code.name == "STACK_GLOBAL":
            yield _joined(*pushed[-2:])
        elif code.name in ("GLOBAL", "INST"):
            yield _joined(*str(given).split(" ", 1))
        _remember(code, given, pushed, memo)


def _remember(code: Any, given: Any, pushed: list[str | None], memo: dict[int, str | None]) -> None:
    if code.name == "MEMOIZE":
        memo[len(memo)] = pushed[-1]
    elif code.name in ("PUT", "BINPUT", "LONG_BINPUT"):
        memo[given] = pushed[-1]
    elif code.name in ("GET", "BINGET", "LONG_BINGET"):
        pushed.append(memo.get(given))
    elif code.stack_after:
        pushed.append(given if code.name in STRINGS else None)


def _joined(module: str | None, name: str | None) -> str:
    if not module or not name:
        raise IntegrityError(f"{FILE} must name what it calls for. It makes a name up when it is read.")
    return f"{module}:{name}"


def _never(name: str) -> bool:
    module, _, attribute = name.partition(":")
    top = module.partition(".")[0]
    if top == "builtins":
        return attribute.partition(".")[0] in RUNNING
    return top not in HARMLESS and trusting.forbidden(module)


def _recorded(path: Path) -> Sequence[str]:
    try:
        return [str(name) for name in json.loads(path.read_text(encoding="utf-8"))["globals"]]
    except (OSError, ValueError, KeyError, TypeError) as reason:
        raise IntegrityError(f"Beside {FILE} must lie {LIST} with its names. Pack the model again.") from reason


# ── what it answers ────────────────────────────────────────────────────────────────────────────────────────────────


def _is_classifier(model: Any) -> bool:
    return hasattr(model, "predict_proba") and hasattr(model, "classes_")


def _kin(model: Any) -> Adapter | None:
    """Find the adapter that can ask a model, though it cannot write it."""
    try:
        found = models.find(model)
        found.task(model)
    except UnsupportedModelError:
        return None
    return None if found.library in models.NO_LIBRARIES else found


def _numbers(frame: pd.DataFrame) -> Array:
    import numpy as np

    try:
        return frame.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as reason:
        raise UnsupportedModelError(f"What reaches the model must be numbers. It is not: {reason}.") from reason


def _columns(predicted: Any) -> dict[str, Array]:
    """Give predictions as columns, each under its own name where it has one and is not alone."""
    import numpy as np

    named = [str(name) for name in getattr(predicted, "columns", [])]
    made = np.asarray(predicted)
    if made.ndim not in (1, 2):
        raise UnsupportedModelError(f"A pickled model must give one row an answer. Got an array of {made.ndim} axes.")
    if made.ndim == 1 or made.shape[1] == 1:
        return {"": made.reshape(-1)}
    return dict(zip(named or [f"y{i}" for i in range(made.shape[1])], made.T, strict=True))


def _part(values: Array) -> Part:
    return "value" if values.dtype.kind == "f" else "label"


def _doubles(values: Array) -> Array:
    import numpy as np

    return np.asarray(values, dtype=np.float64)


def _plain(label: Any) -> Any:
    return label.item() if hasattr(label, "item") else label
