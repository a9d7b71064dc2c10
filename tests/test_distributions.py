"""Which installed distribution brings a module, what it needs, where it is from and what it holds."""

import json
import re
from importlib.metadata import distribution, packages_distributions

import pytest
from packaging.utils import canonicalize_name

from ekiben import distributions
from ekiben.distributions import closure, content, distributions_of, from_elsewhere
from ekiben.errors import SpecError


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Give a folder of the path, for distributions that a test installs."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(place, name, *files, needs=(), direct_url=None, record=True):
    """Install a distribution as an installer leaves it: its files, METADATA and RECORD."""
    info = place / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    for file in files:
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (place / file).write_text("")
    requires = "".join(f"Requires-Dist: {line}\n" for line in needs)
    extras = "".join(f"Provides-Extra: {extra}\n" for extra in sorted(set(re.findall(r"extra == '(\w+)'", requires))))
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{extras}{requires}")
    if record:
        lines = [f"{file},sha256=abc,0" for file in files]
        (info / "RECORD").write_text("\n".join([*lines, f"{info.name}/RECORD,,", f"../bin/{name},sha256=x,1", ""]))
    if direct_url is not None:
        (info / "direct_url.json").write_text(json.dumps(direct_url))
    return info


# ── what brings a module


@pytest.mark.parametrize(
    ("modules", "names"),
    [
        (["sklearn"], ("scikit-learn",)),
        (["PIL", "yaml", "dateutil"], ("pillow", "python-dateutil", "pyyaml")),
        (["json", "os.path", "builtins", "__main__", "ekiben.schema", "ekiben_code_0123456789ab.steps"], ()),
        (["google.protobuf.message"], ("protobuf",)),
        ([], ()),
    ],
)
def test_a_module_is_traced_to_its_distribution(modules, names):
    assert distributions_of(modules) == names


def test_every_module_of_this_environment_is_traced_as_python_itself_would():
    ours = distributions._tops()
    for module, names in packages_distributions().items():
        assert set(map(canonicalize_name, names)) <= set(ours[module]), module


def test_a_module_in_no_distribution_is_refused_by_name(place):
    (place / "helpers.py").write_text("")
    with pytest.raises(SpecError) as refusal:
        distributions_of(["helpers", "nowhere", "sklearn"])
    assert "'helpers' is a file of this machine" in str(refusal.value)
    assert "'nowhere' is not installed" in str(refusal.value)
    assert "sklearn" not in str(refusal.value)
    assert str(place) not in str(refusal.value)


def test_a_namespace_is_parted_among_those_that_share_it(place):
    install(place, "acme-io", "acme/io/__init__.py")
    install(place, "acme-ml", "acme/ml.py")
    assert distributions_of(["acme.ml"]) == ("acme-ml",)
    assert distributions_of(["acme.io.csv"]) == ("acme-io",)
    assert distributions_of(["acme"]) == ("acme-io", "acme-ml")


def test_of_two_with_one_import_name_the_leaner_is_taken(place):
    install(place, "xgboost-cpu", "xgboost/__init__.py")
    install(place, "xgboost", "xgboost/__init__.py")
    assert distributions_of(["xgboost"]) == ("xgboost-cpu",)


def test_the_lean_one_stands_for_the_full_one_where_it_alone_is_installed(monkeypatch):
    monkeypatch.setitem(distributions.STANDS_FOR, "no-such-xgboost", "xgboost")
    assert distributions.installed("no-such-xgboost").name == "xgboost"
    assert "xgboost" in closure(["no-such-xgboost"])


def test_what_is_installed_later_is_found(place):
    with pytest.raises(SpecError):
        distributions_of(["latecomer"])
    install(place, "late-comer", "latecomer.py")
    assert distributions_of(["latecomer"]) == ("late-comer",)


def test_a_distribution_of_the_old_form_is_found(place):
    info = place / "oldie-1.0.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Metadata-Version: 1.1\nName: oldie\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("oldmodule\n")
    assert distributions_of(["oldmodule"]) == ("oldie",)


# ── what it needs


def test_extras_that_are_asked_for_are_followed(place):
    install(place, "base", needs=["plain", "rich-one ; extra == 'more'"])
    for name in ("plain", "rich-one"):
        install(place, name)
    assert {"base", "plain"} <= closure(["base"]).keys()
    assert "rich-one" not in closure(["base"])
    assert "rich-one" in closure(["base[more]==1.0"])


def test_extras_that_ask_for_each_other_come_to_an_end(place):
    install(place, "ping", needs=["pong[a] ; extra == 'a'"])
    install(place, "pong", needs=["ping[a] ; extra == 'a'"])
    assert {"ping", "pong"} <= closure(["ping[a]"]).keys()


def test_what_is_missing_is_refused_or_left_out(place):
    install(place, "broken", needs=["not-installed-at-all"])
    with pytest.raises(SpecError, match="not-installed-at-all is not"):
        closure(["broken"])
    assert "broken" in closure(["broken"], missing_ok=True)


# ── what it is


def test_the_content_is_of_the_files_and_not_of_how_they_were_installed(place):
    info = install(place, "thing", "thing/__init__.py", "thing/a.py")
    before = content(distribution("thing"))
    (info / "RECORD").write_text(
        "thing/a.py,sha256=abc,0\nthing/__init__.py,sha256=abc,0\nthing/__pycache__/a.cpython-311.pyc,,\n"
        "../../bin/thing,sha256=of-another-place,9\nthing-1.0.dist-info/INSTALLER,sha256=pip,4\n"
    )
    assert content(distribution("thing")) == before
    (info / "RECORD").write_text("thing/a.py,sha256=abd,0\nthing/__init__.py,sha256=abc,0\n")
    assert content(distribution("thing")) != before


@pytest.mark.parametrize(
    ("direct_url", "words"),
    [
        ({"url": "file:///a/place", "dir_info": {}}, "thing is installed from a local folder;"),
        ({"url": "file:///a/place", "dir_info": {"editable": True}}, "thing is installed from a local folder;"),
        ({"url": "https://x", "vcs_info": {"vcs": "git", "commit_id": "1"}}, "thing is installed from a repository;"),
        ({"url": "file:///a/place/thing.whl", "archive_info": {}}, "thing is installed from an archive;"),
        (None, None),
    ],
)
def test_what_is_from_no_index_says_so_without_its_address(place, direct_url, words):
    install(place, "thing", direct_url=direct_url)
    told = from_elsewhere(distribution("thing"))
    assert told is None if words is None else told.startswith(words)
    assert told is None or ("a/place" not in told and "https" not in told)


def test_a_working_copy_is_told_from_a_stray_file(place, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "workingcopy.py").write_text("")
    (place / "working_copy.pth").write_text(str(project))
    install(place, "working-copy", direct_url={"url": project.as_uri(), "dir_info": {"editable": True}})
    import sys

    sys.path.append(str(project))
    try:
        with pytest.raises(SpecError, match="working-copy is installed from a local folder; no image could install"):
            distributions_of(["workingcopy"])
    finally:
        sys.path.remove(str(project))
