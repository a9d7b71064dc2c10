"""Compile every module below a folder once, and leave out the words that people read: `precompile.py FOLDER SHOWN UNDOCUMENTED`.

Below a read-only root Python would compile them each time that it starts. It runs by the Python of the base image, with nothing but
its standard library, and without columns of lines (`-X no_debug_ranges`), which are left out of what a whole process compiles.
"""

from __future__ import annotations

import ast
import gc
import importlib.util
import itertools
import marshal
import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from types import CodeType

EVERY = "*"  # in place of names: all modules of a folder, as those of Python itself
UNCHECKED = 1  # the flag of compiled code that is never compared with its source
KEPT = re.compile(r"copyright|licen[cs]e|©|\(c\) ?\d{4}", re.IGNORECASE)  # what a licence wants to be kept
TOLD = b"# ekiben left documentation strings and comments out of this file; its lines are where they were.\n"
CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*(?!utf-?8|[ \t])", re.IGNORECASE)  # another one than UTF-8


def main(folder: str, shown: str, undocumented: str) -> None:
    """Compile the modules below a folder, which an image has at `shown`; `undocumented` names tops, or is `*`."""
    # a link may lead out of the image's folder, to a file of the machine that builds
    files = sorted(str(path) for path in Path(folder).rglob("*.py") if not path.is_symlink())
    names = None if undocumented == EVERY else frozenset(undocumented.split(","))
    with ProcessPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(partial(compile_one, folder=folder, shown=shown, undocumented=names), files, chunksize=64))


def compile_one(file: str, folder: str, shown: str, undocumented: frozenset[str] | None) -> None:
    """Compile one module, and write its source without words where they are left out."""
    path = Path(file)
    inner = path.relative_to(folder)
    source = path.read_bytes()
    try:
        if undocumented is None or inner.parts[0].removesuffix(".py") in undocumented:
            source, code = without_words(source, f"{shown}/{inner}")
            path.write_bytes(source)
        else:
            code = compile(source, f"{shown}/{inner}", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # a template, for another Python, or nested deeper than Python reads: nothing that is imported here
    target = Path(importlib.util.cache_from_source(file))
    target.parent.mkdir(exist_ok=True)
    head = importlib.util.MAGIC_NUMBER + UNCHECKED.to_bytes(4, "little") + importlib.util.source_hash(source)
    target.write_bytes(head + marshal.dumps(code))


def without_words(source: bytes, shown: str) -> tuple[bytes, CodeType]:
    r"""Give a source without documentation and lines of comments, and what it is compiled to.

    Its lines stay where they are, and what speaks of a licence stays. A source that would be compiled to anything else stays whole.

    >>> text = b"def half(x):\n    '''Words,\n    more.'''\n    # why\n    return x / 2\n"
    >>> without_words(text, "half.py")[0].splitlines()[:5]
    [b'def half(x):', b'    ""', b'', b'', b'    return x / 2']
    """
    tree = ast.parse(source)
    words, spanned = _read(tree)
    left = _cut(source, words, spanned)
    for each in words:
        each.value = ""
    code: CodeType = compile(tree, shown, "exec", dont_inherit=True)
    return (left, code) if left != source and _compiles_to(left, code) else (source, code)


def _read(tree: ast.Module) -> tuple[list[ast.Constant], set[int]]:
    """Give the documentation strings of a module, and the lines, from 0, that lie in a string of many lines."""
    words, spanned = [], set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found = node.body[0].value if node.body and isinstance(node.body[0], ast.Expr) else None
            if isinstance(found, ast.Constant) and isinstance(found.value, str) and not KEPT.search(found.value):
                words.append(found)
        elif isinstance(node, ast.Constant | ast.JoinedStr) and node.end_lineno != node.lineno:
            spanned.update(range(node.lineno - 1, node.end_lineno or node.lineno))
    return words, spanned


def _cut(source: bytes, words: list[ast.Constant], spanned: set[int]) -> bytes:
    """Cut documentation strings and lines of comments out of a source, and say so at its end."""
    lines = source.splitlines(keepends=True)
    if any(CODING.match(line) for line in lines[:2]):
        return source  # its columns may be counted in other bytes
    starts = [0, *itertools.accumulate(map(len, lines))]
    places = [*_comments(lines, starts, spanned)]
    for each in words:
        first, last = each.lineno - 1, (each.end_lineno or each.lineno) - 1
        begins, ends = starts[first] + each.col_offset, starts[last] + (each.end_col_offset or 0)
        places.append((begins, ends, b'""' + b"\n" * (last - first)))
    if not places:
        return source
    made, at = bytearray(), 0
    for begins, ends, instead in sorted(places):
        made += source[at:begins] + instead
        at = ends
    return bytes(made + source[at:]).removesuffix(b"\n") + b"\n" + TOLD


def _comments(lines: list[bytes], starts: list[int], spanned: set[int]) -> Iterator[tuple[int, int, bytes]]:
    own = [n for n, line in enumerate(lines) if line.lstrip().startswith(b"#") and n not in spanned]
    for _, block in itertools.groupby(enumerate(own), lambda place: place[1] - place[0]):
        numbers = [n for _, n in block]
        if not any(KEPT.search(lines[n].decode(errors="replace")) for n in numbers):
            yield from ((starts[n], starts[n] + len(lines[n].rstrip(b"\r\n")), b"") for n in numbers)


def _compiles_to(source: bytes, code: CodeType) -> bool:
    try:
        return bool(compile(source, code.co_filename, "exec", dont_inherit=True) == code)
    except SyntaxError:
        return False


if __name__ == "__main__":
    gc.disable()  # trees of syntax are in no circle
    main(*sys.argv[1:])
