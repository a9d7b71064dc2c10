"""Read which names a definition's text takes from outside, and put other names in their places."""

from __future__ import annotations

import ast
import dis
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any, TypeAlias

TAKES = {"LOAD_NAME", "LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"}
COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}
NEWLOCALS = 0x2


@dataclass(frozen=True, slots=True)
class Ref:
    """Stands for the name that an item is given in the end."""

    key: tuple[Any, ...]


Parts: TypeAlias = tuple[str | Ref, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A global name in a text: where it stands, in bytes, and whether it is needed only when a function runs."""

    name: str
    start: int
    end: int
    late: bool
    stores: bool = False


def dedented(text: str, node: ast.AST, first_line: int) -> str:
    """Cut a definition out of a cell, and move it to the margin but for what is inside its texts."""
    last: int = node.end_lineno  # type: ignore[attr-defined]
    # as Python counts them: a form feed, or a separator of Unicode's, ends a line to `str.splitlines` alone
    lines = [line.decode() for line in text.encode().splitlines()[first_line - 1 : last]]
    margin: int = node.col_offset  # type: ignore[attr-defined]
    kept = _inside_texts(node)
    moved = [
        line if number in kept or line[:margin].strip() else line[margin:]
        for number, line in enumerate(lines, start=first_line)
    ]
    return "\n".join(moved) + "\n"


def _inside_texts(node: ast.AST) -> set[int]:
    texts: list[Any] = [n for n in ast.walk(node) if isinstance(n, ast.JoinedStr) or _is_text(n)]
    return {line for n in texts for line in range(n.lineno + 1, (n.end_lineno or n.lineno) + 1)}


def _is_text(node: Any) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


class Spans:
    """Where the lines of a text begin, in bytes."""

    def __init__(self, text: str) -> None:
        self.bytes = text.encode()
        self.starts = [0]
        for line in self.bytes.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def at(self, line: int, column: int) -> int:
        """Give a place in bytes."""
        return self.starts[line - 1] + column

    def of(self, node: Any) -> tuple[int, int]:
        """Give the place of a node in bytes."""
        return self.at(node.lineno, node.col_offset), self.at(node.end_lineno, node.end_col_offset)


def uses(text: str, flags: int) -> tuple[Use, ...]:
    """List the names that a text takes from its module."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said once already, when the cell ran
        code = compile(text, "<slice>", "exec", flags, dont_inherit=True)
    return tuple(_uses(code, Spans(text), late=False))


def _uses(code: CodeType, where: Spans, *, late: bool) -> Iterator[Use]:
    bound: set[str] = set()
    for step in dis.get_instructions(code):
        if step.opname == "STORE_NAME":
            bound.add(str(step.argval))
        elif step.opname in TAKES and step.argval not in bound:
            yield _use(step, where, late)
    for const in code.co_consts:
        if isinstance(const, CodeType):
            runs_later = bool(const.co_flags & NEWLOCALS) and const.co_name not in COMPREHENSIONS
            yield from _uses(const, where, late=late or runs_later)


def _use(step: Any, where: Spans, late: bool) -> Use:
    line, last, column, stop = step.positions
    start, end = where.at(line, column), where.at(last, stop)
    return Use(name=step.argval, start=start, end=end, late=late, stores=step.opname == "STORE_GLOBAL")


def put(text: str, places: dict[tuple[int, int], Parts]) -> Parts:
    """Put parts in the places of a text; a place inside another is covered by it."""
    whole = text.encode()
    done, made = 0, []
    for (start, end), parts in sorted(places.items(), key=lambda item: (item[0][0], -item[0][1])):
        if start >= done:
            made += [whole[done:start].decode(), *parts]
            done = end
    return tuple(part for part in (*made, whole[done:].decode()) if part != "")


def refs(parts: Parts) -> Iterator[tuple[Any, ...]]:
    """Give the keys of the items that parts stand for."""
    yield from (part.key for part in parts if isinstance(part, Ref))
