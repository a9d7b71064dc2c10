"""A real bento's context is judged before it becomes an image, and what is forecast and collected is what comes."""

import json
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from typer.testing import CliRunner

import ekiben as ek
from ekiben import building, cli, locking, spec
from ekiben.containers import accounting, context, forecasting, sbom, vendoring, wheels
from ekiben.containers.accounting import Accounts
from ekiben.containers.debian import Base, Debian
from ekiben.containers.forecasting import Part, savings
from ekiben.containers.images import MB
from ekiben.containers.tools import install
from ekiben.errors import BuildError, NotFoundError, SpecError

DEP_5 = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"
BASE = Base(
    name="python:3.11-slim",
    packages=(
        Debian(name="tzdata", version="2026a", architecture="all", source="tzdata"),
        Debian(
            name="zlib1g",
            version="1.2",
            architecture="amd64",
            source="zlib",
            copyright=f"{DEP_5}Files: *\nLicense: Zlib\n",
        ),
    ),
)

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.xdist_group("accounts")]


@pytest.fixture(scope="session")
def tag(champion, tmp_path_factory):
    """A small bento, locked with digests, whose laws other tests try."""
    folder = ek.scaffold(tmp_path_factory.mktemp("accounts") / "risk", arms={"champion": champion})
    if not locking.write_hashed(folder):
        pytest.skip("no package index answers with digests")
    return building._build_in_child(folder)


@pytest.fixture(scope="session")
def told(tag, tmp_path_factory):
    return context.write(tag, tmp_path_factory.mktemp("context") / "box")


@pytest.fixture(scope="session")
def judged(told):
    return accounting.before(told, BASE, Accounts(), lambda _words: None)


def test_a_real_bento_passes_the_gate_and_the_scan(judged, told):
    assert {each.name for each in judged.licences} == {each.name for each in (*told.wheels, *BASE.packages)}
    assert all(each.passes for each in judged.licences)


def test_the_bill_of_materials_goes_into_the_image(judged, told):
    inside = told.folder / "bento" / sbom.FILE
    parts = {part["name"] for part in json.loads(inside.read_text())["components"]}
    assert parts == {each.name for each in (*told.wheels, *BASE.packages)} | set(told.arms)
    assert inside.stat().st_mtime == told.epoch


def test_a_leak_in_a_real_context_refuses_it_and_names_the_file(told, tmp_path):
    shutil.copytree(told.folder, tmp_path / "box")
    secret = "ghp_" + "a1B2" * 9
    service = tmp_path / "box" / "bento" / "src" / "service.py"
    service.write_text(f"{service.read_text()}\nTOKEN = '{secret}'\n")
    planted = context.read(tmp_path / "box")
    with pytest.raises(BuildError, match=re.escape("bento/src/service.py: a token of GitHub")) as refused:
        accounting.before(planted, BASE, Accounts(), lambda _words: None)
    assert secret not in str(refused.value)
    found = accounting.before(planted, BASE, Accounts(allow_leaks={"bento/src/*": "of a test"}), lambda _words: None)
    assert found.licences


def test_the_forecast_is_near_what_is_installed(judged, told, tmp_path):
    install.main(str(told.folder / "wheels"), str(told.folder / "requirements.txt"), str(tmp_path / "site"))
    truth = sum(path.stat().st_size for path in (tmp_path / "site").rglob("*") if path.is_file())
    forecast = judged.forecast.by_layer()["dependencies"]
    assert 0.93 < forecast / truth < 1.07


def test_a_forecast_tells_each_part_and_its_reasons(judged):
    frame = judged.forecast.to_frame()
    assert list(frame) == ["name", "version", "layer", "mb", "reasons"]
    assert {"numpy", "model champion", "code"} <= set(frame["name"])
    assert frame["reasons"].str.len().min() > 0
    assert frame["mb"].is_monotonic_decreasing
    assert "numpy" in str(judged.forecast)
    assert "<table>" in judged.forecast._repr_html_()


def test_an_arm_saves_what_only_it_needs():
    parts = [
        Part(name="numpy", n_bytes=60, reasons=("ekiben", "arm a (its plan)")),
        Part(name="onnxruntime", n_bytes=37, reasons=("arm a (its plan)", "arm b (its plan)")),
        Part(name="scipy", n_bytes=90, reasons=("arm b (its plan)",)),
        Part(name="pyarrow", n_bytes=150, reasons=("tables",)),
        Part(name="model b", n_bytes=3, layer="models", reasons=("arm b",)),
    ]
    assert savings(parts) == {"tables": 150, "arm b (its plan)": 93}


def test_methods_save_what_the_same_service_without_them_does_not_hold(champion, judged, tmp_path):
    asked = spec.Explain(methods=("sampling", "anchor"))
    folder = ek.scaffold(tmp_path / "risk", arms={"champion": champion}, explain=asked)
    locking.write_hashed(folder)
    found = ek.forecast(building._build_in_child(folder))
    less = found.by_layer()["dependencies"] - judged.forecast.by_layer()["dependencies"]
    assert less > 10 * MB
    assert found.saves["methods anchor, sampling (of arm champion)"] == less
    assert "method sampling (of arm champion)" not in found.saves  # the other needs the same
    assert "without methods anchor, sampling (of arm champion)" in str(found)


def test_wheels_are_collected_once_by_their_digests(tag, tmp_path):
    said = []
    first = ek.vendor(tag, to=tmp_path / "wheels", progress=said.append)
    assert first.were_there == 0
    assert any(re.search(r"fetching wheels, \d+ of \d+ are there", words) for words in said)
    again = ek.vendor(tag, to=tmp_path / "wheels")
    assert again.were_there == len(again.wheels) == len(first.wheels)


def test_a_run_that_was_interrupted_goes_on_and_a_broken_wheel_is_fetched_again(tag, tmp_path):
    first = ek.vendor(tag, to=tmp_path / "wheels")
    gone, broken = first.wheels[0].file, first.wheels[1].file
    gone.unlink()
    broken.write_bytes(broken.read_bytes()[:-7])
    (tmp_path / "wheels" / "half.part").write_text("x")
    (tmp_path / "wheels" / "other-1.0-py3-none-any.whl").write_text("x")
    again = ek.vendor(tag, to=tmp_path / "wheels")
    assert again.were_there == len(first.wheels) - 2
    assert [each.sha256 for each in again.wheels] == [each.sha256 for each in first.wheels]
    assert all(wheels.sha256(each.file) == each.sha256 for each in again.wheels)
    another_s = "other-1.0-py3-none-any.whl"  # of a bento that shares the folder
    assert sorted(path.name for path in (tmp_path / "wheels").iterdir()) == sorted(
        [vendoring.LIST, another_s, *(each.file.name for each in again.wheels)]
    )


def test_what_was_collected_installs_without_an_index(tag, tmp_path):
    folder = ek.vendor(tag, to=tmp_path / "wheels").folder
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", folder, "--no-deps"]
    command += ["--require-hashes", "--target", tmp_path / "site", "-r", folder / vendoring.LIST]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "site" / "numpy").is_dir()


def test_a_lock_without_digests_collects_nothing(champion, tmp_path):
    folder = ek.scaffold(tmp_path / "plain", arms={"champion": champion})
    (folder / locking.HASHED).unlink(missing_ok=True)
    plain = building._build_in_child(folder)
    with pytest.raises(SpecError, match="by the digests of the lock"):
        ek.vendor(plain, to=tmp_path / "wheels")


def test_nobody_s_bento_is_told_so_by_each_verb(tmp_path):
    for verb in (lambda: ek.forecast("risk:none"), lambda: ek.vendor("risk:none", to=tmp_path)):
        with pytest.raises(NotFoundError, match="No bento 'risk:none'"):
            verb()


def test_a_folder_in_place_of_a_tag_is_told_how_to_build_it(tmp_path):
    for verb in (ek.forecast, ek.containerize, lambda folder: ek.vendor(folder, to=tmp_path / "wheels")):
        with pytest.raises(NotFoundError, match=re.escape(f"To build one, run: ekiben build {tmp_path}")):
            verb(tmp_path)


def test_a_shell_forecasts_and_collects(tag, tmp_path):
    ran = CliRunner().invoke(cli.app, ["vendor", tag, "--to", str(tmp_path / "wheels")])
    assert "wheels" in ran.output
    ran = CliRunner().invoke(cli.app, ["forecast", tag, "--wheels", str(tmp_path / "wheels"), "--json"])
    assert json.loads(ran.output)["parts"]


def test_a_shell_that_asks_for_bentoml_s_image_names_no_engine():
    ran = CliRunner().invoke(cli.app, ["containerize", "churn:1", "--stock", "--engine", "docker"])
    assert isinstance(ran.exception, SpecError)
    assert "Leave out --engine." in str(ran.exception)


def test_a_wheel_that_no_index_gave_is_looked_at_as_the_user_s_own(told, tmp_path):
    shutil.copytree(told.folder, tmp_path / "box")
    numpy = next(each for each in told.wheels if each.name == "numpy")
    with zipfile.ZipFile(tmp_path / "box" / "wheels" / numpy.file.name, "a") as packed:
        packed.writestr("numpy/train.csv", "a,b\n1,2\n")
    planted = context.read(tmp_path / "box")
    changed = [
        wheels.Wheel(name=w.name, version=w.version, file=w.file, sha256=wheels.sha256(w.file)) for w in planted.wheels
    ]
    assert f"wheels/{numpy.file.name}" not in accounting.published(
        context.Context(**{name: getattr(planted, name) for name in planted.__slots__} | {"wheels": tuple(changed)})
    )


def test_a_measure_needs_an_image(tmp_path):
    with pytest.raises(NotFoundError, match="OCI layout"):
        forecasting.measured(tmp_path)
