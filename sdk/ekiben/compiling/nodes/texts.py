"""What counts the words of a text."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ekiben.compiling.nodes import WIDE, Doc, Fold, Node, Table, Values, Weigh
from ekiben.errors import PlanError

if TYPE_CHECKING:
    from ekiben.models import Array

Words = Callable[[str], Sequence[str]]
Counts = Mapping[int, float]
_SPACES = re.compile(r"\s\s+")


class Texts(Node):
    """The words of one text, counted or weighed, each in its place.

    The document says how a text becomes words (`analyzer`, `pattern`, `ngrams` …), which place each word has (`words`,
    or `hashed` many places), how their counts are weighed (`binary`, `sublinear`, `idf`, `norm`), and which places are
    kept and multiplied after that (`keep`, `factor`).
    """

    def __init__(self, of: Node, doc: Doc) -> None:
        self.of = of
        self._words = words_of(doc)
        self._place = _hashed(doc["hashed"], doc["signed"]) if "hashed" in doc else _listed(doc["words"])
        self._binary, self._sublinear, self._norm = bool(doc["binary"]), bool(doc["sublinear"]), doc["norm"]
        idf, factor, keep = (doc.get(name) for name in ("idf", "factor", "keep"))
        self._idf = None if idf is None else [float(each) for each in idf]
        self._factor = None if factor is None else [float(each) for each in factor]
        self._kept = None if keep is None else {int(place): i for i, place in enumerate(keep)}
        self.width = int(doc["width"]) if keep is None else len(keep)
        self.wide = self.width > WIDE

    def counts(self, values: Values) -> Counts:
        """Give the numbers that are not 0, in the order of their places."""
        (text,) = self.of.row(values)
        if not isinstance(text, str):
            raise PlanError("A text must be there where its words are counted. Got none.")
        return self._counted(text)

    def _counted(self, text: str) -> Counts:
        found: dict[int, float] = {}
        place_of = self._place
        for word in self._words(text):
            place, sign = place_of(word)
            if sign:
                found[place] = found.get(place, 0.0) + sign
        return self._finished(self._weighed({place: found[place] for place in sorted(found)}))

    def _weighed(self, found: dict[int, float]) -> Counts:
        if self._binary:
            found = dict.fromkeys(found, 1.0)
        if self._sublinear:
            found = {place: math.log(count) + 1.0 for place, count in found.items()}
        if self._idf is not None:
            found = {place: count * self._idf[place] for place, count in found.items()}
        norm = _norm(found.values(), self._norm)
        return {place: count / norm for place, count in found.items()} if norm else found

    def _finished(self, found: Counts) -> Counts:
        if self._kept is not None:
            found = {self._kept[place]: count for place, count in found.items() if place in self._kept}
        if self._factor is None:
            return found
        return {place: count * self._factor[place] for place, count in found.items()}

    def row(self, values: Values) -> Sequence[float]:
        made = [0.0] * self.width
        for place, count in self.counts(values).items():
            made[place] = count
        return made

    def block(self, table: Table) -> Array:
        made = np.zeros((table.n_rows, self.width))
        (texts,) = self.of.block(table)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise PlanError("A text must be there where its words are counted. Got none.")
            for place, count in self._counted(text).items():
                made[i, place] = count
        return made

    def fold(self, weights: Sequence[float]) -> Fold:
        return lambda values: sum([count * weights[place] for place, count in self.counts(values).items()])

    def weigh(self, weights: Array) -> Weigh:
        by_place = np.ascontiguousarray(weights.T)

        def weighed(values: Values) -> Array:
            found = self.counts(values)
            made: Array = (
                np.array(list(found.values()), dtype=np.float64) @ by_place[np.array(list(found), dtype=np.intp)]
            )
            return made

        return weighed


def _norm(counts: Any, kind: str | None) -> float:
    if kind is None:
        return 0.0
    if kind == "l1":
        return float(sum(map(abs, counts)))
    total = 0.0
    for count in counts:
        total += count * count
    return math.sqrt(total)


def _listed(words: Sequence[str]) -> Callable[[str], tuple[int, float]]:
    places = {word: (i, 1.0) for i, word in enumerate(words)}
    get, nowhere = places.get, (-1, 0.0)
    return lambda word: get(word, nowhere)


# ── how a text becomes words ────────────────────────────────────────────────────────────────────────────────────────


def words_of(doc: Doc) -> Words:
    r"""Give the function that parts a text.

    >>> part = words_of(
    ...     {
    ...         "analyzer": "word",
    ...         "pattern": r"\w+",
    ...         "ngrams": [1, 2],
    ...         "lowercase": True,
    ...         "accents": None,
    ...         "stops": ["a"],
    ...     }
    ... )
    >>> part("A red bike")
    ['red', 'bike', 'red bike']
    """
    low, high = doc["ngrams"]
    clean = _cleaner(bool(doc["lowercase"]), doc["accents"])
    if doc["analyzer"] == "word":
        tokens = re.compile(doc["pattern"]).findall
        stops = frozenset(doc["stops"] or ())
        if not stops and (low, high) == (1, 1):
            return lambda text: tokens(clean(text))
        return lambda text: _phrases([word for word in tokens(clean(text)) if word not in stops], low, high)
    parted = {"char": _letters, "char_wb": _letters_of_words}[doc["analyzer"]]
    return lambda text: parted(_SPACES.sub(" ", clean(text)), low, high)


def _cleaner(lowercase: bool, accents: str | None) -> Callable[[str], str]:
    strip = {None: _same, "ascii": _ascii, "unicode": _without_marks}[accents]
    return (lambda text: strip(text.lower())) if lowercase else strip


def _same(text: str) -> str:
    return text


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ASCII", "ignore").decode("ASCII")


def _without_marks(text: str) -> str:
    if text.isascii():
        return text
    return "".join([letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter)])


def _phrases(words: list[str], low: int, high: int) -> list[str]:
    made = list(words) if low == 1 else []
    for n in range(max(low, 2), min(high, len(words)) + 1):
        made += [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
    return made


def _letters(text: str, low: int, high: int) -> list[str]:
    return [text[i : i + n] for n in range(low, min(high, len(text)) + 1) for i in range(len(text) - n + 1)]


def _letters_of_words(text: str, low: int, high: int) -> list[str]:
    made: list[str] = []
    for word in text.split():
        padded = f" {word} "
        for n in range(low, high + 1):
            made += [padded[i : i + n] for i in range(max(len(padded) - n, 0) + 1)]
            if len(padded) <= n:  # a word that is no longer is counted once
                break
    return made


# ── places by hash ──────────────────────────────────────────────────────────────────────────────────────────────────


def _hashed(n_places: int, signed: bool) -> Callable[[str], tuple[int, float]]:
    @lru_cache(maxsize=2**16)
    def place(word: str) -> tuple[int, float]:
        found = murmur(word.encode("utf-8"))
        return abs(found) % n_places, -1.0 if signed and found < 0 else 1.0

    return place


def murmur(data: bytes) -> int:
    """Hash bytes to 32 bits with a sign; Appleby, "MurmurHash3", 2011, of 32 bits for x86 and with the seed 0.

    >>> murmur(b""), murmur(b"ekiben")
    (0, -409531437)
    """
    mask, hashed, whole = 0xFFFFFFFF, 0, len(data) // 4 * 4
    for i in range(0, whole, 4):
        hashed ^= _mixed(int.from_bytes(data[i : i + 4], "little"))
        hashed = ((hashed << 13 | hashed >> 19) & mask) * 5 + 0xE6546B64 & mask
    if whole < len(data):
        hashed ^= _mixed(int.from_bytes(data[whole:], "little"))
    hashed ^= len(data)
    hashed = (hashed ^ hashed >> 16) * 0x85EBCA6B & mask
    hashed = (hashed ^ hashed >> 13) * 0xC2B2AE35 & mask
    hashed ^= hashed >> 16
    return hashed - (1 << 32) if hashed >> 31 else hashed


def _mixed(four: int) -> int:
    mixed = four * 0xCC9E2D51 & 0xFFFFFFFF
    return (mixed << 15 | mixed >> 17) * 0x1B873593 & 0xFFFFFFFF
