"""What is attested of an image is of that image, by that key, and any changed byte is found."""

import base64
import gzip
import hashlib
import io
import json
import random
import re
import shutil
import tarfile

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

import ekiben as ek
from ekiben.containers import accounting, attesting, saved
from ekiben.containers.attesting import Run
from ekiben.errors import IntegrityError, NotFoundError, SpecError

SEED = 7
RUN = Run(engine="podman", engine_version="4.3.1", commands=[["podman", "build", "."]], base="python:3.11-slim")
STATUS = "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\nArchitecture: amd64\nSource: glibc\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n"
FILES = {"var/lib/dpkg/status": STATUS, "app/site/a.py": "A = 1\n" * 400, "home/bentoml/bento/bento.yaml": "name: a\n"}


def _keys(folder, name, key):
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def keys(tmp_path):
    return _keys(tmp_path, "ours", ec.generate_private_key(ec.SECP256R1()))


def _blob(folder, data, kind):
    digest = hashlib.sha256(data).hexdigest()
    (folder / "blobs" / "sha256" / digest).write_bytes(data)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}


def write_layout(folder):
    """Write an OCI layout of three layers by hand, the second of them packed."""
    (folder / "blobs" / "sha256").mkdir(parents=True)
    layers, plain = [], []
    for number, (name, text) in enumerate(FILES.items()):
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as packed:
            info = tarfile.TarInfo(name)
            info.size = len(text)
            packed.addfile(info, io.BytesIO(text.encode()))
        data = made.getvalue()
        plain.append(f"sha256:{hashlib.sha256(data).hexdigest()}")
        end = "tar+gzip" if number == 1 else "tar"
        data = gzip.compress(data, mtime=0) if number == 1 else data
        layers.append(_blob(folder, data, f"application/vnd.oci.image.layer.v1.{end}"))
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": plain}}
    told = _blob(folder, json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
    manifest = _blob(
        folder,
        json.dumps({"schemaVersion": 2, "config": told, "layers": layers}).encode(),
        "application/vnd.oci.image.manifest.v1+json",
    )
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    return folder


@pytest.fixture
def layout(tmp_path):
    return write_layout(tmp_path / "churn.oci")


def attest(image, key=None, *, name="churn:1", ids=None):
    found = saved.read(image)
    made = attesting.statement(
        image=name,
        ids=ids or [found.id, found.digest],
        tag="churn:4kz2",
        run=RUN,
        byproducts=attesting.whole(image),
        epoch=0,
    )
    return attesting.write(made, image.with_name(image.name + attesting.SUFFIX), key=key)


def _packed(layout, to):
    with tarfile.open(to, "w") as made:
        for path in sorted(layout.rglob("*")):
            made.add(path, path.relative_to(layout).as_posix(), recursive=False)
    return to


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_an_image_is_verified_by_its_bytes_and_its_key(layout, keys, tmp_path, form):
    image = layout if form == "folder" else _packed(layout, tmp_path / "churn.tar")
    attest(image, keys[0])
    found = saved.read(image)
    assert ek.verify(image, key=keys[1]) == ek.verify(image) == found.id
    assert ek.verify(image, key=keys[1], digest=found.digest[:12], name="churn:1") == found.id


def test_a_digest_that_an_engine_showed_counts_where_a_key_shows_who_wrote_it_down(layout, keys):
    built, own = "cd" * 32, saved.read(layout).id
    attest(layout, keys[0], ids=[own, built])
    assert ek.verify(layout, key=keys[1], digest=f"sha256:{built}") == own
    with pytest.raises(IntegrityError, match="pass its key="):
        ek.verify(layout, digest=built)
    with pytest.raises(IntegrityError, match="must be eeee"):
        ek.verify(layout, key=keys[1], digest="ee" * 32)


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1])
def test_each_of_three_curves_signs(layout, tmp_path, curve):
    private, public = _keys(tmp_path, "key", ec.generate_private_key(curve()))
    attest(layout, private)
    assert ek.verify(layout, key=public)


def test_the_envelope_is_what_dsse_says(layout, keys):
    envelope = json.loads(attest(layout, keys[0]).read_text())
    payload = base64.b64decode(envelope["payload"])
    told = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    from cryptography.hazmat.primitives import hashes, serialization

    public = serialization.load_pem_public_key(keys[1].read_bytes())
    public.verify(base64.b64decode(envelope["signatures"][0]["sig"]), told, ec.ECDSA(hashes.SHA256()))
    statement = json.loads(payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    definition = statement["predicate"]["buildDefinition"]
    assert definition["internalParameters"]["commands"] == [["podman", "build", "."]]
    details = statement["predicate"]["runDetails"]
    assert details["builder"]["version"]["podman"] == "4.3.1"
    assert "metadata" not in details  # no time of a build that nobody measured


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_any_changed_byte_is_found(layout, keys, tmp_path, form):
    image = layout if form == "folder" else _packed(layout, tmp_path / "churn.tar")
    beside = attest(image, keys[0])
    ek.verify(image, key=keys[1])
    files = [beside, *([image] if form == "archive" else [path for path in layout.rglob("*") if path.is_file()])]
    chosen = random.Random(SEED)
    missed = []
    for file in files:
        whole = file.read_bytes()
        for _ in range(40):
            at, bit = chosen.randrange(len(whole)), 1 << chosen.randrange(8)
            file.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            try:
                ek.verify(image, key=keys[1])
                missed.append(f"{file.name} at {at}, bit {bit}")
            except (IntegrityError, NotFoundError):
                continue
            finally:
                file.write_bytes(whole)
    assert not missed, f"seed {SEED}"


@pytest.mark.parametrize("change", ["added", "removed", "swapped"])
def test_a_file_that_was_added_removed_or_swapped_is_found(layout, keys, change):
    attest(layout, keys[0])
    blobs = sorted((layout / "blobs" / "sha256").iterdir())
    if change == "added":
        (layout / "blobs" / "sha256" / ("0" * 64)).write_text("x")
    elif change == "removed":
        blobs[0].unlink()
    else:
        first, second = blobs[0].read_bytes(), blobs[1].read_bytes()
        blobs[0].write_bytes(second)
        blobs[1].write_bytes(first)
    with pytest.raises(IntegrityError):
        ek.verify(layout, key=keys[1])


def test_another_key_another_image_and_no_signature_are_refused(layout, keys, tmp_path):
    _, stranger = _keys(tmp_path, "theirs", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(IntegrityError, match=re.escape("no churn.oci.attestation.json. Say where it is: signature=…")):
        ek.verify(layout, key=keys[1])
    attest(layout, keys[0])
    with pytest.raises(IntegrityError, match="no signature of that key"):
        ek.verify(layout, key=stranger)
    with pytest.raises(IntegrityError, match="of the image 'other:1'"):
        ek.verify(layout, name="other:1")
    with pytest.raises(IntegrityError, match="at least 12 digits"):
        ek.verify(layout, digest="abab")
    attest(layout)
    with pytest.raises(IntegrityError, match="no signature of that key"):
        ek.verify(layout, key=keys[1])
    attest(layout, keys[0], ids=["ab" * 32])
    with pytest.raises(IntegrityError, match="is of another"):
        ek.verify(layout, key=keys[1])


def test_a_key_of_another_kind_is_refused_by_name(layout, tmp_path):
    private, public = _keys(tmp_path, "odd", ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(SpecError, match="private elliptic-curve key"):
        attest(layout, private)
    attest(layout, _keys(tmp_path, "fine", ec.generate_private_key(ec.SECP256R1()))[0])
    with pytest.raises(SpecError, match="public elliptic-curve key"):
        ek.verify(layout, key=public)
    with pytest.raises(NotFoundError, match="must be a PEM file"):
        ek.verify(layout, key=tmp_path / "none.pem")


def test_an_image_of_docker_s_form_is_verified_by_its_configuration(layout, keys, tmp_path):
    found = saved.read(layout)
    beside = attest(layout, keys[0])
    place = tmp_path / "docker"
    place.mkdir()
    shutil.copy(layout / "blobs" / "sha256" / found.id, place / f"{found.id}.json")
    names = []
    for number, (name, packed) in enumerate(found.layers):
        data = (layout / name).read_bytes()
        (place / f"{number}.tar").write_bytes(gzip.decompress(data) if packed else data)
        names.append(f"{number}.tar")
    (place / "manifest.json").write_text(
        json.dumps([{"Config": f"{found.id}.json", "RepoTags": ["churn:1"], "Layers": names}])
    )
    archive = _packed(place, tmp_path / "docker.tar")
    assert ek.verify(archive, key=keys[1], signature=beside) == found.id
    (place / "1.tar").write_bytes((place / "0.tar").read_bytes())
    with pytest.raises(IntegrityError, match="layers of the image"):
        ek.verify(_packed(place, tmp_path / "changed.tar"), key=keys[1], signature=beside)


def test_the_parts_of_debian_are_read_from_an_image_s_own_list(layout):
    assert [(each.name, each.source) for each in accounting.of_layout(layout)] == [("libc6", "glibc")]


@pytest.mark.parametrize(
    "changed",
    [
        {"subject": None},
        {"subject": [{"name": "churn:1", "digest": "abab"}]},
        {"subject": [{"digest": {"sha256": "ab"}}]},
        {"predicate": []},
        {"predicate": {"runDetails": {"byproducts": [{"name": "index.json"}]}}},
    ],
)
def test_an_attestation_of_another_shape_is_refused_and_no_fault_of_ours(layout, changed):
    file = attest(layout)
    told = json.loads(base64.b64decode(json.loads(file.read_text())["payload"]))
    attesting.write(told | changed, file)
    with pytest.raises(IntegrityError, match="must be an envelope of a provenance statement"):
        ek.verify(layout)
