"""A page of HTML for the decisions of a request, for who accepts it before JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ekiben import codecs, explanations
from ekiben.dataplane import DataPlane
from ekiben.dialects import JSON, Answer, Routed
from ekiben.explaining.wishes import OTHER
from ekiben.explanations import Explanations, Facts
from ekiben.explanations.look import POLICY
from ekiben.explanations.reasons import Speaker, languages
from ekiben.protocol import ARM, ID, MODEL

HTML = "text/html"
DEFAULT = "en"
# A page holds somebody's data: nobody keeps it, frames it, or reads it as something else.
HEADERS = {
    "content-type": f"{HTML}; charset=utf-8",
    "content-security-policy": f"{POLICY}; frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "vary": "accept, accept-language",
}


def may_want(accept: bytes | None) -> bool:
    """Tell whether a header may ask for a page.

    >>> may_want(b"*/*"), may_want(b"text/html")
    (False, True)
    """
    return accept is not None and b"html" in accept.lower()


def wanted(headers: Mapping[bytes, bytes]) -> str | None:
    """Read in which language a page is wanted; None for JSON.

    >>> wanted({b"accept": b"text/html, */*;q=0.8", b"accept-language": b"fr-CH, en;q=0.5"})
    'fr'
    >>> wanted({b"accept": b"text/html;q=0.5, application/json"})
    """
    accept = headers.get(b"accept")
    if not may_want(accept):
        return None
    told = _weighed((accept or b"").decode("latin-1"))
    html, json = told.get(HTML, 0.0), next((told[name] for name in (JSON, "application/*", "*/*") if name in told), 0.0)
    names = list(told)
    is_first = JSON not in told or names.index(HTML) < names.index(JSON)
    if not html or html < json or (html == json and not is_first):
        return None
    return language_of(headers.get(b"accept-language", b"").decode("latin-1"))


def language_of(accepted: str) -> str:
    """Choose the language that is liked best of those that there are words of; English where it is none of them.

    >>> language_of("de, fr-FR;q=0.8, en;q=0.3"), language_of("de")
    ('fr', 'en')
    """
    known = languages()
    told = [(weight, name.partition("-")[0]) for name, weight in _weighed(accepted).items()]
    best = max((weight for weight, name in told if name in known), default=0.0)
    return next((name for weight, name in told if name in known and weight == best), DEFAULT) if best else DEFAULT


def _weighed(header: str) -> dict[str, float]:
    """Read names with their weights; of one that comes twice the first counts."""
    found: dict[str, float] = {}
    for each in header.lower().split(",")[:50]:
        name, *parameters = (part.strip() for part in each.split(";"))
        told = next((part[2:].strip() for part in parameters if part.startswith("q=")), "1")
        found.setdefault(name, _weight(told))
    return found


def _weight(told: str) -> float:
    """Read a weight, from 0 to 1; what is none counts nothing.

    >>> _weight("0.5"), _weight("nan"), _weight("2")
    (0.5, 0.0, 0.0)
    """
    try:
        weight = float(told) if told.isascii() and len(told) < 10 else 0.0
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0


def page(plane: DataPlane, answer: Answer, language: str, routed: Routed | None = None) -> Answer:
    """Write an answer that explains as a page; who sent rows sees their values there.

    Parameters
    ----------
    plane
        Who answered.
    answer
        The answer, in JSON.
    language
        One that there are words of.
    routed
        The request, where it is at hand; a ticket does not keep its rows.
    """
    document = codecs.decode(answer.body)
    package = plane.packages[document["arm"]]
    facts = Facts(
        model=document["model"],
        digest=package.digest,
        arm=document["arm"],
        id=document["id"],
        at=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        rung=document["rung"],
        why=document["why"],
    )
    n_rows = len(document["explanations"])
    rows, predictions = [dict[str, Any]()] * n_rows, [dict[str, Any]()] * n_rows
    if routed is not None:
        columns = [routed.columns[name] for name in package.schema.names]
        rows = [dict(zip(package.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]
        predictions = plane.predictions(routed.choice.arm, routed.columns)
    inputs = package.schema
    rest = {name: Speaker.of(language).words["column"]["rest"] for name in OTHER if name not in inputs.names}
    found = Explanations(map(explanations.from_json, document["explanations"]))
    found = found.about(rows, labels=inputs.labels | rest, units=inputs.units, days=inputs.days, facts=facts).deciding(
        predictions
    )
    told = {name: answer.headers[name] for name in (ID, ARM, MODEL, "set-cookie") if name in answer.headers}
    body = found.page(language).encode()
    return replace(answer, body=body, headers={**told, **HEADERS, "content-language": language})
