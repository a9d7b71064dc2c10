"""Every planted leak is found wherever it lies, nothing of a real bento or library is taken for one, and no secret is told."""

import base64
import binascii
import bz2
import gzip
import io
import json
import lzma
import marshal
import pickle
import pwd
import random
import re
import string
import tarfile
import zipfile
import zlib
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

import ekiben
from ekiben import keys, locking
from ekiben.containers import leaks
from ekiben.containers.leaks import Machine
from ekiben.errors import BuildError, SpecError

SEED = 20261127
USERS = ("LOGNAME", "USER", "LNAME", "USERNAME")
NOBODY = Machine()


def _letters(n, alphabet=string.ascii_letters + string.digits):
    return "".join(random.Random(SEED + n).choices(alphabet, k=n))


def _pem(key, form=PrivateFormat.PKCS8, password=None):
    behind = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, behind).decode()


EC = ec.generate_private_key(ec.SECP256R1())
UPPER = string.ascii_uppercase + "234567"
# Made here, in parts, so that this file holds none of them.
SECRETS = {
    "pem": ("a private key", _pem(EC)),
    "pem of EC": ("a private key", _pem(EC, PrivateFormat.TraditionalOpenSSL)),
    "pem of RSA behind a password": (
        "a private key",
        _pem(rsa.generate_private_key(65537, 1024), PrivateFormat.TraditionalOpenSSL, b"pw"),
    ),
    "ssh": ("a private key", _pem(ed25519.Ed25519PrivateKey.generate(), PrivateFormat.OpenSSH)),
    "aws": ("a key of AWS", "AKIA" + _letters(16, UPPER)),
    "aws secret": ("a key of AWS", "aws_secret_access" + "_key = " + _letters(40)),
    "google": ("a key of Google", "AIza" + _letters(35)),
    "azure": ("a key of Azure", "AccountName=x;Account" + "Key=" + _letters(86) + "=="),
    "github": ("a token of GitHub", "ghp_" + _letters(36)),
    "github, fine": ("a token of GitHub", "github_pat_" + _letters(60)),
    "gitlab": ("a token of GitLab", "glpat-" + _letters(20)),
    "slack": ("a token of Slack", "xoxb-" + _letters(30)),
    "hugging face": ("a token of Hugging Face", "hf_" + _letters(34)),
    "npm": ("a token of a package index", "npm_" + _letters(36)),
    "databricks": ("a token of Databricks", "dapi" + _letters(32, "0123456789abcdef")),
    "stripe": ("a key of Stripe", "sk_live" + "_" + _letters(24)),
    "sendgrid": ("a key of SendGrid", "SG." + _letters(22) + "." + _letters(43)),
    "model provider": ("a key of a model provider", "sk-proj-" + _letters(48)),
    "jwt": ("a signed token (JWT)", ".".join(("eyJ" + _letters(20), "eyJ" + _letters(40), _letters(43)))),
    "ours": ("a key of a service", keys.make("batch", ["read"])[0]),
    "dsn": ("an address with a password", "postgresql://scorer:" + _letters(9) + "@db.example.com/credit"),
    "index": ("an address with a password", "https://bot:" + _letters(12) + "@wheels.example.com/simple"),
    "netrc": ("a login of .netrc", "machine example.com login bot pass" + "word " + _letters(12)),
    "password": ("a password or token", "db_pass" + 'word = "' + _letters(12) + '"'),
    "an index": ("the address of a package index", "--index-" + "url https://wheels.example.com/simple"),
    "remote": ("a git remote", "git@" + "git.example.com:risk/credit.git"),
    "home": ("a path of a machine", "/ho" + "me/alice/credit/train.py"),
    "mac": ("a path of a machine", "/Us" + "ers/alice/credit/train.py"),
    "address": ("a private address", "http://10." + "20.30.40:5000"),
    "host": ("the name of a private host", "https://mlflow" + ".corp/api"),
    "webhook": (
        "a token of Slack",
        "https://hooks" + ".slack.com/services/T" + _letters(8, UPPER) + "/B0" + "/" + _letters(24),
    ),
    "discord": ("the address of a webhook", "https://discord" + ".com/api/webhooks/" + "1" * 18 + "/" + _letters(68)),
    "dsn by words": (
        "a password or token",
        "host=db.example.com user=scorer pass" + "word=" + _letters(9) + " dbname=x",
    ),
    "odbc": ("a password or token", "SERVER=db;UID=sa;PW" + "D=" + _letters(10) + ";"),
    "xml": ("a password or token", "<pass" + "word>" + _letters(12) + "</password>"),
    "curl": ("a password or token", "cu" + "rl -u bot:" + _letters(12) + " https://example.com"),
    "kaggle": ("a key of Kaggle", json.dumps({"username": "a", "key": _letters(32, "0123456789abcdef")})),
    "without a known form": ("a value without order, as keys are", 'pepper = "' + _letters(40) + '"'),
    "signing": ("a value without order, as keys are", 'signing = "' + _letters(64, "0123456789abcdef") + '"'),
    "uv": ("the address of a package index", 'url = "https://wheels.example.com/sim' + 'ple"'),
    "mount": ("a path of a machine", "/mn" + "t/data/alice/credit.txt"),
    "ssh public": ("the name of a machine", "ssh-ed25519 AAAA" + _letters(64) + " alice@gpu-box"),
}
DER = EC.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
DERS = {
    "PKCS#8": DER,
    "SEC 1": EC.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
    "PKCS#1": rsa.generate_private_key(65537, 2048).private_bytes(
        Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    ),
    "behind a password": EC.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw")),
    "base64 of one": b"key: " + base64.b64encode(DER),
}
OWN = {
    "a path of this machine": "/srv/notebooks/credit-risk",
    "the name of this machine": "gpu-box-17",
    "the name of a user of this machine": "zoë.keller",
    "a git remote": "https://git.example.com/risk/credit.git",
    "the address of a package index": "wheels.example.com",
    "a secret of this environment": "p4ss phrase: é",
}


def _zipped(name, data):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return made.getvalue()


def _tarred(name, data):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


def _saved(text):
    made = io.BytesIO()
    np.save(made, np.array(["before", text, "after"]))
    return made.getvalue()


def _mailed(data):
    lines = (binascii.b2a_uu(data[at : at + 45]) for at in range(0, len(data), 45))
    return b"begin 644 a.txt\n" + b"".join(lines) + b"`\nend\n"


OLD = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 22}]
PLACES = {
    "text": lambda text: ("notes.txt", f"before\n{text}\nafter".encode()),
    "json": lambda text: ("notes.json", json.dumps({"a": [text, "é"]}).encode()),
    "unicode around": lambda text: ("notes.md", f"«ß\n{text}\n»".encode()),
    "utf-16": lambda text: ("notes.txt", f"before\n{text}\nafter".encode("utf-16")),
    "utf-32": lambda text: ("notes.txt", f"before\n{text}\nafter".encode("utf-32-be")),
    "numpy": lambda text: ("categories.npy", _saved(text)),
    "base64": lambda text: ("config.yaml", b"data: " + base64.b64encode(f"{'x' * 30}\n{text}\n{'y' * 30}\n".encode())),
    "base64 of itself": lambda text: (
        "a.json",
        json.dumps({"d": base64.b64encode(f" {text} ".encode()).decode()}).encode(),
    ),
    "base64 of gzip": lambda text: ("a.json", b'"' + base64.b64encode(gzip.compress(f"-\n{text}\n-".encode())) + b'"'),
    "base64 of base64": lambda text: ("a.json", base64.b64encode(base64.b64encode(f"--\n{text}\n{'-' * 20}".encode()))),
    "base64 in lines": lambda text: (
        "a.yaml",
        b"d: |\n  " + base64.encodebytes(f"--\n{text}\n--".encode()).replace(b"\n", b"\n  "),
    ),
    "hex": lambda text: ("a.json", f"{'-' * 20}\n{text}\n-".encode().hex().encode()),
    "hex apart": lambda text: ("a.txt", " ".join(f"{each:02X}" for each in f"-\n{text}\n-".encode()).encode()),
    "base32": lambda text: ("a.txt", base64.b32encode(f"-\n{text}\n-".encode())),
    "base85": lambda text: ("a.txt", b"data=" + base64.b85encode(f"-\n{text}\n{'-' * 20}".encode())),
    "ascii85": lambda text: ("a.pdf", base64.a85encode(f"-\n{text}\n{'-' * 20}".encode(), adobe=True, wrapcol=60)),
    "uuencode": lambda text: ("a.txt", _mailed(f"-\n{text}\n-".encode())),
    "decimal": lambda text: ("a.py", f"bytes({[*f'-{chr(10)}{text}{chr(10)}-'.encode()]})".encode()),
    "octal": lambda text: ("a.py", "".join(f"\\{each:03o}" for each in f"-\n{text}\n-".encode()).encode()),
    "entities": lambda text: ("a.html", "".join(f"&#{each};" for each in f"-\n{text}\n-".encode()).encode()),
    "mail": lambda text: (
        "a.eml",
        f"-\n{text[:9]}=\n{text[9:]}\n-".replace("=", "=3D").replace("=3D\n", "=\n", 1).encode(),
    ),
    "per cent": lambda text: ("a.txt", quote(f"-\n{text}\n-", safe="").encode()),
    "escapes": lambda text: ("a.json", "".join(f"\\u{ord(letter):04x}" for letter in f"-\n{text}\n-").encode()),
    "long escapes": lambda text: ("a.py", "".join(f"\\U{ord(letter):08x}" for letter in f"-\n{text}\n-").encode()),
    "gzip in pickle": lambda text: ("state.bin", pickle.dumps({"a": gzip.compress(f"-\n{text}\n-".encode())})),
    "behind a picture": lambda text: ("a.png", b"\x89PNG" + bytes(90) + _zipped("a.txt", f"-\n{text}\n-")),
    "pickle": lambda text: ("state.bin", pickle.dumps({"a": text})),
    "pyc": lambda text: ("module.pyc", b"\xa7\r\r\n" + bytes(12) + marshal.dumps((text, 1.5))),
    "zip in zip": lambda text: ("a.zip", _zipped("b.zip", _zipped("c.txt", text.encode()))),
    "wheel": lambda text: ("wheels/ours-1.0-py3-none-any.whl", _zipped("ours/a.py", f"'''\n{text}\n'''".encode())),
    "skops": lambda text: ("model.skops", _zipped("schema.json", json.dumps([text]).encode())),
    "tar.gz": lambda text: ("a.tar.gz", _tarred("b.txt", text.encode())),
    "gz": lambda text: ("a.gz", gzip.compress(text.encode())),
    "bz2": lambda text: ("a", bz2.compress(text.encode())),
    "xz": lambda text: ("a", lzma.compress(text.encode())),
    "xz of joblib": lambda text: ("a.joblib", lzma.compress(text.encode(), lzma.FORMAT_ALONE, filters=OLD)),
    "joblib": lambda text: ("model.joblib", zlib.compress(pickle.dumps([text]))),
    "chunk border": lambda text: ("a.txt", b" " * (leaks.CHUNK - 20) + b"\n" + text.encode() + b"\n" + b" " * 99),
}


# What is this machine's is looked for in libraries too, as it stands there: nobody unwraps all of their bytes.
MACHINE_PLACES = [
    *("text", "json", "unicode around", "utf-16", "utf-32", "numpy", "pickle", "pyc", "zip in zip", "wheel", "skops"),
    *("tar.gz", "gz", "bz2", "xz", "joblib", "chunk border", "behind a picture"),
]


def _plant(folder, place, text):
    name, data = PLACES[place](text)
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return name


@pytest.mark.parametrize("place", PLACES)
def test_every_planted_leak_is_found_in_every_place(tmp_path, place):
    missed, told = [], []
    for number, (secret, (kind, text)) in enumerate(SECRETS.items()):
        folder = tmp_path / str(number)
        _plant(folder, place, text)
        found = leaks.scan(folder, own=NOBODY, published=())
        told += [str(leak) for leak in found if text[-8:] in str(leak)]
        if kind not in {leak.kind for leak in found}:
            missed.append(secret)
    assert not missed, f"seed {SEED}"
    assert not told


def test_what_is_written_from_behind_is_found_where_its_form_is_sure(tmp_path):
    for number, text in enumerate((SECRETS["aws"][1], SECRETS["github"][1])):
        (tmp_path / f"{number}.txt").write_text(f"before\n{text}\nafter"[::-1])
    assert {leak.place for leak in leaks.scan(tmp_path, own=NOBODY)} == {"0.txt", "1.txt"}


@pytest.mark.parametrize("form", DERS)
def test_a_private_key_that_is_no_text_is_found(tmp_path, form):
    (tmp_path / "key.bin").write_bytes(DERS[form])
    assert "key.bin: a private key" in map(str, leaks.scan(tmp_path, own=NOBODY))


def test_a_digest_and_an_identifier_are_no_keys(tmp_path):
    digest = _letters(64, "0123456789abcdef")
    lines = [f'"sha256": "{digest}"', f'content = "{digest}"', "index = frame.index", 'commit: "' + digest[:40] + '"']
    (tmp_path / "a.txt").write_text(
        "\n".join([*lines, f"numpy==1.26.4 --hash=sha256:{digest}", 'name = "' + "a" * 40 + '"'])
    )
    assert leaks.scan(tmp_path, own=NOBODY) == ()


@pytest.mark.parametrize("place", MACHINE_PLACES)
def test_what_is_this_machine_s_is_found_in_every_place(tmp_path, place):
    missed = []
    for number, (kind, text) in enumerate(OWN.items()):
        folder = tmp_path / str(number)
        _plant(folder, place, text)
        found = leaks.scan(folder, own=Machine(texts={kind: (text,)}))  # in published wheels too
        if kind not in {leak.kind for leak in found}:
            missed.append(kind)
    assert not missed


@pytest.mark.parametrize("n_before", range(leaks.CHUNK - 45, leaks.CHUNK + 3, 3))
def test_no_border_of_chunks_hides_a_key(tmp_path, n_before):
    (tmp_path / "a.bin").write_bytes(b"\n" * n_before + SECRETS["github"][1].encode() + b"\n" * 10)
    assert [leak.kind for leak in leaks.scan(tmp_path, own=NOBODY)] == ["a token of GitHub"]


def _frame(n_rows=60):
    return pd.DataFrame({"age": range(20, 20 + n_rows), "job": ["clerk", "baker"] * (n_rows // 2)}, dtype=object)


def test_a_few_rows_and_names_by_numbers_are_no_data(tmp_path):
    few = _frame(4)
    names = {f"{i}": f"class {i}" for i in range(90)}
    (tmp_path / "few.json").write_text(few.to_json())
    (tmp_path / "few.py").write_text(f"CASES = {few.to_dict('records')}\n")
    (tmp_path / "split.json").write_text(few.to_json(orient="split"))
    (tmp_path / "report.html").write_text(few.to_html())
    columns = [{"name": f"column {i}", "kind": "number"} for i in range(90)]
    (tmp_path / "contract.json").write_text(json.dumps({"inputs": columns}))
    (tmp_path / "names.json").write_text(json.dumps({"labels": names}))
    (tmp_path / "weights.npy").write_bytes(b"\x93NUMPY")
    assert leaks.scan(tmp_path, own=NOBODY) == ()


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [  # what holds a time is made when it is asked for
        (".env", b"MODE=1", "a file of secrets"),
        ("config/.env.production", b"MODE=1", "a file of secrets"),
        (".netrc", b"#", "a file of logins"),
        (".aws/config", b"[default]", "a file of logins"),
        ("pip.conf", b"[global]", "the configuration of a package index"),
        (".git/HEAD", b"ref: refs/heads/main", "a git repository"),
        (".ssh/known_hosts", b"example.com", "a private key"),
        ("client.p12", b"\x30\x82", "a private key"),
        ("explore.ipynb", b"{}", "a notebook"),
        (".ipynb_checkpoints/a.py", b"x", "the state of a notebook"),
        ("renamed.txt", json.dumps({"cells": [], "nbformat": 4}).encode(), "a notebook"),
        ("train.csv", b"a,b\n1,2", "a data file"),
        ("train.csv.gz", lambda: gzip.compress(b"a,b\n1,2"), "a data file"),
        ("renamed.bin", b"PAR1" + bytes(40), "a data file"),
        ("renamed.dat", b"SQLite format 3\x00" + bytes(90), "a data file"),
        ("server.log", b"started", "a log"),
        ("renamed.txt", b"age,job,risk\n31,clerk,low\n" * 20, "a data file"),
        ("renamed.txt", lambda: _frame().to_json().encode(), "a data file"),
        ("renamed.txt", lambda: _frame().to_json(indent=2).encode(), "a data file"),
        ("renamed.txt", lambda: _frame().to_json(orient="split").encode(), "a data file"),
        ("renamed.txt", lambda: _frame().to_json(orient="split", indent=1).encode(), "a data file"),
        ("renamed.txt", lambda: _frame().to_json(orient="index").encode(), "a data file"),
        ("renamed.txt", lambda: _frame().to_json(orient="table").encode(), "a data file"),
        ("rows.py", lambda: b"ROWS = %r" % _frame().to_dict("records"), "a data file"),
        ("rows.json", lambda: _frame().to_json(orient="records", indent=2).encode(), "a data file"),
        ("report.html", lambda: _frame().to_html().encode(), "a data file"),
        ("X_train.npy", b"\x93NUMPY", "a data file"),
        ("data/y_test.npz", b"PK", "a data file"),
        ("train_set.pkl", b"x", "a data file"),
        (".envrc", b"export MODE=1", "a file of secrets"),
        (".hg/hgrc", b"[paths]", "a repository of Mercurial"),
        (".idea/workspace.xml", b"<x/>", "the settings of an editor"),
        ("service.py~", b"x", "what an editor or a desktop left"),
        ("a.zst", b"\x28\xb5\x2f\xfd" + bytes(40), "what cannot be looked into (zstd)"),
        ("a.zip", lambda: _zipped("inner/.env", "MODE=1"), "a file of secrets"),
        ("a.zip", lambda: _zipped("inner/train.csv", "a,b"), "a data file"),
        ("a.tgz", lambda: _tarred("inner/id_rsa", b"x"), "a private key"),
    ],
)
def test_files_that_have_no_business_in_an_image_are_found_by_name_or_head(tmp_path, name, data, kind):
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data() if callable(data) else data)
    assert kind in {leak.kind for leak in leaks.scan(tmp_path, own=NOBODY)}


def test_a_zip_behind_a_password_is_refused_since_nobody_can_look_into_it(tmp_path):
    data = bytearray(_zipped("a.txt", "x"))
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag that says so
    (tmp_path / "a.zip").write_bytes(data)
    assert "what cannot be looked into (a file behind a password)" in {
        leak.kind for leak in leaks.scan(tmp_path, own=NOBODY)
    }


def test_archives_without_end_are_given_up(tmp_path):
    data = b"x"
    for _ in range(12):
        data = _zipped("a.zip", data)
    (tmp_path / "a.zip").write_bytes(data)
    assert any("deep" in leak.kind for leak in leaks.scan(tmp_path, own=NOBODY))


def test_a_link_tells_where_it_leads(tmp_path):
    (tmp_path / "here").symlink_to("/ho" + "me/alice/data")
    assert [str(leak) for leak in leaks.scan(tmp_path, own=NOBODY)] == ["here: a path of a machine"]


def test_the_refusal_names_the_file_and_the_kind_and_no_secret(tmp_path):
    secret = SECRETS["github"][1]
    (tmp_path / "service.py").write_text(f"TOKEN = '{secret}'")
    with pytest.raises(BuildError, match=re.escape("service.py: a token of GitHub")) as refused:
        leaks.refuse(tmp_path, own=NOBODY)
    assert secret not in str(refused.value)


def test_what_is_allowed_needs_a_reason(tmp_path):
    (tmp_path / "cities.csv").write_text("a,b")
    assert leaks.refuse(tmp_path, own=NOBODY, allow={"*.csv": "names of cities, published"})
    with pytest.raises(SpecError, match="needs a reason"):
        leaks.refuse(tmp_path, own=NOBODY, allow={"*.csv": " "})
    with pytest.raises(BuildError, match=re.escape("cities.csv: a data file")):
        leaks.refuse(tmp_path, own=NOBODY, allow={"other.csv": "another"})


def test_this_machine_s_own_names_are_looked_for_by_default(tmp_path, monkeypatch):
    monkeypatch.setenv("SCORING_TOKEN", "a-word-of-no-known-form")
    monkeypatch.setenv("PIP_INDEX_URL", "https://bot:pw@wheels.internal.example/simple")
    (tmp_path / "a.txt").write_text(f"{Path.cwd()} x")
    (tmp_path / "b.txt").write_text("say a-word-of-no-known-form")
    (tmp_path / "c.txt").write_text("from wheels.internal.example")
    assert {str(leak) for leak in leaks.scan(tmp_path)} == {
        "a.txt: a path of this machine",
        "b.txt: a secret of this environment",
        "c.txt: the address of a package index",
    }
    assert "a-word" not in repr(leaks.machine())


def test_nothing_of_a_scaffolded_service_and_its_packages_is_taken_for_a_leak(champion, challenger, tmp_path):
    folder = ekiben.scaffold(tmp_path / "risk", arms={"champion": champion})
    for place in (folder, champion.save(tmp_path / "package"), challenger.save(tmp_path / "other")):
        assert leaks.scan(place, own=leaks.machine(), published=()) == ()


def test_ekiben_s_own_wheel_holds_nothing_of_this_machine(tmp_path):
    locking.write_wheel(tmp_path)
    assert leaks.scan(tmp_path) == ()


@pytest.mark.parametrize(
    "name", ["numpy", "pandas", "sklearn", "pydantic", "httpx", "starlette", "cryptography", "rich"]
)
def test_nothing_of_a_real_library_is_taken_for_a_leak(name, tmp_path):
    module = Path(__import__(name).__file__).parent
    archive = tmp_path / "layer.tar"
    with tarfile.open(archive, "w") as made:
        made.add(module, f"app/site-packages/{name}", filter=lambda info: None if "__pycache__" in info.name else info)
    assert leaks.scan(archive, own=NOBODY) == ()


def test_who_has_a_number_and_no_name_is_looked_for_by_the_rest(monkeypatch):
    def nobody(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in USERS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setenv("HOME", "/srv/jobs/17")
    found = leaks.machine().texts
    assert "/srv/jobs/17" in found["a path of this machine"]
    assert "the name of a user of this machine" not in found


def _two(first, second):
    return lambda text: first("a.txt", text) + second("b.txt", b"nothing")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.zip", _two(_zipped, _zipped)),
        ("a.zip", lambda text: _zipped("a.txt", text) + b"\0" * 40 + _zipped("b.txt", b"nothing")),
        ("a.tar", lambda text: gzip.decompress(_tarred("b.txt", b"nothing")) + text),
        ("a.tar", lambda text: gzip.decompress(_tarred("b.txt", b"nothing")) + gzip.decompress(_tarred("a.txt", text))),
    ],
)
def test_what_no_list_of_an_archive_names_is_looked_at(tmp_path, name, data):
    (tmp_path / name).write_bytes(data(f"say {SECRETS['github'][1]}\n".encode()))
    assert {leak.kind for leak in leaks.scan(tmp_path, own=NOBODY)} == {"a token of GitHub"}


def test_what_a_zip_adds_to_the_name_of_a_file_is_looked_at(tmp_path):
    told = f"say {SECRETS['github'][1]}\n".encode()
    entry = zipfile.ZipInfo("a.txt")
    entry.extra = b"\xfe\xca" + len(told).to_bytes(2, "little") + told
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr(entry, "nothing")
    assert [str(leak) for leak in leaks.scan(tmp_path, own=NOBODY)] == ["a.zip!: a token of GitHub"]


def test_a_stream_that_unpacks_to_more_than_is_looked_at_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(leaks.unpacking, "MOST_INFLATED", 1000)
    (tmp_path / "model.joblib").write_bytes(zlib.compress(bytes(1000)))
    assert leaks.scan(tmp_path, own=NOBODY) == ()
    (tmp_path / "model.joblib").write_bytes(zlib.compress(bytes(1000) + b"more of it"))
    assert "what cannot be looked into" in str(leaks.scan(tmp_path, own=NOBODY)[0])


def test_a_secret_that_is_longer_than_any_file_s_name_is_looked_for_and_not_shown(tmp_path, monkeypatch):
    secret = "-".join(["word-of-no-known-form"] * 20)
    monkeypatch.setenv("SCORING_TOKEN", secret)
    (tmp_path / "a.txt").write_text(f"say {secret}")
    assert [str(leak) for leak in leaks.scan(tmp_path)] == ["a.txt: a secret of this environment"]


def test_folders_are_looked_for_by_each_of_their_names(tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    for name in ("home", "work"):
        (tmp_path / name).symlink_to(tmp_path / "disk")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PWD", str(tmp_path / "work"))
    found = leaks.machine(tmp_path / "work").texts["a path of this machine"]
    assert {str(tmp_path / name) for name in ("disk", "home", "work")} <= {*found}
    monkeypatch.setenv("PWD", str(tmp_path))  # of a shell that is elsewhere
    assert str(tmp_path) not in leaks.machine().texts["a path of this machine"]
