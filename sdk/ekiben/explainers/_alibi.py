"""Import alibi 0.9.4 only when it is needed, and without the text stack that no table needs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np

from ekiben._optional import require
from ekiben.errors import MissingExtraError

VERSION = "0.9.4"  # the last release under the Apache licence
_LOCK = Lock()


def anchor_tabular() -> Any:
    """Return the class `alibi.explainers.AnchorTabular`. The first call takes seconds.

    Raises
    ------
    MissingExtraError
        If alibi is not installed, or in another version.
    """
    with _LOCK:
        return _load()


@cache
def _load() -> Any:
    _refuse_other_versions()
    with _stand_ins():
        require("alibi", to="explain by anchors")
        explainers = import_module("alibi.explainers")
    if not hasattr(np, "float_"):
        _adapt_to_numpy_2()
    return explainers.AnchorTabular


def _refuse_other_versions() -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("alibi")
    except PackageNotFoundError:
        return  # `require` says it better
    if found != VERSION:
        raise MissingExtraError(
            f"Anchors need alibi {VERSION}, the last under the Apache licence. Got {found}. "
            "Run: pip install 'ekiben[explain]'"
        )


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Let alibi import spaCy and ray where they are absent; nobody else meets the stand-ins."""
    made = {name: module for name, module in _absent().items() if name not in sys.modules}
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            sys.modules.pop(name, None)


def _absent() -> dict[str, ModuleType]:
    modules: dict[str, ModuleType] = {}
    if find_spec("spacy") is None:
        language = _module("spacy.language", Language=type("Language", (), {}))
        util = _module("spacy.util", get_package_path=_no_spacy)
        cli = _module("spacy.cli", download=_no_spacy, link=_no_spacy)
        spacy = _module("spacy", load=_no_spacy, language=language, util=util, cli=cli)
        modules |= {module.__name__: module for module in (spacy, language, util, cli)}
    if find_spec("ray") is None and find_spec("shap") is not None:
        modules["ray"] = _module("ray", remote=_not_remote)  # 0.9.4 reads ray.remote while defining classes
    return modules


def _module(name: str, **attributes: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(attributes)
    return module


def _no_spacy(*_: Any, **__: Any) -> Any:
    raise ImportError("Texts need spaCy. It is not installed. Run: pip install spacy")


def _not_remote(*arguments: Any, **_: Any) -> Any:
    plain: Callable[[Any], Any] = lambda function: function  # noqa: E731 -- a decorator's decorator
    return arguments[0] if arguments and callable(arguments[0]) else plain


def _adapt_to_numpy_2() -> None:
    """Give alibi the JSON encoder that it builds from names NumPy 2 dropped; anchors use nothing else of them."""
    import json

    class Encoder(json.JSONEncoder):
        def default(self, o: Any) -> Any:
            return o.tolist() if isinstance(o, np.generic | np.ndarray) else super().default(o)

    for module in ("alibi.saving", "alibi.api.interfaces"):
        import_module(module).NumpyEncoder = Encoder  # type: ignore[attr-defined]
