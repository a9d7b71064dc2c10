"""Each kind of explanation as a card of HTML, in the words of a language: tables and bars that scripts and styles never touch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from html import escape
from math import fsum
from typing import Any

from ekiben.digits import digits
from ekiben.explanations.reasons import Speaker, Subject

SHOWN_COLUMNS = 10
BAR_HEIGHT = 16
Step = tuple[str, float, float | None]  # a column, what it added, and the standard error of that


def card(one: Any, language: str = "en") -> str:
    """Draw an explanation as what stands inside a section; a kind that is not known here draws itself."""
    made = CARDS.get(one.kind)
    return made(one, Speaker.of(language)) if made is not None else str(one.html())


def n_shown(n_columns: int) -> int:
    """Tell how many columns are told one by one: one that would be left over is told too.

    >>> n_shown(11), n_shown(12)
    (11, 10)
    """
    return n_columns if n_columns <= SHOWN_COLUMNS + 1 else SHOWN_COLUMNS


def steps(contributions: Mapping[str, float], errors: Mapping[str, float] | None) -> tuple[list[Step], list[float]]:
    """Give the strongest columns one by one, the strongest first, and what each of the others added.

    >>> steps({"a": 0.5, "b": -2.0}, None)
    ([('b', -2.0, None), ('a', 0.5, None)], [])
    """
    ordered = sorted(contributions.items(), key=lambda item: -abs(item[1]))
    n = n_shown(len(ordered))
    shown = [(name, amount, (errors or {}).get(name)) for name, amount in ordered[:n]]
    return shown, [amount for _, amount in ordered[n:]]


# ── what each column added ──


def _attribution(one: Any, speaker: Speaker) -> str:
    say, subject = speaker.words["page"], one.subject
    shown, rest = steps(one.contributions, one.standard_errors)
    known = any(name in subject.values for name, *_ in shown)
    told = [(subject.label(name), speaker.measured(name, subject), amount, error) for name, amount, error in shown]
    if rest:
        told.append((say["others"].format(n=len(rest)), "", fsum(rest), None))
    places = _Places.of(one.base_value, one.value, [amount for *_, amount, _ in told], [error for *_, error in told])
    rows, at = [_end(say["start"], one.base_value, places, speaker, known)], one.base_value
    for label, value, amount, error in told:
        amounts = speaker.amount(amount, "+") + ("" if error is None else f" ± {speaker.written(digits(error, 2))}")
        side = say["raised" if amount > 0 else "lowered"] if amount else ""
        drawn = _svg(places.bar(at, amount, error), side)
        rows.append(_row(label, value, drawn, amounts, known))
        at += amount
    rows.append(_end(say["end"], one.value, places, speaker, known))
    heads = [("name", say["column"]), *([("value", say["value"])] if known else []), ("bar", speaker.scale(one))]
    note = _note(say["errors"]) if one.standard_errors else ""
    return f"{_table([*heads, ('number', say['added'])], rows)}{note}"


def _row(label: str, value: str, drawn: str, amount: str, known: bool) -> str:
    cells = [f'<td class="value">{escape(value)}</td>'] if known else []
    return (
        f'<tr><th scope="row" class="name">{escape(label)}</th>{"".join(cells)}'
        f'<td class="bar">{drawn}</td><td class="number">{escape(amount)}</td></tr>'
    )


def _end(label: str, at: float, places: _Places, speaker: Speaker, known: bool) -> str:
    drawn, wide = _svg(_line(places.of_value(at), "mark"), ""), ' colspan="2"' if known else ""
    return (
        f'<tr class="end"><th scope="row"{wide} class="name">{escape(label)}</th>'
        f'<td class="bar">{drawn}</td><td class="number">{escape(speaker.amount(at))}</td></tr>'
    )


class _Places:
    """Where values lie on a bar's width, from 0 to 100."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._span = low, (high - low) or 1.0

    @classmethod
    def of(cls, base: float, value: float, amounts: Sequence[float], errors: Sequence[float | None]) -> _Places:
        """Make room for every step and its error."""
        at, ends = base, [base, value]
        for amount, error in zip(amounts, errors, strict=True):
            at += amount
            ends += [at - (error or 0.0), at + (error or 0.0)]
        return cls(min(ends), max(ends))

    def of_value(self, at: float) -> float:
        """Give the place of a value."""
        return 1 + 98 * (at - self._low) / self._span

    def bar(self, at: float, amount: float, error: float | None) -> str:
        """Draw a step, and its error across its end."""
        ends = sorted((self.of_value(at), self.of_value(at + amount)))
        drawn = _rect(ends[0], max(ends[1] - ends[0], 0.4), "up" if amount > 0 else "down") if amount else ""
        if error is None:
            return drawn
        middle = BAR_HEIGHT / 2
        low, high = self.of_value(at + amount - error), self.of_value(at + amount + error)
        return f'{drawn}<line class="doubt" x1="{low:.2f}%" x2="{high:.2f}%" y1="{middle}" y2="{middle}"/>'


# ── rules ──


def _rule(one: Any, speaker: Speaker) -> str:
    say, label = speaker.words["page"], f"<b>{escape(_kept(one, speaker))}</b>"
    words = ("conditions", "always") if one.reached else ("mostly", "no_rule")
    head = _template(say[words[not one.conditions]], label=label, share=escape(speaker.share(one.precision)))
    known = any(column_of(each, one.subject) is not None for each in one.conditions)
    rows = [_condition(each, one.subject, speaker, known) for each in one.conditions]
    heads = [("name", say["condition"]), *([("value", say["here"])] if known else [])]
    missed = "" if one.reached else _note(say["missed"].format(threshold=speaker.share(one.threshold)))
    shares = [
        _share("precision", one.precision, one.precision_interval, one, speaker),
        _share("coverage", one.coverage, one.coverage_interval, one, speaker),
    ]
    told = _table(heads, rows) if rows else ""
    return f"<p>{head}</p>{told}<table><tbody>{''.join(shares)}</tbody></table>{missed}"


def _kept(one: Any, speaker: Speaker) -> str:
    told = speaker.value(one.label)
    return told if one.tolerance is None else f"{told} ± {speaker.number(one.tolerance)}"


def _condition(condition: str, subject: Subject, speaker: Speaker, known: bool) -> str:
    name = column_of(condition, subject)
    value = "" if name is None else speaker.measured(name, subject)
    cell = f'<td class="value">{escape(value)}</td>' if known else ""
    return f'<tr><th scope="row" class="name"><code>{escape(speaker.retold("condition", condition))}</code></th>{cell}</tr>'


def column_of(condition: str, subject: Subject) -> str | None:
    """Tell which column of the row a condition speaks of; of several that fit, the longest name.

    >>> column_of("105.00 < Income <= 211.00", Subject(values={"Income": 112, "In": 1}))
    'Income'
    """
    fits = [name for name in subject.values if condition.startswith(f"{name} ") or f" < {name} <= " in condition]
    return max(fits, key=len, default=None)


def _share(name: str, share: float, interval: Sequence[float], one: Any, speaker: Speaker) -> str:
    say, (low, high) = speaker.words["page"], interval
    told = say["measured"].format(share=speaker.share(share), low=speaker.share(low), high=speaker.share(high))
    drawn = _rect(0, 100, "track") + _rect(100 * low, max(100 * (high - low), 0.8), "down")
    drawn += _line(100 * share, "mark")
    if name == "precision":
        drawn += _line(100 * one.threshold, "asked")
    means = say[f"{name}_means"].format(n=speaker.number(one.n_samples))
    return (
        f'<tr><th scope="row" class="name"><b>{escape(say[name])}</b>, {escape(means)}</th>'
        f'<td class="bar">{_svg(drawn, "")}</td><td class="number">{escape(told)}</td></tr>'
    )


# ── what would change the answer ──


def _counterfactual(one: Any, speaker: Speaker) -> str:
    say, subject, ways = speaker.words["page"], one.subject, one.alternatives
    wanted = f"<b>{escape(speaker.retold('wanted', one.wanted))}</b>"
    head = f"<p>{_template(say['pair'], name=escape(say['wanted']), told=wanted)}</p>"
    if not ways:
        return f"{head}<p>{escape(say[one.outcome.replace(' ', '_')])}</p>" if one.outcome != "found" else head
    names = list(dict.fromkeys(change.column for way in ways for change in way.changes))
    before = {change.column: change.before for way in ways for change in way.changes}
    rows = []
    for name in names:
        afters = [next((change for change in way.changes if change.column == name), None) for way in ways]
        tell = _teller(name, (before[name], *(each.after for each in afters if each is not None)), subject, speaker)
        cells = [_changed(each, tell) for each in afters]
        now = tell(before[name])
        label = escape(subject.label(name))
        rows.append(f'<tr><th scope="row" class="name">{label}</th><td>{escape(now)}</td>{"".join(cells)}</tr>')
    answers = [(one.before, one.score), *((way.answer, way.score) for way in ways)]
    told = "".join(f"<td>{escape(_answer(*each, speaker))}</td>" for each in answers)
    rows.append(f'<tr class="answer"><th scope="row" class="name">{escape(say["answer"])}</th>{told}</tr>')
    for word, far in (("distance", [way.distance for way in ways]), ("near", [way.nearest_distance for way in ways])):
        if any(each is not None for each in far):
            told = "".join(f"<td>{'' if each is None else speaker.amount(each)}</td>" for each in far)
            rows.append(f'<tr><th scope="row" class="name">{escape(say[word])}</th><td></td>{told}</tr>')
    heads = [("name", say["column"]), ("", say["now"])]
    heads += [("", say["alternative"].format(n=n)) for n in range(1, len(ways) + 1)]
    return head + _table(heads, rows)


def _changed(change: Any, tell: Callable[[Any], str]) -> str:
    return "<td></td>" if change is None else f'<td class="changed">{escape(tell(change.after))}</td>'


def _teller(name: str, values: Collection[Any], subject: Subject, speaker: Speaker) -> Callable[[Any], str]:
    """Give what says values of a column so that those that differ are told apart, with all of their digits where few do not."""

    def say(value: Any) -> str:
        return _in_units(name, value, subject, speaker)

    def exactly(value: Any) -> str:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return say(speaker.written(f"{value:,}") if is_number else value)

    return say if len({*map(say, values)}) == len({*map(repr, values)}) else exactly


def _in_units(name: str, value: Any, subject: Subject, speaker: Speaker) -> str:
    return speaker.measured(name, Subject(values={name: value}, units=subject.units, days=subject.days))


def _answer(answer: Any, score: float | None, speaker: Speaker) -> str:
    return speaker.value(answer) + ("" if score is None else f" ({speaker.share(score)})")


# ── rows that are alike ──


def _examples(one: Any, speaker: Speaker) -> str:
    say, subject = speaker.words["page"], one.subject
    columns = list(dict.fromkeys(name for each in (*one.alike, *one.unlike) for name in each.row))
    heads = [
        ("side", ""),
        ("", say["answer"]),
        ("number", say["distance"]),
        *(("value", subject.label(n)) for n in columns),
    ]
    rows = []
    if subject.values:
        cells = "".join(_cell(subject.told(name, subject.values.get(name)), speaker) for name in columns)
        told = escape(_answer(one.answer, one.score, speaker))
        rows.append(
            f'<tr class="answer"><th scope="row" class="side">{escape(say["here"])}</th><td>{told}</td><td></td>'
        )
        rows[-1] += f"{cells}</tr>"
    for side, found in (("alike", one.alike), ("unlike", one.unlike)):
        for each in found:
            unlike = _unlike(each, subject)
            cells = "".join(_cell(subject.told(n, each.row.get(n)), speaker, n in unlike) for n in columns)
            told = escape(_answer(each.answer, each.score, speaker))
            rows.append(
                f'<tr><th scope="row" class="side">{escape(say[side])}</th><td>{told}</td>'
                f'<td class="number">{speaker.amount(each.distance)}</td>{cells}</tr>'
            )
    return _table(heads, rows)


def _unlike(each: Any, subject: Subject) -> set[str]:
    return {name for name, value in each.row.items() if name in subject.values and value != subject.values[name]}


def _cell(value: Any, speaker: Speaker, differs: bool = False) -> str:
    return f"<td{_class('value changed' if differs else 'value')}>{escape(speaker.value(value))}</td>"


# ── parts ──


def _table(heads: Iterable[tuple[str, str]], rows: Iterable[str]) -> str:
    told = "".join(f'<th scope="col"{_class(kind)}>{escape(name)}</th>' for kind, name in heads)
    return f"<table><thead><tr>{told}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _svg(drawn: str, title: str) -> str:
    told = f' role="img" aria-label="{escape(title)}"' if title else ' aria-hidden="true"'
    return f'<svg width="100%" height="{BAR_HEIGHT}"{told}>{drawn}</svg>'


def _rect(left: float, width: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{left:.2f}%" width="{width:.2f}%" y="2" height="{BAR_HEIGHT - 4}" rx="2"/>'


def _line(at: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{at:.2f}%" x2="{at:.2f}%" y1="0" y2="{BAR_HEIGHT}"/>'


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _template(text: str, **markup: str) -> str:
    return escape(text, quote=False).format(**markup)


CARDS: dict[str, Callable[[Any, Speaker], str]] = {
    "attribution": _attribution,
    "counterfactual": _counterfactual,
    "examples": _examples,
    "rule": _rule,
}
