"""What only a pickle holds is packed when its class is named, and loaded only where it is trusted."""

import collections
import json
import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.cluster import Birch
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from typer.testing import CliRunner

import ekiben as ek
from ekiben import checks, cli, packages, pinning, storing, tracking, trusting
from ekiben.errors import IntegrityError, SpecError, TrustError, UnsupportedModelError
from ekiben.models.pickled import globals_of

ROOMS = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 6.0], "floor": [1, 2, 2, 3]})
PRICES = [20.0, 30.0, 40.0, 60.0]
SOURCE = '''
import numpy as np


class Prices:
    """A forecaster of no library."""

    def __init__(self, rate):
        self.rate = rate

    def predict(self, frame):
        return frame["rooms"].to_numpy() * self.rate


class Chances:
    classes_ = np.array(["dear", "fair"])

    def predict(self, frame):
        return self.classes_[self.predict_proba(frame).argmax(axis=1)]

    def predict_proba(self, frame):
        dear = 1 / (1 + np.exp(-(frame["rooms"].to_numpy() - 3)))
        return np.column_stack([dear, 1 - dear])


class Running(Prices):
    def __reduce__(self):
        import os

        return os.system, ("touch canary",)
'''


def installed(folder, name, version, files):
    """Write a library as an installer leaves it."""
    site = folder / "site-packages"
    for path, text in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in files))
    (info / "top_level.txt").write_text("".join(f"{path.partition('/')[0].removesuffix('.py')}\n" for path in files))
    return site


@pytest.fixture
def houses(tmp_path, monkeypatch):
    """A library that another process can import too."""
    site = installed(tmp_path, "houses", "1.0", {"houses.py": SOURCE})
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("EKIBEN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *sys.path]))
    yield __import__("houses")
    sys.modules.pop("houses", None)


def packed(model, **settings):
    return ek.pack(model, name="houses", reference=ROOMS, **settings)


@pytest.fixture
def folder(houses, tmp_path):
    package = packed(houses.Prices(10.0), allow_pickle=["houses.Prices"])
    return package.save(tmp_path / "package")


@pytest.fixture
def stranger(monkeypatch, tmp_path):
    """Be another user, who has packed nothing."""

    def become():
        monkeypatch.setenv("EKIBEN_HOME", str(tmp_path / "stranger"))

    return become


# ── packing


def test_a_model_of_no_library_is_refused_with_the_word_that_packs_it(houses):
    words = "To keep it as a pickle, loaded only where it is trusted: pack(…, allow_pickle=['houses.Prices'])."
    with pytest.raises(UnsupportedModelError, match=re.escape(words)):
        packed(houses.Prices(10.0))
    with pytest.raises(UnsupportedModelError, match=re.escape(words)):
        packed(houses.Prices(10.0), allow_pickle=["houses.Chances"])


def test_a_named_class_is_packed_and_says_what_it_is(folder):
    package = ek.load(folder)
    manifest = package.manifest
    assert (manifest["kind"], manifest["carries"], manifest["allowed"]) == ("pickled", ["pickle"], {"pickle": ["houses.Prices"]})  # fmt: skip
    assert package.predict(ROOMS.head(2)).to_dict("list") == {"value": [20.0, 30.0]}
    assert "Holds a pickle of houses.Prices: it is loaded only where trusted." in str(package)
    assert "houses:Prices" in json.loads((folder / "model" / "pickle.json").read_text())["globals"]


def test_a_classifier_with_probabilities_is_one(houses):
    package = packed(houses.Chances(), allow_pickle=["houses.Chances"], target=["fair", "fair", "dear", "dear"])
    assert package.signature.classes == ("dear", "fair")
    assert package.predict(ROOMS.head(1))["label"].tolist() == ["fair"]
    assert ek.check(package).ok


def test_a_class_of_the_notebook_is_pickled_by_value(tmp_path, houses):
    told = (
        "import ekiben as ek, pandas as pd\n"
        "class Own:\n"
        "    def predict(self, frame): return frame['rooms'].to_numpy() * 3.0\n"
        "X = pd.DataFrame({'rooms': [2.0, 3.0, 4.0, 6.0]})\n"
        f"ek.pack(Own(), name='own', reference=X, allow_pickle=['__main__.Own']).save({str(tmp_path / 'own')!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    package = ek.load(tmp_path / "own")
    assert package.predict(ROOMS[["rooms"]].head(1))["value"].tolist() == [6.0]
    assert any(line.startswith("cloudpickle==") for line in package.manifest["requirements"])


def test_a_model_that_an_adapter_can_write_is_not_pickled():
    model = LinearRegression().fit(ROOMS, PRICES)
    package = packed(model, allow_pickle=["sklearn.linear_model._base.LinearRegression"])
    assert (package.manifest["kind"], package.manifest["carries"]) == ("sklearn", [])


class Mean(RegressorMixin, BaseEstimator):
    """An estimator that is built on scikit-learn's, outside of it."""

    def fit(self, X, y):
        self.mean_ = float(np.mean(y))
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)


def test_an_estimator_that_its_adapter_cannot_write_is_pickled_when_named():
    name = "sklearn.cluster._birch.Birch"
    with pytest.raises(UnsupportedModelError, match=re.escape(f"pack(…, allow_pickle=[{name!r}])")):
        packed(Birch(n_clusters=2).fit(ROOMS))
    package = packed(Birch(n_clusters=2).fit(ROOMS), allow_pickle=[name])
    assert package.manifest["kind"] == "pickled"
    assert package.predict(ROOMS)["label"].tolist() == Birch(n_clusters=2).fit(ROOMS).predict(ROOMS).tolist()


def test_a_pipeline_that_only_a_pickle_holds_is_asked_as_any_pipeline():
    model = make_pipeline(Birch(n_clusters=2), LogisticRegression()).fit(ROOMS, ["fair", "fair", "dear", "dear"])
    package = packed(model, allow_pickle=["sklearn.pipeline.Pipeline"])
    assert (package.manifest["kind"], package.manifest["class"]) == ("pickled", "Pipeline → LogisticRegression")
    assert (package.signature.task, package.signature.classes) == ("classification", ("dear", "fair"))
    np.testing.assert_allclose(package.predict(ROOMS)["score_dear"], model.predict_proba(ROOMS)[:, 0])


def test_a_model_whose_pickle_runs_programs_is_refused(houses, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "A pickled model may not name what runs programs, opens files or reads pickles. Got posix:system."
    with pytest.raises(UnsupportedModelError, match=re.escape(words)):
        packed(houses.Running(1.0), allow_pickle=["houses.Running"])
    assert not (tmp_path / "canary").exists()


def test_what_cannot_be_pickled_is_refused(houses):
    model = houses.Prices(10.0)
    model.open = (number for number in range(3))
    with pytest.raises(UnsupportedModelError, match=re.escape("The model must be picklable. Prices is not:")):
        packed(model, allow_pickle=["houses.Prices"])


@pytest.mark.parametrize("given", ["houses.Prices", [1]])
def test_a_word_that_is_no_list_of_names_is_refused(houses, given):
    with pytest.raises(SpecError, match=re.escape("The 'allow_pickle' must be a list of names")):
        packed(houses.Prices(10.0), allow_pickle=given)


# ── trusting


def test_who_packed_it_loads_it(folder):
    assert trusting.is_trusted(ek.load(folder).digest)


def test_a_stranger_is_told_what_it_is_and_how_to_trust_it(folder, stranger):
    digest = ek.load(folder).digest
    stranger()
    with pytest.raises(TrustError) as refusal:
        ek.load(folder)
    for words in ("pickles (model/model.pkl) is code", f"ekiben trust {folder}", f'trust="{digest[:12]}"'):
        assert words in str(refusal.value)
    assert ek.load(folder, trust=digest[:12]).digest == ek.load(folder, trust=digest).digest == digest
    for word in (digest[:11], "0" * 12, ""):
        with pytest.raises(TrustError):
            ek.load(folder, trust=word)
    ek.trust(digest, name="houses", why="read it")
    assert ek.load(folder).digest == digest


def test_the_command_line_shows_and_asks(folder, stranger):
    stranger()
    run = CliRunner().invoke
    refused = run(cli.app, ["trust", str(folder)], input="n\n")
    assert refused.exit_code == 1
    assert re.search(r"pickle  model/model.pkl calls for .*houses:Prices", refused.output)
    assert isinstance(run(cli.app, ["card", str(folder)]).exception, TrustError)
    assert run(cli.app, ["trust", str(folder), "--yes", "--why", "read it"]).exit_code == 0
    assert "houses" in run(cli.app, ["card", str(folder)]).output


def test_a_plain_package_needs_no_trust(champion, tmp_path, stranger):
    stranger()
    folder = champion.save(tmp_path / "plain")
    assert "carries no code" in CliRunner().invoke(cli.app, ["trust", str(folder)]).output
    assert champion.manifest["carries"] == []
    assert packages.inspect(folder)[1] == {}


def test_a_version_in_mlflow_is_trusted_by_its_digest(folder, stranger, tracking_uri):
    package = ek.load(folder)
    version = ek.log(package)
    assert ek.fetch(version).digest == package.digest
    stranger()
    with pytest.raises(TrustError, match=re.escape(f"ekiben trust {version}")):
        ek.fetch(version)
    assert ek.fetch(version, trust=package.digest[:12]).predict(ROOMS.head(1))["value"].tolist() == [20.0]
    with pytest.raises(TrustError):
        tracking._load_pyfunc(str(folder))
    assert CliRunner().invoke(cli.app, ["trust", str(version), "--yes"]).exit_code == 0
    assert ek.fetch(version).digest == package.digest


def test_a_service_trusts_what_its_contract_pins(folder, stranger, tmp_path):
    package = ek.load(folder)
    service = ek.scaffold(tmp_path / "service", arms={"only": package})
    stranger()
    pin = pinning.read(service).pins["only"]
    with pytest.raises(TrustError):
        storing.get(pin.tag)
    with pytest.raises(IntegrityError, match=re.escape("must hold under")):
        storing.get(pin.tag, digest="0" * 64)
    assert storing.get(pin.tag, digest=pin.digest).digest == package.digest
    assert [subject.package.digest for subject in checks.package_subjects(service)] == [package.digest]


# ── types of other libraries

LIBRARY = """
from sklearn.base import BaseEstimator, TransformerMixin


class Halver(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X / 2


def halve(X):
    return X / 2
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """An installed library that nobody knows."""
    monkeypatch.syspath_prepend(installed(tmp_path, "halving_tools", "1.2", {"halving/__init__.py": LIBRARY}))
    monkeypatch.setenv("EKIBEN_HOME", str(tmp_path / "home"))
    yield __import__("halving")
    sys.modules.pop("halving", None)


def halving(step):
    return make_pipeline(step, LinearRegression()).fit(ROOMS.to_numpy(), PRICES)


def test_types_of_a_named_library_are_packed_and_need_trust(library, tmp_path, stranger):
    model = halving(library.Halver())
    with pytest.raises(UnsupportedModelError, match=re.escape("If you trust the library: pack(…, trust=['halving']).")):
        packed(model)
    package = packed(model, trust=["halving"])
    assert (package.manifest["kind"], package.manifest["carries"]) == ("sklearn", ["types"])
    assert package.manifest["allowed"] == {"types": ["halving.Halver"]}
    assert "halving-tools==1.2" in package.manifest["requirements"]
    folder = package.save(tmp_path / "package")
    stranger()
    with pytest.raises(TrustError, match=re.escape("types of other libraries (halving.Halver) is code")):
        ek.load(folder)
    again = ek.load(folder, trust=package.digest)
    pd.testing.assert_frame_equal(again.predict(ROOMS), package.predict(ROOMS))
    assert "type    halving.Halver" in CliRunner().invoke(cli.app, ["trust", str(folder), "--yes"]).output


def test_a_function_of_a_named_library_is_refused(library):
    with pytest.raises(UnsupportedModelError, match=re.escape("Got halving.halve in FunctionTransformer.func.")):
        packed(halving(FunctionTransformer(library.halve)), trust=["halving"])


@pytest.mark.parametrize(
    "function", [os.getcwd, len, eval, subprocess.getoutput, pickle.loads], ids=lambda each: each.__name__
)
def test_what_runs_programs_is_refused_even_when_it_is_named(function):
    step = FunctionTransformer()
    model = halving(step)
    step.inverse_func = function  # nobody calls it; whoever loads it could
    named = [function.__module__, "os", "posix", "builtins", "subprocess", "pickle", "_pickle"]
    with pytest.raises(UnsupportedModelError, match=re.escape("A packed model may use classes of scikit-learn")):
        packed(model, trust=named)


# ── what a pickle calls for


@pytest.mark.parametrize("protocol", range(6))
def test_every_name_of_a_pickle_is_listed(protocol):
    wanted = [
        collections.OrderedDict(a=1),
        collections.OrderedDict(b=2),
        np.arange(3),
        re.compile("x"),
        pd.Timestamp(0),
    ]
    names = globals_of(pickle.dumps(wanted, protocol=protocol))
    assert {"collections:OrderedDict", "re:_compile"} <= set(names)


@pytest.mark.parametrize(
    "model", [LinearRegression().fit(ROOMS, PRICES), np.random.default_rng(0), collections.Counter("ab")]
)
def test_the_names_listed_are_those_that_an_unpickler_finds(model):
    found = []

    class Watching(pickle.Unpickler):
        def find_class(self, module, name):
            found.append(f"{module}:{name}")
            return super().find_class(module, name)

    import io

    data = pickle.dumps(model, protocol=5)
    Watching(io.BytesIO(data)).load()
    assert sorted(set(found)) == globals_of(data)


@pytest.mark.parametrize("data", [b"", b"\x80", b"nonsense", b"\x80\x04", b"\x80\x04\x93.", b"\x80\x02\x82\x01."])
def test_what_is_no_pickle_is_said(data):
    with pytest.raises(IntegrityError, match=re.escape("model.pkl must")):
        globals_of(data)


# ── served


@pytest.mark.e2e
@pytest.mark.slow
def test_a_service_of_a_pickle_runs_where_nobody_trusts_it_but_its_contract(houses, stranger, tmp_path):
    own = type("Own", (), {"predict": lambda self, frame: frame["rooms"].to_numpy() * 3.0, "__module__": "__main__"})
    package = packed(own(), allow_pickle=["__main__.Own"])
    service = ek.scaffold(tmp_path / "rooms", arms={"only": package})
    stranger()
    with ek.serve(service) as server:
        assert server.predict(ROOMS.head(1))["value"].tolist() == [6.0]
    pinned = json.loads((service / "contract.json").read_text())
    pinned["pins"]["only"]["digest"] = package.digest[:12] + "0" * 52
    (service / "contract.json").write_text(json.dumps(pinned))
    with pytest.raises(ek.EkibenError, match=re.escape("is not what was packed")):
        ek.serve(service)
