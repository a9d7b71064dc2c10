"""A signature says who sealed a package, and is refused when anything else is meant."""

import json
import os
import random
import re
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from sklearn.linear_model import LinearRegression
from typer.testing import CliRunner

import ekiben as ek
from ekiben import cli, signing
from ekiben.errors import IntegrityError, NotFoundError, SpecError


def write_keys(folder, name, key, encryption=None):
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path, "ours", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def signed(champion, keys, tmp_path):
    folder = champion.save(tmp_path / "package")
    signing.sign(folder, key=keys[0])
    return folder


def test_a_signature_is_of_its_key_and_changes_no_digest(signed, keys, champion):
    assert ek.verify(signed, key=keys[1]) == champion.digest
    assert ek.load(signed).digest == champion.digest
    assert ek.verify(signed) == champion.digest


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1])
def test_each_of_three_curves_signs(champion, tmp_path, curve):
    private, public = write_keys(tmp_path, "key", ec.generate_private_key(curve()))
    folder = champion.save(tmp_path / "package")
    assert signing.sign(folder, key=private) == folder / "signature.json"
    assert ek.verify(folder, key=public) == champion.digest


def test_a_key_behind_a_password_signs(champion, tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = write_keys(tmp_path, "locked", key, BestAvailableEncryption(b"open sesame"))
    folder = champion.save(tmp_path / "package")
    with pytest.raises(SpecError, match=re.escape("The 'key' must be a private elliptic-curve key as PEM.")):
        signing.sign(folder, key=private)
    signing.sign(folder, key=private, password="open sesame")
    assert ek.verify(folder, key=public) == champion.digest


def test_a_signature_may_lie_elsewhere(signed, keys, tmp_path, champion):
    (signed / "signature.json").rename(tmp_path / "kept.json")
    with pytest.raises(IntegrityError, match=re.escape("package must be signed. It has no signature.json.")):
        ek.verify(signed, key=keys[1])
    assert ek.verify(signed, key=keys[1], signature=tmp_path / "kept.json") == champion.digest


def test_another_s_key_is_refused(signed, tmp_path):
    _, other = write_keys(tmp_path, "other", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(IntegrityError, match=re.escape("must be of the key other.pub.pem")):
        ek.verify(signed, key=other)


def test_another_s_signature_under_our_key_s_name_is_refused(signed, keys, tmp_path):
    private, _ = write_keys(tmp_path, "other", ec.generate_private_key(ec.SECP256R1()))
    ours = json.loads((signed / "signature.json").read_text())
    signing.sign(signed, key=private)
    theirs = json.loads((signed / "signature.json").read_text())
    theirs["verificationMaterial"] = ours["verificationMaterial"]  # the hint of our key
    (signed / "signature.json").write_text(json.dumps(theirs))
    with pytest.raises(IntegrityError, match=re.escape("The signature of package must be of the key ours.pub.pem")):
        ek.verify(signed, key=keys[1])


def test_a_changed_byte_of_any_file_is_refused(signed, keys):
    draw = random.Random(7)
    for path in sorted(each for each in signed.rglob("*") if each.is_file() and each.name != "signature.json"):
        whole = path.read_bytes()
        spoilt = bytearray(whole)
        spoilt[draw.randrange(len(spoilt))] ^= 1 << draw.randrange(8)
        path.write_bytes(spoilt)
        with pytest.raises(IntegrityError):
            ek.verify(signed, key=keys[1])
        path.write_bytes(whole)


def test_a_manifest_that_was_only_laid_out_anew_is_refused(signed, keys):
    path = signed / "package.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert ek.verify(signed)  # the same words
    with pytest.raises(IntegrityError, match=re.escape("over this package.json")):
        ek.verify(signed, key=keys[1])


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"dsseEnvelope": {}}', "no json", '{"a": NaN}', "[" * 99999])
def test_a_signature_of_nonsense_is_refused(signed, keys, text):
    (signed / "signature.json").write_text(text)
    with pytest.raises(IntegrityError):
        ek.verify(signed, key=keys[1])


def test_a_signature_that_is_no_plain_file_is_refused(signed, keys, tmp_path):
    (signed / "signature.json").rename(tmp_path / "elsewhere.json")
    (signed / "signature.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(IntegrityError, match=re.escape("is no plain file")):
        ek.verify(signed, key=keys[1])
    (signed / "signature.json").unlink()
    os.mkfifo(signed / "signature.json")
    with pytest.raises(IntegrityError, match=re.escape("It has no signature.json.")):
        ek.verify(signed, key=keys[1])


def pack_another(people, name="risk"):
    rows = people[0][["age"]]
    return ek.pack(LinearRegression().fit(rows, rows["age"]), name=name, reference=rows)


def test_an_older_signed_version_is_refused_by_the_digest_that_is_meant(signed, keys, people, tmp_path, champion):
    older = pack_another(people).save(tmp_path / "older")
    signing.sign(older, key=keys[0])
    assert ek.verify(older, key=keys[1]) != champion.digest  # by itself it is as good as any
    with pytest.raises(IntegrityError, match=re.escape(f"older must hold the package of the digest {champion.digest}")):
        ek.verify(older, key=keys[1], digest=champion.digest)
    assert ek.verify(signed, key=keys[1], digest=champion.digest[:12]) == champion.digest


def test_another_signed_package_is_refused_by_the_name_that_is_meant(keys, people, tmp_path):
    folder = pack_another(people, "other").save(tmp_path / "package")
    signing.sign(folder, key=keys[0])
    with pytest.raises(IntegrityError, match=re.escape("package must hold the package 'risk'. Got 'other'.")):
        ek.verify(folder, key=keys[1], name="risk")


def test_a_signature_carried_over_to_another_package_is_refused(signed, keys, people, tmp_path):
    other = pack_another(people).save(tmp_path / "other")
    shutil.copy(signed / "signature.json", other)
    with pytest.raises(IntegrityError, match=re.escape("over this package.json")):
        ek.verify(other, key=keys[1])


def test_too_few_digits_name_nothing(signed, champion):
    with pytest.raises(IntegrityError, match=re.escape("Give at least 12 digits.")):
        ek.verify(signed, digest=champion.digest[:8])


def test_a_spoilt_package_is_not_signed(champion, keys, tmp_path):
    folder = champion.save(tmp_path / "package")
    (folder / "examples.json").write_text("[]")
    with pytest.raises(IntegrityError, match=re.escape("examples.json was changed")):
        signing.sign(folder, key=keys[0])
    assert not (folder / "signature.json").exists()


def test_what_is_no_key_is_refused(signed, keys, tmp_path):
    private, public = write_keys(tmp_path, "edwards", ed25519.Ed25519PrivateKey.generate())
    (tmp_path / "empty.pem").write_text("")
    for key in (private, keys[1], tmp_path / "empty.pem"):
        with pytest.raises(SpecError, match=re.escape("The 'key' must be a private elliptic-curve key as PEM.")):
            signing.sign(signed, key=key)
    for key in (public, keys[0], tmp_path / "empty.pem"):
        with pytest.raises(SpecError, match=re.escape("The 'key' must be a public elliptic-curve key as PEM.")):
            ek.verify(signed, key=key)
    with pytest.raises(NotFoundError, match=re.escape("There is none at")):
        ek.verify(signed, key=tmp_path / "gone.pem")
    with pytest.raises(SpecError, match=re.escape("A 'signature' is compared with a 'key'.")):
        ek.verify(signed, signature=signed / "signature.json")


def test_the_command_line_signs_and_verifies(champion, keys, tmp_path):
    folder = champion.save(tmp_path / "package")
    run = CliRunner().invoke
    assert "has the bytes that were packed" in run(cli.app, ["verify", str(folder)]).output
    assert isinstance(run(cli.app, ["verify", str(folder), "--key", str(keys[1])]).exception, IntegrityError)
    assert run(cli.app, ["sign", str(folder), "--key", str(keys[0])]).exit_code == 0
    assert "is signed by this key" in run(cli.app, ["verify", str(folder), "--key", str(keys[1])]).output


def test_a_signature_travels_with_its_package(signed, keys, tmp_path):
    again = ek.load(signed).save(tmp_path / "again")
    assert Path(again / "signature.json").is_file()
    assert ek.verify(again, key=keys[1])
