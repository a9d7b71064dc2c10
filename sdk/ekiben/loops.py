"""The inner loops in C, where they were built for this machine. Elsewhere ONNX Runtime and numpy do the same, slower.

>>> callable(loops.row) if loops else bool(missing)
True
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def _built() -> tuple[ModuleType | None, str]:
    try:
        return import_module("ekiben._loops"), ""
    except ImportError as reason:  # there was no compiler, or another kind of machine
        return None, str(reason)


loops, missing = _built()
