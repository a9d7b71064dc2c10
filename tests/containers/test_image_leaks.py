"""A finished image is looked through: every layer, and all that its configuration says; the layer and the file are named."""

import base64
import gzip
import hashlib
import io
import json
import marshal
import re
import shutil
import tarfile
import zipfile

import pytest

import ekiben as ek
from ekiben.containers import accounting, saved
from ekiben.containers.containerizing import local_base
from ekiben.containers.leaks import Leak, Machine, layers
from ekiben.containers.wheels import Wheel, sha256
from ekiben.errors import BuildError

# Made here, in parts, so that this file holds none of them.
TOKEN = "ghp_" + "a1B2" * 9
HOME = "/ho" + "me/alice/credit"
DSN = "postgresql" + "://scorer:Zq7Lm2x9@db.example.com/credit"
OWN = Machine(texts={"the name of this machine": ("gpu-box-17",)})
SITE = "app/site"
BENTO = "home/bentoml/bento"


def layer(files, **header):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as packed:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            for key, value in header.items():
                setattr(info, key, value)
            if isinstance(data, str):
                info.type, info.linkname = tarfile.SYMTYPE, data
                packed.addfile(info)
            else:
                info.size = len(data)
                packed.addfile(info, io.BytesIO(data))
    return made.getvalue()


@pytest.fixture
def crafted(tmp_path, monkeypatch):
    """Give a function: layers as tars, and what the configuration says beside → an OCI layout."""
    monkeypatch.setenv("EKIBEN_CACHE", str(tmp_path / "cache"))
    made = tmp_path / "image.oci"

    def blob(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        (made / "blobs" / "sha256" / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    def write(*layers, annotations=None, **config):
        shutil.rmtree(made, ignore_errors=True)
        (made / "blobs" / "sha256").mkdir(parents=True)
        told = {"rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(x).hexdigest()}" for x in layers]}}
        packed = [blob(gzip.compress(x), "application/vnd.oci.image.layer.v1.tar+gzip") for x in layers]
        described = blob(json.dumps({**told, **config}).encode(), "application/vnd.oci.image.config.v1+json")
        manifest = {"schemaVersion": 2, "config": described, "layers": packed, "annotations": annotations or {}}
        named = blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
        (made / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
        (made / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        return made

    return write


@pytest.fixture
def wheel(tmp_path):
    """Give a function: a name and its files → a wheel with a RECORD."""

    def write(name, files):
        file = tmp_path / f"{name}-1.0-py3-none-any.whl"
        lines = [
            f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
            for path, data in files.items()
        ]
        with zipfile.ZipFile(file, "w") as packed:
            for path, data in files.items():
                packed.writestr(path, data)
            packed.writestr(f"{name}-1.0.dist-info/RECORD", "\n".join([*lines, f"{name}-1.0.dist-info/RECORD,,"]))
        return Wheel(name=name, version="1.0", file=file, sha256=sha256(file))

    return write


def found(place, known=None):
    return {str(each) for each in layers.scan(place, known, own=OWN)}


def compiled(text):
    return b"\xa7\r\r\n" + bytes(12) + marshal.dumps((text, 1.5))


@pytest.mark.parametrize(
    ("number", "name", "data", "kind"),
    [
        (0, "etc/app/.netrc", b"#", "a file of logins"),
        (0, "usr/share/notes.txt", TOKEN.encode(), "a token of GitHub"),
        (0, "usr/lib/x/hosts", b"gpu-box-17", "the name of this machine"),
        (0, "srv/train.csv", b"a,b\n1,2", "a data file"),
        (1, f"{SITE}/sitecustomize.py", f"DSN = '{DSN}'".encode(), "an address with a password"),
        (
            1,
            f"{SITE}/ours-1.0.dist-info/direct_url.json",
            f'{{"url": "file://{HOME}"}}'.encode(),
            "a path of a machine",
        ),
        (1, f"{SITE}/ours-1.0.dist-info/RECORD", f"{HOME}/a.py,,".encode(), "a path of a machine"),
        (1, f"{SITE}/ours/__pycache__/a.cpython-311.pyc", compiled(f"{HOME}/a.py"), "a path of a machine"),
        (1, f"{SITE}/ours/data.zip", gzip.compress(TOKEN.encode(), mtime=0), "a token of GitHub"),
        (2, f"{BENTO}/models/m/1/model.skops", TOKEN.encode("utf-16"), "a token of GitHub"),
        (3, f"{BENTO}/src/service.py", f"T = '{TOKEN}'".encode(), "a token of GitHub"),
        (3, f"{BENTO}/src/.env", b"MODE=1", "a file of secrets"),
        (3, f"{BENTO}/.git/config", b"[core]", "a git repository"),
        (3, f"{BENTO}/src/here", f"{HOME}/data", "a path of a machine"),
        (3, f"{BENTO}/src/explore.ipynb", b"{}", "a notebook"),
    ],
)
def test_a_leak_in_a_layer_is_found_and_its_layer_and_file_are_named(crafted, number, name, data, kind):
    layers = [layer({"keep": b"1"}) for _ in range(4)]
    layers[number] = layer({name: data})
    told = found(crafted(*layers))
    holds = ("base", "dependencies", "models", "code")[number]
    assert any(each.startswith(f"layer {holds}: {name}") and each.endswith(f": {kind}") for each in told), told
    assert TOKEN not in str(told)


def test_what_a_later_layer_hides_is_shipped_all_the_same(crafted):
    told = found(crafted(layer({f"{BENTO}/.env": b"A=1"}), layer({f"{BENTO}/.wh..env": b""})))
    assert f"layer 1: {BENTO}/.env: a file of secrets" in told


def test_what_a_tar_says_of_a_file_is_looked_at(crafted):
    assert found(crafted(layer({"a": b"1"}, uname="gpu-box-17"))) == {"layer 1: a: the name of this machine"}


@pytest.mark.parametrize(
    ("told", "place"),
    [
        ({"config": {"Env": ["PATH=/bin", f"DATABASE={DSN}"]}}, "configuration: config.Env.1"),
        ({"config": {"Env": ["DB_PASS" + "WORD=hunter2hunter2"]}}, "configuration: config.Env.0"),
        ({"config": {"Labels": {"maintainer": TOKEN}}}, "configuration: config.Labels.maintainer"),
        ({"config": {"Labels": {"of": json.dumps({"champion": DSN})}}}, "configuration: config.Labels.of.champion"),
        ({"config": {"Cmd": ["serve", "--token", TOKEN]}}, "configuration: config.Cmd.2"),
        ({"history": [{"created_by": f"|1 TOKEN={TOKEN} /bin/sh -c make"}]}, "configuration: history.0.created_by"),
        ({"history": [{"comment": f"built in {HOME}/x"}]}, "configuration: history.0.comment"),
        ({"author": "root@gpu-box-17"}, "configuration: author"),
        ({"annotations": {"source": f"git{'@'}git.example.com:risk/credit.git"}}, "manifest: annotations.source"),
    ],
)
def test_a_leak_in_what_an_image_says_of_itself_is_found(crafted, told, place):
    assert place in {each.place for each in layers.scan(crafted(layer({"a": b"1"}), **told), own=OWN)}


def test_bytes_of_a_public_wheel_are_not_looked_into_and_changed_ones_are(crafted, wheel):
    files = {"lib/a.py": f"EXAMPLE = '{TOKEN}'".encode(), "lib/b.py": b"B = 1"}
    public = wheel("lib", files)
    known = layers.owners([public], {f"wheels/{public.file.name}"})
    installed = {f"{SITE}/{name}": data for name, data in files.items()}
    assert found(crafted(layer({}), layer(installed)), known) == set()
    installed[f"{SITE}/lib/b.py"] = f"B = '{TOKEN}'".encode()
    assert found(crafted(layer({}), layer(installed)), known) == {f"layer 2: {SITE}/lib/b.py: a token of GitHub"}
    ours = layers.owners([public], set())
    assert f"layer 2: {SITE}/lib/a.py: a token of GitHub" in found(crafted(layer({}), layer(installed)), ours)


def test_a_layer_that_was_clean_is_looked_through_again_where_anything_else_is_asked(crafted):
    made = crafted(layer({"a": b"from gpu-box-18"}))
    assert layers.scan(made, own=OWN) == layers.scan(made, own=OWN) == ()
    other = Machine(texts={"the name of this machine": ("gpu-box-18",)})
    assert layers.scan(made, own=other) == (Leak(place="layer 1: a", kind="the name of this machine"),)


def test_what_is_allowed_is_named_as_in_the_context_or_in_the_image(crafted, wheel):
    ours = wheel("ours", {"ours/a.py": f"T = '{TOKEN}'".encode()})
    known = layers.owners([ours], set())
    made = crafted(
        layer({"keep": b"1"}),
        layer(
            {
                f"{SITE}/ours/a.py": f"T = '{TOKEN}'".encode(),
                f"{SITE}/ours/__pycache__/a.cpython-311.pyc": compiled(TOKEN),
            }
        ),
        layer({"keep": b"1"}),
        layer({f"{BENTO}/src/cities.csv": b"a,b"}),
    )
    reasons = {"bento/src/cities.csv": "published", f"wheels/{ours.file.name}!/ours/a.py": "of a test"}
    assert len(layers.refuse(made, known, own=OWN, allow=reasons)) == 3
    with pytest.raises(BuildError, match=re.escape(f"Found layer code: {BENTO}/src/cities.csv: a data file.")):
        layers.refuse(made, known, own=OWN, allow={f"layer dependencies: {SITE}/*": "of a test"})


@pytest.mark.slow
def test_a_leak_that_was_put_on_a_real_image_is_found(image, boxed, engine, tmp_path):
    (tmp_path / "service.py").write_text(f"T = '{TOKEN}'")
    (tmp_path / "Containerfile").write_text(
        f'FROM {image.ref}\nCOPY service.py /srv/service.py\nENV DSN="{DSN}"\nLABEL of="{HOME}/x"\n'
    )
    name = "localhost/ekiben-test:planted"
    engine.build(tmp_path, name, epoch=0, arguments={})
    known = layers.owners(boxed.wheels, accounting.published(boxed))
    try:
        with saved.of_engine(engine, name) as archive:
            told = {str(each) for each in layers.scan(archive, known, own=OWN)}
    finally:
        engine.call("rmi", "-f", name, check=False)
    assert "layer 5: srv/service.py: a token of GitHub" in told
    kinds = {each.rpartition(": ")[2] for each in told if each.startswith("configuration")}
    assert kinds == {"an address with a password", "a path of a machine"}


@pytest.mark.slow
def test_a_base_that_leaks_is_refused_and_its_image_does_not_stay(engine, tag, tmp_path):
    (tmp_path / "notes.txt").write_text(TOKEN)
    (tmp_path / "Containerfile").write_text(f"FROM {local_base(engine)}\nCOPY notes.txt /usr/share/notes.txt\n")
    base, name = "localhost/ekiben-test:leaking-base", "localhost/ekiben-test:leaking"
    engine.build(tmp_path, base, epoch=0, arguments={})
    try:
        with pytest.raises(BuildError, match=re.escape("layer base: usr/share/notes.txt: a token of GitHub")):
            ek.containerize(tag, image=name, base=base, engine=engine.name, accounts=ek.Accounts(beside=tmp_path))
        assert engine.call("image", "inspect", name, check=False).returncode
    finally:
        engine.call("rmi", "-f", base, check=False)


def test_a_wheel_s_files_are_those_of_its_own_record_and_not_of_what_it_carries(tmp_path):
    file = tmp_path / "tools-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("tools/_vendor/inner-2.0.dist-info/RECORD", "inner/a.py,sha256=aa,1\n")
        packed.writestr("tools-1.0.dist-info/RECORD", "tools/a.py,sha256=bb,1\n")
    known = layers.owners([Wheel(name="tools", version="1.0", file=file, sha256=sha256(file))], None)
    assert known.digests == {"tools/a.py": "bb"}


def test_a_wheel_without_a_record_is_refused_by_name(tmp_path):
    file = tmp_path / "tools-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("tools/a.py", "")
    with pytest.raises(BuildError, match=r"must hold RECORD\. tools-1\.0-py3-none-any\.whl does not"):
        layers.owners([Wheel(name="tools", version="1.0", file=file, sha256=sha256(file))], None)


def test_a_file_of_ours_that_takes_the_place_of_a_public_one_is_asked_everything(crafted, wheel):
    host = b"HOST = 'https://10.1.2.3:8443'\n" + b"password = 'Zq7Lm2x9Zq'\n"
    public, ours = wheel("public", {"shared/a.py": b"A = 1\n"}), wheel("zours", {"shared/a.py": host})
    image = crafted(layer({}), layer({f"{SITE}/shared/a.py": host}))
    both = layers.owners([public, ours], {f"wheels/{public.file.name}"})
    alone = layers.owners([ours], set())
    assert found(image, alone)
    assert found(image, both) == found(image, alone)
