"""Leaks in the forms that they are found in elsewhere, each planted once: keys, logins, data, repositories and machines."""

import gzip
import json
import pickle

import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from ekiben.containers import leaks
from leaking import DIGITS, HEX, OWN, UPPER, Draw, kinds_in, saved, zipped

# Secrets are made here, in parts, so that this file holds none of them.
DRAW = Draw("leaks")
data, some = DRAW.data, DRAW.some
KEY, LOGIN, PASSWORD, RANDOM = (
    "a private key",
    "a file of logins",
    "a password or token",
    "a value without order, as keys are",
)
DATA, NOTEBOOK, GIT, PATH = "a data file", "a notebook", "a git repository", "a path of a machine"
ADDRESS, PRIVATE = "an address with a password", "a private address"
AZURE, BUILDS, MODELS = "a key of Azure", "a token of a build service", "a key of a model provider"
HOME = "/ho" + "me/alice"
FRAME = pd.DataFrame({"age": range(50), "job": ["clerk"] * 50})


def der(key):
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


OPENSSH = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
TOKEN = "ghp_" + some(36)
PLANTED = {
    # clouds
    "a refresh token of Google": ("adc.json", json.dumps({"refresh_token": "1//0g" + some(60)}), PASSWORD),
    "a session of AWS": ("boto.cfg", "aws_session" + "_token = " + some(300), "a key of AWS"),
    "a secret in values of a chart": ("values.yaml", f"secret{'Key'}: {some(39)}1\n", PASSWORD),
    "a bus of Azure": ("a.cfg", "SharedAccess" + f"Key={some(43)}=", AZURE),
    "Cosmos of Azure": ("a.cfg", "Account" + f"Key={some(86)}==;", AZURE),
    "a signature of a blob": ("a.txt", f"https://a.blob.example.com/c?sv=1&sig={some(43)}%3D", AZURE),
    "a client of Azure": ("a.txt", "AZURE_CLIENT_SECRET=" + some(3) + "8" + "Q~" + some(34), AZURE),
    "a phrase of Oracle": ("oci.cfg", "pass_" + "phrase=Tr0ub4dor&3\n", PASSWORD),
    "a warehouse": ("a.txt", "snowflake" + f"://bob:{some(12)}@acct/db", ADDRESS),
    "a cluster of documents": ("a.txt", "mongodb+srv" + f"://app:{some(14)}@c0.example.net/", ADDRESS),
    "a cache without a user": ("a.txt", "redis" + f"://:{some(16)}@cache.example.com:6379/0", ADDRESS),
    # services
    "a build service": ("a.txt", "CCIPAT_" + some(22) + "_" + some(40, HEX), BUILDS),
    "an error tracker's upload": ("a.txt", "sntrys_" + some(60), BUILDS),
    "packages of Ruby": ("a.txt", "rubygems_" + some(48, HEX), BUILDS),
    "an organisation of Hugging Face": ("a.txt", "api_org_" + some(34), "a token of Hugging Face"),
    "Postman": ("a.txt", "PMAK-" + some(24, HEX) + "-" + some(34, HEX), "a key of Postman"),
    "Mailchimp": ("a.txt", some(32, HEX) + "-us14", "a key of Mailchimp"),
    "traces of prompts": ("a.txt", "lsv2_pt_" + some(32, HEX) + "_" + some(10, HEX), MODELS),
    "a trigger of Slack": (
        "a.py",
        "https://hooks" + f".slack.com/triggers/T0{some(6, UPPER)}/1/{some(32)}",
        "a token of Slack",
    ),
    "one-time passwords": (
        "a.txt",
        "otpauth" + f"://totp/x?secret={some(32, UPPER + '234567')}",
        "a seed of one-time passwords",
    ),
    "PASETO": ("a.txt", "v2.lo" + f"cal.{some(120)}", "a token without a signature's form (PASETO)"),
    # logins and passwords
    "pgpass under another name": ("db.txt", f"db.example.com:5432:credit:scorer:{some(14)}\n", "a login of Postgres"),
    "a default of netrc": ("n.txt", f"default login bot pass{'word'} {some(12)}", "a login of .netrc"),
    "netrc in lines": (
        "n.txt",
        f"machine api.example.com\n  login user\n  pass{'word'} {some(40)}\n",
        "a login of .netrc",
    ),
    "LDAP": ("ldap.cfg", f"binddn cn=admin,dc=x\nbind{'pw'} {some(12)}\n", PASSWORD),
    "a header of basic authorization": ("a.py", "{'Authori" + f"zation': 'Basic {some(20)}'}}", "a bearer token"),
    "a header of a key": ("a.py", "{'x-api" + f"-key': '{some(24)}'}}", PASSWORD),
    "a query of an address": ("a.py", f"get('https://api.example.com/v1?api_key={some(31)}1')", RANDOM),
    "an environment as a list": ("c.yaml", f"env:\n- name: DB_PASS{'WORD'}\n  value: {some(12)}\n", PASSWORD),
    "a token of a cluster": ("c.yaml", f"users:\n- name: ci\n  user:\n    tok{'en'}: {some(20)}1.{some(64)}", PASSWORD),
    "an identity of a registry of images": ("a.json", json.dumps({"identity" + "token": some(48)}), PASSWORD),
    # private keys
    "Ed25519": ("a.bin", der(ed25519.Ed25519PrivateKey.generate()), KEY),
    "Ed448": ("a.bin", der(ed448.Ed448PrivateKey.generate()), KEY),
    "X25519": ("a.bin", der(x25519.X25519PrivateKey.generate()), KEY),
    "DSA": ("a.bin", der(dsa.generate_private_key(1024)), KEY),
    "PKCS#12": (
        "store.bin",
        pkcs12.serialize_key_and_certificates(
            b"k", ec.generate_private_key(ec.SECP256R1()), None, None, BestAvailableEncryption(b"pw")
        ),
        KEY,
    ),
    "a store of Java": ("store.bin", b"\xfe\xed\xfe\xed\x00\x00\x00\x02" + data(200), KEY),
    "a store of passwords": ("store.bin", b"\x03\xd9\xa2\x9a" + data(200), LOGIN),
    "OpenSSH without its frame": ("a.txt", OPENSSH.split(b"-----")[2], KEY),
    "OpenSSH within JSON": ("a.json", json.dumps({"k": OPENSSH.decode()}), KEY),
    "RSA with the other line ends": (
        "a.txt",
        rsa.generate_private_key(65537, 2048)
        .private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        .replace(b"\n", b"\r\n"),
        KEY,
    ),
    "minisign": ("a.txt", "untrusted comment: minisign encry" + f"pted secret key\n{some(200)}", KEY),
    "a master key": ("master.key", some(32, HEX), KEY),
    # data and notebooks
    "a notebook without its form": ("a.json", json.dumps({"cells": [{"cell_type": "code", "outputs": []}]}), NOTEBOOK),
    "a packed notebook": ("a.bin", gzip.compress(json.dumps({"cells": [{"cell_type": "code"}]}).encode()), NOTEBOOK),
    "a table with texts in quotes": ("a.txt", "id,name,city\n" + '1,"A, B",x\n' * 40, DATA),
    "a table within code": ("a.py", 'DATA = """\n' + "31,clerk,low,x\n" * 60 + '"""\n', DATA),
    "records": ("a.json", json.dumps([{"age": age, "job": "clerk"} for age in range(60)]), DATA),
    "a pickled frame": ("a.bin", pickle.dumps(FRAME), DATA),
    "a frame of Arrow": ("a.bin", saved(FRAME.to_feather), DATA),
    "a frame of Stata": ("a.bin", saved(lambda file: FRAME.to_stata(file, write_index=False)), DATA),
    "a workbook": ("a.bin", zipped({"xl/workbook.xml": "<w/>"}), DATA),
    "an old workbook": ("a.bin", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(90), DATA),
    "DuckDB": ("a.bin", data(8) + b"DUCK" + bytes(90), DATA),
    "a dump of Postgres": ("a.txt", "-- Postgre" + "SQL database dump\n", DATA),
    "a packed dump of Postgres": ("a.bin", b"PGDMP" + bytes(90), DATA),
    "rows to copy": ("a.txt", "COPY public.t (a, b) FROM stdin;\n1\t2\n", DATA),
    "rows to insert": ("a.txt", "INSERT INTO users VALUES (1, 'a');\n" * 12, DATA),
    # repositories
    "a bare repository": ("repo/HEAD", "ref: refs/heads/main\n", GIT),
    "a link to a repository": ("sub/.git", "gitdir: ../.git/modules/x\n", GIT),
    "packed objects": ("a.bin", b"PACK\x00\x00\x00\x02" + data(60), GIT),
    "a bundle": ("a.bin", b"# v2 git bundle\n" + data(60), GIT),
    # machines
    "a RECORD": ("ours-1.dist-info/RECORD", f"../../..{HOME}/bin/x,,\n", PATH),
    "a direct_url": ("ours-1.dist-info/direct_url.json", json.dumps({"url": f"file://{HOME}/credit"}), PATH),
    "an environment of conda": ("a.txt", "prefix: /opt/con" + "da/envs/alice-risk/bin", PATH),
    "a disk of a Mac": ("a.txt", "/Vol" + "umes/Data/alice/train.txt", PATH),
    "a share of Windows": ("a.txt", "\\" + "\\fileserver01\\risk\\train.txt", PATH),
    "a share within JSON": ("a.json", json.dumps({"from": "\\" + "\\fileserver01\\risk\\train.txt"}), PATH),
    "a workspace": ("a.txt", "/Works" + "pace/Users/alice@example.com/nb", PATH),
    "a private address of six": ("a.txt", "http" + "://[fd12:3456:789a::1]:5000/", PRIVATE),
    "an address of a carrier": ("a.txt", "http" + "://100.64" + ".3.7:5000", PRIVATE),
    # names
    "the name of a file": (f"{TOKEN}.txt", "x", "a token of GitHub"),
    "the name of a folder": (f"keys/AKIA{some(16, UPPER + DIGITS)}/a.txt", "x", "a key of AWS"),
    "the machine in a name": ("gpu-box-17.txt", "x", "the name of this machine"),
    # ways to write a login
    "a text in three quotes": ("a.py", f'PASS{"WORD"} = """{DRAW.mixed(12)}"""\n', PASSWORD),
    "a text in three quotes, over lines": ("a.toml", f"pass{'word'} = '''\n{DRAW.mixed(14)}'''\n", PASSWORD),
    "a property of Spark": ("a.conf", f"spark.hadoop.fs.s3a.secret{'.key'} {DRAW.mixed(40)}\n", PASSWORD),
    "a signed address": ("a.txt", f"https://b.example.com/k?X-Amz-Sig{'nature'}={DRAW.mixed(64, HEX)}", RANDOM),
    "a cipher's own key": ("a.py", f'f = Fernet(b"{some(43)}=")\n', KEY),
    "a client of telephones": ("a.py", f'Client("AC{some(32, HEX)}", "{some(32, HEX)}")\n', PASSWORD),
    "a store of keys": ("a.sh", f"keytool -genkey -store{'pass'} {DRAW.mixed(10)} -alias x\n", PASSWORD),
    "a cipher's password": ("a.sh", f"openssl enc -aes-256-cbc -pass pass{':'}{DRAW.mixed(12)} -in a\n", PASSWORD),
    "a packed file's password": ("a.sh", f"zip {'-P'} {DRAW.mixed(12)} -r out.zip a\n", PASSWORD),
    "a directory of persons": ("a.py", f'c.simple_bind{"_s"}("cn=admin,dc=x", "{DRAW.mixed(12)}")\n', PASSWORD),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_leak_is_refused_with_the_name_of_its_file(tmp_path, planted):
    name, text, kind = PLANTED[planted]
    assert kind in kinds_in(tmp_path, name, text)


def test_what_merely_looks_like_one_is_none(tmp_path):
    (tmp_path / "service.py").write_text(
        "import bentoml\n\nLIMITS = {\n    'age': (18, 99),\n    'income': (0, 9e6),\n}\nVERSION = '100.2.3.4'\n"
        "PATTERN = r'\\\\d+\\\\w'\nNOTE = 'default login page'\nSHARE = 'a' 'b'\n# see https://example.com/a?page=2&key=name\n"
    )
    (tmp_path / "HEAD").write_text("ref: an overview\n")
    (tmp_path / "where.py").write_text(
        'secret_name = "churn-keys1"\ntoken_url = "https://login.example.com/oauth2/token"\nPASSWORD_FILE = "/run/x1"\n'
        'password = """The words of a person, which 1 reads."""\nzip(a, b)\nf = Fernet(key)\nclient = Client("AC", "b")\n'
    )
    (tmp_path / "page.html").write_text(f'<link integrity="sha384-{some(64)}" href="a.css">\n')
    (tmp_path / "a.sh").write_text(
        "keytool -genkey -storepass $STORE_PASS1\nopenssl enc -pass pass:$PW12345\nzip -P $ZIP_PW1 a\n"
    )
    (tmp_path / "limits.json").write_text(json.dumps([{"name": "age", "least": 18}, {"name": "income", "least": 0}]))
    assert leaks.scan(tmp_path, own=OWN, published=()) == ()
