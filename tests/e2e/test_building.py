"""From a folder to a bento that was run: by `ek.build`, and by BentoML's own commands in the folder."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import bentoml
import pytest

import ekiben as ek
from ekiben import building
from ekiben.errors import BuildError, NotFoundError
from ekiben.running import Server, child_environment
from traffic.verify import listener


@pytest.fixture(scope="session")
def tag(folder):
    return ek.build(folder)


def _names(tag):
    root = Path(bentoml.get(tag).path)
    return sorted(path.relative_to(root / "src").as_posix() for path in (root / "src").rglob("*") if path.is_file())


def test_a_built_bento_holds_the_include_list_alone(tag):
    assert [name for name in _names(tag) if not name.startswith("wheels/")] == [
        "README.md",
        "bentofile.yaml",
        "contract.json",
        "ekiben.toml",
        "requirements.hashed.txt",
        "requirements.txt",
        "service.py",
        "tests/test_laws.py",
    ]
    assert [name for name in _names(tag) if name.startswith("wheels/")] == [
        f"wheels/ekiben-{ek.__version__}-py3-none-any.whl"
    ]


def test_a_built_bento_pins_its_models_and_names_no_index(tag, packages):
    bento = bentoml.get(tag)
    assert sorted(str(model.tag) for model in bento.info.all_models) == sorted(
        f"credit_risk:{package.digest[:12]}" for package in packages.values()
    )
    requirements = (Path(bento.path) / "env" / "python" / "requirements.txt").read_text()
    assert not re.search(r"https?://|index-url|find-links", requirements)
    for absent in ("mlflow", "jupyterlab", "alibi", "nvidia-nccl"):
        assert absent not in requirements
    assert "xgboost-cpu==" in requirements
    assert "\npyarrow==" in requirements  # as the spec says `tables = true`
    hashed = (Path(bento.path) / "src" / "requirements.hashed.txt").read_text()
    assert not re.search(r"https?://|index-url|find-links", hashed)
    assert requirements.count("--hash=sha256:") == hashed.count("--hash=sha256:")  # the image takes no other file


def test_the_bento_carries_the_ekiben_that_built_it(tag):
    wheel = next((Path(bentoml.get(tag).path) / "src" / "wheels").glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("ekiben/routing.py") == Path(ek.__file__).with_name("routing.py").read_bytes()


def test_a_bento_starts_without_a_word_to_the_outside(tag, row):
    with listener() as outside:
        nobody = f"http://127.0.0.1:{outside.port}"
        closed = {"MLFLOW_TRACKING_URI": nobody, "HTTP_PROXY": nobody, "HTTPS_PROXY": nobody, "NO_PROXY": "127.0.0.1"}
        with Server(tag, environment=closed) as server:
            assert server.schema()["example"]["row"]
    assert outside.connections == 0


def test_the_locked_requirements_are_enough_and_nothing_else(tag, tmp_path):
    root, place = Path(bentoml.get(tag).path), tmp_path / "fresh"
    requirements = root / "env" / "python" / "requirements.txt"
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, place], check=True)
    into = ["pip", "install", "-q", "--no-deps", "--python", place / "bin" / "python", "-r", requirements]
    subprocess.run([uv, "--directory", root / "src", *into], check=True)
    asked = (
        "import ekiben.serving, service; print(service.CreditRisk.inner().predict.local); "
        "from ekiben import arrow; assert arrow.is_here(), 'tables = true must bring pyarrow'"
    )
    done = subprocess.run(
        [place / "bin" / "python", "-c", asked], cwd=root / "src", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    checked = subprocess.run(
        [uv, "pip", "check", "--python", place / "bin" / "python"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_bentoml_builds_the_folder_by_hand(folder):
    command = [sys.executable, "-m", "bentoml", "build", "--output", "tag"]
    done = subprocess.run(command, cwd=folder, env=child_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert _names(done.stdout.partition("__tag__:")[2].strip())


def test_the_scaffolded_tests_run_by_pytest_alone(folder):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "34 passed" in done.stdout


# "e:" and what follows look like an address, which is coloured; ":taxi:" becomes a picture; a long line is folded.
@pytest.mark.parametrize("name", ["mortgage", "taxi", "n" * 60])
def test_a_bento_of_any_name_is_built_in_a_notebook_which_asks_for_colours(packages, tmp_path, monkeypatch, name):
    folder = ek.scaffold(tmp_path / name, arms={"champion": packages["champion"]})
    monkeypatch.setenv("FORCE_COLOR", "1")
    tag = building._build_in_child(folder)
    assert re.fullmatch(rf"{name}:[a-z0-9]+", tag)
    bentoml.delete(tag)


def test_a_broken_law_refuses_the_build_and_is_named(packages, tmp_path):
    folder = ek.scaffold(tmp_path / "unfair", arms={"champion": packages["champion"]})
    service = folder / "service.py"
    body = "    def unit_of(self, request, body):\n        raise RuntimeError('no unit')\n"
    service.write_text(service.read_text().replace("\n\n\nfront(", f"\n\n{body}\n\nfront("))
    with pytest.raises(BuildError, match="Over HTTP comes what the notebook answers") as refused:
        ek.build(folder)
    assert "the service's log: predict failed: RuntimeError at service.py:" in str(refused.value)


def test_a_file_beside_the_include_list_refuses_the_build(packages, tmp_path):
    folder = ek.scaffold(tmp_path / "leaky", arms={"champion": packages["champion"]})
    (folder / ".env").write_text("TOKEN=s3cr3t\n")
    recipe = folder / "bentofile.yaml"
    recipe.write_text(recipe.read_text() + '  - ".env"\n')
    (folder / "uv.toml").write_text('index = [{ url = "https://user:s3cr3t@example.invalid/simple" }]\n')
    with pytest.raises(BuildError, match=re.escape(".env is not on the include list")):
        ek.build(folder)
    with pytest.raises(bentoml.exceptions.NotFound):
        bentoml.get("leaky:latest")  # what was refused is nobody's latest
    assert not (folder / "uv.toml").exists()  # written by ekiben or not there


def test_an_image_of_no_bento_is_refused_by_name():
    with pytest.raises(NotFoundError, match="ekiben build"):
        ek.containerize("credit_risk:nosuchbento")
