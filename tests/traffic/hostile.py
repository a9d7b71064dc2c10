"""A seeded, endless stream of malformed requests for `POST /predict` and `POST /explain`.

Bodies are put together from fragments of bytes, never from Python values: most of what is wrong here cannot be
written by a JSON library. Every hostile string holds `MARKER` and every hostile number `DIGITS`, so that a leaked
value can be found in an answer.
"""

from __future__ import annotations

import json
import pickle
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from traffic.load import Request
from traffic.spelling import Pair, Spelling
from traffic.spelling import record as _object
from traffic.spelling import text as _json

MARKER = "s3cr3t-marker"
DIGITS = "86753098675309"
LIMIT = 4 * 2**20  # bytes in the largest body that is read

BAD = frozenset({400, 422})
FINE = BAD | {200}  # another server may fairly answer it
BAD_TYPE = BAD | {415}

TEXT = json.dumps(MARKER).encode()
NUMBER = DIGITS.encode()
FRACTION = NUMBER + b".5"
JSON = {"content-type": "application/json"}


class Hostile(Request):
    """A request that no service should accept, or that it may accept only if `expect` holds 200."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """What one attack chooses; the stream adds the rest of the request."""

    body: bytes
    expect: frozenset[int] = BAD
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)


@dataclass(frozen=True, slots=True)
class Target:
    """What is attacked, and the one source of chance."""

    row: Mapping[str, Any]
    columns: Mapping[str, str]
    nullable: AbstractSet[str]
    draw: Random
    port: int
    touch: str
    spelling: Spelling

    @property
    def required(self) -> list[str]:
        """The columns that may not be null."""
        return [name for name in self.columns if name not in self.nullable]

    @property
    def valid(self) -> list[Pair]:
        """The valid row, as fragments."""
        return [(_json(name), _json(value)) for name, value in self.row.items()]

    @property
    def body(self) -> bytes:
        """A valid body."""
        return self.spelling.body([self.valid])

    @property
    def url(self) -> str:
        """An address on this machine, that nothing should ever ask."""
        return f"{self.draw.choice(['http', 'http', 'https', 'ftp'])}://127.0.0.1:{self.port}/{MARKER}"

    def column(self, *kinds: str) -> str:
        """Draw a column, of one of `kinds` where there is such a column."""
        names = [name for name, kind in self.columns.items() if kind in kinds]
        return self.draw.choice(names or list(self.columns))

    def among(self, *bad: list[Pair]) -> bytes:
        """Write a body with the `bad` rows at a drawn place among up to two valid ones."""
        before, after = self.draw.choice([(0, 0), (1, 0), (0, 1), (1, 1)])
        return self.spelling.body([self.valid] * before + list(bad) + [self.valid] * after)

    def with_value(self, name: str, value: bytes) -> bytes:
        """Write a body in which one row holds `value` in the column `name`."""
        return self.among([(key, value if key == _json(name) else old) for key, old in self.valid])

    def without(self, name: str) -> list[Pair]:
        """Leave one column out of the valid row."""
        return [pair for pair in self.valid if pair[0] != _json(name)]

    def if_text(self, name: str) -> frozenset[int]:
        """Tell what to expect of an odd text in the column `name`."""
        return FINE if self.columns[name] == "text" else BAD


def hostile(
    valid_row: Mapping[str, Any],
    columns: Mapping[str, str],
    nullable: AbstractSet[str],
    *,
    seed: int,
    port: int = 9,
    touch: str | Path | None = None,
    spelling: Spelling | None = None,
) -> Iterator[Hostile]:
    """Draw malformed requests without end, the same for the same seed.

    Parameters
    ----------
    valid_row
        A row that the service answers with 200.
    columns
        The kind of each column: `number`, `integer`, `boolean` or `text`.
    nullable
        The columns that may be null.
    port
        Of the listener on 127.0.0.1 that URLs and pickles try to reach.
    touch
        The file that a pickle makes when it is unpickled.
    spelling
        How the service wants its rows written, and where it takes them; by default as ekiben does. Another one changes
        nothing else: the same seed draws the same attacks.

    Examples
    --------
    >>> stream = hostile({"age": 30}, {"age": "integer"}, set(), seed=0)
    >>> next(stream).method
    'POST'
    """
    if set(valid_row) != set(columns):
        raise ValueError(f"The 'valid_row' must have the columns {sorted(columns)}. Got {sorted(valid_row)}.")
    touch = touch or Path(tempfile.gettempdir()) / f"{MARKER}-unpickled"
    target = Target(valid_row, columns, nullable, Random(seed), port, str(touch), spelling or Spelling())
    while True:
        kind = target.draw.choice(KINDS)
        path = target.draw.choice(target.spelling.paths)
        draft = ATTACKS[kind](target)
        yield Hostile(kind, "POST", path, draft.headers, draft.body, draft.expect)


# ── values that do not fit ──────────────────────────────────────────────────────────────────────────────────────


def _missing(target: Target) -> Draft:
    name = target.spelling.name
    other_root = Draft(target.body.replace(name, name[:-2] + b'"', 1))  # the last letter is missing
    if not target.required or target.draw.random() < 0.1:
        return other_root
    return Draft(target.among(target.without(target.draw.choice(target.required))))


def _null(target: Target) -> Draft:
    if not target.required or target.draw.random() < 0.1:
        return Draft(target.spelling.around(b"[null]"))
    return Draft(target.with_value(target.draw.choice(target.required), b"null"))


WRONG = {
    "number": (TEXT, b"true"),
    "integer": (TEXT, b"false", FRACTION),
    "boolean": (TEXT, NUMBER, FRACTION),
    "text": (NUMBER, FRACTION, b"true"),
}


def _wrong_type(target: Target) -> Draft:
    name = target.column()
    return Draft(target.with_value(name, target.draw.choice(WRONG[target.columns[name]])))


def _nested(target: Target) -> Draft:
    values = [b"{}", b"[]", b"[" + TEXT + b"]", b"[" + NUMBER + b"]", b'{"a":{"b":' + TEXT + b"}}", b"[[[[]]]]"]
    return Draft(target.with_value(target.column(), target.draw.choice(values)))


def _nan(target: Target) -> Draft:
    value = target.draw.choice([b"NaN", b"Infinity", b"-Infinity", b"nan", b"1e999", b"-1e999", b"-NaN"])
    return Draft(target.with_value(target.column("number", "integer"), value))


def _surrogate(target: Target) -> Draft:
    half = target.draw.choice([rb"\ud800", rb"\udfff", rb"\udc00\ud800", rb"\uD83D"])
    text = b'"' + MARKER.encode() + half + b'"'
    if target.draw.random() < 0.2:
        return Draft(target.among([*target.valid, (b'"' + half + b'"', text)]))
    name = target.column("text")
    return Draft(target.with_value(name, text), target.if_text(name))


def _nul(target: Target) -> Draft:
    name = target.column("text")
    escaped = b'"' + MARKER.encode() + rb'\u0000"'
    return target.draw.choice(
        [
            Draft(target.with_value(name, escaped), target.if_text(name)),
            Draft(target.with_value(name, escaped.replace(rb"\u0000", b"\0"))),
            Draft(target.among([*target.valid, (rb'"\u0000"', escaped)])),
            Draft(target.body + b"\0"),
        ]
    )


# ── size ────────────────────────────────────────────────────────────────────────────────────────────────────────

MANY_DIGITS = NUMBER * 715  # 10,010 of them


def _huge(target: Target) -> Draft:
    attacks = [_huge_number, _huge_fraction, _huge_text, _many_rows, _above_limit]
    return target.draw.choice(attacks)(target)


def _huge_number(target: Target) -> Draft:
    name = target.column("number", "integer")
    return Draft(target.with_value(name, target.draw.choice([b"", b"-"]) + MANY_DIGITS))


def _huge_fraction(target: Target) -> Draft:
    name = target.column("number", "integer")
    return Draft(target.with_value(name, b"0." + MANY_DIGITS), FINE if target.columns[name] == "number" else BAD)


def _huge_text(target: Target) -> Draft:
    name = target.column("text")
    return Draft(target.with_value(name, _text_of(2**20)), target.if_text(name))


def _many_rows(target: Target) -> Draft:
    row = b"{}," if target.required else b"null,"
    return Draft(target.spelling.around(b"[" + (row * 100_000)[:-1] + b"]"), BAD | {413})


def _above_limit(target: Target) -> Draft:
    name = target.column()
    bodies = [lambda: target.with_value(name, _text_of(LIMIT + 1)), lambda: target.body + b" " * LIMIT]
    return Draft(target.draw.choice(bodies)(), frozenset({413}))


@cache
def _text_of(n: int) -> bytes:
    return b'"' + MARKER.encode().ljust(n, b"x") + b'"'


def _deep(target: Target) -> Draft:
    n = 100_000
    name = target.column()
    bodies: list[Callable[[], bytes]] = [
        lambda: b"[" * n,
        lambda: b"[" * n + b"]" * n,
        lambda: b'{"a":' * n + b"0" + b"}" * n,
        lambda: target.spelling.around(b"[" * n + b"]" * n),
        lambda: target.with_value(name, b"[" * n + b"]" * n),
        lambda: target.with_value(name, b'{"a":' * n),
    ]
    return Draft(target.draw.choice(bodies)())


# ── what is no JSON ─────────────────────────────────────────────────────────────────────────────────────────────


NO_VALUES = (b"undefined", b"True", b"None", b"0x10", b"+1", b"01", b"")


def _bad_json(target: Target) -> Draft:
    body, row, name = target.body, _object(target.valid), target.spelling.name
    plain = Spelling().body([target.valid])  # draws must not hang on the spelling
    bodies = [
        body[: min(target.draw.randrange(1, len(plain)), len(body) - 1)],
        body[:-2] + b",]}",
        body[:-1] + b",}",
        target.spelling.around(b"[" + row[:-1] + b",}]"),
        body.replace(name, name.replace(b'"', b"'"), 1),
        body.replace(name, name.strip(b'"'), 1),
        b"// " + MARKER.encode() + b"\n" + body,
        body + MARKER.encode(),
        body + body,
        body.replace(b":", b"=", 1),
        target.with_value(target.column(), b'"' + MARKER.encode() + b'\n"'),
        target.with_value(target.column(), b'"' + MARKER.encode() + rb'\x41"'),
        target.with_value(target.column(), target.draw.choice(NO_VALUES)),
    ]
    return Draft(target.draw.choice(bodies))


NO_UTF8 = (b"\xff\xfe", b"\xc0\xaf", b"\xe2\x82", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\x80")


def _bad_utf8(target: Target) -> Draft:
    body = target.body
    text = b'"' + MARKER.encode() + target.draw.choice(NO_UTF8) + b'"'
    return target.draw.choice(
        [
            Draft(target.with_value(target.column("text"), text)),
            Draft(target.among([*target.valid, (text, b"0")])),
            Draft(b"\xef\xbb\xbf" + body, FINE),
            Draft(body.decode().encode("utf-16"), FINE),
        ]
    )


def _empty(target: Target) -> Draft:
    around = target.spelling.around
    bodies = [b"", b" \r\n", b"{}", around(b"[]"), around(b"[[]]")]
    return Draft(target.draw.choice([*bodies, around(b"[{}]")] if target.required else bodies))


# ── the wrong structure ─────────────────────────────────────────────────────────────────────────────────────────


def _wrong_root(target: Target) -> Draft:
    rows = b"[" + _object(target.valid) + b"]"
    return Draft(target.draw.choice([b"[]", rows, _object(target.valid), TEXT, NUMBER, FRACTION, b"null", b"true"]))


def _wrong_container(target: Target) -> Draft:
    row = _object(target.valid)
    values = [value for _, value in target.valid]
    by_column = _object([(name, b"[" + value + b"]") for name, value in target.valid])
    bare = b"[[" + b",".join(values) + b"]]"
    items = (b"[" + value + b"]" for value in (TEXT, NUMBER, b"[]", b"true"))
    rows = target.draw.choice([row, by_column, bare, TEXT, NUMBER, b"null", b"true", b"{}", *items])
    return Draft(target.spelling.around(rows))


def _ragged(target: Target) -> Draft:
    extra = [*target.valid, (b'"unheard_of"', TEXT)]
    short = target.without(target.draw.choice(target.required)) if target.required else extra
    rows = [target.valid, target.draw.choice([short, extra]), *[target.valid] * target.draw.randrange(4)]
    target.draw.shuffle(rows)
    return Draft(target.spelling.body(rows))


def _wrong_width(target: Target) -> Draft:
    n = target.draw.choice([1, 2, 1000])
    extra = [(_json(f"unheard_of_{i}"), TEXT) for i in range(n)]
    names = [[(b'""', TEXT)], [(_json("x" * 10_000), TEXT)], extra]
    return Draft(target.among([*target.valid, *target.draw.choice(names)]))


def _duplicate_keys(target: Target) -> Draft:
    name = target.column()
    again = [target.draw.choice(WRONG[target.columns[name]]), _json(target.row[name]), b"null"]
    rows = target.spelling.member(target.spelling.table([target.valid]))
    bodies = [
        target.among([*target.valid, (_json(name), target.draw.choice(again))]),
        target.among([(_json(name), target.draw.choice(again)), *target.valid]),
        target.body[:-1] + b"," + rows + b"}",
        target.spelling.around(TEXT)[:-1] + b"," + rows + b"}",
    ]
    return Draft(target.draw.choice(bodies), FINE)


# ── doors that are closed: other types, pickles, addresses, headers ─────────────────────────────────────────────


class _Trap:
    """Calls `call(*arguments)` when it is unpickled."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call, self.arguments


def pickles(*, port: int, touch: str | Path) -> tuple[bytes, bytes]:
    """Make two pickles: one makes the file `touch` when it is unpickled, the other connects to 127.0.0.1:`port`."""
    traps = (_Trap(open, str(touch), "w"), _Trap(socket.create_connection, ("127.0.0.1", port)))
    return pickle.dumps(traps[0], protocol=4), pickle.dumps(traps[1], protocol=4)


PICKLE = "application/vnd.bentoml+pickle"
TYPES = (
    "text/plain",
    "text/html; charset=utf-8",
    "application/xml",
    "application/x-www-form-urlencoded",
    "application/octet-stream",
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.parquet",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    f"{MARKER}",
    "/",
)


def _content_type(target: Target) -> Draft:
    if target.draw.random() < 0.4:
        return _pickled(target)
    bodies = [target.body, b"ARROW1\0\0" + MARKER.encode(), b"\xff\xff\xff\xff\x10\0\0\0" + MARKER.encode()]
    return Draft(target.draw.choice(bodies), BAD_TYPE, {"content-type": target.draw.choice(TYPES)})


def _pickled(target: Target) -> Draft:
    body = target.draw.choice(pickles(port=target.port, touch=target.touch))
    kind = target.draw.choice([PICKLE, PICKLE, "application/octet-stream", "application/x-pickle"])
    drafts = [Draft(body, BAD_TYPE, {"content-type": kind}), _multipart(target, body, PICKLE), Draft(body)]
    return target.draw.choice(drafts)


def _multipart(target: Target, body: bytes, kind: str) -> Draft:
    name = target.spelling.name.decode()
    head = f"--x\r\ncontent-disposition: form-data; name={name}\r\ncontent-type: {kind}\r\n\r\n"
    return Draft(head.encode() + body + b"\r\n--x--\r\n", BAD_TYPE, {"content-type": "multipart/form-data; boundary=x"})


def _url(target: Target) -> Draft:
    name, address = target.column(), target.url
    link, text, around = _json({"url": address}), _json(address), target.spelling.around
    return target.draw.choice(
        [
            Draft(link),
            Draft(text),
            Draft(around(text)),
            Draft(around(link)),
            Draft(around(b"[" + text + b"," + link + b"]")),
            Draft(b'{"url":' + text + b"," + target.body[1:], FINE),
            Draft(target.with_value(name, text), target.if_text(name)),
            Draft(target.with_value(name, link)),
            Draft(address.encode(), BAD_TYPE, {"content-type": "text/uri-list"}),
            _multipart(target, address.encode(), "text/plain"),
        ]
    )


HEADERS = ("x-ekiben-unit", "x-request-id", "traceparent", "cookie", "authorization", "x-forwarded-for", "accept")
VALUES = (
    "x" * 4000,
    "\xe9\xff\x80",
    "../../../etc/passwd",
    "' OR 1=1 --",
    "%00%0d%0aset-cookie: a=b",
    '{"a": [1, 2]}',
    "${jndi:ldap://127.0.0.1:9/x}",
    "00-" + "f" * 32,
    "",
)


def _header(target: Target) -> Draft:
    name, value = target.draw.choice(HEADERS), target.draw.choice(VALUES)
    hostile_header = {name: f"{MARKER}{value}"} if target.draw.random() < 0.8 else {"accept": PICKLE}
    return Draft(target.body, FINE | {401, 403, 406, 431}, {**JSON, **hostile_header})


def _header_bytes(target: Target) -> Draft:
    value = target.draw.choice(["\0", "\x01", "\x0b", "\x1b[31m", "\x7f", "\x85", "x" * 100_000])
    return Draft(target.body, FINE | {431}, {**JSON, target.draw.choice(HEADERS[:3]): MARKER + value})


# ── the table ───────────────────────────────────────────────────────────────────────────────────────────────────

ATTACKS: Mapping[str, Callable[[Target], Draft]] = {
    "missing": _missing,
    "null": _null,
    "wrong type": _wrong_type,
    "nested": _nested,
    "nan": _nan,
    "huge": _huge,
    "bad json": _bad_json,
    "bad utf-8": _bad_utf8,
    "wrong root": _wrong_root,
    "wrong container": _wrong_container,
    "deep": _deep,
    "ragged": _ragged,
    "wrong width": _wrong_width,
    "empty": _empty,
    "content type": _content_type,
    "duplicate keys": _duplicate_keys,
    "url": _url,
    "surrogate": _surrogate,
    "nul": _nul,
    "header": _header,
    "header bytes": _header_bytes,
}
KINDS = tuple(ATTACKS)
BELOW = frozenset({"header bytes"})  # the HTTP parser answers these itself, before any service and without JSON
