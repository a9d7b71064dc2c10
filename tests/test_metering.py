"""Counters and latencies, told in bulk and counted as if one by one."""

import os
import subprocess
import sys

STORY = """
from prometheus_client import generate_latest
from ekiben.metering import BUCKETS_S, Meter, _observe
meter = Meter()
meter.count("predict", "champion", "ok", [0.0, 0.00001, 0.0000101])
meter.count("predict", "champion", "ok", [0.003, 99.0])
meter.count("predict", "", "invalid_request", [0.5])
meter.unseen("champion", "job", 2)
{more}
print(generate_latest().decode())
"""
ONE_BY_ONE = """
from prometheus_client import Histogram
told = Histogram("one_by_one", "", [], buckets=BUCKETS_S)
bulk = Histogram("in_bulk", "", [], buckets=BUCKETS_S)
times = [*BUCKETS_S, *(1.01 * each for each in BUCKETS_S), 0.0, 1e9]
for seconds in times:
    told.observe(seconds)
_observe(bulk, times)
class Another:
    def __init__(self): self.seen = []
    def observe(self, seconds): self.seen.append(seconds)
another = Another()
_observe(another, times)
assert another.seen == times
"""


def shown(more="", **environment):
    """Give what `/metrics` would show."""
    command = [sys.executable, "-c", STORY.replace("{more}", more)]
    told = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert told.returncode == 0, told.stderr
    return dict(line.rsplit(" ", 1) for line in told.stdout.splitlines() if line and not line.startswith("#"))


def test_answers_are_counted_by_endpoint_arm_and_code():
    found = shown()
    assert found['ekiben_answers_total{arm="champion",code="ok",endpoint="predict"}'] == "5.0"
    assert found['ekiben_answers_total{arm="",code="invalid_request",endpoint="predict"}'] == "1.0"
    assert found['ekiben_unseen_total{arm="champion",column="job"}'] == "2.0"


def test_times_fall_into_the_buckets_that_prometheus_puts_them_in():
    found = shown(ONE_BY_ONE)
    bulk = {key.replace("in_bulk", "x"): value for key, value in found.items() if key.startswith("in_bulk")}
    told = {key.replace("one_by_one", "x"): value for key, value in found.items() if key.startswith("one_by_one")}
    del bulk["x_created"], told["x_created"]
    assert bulk == told


def test_explanations_of_requests_are_counted_with_them():
    taken = "[meter.explained_here('champion', 'trees', 'exact', each) for each in (0.0001, 0.2, 0.3)]\n"
    key, times = 'ekiben_explanations_total{arm="champion",method="trees",rung="exact"}', "ekiben_explain_seconds"
    assert key not in shown(taken)
    found = shown(taken + "meter.count('explain', 'champion', 'ok', [0.4])")
    assert found[key] == "3.0"
    assert (found[times + '_count{method="trees"}'], found[times + '_bucket{le="0.25",method="trees"}']) == (
        "3.0",
        "2.0",
    )
    assert found[times + '_sum{method="trees"}'] == "0.5001"


def test_what_one_worker_counts_another_shows(tmp_path):
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    shown(**environment)
    more = "from prometheus_client import CollectorRegistry, multiprocess; r = CollectorRegistry(); multiprocess.MultiProcessCollector(r); print(generate_latest(r).decode()); raise SystemExit"
    found = shown(more, **environment)
    assert found['ekiben_answers_total{arm="champion",code="ok",endpoint="predict"}'] == "10.0"
    assert found['ekiben_seconds_count{arm="champion",endpoint="predict"}'] == "10.0"


def test_what_an_alert_waits_for_is_there_before_it_first_happens():
    found = shown("meter.expect({'challenger': ['job', 'home']})")
    assert found['ekiben_unseen_total{arm="challenger",column="home"}'] == "0.0"
    assert found['ekiben_answers_total{arm="",code="not_recorded",endpoint="predict"}'] == "0.0"
    assert found['ekiben_answers_total{arm="challenger",code="not_recorded",endpoint="explain"}'] == "0.0"
    assert found['ekiben_answers_total{arm="",code="not_recorded",endpoint="invocations"}'] == "0.0"
