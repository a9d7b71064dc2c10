"""Import alibi 0.9.4 only when it is needed, and without the text stack that no table needs."""

from __future__ import annotations

import sys
import warnings
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
SHAP = (0, 42)  # of shap the only releases whose values alibi reads as they are meant
_LOCK = Lock()


def anchor_tabular() -> Any:
    """Return the class `alibi.explainers.AnchorTabular`. The first call takes seconds.

    Raises
    ------
    MissingExtraError
        If alibi is not installed, or in another version.
    """
    with _LOCK:
        return _explainers("explain by anchors").AnchorTabular


def kernel_shap() -> Any:
    """Return the class `alibi.explainers.KernelShap`. The first call takes up to half a minute.

    Raises
    ------
    MissingExtraError
        If alibi or shap is not installed, or in another version.
    """
    with _LOCK:
        to = "explain by KernelSHAP"
        with _unwarned():
            found = require("shap", to=to).__version__
        if tuple(map(int, found.split(".")[:2])) != SHAP:
            raise MissingExtraError(
                f"KernelSHAP by alibi needs shap {SHAP[0]}.{SHAP[1]}. Got {found}. Run: pip install 'ekiben[kernel]'"
            )
        return _explainers(to).KernelShap


@cache
def _explainers(to: str) -> Any:
    _refuse_other_versions()
    with _stand_ins(), _unwarned():
        require("alibi", to=to)
        explainers = import_module("alibi.explainers")
    if not hasattr(np, "float_"):
        _adapt_to_numpy_2()
    return explainers


def _refuse_other_versions() -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("alibi")
    except PackageNotFoundError:
        return  # `require` says it better
    if found != VERSION:
        raise MissingExtraError(
            f"alibi must be {VERSION}, the last under the Apache licence. Got {found}. "
            "Run: pip install 'ekiben[explain]'"
        )


@contextmanager
def _unwarned() -> Iterator[None]:
    """Leave out what old libraries are told of newer ones while they are imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


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
