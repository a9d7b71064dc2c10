"""Numbers as a model sees them, where MessagePack has no room for them as they came."""

from __future__ import annotations

from typing import Any


def narrowed(value: Any) -> Any:
    """Make a float of each integer that 64 bits cannot hold, within lists and names too.

    >>> narrowed({"age": [30, 2**64]})
    {'age': [30, 1.8446744073709552e+19]}
    """
    if isinstance(value, dict):
        return {key: narrowed(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [narrowed(each) for each in value]
    return float(value) if type(value) is int and not -(2**63) <= value < 2**64 else value
