"""Turn the source of one live definition into parts: its text, with what it takes from outside as references."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from types import CellType, FunctionType
from typing import Any, Protocol, TypeAlias

from ekiben.slicing import homes, sources
from ekiben.slicing.sources import FUTURE, MISSING, Source
from ekiben.slicing.texts import Parts, Ref, Spans, dedented, put, uses

BEFORE_COLON = re.compile(rb"(?:#[^\n]*|[^:#])*")  # from the end of a lambda's arguments on: a comment may hold a colon
KERNEL_ONLY = {"get_ipython", "display", "__IPYTHON__"}  # IPython puts them among the builtins
Places: TypeAlias = dict[tuple[int, int], Parts]
Key: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where a definition's outer names are found: in its cells, then among its globals."""

    names: dict[str, Any]
    cells: dict[str, CellType] = field(default_factory=dict)

    def find(self, name: str) -> tuple[Key | None, Any]:
        """Give a name's key and its live value; no key for a builtin, MISSING for what is nowhere."""
        if name in self.cells:
            cell = self.cells[name]
            return ("cell", id(cell), name), _content(cell)
        if name in self.names and not _is_of_kernel(name, self.names[name]):
            return ("global", id(self.names), name), self.names[name]
        known = hasattr(builtins, name) and name not in KERNEL_ONLY
        return None, getattr(builtins, name) if known else MISSING

    def value(self, node: ast.AST) -> Any:
        """Give what a name, or a dotted name, stands for now; MISSING for other expressions."""
        if isinstance(node, ast.Name):
            return self.find(node.id)[1]
        if isinstance(node, ast.Attribute):
            inner = self.value(node.value)
            return MISSING if inner is MISSING else getattr(inner, node.attr, MISSING)
        return MISSING


def _is_of_kernel(name: str, value: Any) -> bool:
    return name in KERNEL_ONLY and str(getattr(value, "__module__", "")).startswith(("IPython", "ipykernel"))


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


class Gathering(Protocol):
    """What a definition asks for while it is read."""

    def slot(self, key: Key, value: Any, owner: str) -> Ref:
        """Give the reference to a name's live value."""

    def constant(self, label: str, value: Any, owner: str) -> Ref | None:
        """Give the reference to a value that has no name of its own."""

    def expression(self, value: Any, label: str, owner: str) -> Parts:
        """Write a value."""

    def submodules(self, module: Any, path: list[str], owner: str) -> None:
        """See that the modules on a dotted path are imported."""

    def fix(self, key: Key, name: str, owner: str) -> None:
        """Note that a name cannot be replaced in the text."""

    def refuse(self, fault: str) -> None:
        """Note a fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A definition as parts, with the keys that it needs at once and those that it needs when it runs."""

    parts: Parts
    hard: tuple[Key, ...]
    soft: tuple[Key, ...]
    future: bool
    attributes: frozenset[str]


def of_function(thing: Any, key: Key, source: Source, to: Gathering) -> Definition:
    """Read a function; what wraps it from a library is written as the decorators that it has in its source."""
    function = homes.unwrapped(thing) if not is_plain(thing) else thing
    reading = _Reading(key, _text(source, decorated=function is not thing), _scope_of(function), to, source, function)
    if "__class__" in function.__code__.co_freevars:
        to.refuse(f"{reading.owner} uses super(), and stands outside of its class now. Put it into the class's body.")
    reading.defaults(reading.node, function)
    if function is thing:
        reading.attributes(function)
    return reading.done(bool(function.__code__.co_flags & FUTURE))


def is_plain(thing: Any) -> bool:
    """Tell whether a function runs code of the notebook itself, whatever it wraps."""
    return isinstance(thing, FunctionType) and (
        homes.of_module(str(thing.__globals__.get("__name__", "__main__"))) != "installed"
        or thing.__code__.co_filename.startswith("<doctest")
    )


def of_class(made: type, key: Key, source: Source, to: Gathering) -> Definition:
    """Read a class, with the values and methods that it was given after its body."""
    functions = dict(homes.functions(made))
    own = [f for f in functions.values() if f.__qualname__.startswith(f"{made.__qualname__}.")]
    cells = {name: cell for f in own for name, cell in _scope_of(f).cells.items() if name != "__class__"}
    names = next((f.__globals__ for f in own if homes.of(f) != "installed"), None)
    names = vars(sys.modules[made.__module__]) if names is None else names
    text = _text(source, decorated=True)
    reading = _Reading(key, text, Scope(names=names, cells=cells), to, source, made)
    reading.bases(made)
    for node in reading.node.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in functions:
            reading.defaults(node, functions[node.name])
    for name, value in _changed(made, source, functions):
        reading.assign(name, value)
    return reading.done(any(f.__code__.co_flags & FUTURE for f in own))


def _changed(made: type, source: Source, functions: dict[str, FunctionType]) -> Iterator[tuple[str, Any]]:
    """Give the attributes whose live value is not the one that the class's body gives."""
    bodies = {n.name: n for n in source.node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    for name, function in functions.items():
        node = bodies.get(name)
        own = function.__qualname__ == f"{made.__qualname__}.{name}"
        written = not own and is_plain(function) and (node is None or not node.decorator_list)
        if written and sources.of_function(function) is not None:  # what a dataclass makes has no source
            yield name, function
    if isinstance(made, type(Enum)) or type(made).__name__ not in ("type", "ABCMeta") or source.node.decorator_list:
        return
    for name, expression in sources.assigned(source.node):
        live, told = vars(made).get(name, MISSING), sources.literal(expression)
        if live is not MISSING and told is not MISSING and not hasattr(live, "__get__") and not _alike(told, live):
            yield name, live


def _alike(told: Any, live: Any) -> bool:
    return told is live or sources.same(told, live)


def _scope_of(function: FunctionType) -> Scope:
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    return Scope(names=function.__globals__, cells=cells)


def _text(source: Source, *, decorated: bool) -> str:
    node, text = source.node, source.text.text
    if isinstance(node, ast.Lambda):
        return _lambda(node, text)
    first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)]) if decorated else node.lineno
    return dedented(text, node, first)


def _lambda(node: ast.Lambda, text: str) -> str:
    """Write a lambda as a function of the name `_`, which is replaced."""
    spans = Spans(text)
    start, end = spans.of(node)
    begin = start + len("lambda")
    every = [n for n in ast.walk(node.args) if hasattr(n, "end_lineno")]
    after = max([begin, *(spans.of(n)[1] for n in every)])
    colon = after + len(re.match(BEFORE_COLON, spans.bytes[after:end])[0])  # type: ignore[index]
    arguments = spans.bytes[begin:colon].decode()
    # a comment ends with its line
    arguments = f"{arguments.strip()}\n" if "#" in arguments and "\n" in arguments else _in_one_line(arguments)
    body = spans.bytes[colon + 1 : end].decode().strip()
    if "\n" in body:
        body = f"(\n        {body}\n    )"
    return f"def _({arguments}):\n    return {body}\n"


def _in_one_line(text: str) -> str:
    return " ".join(text.split("\n")).strip()


class _Reading:
    """One definition while its outer names are found and replaced."""

    def __init__(self, key: Key, text: str, scope: Scope, to: Gathering, source: Source, live: Any) -> None:
        self.key, self.scope, self.to = key, scope, to
        self.text = text
        self.spans = Spans(text)
        self.node: Any = ast.parse(text).body[0]
        shown = getattr(live, "__name__", "a function")
        self.owner = f"{'A lambda' if shown == '<lambda>' else f'`{shown}`'} of {source.where}"
        self.label = "answer" if shown == "<lambda>" else shown
        self.places: Places = {}
        self.hard: list[Key] = []
        self.soft: list[Key] = []
        self.after: Parts = ()
        self._name_it()
        self._outer_statements()

    def _name_it(self) -> None:
        start = self.spans.at(self.node.lineno, self.node.col_offset)
        head = re.compile(rb"(?:async\s+)?(?:def|class)\s+").match(self.spans.bytes, start)
        assert head is not None
        self.places[head.end(), head.end() + len(self.node.name.encode())] = (Ref(self.key),)

    def _outer_statements(self) -> None:
        """Make `nonlocal` of what is a module's name now `global`."""
        for node in ast.walk(self.node):
            if isinstance(node, ast.Nonlocal) and set(node.names) <= self.scope.cells.keys():
                start, end = self.spans.of(node)
                self.text = _spliced(self.text, start, start + len("nonlocal"), "global  ")
                self._declared(node, start, end)
            elif isinstance(node, ast.Global):
                self._declared(node, *self.spans.of(node))

    def _declared(self, node: Any, start: int, end: int) -> None:
        found = [(name, *self.scope.find(name)) for name in node.names]
        known: list[Parts] = [
            (name,) if key is None or value is MISSING else (self.to.slot(key, value, self.owner),)
            for name, key, value in found
        ]
        self.places[start, end] = (
            "global ",
            *(part for i, one in enumerate(known) for part in (*([", "] * (i > 0)), *one)),
        )

    def defaults(self, node: Any, function: FunctionType) -> None:
        """Keep the values that a function took for its arguments when it was made."""
        listed = [*node.args.posonlyargs, *node.args.args]
        live = function.__defaults__ or ()
        if len(live) == len(node.args.defaults):
            for argument, told, value in zip(listed[-len(live) :], node.args.defaults, live, strict=False):
                self._keep(told, value, f"{self.label}_{argument.arg}")
        named = function.__kwdefaults__ or {}
        for argument, told in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            if told is not None and argument.arg in named:
                self._keep(told, named[argument.arg], f"{self.label}_{argument.arg}")

    def bases(self, made: type) -> None:
        """Keep the bases that a class has, though their names may stand for others now."""
        live = getattr(made, "__orig_bases__", made.__bases__) if "__orig_bases__" in vars(made) else made.__bases__
        if len(live) == len(self.node.bases):
            for told, value in zip(self.node.bases, live, strict=True):
                if isinstance(told, ast.Name | ast.Attribute):
                    self._keep(told, value, f"{self.label}_base")

    def _keep(self, told: ast.expr, live: Any, label: str) -> None:
        """Leave an expression as it is written when it still gives the live value; write the value otherwise."""
        if self.scope.value(told) is live or sources.same(sources.literal(told), live):
            return
        parts = self.to.expression(live, label, self.owner)
        if any(isinstance(part, Ref) for part in parts) or len("".join(map(str, parts))) > 40:
            ref = self.to.constant(label, live, self.owner)
            parts = parts if ref is None else (ref,)
        self.places[self.spans.of(told)] = parts
        self.hard += [part.key for part in parts if isinstance(part, Ref)]

    def attributes(self, function: FunctionType) -> None:
        """Keep what was set on a function, as `functools.wraps` does."""
        for name, value in vars(function).items():
            self.assign(name, value)

    def assign(self, name: str, value: Any) -> None:
        """Set an attribute after the definition."""
        parts = self.to.expression(value, f"{self.label}_{name}", self.owner)
        self.hard += [part.key for part in parts if isinstance(part, Ref)]
        self.after = (*self.after, "\n\n" * (not self.after), Ref(self.key), f".{name} = ", *parts, "\n")

    def done(self, future: bool) -> Definition:
        """Give the parts."""
        kept = dict(self.places)
        found = uses(self.text, FUTURE if future else 0)
        stored = {use.name for use in found if use.stores}
        for use in found:
            if not any(start <= use.start and use.end <= end for start, end in kept):
                self._take(use, stored)
        self._chains()
        parts = (*put(self.text, self.places), *self.after)
        used = frozenset(node.attr for node in ast.walk(self.node) if isinstance(node, ast.Attribute))
        return Definition(parts=parts, hard=tuple(self.hard), soft=tuple(self.soft), future=future, attributes=used)

    def _take(self, use: Any, stored: set[str]) -> None:
        if use.name.startswith("__") and use.name in ("__name__", "__file__", "__doc__", "__module__", "__qualname__"):
            self._own(use.name)
            return
        key, value = self.scope.find(use.name)
        if key is None:
            if value is MISSING and use.name not in stored:
                self.to.refuse(f"{self.owner} uses `{use.name}`, {_nowhere(use.name)}")
            return
        if value is MISSING:
            self.to.refuse(f"{self.owner} uses `{use.name}`, which has no value yet. Give it one before the fit.")
            return
        ref = self.to.slot(key, value, self.owner)
        (self.soft if use.late else self.hard).append(ref.key)
        if self.spans.bytes[use.start : use.end] == use.name.encode():
            self.places[use.start, use.end] = (ref,)
        else:  # inside an f-string, of which Python 3.11 does not tell the columns; or a class's private name
            self.to.fix(ref.key, use.name, self.owner)

    def _own(self, name: str) -> None:
        if name == "__file__":
            self.to.refuse(
                f"{self.owner} uses `__file__`, beside which nothing else travels. Pass what it reads as a parameter."
            )

    def _chains(self) -> None:
        for node in ast.walk(self.node):
            path: list[str] = []
            inner = node
            while isinstance(inner, ast.Attribute):
                path.insert(0, inner.attr)
                inner = inner.value
            if path and isinstance(inner, ast.Name):
                value = self.scope.find(inner.id)[1]
                if inspect.ismodule(value):
                    self.to.submodules(value, path, self.owner)


def _nowhere(name: str) -> str:
    if name in KERNEL_ONLY:
        return "which only the kernel of a notebook has. Take that line out of it."
    return "which is defined nowhere now. Run the cell that defines it again."


def _spliced(text: str, start: int, end: int, new: str) -> str:
    whole = text.encode()
    return (whole[:start] + new.encode() + whole[end:]).decode()
