import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ekiben

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "sdk" / "ekiben"
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
DOORS = {
    library: {ignored.split(" -> ")[0].removesuffix(".**") for ignored in contract["ignore_imports"]}
    for contract in CONTRACTS
    if contract["id"].startswith("door-")
    for library in contract["forbidden_modules"]
}
HEAVY = ("alibi", "bentoml", "lightgbm", "matplotlib", "mlflow", "pandas", "sklearn", "skops", "xgboost")
MEGABYTE = 1_000_000


# ── what an import costs


def loaded_by(module):
    told = f"import json, sys; import {module}; print(json.dumps(sorted(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    answer = subprocess.run([sys.executable, "-c", told], env=environment, capture_output=True, text=True, check=True)
    return set(json.loads(answer.stdout))


# a notebook waits for `ekiben`, a shell for `ekiben.cli`
@pytest.mark.parametrize("module", ["ekiben", "ekiben.cli"])
def test_an_import_loads_no_framework(module):
    assert loaded_by(module).intersection(HEAVY) == set()


def test_a_name_that_is_misspelt_is_told_the_nearest():
    with pytest.raises(AttributeError, match=r"has no attribute 'pakc'\. Did you mean 'pack'\?"):
        ekiben.pakc  # noqa: B018 -- looked up, and that is all


# ── who may import whom


def lint_imports(sdk):
    """Return the exit code and the words of import-linter on the package in the folder `sdk`."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"],
        cwd=sdk.parent,
        env={**os.environ, "PYTHONPATH": str(sdk), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def sdk(tmp_path):
    """Copy the package and its contracts to where they can be broken."""
    shutil.copytree(PACKAGE, tmp_path / "sdk" / "ekiben", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path / "sdk"


def append(sdk, module, line):
    package = sdk.joinpath(*module.split("."))
    file = package / "__init__.py" if package.is_dir() else package.with_suffix(".py")
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as text:
        text.write(f"\n{line}\n")


def test_every_contract_on_imports_is_kept(sdk):
    code, said = lint_imports(sdk)
    assert code == 0, said
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in said


@pytest.mark.parametrize(
    ("module", "line", "contract", "named"),
    [
        ("ekiben.storing", "import mlflow", "door-mlflow", "ekiben.storing -> mlflow"),
        ("ekiben.models.sklearn", "import mlflow.sklearn", "door-mlflow", "ekiben.models.sklearn -> mlflow"),
        ("ekiben.tracking", "import bentoml", "door-bentoml", "ekiben.tracking -> bentoml"),
        ("ekiben.dataplane", "from _bentoml_sdk import Service", "door-bentoml", "ekiben.dataplane -> _bentoml_sdk"),
        ("ekiben.packing", "def late():\n    import alibi", "door-alibi", "ekiben.packing -> alibi"),
        ("ekiben.explainers", "import xgboost", "door-frameworks", "ekiben.explainers -> xgboost"),
        ("ekiben.packing", "from sklearn import metrics", "door-frameworks", "ekiben.packing -> sklearn"),
        ("ekiben.packing", "import lightgbm", "door-frameworks", "ekiben.packing -> lightgbm"),
        ("ekiben.errors", "from ekiben import schema", "layers", "ekiben.errors -> ekiben.schema"),
        ("ekiben.routing", "from ekiben import packing", "layers", "ekiben.routing -> ekiben.packing"),
        ("ekiben.models", "from ekiben import explainers", "layers", "ekiben.models -> ekiben.explainers"),
        ("ekiben.utils", "", "layers", "ekiben.utils"),
    ],
)
def test_an_import_against_a_contract_breaks_it_by_name(sdk, module, line, contract, named):
    if not (sdk / "ekiben" / "explainers").exists():
        append(sdk, "ekiben.explainers", "")
    append(sdk, module, line)
    code, said = lint_imports(sdk)
    assert code != 0
    assert f"{next(known['name'] for known in CONTRACTS if known['id'] == contract)} BROKEN" in said
    assert named in said


def named_at_run_time(text):
    """Yield the top package of every `require("…")` or `import_module("…")`, which no import statement shows."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(
                func=ast.Name(id="require" | "import_module" | "__import__")
                | ast.Attribute(attr="require" | "import_module"),
                args=[ast.Constant(value=str() as module), *_],
            ):
                yield module.split(".")[0]


def is_door(module, library):
    return any(module == door or module.startswith(f"{door}.") for door in DOORS[library])


def module_of(file):
    return ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def test_a_library_that_is_required_by_name_enters_by_its_door_too():
    through_walls = {
        f"{module} -> {library}"
        for file in PACKAGE.rglob("*.py")
        for module in [module_of(file)]
        for library in named_at_run_time(file.read_text())
        if library in DOORS and not is_door(module, library)
    }
    assert through_walls == set()


def test_a_library_required_by_name_is_seen():
    text = (
        "def late():\n    require('mlflow.sklearn', to='log')\n    importlib.import_module('alibi')\n    require(name)"
    )
    assert list(named_at_run_time(text)) == ["mlflow", "alibi"]


# ── the public names

NAMES = getattr(ekiben, "__all__", [])


def test_the_public_names_are_few_and_sorted():
    assert len(NAMES) <= 32
    assert list(NAMES) == sorted(set(NAMES))


def test_every_public_name_resolves_and_says_what_it_is():
    said = {name: getattr(ekiben, name).__doc__ or "" for name in NAMES}
    # a dataclass without a docstring is given its own signature for one
    assert {name for name, words in said.items() if not words or words.startswith(f"{name}(")} == set()
    assert set(NAMES) <= set(dir(ekiben))


# ── what the repository holds


def tracked():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name]
    return [file for file in files if file.is_file()]


def lines_that_match(pattern):
    found = re.compile(pattern.encode())
    return {
        f"{file.relative_to(ROOT)}:{number}: {line[:200].decode(errors='replace').strip()}"
        for file in tracked()
        if b"\0" not in (content := file.read_bytes())
        for number, line in enumerate(content.splitlines(), start=1)
        if found.search(line)
    }


# Written in parts, so that this file does not hold what it looks for.
REGISTRIES = "|".join(
    rf"\b{re.escape(name)}\.{end}\b"
    for end, names in {
        "com": ("npmjs", "yarnpkg", "archive.ubuntu"),
        "io": ("crates",),
        "org": ("pypi", "pythonhosted", "npmjs", "anaconda", "deb.debian", "proxy.golang", "maven"),
    }.items()
    for name in names
)
# The home of the user whom BentoML makes in its images is the same on every machine.
PLACES = r"(?<![\w.)}*-])/(?:root/|work/|Users/|home/(?!bentoml\b)[a-z_])"


def test_no_file_names_a_package_registry():
    assert lines_that_match(REGISTRIES) == set()


def test_no_file_names_a_place_on_a_machine():
    assert lines_that_match(PLACES) == set()


@pytest.mark.parametrize(
    ("pattern", "parts", "found"),
    [
        (REGISTRIES, ("--index", "-url https://", "pypi", ".org/simple"), True),
        (REGISTRIES, ("https://files.", "pythonhosted", ".org/x.whl"), True),
        (REGISTRIES, ("https://mlflow", ".org"), False),
        (PLACES, ("cd ", "/root", "/project"), True),
        (PLACES, ("sqlite:////", "work", "/mlflow.db"), True),
        (PLACES, ("'", "/home", "/alice/data.csv'"), True),
        (PLACES, ("/home/bentoml/bento",), False),
        (PLACES, ("docs/work/page.md, $(CURDIR)/", "work/"), False),
    ],
)
def test_what_no_file_may_hold_is_recognised(pattern, parts, found):
    assert bool(re.search(pattern, "".join(parts))) is found


def test_notebooks_are_stored_without_what_they_printed():
    printed = {
        f"{file.relative_to(ROOT)}, cell {number}"
        for file in tracked()
        if file.suffix == ".ipynb"
        for number, cell in enumerate(json.loads(file.read_text())["cells"])
        if cell.get("outputs") or cell.get("execution_count")
    }
    assert printed == set()


def test_no_file_is_large():
    large = {str(file.relative_to(ROOT)) for file in tracked() if file.stat().st_size > MEGABYTE}
    assert large - {"requirements.lock"} == set()
