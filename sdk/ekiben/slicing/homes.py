"""Tell where a class, a function or a module is at home: in the notebook, in a local file or in a library."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Literal, TypeAlias

from ekiben.distributions import CODE

Home: TypeAlias = Literal["notebook", "local", "installed"]

SITES = {"site-packages", "dist-packages"}


def of_module(name: str) -> Home:
    """Tell where a module is at home.

    >>> of_module("json"), of_module("__main__")
    ('installed', 'notebook')
    """
    top = name.partition(".")[0]
    if name == "__main__":
        return "notebook"
    if (
        top in sys.stdlib_module_names or top == "ekiben" or top.startswith("_cython_")
    ):  # where Cython's types say they are
        return "installed"
    if top.startswith(CODE):
        return "notebook" if name.endswith(".notebook") else "local"
    return _by_file(sys.modules.get(name))


def _by_file(module: ModuleType | None) -> Home:
    file = getattr(module, "__file__", None)
    if file is not None:
        return "installed" if _installed(file) or not str(file).endswith(".py") else "local"
    # a namespace package has a spec and no file; a module made by hand has neither
    return "installed" if getattr(module, "__spec__", None) is not None else "notebook"


@cache
def _installed(file: str) -> bool:
    path = Path(file).absolute()
    stdlib = Path(os.__file__).parent
    return bool(SITES & set(path.parts)) or path.is_relative_to(stdlib)


def of(thing: Any) -> Home:
    """Tell where a class or a function is at home, whatever its wrapper says.

    >>> of(len), of(Path)
    ('installed', 'installed')
    """
    if isinstance(thing, FunctionType):
        return _of_function(thing)
    module = str(getattr(thing, "__module__", None) or "builtins")
    home = of_module(module)
    if home == "installed" and isinstance(thing, type) and not named(thing) and _is_made_here(thing):
        return "notebook"
    return home


def _of_function(function: FunctionType) -> Home:
    inner = unwrapped(function)
    if inner is not function:
        return _of_function(inner)
    home = of_module(str(function.__globals__.get("__name__", "__main__")))
    if home == "installed" and not named(function) and not _installed(function.__code__.co_filename):
        file = function.__code__.co_filename
        return "notebook" if file.startswith("<doctest") else home
    return home


def _is_made_here(made: type) -> bool:
    return any(code.co_filename.startswith("<doctest") for code in codes(made))


def unwrapped(thing: Any) -> Any:
    """Take off what `functools.wraps` put around a function."""
    try:
        return inspect.unwrap(thing)
    except ValueError:
        return thing


def functions(made: type) -> Iterator[tuple[str, FunctionType]]:
    """Give the functions in a class's own body by name, out of their properties and static methods."""
    for name, value in vars(made).items():
        inner = value
        for attribute in ("__func__", "fget", "func"):
            inner = getattr(inner, attribute, inner) if not isinstance(inner, FunctionType) else inner
        inner = unwrapped(inner)
        if isinstance(inner, FunctionType):
            yield name, inner


def codes(made: type) -> Iterator[Any]:
    """Give the code of a class's own functions."""
    for _, function in functions(made):
        yield function.__code__


def named(thing: Any) -> bool:
    """Tell whether importing a class or function by its module and name gives that very object."""
    module = sys.modules.get(str(getattr(thing, "__module__", None)))
    return reach(module, str(getattr(thing, "__qualname__", ""))) is thing


def reach(module: Any, path: str) -> Any:
    """Follow a dotted path of attributes; None where it ends early."""
    for name in path.split("."):
        module = getattr(module, name, None)
    return module


def public(thing: Any, name: str | None = None) -> tuple[str, str] | None:
    """Give the shortest module, and the name in it, that an installed library offers an object under.

    >>> import pandas as pd
    >>> public(pd.DataFrame)
    ('pandas', 'DataFrame')
    """
    name = name or getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    module = getattr(thing, "__module__", None)
    if not isinstance(name, str):
        return None
    parts = module.split(".") if isinstance(module, str) else []
    tried = [".".join(parts[: n + 1]) for n in range(len(parts))]
    found = [one for one in tried if of_module(one) == "installed" and reach(sys.modules.get(one), name) is thing]
    open_ones = [one for one in found if "._" not in f".{one}"]
    return next(((one, name) for one in [*open_ones, *found]), None) or _searched(thing, name)


def _searched(thing: Any, name: str) -> tuple[str, str] | None:
    """Look through every imported module, for what does not say its own."""
    holders = [key for key, module in list(sys.modules.items()) if getattr(module, "__dict__", {}).get(name) is thing]
    installed = [key for key in holders if of_module(key) == "installed"]
    return (min(installed, key=lambda key: (key.count("."), len(key))), name) if installed else None


def logical(module: str) -> str:
    """Give a local module's name, without the package that it once travelled in."""
    top, _, rest = module.partition(".")
    return rest if top.startswith(CODE) else module
