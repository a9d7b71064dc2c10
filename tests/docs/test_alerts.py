"""Each alert fires where the service is broken as it says, at its own thresholds and after its own time, and nowhere else."""

import json
import subprocess
from pathlib import Path

import pytest

from prometheus import program

ALERTS = Path(__file__).parents[2] / "docs" / "operations" / "alerts.yml"
HOURS = 2  # of values, one a minute
ANSWERS = "ekiben_answers_total"


def counter(name, a_minute, **labels):
    """Give a series that rises by so much a minute."""
    told = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return {"series": f"{name}{{{told}}}", "values": f"0+{a_minute}x{HOURS * 60}"}


def gauge(name, value):
    return {"series": name, "values": f"{value}x{HOURS * 60}"}


def answers(code, a_minute, *, endpoint="predict", arm="champion"):
    return counter(ANSWERS, a_minute, endpoint=endpoint, arm=arm, code=code)


def seconds(bucket, a_minute):
    return counter("ekiben_seconds_bucket", a_minute, endpoint="predict", arm="champion", le=bucket)


WELL = [
    answers("ok", 600),
    answers("ok", 600, endpoint="shadow", arm="challenger"),
    answers("invalid_request", 60, arm=""),
    *(answers("not_recorded", 0, endpoint=endpoint, arm="") for endpoint in ("predict", "explain")),
    *(seconds(bucket, 600) for bucket in ("0.01", "0.025", "0.05", "0.1", "+Inf")),
    counter("ekiben_unrecorded_total", 0),
    counter("ekiben_records_shipped_total", 600),
    counter("ekiben_records_ship_failures_total", 0),
    counter("ekiben_unseen_total", 1, arm="champion", column="job"),
    *(counter("ekiben_explainers_killed_total", 0, why=why) for why in ("hung", "memory", "crashed")),
    counter("ekiben_explainers_killed_total", 60, why="cancelled"),
    counter("ekiben_explanations_total", 60, arm="champion", method="trees", rung="exact"),
    gauge("ekiben_records_waiting_bytes", 0),
]
# What is wrong, and which alerts it must raise; the series take the place of those of the same name and labels.
BROKEN = {
    "answers fail": ([answers("internal", 3, arm="")], {"EkibenAnswersFail"}),
    "answers come too late": ([answers("timeout", 3, endpoint="predict", arm="")], {"EkibenAnswersFail"}),
    "a disk is full": ([answers("not_recorded", 1, arm="")], {"EkibenDecisionsUnrecorded"}),
    "a disk is full, and callers are answered": (
        [counter("ekiben_unrecorded_total", 1)],
        {"EkibenDecisionsUnrecorded"},
    ),
    "a database is away": (
        [
            gauge("ekiben_records_waiting_bytes", 90_000),
            counter("ekiben_records_shipped_total", 0),
            counter("ekiben_records_ship_failures_total", 5),
        ],
        {"EkibenRecordsWait", "EkibenRecordsRefused"},
    ),
    "a database is too slow": ([gauge("ekiben_records_waiting_bytes", 600_000_000)], {"EkibenRecordsWait"}),
    "more comes than is answered": ([answers("too_many_requests", 60, arm="")], {"EkibenOverloaded"}),
    "more explanations wait than may": (
        [answers("ok", 60, endpoint="explain"), answers("busy", 6, endpoint="explain", arm="")],
        {"EkibenOverloaded"},
    ),
    "answers are slow": ([seconds(bucket, 500) for bucket in ("0.01", "0.025", "0.05")], {"EkibenSlow"}),
    "texts are new": ([counter("ekiben_unseen_total", 3, arm="champion", column="job")], {"EkibenWorldMoved"}),
    "a shadow fails": ([answers("internal", 60, endpoint="shadow", arm="challenger")], {"EkibenShadowFails"}),
    "a shadow is too slow": ([answers("dropped", 60, endpoint="shadow", arm="challenger")], {"EkibenShadowFails"}),
    "an explainer crashes": ([counter("ekiben_explainers_killed_total", 1, why="crashed")], {"EkibenExplainersEnd"}),
    "explanations are late": (
        [counter("ekiben_explanations_total", 30, arm="champion", method="trees", rung="later")],
        {"EkibenExplanationsLate"},
    ),
    "keys do not fit": ([answers("unauthorized", 90, arm="")], {"EkibenKeysRefused"}),
    "nothing": ([], set()),
    "nobody asks": ([{**each, "values": f"7x{HOURS * 60}"} for each in WELL if "waiting" not in each["series"]], set()),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_an_alert_fires_where_the_service_is_broken_as_it_says(broken, tmp_path):
    changed, expected = BROKEN[broken]
    series = {each["series"]: each for each in [*WELL, *changed]}
    alerts = [
        line.split(":")[1].strip() for line in ALERTS.read_text(encoding="utf-8").splitlines() if "- alert:" in line
    ]
    asked = [
        {"expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)', "eval_time": f"{HOURS}h"}
        for name in alerts
    ]
    for name, each in zip(alerts, asked, strict=True):
        each["exp_samples"] = [{"labels": "{}", "value": int(name in expected)}]
    test = {"interval": "1m", "input_series": [*series.values()], "promql_expr_test": asked}
    told = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "test.yml").write_text(json.dumps(told))  # JSON is YAML
    done = subprocess.run([program("promtool"), "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried():
    text = ALERTS.read_text(encoding="utf-8")
    assert text.count("- alert:") == len({name for _, expected in BROKEN.values() for name in expected})
