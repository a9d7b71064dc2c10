"""A page for one decision, or for some: what was answered, why, and how that was found; it needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from ekiben.explanations.cards import card
from ekiben.explanations.look import POLICY, SHEET
from ekiben.explanations.reasons import Facts, Speaker

N_REASONS = 4
WHY = "attribution"  # the kind that gives reasons


def page(found: Sequence[Any], language: str = "en") -> str:
    """Write a whole page of HTML on one decision, or on several, one below the other.

    Everything in it is escaped; there is no script in it, and its one style is named by its hash in the page's policy.
    """
    speaker = Speaker.of(language)
    say, answers = speaker.words["page"], [_answer(one, one.subject.facts, speaker) for one in found]
    if len(found) == 1:
        head, parts = answers[0], _sections(found[0], speaker, language, "h2")
    else:
        head, parts = say["answers"].format(n=len(found)), ""
        for n, (one, answer) in enumerate(zip(found, answers, strict=True), start=1):
            told = f"<h2>{escape(speaker.pair(say['nth'].format(n=n), answer))}</h2>"
            parts += f"<article>{told}{_sections(one, speaker, language, 'h3')}</article>"
    return (
        f'<!DOCTYPE html>\n<html lang="{language}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(speaker.pair(say['title'], head))}</title><style>{SHEET}</style></head>\n"
        f'<body class="ek"><main>{_header(say["title"], head)}{parts}</main></body></html>\n'
    )


def _sections(one: Any, speaker: Speaker, language: str, level: str) -> str:
    say, facts = speaker.words["page"], one.subject.facts
    parts = [
        _section(say["scores"], _scores(facts.prediction, speaker), level),
        _section(say["reasons"], _reasons(one, language, say), level) if one.kind == WHY else "",
        _section(say.get(one.kind, one.kind), card(one, language), level),
        _row(one, speaker),
        _section(say["made"], _made(one, facts, speaker), level),
    ]
    return "".join(parts)


def _header(title: str, head: str) -> str:
    return f"<header><p>{escape(title)}</p><h1>{escape(head)}</h1></header>"


def _section(title: str, inside: str, level: str) -> str:
    return f"<section><{level}>{escape(title)}</{level}>{inside}</section>" if inside else ""


def _answer(one: Any, facts: Facts, speaker: Speaker) -> str:
    """Say what was answered: by the prediction where it is known, or by what is explained."""
    told = dict(_outputs(facts.prediction))
    if told:
        named = [
            speaker.pair(name, speaker.value(each)) if name else speaker.value(each) for name, each in told.items()
        ]
        return ", ".join(named)
    if one.kind == WHY:
        return f"{speaker.scale(one)} = {speaker.amount(one.value)}"
    return speaker.value(getattr(one, "before", getattr(one, "label", getattr(one, "answer", ""))))


def _outputs(prediction: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give each output's label or value; of one output without a name."""
    for part in ("label", "value"):
        if part in prediction and not isinstance(prediction[part], Mapping):
            yield "", prediction[part]
            return
    for name, each in prediction.items():
        if isinstance(each, Mapping):
            yield from ((name, each[part]) for part in ("label", "value") if part in each)


def _scores(prediction: Mapping[str, Any], speaker: Speaker) -> str:
    of_one = [("", prediction)] if isinstance(prediction.get("scores"), Mapping) else list(prediction.items())
    rows = []
    for name, each in of_one:
        found = each.get("scores") if isinstance(each, Mapping) else None
        for label, score in found.items() if isinstance(found, Mapping) else ():
            told = speaker.pair(name, str(label)) if name else str(label)
            rows.append(
                f'<tr><th scope="row" class="name">{escape(told)}</th><td class="bar">'
                f'<svg width="100%" height="16" aria-hidden="true"><rect class="track" width="100%" y="2" height="12" rx="2"/>'
                f'<rect class="down" width="{100 * score:.2f}%" y="2" height="12" rx="2"/></svg></td>'
                f'<td class="number">{escape(speaker.share(score))}</td></tr>'
            )
    return f"<table><tbody>{''.join(rows)}</tbody></table>" if rows else ""


def _reasons(one: Any, language: str, say: Mapping[str, str]) -> str:
    """Say what moved the answer to where it is: towards the class that was answered, or away from one that was not."""
    told = one.subject.facts.prediction.get("label")
    side = None if told is None or one.label is None else "raised" if told == one.label else "lowered"
    found = one.reasons(language, top=N_REASONS, side=side)
    items = "".join(f"<li>{escape(each.text)}</li>" for each in found)
    return f"<ol>{items}</ol>" if items else f"<p>{escape(say['no_reason'])}</p>"


def _row(one: Any, speaker: Speaker) -> str:
    """Show the whole row, to who asks for it."""
    subject, say = one.subject, speaker.words["page"]
    if not subject.values:
        return ""
    rows = "".join(
        f'<tr><th scope="row" class="name">{escape(subject.label(name))}</th>'
        f'<td class="value">{escape(speaker.measured(name, subject))}</td></tr>'
        for name in subject.values
    )
    head = f'<th scope="col">{escape(say["column"])}</th><th scope="col">{escape(say["value"])}</th>'
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<section><details><summary>{escape(say['row'])}</summary>{table}</details></section>"


def _made(one: Any, facts: Facts, speaker: Speaker) -> str:
    say = speaker.words["page"]
    told = {
        "explains": speaker.scale(one) if hasattr(one, "output") else "",
        "method": one.method,
        "rung": speaker.words["rung"].get(facts.rung, facts.rung),
        "why": speaker.why(facts.why),
        "error": speaker.written(f"{one.faithfulness_error:.2g}"),
        "elapsed": say["milliseconds"].format(n=speaker.written(f"{one.elapsed_ms:.3g}")),
        "model": facts.model,
        "digest": facts.digest,
        "arm": facts.arm,
        "id": facts.id,
        "at": facts.at,
    }
    rows = [f"<dt>{escape(say[key])}</dt><dd>{escape(text)}</dd>" for key, text in told.items() if text]
    return f"<dl>{''.join(rows)}</dl>"
