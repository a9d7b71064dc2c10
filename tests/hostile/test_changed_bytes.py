"""Whatever was changed in a folder is refused before anything is read from it."""

import json
import os
import random
import re
import shutil
import socket
from pathlib import Path

import pytest
import skops.io
import xgboost
from xgboost import XGBRegressor

import ekiben as ek
from ekiben import models, sealing
from ekiben.errors import EkibenError, IntegrityError

SEED = 20_261_122


@pytest.fixture(scope="module", params=["sklearn", "xgboost"])
def kept(request, champion, people, tmp_path_factory):
    """A folder with a package of each kind."""
    if request.param == "xgboost":
        rows = people[0][["age"]]
        champion = ek.pack(XGBRegressor(n_estimators=3).fit(rows, rows["age"]), name="trees", reference=rows)
    return champion.save(tmp_path_factory.mktemp("kept") / "package")


@pytest.fixture
def folder(kept, tmp_path):
    return Path(shutil.copytree(kept, tmp_path / "package"))


@pytest.fixture
def unread(monkeypatch):
    """Fail at once when anything is deserialised, however it is called."""

    def read(*_, **__):
        raise AssertionError("something was deserialised before its bytes were verified")

    for name in ("sklearn", "xgboost", "pickled"):
        monkeypatch.setattr(models.named(name), "load", read)
    for name in ("load", "loads", "get_untrusted_types"):
        monkeypatch.setattr(skops.io, name, read)
    monkeypatch.setattr(xgboost.XGBModel, "load_model", read)
    monkeypatch.setattr(xgboost.Booster, "load_model", read)


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flip_bits(folder, n_flips):
    """Flip single bits, each alone, spread over the files by their size and at least a few in each."""
    draw = random.Random(SEED)
    print("seed", SEED)
    files = files_of(folder)
    wholes = {path: path.read_bytes() for path in files}
    for i in range(n_flips):
        sizes = [len(whole) for whole in wholes.values()]
        path = files[i % len(files)] if i % 2 else draw.choices(files, sizes)[0]
        spoilt = bytearray(wholes[path])
        place = draw.randrange(len(spoilt))
        spoilt[place] ^= 1 << draw.randrange(8)
        path.write_bytes(spoilt)
        with pytest.raises(IntegrityError):
            ek.load(folder)
        path.write_bytes(wholes[path])


def test_any_of_three_hundred_flipped_bits_is_refused(folder, unread):
    flip_bits(folder, 150)  # of each kind


@pytest.mark.long
def test_any_of_ten_thousand_flipped_bits_is_refused(folder, unread):
    flip_bits(folder, 5000)  # of each kind


# ── files that come, go, and are no files


def add(folder):
    (folder / "model" / "__init__.py").write_text("")


def add_hidden(folder):
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("")


def add_code(folder):
    (folder / "code").mkdir()
    (folder / "code" / "notebook.py").write_text("")


def remove(folder):
    (folder / "examples.json").unlink()


def rename(folder):
    (folder / "examples.json").rename(folder / "example.json")


def rename_case(folder):
    (folder / "examples.json").rename(folder / "Examples.json")


def swap(folder):
    one, other = folder / "examples.json", folder / "reference" / "sample.json"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def truncate(folder):
    path = max((each for each in files_of(folder) if each.name != "package.json"), key=lambda path: path.stat().st_size)
    path.write_bytes(path.read_bytes()[:-1])


def empty(folder):
    (folder / "examples.json").write_bytes(b"")


def lengthen(folder):
    with (folder / "examples.json").open("a") as file:
        file.write("\n")


def link(folder):
    (folder / "examples.json").rename(folder.parent / "elsewhere")
    (folder / "examples.json").symlink_to(folder.parent / "elsewhere")


def link_a_folder(folder):
    (folder / "model").rename(folder.parent / "elsewhere")
    (folder / "model").symlink_to(folder.parent / "elsewhere")


def dangle(folder):
    (folder / "more.json").symlink_to(folder / "nowhere")


def link_to_root(folder):
    (folder / "more").symlink_to("/")


def link_the_manifest(folder):
    (folder / "package.json").rename(folder.parent / "elsewhere")
    (folder / "package.json").symlink_to(folder.parent / "elsewhere")


def link_the_signature(folder):
    (folder / "signature.json").symlink_to(folder / "examples.json")


def empty_folder(folder):
    (folder / "model" / "more").mkdir()


def folders_in_folders(folder):
    (folder / "a" / "b" / "c").mkdir(parents=True)


def fifo(folder):
    os.mkfifo(folder / "model" / "pipe")


def fifo_for_a_file(folder):
    (folder / "examples.json").unlink()
    os.mkfifo(folder / "examples.json")


def fifo_for_the_manifest(folder):
    (folder / "package.json").unlink()
    os.mkfifo(folder / "package.json")


def a_socket(folder):
    with socket.socket(socket.AF_UNIX) as made:
        before = Path.cwd()
        os.chdir(folder)
        made.bind("speaks")
        os.chdir(before)


def another_user_s(folder):
    (folder / "examples.json").chmod(0o4755)


def two_names_for_one(folder):
    (folder / "EXAMPLES.json").write_text("[]")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (add, "model/__init__.py was added"),
        (add_hidden, ".git/config was added"),
        (add_code, "code/notebook.py was added"),
        (remove, "examples.json is gone"),
        (rename, "examples.json is gone; example.json was added"),
        (rename_case, "examples.json is gone; Examples.json was added"),
        (swap, "examples.json was changed; reference/sample.json was changed"),
        (truncate, "was changed"),
        (empty, "examples.json was changed"),
        (lengthen, "examples.json was changed"),
        (link, "examples.json is a link"),
        (link_a_folder, "model is a link"),
        (dangle, "more.json is a link"),
        (link_to_root, "more is a link"),
        (link_the_manifest, "package.json of package is not what was packed: it is no plain file."),
        (link_the_signature, "signature.json is no plain file"),
        (empty_folder, "model/more is an empty folder"),
        (folders_in_folders, "a/b/c is an empty folder"),
        (fifo, "model/pipe is no plain file"),
        (fifo_for_a_file, "examples.json is no plain file"),
        (fifo_for_the_manifest, "package.json of package is not what was packed: it is no plain file."),
        (a_socket, "speaks is no plain file"),
        (another_user_s, "examples.json runs as another user"),
        (two_names_for_one, "'examples.json' and 'EXAMPLES.json' differ by case or accents alone"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_folder_that_is_not_what_was_packed_is_refused(folder, unread, spoil, words):
    spoil(folder)
    for read in (ek.load, ek.verify):
        with pytest.raises(IntegrityError, match=re.escape(words)):
            read(folder)


def test_a_hard_link_is_a_file_like_any(folder):
    (folder / "examples.json").rename(folder.parent / "elsewhere")
    os.link(folder.parent / "elsewhere", folder / "examples.json")
    assert ek.load(folder).name


def test_too_many_files_are_refused_before_they_are_read(folder, unread, monkeypatch):
    monkeypatch.setattr(sealing, "MOST_FILES", 5)
    monkeypatch.setitem(sealing.SHAPE, "files", lambda value: True)
    with pytest.raises(IntegrityError, match=re.escape("A package must hold at most 5 files")):
        ek.load(folder)


def test_folders_in_folders_without_end_are_refused(folder, unread):
    (folder / "/".join("a" * 40)).mkdir(parents=True)
    with pytest.raises(IntegrityError, match=re.escape("20 folders deep.")):
        ek.load(folder)


def test_a_manifest_that_is_too_large_is_refused_before_it_is_read(folder, unread):
    with (folder / "package.json").open("ab") as file:
        file.truncate(sealing.MOST_BYTES + 1)
    with pytest.raises(IntegrityError, match=re.escape("it has 5,000,001 bytes, more than 5,000,000.")):
        ek.load(folder)


# ── manifests that are sealed, and still none


def reseal(folder, change):
    """Seal a manifest anew after changing it; as text, so that it may hold what JSON of Python would not write."""
    manifest = json.loads((folder / "package.json").read_text())
    change(manifest)
    for key in ("seal", "digest"):
        manifest.pop(key, None)
    without = {key: value for key, value in manifest.items() if key not in sealing.WHENCE}
    manifest["digest"] = sealing.of_json(without)
    manifest["seal"] = sealing.of_json(manifest)
    (folder / "package.json").write_text(json.dumps(manifest))


KEYS = sorted((sealing.SHAPE.keys() | sealing.MAY_HAVE.keys()) - {"digest"})
ODD = [None, 0, -1, 1e300, 10**400, "", "\x1b[2J", [], [[]], [None], {}, {"": None}, {"a": {"b": []}}, True, "x" * 1000]


# what is shown as it is, and what may be empty
MAY_BE_ODD = (
    "environment",
    "class",
    "explainer",
    "owner",
    "python",
    "data_digest",
    "findings",
    "requirements",
    "balance",
    "code",
    "allowed",
)
FINE = {"metrics": [{}], "n_reference": [0], "carries": [[]], "strongest": [[]]}


def refusal_of(folder):
    """Load a package and show it; give what is refused, if anything is."""
    try:
        package = ek.load(folder)
        _ = str(package), package._repr_html_(), package.ref
    except EkibenError as refusal:
        return refusal
    return None


@pytest.mark.parametrize("key", KEYS)
def test_a_sealed_manifest_of_odd_values_never_raises_anything_else(folder, key):
    for odd in ODD:
        reseal(folder, lambda manifest, odd=odd: manifest.update({key: odd}))
        refusal = refusal_of(folder)
        assert isinstance(refusal, IntegrityError | None), (key, odd, refusal)
        assert len(str(refusal)) < 600, (key, odd)
        assert refusal is not None or key in MAY_BE_ODD or odd in FINE.get(key, []), (key, odd)


@pytest.mark.parametrize("key", sorted(sealing.SHAPE.keys() - {"digest"}))
def test_a_sealed_manifest_without_a_key_is_refused(folder, unread, key):
    reseal(folder, lambda manifest: manifest.pop(key))
    with pytest.raises(IntegrityError, match=re.escape(f"It has no {key!r}.")):
        ek.load(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../outside.json", "a/../../outside", "/etc/passwd", "a//b", "./a", "a/.", "a\\b", "C:evil", "a\x00b", "a\nb",
        "", ".", "..", "package.json", "signature.json", "a" * 300, "a:stream",
    ],
    ids=repr,
)  # fmt: skip
def test_a_sealed_manifest_that_names_no_plain_path_is_refused(folder, unread, name):
    (folder.parent / "outside.json").write_text("{}")
    reseal(folder, lambda manifest: manifest["files"].update({name: "0" * 64}))
    with pytest.raises(IntegrityError, match=re.escape("It has a broken 'files'.")):
        ek.load(folder)


@pytest.mark.parametrize("names", [("a.json", "A.json"), ("\u00e9", "e\u0301"), ("straße", "STRASSE")])
def test_names_that_some_file_systems_take_for_one_are_refused(folder, unread, names):
    reseal(folder, lambda manifest: manifest["files"].update(dict.fromkeys(names, "0" * 64)))
    with pytest.raises(IntegrityError, match=re.escape("It has a broken 'files'.")):
        ek.load(folder)


SIGNATURES = {
    "nothing": {},
    "no-columns": {"inputs": None, "task": "regression", "outputs": []},
    "a-task": {"inputs": [], "task": "eval", "outputs": [{"name": "", "parts": ["value"], "classes": []}]},
    "a-part": {"inputs": [], "task": "regression", "outputs": [{"name": "", "parts": ["code"], "classes": []}]},
    "a-column": {"inputs": [{"name": "x", "exec": "y"}], "task": "regression", "classes": []},
    "a-kind": {"inputs": [{"name": "x", "kind": "pickle", "dtype": "O", "nullable": True}], "task": "other", "classes": []},
    "deep": {"inputs": [{"name": {"name": {"name": []}}}], "task": [], "classes": {}},
}  # fmt: skip


@pytest.mark.parametrize("kind", SIGNATURES)
def test_a_sealed_signature_of_nonsense_is_refused(folder, kind, unread):
    reseal(folder, lambda manifest: manifest.update(signature=SIGNATURES[kind]))
    with pytest.raises(IntegrityError, match=re.escape("The 'signature' of a package must be as ekiben wrote it.")):
        ek.load(folder)


def test_an_unknown_kind_is_refused_with_those_that_are_known(folder, unread):
    reseal(folder, lambda manifest: manifest.update(kind="torch"))
    with pytest.raises(
        IntegrityError, match=re.escape("The 'kind' of a package must be a library that has an adapter")
    ):
        ek.load(folder)


@pytest.mark.parametrize(
    "text",
    ['{"a": 1, "a": 2}', '{"a": NaN}', '{"a": Infinity}', '{"a": 1e999}', "[" * 100_000, '{"a": ' + "9" * 5000 + "}"],
    ids=lambda text: text[:16],
)
def test_json_that_readers_disagree_on_is_refused(folder, unread, text):
    (folder / "package.json").write_text(text)
    with pytest.raises(IntegrityError, match=re.escape("it is no JSON")):
        ek.load(folder)


def test_bytes_that_are_no_text_are_refused(folder, unread):
    (folder / "package.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(IntegrityError, match=re.escape("it is no JSON")):
        ek.load(folder)
