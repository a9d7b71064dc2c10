"""A bento's environment: the versions in which it was proved, ekiben's own wheel, and no address of an index."""

import json
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import ekiben
from ekiben import locking
from ekiben.errors import SpecError

NEEDED = ("scikit-learn==1.0", "skops==1.0", "xgboost==1.0")


@pytest.fixture(scope="module")
def lines():
    return locking.requirements(NEEDED).splitlines()


def names(lines):
    return [line.partition("==")[0] for line in lines if "==" in line]


def test_every_requirement_is_locked_to_the_version_that_is_installed_here(lines):
    head, wheel, *locked = lines
    assert head.startswith("# Locked for Python 3.")
    assert wheel == f"./wheels/{locking.wheel_name()}"
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]*==\S+", line) for line in locked)
    assert names(locked) == sorted(names(locked), key=lambda name: name.replace("xgboost-cpu", "xgboost"))
    for line in locked:
        name, _, number = line.partition("==")
        assert number == version({"xgboost-cpu": "xgboost"}.get(name, name)), line


def test_what_ekiben_and_the_arms_need_is_there(lines):
    assert {"bentoml", "httpx", "msgspec", "numpy", "pandas", "pydantic", "scikit-learn", "scipy", "skops"} <= set(
        names(lines)
    )
    assert "xgboost-cpu" in names(lines)


def test_what_only_a_training_machine_needs_is_not(lines):
    unwanted = r"^(xgboost|nvidia-nccl.*|mlflow.*|alibi|jupyterlab|ipywidgets|matplotlib|pytest|hypothesis|ruff|spacy|ekiben)=="
    assert [line for line in lines if re.match(unwanted, line)] == []


def test_no_line_names_an_index_or_a_place(lines):
    assert [line for line in lines if re.search(r"://|--|@|^/", line)] == []


def test_an_arm_s_libraries_come_only_when_it_needs_them():
    assert {"scikit-learn", "xgboost-cpu", "skops"}.isdisjoint(names(locking.requirements([]).splitlines()))


def test_alibi_comes_without_the_text_stack_that_no_table_needs():
    found = names(locking.requirements(["alibi"]).splitlines())
    assert "alibi" in found
    assert {"spacy", "blis", "transformers"}.isdisjoint(found)
    assert "override-dependencies" in locking.overrides(["alibi==0.9.4"])
    assert locking.overrides(NEEDED) is None


def test_a_requirement_that_is_not_installed_is_refused():
    words = "A service's requirements must be installed here. no-such-thing is not. Run: pip install no-such-thing"
    with pytest.raises(SpecError, match=re.escape(words)):
        locking.requirements(["no-such-thing"])


# ── the wheel


def test_the_wheel_is_the_same_bytes_for_the_same_code(tmp_path):
    first, second = (locking.write_wheel(tmp_path / name) for name in ("a", "b"))
    assert first.name == locking.wheel_name()
    assert first.read_bytes() == second.read_bytes()


def test_the_wheel_holds_the_code_that_runs_here_and_a_record_of_it(tmp_path):
    root = Path(ekiben.__file__).parent
    with zipfile.ZipFile(locking.write_wheel(tmp_path)) as wheel:
        held = set(wheel.namelist())
        record = wheel.read(f"ekiben-{ekiben.__version__}.dist-info/RECORD").decode().splitlines()
        assert wheel.read("ekiben/schema.py") == (root / "schema.py").read_bytes()
        assert wheel.testzip() is None
    sources = {f"ekiben/{path.relative_to(root).as_posix()}" for path in root.rglob("*.py")}
    assert sources <= held
    assert {"ekiben/py.typed", "ekiben/templates/service.py.txt"} <= held
    assert not [name for name in held if name.endswith(".pyc") or "__pycache__" in name or "cache" in name]
    assert {line.partition(",")[0] for line in record} == held


def test_an_older_wheel_gives_way(tmp_path):
    (tmp_path / "ekiben-0.0.1-py3-none-any.whl").write_text("old")
    (tmp_path / "other-1.0-py3-none-any.whl").write_text("kept")
    locking.write_wheel(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [locking.wheel_name(), "other-1.0-py3-none-any.whl"]


@pytest.mark.slow
def test_the_wheel_installs_alone_into_a_fresh_environment_and_is_imported_from_there(tmp_path):
    wheel = locking.write_wheel(tmp_path / "wheels")
    uv = Path(sys.executable).with_name("uv")
    python = tmp_path / "venv" / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    settings = {"check": True, "capture_output": True, "text": True, "cwd": tmp_path, "env": environment}
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"], **settings)
    subprocess.run([uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, wheel], **settings)
    told = "import ekiben, json; print(json.dumps([ekiben.__file__, ekiben.__version__, len(ekiben.__all__)]))"
    place, number, count = json.loads(subprocess.run([python, "-c", told], **settings).stdout)
    assert Path(place).is_relative_to(tmp_path / "venv")
    assert (number, count) == (ekiben.__version__, len(ekiben.__all__))
    assert (tmp_path / "venv" / "bin" / "ekiben").is_file()
