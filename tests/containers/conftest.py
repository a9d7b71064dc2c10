"""One engine, one bento and one image for all tests of images; where nothing runs a container, the engine's words say so."""

import os
import platform
import re
from pathlib import Path

import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

import ekiben as ek
from ekiben import building, locking
from ekiben.containers import context, debian, engines
from ekiben.containers.containerizing import described, local_base
from ekiben.containers.debian import Base
from ekiben.errors import BuildError

# Wheels, the base and the engine's layers, kept between runs.
CACHE = Path(__file__).resolve().parents[2] / ".containers"
REQUIRED = "REQUIRE_CONTAINERS"


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups, also where these files are named in the command
def pytest_collection_modifyitems(items):
    """Keep the tests that need the engine on one worker."""
    for item in items:
        if "/containers/" in str(item.path) and "engine" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.xdist_group("engine"))


@pytest.fixture(scope="session")
def cache():
    CACHE.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EKIBEN_CACHE", str(CACHE))
        yield CACHE


@pytest.fixture(scope="session")
def lacking():
    """Skip what an engine is missing for, in the engine's own words; or fail, where the machine must have them all."""
    return pytest.fail if os.environ.get(REQUIRED) == "1" else pytest.skip


@pytest.fixture(scope="session")
def engine(cache, lacking):
    """The engine that ran a container here."""
    try:
        found = engines.find()
    except BuildError as reason:
        lacking(str(reason))
    yield found
    found.release()


@pytest.fixture(scope="session")
def applications(credit):
    frame, status = credit
    return frame, status.eq("bad").astype(int)


@pytest.fixture(scope="session")
def credit_packages(applications):
    """A linear model and trees, both with plans."""
    frame, bad = applications
    numbers = frame.select_dtypes("number").columns
    texts = frame.select_dtypes(exclude="number").columns
    models = {"champion": LogisticRegression(max_iter=1000), "challenger": XGBClassifier(n_estimators=20, n_jobs=1)}
    made = {}
    for arm, model in models.items():
        prepared = make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")), texts),
        )
        fitted = make_pipeline(prepared, model).fit(frame, bad)
        made[arm] = ek.pack(fitted, name="credit_risk", reference=frame, target=bad)
    return made


@pytest.fixture(scope="session")
def service_folder(credit_packages, tmp_path_factory):
    folder = tmp_path_factory.mktemp("boxed") / "credit_risk"
    route = ek.canary(stable="champion", canary="challenger", percent=30)
    return ek.scaffold(folder, arms=credit_packages, route=route, unit="customer_id", workers=3)


@pytest.fixture(scope="session")
def tag(service_folder):
    """A bento of the folder; `ek.build` itself is tried elsewhere."""
    locking.write_hashed(service_folder)
    return building._build_in_child(service_folder)


@pytest.fixture(scope="session")
def base(engine):
    """The base of Debian's packages that the image is built on."""
    name = local_base(engine)
    return Base(name=name, packages=debian.of_engine(engine, name))


@pytest.fixture(scope="session")
def image(engine, tag, tmp_path_factory):
    """The image, its build context beside it."""
    folder = tmp_path_factory.mktemp("image") / "context"
    name = "localhost/ekiben-test:1"
    accounts = ek.Accounts(beside=folder.parent)
    made = ek.containerize(tag, image=name, base="debian", context=folder, accounts=accounts, progress=print)
    yield made
    engine.call("rmi", "-f", name, check=False)


@pytest.fixture(scope="session")
def boxed(image, engine, tag, tmp_path_factory):
    """The context that the image was built of."""
    return context.read(next(tmp_path_factory.getbasetemp().glob("image*/context")))


@pytest.fixture(scope="session")
def build_again(engine):
    """Give a function: a context and a name → an image of it, built and not run."""
    named = []

    def build(told, name, **settings):
        engine.build(told.folder, name, epoch=told.epoch, arguments={"BASE": local_base(engine)}, **settings)
        named.append(name)
        return described(engine, name, told.tag, ran=None)

    yield build
    for name in named:
        engine.call("rmi", "-f", name, check=False)


@pytest.fixture(scope="session")
def python_of(engine):
    """Give a function: an image and a program of Python → what it printed inside, hardened."""

    def run(ref, program, check=True):
        words = [*engines.asked(engine), "--entrypoint=python3", ref, "-c", program]
        done = engine.call("run", "--rm", *words, check=check)
        return done.stdout.strip()

    return run


@pytest.fixture(scope="session")
def linux():
    if platform.system() != "Linux":
        pytest.skip("looks into /proc")


@pytest.fixture(scope="session")
def lines():
    """Give a function: a text → its lines without those that are empty."""
    return lambda text: [line for line in re.split(r"\n", text) if line.strip()]
