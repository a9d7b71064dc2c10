"""Keys and tokens of a known form whose letters do not stand together: over lines, in several texts, in items of a list."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ekiben.containers.leaks.forms import OPEN, SHUT, Rule, is_mixed

MOST_BEFORE = 12  # letters that a token has before what it is known by
LONGEST = 1024  # bytes of one token
CONTROLS = bytes({*range(32)} - {*b"\t\n\r\f"})
# None of these tries a run of spaces or of line ends in more than one way: a file may hold a million of either.
_NAME = (
    rb"(?:(?:export|const|let|var|set|ENV|ARG|final)[ \t]++)?[\"']?[$\w.-]{1,40}[\"']?[ \t]*+"
    rb"(?::[ \t]*+\w++[ \t]*+)?(?:\+?=|:=?)[ \t]*+"
)
_BREAK = rb"(?:(?:\\?\r?\n|(?:\\{1,2}r)?\\{1,3}n)[ \t]*+)++"
_MARK = rb"(?:-[ \t]++|#++[ \t]*+|//[ \t]*+|\*[ \t]++|>[ \t]*+|\|[ \t]*+)?"
# What stands between two texts: nothing, a sign, a comma, the end of a line, a call, a name that the next is given.
_BETWEEN = (
    rb"(?:[ \t]*+[)\]},;+.&|%\\]{0,3}[ \t]*+(?:(?:#|//)[^\n\"'`]{0,80}(?=\n))?(?:" + _BREAK + _MARK + rb")?"
    rb"(?:" + _NAME + rb"|[.\w]{0,12}[(\[{]{1,2}|[+.&|,]{0,2}[ \t]*+(?:(?<![\"'`])[rbfuRBFU]{1,2})?))"
)
GLUE = re.compile(
    rb"\\?[\"'`]" + _BETWEEN + rb"\\?[\"'`]"  # from one text to the next
    rb"|\\?[\"'`]?" + _BREAK + _MARK + rb"(?:" + _NAME + rb")?\\?[\"'`]?"  # from one line to the next
    rb"|(?:</?\w[^<>]{0,80}>[ \t\r\n]*+)++"  # from one element to the next
    rb"|\)[ \t]*+-?\d*+(?:\.\d++)?[ \t]*+\("  # within a line of a page
)
_LETTER = re.compile(rb"[A-Za-z0-9_.-]")
_OPEN, _SHUT = OPEN.encode("latin-1"), SHUT.encode("latin-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How a token begins, in lower case and after some letters at most, and how it goes on, wherever it ends."""

    kind: str
    anchor: bytes
    most_before: int
    patterns: tuple[re.Pattern[bytes], ...]


def heads(rules: Iterable[Rule]) -> tuple[Head, ...]:
    """Choose the rules that know a token by how it begins, and leave out of them what must stand around it."""
    return tuple(
        Head(
            kind=rule.kind,
            anchor=anchor,
            most_before=MOST_BEFORE if anchor.startswith((b"_", b":")) else 0,
            patterns=tuple(re.compile(each.pattern.removeprefix(_OPEN).replace(_SHUT, b"")) for each in rule.patterns),
        )
        for rule in rules
        if all(each.pattern.startswith(_OPEN) for each in rule.patterns)
        for anchor in rule.anchors
    )


def kinds_in(data: bytes, heads: Iterable[Head]) -> Iterator[str]:
    r"""Tell the kinds of tokens that are there when what stands between their pieces is taken away.

    >>> from ekiben.containers.leaks.rules import SURE
    >>> [*kinds_in(b'key = ["AK",\n  "IA2E4YHGFKW",\n  "MZQ7RST"]', heads(SURE))]
    ['a key of AWS']
    """
    pieces = [] if _is_no_text(data) else GLUE.split(data)
    if len(pieces) < 2:
        return
    flat, joins = b"".join(pieces), [*accumulate(map(len, pieces))]
    lowered = flat.lower()
    yield from (head.kind for head in heads if _is_there(head, flat, lowered, joins))


def _is_no_text(data: bytes) -> bool:
    return len(data.translate(None, CONTROLS)) < len(data)


def _is_there(head: Head, flat: bytes, lowered: bytes, joins: Sequence[int]) -> bool:
    at = lowered.find(head.anchor)
    while at >= 0:
        starts = range(at, max(-1, at - head.most_before - 1), -1)
        if any(_is_border(flat, start, joins, -1) and _is_token(head, flat, start, joins) for start in starts):
            return True
        at = lowered.find(head.anchor, at + 1)
    return False


def _is_token(head: Head, flat: bytes, at: int, joins: Sequence[int]) -> bool:
    """Tell whether a token begins here, goes over a join, and ends as one does."""
    join = joins[bisect_right(joins, at)]
    return join < at + LONGEST and any(
        (match := pattern.match(flat, at, at + LONGEST)) is not None
        and match.end() > join
        and _is_border(flat, match.end(), joins, 0)
        and is_mixed(match)
        for pattern in head.patterns
    )


def _is_border(flat: bytes, at: int, joins: Sequence[int], beside: int) -> bool:
    """Tell whether a token may begin or end here: at a join, or where no letter stands beside it."""
    return not 0 < at < len(flat) or not _LETTER.match(flat, at + beside) or joins[bisect_left(joins, at)] == at
