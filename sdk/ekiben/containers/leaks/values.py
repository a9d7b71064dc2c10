"""What an expression of Python is, as far as its source alone tells; None for what it does not."""

from __future__ import annotations

import ast
import base64
import binascii
import codecs
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

MOST_LETTERS = 1 << 16  # of one value
MOST_STEPS = 50_000  # of one chunk
A_STEP = 64  # letters or items of a value cost one step more
DEEPEST = 2  # lists in lists: one of many may hold the same one as often as it likes, and that again
LONGEST = 4096  # items that one expression goes through
_SLOW = re.compile(
    r"punycode|idna|(?:bz2|zlib)(?:.codec)?|zip", re.IGNORECASE
)  # codings that take the square of a text, or unpack
_WIDE = re.compile(r"\d{4}")  # a width that a form may ask for
FAULTS = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, binascii.Error)


@dataclass(slots=True)
class Known:
    """What the source told so far of names, each in its function, and how many steps are left."""

    names: dict[tuple[int, str], Any] = field(default_factory=dict)
    function: int = 0  # of the module itself
    left: int = MOST_STEPS

    def get(self, name: str | None) -> Any:
        """Give what a name of this function or of the module is; None if it is not known, or several things."""
        here = (self.function, name or "")
        return self.names[here] if here in self.names else self.names.get((0, name or ""))

    def keep(self, target: ast.AST, value: Any) -> None:
        """Remember what a name is set to, if it is never set to anything else."""
        here = (0 if isinstance(target, ast.Attribute) else self.function, name_of(target) or "")
        self.names[here] = value if here not in self.names or self.names[here] == value else None


def name_of(node: ast.AST) -> str | None:
    """Name a variable, or an attribute of whatever."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


def parts_of(node: ast.expr) -> Sequence[ast.expr]:
    """Give what a sum or an f-string is made of, in its order."""
    if isinstance(node, ast.JoinedStr):
        return [each.value if isinstance(each, ast.FormattedValue) else each for each in node.values]
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)):
        return []
    parts: list[ast.expr] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts.append(node.right)
        node = node.left
    return [node, *reversed(parts)]


def value_of(node: ast.AST, known: Known) -> Any:
    """Give a text, number, list or dict that an expression comes to.

    >>> value_of(ast.parse("'-'.join(chr(c + 1) for c in [96, 97])", mode="eval").body, Known())
    'a-b'
    """
    known.left -= 1
    read = READERS.get(type(node))
    found = read(node, known) if read is not None and known.left > 0 else None
    n_letters = _size(found)
    known.left -= min(n_letters, MOST_LETTERS) // A_STEP
    return None if n_letters > MOST_LETTERS else found


def _size(value: Any, left: int = DEEPEST) -> int:
    """Count letters and items; too many of lists that lie too deep."""
    if isinstance(value, str | bytes):
        return len(value)
    if not isinstance(value, list | dict):
        return 0
    items = value.values() if isinstance(value, dict) else value
    return len(value) + sum(_size(each, left - 1) for each in items) if left else MOST_LETTERS + 1


def values_of(nodes: Sequence[ast.AST], known: Known) -> list[Any] | None:
    """Give what several expressions come to, or None if one of them is not known."""
    found = []
    for node in nodes:
        value = value_of(node, known)
        if value is None:
            return None
        found.append(value)
    return found


def done(do: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Do what is harmless; None where an argument is not known, does not fit, or would make too much."""
    every = [*arguments, *named.values()]
    parts = [part for each in every for part in (each if isinstance(each, list | tuple) else (each,))]
    if any(part is None or (isinstance(part, int) and abs(part) > LONGEST) for part in parts):
        return None
    sizes = [len(each) + 1 for each in every if isinstance(each, str | bytes | list)]
    if prod(sizes) > MOST_LETTERS * 16:
        return None
    try:
        return do(*arguments, **named)
    except FAULTS:
        return None


def _constant(node: ast.Constant, known: Known) -> Any:  # noqa: ARG001 -- every reader is asked in one form
    return node.value if isinstance(node.value, str | bytes | int) else None


def _named(node: ast.Name | ast.Attribute, known: Known) -> Any:
    return known.get(name_of(node))


def _list(node: ast.List | ast.Tuple | ast.Set, known: Known) -> Any:
    return values_of(node.elts, known)


def _dict(node: ast.Dict, known: Known) -> Any:
    keys = values_of([key for key in node.keys if key is not None], known)
    values = values_of(node.values, known) if keys is not None else None
    if keys is None or values is None or len(keys) != len(values):
        return None
    return done(lambda: dict(zip(keys, values, strict=True)))


def _operated(node: ast.BinOp, known: Known) -> Any:
    if isinstance(node.op, ast.Add):
        parts = values_of(parts_of(node), known)
        if parts is None or {type(part) for part in parts} - {type(parts[0])}:
            return None
        return _joined(parts)
    left, right = value_of(node.left, known), value_of(node.right, known)
    if isinstance(node.op, ast.Mod) and isinstance(left, str | bytes):
        return _formed(operator.mod, left, tuple(right) if isinstance(right, list) else right)
    if isinstance(node.op, ast.Mult) and not (isinstance(left, int) and isinstance(right, int)):
        return None if isinstance(left, list) or isinstance(right, list) else _repeated(left, right)
    do = OPERATORS.get(type(node.op))
    return done(do, left, right) if do is not None else None


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], int):
        return sum(parts)
    if isinstance(parts[0], list):
        return [each for part in parts for each in part]
    return parts[0][:0].join(parts) if isinstance(parts[0], str | bytes) else None


def _repeated(left: Any, right: Any) -> Any:
    text, times = (right, left) if isinstance(left, int) else (left, right)
    fits = isinstance(times, int) and isinstance(text, str | bytes) and len(text) * times <= MOST_LETTERS
    return done(operator.mul, text, times) if fits else None


def _formed(do: Callable[..., Any], form: str | bytes, *arguments: Any, **named: Any) -> Any:
    """Fill in a form that asks for no great width."""
    text = form if isinstance(form, str) else form.decode("latin-1")
    return None if _WIDE.search(text) else done(do, form, *arguments, **named)


def _f_string(node: ast.JoinedStr, known: Known) -> Any:
    if any(isinstance(each, ast.FormattedValue) and (each.format_spec or each.conversion > 0) for each in node.values):
        return None
    parts = values_of(parts_of(node), known)
    return None if parts is None else "".join(map(str, parts))


def _gone_through(node: ast.ListComp | ast.GeneratorExp | ast.SetComp, known: Known) -> Any:
    if len(node.generators) > 1 or node.generators[0].ifs:
        return None
    name, items = name_of(node.generators[0].target), value_of(node.generators[0].iter, known)
    if name is None or not isinstance(items, str | bytes | list) or not 0 < len(items) <= LONGEST:
        return None
    here, found = (known.function, name), []
    before = known.names.get(here)
    for item in items:
        known.names[here] = item
        found.append(value_of(node.elt, known))
    if before is None:
        del known.names[here]
    else:
        known.names[here] = before
    return None if None in found else found


def _part(node: ast.Subscript, known: Known) -> Any:
    value = value_of(node.value, known)
    if not isinstance(node.slice, ast.Slice):
        return done(operator.getitem, value, value_of(node.slice, known))
    ends = [
        None if end is None else value_of(end, known) for end in (node.slice.lower, node.slice.upper, node.slice.step)
    ]
    told = [end for end in (node.slice.lower, node.slice.upper, node.slice.step) if end is not None]
    return done(operator.getitem, value, slice(*ends)) if values_of(told, known) is not None else None


def _negative(node: ast.UnaryOp, known: Known) -> Any:
    return done(operator.neg, value_of(node.operand, known)) if isinstance(node.op, ast.USub) else None


def _called(node: ast.Call, known: Known) -> Any:
    name = name_of(node.func)
    if name == "map" and len(node.args) == 2 and (do := FUNCTIONS.get(name_of(node.args[0]) or "")):
        items = value_of(node.args[1], known)
        return [done(do, item) for item in items] if isinstance(items, str | bytes | list) else None
    of = value_of(node.func.value, known) if isinstance(node.func, ast.Attribute) and name in METHODS else None
    if of is None and name not in FUNCTIONS:
        return None
    arguments = values_of(node.args, known)
    values = values_of([each.value for each in node.keywords], known)
    if arguments is None or values is None or any(each.arg is None for each in node.keywords):
        return None
    if any(isinstance(each, str) and _SLOW.fullmatch(each) for each in (*arguments, *values)):
        return None
    named = {each.arg or "": value for each, value in zip(node.keywords, values, strict=True)}
    if not isinstance(of, str | bytes):
        return done(FUNCTIONS[name], *arguments, **named) if name in FUNCTIONS else None
    do = getattr(type(of), name or "", None)
    return (_formed if name == "format" else done)(do, of, *arguments, **named) if do is not None else None


def _decoded(text: Any, coding: str = "utf-8", errors: str = "strict") -> Any:  # noqa: ARG001 -- as codecs has it
    return codecs.decode(text, coding)


READERS: Mapping[type, Callable[[Any, Known], Any]] = {
    ast.Constant: _constant,
    ast.Name: _named,
    ast.Attribute: _named,
    ast.List: _list,
    ast.Tuple: _list,
    ast.Set: _list,
    ast.Dict: _dict,
    ast.BinOp: _operated,
    ast.JoinedStr: _f_string,
    ast.ListComp: _gone_through,
    ast.GeneratorExp: _gone_through,
    ast.SetComp: _gone_through,
    ast.Subscript: _part,
    ast.UnaryOp: _negative,
    ast.Call: _called,
}
FOLDED = (ast.BinOp, ast.JoinedStr, ast.Subscript, ast.Call)
OPERATORS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda left, right: "/".join((left, right)),  # of paths; numbers fit none
    ast.Mod: operator.mod,
    ast.FloorDiv: operator.floordiv,
    ast.BitXor: operator.xor,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
}
# What is called without an object, or of a module.
FUNCTIONS: Mapping[str | None, Callable[..., Any]] = {
    "chr": chr,
    "ord": ord,
    "str": lambda value, *_: value.decode() if isinstance(value, bytes) else str(value),
    "int": lambda text, base=10: int(text, base) if isinstance(text, str) else text,
    "bytes": lambda items, *_: items.encode() if isinstance(items, str) else bytes(items),
    "bytearray": lambda items, *_: items.encode() if isinstance(items, str) else bytes(items),
    "list": list,
    "tuple": list,
    "reversed": lambda items: list(items)[::-1],
    "range": lambda *ends: [*range(*ends)],
    "fromhex": bytes.fromhex,
    "unhexlify": binascii.unhexlify,
    "maketrans": str.maketrans,
    "join": lambda *parts: "/".join(parts),  # of paths
    "Path": lambda *parts: "/".join(parts),
    "decode": _decoded,
    "b16decode": base64.b16decode,
    "b32decode": base64.b32decode,
    "b64decode": base64.b64decode,
    "urlsafe_b64decode": base64.urlsafe_b64decode,
    "standard_b64decode": base64.b64decode,
    "b85decode": base64.b85decode,
    "a85decode": base64.a85decode,
}
METHODS = frozenset(
    (
        *("join", "format", "replace", "decode", "encode", "strip", "lstrip", "rstrip", "upper", "lower", "swapcase"),
        *("translate", "split", "title", "removeprefix", "removesuffix"),
    )
)
