"""Workers whose arms all have plans: no library of models in them, and little memory."""

import sys
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import ExtraTreesRegressor

import ekiben as ek
from ekiben.containers import diet
from traffic.faults import worker_of

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
HEAVY = ("/sklearn/", "/scipy/", "/xgboost/", "/pandas/", "/alibi/", "/pyarrow/")
MOST_MB = 160  # what a library of models more would burst: pandas alone takes 70


def mapped(pid):
    """Name the libraries of models whose compiled parts a process holds."""
    text = Path(f"/proc/{pid}/maps").read_text()
    return [name for name in HEAVY if name in text]


@pytest.fixture(scope="module")
def lean(packages, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lean") / "credit_risk"
    with ek.serve(ek.scaffold(folder, arms=packages, route=ek.split(champion=1, challenger=1), unit="customer")) as one:
        yield one


def family(server):
    """Give the worker and what it started."""
    worker = worker_of(server.pid)
    return [worker, *worker.children(recursive=True)]


def test_a_worker_answers_by_plans_of_both_arms_without_any_library_of_models(lean, row):
    arms = set()
    for i in range(40):
        answer = httpx.post(f"{lean.url}/predict", json={"rows": [row], "customer": f"c-{i}"})
        assert answer.status_code == 200
        arms.add(answer.json()["arm"])
    assert arms == {"champion", "challenger"}
    assert mapped(worker_of(lean.pid).pid) == []
    assert worker_of(lean.pid).memory_info().rss < MOST_MB * 1_000_000


def test_a_linear_arm_is_explained_and_many_rows_are_answered_without_one_either(lean, row):
    unit = next(f"c-{i}" for i in range(40) if arm_of(lean, row, f"c-{i}") == "champion")
    explained = httpx.post(f"{lean.url}/explain", json={"rows": [row], "customer": unit}).json()
    assert explained["explanations"][0]["method"] == "linear-interventional"
    assert httpx.post(f"{lean.url}/predict", json={"rows": [row] * 300, "customer": unit}).status_code == 200
    assert mapped(worker_of(lean.pid).pid) == []


def arm_of(server, row, unit):
    return httpx.post(f"{server.url}/predict", json={"rows": [row], "customer": unit}).json()["arm"]


def test_an_arm_of_trees_is_explained_without_their_library_too(lean, row):
    unit = next(f"c-{i}" for i in range(40) if arm_of(lean, row, f"c-{i}") == "challenger")
    explained = httpx.post(f"{lean.url}/explain", json={"rows": [row], "customer": unit}, timeout=120).json()
    assert explained["explanations"][0]["method"] == "tree-path-dependent"
    assert mapped(worker_of(lean.pid).pid) == []


def test_trees_too_deep_for_tables_are_explained_without_their_library_and_without_pandas(tmp_path):
    scattered = pd.DataFrame(np.random.default_rng(0).normal(size=(1500, 10)), columns=list("abcdefghij"))
    model = ExtraTreesRegressor(20, n_jobs=1, random_state=0).fit(scattered, scattered.prod(axis=1))
    package = ek.pack(model, name="deep", reference=scattered, overview=False)
    assert not package.explainer.engine.tabled
    assert diet.needs_its_plan_alone(package)
    row = scattered.iloc[0].to_dict()
    with ek.serve(ek.scaffold(tmp_path / "deep", arms={"only": package})) as server:
        answer = httpx.post(f"{server.url}/predict", json={"rows": [row]}).json()["predictions"][0]["value"]
        why = server.explain(scattered.head(1))[0]  # by a ticket where the process is still starting
        assert not any(mapped(each.pid) for each in family(server))
    assert why.method == "tree-path-dependent"
    assert why.base_value + sum(why.contributions.values()) == pytest.approx(answer, abs=1e-9)


def test_an_arm_explained_by_anchors_needs_no_library_of_models_either(packages, row, tmp_path):
    linear = packages["champion"]
    package = ek.pack(linear.model, name="credit_risk", reference=linear.sample, explainer="anchor")
    with ek.serve(ek.scaffold(tmp_path / "ruled", arms={"champion": package})) as server:
        one, other = server.explain(pd.DataFrame([row, row]))  # by a ticket where the process is still starting
        assert (one.kind, one.method, one.reached) == ("rule", "anchor", True)
        assert replace(one, elapsed_ms=0) == replace(other, elapsed_ms=0)
        assert one.precision_interval[0] < one.precision <= one.precision_interval[1]
        # the worker, and beside it what explains, where this machine takes longer for a rule than the worker may
        assert not any(mapped(each.pid) for each in family(server))
