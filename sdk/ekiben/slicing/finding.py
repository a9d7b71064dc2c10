"""Walk a live model, and find the classes and functions in it that no library holds."""

from __future__ import annotations

import copyreg
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from ekiben.slicing import homes

PLAIN = (type(None), bool, int, float, complex, str, bytes, BuiltinFunctionType, ModuleType)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Classes and functions of the notebook or of local files, and what cannot be copied, each with its path."""

    things: list[tuple[Any, str]] = field(default_factory=list)
    stuck: list[tuple[Any, str]] = field(default_factory=list)
    patched: list[str] = field(default_factory=list)


def find(model: Any) -> Found:
    """Walk everything that a model holds."""
    found = Found()
    seen: dict[int, Any] = {}  # holds what was seen, so that no id is used twice
    waiting = [(model, "model")]
    while waiting:
        thing, path = waiting.pop()
        if isinstance(thing, PLAIN) or id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if isinstance(thing, type | FunctionType):
            _meet(thing, path, found)
        else:
            waiting += reversed(list(_inside(thing, path, found)))
    return found


def _meet(thing: Any, path: str, found: Found) -> None:
    if homes.of(thing) != "installed":
        found.things.append((thing, path))
    elif isinstance(thing, type):
        found.patched.extend(patches(thing))


def patches(made: type) -> Iterator[str]:
    """Name the methods of a library's class that the notebook put there."""
    for owner in made.__mro__:
        if homes.of(owner) == "installed":
            for name, function in homes.functions(owner):
                if function.__globals__.get("__name__") == "__main__":
                    yield f"{owner.__name__}.{name}"


def _inside(thing: Any, path: str, found: Found) -> Iterator[tuple[Any, str]]:
    if isinstance(thing, dict) and type(thing) is dict:
        for key, value in thing.items():
            yield from ((key, path), (value, f"{path}[{key!r}]"))
    elif type(thing) in (list, set, frozenset):
        yield from ((value, f"{path}[{i}]") for i, value in enumerate(thing))
    elif type(thing) is tuple:
        yield from ((value, _of_tuple(thing, path, i)) for i, value in enumerate(thing))
    elif not _is_plain_array(thing):
        yield type(thing), path
        yield from _reduced(thing, path, found)


def _of_tuple(values: tuple[Any, ...], path: str, i: int) -> str:
    """Say `steps[1]['log']` where a tuple begins with its name."""
    return f"{path}[{values[0]!r}]" if values and isinstance(values[0], str) and i else path


def _is_plain_array(thing: Any) -> bool:
    return type(thing).__module__ == "numpy" and not getattr(getattr(thing, "dtype", None), "hasobject", True)


def _reduced(thing: Any, path: str, found: Found) -> Iterator[tuple[Any, str]]:
    try:
        told = reduced(thing)
    except Exception:  # noqa: BLE001 -- whatever it raises, it cannot be copied
        found.stuck.append((thing, path))
        return
    if isinstance(told, str):
        return
    make, arguments, state, items, pairs = (*told, None, None, None)[:5]
    yield from ((value, path) for value in (make, *arguments))
    for part in state if isinstance(state, tuple) else (state,):
        if isinstance(part, dict):
            yield from ((value, f"{path}.{key}") for key, value in part.items())
        else:
            yield part, path
    yield from ((value, f"{path}[{i}]") for i, value in enumerate(items or ()))
    yield from ((value, f"{path}[{key!r}]") for key, value in pairs or ())


def reduced(thing: Any) -> Any:
    """Take an object apart as pickle would."""
    known = copyreg.dispatch_table.get(type(thing))
    return known(thing) if known else thing.__reduce_ex__(4)


def readable(path: str) -> str:
    """Make a name of a path: `model.steps[0]['log'].func` is `log_func`.

    >>> readable("model.steps[0]['log'].func")
    'log_func'
    """
    words = [word for word in re.findall(r"[A-Za-z_]\w*", path) if word not in ("model", "steps")]
    return "_".join(words[-2:]) or "answer"
