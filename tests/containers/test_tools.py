"""What runs while an image is built: wheels unpacked, and bases stripped."""

import ast
import base64
import hashlib
import json
import marshal
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path
from types import CodeType

import pytest

from ekiben.containers import bases, containerizing, context, engines, layouts, probes, wheels
from ekiben.containers.images import Image, Ran
from ekiben.containers.tools import install, precompile, strip
from ekiben.containers.trying import running_image
from ekiben.containers.wheels import Locked
from ekiben.errors import BuildError, IntegrityError, SpecError


def wheel(folder, name="thing", version="1.0", files=None, needs=()):
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    told = "".join(f"Requires-Dist: {line}\n" for line in needs)
    every = {f"{name}/__init__.py": "ONE = 1\n", f"{name}-{version}.dist-info/METADATA": f"Name: {name}\n{told}"}
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in {**every, **(files or {})}.items():
            archive.writestr(inner, text)
    return path


def requirement(path):
    return f"{path.name} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_wheels_are_unpacked_to_the_same_bytes_wherever_that_is_done(tmp_path):
    path = wheel(tmp_path / "wheels", files={"thing/tests/test_a.py": "", "thing/a.pyi": "", "thing/b.py": "b = 2\n"})
    (tmp_path / "requirements.txt").write_text("# what is installed\n" + requirement(path))
    for place in ("here", "there"):
        install.main(str(path.parent), str(tmp_path / "requirements.txt"), str(tmp_path / place))
    found = contents(tmp_path / "here")
    assert found == contents(tmp_path / "there")
    assert "thing/b.py" in found
    assert any(name.startswith("thing/__pycache__/b.") for name in found)
    assert not any("tests" in name or name.endswith(".pyi") for name in found)


def test_of_a_folder_of_tests_stays_what_a_module_outside_imports(tmp_path):
    files = {
        "thing/used.py": "from thing.tests.helpers import ONE\n",
        "thing/tests/__init__.py": "",
        "thing/tests/helpers.py": "ONE = 1\n",
        "thing/tests/test_used.py": "import thing.tests.other\n",
        "thing/tests/other.py": "",
    }
    path = wheel(tmp_path / "wheels", files=files)
    (tmp_path / "requirements.txt").write_text(requirement(path))
    install.main(str(path.parent), str(tmp_path / "requirements.txt"), str(tmp_path / "site"))
    assert {each.name for each in (tmp_path / "site/thing/tests").glob("*.py")} == {"__init__.py", "helpers.py"}
    subprocess.run([sys.executable, "-c", "import thing.used"], cwd=tmp_path / "site", check=True)


def test_a_stub_that_a_package_reads_when_it_is_imported_stays(tmp_path):
    files = {
        "thing/lazy/__init__.py": "import lazy_loader\n\nstub = lazy_loader.attach_stub(__name__, __file__)\n",
        "thing/lazy/__init__.pyi": "from .a import A\n",
        "thing/a.pyi": "",
    }
    path = wheel(tmp_path / "wheels", files=files)
    (tmp_path / "requirements.txt").write_text(requirement(path))
    install.main(str(path.parent), str(tmp_path / "requirements.txt"), str(tmp_path / "site"))
    assert [each.parent.name for each in (tmp_path / "site").rglob("*.pyi")] == ["lazy"]


def test_a_large_library_is_without_its_words_and_is_otherwise_the_same(tmp_path):
    source = '"""Words."""\nfrom __future__ import annotations\n\n# why\ndef half(x: int) -> float:\n    """Words,\n    more."""\n    return x / 2\n'
    path = wheel(tmp_path / "wheels", "scipy", files={"scipy/__init__.py": source})
    (tmp_path / "requirements.txt").write_text(requirement(path))
    for place in ("here", "there"):
        install.main(str(path.parent), str(tmp_path / "requirements.txt"), str(tmp_path / place))
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    left = (tmp_path / "here/scipy/__init__.py").read_text()
    assert "ords" not in left
    assert left.splitlines()[7] == "    return x / 2"  # where tracebacks show it
    assert "left documentation strings and comments out" in left.splitlines()[-1]
    program = "import scipy; print(repr(scipy.__doc__), repr(scipy.half.__doc__), scipy.half(3), scipy.half.__code__.co_firstlineno)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path / "here", capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["''", "''", "1.5", "5"]


@pytest.mark.parametrize(
    "source",
    [
        b'"""Copyright of somebody."""\nx = 1\n',
        b"# Copyright of somebody.\n# All rights.\nx = 1\n",
        b'x = """\n# no comment\n"""\n',
        b'def f():\n    """Two\n    lines."""; x = 1\n',  # its lines could not stay where they are
        b'# -*- coding: latin-1 -*-\ndef f():\n    """W\xf6rds."""\n',
    ],
)
def test_a_source_stays_whole_where_a_licence_or_its_code_asks_for_that(source):
    left, code = precompile.without_words(source, "x.py")
    assert left == source
    assert code.co_filename == "x.py"


def test_the_statements_of_a_source_without_words_stay_in_their_lines(tmp_path):
    shutil.copytree(Path(json.__file__).parent, tmp_path / "json")
    install.precompile(tmp_path, "/app", ["json"])
    for path in sorted(Path(json.__file__).parent.glob("*.py")):
        whole, left = path.read_bytes(), (tmp_path / "json" / path.name).read_bytes()
        assert b"JSON ve" not in left  # words of its documentation
        assert [type(each) for each in statements(left)] == [type(each) for each in statements(whole)]
        assert [each.lineno for each in statements(left)] == [each.lineno for each in statements(whole)]


def test_a_link_that_leads_out_of_an_images_folder_is_neither_compiled_nor_followed(tmp_path):
    outside, inside = tmp_path / "outside.py", tmp_path / "made" / "inside"
    inside.mkdir(parents=True)
    outside.write_text("# of the machine that builds\n")
    (inside / "link.py").symlink_to(outside)
    (inside / "own.py").write_text("# of the image\n")
    install.precompile(tmp_path / "made", "/app", ["inside"])
    assert outside.read_text() == "# of the machine that builds\n"
    assert "of the image" not in (inside / "own.py").read_text()
    assert [path.name.partition(".")[0] for path in (inside / "__pycache__").iterdir()] == ["own"]


def statements(source):
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]


def test_what_was_left_out_or_shortened_is_told_by_no_record(tmp_path):
    stale = "".join(f"{name},sha256=none,1\n" for name in ("thing/__init__.py", "thing/tests/test_a.py", "thing/b.pyi"))
    files = {
        "thing/tests/test_a.py": "",
        "thing/b.pyi": "",
        "thing-1.0.dist-info/RECORD": f"{stale}thing-1.0.dist-info/RECORD,,\n",
    }
    path = wheel(tmp_path / "wheels", files=files)
    (tmp_path / "requirements.txt").write_text(requirement(path))
    install.main(str(path.parent), str(tmp_path / "requirements.txt"), str(tmp_path / "site"))
    (one,) = distributions(path=[str(tmp_path / "site")])
    assert [str(each) for each in one.files] == ["thing/__init__.py", "thing-1.0.dist-info/RECORD"]
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"ONE = 1\n").digest()).decode().rstrip("=")
    assert (one.files[0].hash.value, one.files[0].size) == (digest, 8)


def test_what_is_compiled_knows_its_lines_and_not_their_columns(tmp_path):
    path = wheel(tmp_path / "wheels", files={"thing/halves.py": "def half(x):\n    return x / 2\n"})
    (tmp_path / "requirements.txt").write_text(requirement(path))
    install.main(str(path.parent), str(tmp_path / "requirements.txt"), str(tmp_path / "site"))
    library = tmp_path / "root/usr/lib/python3.11"
    library.mkdir(parents=True)
    (library / "halves.py").write_text("def half(x):\n    return x / 2\n")
    strip.main(str(tmp_path / "root"), str(tmp_path / "out"))
    for folder in (tmp_path / "site/thing", tmp_path / "out/usr/lib/python3.11"):
        (compiled,) = folder.glob("__pycache__/halves.*.pyc")
        (half,) = (each for each in marshal.loads(compiled.read_bytes()[16:]).co_consts if isinstance(each, CodeType))
        assert [each for *_, each in half.co_positions()] == [None] * len(list(half.co_positions()))
        assert {line for *_, line in half.co_lines() if line} == {1, 2}


def test_a_library_of_commands_goes_unless_what_stays_is_linked_with_it(tmp_path):
    folder = tmp_path / "root/usr/lib/x86_64-linux-gnu"
    folder.mkdir(parents=True)
    linked = {
        "libzstd": (),
        "libtirpc": ("libkrb5.so.1",),
        "libkrb5": (),
        "libwanted": ("libzstd.so.1",),
        "libkeyutils": (),
    }
    for name, others in linked.items():
        told = b"\x7fELF\0" + b"".join(b"%s\0" % other.encode() for other in others)
        (folder / f"{name}.so.1.2").write_bytes(told)
        (folder / f"{name}.so.1").symlink_to(f"{name}.so.1.2")
    strip.main(str(tmp_path / "root"), str(tmp_path / "out"))
    found = {path.name for path in (tmp_path / "out/usr/lib/x86_64-linux-gnu").iterdir()}
    assert found == {"libzstd.so.1", "libzstd.so.1.2", "libwanted.so.1", "libwanted.so.1.2"}


IMPORTED = """
import importlib, io, json, pkgutil, sys, warnings
from contextlib import redirect_stderr, redirect_stdout
warnings.simplefilter("ignore")
sys.dont_write_bytecode = True
found = {}
def take(name):
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            importlib.import_module(name)
        found[name] = "imported"
    except BaseException as reason:
        found[name] = type(reason).__name__
for name in sys.argv[1:]:
    take(name)
    for each in pkgutil.walk_packages(getattr(sys.modules.get(name), "__path__", []), name + ".", onerror=lambda _: None):
        if not each.name.endswith("__main__"):
            take(each.name)
print(json.dumps(found))
"""
# What is asked for from outside an image alone, and needs what is left out.
OUTSIDE = {"ekiben.exporting", "ekiben.verifying"}


@pytest.mark.long
def test_every_module_of_an_image_is_imported_as_in_its_wheels(tag, cache, tmp_path):
    told = context.write(tag, tmp_path / "context", base="debian", lean=False)
    site, whole = tmp_path / "site", tmp_path / "whole"
    install.main(str(told.folder / "wheels"), str(told.folder / "requirements.txt"), str(site))
    for each in told.wheels:
        with zipfile.ZipFile(each.file) as packed:
            packed.extractall(whole)
    names = sorted(path.stem for path in site.iterdir() if path.stem.isidentifier() and path.suffix in ("", ".py"))
    found = []
    for place in (site, whole):
        command = [sys.executable, "-S", "-c", IMPORTED, *names]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(place)})
        found.append(json.loads(done.stdout.splitlines()[-1]))
    odd = {name for name, what in found[0].items() if what != found[1].get(name)}
    assert odd == OUTSIDE
    assert list(found[0].values()).count("imported") > 3000


def test_a_wheel_of_other_bytes_is_not_unpacked(tmp_path):
    path = wheel(tmp_path / "wheels")
    line = requirement(path)
    path.write_bytes(path.read_bytes() + b"x")
    (tmp_path / "requirements.txt").write_text(line)
    with pytest.raises(SystemExit, match="get the wheels again"):
        install.main(str(path.parent), str(tmp_path / "requirements.txt"), str(tmp_path / "site"))


def test_a_wheel_stays_below_its_folder(tmp_path):
    path = wheel(tmp_path / "wheels", files={"../outside.py": "x = 1\n"})
    (tmp_path / "requirements.txt").write_text(requirement(path))
    with pytest.raises(SystemExit, match="must stay below its folder"):
        install.main(str(path.parent), str(tmp_path / "requirements.txt"), str(tmp_path / "site"))
    assert not (tmp_path / "outside.py").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ELF")
def test_a_library_without_its_sections_is_smaller_and_still_loads(tmp_path):
    import msgspec._core

    whole = Path(msgspec._core.__file__).read_bytes()
    (tmp_path / "shed.so").write_bytes(install.shed(whole))
    assert len(install.shed(whole)) < len(whole)
    loads = "import ctypes, sys; ctypes.PyDLL(sys.argv[1]).PyInit__core"
    subprocess.run([sys.executable, "-c", loads, tmp_path / "shed.so"], check=True)


def test_of_a_base_python_stays_and_no_other_command(tmp_path):
    root = tmp_path / "root"
    for name in (
        "usr/bin/dash",
        "usr/bin/python3.11",
        "usr/bin/apt-get",
        "usr/lib/apt/x",
        "etc/apt/sources.list",
        "etc/passwd",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    (root / "etc/shadow").write_text("")
    (root / "bin").symlink_to("usr/bin")
    (root / "usr/lib/python3.11/ensurepip").mkdir(parents=True)
    (root / "usr/lib/python3.11/ensurepip/x.py").write_text("")
    (root / "usr/lib/python3.11/os.py").write_text("x = 1\n")
    (root / "usr/bin/python3.11").chmod(0o4755)
    strip.main(str(root), str(tmp_path / "out"))
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert {name for name in found if "__pycache__" not in name} == {
        "etc/passwd",
        "usr/bin/python3.11",
        "usr/lib/python3.11/os.py",
    }
    assert (tmp_path / "out" / "usr/bin/python3.11").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "out" / "bin").is_symlink()


def test_a_base_has_the_same_modes_whatever_the_umask_takes_away(tmp_path):
    root = tmp_path / "root"
    for name in ("etc/passwd", "usr/bin/python3.11", "usr/lib/python3.11/os.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x = 1\n")
    (root / "usr/bin/python3.11").chmod(0o755)
    modes = []
    for umask in (0o022, 0o077):
        before = os.umask(umask)
        try:
            (root / "etc/passwd").chmod(0o666 & ~umask)
            (root / "usr").chmod(0o777 & ~umask)
            out, tar = tmp_path / f"out-{umask}", tmp_path / f"{umask}.tar"
            strip.main(str(root), str(out))
            bases._pack(root, tar)
        finally:
            os.umask(before)
        with tarfile.open(tar) as packed:
            in_tar = {entry.name: entry.mode for entry in packed}
        modes.append((in_tar, {path.relative_to(out): path.stat().st_mode & 0o7777 for path in out.rglob("*")}))
        assert set(in_tar.values()) == {0o755, 0o644}
    assert modes[0] == modes[1]
    assert modes[0][1][Path("tmp")] == 0o1777


def test_where_no_mirror_is_reached_a_base_of_another_machine_is_pointed_to(tmp_path, monkeypatch):
    made = tmp_path / "bin" / "mmdebstrap"
    made.parent.mkdir()
    made.write_text("#!/bin/sh\necho 'E: no mirror' >&2\nexit 1\n")
    made.chmod(0o755)
    monkeypatch.setenv("PATH", f"{made.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("EKIBEN_CACHE", str(tmp_path / "cache"))
    with pytest.raises(BuildError, match=r"(?s)It refused:\nE: no mirror\n.*'bases'.*EKIBEN_CACHE"):
        bases.make()
    assert not [*(tmp_path / "cache" / "bases").iterdir()]


def test_wheels_are_found_by_name_version_and_digest(tmp_path, cache):
    good, other = wheel(tmp_path / "wheels"), wheel(tmp_path / "others", version="2.0")
    digest = hashlib.sha256(good.read_bytes()).hexdigest()
    line = Locked(name="thing", version="1.0", hashes=frozenset([digest]))
    found = wheels.gather([line], [good.parent, other.parent], python="3.11")
    assert (found["thing"].file, found["thing"].sha256) == (good, digest)


def test_a_folder_of_wheels_that_is_not_there_is_refused(tmp_path, cache):
    with pytest.raises(
        SpecError, match=re.escape(f"The 'wheels' must be folders. There is none at '{tmp_path / 'no'}'.")
    ):
        wheels.gather([], [tmp_path, tmp_path / "no"], python="3.11")


def test_a_wheel_that_cannot_be_had_is_named_with_no_address(tmp_path, monkeypatch):
    monkeypatch.setenv("EKIBEN_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    line = Locked(name="no-such-thing", version="9.9", hashes=frozenset())
    with pytest.raises(BuildError, match=r"There is none of no-such-thing==9\.9 for Python 3\.11") as told:
        wheels.gather([line], [], python="3.11")
    assert "://" not in str(told.value)


def test_what_a_wheel_needs_is_read_for_the_image(tmp_path):
    told = ["numpy>=1", 'uvloop; sys_platform != "win32"', 'pywin32; sys_platform == "win32"', 'pytest; extra == "dev"']
    assert wheels.needs(wheel(tmp_path / "wheels", needs=told), "3.11") == ("numpy", "uvloop")


def test_the_smallest_program_ends_with_0(tmp_path):
    probes.write(tmp_path)
    assert subprocess.run([tmp_path / "end"]).returncode == 0


def test_an_unknown_engine_is_refused():
    with pytest.raises(SpecError, match="must be one of docker, podman, nerdctl"):
        engines.find("rocket")


def test_what_is_still_to_be_linked_or_was_cut_short_is_installed_as_it_is():
    head = install.ELF + bytes(10) + (1).to_bytes(2, "little")
    for data in (head.ljust(128, b"\0"), install.ELF, install.ELF + bytes(10) + b"\x03\0" + b"\xff" * 100):
        assert install.shed(data) == data


def test_a_module_that_is_nested_deeper_than_python_reads_stays_as_it_is(tmp_path):
    (tmp_path / "deep.py").write_text("x = " + " + ".join(["1.5 * y"] * 100_000))
    precompile.compile_one(str(tmp_path / "deep.py"), str(tmp_path), "/app/site", frozenset())
    assert [*tmp_path.iterdir()] == [tmp_path / "deep.py"]


def test_two_builds_that_make_one_base_at_once_do_not_mix_their_bytes(tmp_path, monkeypatch):
    (tmp_path / "root").mkdir()
    for name in ("a", "b"):
        (tmp_path / "root" / name).write_text(name)
    target, even, beside = tmp_path / "cache" / "base.tar", bases._even, []
    target.parent.mkdir()

    def while_another_builds(entry):
        if not beside:
            beside.append(entry)
            bases._pack(tmp_path / "root", target)
        return even(entry)

    monkeypatch.setattr(bases, "_even", while_another_builds)
    bases._pack(tmp_path / "root", target)
    with tarfile.open(target) as packed:
        assert packed.getnames() == ["a", "b"]
    assert [*target.parent.iterdir()] == [target]


def test_a_version_that_is_locked_in_another_spelling_is_found(tmp_path):
    path = wheel(tmp_path / "wheels", version="2023.3.1")
    assert wheels.in_folders(wheels.locked(["thing==2023.03.1"]), [path.parent], "3.11")["thing"].file == path


def test_a_context_that_was_refused_leaves_nothing_that_stops_the_next(tmp_path, monkeypatch):
    def refuse(*_):
        (tmp_path / "context" / "models").mkdir()
        (tmp_path / "context" / "half").write_text("x")
        raise BuildError("A wheel cannot be had.")

    monkeypatch.setattr(context.storing, "unpack_bento", refuse)
    for _ in range(2):
        with pytest.raises(BuildError, match="cannot be had"):
            context.write("churn:1", tmp_path / "context")
    assert [*(tmp_path / "context").iterdir()] == []


ENGINE = """#!/bin/sh
echo "$@" >> {log}
case "$1" in
  {fails}) exit 1 ;;
  image) echo sha256:ab ;;
esac
"""


@pytest.fixture
def scripted(tmp_path):
    """Give a function: a command → an engine that writes down what it is asked, and refuses that one."""

    def write(fails):
        script, log = tmp_path / "engine", tmp_path / "log"
        script.write_text(ENGINE.format(log=log, fails=fails))
        script.chmod(0o755)
        return engines.Engine(name=str(script)), lambda: log.read_text().splitlines()

    return write


def test_an_image_that_could_not_be_made_even_does_not_stay_under_its_name(scripted, tmp_path):
    engine, told = scripted("save")
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Containerfile").write_text("FROM scratch\n")
    with pytest.raises(BuildError, match="save must succeed"):
        engine.build(tmp_path / "context", "churn:1", epoch=0, arguments={})
    assert told()[-1] == "rmi churn:1"


def test_a_container_that_was_created_and_not_started_is_removed(scripted):
    engine, told = scripted("run")
    with pytest.raises(BuildError, match="run must succeed"), running_image(engine, "churn:1"):
        pytest.fail("it runs")
    name = re.search(r"--name=(\S+)", told()[0])[1]
    assert told()[1:] == [f"rm -f {name}"]


def test_what_an_engine_says_need_not_be_utf_8(tmp_path):
    (tmp_path / "engine").write_text("#!/bin/sh\nprintf 'caf\\351'\n")
    (tmp_path / "engine").chmod(0o755)
    assert engines.Engine(name=str(tmp_path / "engine")).call("logs").stdout == "caf\ufffd"


def test_a_layout_that_could_not_be_written_leaves_the_one_that_was_there(tmp_path, monkeypatch):
    def refuse(*_):
        raise BuildError("Without an engine, an image is written by the Python that it holds.")

    monkeypatch.setattr(layouts, "_parts", refuse)
    there = tmp_path / "there.oci"
    there.mkdir()
    (there / "oci-layout").write_text("{}")
    for to in (there, tmp_path / "new.oci"):
        with pytest.raises(BuildError, match="by the Python that it holds"):
            layouts.write(None, to, "churn:1")
    assert [*tmp_path.rglob("*")] == [there, there / "oci-layout"]


def test_a_layout_that_is_not_accounted_for_does_not_stay(tmp_path):
    (tmp_path / "made.oci").mkdir()
    with pytest.raises(IntegrityError), containerizing._gone_if_refused(tmp_path / "made.oci"):
        raise IntegrityError("A layer of the image was changed.")
    assert [*tmp_path.iterdir()] == []


def test_an_image_that_answered_no_row_is_not_proved():
    ran = Ran(start_s=1.0, memory_mb=90.0, n_rows=0, exact=(), stop_s=0.5)
    made = Image(ref="churn:1", digest="sha256:ab", tag="churn:1", engine="podman", n_bytes=1, ran=ran)
    assert not made.is_proved
    assert "no row: none fits every arm" in str(made)
    assert replace(made, ran=replace(ran, n_rows=1)).is_proved
