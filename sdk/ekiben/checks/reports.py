"""What a check found, as a table in a notebook and a shell."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from itertools import zip_longest
from typing import Any, Literal

from ekiben.checks.loading import Load
from ekiben.drawing import STYLE

State = Literal["kept", "broken", "not tried"]
MARKS = {"kept": "✓", "broken": "✗", "not tried": "–"}
WIDEST = 48, 100  # characters of a cell and of a note, which go on in the next line
COLOURS = {"kept": "#2e8b57", "broken": "#c8442e", "not tried": "rgba(128,128,128,.85)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One law's answer for one arm: kept or broken, with the facts."""

    law: str
    arm: str
    state: State
    facts: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a check found; `load` is what the service cost, where it was served.

    Examples
    --------
    >>> kept = Finding(law="JSON there and back changes nothing.", arm="champion", state="kept", facts="46 tried")
    >>> Report(subject="credit_risk", findings=(kept,)).ok
    True
    """

    subject: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    load: Load | None = None

    @property
    def ok(self) -> bool:
        """Whether no law is broken."""
        return not self.broken

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The broken laws."""
        return tuple(finding for finding in self.findings if finding.state == "broken")

    def to_json(self) -> dict[str, Any]:
        """Give the report as plain JSON values."""
        return {
            "subject": self.subject,
            "ok": self.ok,
            "findings": [asdict(f) for f in self.findings],
            "notes": list(self.notes),
            "load": asdict(self.load) if self.load else None,
        }

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        rows = [[law, *(_cell(found) for found in cells)] for law, cells in self._by_law()]
        table = [["", *self._arms()], *rows] if len(self._arms()) > 1 else rows
        lines = [line for row in table for line in _lines(row)]
        wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
        told = ["  " + "  ".join(cell.ljust(w) for cell, w in zip(line, wide, strict=True)).rstrip() for line in lines]
        notes = ["  " + line for note in self.notes for line in _wrapped(f"· {note}", WIDEST[1])]
        return "\n".join([f"{self.subject}: {self._verdict()}", *told, *notes])

    def _arms(self) -> list[str]:
        return list(dict.fromkeys(finding.arm for finding in self.findings))

    def _by_law(self) -> list[tuple[str, list[Finding | None]]]:
        """Give each law with what was found for each arm."""
        found = {(finding.law, finding.arm): finding for finding in self.findings}
        laws = dict.fromkeys(finding.law for finding in self.findings)
        return [(law, [found.get((law, arm)) for arm in self._arms()]) for law in laws]

    def _verdict(self) -> str:
        kept = sum(finding.state == "kept" for finding in self.findings)
        if self.ok:
            return f"{kept} laws kept"
        return f"{len(self.broken)} broken, {kept} kept"

    def _repr_html_(self) -> str:
        arms = "".join(f"<th>{escape(arm)}</th>" for arm in self._arms())
        rows = "".join(
            f"<tr><td>{escape(law)}</td>{''.join(_html_cell(found) for found in cells)}</tr>"
            for law, cells in self._by_law()
        )
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return (
            f'{STYLE}<div class="ekiben"><h3>{escape(self.subject)}: {self._verdict()}</h3><table><thead><tr><th>law</th>'
            f"{arms}</tr></thead><tbody>{rows}</tbody></table>{f'<ul>{notes}</ul>' if notes else ''}</div>"
        )


def _lines(row: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Spread a row over as many lines as its longest cell takes; a law is never parted."""
    law, *cells = row
    yield from zip_longest([law], *(_wrapped(cell, WIDEST[0]) for cell in cells), fillvalue="")


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)


def _cell(found: Finding | None) -> str:
    return "" if found is None else f"{MARKS[found.state]} {found.facts}"


def _html_cell(found: Finding | None) -> str:
    if found is None:
        return "<td></td>"
    mark = f'<b style="color:{COLOURS[found.state]}">{MARKS[found.state]}</b>'
    return f'<td style="min-width:9em;white-space:normal;overflow-wrap:anywhere">{mark} <span class="sub">{escape(found.facts)}</span></td>'
