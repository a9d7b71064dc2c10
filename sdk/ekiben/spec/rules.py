"""What a value of `ekiben.toml` may be: each rule yields what is wrong with the value of one dotted key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, cast

from ekiben.errors import SpecError, nearest
from ekiben.routing import is_text, shown

Rule: TypeAlias = Callable[[str, object], Iterator[str]]

BARE = re.compile(r"[A-Za-z0-9_-]{1,80}")  # a key that TOML takes without quotes
_METHOD = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_MOST = 10**9


def amount(key: str, value: object) -> Iterator[str]:
    """Take a number above 0."""
    if type(value) not in (int, float) or not 0 < cast("float", value) <= _MOST:
        yield f"{key} must be a number above 0, at most {_MOST:,}. Got {shown(value)}."


def count(key: str, value: object) -> Iterator[str]:
    """Take a whole number from 1 on."""
    if type(value) is not int or not 1 <= value <= _MOST:
        yield f"{key} must be a whole number from 1 to {_MOST:,}. Got {shown(value)}."


def share(key: str, value: object) -> Iterator[str]:
    """Take a number from 0 to 1."""
    if type(value) not in (int, float) or not 0 <= cast("float", value) <= 1:
        yield f"{key} must be a number from 0 to 1. Got {shown(value)}."


def part(key: str, value: object) -> Iterator[str]:
    """Take a number above 0, and at most 1."""
    if type(value) not in (int, float) or not 0 < cast("float", value) <= 1:
        yield f"{key} must be a number above 0, at most 1. Got {shown(value)}."


def flag(key: str, value: object) -> Iterator[str]:
    """Take true or false."""
    if type(value) is not bool:
        yield f"{key} must be true or false. Got {shown(value)}."


def one_of(*words: str) -> Rule:
    """Take one of some words."""

    def faults(key: str, value: object) -> Iterator[str]:
        if value not in words:
            yield f"{key} must be {' or '.join(map(repr, words))}. Got {shown(value)}.{nearest(str(value), words)}"

    return faults


def columns(key: str, value: object) -> Iterator[str]:
    """Take names of columns, each once."""
    if not isinstance(value, list | tuple) or not all(is_text(name) and name for name in value):
        yield f"{key} must be a list of columns, such as ['name', 'street']. Got {shown(value)}."
    elif len({*value}) < len(value):
        yield f"{key} must name each column once. Got one twice."


def methods(key: str, value: object) -> Iterator[str]:
    """Take names of methods, each once."""
    if not isinstance(value, list | tuple) or not all(
        isinstance(name, str) and _METHOD.fullmatch(name) for name in value
    ):
        yield f"{key} must be a list of methods, such as ['sampling']. Got {shown(value)}."
    elif len({*value}) < len(value):
        yield f"{key} must name each method once. Got one twice."


def ramp(key: str, value: object) -> Iterator[str]:
    """Take per cents that rise."""
    steps: list[Any] = [*value] if isinstance(value, list | tuple) else [None]
    if any(type(each) is not int or not 0 < each < 100 for each in steps) or steps != sorted({*steps}):
        yield f"{key} must rise, in whole per cent from 1 to 99, such as [5, 25, 50]. Got {shown(value)}."


def command(key: str, value: object) -> Iterator[str]:
    """Take a line for a shell."""
    if not is_text(value) or not cast("str", value).strip():
        yield f"{key} must be a command, such as 'python train.py'. Got {shown(value)}."


def reasons(key: str, value: object) -> Iterator[str]:
    """Take names, each with its reason."""
    if not isinstance(value, Mapping) or not all(is_text(name) and name for name in value):
        yield f"{key} must be a table: a name = the reason. Got {shown(value)}."
        return
    for name, reason in value.items():
        if not is_text(reason) or not cast("str", reason).strip():
            yield f"{dotted(key, name)} must be the reason, such as 'bought, contract 17'. Got {shown(reason)}."


def maybe(rule: Rule) -> Rule:
    """Take nothing as well."""
    return lambda key, value: iter(()) if value is None else rule(key, value)


def table(known: Mapping[str, Rule]) -> Rule:
    """Take a table that has these keys and no others, each by its rule."""

    def faults(key: str, value: object) -> Iterator[str]:
        if not isinstance(value, Mapping):
            yield f"{key} must be a table. Got {shown(value)}."
            return
        for name, inner in value.items():
            if name in known:
                yield from known[name](dotted(key, name), inner)
            else:
                yield f"{dotted(key, name)} must be one of {sorted(known)}.{nearest(name, known)}"

    return faults


def dotted(key: str, name: object) -> str:
    """Name a key inside of another, as TOML does."""
    text = str(name)
    text = text if BARE.fullmatch(text) else shown(text)
    return f"{key}.{text}" if key else text


def refuse(source: str, faults: Iterable[str]) -> None:
    """Raise one error that lists every fault; nothing when there is none."""
    found = sorted(set(faults))
    if len(found) == 1:
        raise SpecError(f"{source}: {found[0]}")
    if found:
        raise SpecError("\n- ".join([f"{source} has {len(found)} faults:", *found]))
