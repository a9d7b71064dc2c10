"""A bento's environment: the versions in which it was proved, ekiben's own wheel, and no address of an index."""

import hashlib
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
from planes import Quiet, http_server

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
        assert wheel.read("ekiben/errors.py") == (root / "errors.py").read_bytes()
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


def test_who_builds_beside_another_finds_a_whole_wheel(tmp_path, monkeypatch):
    whole = locking.write_wheel(tmp_path).read_bytes()
    entry, found = locking._entry, []

    def while_another_reads(name):
        found.append((tmp_path / locking.wheel_name()).read_bytes() == whole)
        return entry(name)

    monkeypatch.setattr(locking, "_entry", while_another_reads)
    locking.write_wheel(tmp_path)
    assert all(found)
    assert found


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


# ── from the model to the requirements


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Give a folder of the path, for distributions that a test installs."""
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


def install(place, name, needs=(), direct_url=None):
    info = place / f"{name}-1.0.dist-info"
    (place / name).mkdir()
    info.mkdir()
    (place / name / "__init__.py").write_text("")
    (info / "RECORD").write_text(f"{name}/__init__.py,sha256=abc,0\n")
    requires = "".join(f"Requires-Dist: {line}\n" for line in needs)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nProvides-Extra: more\n{requires}"
    )
    if direct_url is not None:
        (info / "direct_url.json").write_text(json.dumps(direct_url))


def test_what_brings_the_model_s_modules_is_pinned_beside_what_the_adapter_names(place):
    install(place, "encoders", needs=["numpy"])
    found = locking.pins(["scikit-learn", "skops"], ["encoders", "sklearn", "numpy", "json"])
    assert found == [f"scikit-learn=={version('scikit-learn')}", f"skops=={version('skops')}", "encoders==1.0"]


def test_an_extra_of_a_requirement_is_locked_too(place):
    install(place, "base", needs=["addition ; extra == 'more'"])
    install(place, "addition")
    assert "addition" not in names(locking.requirements(["base==1.0"]).splitlines())
    assert {"base", "addition"} <= set(names(locking.requirements(["base[more]==1.0"]).splitlines()))


@pytest.mark.parametrize("told", [{"dir_info": {"editable": True}}, {"dir_info": {}}, {"archive_info": {}}])
def test_what_no_index_has_is_refused_before_an_image_is_built(place, told):
    install(place, "mine", direct_url={"url": "file:///a/secret/place", **told})
    for lock in (lambda: locking.requirements(["mine"]), lambda: locking.pins([], ["mine"])):
        with pytest.raises(
            SpecError, match=re.escape("What a service needs must come from an index. mine is installed from")
        ) as no:
            lock()
        assert "secret" not in str(no.value)


def test_what_is_needed_by_something_else_and_is_from_no_index_is_told_when_a_model_is_packed(place):
    install(place, "outer", needs=["inner"])
    install(place, "inner", direct_url={"url": "file:///a/secret/place", "dir_info": {}})
    assert locking.pins(["outer"], ["outer"]) == ["outer==1.0"]
    (words,) = locking.doubts(["outer"])
    assert words.startswith("inner is installed from a local folder; no image could install inner==1.0 from an index.")


def test_the_lean_one_of_two_that_are_alike_is_written_once():
    written = locking.pinned({"xgboost": "3.2.0", "xgboost-cpu": "3.2.0", "ekiben": "1", "numpy": "2.0"}, "3.11")
    assert written.splitlines()[2:] == ["numpy==2.0", "xgboost-cpu==3.2.0"]


def test_a_service_for_graphics_cards_takes_xgboost_itself_with_what_it_needs_for_them():
    lean, full = (names(locking.requirements(["xgboost"], gpu=gpu).splitlines()) for gpu in (False, True))
    assert ("xgboost-cpu" in lean, "xgboost" in lean) == (True, False)
    assert ("xgboost-cpu" in full, "xgboost" in full) == (False, True)
    assert [name for name in full if name not in lean] == ["nvidia-nccl-cu12", "xgboost"]


def test_where_xgboost_is_installed_for_processors_alone_no_service_for_graphics_cards_is_locked(place):
    install(place, "xgboost-cpu")
    with pytest.raises(SpecError, match="With gpu = true, xgboost must be installed with its code for graphics cards"):
        locking.requirements(["xgboost-cpu"], gpu=True)


# ── digests


def wheel(folder, name):
    """Write a wheel as an index offers it, and give its digest."""
    file = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "")
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return hashlib.sha256(file.read_bytes()).hexdigest()


class Index(Quiet):
    """A package index of one distribution; every page needs the password."""

    folder: Path

    def do_GET(self):
        file = self.folder / Path(self.path).name
        if "authorization" not in self.headers:
            return self.answer(401, b"", headers={"www-authenticate": "Basic"})
        if file.suffix == ".whl" and file.is_file():
            return self.answer(200, file.read_bytes(), "application/octet-stream")
        digests = {each: hashlib.sha256(each.read_bytes()).hexdigest() for each in self.folder.glob("thing-*.whl")}
        links = "".join(f'<a href="/f/{each.name}#sha256={digest}">{each.name}</a>' for each, digest in digests.items())
        return self.answer(200 if "thing" in self.path else 404, links.encode(), "text/html")


@pytest.fixture
def service(tmp_path, monkeypatch):
    """Give a folder with ekiben's wheel and one requirement, and an index that offers it."""
    (tmp_path / "index").mkdir()
    (tmp_path / "service").mkdir()
    monkeypatch.setattr(Index, "folder", tmp_path / "index", raising=False)
    locking.write_wheel(tmp_path / "service" / "wheels")
    (tmp_path / "service" / "requirements.txt").write_text(locking.pinned({"thing": "1.0"}, "3.11"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    with http_server(Index) as address:
        monkeypatch.setenv("UV_DEFAULT_INDEX", address.replace("://", "://me:secret@") + "/simple")
        yield tmp_path / "service"


def test_every_requirement_has_the_digest_of_its_files_the_wheel_of_ekiben_too(service, tmp_path):
    digest = wheel(tmp_path / "index", "thing")
    assert locking.write_hashed(service)
    text = (service / locking.HASHED).read_text()
    ours = hashlib.sha256((service / "wheels" / locking.wheel_name()).read_bytes()).hexdigest()
    assert re.findall(r"^(\S+) \\\n +--hash=sha256:(\w+)$", text, re.MULTILINE) == [
        (f"./wheels/{locking.wheel_name()}", ours),
        ("thing==1.0", digest),
    ]
    assert not re.search(r"://|secret|127\.0\.0\.1|index-url", text)


def test_an_image_installs_with_the_digests_of_these_very_requirements(service, tmp_path):
    plain = locking.to_install(service)
    assert plain == [f"./wheels/{locking.wheel_name()}", "thing==1.0"]
    digest = wheel(tmp_path / "index", "thing")
    assert locking.write_hashed(service)
    assert f"thing==1.0 --hash=sha256:{digest}" in locking.to_install(service)
    assert len(locking.to_install(service)) == len(plain)
    (service / "requirements.txt").write_text(locking.pinned({"thing": "2.0"}, "3.11"))
    assert locking.to_install(service) == [f"./wheels/{locking.wheel_name()}", "thing==2.0"]


def test_another_file_than_the_one_that_was_locked_is_not_installed(service, tmp_path, monkeypatch):
    wheel(tmp_path / "index", "thing")
    assert locking.write_hashed(service)
    place = tmp_path / "venv"
    subprocess.run([locking.uv(), "venv", "-q", "--python", sys.executable, place], check=True)
    install = [locking.uv(), "pip", "install", "--require-hashes", "--no-deps", "-r", locking.HASHED]
    install += ["--python", place / "bin" / "python"]
    assert subprocess.run(install, cwd=service, capture_output=True).returncode == 0
    with zipfile.ZipFile(tmp_path / "index" / "thing-1.0-py3-none-any.whl", "a") as archive:
        archive.writestr("thing/added.py", "")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "another"))
    refused = subprocess.run([*install, "--reinstall"], cwd=service, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "hash" in refused.stderr.lower()


@pytest.mark.parametrize("how", ["nobody answers", "the version is not there", "no uv"])
def test_without_an_index_the_file_says_that_it_holds_no_digests(service, monkeypatch, how):
    if how == "nobody answers":
        monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    if how == "no uv":
        monkeypatch.setattr(locking, "uv", lambda: None)
    assert not locking.write_hashed(service)
    lines = (service / locking.HASHED).read_text().splitlines()
    assert lines[1].startswith("# No digests: no index gave them when this was written.")
    assert lines[2:] == (service / "requirements.txt").read_text().splitlines()[1:]


def test_digests_of_other_requirements_do_not_stay(service):
    (service / locking.HASHED).write_text("of yesterday")
    locking.write(service, [])
    assert not (service / locking.HASHED).exists()
