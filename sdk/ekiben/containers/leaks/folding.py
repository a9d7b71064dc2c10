"""What expressions of Python come to, where their source tells all that they are made of."""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

from ekiben.containers.leaks.values import FOLDED, MOST_LETTERS, Known, done, name_of, parts_of, value_of

AROUND = 100  # bytes of the lines that an expression stands in
MOST_BRACES = 20_000  # of a chunk: what Python's parser takes for a text with expressions in it is a square
QUOTED = 5  # letters that a text needs more than it has where it is written in pieces or escapes
# What only code says, and what puts texts together there.
_HINTS = re.compile(
    rb"\b(?:chr|map|bytes|bytearray|Path)\(|b(?:16|32|64|85)decode|unhexlify|fromhex|\[[^\]\n]{0,20}:-?\d\]|[\"']\s*%|"
    rb"\.(?:join|format|replace|translate|decode|swapcase|split)\(|[+]=?\s*[rbfRBF]{0,2}[\"'\w]|[\"']\s*\+|\b[fF][\"']|"
    rb"[\"'][ \t]+[rbfRBF]{0,2}[\"']|\\x[2-7]|[\"'][ \t]*(?:#[^\n]{0,200})?\n[ \t]*[rbfRBF]{0,2}[\"']"
)


def folded(chunk: bytes) -> Iterator[bytes]:
    r"""Give each line whose text stands in pieces, with what they come to in their place.

    >>> [*folded(b'a = "one"\nkey = a + chr(45) + "owt"[::-1]')]
    [b'key = "one-two"']
    """
    if b"\x00" in chunk or chunk.count(b"{") > MOST_BRACES or not _HINTS.search(chunk):
        return
    try:
        with warnings.catch_warnings(action="ignore"):  # of what is no escape
            tree = ast.parse(chunk)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # no Python, or the middle of it
    with suppress(RecursionError):  # of what is nested too deep
        yield from _in_place(chunk, tree)


def _in_place(chunk: bytes, tree: ast.AST) -> Iterator[bytes]:
    lines, left = chunk.splitlines(), MOST_LETTERS + 2 * len(chunk)
    for nodes, text in _texts(tree, lines):
        first, last = nodes[0], nodes[-1]
        before = lines[first.lineno - 1][max(0, first.col_offset - AROUND) : first.col_offset]
        end = last.end_col_offset or 0
        told = before + b'"' + text + b'"' + lines[(last.end_lineno or last.lineno) - 1][end : end + AROUND]
        yield told
        left -= len(told)
        if left < 0:
            return  # so that it stays quick


def _texts(tree: ast.AST, lines: Sequence[bytes]) -> Iterator[tuple[Sequence[ast.expr], bytes]]:
    """Go through the source in its order, and not into what was told as a whole."""
    known = Known()
    left: list[tuple[ast.AST, int]] = [(tree, 0)]
    while left:
        node, known.function = left.pop()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a documentation string
        inner: Sequence[ast.AST] = [*ast.iter_child_nodes(node)]
        if isinstance(node, ast.Assign | ast.AnnAssign):
            _learn(node, known)
        elif isinstance(node, ast.AugAssign):
            if text := _encoded(_grown(node, known)):
                yield [node.value], text
        elif isinstance(node, ast.Constant):
            if (text := _encoded(node.value)) and _is_written_otherwise(node, text, lines):
                yield [node], text
        elif isinstance(node, FOLDED):
            if text := _encoded(value_of(node, known)):
                yield [node], text
                continue
            parts = parts_of(node)
            yield from _runs(parts, known)
            inner = [part for part in parts if not isinstance(part, ast.Constant)] or inner
        within = node.lineno if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else known.function
        left.extend((each, within) for each in reversed(inner))


def _encoded(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")
    return value if isinstance(value, bytes) else b""


def _is_written_otherwise(node: ast.Constant, text: bytes, lines: Sequence[bytes]) -> bool:
    """Tell a text of several literals, or with escapes, from one that stands there as it is."""
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    if first == last:
        return node.end_col_offset is not None and node.end_col_offset - node.col_offset >= len(text) + QUOTED
    return text not in b"\n".join(lines[first : last + 1])


def _runs(parts: Sequence[ast.expr], known: Known) -> Iterator[tuple[Sequence[ast.expr], bytes]]:
    """Give texts that stand beside each other in a sum of which the rest is not known."""
    told = [(part, _encoded(value_of(part, known))) for part in parts]
    for is_known, run in groupby(told, key=lambda each: bool(each[1])):
        found = [*run]
        if is_known and len(found) > 1:
            yield [part for part, _ in found], b"".join(text for _, text in found)


def _learn(node: ast.Assign | ast.AnnAssign, known: Known) -> None:
    value = value_of(node.value, known) if node.value is not None else None
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        if isinstance(target, ast.Tuple) and isinstance(value, list) and len(target.elts) == len(value):
            for part, each in zip(target.elts, value, strict=True):
                known.keep(part, each)
        else:
            known.keep(target, value)


def _grown(node: ast.AugAssign, known: Known) -> Any:
    found = done(operator.add, known.get(name_of(node.target)), value_of(node.value, known))
    known.names[known.function, name_of(node.target) or ""] = found
    return found
