"""Which modules a model needs: those of every class and function that can be reached from it."""

from __future__ import annotations

import functools
import sys
import types
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

MANY = 1000  # of more items than these, one of each type stands for the rest
PLAIN = (bool, bytes, complex, float, int, str, type(None), range, slice)
CALLABLE = (types.FunctionType, types.BuiltinFunctionType)


def modules_of(model: Any) -> tuple[str, ...]:
    """Name the modules of every class and function reachable from a model, without Python's own.

    Types are looked at, not values, so that a large forest takes milliseconds. What a function of the notebook itself
    imports is in its code, and not looked for here.

    Returns
    -------
    Top-level names, sorted; of a namespace that several distributions share, the package inside it.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> modules_of(Ridge().fit([[0.0], [1.0]], [0, 1]))
    ('numpy', 'sklearn')
    """
    found: set[str] = set()
    seen: dict[int, Any] = {}  # the objects too: a fresh one must not be given the number of one that is gone
    waiting: deque[Any] = deque([model])
    while waiting:
        each = waiting.pop()
        if isinstance(each, PLAIN) or id(each) in seen:
            continue
        seen[id(each)] = each
        found.update(_named_by(each))
        waiting.extend(_few(_inside(each)))
    return tuple(sorted({_package(name) for name in found if not _is_python_s_own(name)}))


def _named_by(each: Any) -> Iterator[str]:
    """Name the modules of a class and its bases, of a function, or of the classes of anything else."""
    if isinstance(each, types.ModuleType):
        yield each.__name__
    elif isinstance(each, CALLABLE):
        yield each.__module__ or "builtins"
    else:
        kinds = each.__mro__ if isinstance(each, type) else type(each).__mro__
        yield from (kind.__module__ for kind in kinds)
        if callable(each) and isinstance(module := getattr(each, "__module__", None), str):  # a ufunc, a compiled one
            yield module


def _inside(each: Any) -> Sequence[Any]:
    if isinstance(each, type | types.ModuleType):
        return ()
    if isinstance(each, dict):
        return (*each, *each.values(), *_attributes(each))
    if isinstance(each, list | tuple | set | frozenset | deque):
        return (*each, *_attributes(each))
    if isinstance(each, types.FunctionType):
        cells = [cell.cell_contents for cell in each.__closure__ or () if _is_filled(cell)]
        return (*cells, *(each.__defaults__ or ()), *(each.__kwdefaults__ or {}).values(), *_attributes(each))
    if isinstance(each, types.MethodType):
        return (each.__self__, each.__func__)
    if isinstance(each, functools.partial):
        return (each.func, *each.args, *each.keywords.values())
    if type(each).__module__ == "numpy" and getattr(getattr(each, "dtype", None), "hasobject", False):
        return cast("list[Any]", each.ravel().tolist())
    return _attributes(each)


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # a name that is not yet bound
        return False


def _attributes(each: Any) -> list[Any]:
    slots = [
        name
        for kind in type(each).__mro__
        if "__slots__" in vars(kind)  # not what is built into Python: a function's globals are the whole notebook
        for name, value in vars(kind).items()
        if isinstance(value, types.MemberDescriptorType)
    ]
    held = getattr(each, "__dict__", None)
    values = [getattr(each, name) for name in slots if hasattr(each, name)]
    return [*values, *held.values()] if isinstance(held, dict) else values


def _few(items: Sequence[Any]) -> Iterable[Any]:
    return items if len(items) <= MANY else {type(item): item for item in items}.values()


def _is_python_s_own(name: str) -> bool:
    return name.partition(".")[0] in (*sys.stdlib_module_names, "__main__")


def _package(name: str) -> str:
    """Cut a module's name down to the first package around it that is no namespace."""
    parts = name.split(".")
    for depth in range(1, len(parts)):
        whole = ".".join(parts[:depth])
        if whole not in sys.modules or getattr(sys.modules[whole], "__file__", None):
            return whole
    return name
