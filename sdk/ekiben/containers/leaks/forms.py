"""How one kind of leak is known by bytes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

BEFORE, AFTER = 128, 1024  # bytes around an anchor that a pattern may need
KEY_BITS, HEX_BITS = 4.0, 3.0  # entropy of a letter of what looks like a key
_HEX = re.compile(rb"[0-9a-fA-F]+")
_NAMES = re.compile(rb"[A-Za-z_.-]+[0-9]{0,3}|.*[\"'()\[\]{}<>\\/:].*")
_KEYS = re.compile(rb"key|sign|salt|pepper|hmac|cipher|crypt|auth|hook|seed|token|secret|passw")
_DIGESTS = re.compile(
    rb"sha|digest|hash|md5|crc|checksum|etag|commit|revision|version|uuid|guid|\bid\b|_id$|fingerprint|serial|model|data"
)
_DIGIT, _LETTER, _PARTS = re.compile(rb"[0-9]+"), re.compile(rb"[A-Za-z]"), re.compile(rb"[_.-]+")
MOST_NUMBERS = 2  # that a name holds apart
# A word, or several in one as code writes them, each with a number at most: `oauth2Token`, `Base64Url`, `utf8`.
_WORDED = re.compile(rb"[A-Za-z]?[a-z]*\d{0,4}(?:[A-Z][a-z]*\d{0,4})*|\d{1,4}[a-z]{1,3}")
_VERSION = re.compile(rb"[<>=~^v]*\d+(?:\.\d+)+[\w.+-]*|\d{4}-\d\d-\d\d(?:T\S*)?")
_CODE = re.compile(
    rb"\.\.\.|[()\[\]{}<>\"'`\\$=]|^[./~%*&-]|://|^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$|^(?:[\w.-]{0,20}/){2}|^[\w.-]+/[\w.-]+$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of leak in bytes: texts of which one must be there, in lower case, and the patterns of which one then decides.

    A `mild` rule knows what a public library may hold as well, such as an example's address; it is asked of the user's
    own files alone. Where a pattern alone cannot decide, `check` does by its groups.
    """

    kind: str
    anchors: tuple[bytes, ...]
    patterns: tuple[re.Pattern[bytes], ...]
    mild: bool = False
    check: Callable[[re.Match[bytes]], bool] | None = None

    def finds(self, data: bytes, lowered: bytes) -> bool:
        """Tell whether the bytes hold what must not be there; only around the anchors is the pattern tried."""
        if not any(anchor in lowered for anchor in self.anchors):
            return False
        for start, end in self._windows(lowered):
            for pattern in self.patterns:
                for match in pattern.finditer(data, start, end):
                    if self.check is None or self.check(match):
                        return True
        return False

    def _windows(self, lowered: bytes) -> Iterator[tuple[int, int]]:
        for anchor in self.anchors:
            at = lowered.find(anchor)
            while at >= 0:
                start, end = max(0, at - BEFORE), at + AFTER
                while (at := lowered.find(anchor, at + 1)) >= 0 and at < end:
                    end = at + AFTER
                yield start, end


def rule(
    kind: str,
    anchors: str,
    *patterns: str,
    mild: bool = False,
    check: Callable[[re.Match[bytes]], bool] | None = None,
) -> Rule:
    """Make a rule of its anchors, with a space between two, and its patterns, whose lines are those of the text."""
    return Rule(
        kind=kind,
        anchors=tuple(anchors.encode("latin-1").split()),
        patterns=tuple(re.compile(pattern.encode("latin-1"), re.MULTILINE) for pattern in patterns),
        mild=mild,
        check=check,
    )


def is_random(match: re.Match[bytes]) -> bool:
    """Tell whether a value that has a name looks like a key: letters and digits without order, and no digest or identifier."""
    name, value = match["name"].lower(), match["value"]
    if _DIGESTS.search(name) or re.match(rb"sha(256|384|512)-", value):  # as pages say what they load
        return False
    if b"abcdefgh" in value.lower():  # an alphabet
        return False
    if _HEX.fullmatch(value):  # as digests are too: the name must say what it is
        return _KEYS.search(name) is not None and _bits(value.lower()) > HEX_BITS
    kinds = sum(re.search(kind, value) is not None for kind in (rb"[a-z]", rb"[A-Z]", rb"[0-9]"))
    return kinds == 3 and _bits(value) > KEY_BITS


def is_mixed(match: re.Match[bytes]) -> bool:
    """Tell whether what was found is of letters and digits without order, and no word that begins as a key does."""
    found = match[0]
    return re.search(rb"[0-9]", found) is not None and _bits(found) > HEX_BITS


def is_value(match: re.Match[bytes]) -> bool:
    """Tell whether the text of a pickle, as long as it says, is a value, and no name or pattern."""
    told = match["length"] or match["longer"]
    value = match["value"][: told[0] if told else None]
    is_whole = told is None or len(value) == told[0]
    return is_whole and _NAMES.fullmatch(value) is None and re.search(rb"[0-9!@#%^&*]", value) is not None


def is_password(match: re.Match[bytes]) -> bool:
    """Tell whether a value looks like a password: letters and digits that make no name, number of a version, place or code."""
    value = match["value"]
    if not _DIGIT.search(value) or not _LETTER.search(value) or _CODE.search(value) or _VERSION.fullmatch(value):
        return False
    is_named = all(_WORDED.fullmatch(part) for part in _PARTS.split(value))
    return not is_named or (len(_DIGIT.findall(value)) > MOST_NUMBERS and not _PARTS.search(value))


def is_login(match: re.Match[bytes]) -> bool:
    """Tell whether a value holds letters and digits, as a password does."""
    return _DIGIT.search(match["value"]) is not None and _LETTER.search(match["value"]) is not None


def _bits(value: bytes) -> float:
    """Measure Shannon's entropy of a letter, in bits."""
    n = len(value)
    return -sum(count / n * math.log2(count / n) for count in Counter(value).values())


# The line's end as it is, or as JSON and source code write it.
END = r"(?:\\[rn]|[\r\n])+"
BODY = rf"(?:[\w-]+: [^\r\n\\]+{END})*(?:[A-Za-z0-9+/=]|\\[rn]|[\r\n]){{20}}"
# A text begins where no letter stands before it, or but the one that pickle and marshal write as its length.
OPEN = r"(?:(?<![A-Za-z0-9_.-])|(?<=[zZ\x8c\xda\xfa][A-Za-z0-9_.-]))"
SHUT = r"(?![A-Za-z0-9_])"
# No passenger, no tokenizer and no number of tokens.
WORDS = (
    r"(?:pass(?:_?word|wort|wd|_?phrase|(?<!by.{4})(?<!com.{4})(?<!sur.{4})(?<!over.{4})(?!_?[a-z]))|secret|token(?!iz|s|_?(?:count|usage|type|len|limit|index|id)s?\b)"
    r"|api[_-]?key|access[_-]?key|auth[_-]?key|credentials?|private[_-]?key|account[_-]?key)"
)
# Names of what tells of a secret, and is none: where it lies, what it is called, of what kind it is.
ASIDE = "".join(
    rf"(?<!{word})"
    for word in (
        *("name", "file", "path", "url", "uri", "endpoint", "type", "kind", "hash", "alg", "algorithm", "scheme"),
        *("version", "header", "helper", "issued", "rotated", "prefix", "format", "_dir"),
    )
)
LOGIN = "a password or token"
MANY = "pass secret token key credential"  # one of them stands in its name
# Values that no password is: types, versions, dates, places of files, other names of YAML, what stands for a word in texts.
NO_VALUE = (
    r"(?!u?(?:int|float)\d{1,3}(?![A-Za-z\d])|sha\d|utf-?\d|md5\b|(?:true|false|none|null)(?![^\s;,])|(?:base64|oauth2|u?int\d+|float\d+|utf8)[a-z]*[;,]?[ \t]*\r?$"
    r"|\*[A-Za-z_]|v?\d+(?:\.\d+)+(?![^\s;,])|=\d+(?:\.\d+)+(?:(?:a|b|rc|\.post|\.dev)\d+)*(?![^\s;,\"'])|\d{4}-\d\d-\d\d(?![^\sT])|(?-i:(?:\.{0,2}/)?(?:[a-z_.-]+/)+[a-z_.-]+\d{0,2})[ \t]*\r?(?:$|#))"
)
