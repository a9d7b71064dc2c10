"""Two hundred more leaks in forms of their own, and sixty files that merely look like one."""

import base64
import errno
import gzip
import json
import lzma
import marshal
import os
import pickle
import tempfile
from pathlib import Path

import pandas as pd
import pytest

from ekiben.containers import leaks
from leaking import DIGITS, HEX, LOWER, OWN, UPPER, Draw, kinds_in, saved, zipped

# Secrets are made here, in parts, so that this file holds none of them.
DRAW = Draw("forms")
data, mixed, some, uuid = DRAW.data, DRAW.mixed, DRAW.some, DRAW.uuid
ROOT = Path(__file__).parents[2]
HOME = "/ho" + "me/alice"
TABLE = "age,job,risk\n" + "31,clerk,low\n" * 60


def compiled(place):
    return b"\xa7\r\r\n" + bytes(12) + marshal.dumps(compile("x = 1", place, "exec"))


PASSWORD, TOKEN = some(5, LOWER) + "7" + some(6, LOWER), "ghp_" + some(36)
CLOUD, MODELS, BUILDS = "a key of a cloud", "a key of a model provider", "a token of a build service"
PAYMENTS, DATABASES, WEB = "a key of a payment service", "a token of a database", "a token of a web service"
LOGIN, KEY, DATA, PATH = "a password or token", "a private key", "a data file", "a path of a machine"
HOST, INDEX, CLOSED = "the name of a private host", "the address of a package index", "what cannot be looked into"
LOGINS, SECRETS, DIGEST = "a file of logins", "a file of secrets", "a password's digest"
BROWSER, HISTORY, GIT, REMOTE = "a login of a browser", "the history of a shell", "a git repository", "a git remote"

TOKENS = {
    "GOOG1" + some(56, UPPER + DIGITS): CLOUD,
    "HRKU-AA" + mixed(58): CLOUD,
    "FlyV1 fm2_" + mixed(120): CLOUD,
    "nfp_" + mixed(36): CLOUD,
    "vercel_blob_rw_" + mixed(40): CLOUD,
    "dose" + some(32, HEX): CLOUD,
    "v1.0-" + some(24, HEX) + "-" + some(146, HEX): CLOUD,
    "AQVN" + mixed(38): CLOUD,
    "t1." + mixed(60) + "." + mixed(86): CLOUD,
    "tk-us-" + mixed(48): CLOUD,
    "EXO" + some(24, HEX): CLOUD,
    "rpa_" + some(43, UPPER + DIGITS): CLOUD,
    "tskey-auth-" + some(17) + "-" + mixed(32): CLOUD,
    some(73) + "a7K" + "AZDO" + some(4): "a key of Azure",
    mixed(52) + "JQQJ99" + some(10) + "ACYe" + some(12): "a key of Azure",
    mixed(42) + "+ACR" + some(6): "a key of Azure",
    "sk-or-v1-" + some(64, HEX): MODELS,
    "sk-lf-" + uuid(): MODELS,
    "csk-" + some(48, LOWER + DIGITS): MODELS,
    "fw_" + mixed(24): MODELS,
    "pcsk_" + mixed(70): MODELS,
    "jina_" + mixed(60): MODELS,
    "sk_" + some(48, HEX): MODELS,
    "wandb_v1_" + mixed(70): MODELS,
    "aph0_" + mixed(40): MODELS,
    "bkua_" + some(40, HEX): BUILDS,
    "sqp_" + some(40, HEX): BUILDS,
    "sgp_" + some(16, HEX) + "_" + some(40, HEX): BUILDS,
    "ATBB" + mixed(32): BUILDS,
    "dt0c01." + some(24, UPPER + DIGITS) + "." + some(64, UPPER + DIGITS): BUILDS,
    "AKCp" + mixed(69): BUILDS,
    "cmVmdGtu" + mixed(56): BUILDS,
    "oy2" + some(43, LOWER + DIGITS): BUILDS,
    "CLOJARS_" + some(60, HEX): BUILDS,
    "API-" + some(26, UPPER + DIGITS): BUILDS,
    "SWMTKN-1-" + some(50, LOWER + DIGITS) + "-" + some(25, LOWER + DIGITS): BUILDS,
    "kubeadm join --token " + some(5, LOWER) + "7." + some(15, LOWER) + "7": BUILDS,
    "ico-" + mixed(32): BUILDS,
    "pnu_" + mixed(36): BUILDS,
    "lin_oauth_" + some(64, HEX): BUILDS,
    "dbtc_" + mixed(40): BUILDS,
    "sdk-" + uuid(): BUILDS,
    "rdme_" + some(70, LOWER + DIGITS): BUILDS,
    "glagent-" + mixed(50): "a token of GitLab",
    "gloas-" + mixed(64): "a token of GitLab",
    "GR1348941" + mixed(20): "a token of GitLab",
    "xoxd-" + mixed(60): "a token of Slack",
    "xoxe.xoxp-1-" + mixed(140): "a token of Slack",
    "sb_secret_" + mixed(31): DATABASES,
    "napi_" + some(64, LOWER + DIGITS): DATABASES,
    "mdb_sa_sk_" + mixed(40): DATABASES,
    "4b1d" + mixed(38): DATABASES,
    "cflt" + mixed(60): DATABASES,
    "rzp_live_" + mixed(14): PAYMENTS,
    "FLWSECK-" + some(32, HEX) + "-X": PAYMENTS,
    "access-production-" + uuid(): PAYMENTS,
    "access_token$production$" + some(16) + "$" + some(32, HEX): PAYMENTS,
    "duffel_live_" + mixed(43): PAYMENTS,
    "shippo_live_" + some(40, HEX): PAYMENTS,
    "EZAK" + mixed(54): PAYMENTS,
    "live_" + some(35, HEX): PAYMENTS,
    "ntn_" + mixed(46): WEB,
    "pat" + some(14) + "." + some(64, HEX): WEB,
    "pat-na1-" + uuid(): WEB,
    "CFPAT-" + mixed(43): WEB,
    "xkeysib-" + some(64, HEX) + "-" + some(16): WEB,
    "tfp_" + mixed(40): WEB,
    "fio-u-" + mixed(64): WEB,
    "aio_" + mixed(28): WEB,
    "md-" + mixed(22): WEB,
    "ops_eyJ" + mixed(300): WEB,
    "EAACEdEose0cBA" + mixed(80): WEB,
    "A" * 21 + mixed(20) + "%3D" + mixed(50): WEB,
    "sk.eyJ1" + mixed(60) + "." + mixed(22): WEB,
    "xprv9s21ZrQH143K" + some(95, "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"): KEY,
    "AGE-PLUGIN-YUBIKEY-1" + some(40, UPPER + DIGITS): KEY,
    ".".join(("eyJ" + some(40), some(80), some(16), some(200), some(22))): "an encrypted token (JWE)",
    "$2y$05$" + some(53): DIGEST,
    "root:$6$" + some(16) + "$" + some(86) + ":19000:0:99999:7:::": DIGEST,
    "bob:$apr1$" + some(8) + "$" + some(22): DIGEST,
    "argon2:$argon2id$v=19$m=10240,t=10,p=8$" + some(22): DIGEST,
    "Authorization: ApiKey " + mixed(54) + "==": "a bearer token",
    "https://" + mixed(36) + "@git.example.com/x": "an address with a password",
}

TEXTS = {  # in code and in settings: file, text, kind
    "an item of the environment": ("a.py", f'os.environ["DB_PASS{"WORD"}"] = "{PASSWORD}"\n', LOGIN),
    "a default": ("a.py", f'os.environ.setdefault("API_KEY", "{PASSWORD}")\n', LOGIN),
    "a default that is read": ("a.py", f'KEY = os.getenv("API_TOKEN", "{PASSWORD}")\n', LOGIN),
    "an annotated one": ("a.py", f'password: Final[str] = "{PASSWORD}"\n', LOGIN),
    "a pair": ("a.py", f'requests.get(url, auth=("bob", "{PASSWORD}"))\n', LOGIN),
    "a login by mail": ("a.py", f'server.login("bob@example.com", "{PASSWORD}")\n', LOGIN),
    "a setter": ("A.java", f'source.setPassword("{PASSWORD}");\n', LOGIN),
    "PHP": ("c.php", f"define('DB_PASSWORD', '{PASSWORD}');\n", LOGIN),
    "EDN": ("c.edn", f'{{:password "{PASSWORD}"}}\n', LOGIN),
    "an entry": ("c.xml", f'<entry key="db.password">{PASSWORD}</entry>\n', LOGIN),
    "a property": ("c.xml", f'<property name="password">{PASSWORD}</property>\n', LOGIN),
    "a list of properties": ("c.plist", f"<key>password</key>\n<string>{PASSWORD}</string>\n", LOGIN),
    "a build server's": ("c.xml", f"<password>{{AQAAABAAAAAQ{some(40)}}}</password>\n", LOGIN),
    "compose": ("c.yaml", f"environment:\n  - POSTGRES_PASSWORD={PASSWORD}\n", LOGIN),
    "ENV": ("Containerfile", f"ENV DB_PASSWORD={PASSWORD}\n", LOGIN),
    "ENV of old": ("Containerfile", f"ENV DB_PASSWORD {PASSWORD}\n", LOGIN),
    "ARG": ("Containerfile", f"ARG TOKEN={PASSWORD}\n", LOGIN),
    "the history of an image": (
        "a.json",
        json.dumps({"created_by": f"RUN |1 API_TOKEN={PASSWORD} /bin/sh -c pip"}),
        LOGIN,
    ),
    "before a command": ("run.sh", f"PGPASSWORD={PASSWORD} psql -h db\n", LOGIN),
    "mysql": ("run.sh", f"mysql -u root -p{PASSWORD} credit\n", LOGIN),
    "sshpass": ("run.sh", f"sshpass -p {PASSWORD} ssh bob@host\n", LOGIN),
    "a registry of images": ("run.sh", f"docker login -u bob -p {PASSWORD} registry.example.com\n", LOGIN),
    "an option": ("run.sh", f"tool --password {PASSWORD} run\n", LOGIN),
    "an option in a list": ("a.json", json.dumps({"args": ["--password", PASSWORD]}), LOGIN),
    "letters alone": ("c.yaml", "database:\n  user: scorer\n  password: correcthorsebattery\n", LOGIN),
    "Spring": ("application.properties", "spring.datasource.password=correcthorse\n", LOGIN),
    "Oracle": ("a.cfg", f"jdbc:oracle:thin:scott/{PASSWORD}@db:1521:x\n", LOGIN),
    "sqlplus": ("run.sh", f"sqlplus scott/{PASSWORD}@db\n", LOGIN),
    "curl's own": ("c.cfg", f'user = "bob:{PASSWORD}"\n', LOGIN),
    "Laravel": ("a.cfg", f"APP_KEY=base64:{some(43)}=\n", LOGIN),
    "PowerShell": ("a.ps1", f'$x = ConvertTo-SecureString "{PASSWORD}" -AsPlainText\n', LOGIN),
    "a share": ("a.bat", f"net use Z: \\\\srv\\x /user:bob {PASSWORD}\n", LOGIN),
    "a block": ("a.yaml", f"password: >-\n  {PASSWORD}\n", LOGIN),
    "German": ("a.toml", f'passwort = "{PASSWORD}"\n', LOGIN),
    "cookies": ("jar.txt", "# Netscape HTTP Cookie File\n", BROWSER),
    "a cookie": ("a.txt", f"Set-Cookie: sessionid={mixed(32)}; HttpOnly\n", BROWSER),
    "what a browser asked": ("h.json", '{"log": {"version": "1.2", "creator": {"name": "x"}}}', BROWSER),
    "the address of Jupyter": (
        "a.txt",
        f"http://localhost:8888/lab?token={some(48, HEX)}\n",
        "a value without order, as keys are",
    ),
    "a bearer in two texts": ("a.py", f'h = {{"x": "Bearer " + "{mixed(40)}"}}\n', "a bearer token"),
    "a vault's within YAML": (
        "a.yml",
        "pw: !vault |\n     $ANSIBLE_" + "VAULT;1.1;AES256\n",
        "a secret of Ansible's vault",
    ),
    "what Terraform knows": ("s.json", '{"terraform_version": "1.5.0", "serial": 3, "lineage": "x"}', SECRETS),
    "OpenVPN": ("ta.txt", "-----BEGIN Open" + "VPN Static key V1-----\n", KEY),
    "SSH2": ("k.txt", "---- BEGIN SSH2 ENCRYPTED PRI" + "VATE KEY ----\n", KEY),
    "PEM in one line": ("a.txt", "-----BEGIN PRI" + f"VATE KEY----- {some(64)} {some(64)}", KEY),
    "RSA as XML": ("k.xml", f"<RSAKeyValue><P>x</P><D>{some(171)}=</D></RSAKeyValue>", KEY),
    "an SSH configuration": ("c.txt", "Host bastion\n  IdentityFile ~/keys/id\n", LOGINS),
    # machines and addresses
    "a Mac's temporary folder": ("a.txt", "/pri" + "vate/var/folders/ab/cd_x/T/x\n", PATH),
    "an exported home": ("a.txt", f"/export{HOME}/credit\n", PATH),
    "homes on a disk": ("a.txt", f"/data{HOME}/credit\n", PATH),
    "a container of GitHub": ("a.txt", "/__" + "w/credit/credit/train.py\n", PATH),
    "an agent of Azure": ("a.txt", "/azp/_" + "work/1/s/train.py\n", PATH),
    "CodeBuild": ("a.txt", "/code" + "build/output/src123/train.py\n", PATH),
    "a runner of Windows": ("a.txt", "D:" + "\\a\\credit\\train.py\n", PATH),
    "a project of Windows": ("a.txt", "D:" + "\\projects\\credit\\train.py\n", PATH),
    "Kaggle": ("a.txt", "/kag" + "gle/input/credit/train\n", PATH),
    "Lustre": ("a.txt", "/lus" + "tre/alice/x\n", PATH),
    "a temporary folder": ("a.txt", "/tm" + "p/tmpab12cd_3/credit/x.py\n", PATH),
    "Linux in Windows": ("a.txt", "\\" + "\\wsl$\\Ubuntu\\home\\alice\\x\n", PATH),
    "a machine of a cloud": ("a.txt", "up: ip-10-20-30-40.eu-west-1.compute.inter" + "nal\n", HOST),
    "a service of a cluster": ("c.yaml", "postgres.prod.svc.cluster" + ".local\n", HOST),
    "a host by name": ("c.cfg", "host = db01.co" + "rp\n", HOST),
    "a home's host": ("a.txt", "http://nas.home.ar" + "pa/x\n", HOST),
    "known hosts": ("k.txt", f"git.example.net ssh-ed25519 AAAA{some(64)}\n", "the name of a machine"),
    "links": ("requirements.txt", "-f https://links.example.net/wheels.html\n", INDEX),
    "a registry": ("n.txt", "registry=https://npm.example.net/\n", INDEX),
    "a proxy of modules": ("a.txt", "GOPROXY=https://go.example.net\n", INDEX),
    "a channel": ("environment.yml", "channels:\n  - https://conda.example.net/private\n", INDEX),
    "a submodule": ("m.txt", '[submodule "x"]\n\turl = https://git.example.net/x\n', REMOTE),
    "packed references": ("p.txt", "# pack-refs with: peeled \n", GIT),
    "a label": ("a.json", json.dumps({"Labels": {"build.host": "gpu-box-17"}}), "the name of this machine"),
    # data
    "UTF-16": ("a.txt", TABLE.encode("utf-16"), DATA),
    "a table in base64": ("a.json", json.dumps({"d": base64.b64encode(TABLE.encode()).decode()}), DATA),
    "Parquet in base64": (
        "a.json",
        json.dumps({"d": base64.b64encode(saved(pd.DataFrame({"a": [1]}).to_parquet)).decode()}),
        DATA,
    ),
    "SQLite in code": ("a.py", f'D = "{base64.b64encode(b"SQLite format 3" + bytes(200)).decode()}"', DATA),
    "two columns": ("a.txt", "age,risk\n" + "31,low\n" * 60, DATA),
    "JSON in lines": ("a.txt", "".join(f'{{"age": {age}, "job": "clerk"}}\n' for age in range(60)), DATA),
    "libsvm": ("a.txt", "".join(f"1 1:{i}.5 2:0.25 7:1\n" for i in range(60)), DATA),
    "ARFF": ("a.txt", "@relation x\n@attribute age numeric\n@data\n31\n", DATA),
    "rows of HTML": ("a.html", "<tr><td>31</td><td>clerk</td></tr>\n" * 60, DATA),
    "rows of XML": ("a.xml", "<row><age>31</age><job>clerk</job></row>\n" * 60, DATA),
    "columns of a fixed width": ("a.txt", "".join(f"{i:<6}clerk     low    {i * 3:>8}\n" for i in range(60)), DATA),
    "columns apart": ("a.txt", "".join(f"{i} {i * 2}.5 low\n" for i in range(60)), DATA),
    "cards of persons": ("c.txt", "BEGIN:VCARD\nFN:Alice\nEND:VCARD\n", DATA),
    "mail": ("m.txt", "From alice@example.com Mon Jan  1 00:00:00 2024\n", DATA),
    "addresses of mail": ("a.txt", "".join(f"user{i}@example.com\n" for i in range(30)), DATA),
    "places": ("g.json", '{"type": "FeatureCollection", "features": []}', DATA),
    "polars": ("a.bin", b"\x80\x04\x95" + bytes(8) + b"\x8c\x16polars.dataframe.frame\x94", DATA),
    "a notebook as a page": ("r.html", '<div class="jp-Cell jp-CodeCell">x</div>', "a notebook"),
    # where it is known by its bytes
    "a hidden service": ("hs", b"== ed25519v1-" + b"secret: type0 ==" + data(64), KEY),
    "a store of Bouncy Castle": ("b.bin", b"\x00\x00\x00\x02\x00\x00\x00\x14" + data(90), KEY),
    "a ring of keys": ("sec.bin", b"\x95\x03\x98\x04\x60\x00\x00\x00\x01" + data(90), KEY),
    "Kerberos": ("k.bin", b"\x05\x02\x00\x00\x00\x3a\x00\x02" + data(50), LOGINS),
    "tickets of Kerberos": ("krb5cc", b"\x05\x04\x00\x0c\x00\x01" + data(50), LOGINS),
    "what a crash left": (
        "core",
        b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x04\x00\x3e\x00" + data(90),
        "the memory of a process",
    ),
    "a heap of Java": ("h.bin", b"JAVA PROFILE 1.0.2\x00" + data(40), "the memory of a process"),
    "Feather of old": ("a.bin", b"FEA1" + data(90), DATA),
    "Matlab": ("a.bin", b"MATLAB 5.0 MAT-file, Platform" + bytes(90), DATA),
    "LMDB": ("a.bin", bytes(16) + b"\xde\xc0\xef\xbe" + data(60), DATA),
    "xz of old": ("a.bin", lzma.compress(f"{TOKEN}\n".encode(), format=lzma.FORMAT_ALONE), "a token of GitHub"),
    "compress": ("a.bin", b"\x1f\x9d\x90" + data(60), f"{CLOSED} (compress)"),
    "a cabinet": ("a.bin", b"MSCF\0\0\0\0" + data(60), f"{CLOSED} (a cabinet)"),
    "snappy": ("a.bin", b"\xff\x06\x00\x00sNaPpY" + data(50), f"{CLOSED} (snappy)"),
    "squashfs": ("a.bin", b"hsqs" + data(90), f"{CLOSED} (squashfs)"),
    "openssl": ("a.bin", b"Salted__" + data(60), f"{CLOSED} (a file behind a password)"),
    "age": ("a.bin", b"age-encryption.org/v1\n" + data(60), f"{CLOSED} (a file behind a key)"),
}
TEXTS |= {  # where a name and its value do not stand side by side, or are no settings
    "a default of Terraform": ("a.tf", f'variable "db_password" {{\n  default = "{PASSWORD}"\n}}\n', LOGIN),
    "a value of Helm": ("a.sh", f"helm install credit --set image.tag=1,auth.password={PASSWORD}\n", LOGIN),
    "Go's short form": ("a.go", f'apiKey := "{PASSWORD}"', LOGIN),
    "Rust's constant": ("a.rs", f'const TOKEN: &\'static str = "{PASSWORD}";', LOGIN),
    "SQL's user": ("a.sql", f"CREATE USER scorer WITH PASSWORD '{PASSWORD}';", LOGIN),
    "MySQL's user": ("a.sql", f"ALTER USER scorer IDENTIFIED BY '{PASSWORD}';", LOGIN),
    "what stands in for a variable": ("a.py", f'x = os.environ.get("DB_PASSWORD") or "{PASSWORD}"', LOGIN),
    "what stands in for one in JavaScript": ("a.js", f'const x = process.env.DB_PASSWORD || "{PASSWORD}";', LOGIN),
    "a comparison": ("a.py", f'if password == "{PASSWORD}":\n    pass\n', LOGIN),
    "bytes": ("a.py", f'SECRET_KEY = b"{PASSWORD}!"', LOGIN),
    "a secret of pydantic": (
        "a.py",
        f'class S(BaseSettings):\n    api_key: SecretStr = SecretStr("{PASSWORD}")\n',
        LOGIN,
    ),
    "an option of typer": ("a.py", f'def run(token: str = typer.Option("{PASSWORD}")): ...\n', LOGIN),
    "a key without line ends": ("a.txt", "-----BEGIN PRI" + f"VATE KEY-----{some(64)}{some(64)}", KEY),
    "the first line of two bytes a letter": ("a.txt", f"password: {PASSWORD}\r\n".encode("utf-16"), LOGIN),
}
TEXTS |= {  # the byte before it tells its length, and is a letter for many
    f"a compiled path of {n} letters": ("m.pyc", compiled(f"{HOME}/{'p' * (n - len(HOME) - 4)}.py"), PATH)
    for n in (50, 70, 85, 100, 115)
}
TEXTS |= {
    f"a password in a pickle of protocol {n}": ("m.pkl", pickle.dumps({"db": {"password": PASSWORD, "n": n}}, n), LOGIN)
    for n in range(6)
}
NAMES = {
    "fish_history": HISTORY,
    "ConsoleHost_history.txt": HISTORY,
    ".duckdb_history": HISTORY,
    ".viminfo": HISTORY,
    ".flaskenv": SECRETS,
    ".Renviron": SECRETS,
    "local.settings.json": SECRETS,
    "wp-config.php": SECRETS,
    "prod.tfvars": SECRETS,
    "terraform.tfstate.backup": SECRETS,
    ".pg_service.conf": LOGINS,
    ".gitconfig": LOGINS,
    "a.rdp": LOGINS,
    "a.har": LOGINS,
    "a.kdb": KEY,
    ".config/gh/hosts.yml": "the settings of a user",
    ".docker/config.json": LOGINS,
    ".ipython/profile_default/startup/x.py": "the state of a notebook",
    "wandb/run-1/files/x.txt": "a store of experiments",
    ".dvc/config": "a store of experiments",
    "events.out.tfevents.1700000000.x": DATA,
    "a.mat": DATA,
    "a.dbf.gz": DATA,
    "a.txt.br": CLOSED,
    "a.iso": CLOSED,
    "service.py.rej": "what an editor or a desktop left",
}


def test_a_token_of_any_vendor_is_found(tmp_path):
    missed = [
        token[:12]
        for number, (token, kind) in enumerate(TOKENS.items())
        if kind not in kinds_in(tmp_path / str(number), "a.txt", f"before\n{token}\nafter\n")
    ]
    assert not missed


@pytest.mark.parametrize("planted", TEXTS)
def test_a_leak_in_code_settings_or_data_is_found(tmp_path, planted):
    name, text, kind = TEXTS[planted]
    assert kind in kinds_in(tmp_path, name, text)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_whose_name_says_what_it_is_is_found(tmp_path, name):
    assert NAMES[name] in kinds_in(tmp_path, name, "x")


@pytest.fixture
def attributed(tmp_path):
    """Give a folder that takes extended attributes: a temporary one in memory may not, the checkout's own does."""
    for place in (tmp_path, ROOT):
        with tempfile.TemporaryDirectory(dir=place, prefix=".attributed-") as folder:
            try:
                os.setxattr(folder, "user.origin", b"harmless")
            except OSError as reason:
                if reason.errno != errno.ENOTSUP:
                    raise
                continue
            yield Path(folder)
            return
    pytest.fail(
        "Neither the temporary folder nor the checkout takes extended attributes: what lies there is not looked at."
    )


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="Python reads extended attributes on Linux alone")
def test_what_a_file_system_keeps_beside_a_file_is_looked_at(attributed):
    (attributed / "a.txt").write_text("harmless")
    (attributed / "folder").mkdir()
    assert not leaks.scan(attributed, own=OWN)
    os.setxattr(attributed / "a.txt", "user.origin", TOKEN.encode())
    os.setxattr(attributed / "folder", "user.origin", f"{HOME}/x".encode())
    found = {*map(str, leaks.scan(attributed, own=OWN))}
    assert {"a.txt!: a token of GitHub", f"folder!: {PATH}"} <= found


# ── what merely looks like one

HARMLESS = {
    "a tokenizer's pickle": ("a.pkl", pickle.dumps({"token_pattern": r"(?u)\b\w\w+\b", "token": "word_12"})),
    "columns in a pickle": ("a.pkl", pickle.dumps(["has_password", "amount_2", "secret", "income"])),
    "a service": (
        "service.py",
        (
            "TOKEN_ENV = 'SCORING_API_TOKEN'\n\n@bentoml.service(name=SPEC.name, **config(SPEC))\nclass Credit(ModelService, spec=SPEC):\n"
            "    def preprocess(self, frame):\n        return frame.assign(ratio=frame.debt / frame.income)\n"
        ),
    ),
    "what is read": (
        "a.py",
        "password = os.environ['DB_PASSWORD']\napi_key = os.getenv('API_KEY')\ntoken = config.get('token')\n",
    ),
    "what is passed on": ("a.py", "Client(\n    user=user,\n    password=password,\n    token=settings.token,\n)\n"),
    "what is kept": ("a.py", "def f(self):\n    self.username = username\n    self.password = password\n"),
    "nothing": ("a.py", "password = None\ntoken = ''\nAPI_KEY: str | None = None\nsecret = \"\"\n"),
    "a reference": (
        "c.yaml",
        "env:\n  - name: DB_PASSWORD\n    valueFrom:\n      secretKeyRef: {name: db, key: password}\n",
    ),
    "a variable": (
        "c.yaml",
        "environment:\n  - POSTGRES_PASSWORD=${POSTGRES_PASSWORD}\n  - API_TOKEN=$API_TOKEN\n",
    ),
    "a template": ("c.toml", 'password = "{{ password }}"\ntoken = "<token>"\nsecret = \'${SECRET}\'\n'),
    "passengers": ("a.py", "CLASSES = {'passenger_class': 'second class'}\nPASSENGER_COLUMN = 'passenger_class_2'\n"),
    "tokens of a text": (
        "a.py",
        "TOKENIZER = 'bert-base-uncased-2'\nmax_tokens = 60_000\ntoken_count = 'tokens_1'\nn_tokens: int = 90000\n",
    ),
    "names of columns": (
        "a.py",
        "COLUMNS = ['password_age', 'token_age']\nRENAMED = {'token_type': 'kind_of_token'}\n",
    ),
    "names of variables": ("a.py", "KEY_ENV = 'OPENAI_API_KEY'\nHEADER = 'x-api-key'\nFIELD = 'access_token'\n"),
    "how to ask": (
        "README.md",
        (
            'curl -f https://api.example.com/health\ncurl -u "$USER:$PASSWORD" https://api.example.com\n'
            'curl -H "Authorization: Bearer $TOKEN" https://api.example.com/predict\n'
        ),
    ),
    "options": ("README.md", "tool --token-file path/file1\ntool --password PASSWORD --token TOKEN --api-key <key1>\n"),
    "a port": ("run.sh", "mysql --port 3306 -h db credit\nmysqldump -p credit\naz login --use-device-code\n"),
    "identifiers": ("a.json", '{"id": "123e4567-e89b-12d3-a456-426614174000"}'),
    "digests": ("a.txt", f"sha256:{'ab' * 32}\ncommit {'0123456789' * 4}\nmd5={'d41d8cd9' * 4}\n"),
    "a lock": (
        "requirements.txt",
        "".join(f"package-{i}==1.{i}.0 --hash=sha256:{i * 7919:064x}\n" for i in range(80)),
    ),
    "ranges of versions": ("constraints.txt", "".join(f"package{i}>=1.{i},<2\n" for i in range(60))),
    "a card of many columns": (
        "README.md",
        "| column | holds |\n|---|---|\n" + "".join(f"| `x{i}` | number, seen -{i}.5 to {i}.25 |\n" for i in range(90)),
    ),
    "a table to look up": (
        "notebook.py",
        "REGIONS = {\n" + "".join(f"    'region {i}': {i}.5,\n" for i in range(90)) + "}\n",
    ),
    "constants": ("codes.py", "".join(f"HTTP_{i} = {i}\n" for i in range(100, 190))),
    "calls": ("a.py", "".join(f"add({i}, 'name {i}', 0.5)\n" for i in range(80))),
    "comparisons": ("test_a.py", "".join(f"    assert f({i}) == {i * 2}\n" for i in range(90))),
    "numbers of a plan": ("plan.json", '{"coef": [\n' + ",\n".join(f"   {i}.123456" for i in range(300)) + "\n]}"),
    "rows of a plan": ("plan.json", '{"rows": [' + ", ".join(f"[{i}, {i}.5, -0.25]" for i in range(200)) + "]}"),
    "categories": ("contract.json", '{"categories": [' + ", ".join(f'"value {i}"' for i in range(300)) + "]}"),
    "a vocabulary": ("vocab.txt", "".join(f"word {i}\n" for i in range(300))),
    "words": ("README.md", "The model answers, and explains, in 3 ms. It was packed here; see the card.\n" * 10),
    "a list in words": ("README.md", "".join(f"- item {i}: takes {i} seconds, or {i + 1}\n" for i in range(90))),
    "public addresses": (
        "README.md",
        "https://github.com/bentoml/BentoML.git https://docs.example.com/home/alice/page\n",
    ),
    "the public index": ("README.md", "https://py" + "pi.org/simple\n"),
    "this machine as all call it": (
        "a.py",
        "URL = 'http://127.0.0.1:3000/predict'\nHOST = '0.0.0.0'\nLOCAL = 'http://localhost:5000'\n",
    ),
    "the host of a container": ("c.yaml", "url: http://host.docker.internal:5000/\n"),
    "versions": ("a.txt", "10.0.1 172.16 192.168 v10.20.30 1.10.0.0.1\n"),
    "paths within": ("a.py", "PATHS = ['models/home/x', './users/list', '../data/home.txt', 'api/users/me']\n"),
    "routes": ("a.py", "@app.get('/users/{user_id}')\nURL = 'https://api.example.com/users/42/orders'\n"),
    "the home of an image": ("a.txt", "/home/bentoml/bento/src/service.py\n$HOME/x\n/home/$USER/x\n"),
    "what is temporary": ("a.py", "open('/tmp/cache/x')\n"),
    "a certificate": ("ca.pem", f"-----BEGIN CERTIFICATE-----\nMIIB{'A1b2' * 15}\n-----END CERTIFICATE-----\n"),
    "a public key": ("pub.txt", f"-----BEGIN PUBLIC KEY-----\nMCow{'A1b2' * 7}=\n-----END PUBLIC KEY-----\n"),
    "words on keys": (
        "README.md",
        "What begins with -----BEGIN PRIVATE KEY----- must not be here, nor AKIA or ghp_ or sk_live_.\n",
    ),
    "how keys begin": (
        "a.py",
        "fw_version = 3\nsk_learn = 'sk_model'\nclass pat: ...\nntn_total = 2\nEXO = 'exogenous'\nlive_data = True\n",
    ),
    "styles": ("a.css", ".md-nav__item--active { color: red }\n.jp-like { margin: 0 }\n"),
    "words on tokens": (
        "README.md",
        "A token has the form eyJ… . … . …\nAuthorization: Bearer <token>\nThe bearer of this document may answer.\n",
    ),
    "a header that is made": (
        "a.py",
        "h = {'Authorization': f'Bearer {token}'}\nh = {'Authorization': 'Bearer ' + os.environ['TOKEN']}\n",
    ),
    "words on cookies": ("README.md", "Set-Cookie: session=<id>\nThe header names the arm, cookie: arm=champion\n"),
    "a spec": ("ekiben.toml", 'format = 1\nname = "credit"\nunit = "customer_id"\n\n[keys]\nfile = "keys.json"\n'),
    "patterns": (
        "a.py",
        "PATTERN = r'(?:\\w+:\\s*\\d+)'\nWINDOWS = r'a:\\tb\\nc'\nKEY = r'^[a-f0-9]{32}$'\nMASK = ~values/2\nX = a @ b\n",
    ),
    "a small table": ("README.md", "| arm | share |\n|---|---|\n| a | 0.9 |\n| b | 0.1 |\n"),
    "whom to ask": ("README.md", "risk@example.com\nml@example.com\n"),
    "a picture": ("a.svg", '<svg><path d="M 10 10 L 20 20 L 30 30"/><text x="1" y="2">a</text></svg>'),
    "words on data": ("README.md", "A FeatureCollection has features. BEGIN:VCARD begins a card. import sqlite3\n"),
    "a colour of a token": ("a.py", "COLOURS = {'white': '#d4d2c8'}\nSTYLES = {'token': COLOURS['white']}\n"),
    "texts that code puts together": (
        "a.py",
        (
            'KIND = "key" + "_" + "id"\nHEADS = ["AKIA", "ASIA", "AROA", "AIDA", "ANPA"]\nMARK = "".join(chr(c) for c in range(65, 91))\n'
            'NAME = f"{KIND}_{1}"\nWORDS = "%s of %s" % ("a token", "no form")\nurl = "https://" + host + "/" + path\n'
        ),
    ),
    "lines that begin with a head": ("a.md", "sk-learn\nhf_hub\nghp_\nabcdefghijklmnopqrstuvwxyzabcdefghijklmnop\n"),
    "numbers that are letters too": ("a.json", json.dumps({"ages": [*range(32, 99)], "bits": ["0110", "1001"] * 30})),
    "several values of a name": (
        "a.py",
        "url = fetch()\nif not url:\n    url = 'github.com/x'\nurl = f'ssh://{url}'\n",
    ),
    "colours": ("a.py", "COLOURS = ['#ff0000', '#00ff00', '#0000ff']\nSALT = 'ab' * 3\n"),
    "words on registries": ("README.md", "registry = the place where models are; channels:\n - email\n - phone\n"),
    "hosts": ("c.toml", 'host = "0.0.0.0"\nserver = "uvicorn"\nhostname = "localhost"\n'),
    "options and fields": (
        "a.py",
        (
            'p.add_argument("--token", help="the token, see https://x.example.com/a1")\n'
            'token: str = typer.Option(..., "--token")\nx: SecretStr = Field(default=None, alias="api_key_1")\n'
            'password: str | None = None\nif token == "endfor" or password == "unset":\n    pass\n'
        ),
    ),
    "what is asked for elsewhere": (
        "a.go",
        'token := os.Getenv("API_TOKEN")\nconst p = password ?? "unknown";\nlet apiKey = getKey("name-of-key1");\n',
    ),
    "settings without values": (
        "a.tf",
        (
            'variable "db_password" {\n  type = string\n}\nvariable "region" {\n  default = "eu-west-1a"\n}\n'
            "# helm install x --set image.tag=1.2.3 --set auth.password=$PW\n# ALTER USER scorer WITH PASSWORD :'pw';\n"
        ),
    ),
    "paths of others": (
        "a.py",
        'P = Path("/ho" "me") / user / "x"\nQ = os.path.join("/usr", "local", "lib")\nR = 12 / 4\n',
    ),
    "styles in lines": (
        "a.css",
        "".join(f".c{i} {{ color: #{i:06x}; top: {i}px; left: 0; }}\n" for i in range(40)),
    ),
    "bytes": ("a.bin", bytes(range(256)) * 400),
    "packed words": ("a.gz", gzip.compress(b"The model answers.\n" * 50)),
    "a pickle": ("a.bin", pickle.dumps({"coef": [0.1] * 50, "names": ["age", "income"]})),
    "a packed model": ("model.skops", zipped({"schema.json": json.dumps({"__class__": "Ridge", "__module__": "x"})})),
    "compiled code": ("m.pyc", compiled("/app/site/ours/module.py")),
}


@pytest.mark.parametrize("looks_like", HARMLESS)
def test_what_merely_looks_like_a_leak_is_none(tmp_path, looks_like):
    name, text = HARMLESS[looks_like]
    assert kinds_in(tmp_path, name, text) == set()
