"""Anything with `predict` that no other file format holds, as a pickle: only when the user named its class."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ekiben import distributions, models, trusting
from ekiben._optional import require
from ekiben.errors import IntegrityError, UnsupportedModelError
from ekiben.models import Answers, class_of
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
    """What another adapter can ask and none can write; the package is loaded only where it is trusted."""

    library = "pickled"

    def task(self, model: Any) -> Task:
        """Tell what it does as the adapter tells that can ask it."""
        return models.find(model).task(model)

    def outputs(self, model: Any, frame: pd.DataFrame) -> tuple[Output, ...]:
        """Tell what it answers."""
        return models.find(model).outputs(model, frame)

    def answers(self, model: Any, frame: pd.DataFrame, parts: Sequence[Part] = PARTS) -> tuple[Answers, ...]:
        """Answer rows."""
        return models.find(model).answers(model, frame, parts)

    def steps(self, model: Any) -> tuple[Callable[[pd.DataFrame], Array], Any]:
        """Take it apart."""
        return models.find(model).steps(model)

    def contributions(self, estimator: Any, matrix: Array) -> Array | None:
        """Break it down."""
        return models.find(estimator).contributions(estimator, matrix)

    def margin(self, estimator: Any, matrix: Array) -> Array:
        """Give the sums that its contributions explain."""
        return models.find(estimator).margin(estimator, matrix)

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
        modules = {name.partition(":")[0] for name in globals_of(data)}
        needed = {dist for module in modules for dist in distributions.bringing(module)}
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
