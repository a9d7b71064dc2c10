"""Any function of a frame and any object with `predict`: code by its name, state as data."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben import distributions, trusting
from ekiben.errors import IntegrityError, UnsupportedModelError
from ekiben.models import Answers, answered, by_pickle
from ekiben.models.sklearn import ADAPTER as DATA
from ekiben.models.skops_file import FILE as DATA_FILE
from ekiben.models.turns import in_turn
from ekiben.schema import PARTS, Label, Output, Part, Task

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.models import Array

FILE = "function.json"
WAY_OUT = "Define it with `def` at the top of the notebook or of a module, and pass what it needs by functools.partial."


class PythonAdapter(answered.Opaque):
    """A function from a frame to a frame, a Series, an array, a list or a dict of columns, or what predicts so."""

    library = "python"

    def task(self, model: Any) -> Task:
        """Take whatever can be called with a frame; what the answers mean is known of one with probabilities alone."""
        called(model)
        return "classification" if _is_classifier(model) else "other"

    @in_turn()
    def asked(self, model: Any, frame: pd.DataFrame) -> dict[str, Array]:
        """Ask about a copy, whose rows are numbered from 0."""
        return answered.columns(called(model)(_copied(frame)), len(frame))

    def outputs(self, model: Any, frame: pd.DataFrame) -> tuple[Output, ...]:
        """Give a classifier's labels; ask anything else about a few rows."""
        if _is_classifier(model):
            return (Output(parts=("label", "scores"), classes=_labels(model)),)
        return super().outputs(model, frame)

    @in_turn()
    def answers(self, model: Any, frame: pd.DataFrame, parts: Sequence[Part] = PARTS) -> tuple[Answers, ...]:
        """Ask a classifier for what is wanted, anything else once."""
        return (_labelled(model, frame, parts),) if _is_classifier(model) else super().answers(model, frame, parts)

    def save(self, model: Any, folder: Path, *, trust: Sequence[str] = ()) -> None:
        """Write the name of the function, and beside it what it is bound to, as data."""
        states: list[Any] = []
        document = _described(model, states)
        for name in _functions(document):
            _refuse_untrusted(name, trust)
        if states:
            _save(model, states, folder, trust)
        (folder / FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    def bare(self, model: Any) -> Any:
        """Give the model whole: all of it may be code."""
        return model

    def load(self, folder: Path, *, trust: Sequence[str] = ()) -> Any:
        """Put the function together again; no module is imported but those that `trust` names."""
        document = _read(folder)
        refused = [name for name in _functions(document) if not _is_allowed(name, trust)]
        if refused:
            raise IntegrityError(f"A packed function must be of a module that is trusted. Got {', '.join(refused)}.")
        states = DATA.load(folder, trust=trust) if (folder / DATA_FILE).is_file() else []
        return _made(document, states)

    def foreign(self, folder: Path) -> list[str]:
        """Name the functions, and the types of what they are bound to; nothing of it is imported or built."""
        return [*_functions(_read(folder)), *DATA.foreign(folder)]

    def requirements(self, model: Any) -> tuple[str, ...]:
        """Name the distributions of the function's module and of the classes that it is bound to."""
        states: list[Any] = []
        names = [*_functions(_described(model, states)), *(type(state).__module__ for state in states)]
        needed = {dist for name in names for dist in distributions.bringing(name.replace(":", "."))}
        return tuple(sorted(needed | ({"scikit-learn", "skops"} if states else set())))


ADAPTER = PythonAdapter()


def called(model: Any) -> Callable[[pd.DataFrame], Any]:
    """Give what is called with a frame: the model's `predict`, or the model itself.

    Raises
    ------
    UnsupportedModelError
        If it is neither, or a class.
    """
    predict = getattr(model, "predict", model)
    if isinstance(model, type):
        raise UnsupportedModelError(
            f"What is packed must be an object that answers. Got the class {model.__name__}. Make one: {model.__name__}(…)."
        )
    if not callable(predict):
        raise UnsupportedModelError(
            f"The model must be a function of a frame, or have predict(frame). Got {type(model).__name__}."
        )
    if (needed := _needs_more(predict)) is not None:
        raise UnsupportedModelError(
            f"A model must answer a frame alone. Got {_named(model, predict)}{needed}. Pack a function of the frame that calls it; "
            "a PythonModel of MLflow by where it was logged: pack('models:/…', …)."
        )
    return predict  # type: ignore[no-any-return]


def _needs_more(predict: Callable[..., Any]) -> inspect.Signature | None:
    """Give the signature of what cannot be called with a frame alone."""
    try:
        signature = inspect.signature(predict)
    except (TypeError, ValueError):  # of compiled code nobody knows
        return None
    try:
        signature.bind(None)
    except TypeError:
        return signature
    return None


def _named(model: Any, predict: Callable[..., Any]) -> str:
    return getattr(model, "__name__", type(model).__name__) + ("" if predict is model else ".predict")


def _copied(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    given = frame.copy()
    given.index = pd.RangeIndex(len(given))
    return given


# ── to a document, and back ────────────────────────────────────────────────────────────────────────────────────────


def _described(model: Any, states: list[Any]) -> dict[str, Any]:
    """Name the code of a model, and add what it is bound to to `states`."""
    if isinstance(model, functools.partial):
        inner = _described(model.func, states)
        states.append((model.args, model.keywords))
        return {"partial": inner, "state": len(states) - 1}
    if inspect.ismethod(model) and not isinstance(model.__self__, type):
        states.append(model.__self__)
        return {"method": model.__func__.__name__, "state": len(states) - 1}
    if hasattr(model, "__qualname__"):
        return {"function": _name(model)}
    states.append(model)
    return {"object": f"{type(model).__module__}:{type(model).__qualname__}", "state": len(states) - 1}


def _name(function: Any) -> str:
    """Name a function as module:name, and see that this is where it is found."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type):  # a class's own method
        name = f"{owner.__module__}:{owner.__qualname__}.{function.__name__}"
    else:
        name = f"{function.__module__}:{function.__qualname__}"
    if "<" in name or _found(name) is None:
        raise UnsupportedModelError(f"A packed function must be found by its name. Got {_dotted(name)}. {WAY_OUT}")
    return name


def _functions(document: Any) -> list[str]:
    """List the dotted names of the functions in a document."""
    return [_dotted(name) for name in _references(document)]


def _references(document: Any) -> Iterator[str]:
    if "function" in document:
        yield document["function"]
    if "partial" in document:
        yield from _references(document["partial"])


def _dotted(name: str) -> str:
    return name.replace(":", ".")


def _made(document: dict[str, Any], states: Sequence[Any]) -> Any:
    if "function" in document:
        found = _found(document["function"])
        if found is None:
            raise IntegrityError(
                f"A packed function must be where it was. {_dotted(document['function'])} is not. "
                "Install the version of its library that it was packed with."
            )
        return found
    function = _made(document["partial"], states) if "partial" in document else None
    try:
        state = states[document["state"]]
        if function is not None:
            return functools.partial(function, *state[0], **state[1])
        return getattr(state, document["method"]) if "method" in document else state
    except (LookupError, TypeError, AttributeError) as reason:
        raise IntegrityError(f"{DATA_FILE} must hold what {FILE} is bound to. It does not. Pack it again.") from reason


def _found(name: str) -> Any:
    """Find a function where it is defined, not where it is only imported."""
    module, _, path = name.partition(":")
    try:
        found = functools.reduce(getattr, path.split("."), importlib.import_module(module))
    except (ImportError, AttributeError, ValueError):
        return None
    return found if callable(found) and getattr(found, "__module__", module) == module else None


def _read(folder: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        _is_one_of_ours(document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as reason:
        raise IntegrityError(f"{FILE} must be as ekiben wrote it. It is not. Pack the function again.") from reason
    return document


def _is_one_of_ours(document: dict[str, Any]) -> None:
    """See that a document has one of the four shapes."""
    what = next(iter(document), "")
    if what == "partial":
        _is_one_of_ours(document["partial"])
    elif what not in ("function", "method", "object") or not isinstance(document[what], str):
        raise ValueError(what)
    if what == "function" and document[what].count(":") != 1:
        raise ValueError(what)


# ── trust ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _refuse_untrusted(name: str, trust: Sequence[str]) -> None:
    top = name.partition(".")[0]
    if not top.startswith(distributions.CODE) and not distributions.bringing(top):
        raise UnsupportedModelError(
            f"A packed function must be of the notebook or of an installed library. Got {name}. {WAY_OUT}"
        )
    if not _is_allowed(name, trust):
        raise UnsupportedModelError(
            f"A packed function must be of a library that you trust. Got {name}. If you do: pack(…, trust=[{top!r}])."
        )


def _is_classifier(model: Any) -> bool:
    """Tell a classifier that is built on no library: it has labels, and a probability for each."""
    return all(hasattr(model, name) for name in ("predict", "predict_proba", "classes_"))


def _labels(model: Any) -> tuple[Label, ...]:
    import numpy as np

    return tuple(np.asarray(model.classes_).tolist())


def _labelled(model: Any, frame: pd.DataFrame, parts: Sequence[Part]) -> Answers:
    import numpy as np

    scores = np.asarray(model.predict_proba(_copied(frame)), dtype=np.float64) if "scores" in parts else None
    return Answers(labels=np.asarray(model.predict(_copied(frame))) if "label" in parts else None, scores=scores)


def _save(model: Any, states: list[Any], folder: Path, trust: Sequence[str]) -> None:
    try:
        DATA.save(states, folder, trust=trust)
    except UnsupportedModelError as reason:
        raise UnsupportedModelError(str(reason).replace(by_pickle(states), by_pickle(model))) from reason


def _is_allowed(name: str, trust: Sequence[str]) -> bool:
    """Tell whether the user's word covers a name: one of the package's own code, or of an installed library."""
    top = name.partition(".")[0]
    named = any(name == given or name.startswith(f"{given}.") for given in trust)
    known = top.startswith(distributions.CODE) or bool(distributions.bringing(top))
    return named and known and not trusting.forbidden(name)
