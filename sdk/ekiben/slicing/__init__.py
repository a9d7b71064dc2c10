"""Take along the notebook's own code that a model uses, sliced to exactly what it needs."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ekiben.errors import UnsupportedModelError
from ekiben.slicing import homes
from ekiben.slicing.binding import copied, digest, importable, module_name, named
from ekiben.slicing.finding import Found, find
from ekiben.slicing.layout import Module, library_names, reader
from ekiben.slicing.values import described
from ekiben.slicing.writing import Gathered

__all__ = ["Sliced", "digest", "importable", "slice_off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sliced:
    """The code that a model uses, and a copy of the model that is bound to it.

    `files` go into the folder `code` of a package, `imports` are the top-level names of the libraries that they need.
    """

    module: str
    files: Mapping[str, bytes]
    model: Any
    imports: tuple[str, ...]
    notes: tuple[str, ...]


def slice_off(model: Any) -> Sliced | None:
    """Slice the notebook's own code off for a model, and bind a copy of the model to it.

    What runs now is what travels: the code of live classes and functions, and the values that their names have now.
    The model itself stays as it is.

    Parameters
    ----------
    model
        Any fitted model, or a function.

    Returns
    -------
    The code with the copy; None when the model uses no code of the notebook or of local files.

    Raises
    ------
    UnsupportedModelError
        If some of the code cannot stand by itself, with every reason.

    Examples
    --------
    >>> slice_off({"a model": "of no code"}) is None
    True
    """
    found = find(model)
    if not found.things and not found.patched:
        return None
    gathered = Gathered()
    for thing, path in found.things:
        gathered.root(thing, path)
    _refuse([*_stuck(found), *gathered.local.faults, *gathered.faults])
    module = Module(gathered=gathered)
    module.name_all()
    _refuse(module.misnamed())
    files = _files(gathered, module)
    return Sliced(
        module=module_name(files),
        files=files,
        model=_bound(model, files, _places(gathered, module), gathered),
        imports=tuple(sorted(library_names(gathered, module) | ({"numpy"} if _keeps(files, "npy") else set()))),
        notes=_notes(gathered, module),
    )


def _stuck(found: Found) -> list[str]:
    patched = [f"`{name}` of a library was changed in the notebook. Write a subclass." for name in found.patched]
    return patched + [
        f"`{path.removeprefix('model.')}` is {described(thing)}, which cannot travel. "
        "Open it inside the method, or pass what it reads as a parameter."
        for thing, path in found.stuck
    ]


def _refuse(faults: list[str]) -> None:
    if faults:
        raise UnsupportedModelError("\n".join(["The code of a model must stand by itself.", *sorted(set(faults))]))


def _files(gathered: Gathered, module: Module) -> dict[str, bytes]:
    files = {**gathered.local.files, **gathered.files}
    if any(key[0] == "definition" for key in gathered.items):
        text = module.text()
        files["notebook.py"] = text.encode()
        if re.search(r"^from \. import kept", text, re.MULTILINE):
            files["kept/__init__.py"] = reader()
    return dict(sorted(files.items()))


def _keeps(files: Mapping[str, bytes], ending: str) -> bool:
    return any(name.endswith(f".{ending}") for name in files)


def _places(gathered: Gathered, module: Module) -> dict[int, tuple[str, str]]:
    """Tell where everything that travels is in the package's code, by the id of what is live."""
    places = {key[1]: ("notebook", name) for key, name in module.names.items() if key[0] == "definition"}
    for thing, (holder, path) in gathered.dotted.items():
        local = isinstance(holder, str)
        places[thing] = (str(holder), path) if local else ("notebook", f"{module.names[holder]}.{path}")  # type: ignore[index]
    return places


def _bound(model: Any, files: Mapping[str, bytes], places: dict[int, tuple[str, str]], gathered: Gathered) -> Any:
    name = module_name(files)
    with tempfile.TemporaryDirectory(prefix="ekiben-code-") as folder:
        for file, content in files.items():
            path = Path(folder, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        _import(Path(folder))
    there = {thing: (f"{name}.{module}", path) for thing, (module, path) in places.items()}
    _refuse(_differing(there, gathered))
    try:
        return copied(model, there)
    except Exception as reason:
        raise UnsupportedModelError(
            f"A model with code of the notebook must be one that pickle can copy in memory. "
            f"Got {type(reason).__name__}: {reason}."
        ) from reason


def _import(folder: Path) -> None:
    try:
        importable(folder)
    except Exception as reason:
        raise UnsupportedModelError(
            "The code of a model must stand by itself. The module made of it does not import: "
            f"{type(reason).__name__}: {reason}. Put what the model uses into a file beside the notebook."
        ) from reason


def _differing(places: dict[int, tuple[str, str]], gathered: Gathered) -> list[str]:
    """Compare what was built with what is live, whatever was read in between."""
    live = {id(thing): thing for thing in gathered.alive}
    faults = []
    for key, place in places.items():
        built = named(*place)
        if built is None:
            faults.append(f"`{place[1]}` was not built again. Put it into a file beside the notebook.")
        elif isinstance(live.get(key), type):
            faults += _differing_class(live[key], built)
    return faults


def _differing_class(live: type, built: type) -> list[str]:
    faults = [
        f"`{live.__name__}.{name}` was set after the class was made. Put it into the class's body."
        for name in sorted(vars(live).keys() - vars(built).keys())
        if not (name.startswith("__") and name.endswith("__"))  # Python's own notes, such as __slotnames__
    ]
    theirs, ours = dict(homes.functions(live)), dict(homes.functions(built))
    changed = [name for name in sorted(theirs.keys() & ours.keys()) if _code(theirs[name])[1:] != _code(ours[name])[1:]]
    return faults + [
        f"`{live.__name__}.{name}` is not what its source says now. Run its cell again, and fit again."
        for name in changed
    ]


def _code(thing: Any) -> tuple[Any, ...]:
    """Give what tells two versions of a function apart, wherever its names come from."""
    code = getattr(homes.unwrapped(thing), "__code__", None)
    if code is None:
        return ()
    consts = [const for const in code.co_consts if isinstance(const, bool | int | float | str | bytes)]
    return (code.co_code, code.co_varnames, code.co_argcount, repr(consts))


def _notes(gathered: Gathered, module: Module) -> tuple[str, ...]:
    made = [(gathered.items[key].where, name) for key, name in module.names.items() if key[0] == "definition"]
    values = [
        name
        for key, name in module.names.items()
        if key[0] in ("global", "cell", "constant") and not _is_name(gathered, key)
    ]
    notes = []
    if made:
        names = ", ".join(sorted({name for _, name in made}))
        notes.append(f"Code of the notebook travels along: {names} ({_cells([where for where, _ in made if where])}).")
    if values:
        notes.append(f"Values travel as they were when the model was packed: {', '.join(sorted(values))}.")
    if gathered.local.files:
        notes.append(f"Local files travel along: {', '.join(sorted(gathered.local.files))}.")
    return tuple(notes)


def _is_name(gathered: Gathered, key: Any) -> bool:
    item = gathered.items[key]
    return item.imports is not None or (len(item.parts) == 1 and not isinstance(item.parts[0], str))


def _cells(places: list[str]) -> str:
    numbers = sorted({int(place.removeprefix("cell ")) for place in places if place.startswith("cell ")})
    others = sorted({place for place in places if not place.startswith("cell ")})
    listed = [str(number) for number in numbers]
    cells = [
        f"cell{'s' if len(listed) > 1 else ''} {' and '.join([', '.join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)}"
    ]
    return ", ".join([*(cells if listed else []), *others])
