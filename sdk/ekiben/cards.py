"""Show what a package is: as a card in a notebook, as text in a shell, as Markdown beside a service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from ekiben import provenance
from ekiben.drawing import STYLE
from ekiben.schema import Column, Signature

METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
}


def html(manifest: Mapping[str, Any], signature: Signature, profile: Mapping[str, Any]) -> str:
    """Draw the card that a notebook shows."""
    facts = "".join(
        f'<div class="fact"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in (*_facts(manifest), *_measured(manifest.get("costs")))
    )
    rows = "".join(_column_row(column, profile.get(column.name, {})) for column in signature.inputs.columns)
    findings = "".join(f"<li>{escape(finding)}</li>" for finding in manifest["findings"])
    return (
        f'{STYLE}<div class="ekiben"><h3>{escape(manifest["name"])}</h3>'
        f'<div class="sub">{escape(_headline(manifest, signature))}</div><div class="grid">{facts}</div>'
        f'<div class="sub">{escape(_origin(manifest))}</div>'
        "<table><thead><tr><th>column</th><th>holds</th><th>reference</th><th>missing</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>{f'<ul>{findings}</ul>' if findings else ''}</div>"
    )


def text(manifest: Mapping[str, Any], signature: Signature) -> str:
    """Write the card for a shell."""
    lines = [manifest["name"], _headline(manifest, signature), ""]
    lines += [f"  {name:<18} {value}" for name, value in _facts(manifest)]
    lines += ["", f"  {_origin(manifest)}"]
    wide = max(len(column.name) for column in signature.inputs.columns)
    lines += ["", *(f"  {column.name:<{wide}}  {column.describe()}" for column in signature.inputs.columns)]
    lines += ["", *(f"  ! {finding}" for finding in manifest["findings"])] if manifest["findings"] else []
    return "\n".join(lines)


def markdown(manifest: Mapping[str, Any], signature: Signature, *, title: str) -> str:
    """Write the model card of one arm."""
    facts = "\n".join(f"| {name} | {_cell(value)} |" for name, value in _facts(manifest))
    columns = "\n".join(
        f"| `{_cell(column.name)}` | {_cell(column.describe())} |" for column in signature.inputs.columns
    )
    findings = "\n".join(f"- {finding}" for finding in manifest["findings"])
    return (
        f"## {title}\n\n{_headline(manifest, signature)}\n\n| | |\n|---|---|\n{facts}\n\n"
        f"| column | holds |\n|---|---|\n{columns}\n" + (f"\n{findings}\n" if findings else "")
    )


def _cell(text: str) -> str:
    """Keep a text within its cell of a table in Markdown."""
    return text.replace("|", r"\|")


NOUNS = {
    "classification": "a classifier",
    "regression": "a regressor",
    "clustering": "a clusterer",
    "outliers": "an outlier detector",
    "ranking": "a ranker",
    "other": "a function of rows",
}


def _headline(manifest: Mapping[str, Any], signature: Signature) -> str:
    noun = f"{manifest['class']}, {NOUNS[signature.task]}"
    if len(signature.outputs) > 1:
        return f"{noun} of {', '.join(output.name for output in signature.outputs)}"
    return f"{noun} of {', '.join(map(repr, signature.classes))}" if signature.classes else noun


def _facts(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    metrics = manifest["metrics"]
    for key, found in metrics.items():
        target, _, name = key.rpartition(".")
        if name in METRIC_NAMES:
            label = f"{METRIC_NAMES[name]} of {target}" if target else METRIC_NAMES[name]
            yield label, f"{_figure(found['value'])} ({_figure(found['low'])}–{_figure(found['high'])})"
    if metrics:
        yield "held-out rows", f"{metrics['n_rows']:,}"
    yield "reference rows", f"{manifest['n_reference']:,}"
    yield "explained by", manifest["explainer"]
    if manifest.get("strongest"):
        yield "leans most on", ", ".join(manifest["strongest"])
    yield from _compiled(manifest.get("plan"))
    if manifest["balance"]:
        yield "classes", ", ".join(f"{label} {share:.0%}" for label, share in manifest["balance"].items())
    yield "owner", manifest["owner"] or "nobody yet"
    yield "digest", manifest["digest"][:12]


def _compiled(plan: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """Say whether a plan answers, and what it was proved by; a package from before plans says nothing."""
    if plan is None:
        return
    if not plan["compiled"]:
        yield "compiled", f"no: {plan['reason']}"
        return
    told = plan["certificate"]
    tried, apart = told["reference_rows"] + told["edge_rows"], told["largest_difference"]
    but = f" but for {', '.join(dict.fromkeys(plan['native']))}" if plan.get("native") else ""
    yield "compiled", f"yes{but}, {'equal to the bit' if not apart else f'at most {apart:.0e} apart'} in {tried:,} rows"


def _measured(costs: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """Say what a row costs by the plan and by the model itself, as it was measured."""
    if costs:
        yield "one row", f"{_time(costs['row_us'])}, by the model itself {_time(costs['native_row_us'])}"


def _time(us: float) -> str:
    return f"{us / 1000:.3g} ms" if us >= 1000 else f"{us:.3g} µs"


def _origin(manifest: Mapping[str, Any]) -> str:
    told = provenance.sentence(manifest["provenance"])
    return f"{told[0].upper()}{told[1:]}."


def _figure(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3f}"


def _column_row(column: Column, profile: Mapping[str, Any]) -> str:
    drawing = _bars(profile["histogram"]["counts"]) if "histogram" in profile else _top(profile.get("top", {}))
    missing = profile.get("missing", 0.0)
    return (
        f"<tr><td><code>{escape(column.name)}</code></td><td>{escape(column.describe())}</td><td>{drawing}</td>"
        f"<td>{f'{missing:.1%}' if missing else ''}</td></tr>"
    )


def _bars(counts: Sequence[int]) -> str:
    tallest = max(counts) or 1
    bars = "".join(
        f'<rect x="{6 * i}" y="{22 - 22 * count / tallest:.1f}" width="5" height="{22 * count / tallest:.1f}"/>'
        for i, count in enumerate(counts)
    )
    return f'<svg width="{6 * len(counts)}" height="22" fill="#c8442e" fill-opacity=".75" role="img">{bars}</svg>'


def _top(top: Mapping[str, int]) -> str:
    whole = sum(top.values()) or 1
    x, bars = 0.0, []
    for i, (label, count) in enumerate(top.items()):
        width = 120 * count / whole
        bars.append(
            f'<rect x="{x:.1f}" y="5" width="{max(width - 1, 0.5):.1f}" height="12" fill-opacity="{max(0.85 - 0.17 * i, 0.12):.2f}">'
            f"<title>{escape(label)}: {count:,}</title></rect>"
        )
        x += width
    return f'<svg width="120" height="22" fill="#c8442e" role="img">{"".join(bars)}</svg>'
