"""Every notebook and every example runs, in stores of its own, and says what it should."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from ekiben.running import serve

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
COMMITTED = ROOT / "bentos" / "credit_risk"
TAG = r"credit_risk:[a-z0-9]{16}"
VERSIONS = ["models:/credit_risk/1", "models:/credit_risk/2"]

# what each example must have said; an example that is not here fails `test_every_example_is_known`
SAYS = {
    "ask_from_anywhere": ["['Adelie', 'Gentoo', 'Chinstrap']", "x-ekiben-arm", "all equal: True"],
    "explain_three_ways": ["── linear", "── sampling", "If sex == 'female' and age <= 39.00, then 'yes'."],
    "laws_of_your_own": ["test_a_larger_house_is_never_cheaper[5] PASSED", "21 passed"],
    "pack_a_regressor": ["explained by       trees", "tree-path-dependent", "The column 'Year_Built' is missing."],
    "service_with_hooks": ["['preprocess', 'postprocess']", "→ champion", "→ challenger", "'action': 'call'"],
    "split_traffic": ["champion 90 % · challenger 10 %", "to 50 %: champion → challenger", "Got 120."],
}
shares_the_demo = pytest.mark.xdist_group("credit_risk")  # one run of the demo for all, on one worker
pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def environment_in(folder):
    """Give empty stores in a folder, and a PATH that holds our own commands alone, so no container engine either."""
    stores = {
        "BENTOML_HOME": str(folder / "bentoml"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(folder / "mlartifacts"),
    }
    return os.environ | stores | {"PATH": str(Path(sys.executable).parent), "COLUMNS": "120"}


def run(command, cwd, environment):
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=12000)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def run_demo(repository, environment, *options):
    return run([sys.executable, str(repository / "examples" / "demo.py"), *options], repository.parent, environment)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return environment_in(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Copy what the demo and the notebooks look for, without the models' folder that they write."""
    root = tmp_path_factory.mktemp("repository")
    (root / "bentos").mkdir()
    for name in ("examples", "notebooks"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    return root


@pytest.fixture(scope="module")
def demo(repository, stores):
    """Run the demo once, and give what it printed."""
    return run_demo(repository, stores)


def contents(folder):
    """Read every file of a service's folder that is committed."""
    ignored = {"wheels", "__pycache__", "requirements.hashed.txt"}
    every = (path for path in folder.rglob("*") if path.is_file() and not ignored & set(path.parts))
    return {path.relative_to(folder).as_posix(): path.read_text() for path in every}


# ── the demo ────────────────────────────────────────────────────────────────────────────────────────────────────


@shares_the_demo
def test_the_demo_goes_the_whole_way(demo, repository):
    assert re.findall(r"^(\d)/9 ", demo, re.MULTILINE) == list("123456789")
    for version in VERSIONS:
        assert version in demo
    assert re.search(TAG, demo)
    assert "✗" not in demo
    assert "The column 'Debt' is missing in row 0." in demo
    assert "An image needs an engine that runs a container. docker is not installed." in demo
    assert "cd bentos/credit_risk && bentoml serve" in demo
    assert str(ROOT) not in demo


@shares_the_demo
def test_the_demo_writes_only_what_is_ignored_or_committed(demo, repository):
    assert sorted(path.name for path in repository.iterdir()) == ["bentos", "examples", "notebooks"]
    assert contents(repository / "bentos" / "credit_risk").keys() == contents(COMMITTED).keys()


@shares_the_demo
def test_the_committed_service_is_the_one_that_the_demo_writes(demo, repository):
    """Digests may differ with the processor that fitted the models; nothing else may."""
    written, committed = contents(repository / "bentos" / "credit_risk"), contents(COMMITTED)
    for name in ("bentofile.yaml", "ekiben.toml", "service.py", "tests/test_laws.py"):
        assert written[name] == committed[name], name
    made, kept = json.loads(written["contract.json"]), json.loads(committed["contract.json"])
    assert made["signature"] == kept["signature"]
    assert made["example"]["row"] == kept["example"]["row"]
    assert {arm: pin["ref"] for arm, pin in made["pins"].items()} == {
        arm: pin["ref"] for arm, pin in kept["pins"].items()
    }


@shares_the_demo
@pytest.mark.skipif(shutil.which("curl") is None, reason="the line is for curl")
def test_the_line_for_curl_works_as_it_was_printed(demo, repository, stores):
    line = next(line for line in demo.splitlines() if line.startswith("curl "))
    with serve(repository / "bentos" / "credit_risk", environment=stores) as server:
        told = subprocess.run(
            ["sh", "-c", line.replace("http://127.0.0.1:3000", server.url)], capture_output=True, text=True
        )
    assert json.loads(told.stdout)["arm"] == "champion", told.stdout + told.stderr


# It finds what the demo logged, and must log nothing else.
@shares_the_demo
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_gives_the_versions_of_the_demo(path, demo, repository, stores):
    folder = repository / "bentos" / "credit_risk"
    before = contents(folder)
    notebook = nbformat.read(repository / "notebooks" / path.name, as_version=4)
    client = NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(repository / "notebooks")}})
    # without a backend from the environment, the kernel draws into the notebook, as it does for people
    client.execute(env={name: value for name, value in stores.items() if name != "MPLBACKEND"})

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert "error" not in [output.output_type for output in outputs]
    said = "\n".join(output.get("text") or output.data.get("text/plain", "") for output in outputs)
    assert "\n".join(VERSIONS) in said
    assert re.search(TAG, said)
    assert "Warning" not in said
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    shown = [output.get("data", {}).get("text/html", "") for output in outputs]
    assert "30 laws kept" in "".join(shown)
    titles = re.findall(r'<svg role="img"[^>]*><title>([^<]*)</title>', "".join(shown))
    assert [title.startswith("200 explanations of") for title in titles] == [False, False, True, False]
    assert "another label" in "".join(shown)
    assert contents(folder) == before


@shares_the_demo
@pytest.mark.long
def test_a_second_demo_gives_the_same_versions_and_files_in_another_folder(demo, repository, stores, tmp_path):
    again = run_demo(repository, stores, "--folder", str(tmp_path / "credit_risk"), "--no-image")
    assert all(version in again for version in VERSIONS)
    assert "models:/credit_risk/3" not in again
    assert contents(tmp_path / "credit_risk") == contents(repository / "bentos" / "credit_risk")


# ── the notebooks as they are stored ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count is None and not cell.outputs for cell in code)


# ── the examples ────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_example_is_known():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} - {"demo"} == SAYS.keys()


@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs_and_says_what_it_shows(name, tmp_path):
    path = ROOT / "examples" / f"{name}.py"
    assert ast.get_docstring(ast.parse(path.read_text()))
    said = run([sys.executable, str(path)], tmp_path, environment_in(tmp_path))
    for words in SAYS[name]:
        assert words in said


# ── the committed service, where its models are not ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["build"]], ids=lambda command: command[0])
def test_without_the_models_bentoml_says_one_error_and_how_to_make_them(command, tmp_path):
    folder = tmp_path / "credit_risk"
    shutil.copytree(COMMITTED, folder, ignore=shutil.ignore_patterns("wheels", "__pycache__"))
    told = subprocess.run(
        [sys.executable, "-m", "bentoml", *command],
        cwd=folder,
        env=environment_in(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = (told.stdout + told.stderr).strip().splitlines()
    assert told.returncode == 1
    assert len(lines) == 1, lines
    assert lines[0].startswith("Error: ")
    assert lines[0].endswith("Run: make demo")
