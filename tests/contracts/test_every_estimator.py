"""Every estimator of scikit-learn that predicts is packed and answers the same in a clean interpreter, or is refused by name."""

import json
import math
import pickle
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import all_estimators

import ekiben as ek
from contracts import estimators
from ekiben import models, packages, tables
from ekiben.compiling import TOLERANCE
from ekiben.errors import UnsupportedModelError

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("estimators")]
HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reference" / "estimators.md"
EXACT = ("linear", "additive", "trees")
NAMES = {
    **dict.fromkeys(estimators.names(), estimators.fitted),
    **dict.fromkeys(estimators.AS_HELD, estimators.as_held),
}
REFUSED = {"Birch": "skops could not write Birch"}


@dataclass(frozen=True)
class Packed:
    """What became of one model: its package and its own answers, or the refusal."""

    name: str
    package: ek.Package | None = None
    own: pd.DataFrame | None = None
    refusal: str = ""


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Pack every model, and keep the packages in one folder, numbered."""
    folder = tmp_path_factory.mktemp("packages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "ekiben.compiling.TOO_SLOW", math.inf
        )  # the table says what can be compiled, and no clock decides it
        return [_packed(name, make(name), folder / f"{i:03}") for i, (name, make) in enumerate(NAMES.items())], folder


def _packed(name, found, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            package = ek.pack(found.model, name="m", reference=found.rows)
        except UnsupportedModelError as refusal:
            return Packed(name, refusal=str(refusal))
        adapter = models.find(found.model)
        rows = tables.conform(_frame(found.rows), package.schema)
        own = packages.table(adapter.answers(found.model, rows), package.signature, rows.index)
        _is_what_the_model_says(found, own)
    package.save(folder)
    return Packed(name, package=package, own=own.reset_index(drop=True))


def _frame(rows):
    if isinstance(rows, pd.Series):
        return rows.to_frame()
    return (
        rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows, columns=[f"x{i}" for i in range(rows.shape[1])])
    )


def _is_what_the_model_says(found, own):
    """Hold our reading of a model against its own `predict`, asked as its owner would."""
    first = found.model.steps[0][1] if hasattr(found.model, "steps") else None
    rows = found.rows.to_dict("records") if type(first).__name__ == "DictVectorizer" else found.rows
    predicted = np.asarray(found.model.predict(rows))
    columns = [name for name in own.columns if "score_" not in name][: 1 if predicted.ndim == 1 else predicted.shape[1]]
    ours = own[columns].to_numpy()
    assert (ours == predicted.reshape(ours.shape)).all() or np.allclose(ours, predicted.reshape(ours.shape), rtol=1e-12)


@pytest.fixture(scope="module")
def clean(packed, tmp_path_factory):
    """Answer with every package in an interpreter that has seen no notebook."""
    out = tmp_path_factory.mktemp("clean") / "answers.pkl"
    home = Path(ek.__file__).parents[1]
    command = [sys.executable, "-I", "-W", "ignore", str(HERE / "clean_room.py"), str(home), str(packed[1]), str(out)]
    done = subprocess.run(command, cwd=out.parent, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    return pickle.loads(out.read_bytes())


def _each(packed, clean):
    return [(one, clean[f"{i:03}"]) for i, one in enumerate(packed[0]) if one.package is not None]


def test_98_of_100_are_packed_and_the_others_are_refused_by_name(packed):
    refused = {one.name: one.refusal for one in packed[0] if one.package is None}
    assert refused.keys() == REFUSED.keys()
    assert all(words in refused[name] for name, words in REFUSED.items())
    assert len(refused) <= 0.02 * len(packed[0])


def test_in_a_clean_interpreter_every_answer_is_the_live_one_to_the_last_bit(packed, clean):
    other = [one.name for one, there in _each(packed, clean) if not there["own"].equals(one.own)]
    assert other == []


def test_through_the_data_plane_every_answer_is_the_live_one_as_a_certificate_allows(packed, clean):
    other = [one.name for one, there in _each(packed, clean) if not _served_equal(one, there["served"])]
    assert other == []


def _served_equal(one, served):
    """Hold labels to the letter, and numbers to what a certificate allows; without a plan to the last bit."""
    apart = TOLERANCE if one.package.plan else 0.0
    own = json.loads(json.dumps(tables.as_records(one.own)))
    return len(served) == len(own) and all(
        ours.keys() == theirs.keys() and all(_close(ours[name], theirs[name], apart) for name in theirs)
        for ours, theirs in zip(served, own, strict=True)
    )


def _close(ours, theirs, apart):
    if not isinstance(theirs, float):
        return ours == theirs
    return abs(ours - theirs) <= apart * max(1.0, abs(theirs))


def test_every_package_keeps_its_laws(packed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        broken = {
            one.name: str(report) for one in packed[0] if one.package and not (report := ek.check(one.package)).ok
        }
    assert broken == {}


def test_seven_of_ten_classifiers_and_regressors_are_explained_exactly(packed):
    exactly, n_known = _exactly(packed[0])
    assert exactly >= 0.7 * n_known


def test_the_table_in_the_documents_says_what_was_found(packed, clean, pytestconfig):
    told = _page([*packed[0]], {one.name for one, there in _each(packed, clean) if there["own"].equals(one.own)})
    if pytestconfig.getoption("--rewrite-golden"):
        PAGE.write_text(told)
    assert PAGE.read_text() == told


def _page(every, equal):
    n_packed = sum(one.package is not None for one in every)
    exactly, n_known = _exactly(every)
    return f"""# What can be packed

Every estimator of scikit-learn that has `predict`, fitted with its own defaults on real data, and models as notebooks hold
them: {n_packed} of {len(every)} are packed, and answer in a clean interpreter and through the service's data plane as the
live model does, to the last bit. A test makes this page.

*Compiled*: by a [plan](../explanation/how-a-plan-is-proved.md) that was tried against the model: no label changed, and no score
by more than a millionth. Otherwise the model serves itself.

*Explained*: {exactly} of {n_known} classifiers and regressors exactly, by `linear`, `additive` or `trees`; `sampling` takes any
model and says how far it may be off. [What the methods do](../how-to/explain.md#which-method).

## scikit-learn's estimators

{_rows(every[: len(estimators.names())], equal)}

## As notebooks hold them

{_rows(every[len(estimators.names()) :], equal)}
"""


def _exactly(every):
    """Count the classifiers and regressors of scikit-learn that have an exact method, and all that were packed."""
    known = {name for name, _ in all_estimators(type_filter=["classifier", "regressor"])}
    packed = [one.package.method for one in every if one.name in known and one.package]
    return sum(method in EXACT for method in packed), len(packed)


def _rows(every, equal):
    head = "| model | answers | packed | served equal | compiled | explained |\n|---|---|---|---|---|---|"
    return "\n".join([head, *(_row(one, one.name in equal) for one in every)])


def _row(one, is_equal):
    if one.package is None:
        return f"| {one.name} | | refused: {one.refusal} | | | |"
    outputs = one.package.signature.outputs
    what = ", ".join(outputs[0].parts) + (f", of {len(outputs)} outputs" if len(outputs) > 1 else "")
    method = f"exactly, by `{one.package.method}`" if one.package.method in EXACT else f"by `{one.package.method}`"
    compiled = _compiled(one.package.manifest["plan"])
    return f"| {one.name} | {what} | yes | {'to the bit' if is_equal else 'no'} | {compiled} | {method} |"


def _compiled(plan):
    if not plan["compiled"]:
        return f"no: {plan['reason']}"
    return f"but for {', '.join(plan['native'])}" if "native" in plan else "yes"
