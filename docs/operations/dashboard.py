"""Write `dashboard.json`, a dashboard for Grafana: python docs/operations/dashboard.py."""

from __future__ import annotations

import sys
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef

TARGET = Path(__file__).with_name("dashboard.json")
SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
ANSWERS, SECONDS = "ekiben_answers_total", "ekiben_seconds_bucket"

# The title, the unit, and each line's expression with its name.
PANELS = [
    ("Answers a second, by endpoint and arm", "reqps", [(f"sum by (endpoint, arm) (rate({ANSWERS}[5m]))", "{{endpoint}} {{arm}}")]),
    ("Refusals a second, by code", "reqps", [(f'sum by (code) (rate({ANSWERS}{{code!="ok"}}[5m]))', "{{code}}")]),
    (
        "Time to an answer of /predict",
        "s",
        [
            (f'histogram_quantile({q}, sum by (le, arm) (rate({SECONDS}{{endpoint="predict"}}[5m])))', f"{{{{arm}}}} p{name}")
            for q, name in ((0.5, "50"), (0.99, "99"))
        ],
    ),
    (
        "Time to an explanation",
        "s",
        [(f'histogram_quantile(0.99, sum by (le, arm) (rate({SECONDS}{{endpoint="explain"}}[5m])))', "{{arm}} p99")],
    ),
    ("Explanations a second, by rung", "reqps", [("sum by (rung) (rate(ekiben_explanations_total[5m]))", "{{rung}}")]),
    (
        "Time to an explanation, by method",
        "s",
        [("histogram_quantile(0.99, sum by (le, method) (rate(ekiben_explain_seconds_bucket[5m])))", "{{method}} p99")],
    ),
    (
        "Explaining processes at work, and what waits",
        "short",
        [("sum(ekiben_explainers_busy)", "at work"), ("sum(ekiben_explanations_waiting)", "waiting")],
    ),
    (
        "Explaining processes that were ended, in an hour",
        "short",
        [("sum by (why) (increase(ekiben_explainers_killed_total[1h]))", "{{why}}")],
    ),
    ("Tickets a second", "reqps", [("sum by (state) (rate(ekiben_tickets_total[5m]))", "{{state}}")]),
    (
        "Share of requests by arm",
        "percentunit",
        [(f'sum by (arm) (rate({ANSWERS}{{code="ok"}}[5m])) / scalar(sum(rate({ANSWERS}{{code="ok"}}[5m])))', "{{arm}}")],
    ),
    (
        "Failures at the service's own fault",
        "percentunit",
        [(f'sum by (endpoint) (rate({ANSWERS}{{code=~"internal|timeout|not_recorded"}}[5m])) / sum by (endpoint) (rate({ANSWERS}[5m]))', "{{endpoint}}")],
    ),
    ("Texts that were never seen, in an hour", "short", [("sum by (arm, column) (increase(ekiben_unseen_total[1h]))", "{{arm}} {{column}}")]),
    ("Records that wait for their database", "bytes", [("max(ekiben_records_waiting_bytes)", "waiting")]),
    (
        "Records on their way to their database, a second",
        "short",
        [
            ("sum(rate(ekiben_records_shipped_total[5m]))", "shipped"),
            ("sum(rate(ekiben_records_ship_failures_total[5m]))", "failures"),
        ],
    ),
    ("Decisions that were not recorded, a second", "short", [("sum(rate(ekiben_unrecorded_total[5m]))", "answered and not recorded")]),
    ("Changes of the route's file", "short", [("sum(increase(ekiben_route_changes_total[5m])) by (what)", "{{what}}")]),
]  # fmt: skip


def panel(title: str, unit: str, lines: list[tuple[str, str]]) -> timeseries.Panel:
    """Draw lines over time, half as wide as the page."""
    made = timeseries.Panel().title(title).unit(unit).datasource(SOURCE).span(12).height(8).min(0)
    for number, (expression, name) in enumerate(lines):
        query = prometheus.Dataquery().expr(expression).legend_format(name).datasource(SOURCE).ref_id("ABCDEF"[number])
        made = made.with_target(query)
    return made


def written() -> str:
    """Give the dashboard as Grafana imports it; it asks which Prometheus is meant."""
    made = dashboard.Dashboard("ekiben").uid("ekiben").tags(["ekiben", "bentoml"]).refresh("30s").time("now-6h", "now")
    made = made.with_variable(dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus"))
    for title, unit, lines in PANELS:
        made = made.with_panel(panel(title, unit, lines))
    return JSONEncoder(sort_keys=True, indent=1).encode(made.build()) + "\n"


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(written(), end="")
    else:
        TARGET.write_text(written(), encoding="utf-8")
