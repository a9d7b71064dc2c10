"""Steps that count the words of texts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ekiben.compiling.nodes import WIDEST, Doc
from ekiben.compiling.translating import TEXTS, Flow, NoPlan, Scope


def counts(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Count the words of a vocabulary."""
    size = len(step.vocabulary_)
    words: list[str] = [""] * size
    for word, place in step.vocabulary_.items():
        words[int(place)] = word
    made = _texts(step, flow, {"words": words}, size)
    return _weighed(step._tfidf, made) if type(step).__name__ == "TfidfVectorizer" else made  # noqa: SLF001


def hashes(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Count words in the places that their hash gives them."""
    told = {"hashed": int(step.n_features), "signed": bool(step.alternate_sign)}
    made = _texts(step, flow, told, int(step.n_features))
    return replace(made, doc={**made.doc, "norm": step.norm})


def weights(step: Any, flow: Flow, scope: Scope) -> Flow:
    """Weigh counts by how rare their words are."""
    doc = flow.doc
    if (
        doc["op"] != "texts"
        or any(name in doc for name in ("idf", "factor", "keep"))
        or doc["norm"]
        or doc["sublinear"]
    ):
        raise NoPlan("TfidfTransformer weighs other numbers than counts")
    return _weighed(step, flow)


def _texts(step: Any, flow: Flow, known: Doc, width: int) -> Flow:
    """Say how a text becomes words and these become places."""
    if not flow.flat or flow.width != 1 or flow.facts[0].kind not in TEXTS:
        raise NoPlan(f"{type(step).__name__} takes one column of texts")
    if not all(isinstance(each, str) for each in flow.facts[0].categories or ()):
        raise NoPlan(f"{type(step).__name__} takes numbers for texts")
    if any(callable(getattr(step, name)) for name in ("analyzer", "tokenizer", "preprocessor", "strip_accents")):
        raise NoPlan(f"{type(step).__name__} parts texts by a function of its own")
    if step.input != "content" or np.dtype(step.dtype) not in (np.float64, np.int64):
        raise NoPlan(f"{type(step).__name__} reads files or counts in 32 bits")
    stops = step.get_stop_words()
    doc = {
        "op": "texts",
        "of": flow.doc,
        "width": width,
        "analyzer": step.analyzer,
        "lowercase": bool(step.lowercase),
        "accents": step.strip_accents,
        "pattern": step.token_pattern,
        "stops": None if stops is None else sorted(stops),
        "ngrams": [int(each) for each in step.ngram_range],
        "binary": bool(step.binary),
        "sublinear": False,
        "norm": None,
        **known,
    }
    return Flow(doc=doc, width=width, sparse=True, wide=width > WIDEST)


def _weighed(step: Any, flow: Flow) -> Flow:
    more: Doc = {"sublinear": bool(step.sublinear_tf), "norm": step.norm}
    if step.use_idf:
        idf = np.asarray(step.idf_, dtype=np.float64)
        more["idf"] = idf
    return replace(flow, doc={**flow.doc, **more})
