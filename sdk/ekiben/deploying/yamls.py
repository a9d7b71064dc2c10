"""Write YAML that says why beside what: the same text for the same document, and read it strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ekiben._optional import require
from ekiben.errors import SpecError

# What YAML 1.1 and 1.2 both take for a text without quotes: no number, no date, no word of theirs.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9/._-]*(:[A-Za-z0-9/._-]+)*")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_UNSEEN = re.compile(r"[\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
MOST_VALUES = 1_000_000  # of one file
_BLOCK = re.compile(r"(?! )([ -~]*[!-~]\n)+")  # lines of plain letters, the first of them not indented


class Why(str):
    """A key with the reason for what it says, which is written above it as a comment."""

    __slots__ = ("reason",)
    reason: str

    def __new__(cls, key: str, reason: str) -> Why:
        """Make a key that is equal to its text alone."""
        made = super().__new__(cls, key)
        made.reason = reason
        return made


def dumps(document: Mapping[str, Any], *, head: str = "") -> str:
    """Write one document, with a comment before it.

    Examples
    --------
    >>> print(
    ...     dumps({"kind": "Service", Why("ports", "one door"): [{"name": "http", "port": 80}]}, head="Who is asked.")
    ... )
    # Who is asked.
    kind: Service
    # one door
    ports:
      - name: http
        port: 80
    <BLANKLINE>
    """
    comments = [f"# {line}" for line in head.splitlines()]
    return "\n".join([*comments, *_mapping(document, "")]) + "\n"


def _mapping(document: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in document.items():
        if isinstance(key, Why):
            yield from (f"{indent}# {line}" for line in key.reason.splitlines())
        yield from _entry(f"{indent}{_text(str(key))}:", value, indent)


def _entry(before: str, value: Any, indent: str) -> Iterator[str]:
    """Write a value after what stands before it in its line."""
    if isinstance(value, Mapping) and value:
        yield before
        yield from _mapping(value, f"{indent}  ")
    elif isinstance(value, list | tuple) and value:
        yield before
        for each in value:
            yield from _item(each, f"{indent}  ")
    else:
        yield f"{before} {_scalar(value, indent)}"


def _item(value: Any, indent: str) -> Iterator[str]:
    if not (isinstance(value, Mapping | list | tuple) and value):
        yield f"{indent}- {_scalar(value, indent)}"
        return
    lines = list(_mapping(value, f"{indent}  ") if isinstance(value, Mapping) else _items(value, f"{indent}  "))
    first = next(i for i, line in enumerate(lines) if not line.lstrip().startswith("#"))
    yield from (line[2:] for line in lines[:first])  # a comment stands before the dash
    yield f"{indent}- {lines[first][len(indent) + 2 :]}"
    yield from lines[first + 1 :]


def _items(values: Sequence[Any], indent: str) -> Iterator[str]:
    for each in values:
        yield from _item(each, indent)


def _scalar(value: Any, indent: str) -> str:
    if isinstance(value, str):
        if "\n" in value and _BLOCK.fullmatch(value):
            return "|\n" + "\n".join(f"{indent}  {line}" for line in value.splitlines())
        return _text(value)
    written = json.dumps(value)
    is_bare = isinstance(value, float) and "e" in written and "." not in written
    return written.replace("e", ".0e") if is_bare else written


def _text(value: str) -> str:
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def loads(text: str, *, source: str) -> list[Any]:
    """Read every document of a file; a key that comes twice is refused.

    Raises
    ------
    SpecError
        If the text is no YAML, or a key comes twice in one place.
    """
    yaml = require("yaml", to="read manifests")
    try:
        found = [each for each in yaml.load_all(text, Loader=_strict(yaml)) if each is not None]
    except RecursionError:
        raise SpecError(f"{source} must be YAML that is not nested so deep.") from None
    except yaml.YAMLError as reason:
        mark = getattr(reason, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else "it"
        raise SpecError(
            f"{source} must be YAML. In {where}: {getattr(reason, 'problem', None) or 'it cannot be read'}."
        ) from None
    if _n_values(found) > MOST_VALUES:
        raise SpecError(
            f"{source} must hold at most {MOST_VALUES:,} values, what an alias stands for counted each time. It holds more."
        )
    return found


def _n_values(documents: list[Any]) -> int:
    """Count values, as often as aliases name them and no further than it matters: an alias may stand for what it is in."""
    waiting, n = list(documents), 0
    while waiting and n <= MOST_VALUES:
        each = waiting.pop()
        n += 1
        if isinstance(each, dict | list):
            waiting.extend(each.values() if isinstance(each, dict) else each)
    return n


def _strict(yaml: Any) -> Any:
    """Make a reader that takes plain values alone, and no key twice."""

    class Strict(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[Any] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key.start_mark)
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} comes twice", key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    return Strict
