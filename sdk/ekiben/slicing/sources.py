"""Find the source of what runs now, in the cell or file that it was made by."""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, TypeAlias

from ekiben.slicing import homes

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
FUTURE = 0x1000000  # CO_FUTURE_ANNOTATIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One cell or file."""

    file: str
    text: str
    cell: int | None

    def where(self, line: int) -> str:
        """Name the place as its author knows it."""
        return f"cell {self.cell}" if self.cell is not None else f"{Path(self.file).name}:{line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The text of a definition: the cell or file, and the node in it."""

    text: Text
    node: Any

    @property
    def where(self) -> str:
        """Name the place as its author knows it."""
        return self.text.where(self.node.lineno)


def of_function(function: FunctionType) -> Source | None:
    """Find the very code that a function runs; None where no cell or file holds it."""
    code = function.__code__
    for text in _texts(code.co_filename):
        node = _node_of(text.text, code)
        if node is not None:
            return Source(text=text, node=node)
    return None


def of_class(made: type) -> Source | None:
    """Find a class by the code of its methods or, without any, by the names in its body."""
    own = [f.__code__ for n, f in homes.functions(made) if f.__qualname__.startswith(f"{made.__qualname__}.")]
    files = dict.fromkeys(code.co_filename for code in own if not code.co_filename.startswith("<string"))
    wanted = [code for code in own if code.co_filename in files]
    for file in [*files, getattr(sys.modules.get(made.__module__), "__file__", None)]:
        for text in _texts(file):
            for node in _classes(text.text, made.__qualname__):
                if _is_body_of(node, made, wanted, text.text):
                    return Source(text=text, node=node)
    return None


def _is_body_of(node: ast.ClassDef, made: type, wanted: list[CodeType], text: str) -> bool:
    """Tell whether a class was made of a node: a method stands there, and the text holds all that were made with it."""
    if not wanted:
        return _agrees(node, made)
    known = _codes(text)
    made_together = [[code for code in wanted if code.co_filename == file] for file in {c.co_filename for c in wanted}]
    return any(
        all(code in known for code in codes) and any(_within(node, code) for code in codes) for codes in made_together
    )


def _within(node: ast.AST, code: CodeType) -> bool:
    return bool(node.lineno <= code.co_firstlineno <= node.end_lineno)  # type: ignore[attr-defined]


def _agrees(node: ast.ClassDef, made: type) -> bool:
    """Tell whether a body without code names what the class holds, with the same plain values."""
    noted = [n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
    live = vars(made)
    if set(noted) != set(live.get("__annotations__", {})):
        return False
    return all(_agrees_on(name, value, live, noted) for name, value in assigned(node))


def _agrees_on(name: str, value: ast.expr, live: Any, noted: list[str]) -> bool:
    if name not in live:
        return name in noted
    told, held = literal(value), live[name]
    held = held.value if isinstance(held, Enum) else held
    return told is MISSING or hasattr(held, "__get__") or same(told, held)


def assigned(node: ast.ClassDef | ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Give the names that the body of a class or a module sets, each with its expression."""
    for statement in node.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = getattr(statement, "value", None)
        if isinstance(statement, ast.Assign | ast.AnnAssign) and value is not None:
            yield from ((target.id, value) for target in targets if isinstance(target, ast.Name))


MISSING = object()


def literal(node: ast.AST) -> Any:
    """Give the value of a literal; MISSING for what is none."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return MISSING


def same(one: Any, other: Any) -> bool:
    """Tell whether two plain values are equal, types and all."""
    return type(one) is type(other) and repr(one) == repr(other)


# ── cells and files ────────────────────────────────────────────────────────────────────────────────────────────────


def _texts(file: str | None) -> Iterator[Text]:
    """Give the named cell or file first, then every cell that the kernel remembers, the newest first."""
    lines = linecache.getlines(file) if file else []
    if file and lines:
        yield Text(file=file, text="".join(lines), cell=cell_of(file))
    yield from _history()
    for other in reversed(list(linecache.cache)):
        entry = linecache.cache.get(other)
        if other != file and entry is not None and len(entry) > 1 and entry[1] is None:
            yield Text(file=other, text="".join(entry[2]), cell=cell_of(other))


def shell() -> Any:
    """Give the kernel's shell; None outside of IPython, which is not imported for this."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def cell_of(file: str) -> int | None:
    """Give the number of the cell that runs under a file's name."""
    compiler = getattr(shell(), "compile", None)
    number: int | None = getattr(compiler, "_filename_map", {}).get(file)
    return number


def _history() -> Iterator[Text]:
    kernel = shell()
    raw = [] if kernel is None else list(kernel.history_manager.input_hist_raw)
    for number in range(len(raw) - 1, 0, -1):
        cell = raw[number]
        body = cell.partition("\n")[2] if cell.startswith("%%") else cell
        yield Text(file=f"<cell {number}>", text=kernel.transform_cell(body), cell=number)


# ── nodes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=64)
def tree_of(text: str) -> ast.Module | None:
    """Parse a cell; None for one that is no Python."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def says(text: str, code: CodeType) -> bool:
    """Tell whether a text holds a function's code, wherever it stands there; what a test runner put in is not looked at."""
    if any(name.startswith("@") for part in _within_code(code) for name in (*part.co_names, *part.co_varnames)):
        return True  # names that no text can hold
    return any(told.co_qualname == code.co_qualname and _bare(told) == _bare(code) for told in _codes(text))


def _bare(part: Any) -> Any:
    """Give what code does, without the lines that it stands in; and of its constants what tells them apart."""
    if isinstance(part, CodeType):
        names = part.co_names, part.co_varnames, part.co_freevars, part.co_cellvars
        counts = part.co_argcount, part.co_posonlyargcount, part.co_kwonlyargcount
        return part.co_code, names, counts, tuple(map(_bare, part.co_consts))
    if isinstance(part, frozenset):
        return frozenset(map(_bare, part))
    return type(part), repr(part)


@lru_cache(maxsize=64)
def _codes(text: str) -> tuple[CodeType, ...]:
    """Compile a file whole and a cell statement by statement, as IPython does, and give all code in it."""
    import warnings

    tree = tree_of(text)
    if tree is None:
        return ()
    # A name that the same unit imports is called by other bytecode: so what is a unit matters.
    units = [tree, *(ast.Module(body=[statement], type_ignores=[]) for statement in tree.body)]
    made: list[CodeType] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said once already, when the cell ran
        for unit in units:
            for flags in (0, FUTURE):
                made += _compiled(unit, flags)
    return tuple(made)


def _compiled(unit: ast.Module, flags: int) -> Iterator[CodeType]:
    try:
        yield from _within_code(
            compile(unit, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | flags, dont_inherit=True)
        )
    except (SyntaxError, ValueError):
        return


def _within_code(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _within_code(const)


def _node_of(text: str, code: CodeType) -> FunctionNode | None:
    tree = tree_of(text)
    if tree is None or code not in _codes(text):
        return None
    found: list[Any] = [node for node in ast.walk(tree) if _is_node_of(node, code)]
    return found[-1] if found else None  # the innermost: ast.walk goes outside in


def _is_node_of(node: ast.AST, code: CodeType) -> bool:
    if isinstance(node, ast.Lambda):
        return code.co_name == "<lambda>" and _covers(node, code)
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)])
    return node.name == code.co_name and first == code.co_firstlineno


def _covers(node: ast.Lambda, code: CodeType) -> bool:
    """Compare columns too: two lambdas may stand on one line."""
    body = node.body
    start, end = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
    spans = [span for span in code.co_positions() if None not in span and span[2:] != (0, 0)]
    return node.lineno == code.co_firstlineno and all(
        start <= (line, column) and (last, stop) <= end for line, last, column, stop in spans
    )


def _classes(text: str, qualname: str) -> list[ast.ClassDef]:
    tree = tree_of(text)
    found: list[ast.ClassDef] = []

    def look(node: ast.AST, path: str) -> None:
        for child in ast.iter_child_nodes(node):
            name = getattr(child, "name", None)
            if isinstance(child, ast.ClassDef):
                if path + child.name == qualname:
                    found.append(child)
                look(child, f"{path}{name}.")
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                look(child, f"{path}{name}.<locals>.")
            else:
                look(child, path)

    if tree is not None:
        look(tree, "")
    return found[::-1]
