"""No malicious file runs, wherever a package has a place for it; each is refused by one clear error."""

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from itertools import cycle
from pathlib import Path

import bentoml
import mlflow
import pytest
from typer.testing import CliRunner
from xgboost import XGBRegressor

import ekiben as ek
from ekiben import cli, models, packages, pinning, sealing, serving, storing, tracking, trusting
from ekiben.errors import EkibenError, IntegrityError, TrustError
from ekiben.models.pickled import globals_of
from ekiben.pinning import Contract, Pin
from hostile import control
from hostile.corpus import EVERY, Case

PLACES = (
    "model/model.skops",
    "examples.json",
    "reference/sample.json",
    "reference/profile.json",
    "explainer/means.npy",
    "explainer/explainer.json",
    "package.json",
    "signature.json",
    "model/model.pkl",
    "code/notebook.py",
)


# ── the cases are harmful


def test_there_are_seventy_kinds_and_more():
    assert len({case.name for case in EVERY}) == len(EVERY) >= 70


def test_every_case_does_harm_when_it_is_just_loaded(tmp_path):
    harmless = Case("a-dictionary", b"\x80\x04}.")
    for case in (*EVERY, harmless):
        (tmp_path / f"{case.name}.{case.loader}").write_bytes(case.data)
    done = subprocess.run([sys.executable, control.__file__, tmp_path], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {case.name for case in EVERY}


# ── where they are put


@pytest.fixture(autouse=True)
def ground(tmp_path, monkeypatch):
    """Stand where a case that runs leaves its mark, with the modules that it may import."""
    folder = tmp_path / "ground"
    folder.mkdir()
    (folder / "precious").write_text("kept")
    (folder / "folder").mkdir()
    (folder / "mark.py").write_text("open('canary', 'w').close()\n")
    (folder / "mark_when_built.py").write_text(control.BUILT)
    (folder / "inner.pkl").write_bytes(EVERY[0].data)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("EKIBEN_HOME", str(tmp_path / "home"))
    yield folder
    assert not control.is_harmed(folder)


@pytest.fixture
def folder(champion, tmp_path):
    return champion.save(tmp_path / "package")


def reseal(folder, **changes):
    """Do what an attacker can who may write the whole package: make its digests and its seal anew."""
    manifest = {**json.loads((folder / "package.json").read_text()), **changes}
    for key in ("digest", "seal"):
        manifest.pop(key, None)
    whence = {key: manifest.pop(key) for key in sealing.WHENCE}
    manifest["files"] = {name: sealing.sha256(folder / name) for name in sealing.files(folder)}
    manifest["digest"] = sealing.of_json(manifest)
    manifest |= whence
    manifest["seal"] = sealing.of_json(manifest)
    (folder / "package.json").write_text(json.dumps(manifest))
    return manifest["digest"]


@contextlib.contextmanager
def put(folder, place, data):
    """Put a file into a package, and take it out again."""
    path, manifest = folder / place, (folder / "package.json").read_bytes()
    before = path.read_bytes() if path.is_file() else None
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    try:
        yield
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
        (folder / "package.json").write_bytes(manifest)


def use(folder, **settings):
    """Load a package and touch every part of it."""
    package = ek.load(folder, **settings)
    _ = str(package), package._repr_html_()
    _ = package.sample, package.example_frame, package.explainer
    return package.predict(package.example_frame)


@pytest.mark.parametrize("place", PLACES)
def test_a_malicious_file_in_a_package_is_refused_unread(folder, place, ground):
    for case in EVERY:
        with put(folder, place, case.data):
            with pytest.raises(IntegrityError):
                ek.load(folder)
            with pytest.raises(IntegrityError):
                ek.verify(folder)
    assert not control.is_harmed(ground)


@pytest.mark.parametrize("place", [place for place in PLACES if place not in ("package.json", "signature.json")])
def test_a_malicious_file_under_a_seal_made_anew_is_refused(folder, place, ground):
    for case in EVERY:
        with put(folder, place, case.data):
            reseal(folder)
            with pytest.raises(EkibenError) as refusal:
                use(folder)
            assert "\n" not in str(refusal.value).strip()[:60], case.name
            assert not control.is_harmed(ground), case.name


def test_a_malicious_file_in_place_of_xgboost_s_is_refused(tmp_path, ground, people):
    rows = people[0][["age"]]
    packed = ek.pack(XGBRegressor(n_estimators=2).fit(rows, rows["age"]), name="trees", reference=rows)
    folder = packed.save(tmp_path / "trees")
    for case in EVERY:
        with put(folder, "model/model.ubj", case.data):
            with pytest.raises(IntegrityError):
                ek.load(folder)
            reseal(folder)
            with pytest.raises(EkibenError):
                use(folder)
            assert not control.is_harmed(ground), case.name


def recorded(data):
    try:
        return globals_of(data)
    except IntegrityError:
        return ["builtins:dict"]


PICKLES = [case for case in EVERY if case.loader != "skops"]


def test_a_malicious_pickle_that_says_what_it_is_needs_trust(folder, ground):
    shutil.rmtree(folder / "model")
    (folder / "model").mkdir()
    for case in PICKLES:
        (folder / "model" / "model.pkl").write_bytes(case.data)
        (folder / "model" / "pickle.json").write_text(json.dumps({"globals": recorded(case.data)}))
        reseal(folder, kind="pickled", carries=["pickle"])
        with pytest.raises(TrustError, match=re.escape("pickles (model/model.pkl) is code")):
            ek.load(folder)
        assert not control.is_harmed(ground), case.name


def test_a_trusted_pickle_calls_for_nothing_but_what_lies_beside_it(folder, ground):
    shutil.rmtree(folder / "model")
    (folder / "model").mkdir()
    for case in PICKLES:
        for listed in (["builtins:dict"], [], recorded(case.data)[:1]):
            (folder / "model" / "model.pkl").write_bytes(case.data)
            (folder / "model" / "pickle.json").write_text(json.dumps({"globals": listed}))
            digest = reseal(folder, kind="pickled", carries=["pickle"])
            if listed and listed == recorded(case.data) and listed != ["builtins:dict"]:
                continue  # its list is true: only the user's trust was in the way
            with pytest.raises(IntegrityError):
                ek.load(folder, trust=digest)
            assert not control.is_harmed(ground), (case.name, listed)


def test_even_a_trusted_pickle_may_not_run_programs(folder, ground):
    shutil.rmtree(folder / "model")
    (folder / "model").mkdir()
    for name in ("os-system", "subprocess-run", "eval", "pickle-in-a-pickle", "opcode-inst", "socket", "import"):
        data = next(case.data for case in EVERY if case.name == name)
        (folder / "model" / "model.pkl").write_bytes(data)
        (folder / "model" / "pickle.json").write_text(json.dumps({"globals": globals_of(data)}))
        digest = reseal(folder, kind="pickled", carries=["pickle"])
        with pytest.raises(IntegrityError, match=re.escape("model.pkl must call for")):
            ek.load(folder, trust=digest)
    assert not control.is_harmed(ground)


@pytest.mark.parametrize("case", [case for case in EVERY if case.loader == "skops"], ids=lambda case: case.name)
def test_a_malicious_skops_file_is_refused_even_where_it_is_trusted(folder, ground, case):
    (folder / "model" / "model.skops").write_bytes(case.data)
    digest = reseal(folder)
    with pytest.raises(
        IntegrityError,
        match=r"must name all that makes the package code|A packed model may use|must be a file of skops",
    ):
        ek.load(folder, trust=digest)
    digest = reseal(folder, carries=["types"])
    with pytest.raises(TrustError):
        ek.load(folder)
    with pytest.raises(IntegrityError, match=re.escape("A packed model may use classes of scikit-learn")):
        ek.load(folder, trust=digest)
    assert not control.is_harmed(ground)


def test_a_file_that_would_unpack_to_any_size_is_refused_before_it_is_unpacked(folder):
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * 100_000_000)
    (folder / "model" / "model.skops").write_bytes(bomb.getvalue())
    digest = reseal(folder, carries=["types"])
    tracemalloc.start()
    with pytest.raises(IntegrityError, match=re.escape("Got compressed entries.")):
        ek.load(folder, trust=digest)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20_000_000


def test_a_broken_file_of_skops_is_one_error_wherever_it_is_looked_at(folder):
    sound, n_refused = (folder / "model" / "model.skops").read_bytes(), 0
    for place in range(len(sound) - 300, len(sound)):  # its directory, which everything hangs on
        for value in (0, 0x80, 0xFF):
            broken = bytearray(sound)
            broken[place] = value
            (folder / "model" / "model.skops").write_bytes(broken)
            try:  # it may as well be sound still
                models.named("sklearn").foreign(folder / "model")
            except IntegrityError:
                n_refused += 1
    assert n_refused > 100


# ── on every way to a package


def test_no_command_runs_a_malicious_file(folder, ground):
    shutil.rmtree(folder / "model")
    (folder / "model").mkdir()
    for case, command in zip(PICKLES, cycle(("card", "log", "check")), strict=False):  # all three load by one door
        (folder / "model" / "model.pkl").write_bytes(case.data)
        (folder / "model" / "pickle.json").write_text(json.dumps({"globals": recorded(case.data)}))
        reseal(folder, kind="pickled", carries=["pickle"])
        done = CliRunner().invoke(cli.app, [command, str(folder)])
        assert isinstance(done.exception, TrustError), (case.name, command)
        shown = CliRunner().invoke(cli.app, ["trust", str(folder)], input="n\n")
        assert "model/model.pkl calls for" in shown.output, case.name
        assert CliRunner().invoke(cli.app, ["verify", str(folder)]).exit_code == 0
        with pytest.raises(TrustError):
            tracking._load_pyfunc(str(folder))
        assert not control.is_harmed(ground), case.name


def test_no_version_in_mlflow_runs_a_malicious_file(champion, tracking_uri, ground):
    version = ek.log(champion)
    source = mlflow.MlflowClient().get_model_version(version.name, str(version.version)).source
    stored = Path(mlflow.artifacts.download_artifacts(source)) / tracking.INSIDE
    for case in EVERY[::4]:
        for place, honest in (("model/model.skops", False), ("code/notebook.py", True)):
            with put(stored, place, case.data):
                with pytest.raises(IntegrityError):
                    ek.fetch(version)
                reseal(stored, carries=["code"] if honest else [])
                with pytest.raises(IntegrityError, match=re.escape("must hold the package that was logged")):
                    ek.fetch(version)
            assert not control.is_harmed(ground), case.name


def test_no_model_in_the_store_runs_a_malicious_file(champion, ground, tmp_path):
    tag = storing.put(champion)
    stored = Path(bentoml.models.get(tag).path) / "package"
    answer = champion.examples[0]
    pin = Pin(ref=str(champion.ref), tag=tag, digest=champion.digest)
    promised = Contract(signature=champion.signature, pins={"only": pin}, row=answer["row"], answer=answer["answer"])
    service = ek.scaffold(tmp_path / "service", arms={"only": champion})
    pinning.write(promised, service)
    for case in EVERY:
        with put(stored, "model/model.skops", case.data):
            reseal(stored)
            for act in (
                lambda: storing.get(tag),
                lambda: storing.get(tag, digest=pin.digest),
                lambda: storing.verify(tag, pin.digest),
                lambda: serving.read_spec(str(service / "service.py")),
            ):
                with pytest.raises(EkibenError):
                    act()
        assert not control.is_harmed(ground), case.name
    bentoml.models.delete(tag)


def test_nobody_is_trusted_by_being_refused(folder, tmp_path):
    with put(folder, "code/notebook.py", b"print('hello')\n"):
        digest = reseal(folder, carries=["code"])
        with pytest.raises(TrustError):
            ek.load(folder)
        assert not trusting.is_trusted(digest)
        assert packages.inspect(folder)[1] == {"code": ["code/notebook.py"]}


@pytest.mark.parametrize(
    "name", ["code/more/deep.py", "Code/notebook.py", "model/hidden.py", "explainer/fast.so", "x.pth"]
)
def test_code_is_code_wherever_it_lies(folder, name):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"")
    reseal(folder)
    with pytest.raises(IntegrityError, match=re.escape("It names nothing, its files hold ['code'].")):
        ek.load(folder)
    reseal(folder, carries=["code"])
    with pytest.raises(TrustError, match=re.escape(f"code ({name}) is code")):
        ek.load(folder)
