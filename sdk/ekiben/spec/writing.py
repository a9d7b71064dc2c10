"""Write a spec as `ekiben.toml`, with a comment on each line that says something new."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ekiben.spec.rules import BARE
from ekiben.spec.service import FORMAT, ServiceSpec


def dumps(spec: ServiceSpec) -> str:
    r"""Write a spec as commented TOML, from which `loads` makes an equal one.

    >>> from ekiben.spec import loads
    >>> print(dumps(loads('format = 1\nname = "credit_risk"\narms.champion = "models:/credit_risk/1"')))
    # What this bento serves. After a change, run: ekiben check
    format = 1
    name = "credit_risk"
    # unit = "customer_id"          # who sticks to an arm: a field, "header:<name>" or "cookie:<name>"
    <BLANKLINE>
    [arms]                          # the model of each arm
    champion = "models:/credit_risk/1"
    <BLANKLINE>
    [route]
    weights = { champion = 1 }      # relative: an arm answers its weight / their sum
    shadows = []                    # arms that see each request and never answer
    <BLANKLINE>
    [budgets]
    predict_p99_ms = 50             # what 99 of 100 answers should take; `check` measures
    explain_ms = 1000               # what a caller waits for an explanation
    <BLANKLINE>
    """
    blocks = (
        *(_head(spec), _arms_block(spec), _route_block(spec), _budgets_block(spec)),
        *(_limits_block(spec), _log_block(spec), _records_block(spec), _explain_block(spec)),
        _containers_block(spec),
    )
    return "\n".join("\n".join(lines) + "\n" for lines in blocks if lines)


def route_text(spec: ServiceSpec) -> str:
    """Write the table `[route]` of a spec alone, as `rerouted` reads it."""
    return "\n".join(_route_block(spec)) + "\n"


def _head(spec: ServiceSpec) -> list[str]:
    unit = "# unit = " + _toml("customer_id") if spec.unit is None else "unit = " + _toml(str(spec.unit))
    lines = [
        "# What this bento serves. After a change, run: ekiben check",
        f"format = {FORMAT}",
        f"name = {_toml(spec.name)}",
        _noted(unit, 'who sticks to an arm: a field, "header:<name>" or "cookie:<name>"'),
    ]
    if spec.remake is not None:
        lines.append(_noted(f"remake = {_toml(spec.remake)}", "makes these models again"))
    notes = {"ramp": "per cent of the pods that a new version has, step by step"}
    notes |= {"workers": "processes", "threads": "in each process", "timeout_s": "seconds"}
    notes |= {"tables": "the bento brings pyarrow, and takes Arrow and Parquet"}
    return lines + _changed(spec, notes | {"gpu": "the bento brings xgboost with its code for graphics cards"})


def _arms_block(spec: ServiceSpec) -> list[str]:
    return [
        _noted("[arms]", "the model of each arm"),
        *(f"{arm} = {_toml(str(spec.arms[arm]))}" for arm in _order(spec)),
    ]


def _route_block(spec: ServiceSpec) -> list[str]:
    weights = ", ".join(
        f"{arm} = {_toml(spec.route.weights[arm])}" for arm in _order(spec) if arm in spec.route.weights
    )
    shadows = ", ".join(_toml(arm) for arm in spec.route.shadows)
    lines = [
        "[route]",
        _noted(f"weights = {{ {weights} }}", "relative: an arm answers its weight / their sum"),
        _noted(f"shadows = [{shadows}]", "arms that see each request and never answer"),
    ]
    return lines + _changed(spec.route, {"salt": "change it to deal the units anew"})


def _budgets_block(spec: ServiceSpec) -> list[str]:
    return [
        "[budgets]",
        _noted(
            f"predict_p99_ms = {_toml(spec.budgets.predict_p99_ms)}",
            "what 99 of 100 answers should take; `check` measures",
        ),
        _noted(f"explain_ms = {_toml(spec.budgets.explain_ms)}", "what a caller waits for an explanation"),
    ]


def _limits_block(spec: ServiceSpec) -> list[str]:
    notes = {"max_rows": "of one request", "max_body_mb": "of one request", "explain_rows": "explained by one request"}
    notes |= {
        "explain_columns": "told by one explanation",
        "concurrency": "requests of one endpoint at once, in each process",
        "wait_ms": "behind others, where the caller names no deadline",
        "explain_per_s": "explanations a second, in each process",
        "explain_share": "of a process's time for explanations, while it is asked for predictions",
    }
    lines = _changed(spec.limits, notes)
    return ["[limits]", *lines] if lines else []


def _log_block(spec: ServiceSpec) -> list[str]:
    lines = _changed(spec.log, {"access": "share of good answers that the access log tells; refusals always"})
    return ["[log]", *lines] if lines else []


def _records_block(spec: ServiceSpec) -> list[str]:
    notes = {
        "to": "each decision is written to a `file` before its answer leaves, and sent on to `postgres`; or `off`",
        "hash": "columns of which a keyed hash is kept",
        "drop": "columns of which nothing is kept",
        "when_full": "a request whose record cannot be written is refused, or answered",
        "sync": "a record outlives the machine too",
        "keep_days": "then records are deleted",
        "keep_mb": "then the oldest are deleted",
    }
    lines = _changed(spec.records, notes)
    return ["[records]", *lines] if lines else []


def _explain_block(spec: ServiceSpec) -> list[str]:
    notes = {
        "show_reference": "rows of the reference may leave the service, as examples",
        "methods": "may be asked for beside the packed one",
        "processes": "that explain, beside each worker",
        "waiting": "explanations that may wait for them",
        "longest_s": "then an explanation is given up, and its process ended",
        "memory_mb": "then its process is ended",
        "nearest": "how far a row that was explained may be, to stand in for another",
        "keep_s": "then a result is deleted",
        "keep_tickets": "then the oldest is deleted",
        "keep_mb": "then the oldest is deleted",
    }
    lines = _changed(spec.explain, notes)
    return ["[explain]", *lines] if lines else []


def _containers_block(spec: ServiceSpec) -> list[str]:
    notes = {
        "allow_licences": "distributions that may be in the image under the licence that they have, and why",
        "allow_leaks": "places in the image that may hold what looks like a leak, and why",
    }
    lines = []
    for name, note in notes.items():
        if reasons := getattr(spec.containers, name):
            lines += ["", _noted(f"[containers.{name}]", note)]
            lines += [f"{_key(each)} = {_toml(reason)}" for each, reason in reasons.items()]
    return lines[1:]


def _changed(value: Any, notes: Mapping[str, str]) -> list[str]:
    """Write the keys whose values are not the defaults."""
    defaults = {each.name: each.default for each in fields(value)}
    changed = ((name, getattr(value, name)) for name in notes if getattr(value, name) != defaults[name])
    return [_noted(f"{name} = {_toml(each)}", notes[name]) for name, each in changed]


def _order(spec: ServiceSpec) -> list[str]:
    """Put the arm that answers most first."""
    return sorted(spec.arms, key=lambda arm: (-spec.route.weights.get(arm, 0.0), arm))


def _key(name: str) -> str:
    return name if BARE.fullmatch(name) else _toml(name)


def _noted(line: str, note: str) -> str:
    return f"{line:<31} # {note}"


def _toml(value: str | float | tuple[str | float, ...]) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        # JSON's text is TOML's but for one character, which TOML wants escaped
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    whole = math.floor(value) == value and abs(value) < 2**53
    return str(int(value)) if whole else repr(value)
