"""Write a live value as an expression that makes it again, with no pickle."""

from __future__ import annotations

import cmath
import io
import json
import pprint
import socket
import threading
from collections.abc import Callable, Iterable
from types import AsyncGeneratorType, BuiltinFunctionType, GeneratorType, ModuleType
from typing import Any, Protocol, TypeVar

from ekiben.slicing import homes, kept, sources
from ekiben.slicing.finding import reduced
from ekiben.slicing.texts import Parts

LONG = 300  # characters of a literal beyond which it is a file


class CannotTravel(Exception):  # noqa: N818 -- a fact on the way to an UnsupportedModelError
    """What a value is that cannot be written down."""


class Writer(Protocol):
    """What puts references and files beside an expression."""

    def refer(self, value: Any) -> Parts | None:
        """Name a module, a class or a function; None for another value."""

    def imported(self, module: str, name: str | None = None) -> Parts:
        """Name what a library holds."""

    def keep(self, label: str, ending: str, written: bytes) -> str:
        """Put a file beside the code, and give its name."""


def parts_of(value: Any, label: str, to: Writer, held: tuple[int, ...] = ()) -> Parts:
    """Write a value as an expression; `label` names the files that it needs."""
    if id(value) in held:
        raise CannotTravel(f"{described(value)} that holds itself")
    held = (*held, id(value))
    named = to.refer(value)
    if named is not None:
        return named
    if _is_plain(value):
        return _literal(value, label, to)
    write = WRITERS.get(type(value)) or _special(value) or _instance
    return write(value, label, to, held)


def _is_plain(value: Any) -> bool:
    try:
        return is_literal(value)
    except RecursionError:
        raise CannotTravel(f"{described(value)} that holds itself") from None


def is_literal(value: Any) -> bool:
    """Tell whether Python's own notation gives a value exactly."""
    if type(value) in (list, tuple):
        return all(map(is_literal, value))
    if type(value) is set:
        return bool(value) and all(map(is_literal, value))
    if type(value) is dict:
        return all(map(is_literal, value)) and all(map(is_literal, value.values()))
    if type(value) in (float, complex):
        return cmath.isfinite(value)
    return type(value) in (type(None), bool, int, str, bytes, type(...))


def _literal(value: Any, label: str, to: Writer) -> Parts:
    written = pprint.pformat(value, width=100, sort_dicts=False) if _nests(value) else repr(value)
    if len(written) <= LONG or not isinstance(value, list | dict) or not _fits_json(value):
        return (written,)
    name = to.keep(label, "json", _json(value))
    return _call(to, "document", name)


def _nests(value: Any) -> bool:
    return isinstance(value, list | tuple | dict)


def _fits_json(value: Any) -> bool:
    try:
        return sources.same(json.loads(json.dumps(value)), value)
    except TypeError:
        return False


def _json(document: Any) -> bytes:
    try:
        return (json.dumps(document, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # half a surrogate pair, as in the name of a file, which JSON escapes
        return (json.dumps(document) + "\n").encode()


def _call(to: Writer, reader: str, name: str) -> Parts:
    return (*to.imported(".", "kept"), f".{reader}({name!r})")


# ── containers ─────────────────────────────────────────────────────────────────────────────────────────────────────


ENDS: dict[Any, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ",)"),
    set: ("{", "}"),
    frozenset: ("frozenset([", "])"),
}


def _sequence(value: Any, label: str, to: Writer, held: tuple[int, ...]) -> Parts:
    start, end = ENDS[type(value)]
    if not value:
        return (f"{type(value).__name__}()",)
    ordered = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
    inside = (parts_of(one, f"{label}_{i}", to, held) for i, one in enumerate(ordered))
    return (start, *_joined(inside), end)


def _dict(value: dict[Any, Any], label: str, to: Writer, held: tuple[int, ...]) -> Parts:
    pairs: list[Parts] = []
    for i, (key, one) in enumerate(value.items()):
        tail = key if isinstance(key, str) and key.isidentifier() else str(i)
        told = parts_of(key, f"{label}_key_{i}", to, held), parts_of(one, f"{label}_{tail}", to, held)
        pairs.append((*told[0], ": ", *told[1]))
    return ("{", *_joined(pairs), "}")


def _float(value: float, label: str, to: Writer, held: tuple[int, ...]) -> Parts:  # noqa: ARG001
    return (f'float("{value}")',)


def _complex(value: complex, label: str, to: Writer, held: tuple[int, ...]) -> Parts:  # noqa: ARG001
    return (f'complex(float("{value.real}"), float("{value.imag}"))',)


WRITERS: dict[type, Callable[..., Parts]] = {
    list: _sequence,
    tuple: _sequence,
    set: _sequence,
    frozenset: _sequence,
    dict: _dict,
    float: _float,
    complex: _complex,
}


# ── numpy and pandas ───────────────────────────────────────────────────────────────────────────────────────────────


def _special(value: Any) -> Callable[..., Parts] | None:
    if isinstance(value, TypeVar):
        return _type_variable
    top = type(value).__module__.partition(".")[0]
    name = type(value).__name__
    if top == "numpy" and name == "ndarray":
        return _array
    if top == "numpy" and hasattr(value, "dtype") and hasattr(value, "item") and value.dtype.kind in "biufc":
        return _scalar
    if top == "numpy" and value.__class__.__mro__[-2].__name__ == "dtype" and value.names is None:
        return _dtype
    return {"DataFrame": _frame, "Series": _series}.get(name) if top == "pandas" else None


def _type_variable(value: Any, label: str, to: Writer, held: tuple[int, ...]) -> Parts:
    limits = [(", ", *parts_of(one, label, to, held)) for one in value.__constraints__]
    bound = () if value.__bound__ is None else (", bound=", *parts_of(value.__bound__, label, to, held))
    inside = (part for limit in limits for part in limit)
    return (*to.imported("typing", "TypeVar"), f"({value.__name__!r}", *inside, *bound, ")")


def _scalar(value: Any, label: str, to: Writer, held: tuple[int, ...]) -> Parts:
    named = to.refer(type(value)) or ()
    return (*named, "(", *parts_of(value.item(), label, to, held), ")")


def _dtype(value: Any, label: str, to: Writer, held: tuple[int, ...]) -> Parts:  # noqa: ARG001
    return (*to.imported("numpy", "dtype"), f"({value.str!r})")


def _array(value: Any, label: str, to: Writer, held: tuple[int, ...]) -> Parts:  # noqa: ARG001
    import numpy as np

    if not value.dtype.hasobject:
        file = io.BytesIO()
        np.save(file, value, allow_pickle=False)
        return _call(to, "array", to.keep(label, "npy", file.getvalue()))
    values = value.ravel().tolist()
    if not all(type(one) in (type(None), bool, int, float, str) for one in values):
        raise CannotTravel("a numpy array of Python objects")
    written = {"shape": value.shape, "values": values}
    return _call(to, "array", to.keep(label, "json", _json(written)))


def _frame(value: Any, label: str, to: Writer, held: tuple[int, ...]) -> Parts:  # noqa: ARG001
    import pandas as pd

    columns = [_column(value.iloc[:, i]) for i in range(value.shape[1])]
    written = _json({"names": _index(value.columns), "index": _index(value.index), "columns": columns})
    name = to.keep(label, "json", written)
    _reads_back(value, pd.testing.assert_frame_equal, kept.frame, name, written)
    return _call(to, "frame", name)


def _series(value: Any, label: str, to: Writer, held: tuple[int, ...]) -> Parts:  # noqa: ARG001
    import pandas as pd

    written = _json({"name": value.name, "index": _index(value.index), "values": _column(value)})
    name = to.keep(label, "json", written)
    _reads_back(value, pd.testing.assert_series_equal, kept.series, name, written)
    return _call(to, "series", name)


def _reads_back(
    value: Any, compare: Callable[..., None], read: Callable[[str], Any], name: str, written: bytes
) -> None:
    """Read as the package will, and refuse what is not the same to the last bit."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(written)
        try:
            compare(read(str(path)), value, check_exact=True, check_freq=False)
        except (AssertionError, TypeError, ValueError) as reason:
            raise CannotTravel(f"{described(value)} that JSON does not give back exactly") from reason


def _column(values: Any) -> dict[str, Any]:
    dtype = str(values.dtype)
    if dtype == "category":
        codes, known = values.cat.codes.tolist(), values.cat.categories.to_series()
        return {"values": codes, "categories": _column(known), "ordered": bool(values.cat.ordered)}
    if dtype.startswith(("datetime64", "timedelta64")):
        return _moments(values, dtype)
    listed = [None if _is_missing(value) else value for value in values.astype(object).tolist()]
    try:
        json.dumps(listed)
    except TypeError:
        raise CannotTravel(f"a pandas column of {type(listed[0]).__name__} objects") from None
    return {"dtype": dtype, "values": listed}


def _moments(values: Any, dtype: str) -> dict[str, Any]:
    zone = getattr(values.dt, "tz", None)
    unit = dtype[dtype.index("[") + 1 :].split(",", 1)[0].rstrip("]")
    plain = values if zone is None else values.dt.tz_convert("UTC").dt.tz_localize(None)
    told = {"dtype": dtype, "values": plain.to_numpy().astype("int64").tolist(), "unit": unit}
    return told if zone is None else {**told, "zone": str(zone)}


def _is_missing(value: Any) -> bool:
    return type(value).__name__ in ("NAType", "NaTType")


def _index(index: Any) -> dict[str, Any]:
    if type(index).__name__ == "RangeIndex":
        return {"start": index.start, "stop": index.stop, "step": index.step, "name": index.name}
    if type(index).__name__ == "MultiIndex":
        raise CannotTravel("a pandas object with an index of several levels")
    return {"values": _column(index.to_series()), "name": index.name}


# ── every other object ─────────────────────────────────────────────────────────────────────────────────────────────


def _instance(value: Any, label: str, to: Writer, held: tuple[int, ...]) -> Parts:
    if isinstance(value, LIVE):
        raise CannotTravel(described(value))
    try:
        told = reduced(value)
    except Exception as reason:
        raise CannotTravel(described(value)) from reason
    if isinstance(told, str):
        place = homes.public(value, told)
        if place is None:
            raise CannotTravel(described(value))
        return to.imported(*place)
    return _made(value, told, label, to, held)


def _made(value: Any, told: tuple[Any, ...], label: str, to: Writer, held: tuple[int, ...]) -> Parts:
    make, arguments, state, items, pairs = (*told, None, None, None)[:5]
    if make.__name__ == "__newobj_ex__":
        raise CannotTravel(described(value))
    filled = [list(items or ()), dict(pairs or ())]
    if make.__name__ == "__newobj__" and len(arguments) == 1 and not any(filled):
        known, held_state = parts_of(arguments[0], label, to, held), parts_of(state, label, to, held)
        return (*to.imported(".", "kept"), ".restored(", *known, ", ", *held_state, ")")
    named = parts_of(make, label, to, held)
    inside = [parts_of(one, f"{label}_{i}", to, held) for i, one in enumerate(arguments)]
    if any(filled):
        return _filled(value, filled, label, to, held)
    if state is None:
        return (*named, "(", *_joined(inside), ")")
    given: Parts = ("(", *_joined(inside), ",)") if inside else ("()",)
    told_state = parts_of(state, label, to, held)
    return (*to.imported(".", "kept"), ".instance(", *named, ", ", *given, ", ", *told_state, ")")


def _filled(value: Any, filled: list[Any], label: str, to: Writer, held: tuple[int, ...]) -> Parts:
    """Write a subclass of dict or list by its class and what it is filled with."""
    named = to.refer(type(value)) or ()
    content = parts_of(filled[0] or filled[1], label, to, held)
    factory = getattr(value, "default_factory", None)
    first = (*parts_of(factory, label, to, held), ", ") if hasattr(value, "default_factory") else ()
    if type(value).__module__ != "collections":
        raise CannotTravel(described(value))
    most = getattr(value, "maxlen", None)  # of a deque
    return (*named, "(", *first, *content, *((f", {most}",) if most is not None else ()), ")")


def _joined(every: Iterable[Parts]) -> Parts:
    return tuple(part for i, parts in enumerate(every) for part in (*((", ",) if i else ()), *parts))


LIVE = (io.IOBase, socket.socket, threading.Thread, GeneratorType, AsyncGeneratorType)
OPEN = ("Connection", "Cursor", "Wrapper", "Reader", "Writer", "socket", "FileIO")


def described(value: Any) -> str:
    """Say what a value is, as `an open sqlite3.Connection`.

    >>> described(threading.Lock())
    'a lock'
    """
    made = type(value)
    if isinstance(value, io.IOBase):
        return "an open file"
    module = made.__module__.lstrip("_")
    name = made.__name__ if module in ("builtins", "thread") else f"{module}.{made.__name__}"
    if made.__name__.endswith(OPEN):
        return f"an open {name}"
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def is_callable_by_name(value: Any) -> bool:
    """Tell whether a value is one of the things that are imported and not written."""
    return isinstance(value, type | BuiltinFunctionType | ModuleType) or type(value).__name__ == "ufunc"
