"""The inner loops in C, where they were built for this machine. Elsewhere ONNX Runtime and numpy do the same, slower.

>>> loops is None or callable(loops.row)
True
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def _built() -> ModuleType | None:
    try:
        return import_module("ekiben._loops")
    except ImportError:  # no compiler where ekiben was installed, or another kind of machine than it was built on
        return None


loops = _built()
