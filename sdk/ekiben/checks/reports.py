"""What a check found, as a table in a notebook and a shell."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Literal

from ekiben.cards import STYLE

State = Literal["kept", "broken", "not tried"]
MARKS = {"kept": "✓", "broken": "✗", "not tried": "–"}
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
    """Everything that a check found.

    Examples
    --------
    >>> kept = Finding(law="JSON there and back changes nothing.", arm="champion", state="kept", facts="46 tried")
    >>> Report(subject="credit_risk", findings=(kept,)).ok
    True
    """

    subject: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

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
        }

    def __str__(self) -> str:
        wide = max((len(finding.law) for finding in self.findings), default=0)
        arm = max((len(finding.arm) for finding in self.findings), default=0)
        lines = [f"  {MARKS[f.state]} {f.arm:<{arm}}  {f.law:<{wide}}  {f.facts}" for f in self.findings]
        return "\n".join([f"{self.subject}: {self._verdict()}", *lines, *(f"  · {note}" for note in self.notes)])

    def _verdict(self) -> str:
        kept = sum(finding.state == "kept" for finding in self.findings)
        if self.ok:
            return f"{kept} laws kept"
        return f"{len(self.broken)} broken, {kept} kept"

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><td style="color:{COLOURS[f.state]};font-weight:700">{MARKS[f.state]}</td><td>{escape(f.arm)}</td>'
            f"<td>{escape(f.law)}</td><td>{escape(f.facts)}</td></tr>"
            for f in self.findings
        )
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return (
            f'{STYLE}<div class="ekiben"><h3>{escape(self.subject)}: {self._verdict()}</h3><table><thead><tr><th></th><th>arm</th>'
            f"<th>law</th><th>facts</th></tr></thead><tbody>{rows}</tbody></table>{f'<ul>{notes}</ul>' if notes else ''}</div>"
        )
