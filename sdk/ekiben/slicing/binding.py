"""Make the code of a package importable, and bind a copy of a model to it."""

from __future__ import annotations

import hashlib
import importlib
import io
import linecache
import pickle
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from ekiben.distributions import CODE
from ekiben.slicing import homes

LOCK = threading.RLock()


def digest(files: Mapping[str, bytes]) -> str:
    """Tell what code is, by its names and bytes.

    >>> digest({"notebook.py": b""})[:12]
    '096f575a53b8'
    """
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    return whole.hexdigest()


def module_name(files: Mapping[str, bytes]) -> str:
    """Name the Python package that a package's code is.

    >>> module_name({"notebook.py": b""})
    'ekiben_code_096f575a53b8'
    """
    return CODE + digest(files)[:12]


def importable(folder: Path) -> ModuleType | None:
    """Import the code of a package under the name that its files give it.

    Nothing is written into the folder, and neither `sys.path` nor `sys.meta_path` keeps a trace.

    Parameters
    ----------
    folder
        The folder `code` of a package.

    Returns
    -------
    The Python package; None if there is no such folder, or no file in it.

    Examples
    --------
    >>> importable(Path("no/such/folder"))
    """
    files = _read(folder)
    if not files:
        return None
    name = module_name(files)
    with LOCK:
        if name not in sys.modules:
            _import(name, folder.absolute(), [file for file in files if file.endswith(".py")])
        return sys.modules[name]


def _read(folder: Path) -> dict[str, bytes]:
    every = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in every}


def _import(name: str, folder: Path, files: Sequence[str]) -> None:
    """Import every file at once, so that nothing is looked for in the folder later."""
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    finder = _Finder(name, folder)
    sys.modules[name] = module_from_spec(spec)
    sys.meta_path.insert(0, finder)
    try:
        for file in files:
            parts = Path(file).with_suffix("").parts
            importlib.import_module(".".join((name, *(part for part in parts if part != "__init__"))))
    except BaseException:
        for key in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
            del sys.modules[key]
        raise
    finally:
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        if not fullname.startswith(f"{self.name}."):
            return None
        place = self.folder.joinpath(*fullname.split(".")[1:])
        package = place.is_dir()
        file = place / "__init__.py" if package else place.with_suffix(".py")
        if not file.is_file():
            return None
        loader = _Loader(fullname, str(file))
        inside = [str(place)] if package else None
        return spec_from_file_location(fullname, file, loader=loader, submodule_search_locations=inside)


class _Loader(SourceFileLoader):
    """Compiles the source itself: no cache is read, for it might say something else, and none is written."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        source = self.get_data(path)
        text = source.decode("utf-8")
        # a copy for tracebacks, and for packing again, that outlives a temporary folder
        linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
        return self.source_to_code(source, path)  # type: ignore[no-any-return,unused-ignore]


def named(module: str, path: str) -> Any:
    """Give what a module holds under a dotted path."""
    return homes.reach(importlib.import_module(module), path)


def copied(model: Any, places: Mapping[int, tuple[str, str]]) -> Any:
    """Copy a model in memory, with every class and function in `places` taken from its place there."""

    class Copier(pickle.Pickler):
        def reducer_override(self, thing: Any) -> Any:
            place = places.get(id(thing))
            return NotImplemented if place is None else (named, place)

    written = io.BytesIO()
    Copier(written, protocol=5).dump(model)
    return pickle.loads(written.getvalue())  # noqa: S301 -- of this process's own live objects, written just now
