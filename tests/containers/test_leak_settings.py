"""Passwords as settings, commands, code and words hold them, and what merely looks like one."""

import base64
import json

import numpy as np
import pytest

from ekiben.containers.leaks.settings import SETTINGS
from leaking import HEX, LOWER, Draw, kinds_in, saved

# Secrets are made here, so that this file holds none of them.
DRAW = Draw("settings")
mixed, some, uuid = DRAW.mixed, DRAW.some, DRAW.uuid
PASSWORD = some(5, LOWER) + "7" + some(6, LOWER)
HOME, MAC = "/ho" + "me/alice", "/Us" + "ers/alice"
LOGIN, PATH, DIGEST = "a password or token", "a path of a machine", "a password's digest"
ADDRESS, INDEX, REMOTE = "an address with a password", "the address of a package index", "a git remote"
NPM, NETRC, POSTGRES = "a login of npm", "a login of .netrc", "a login of Postgres"
AZURE, BEARER, MACHINE = "a key of Azure", "a bearer token", "the name of a machine"

SOURCE = "source = { registry = " + '"https://'  # in two parts: no file names an index


def coded(text):
    return base64.b64encode(text.encode()).decode()


PLANTED = {
    "netrc password first": ("n.txt", f"machine git.example.com password {PASSWORD} login bob\n", NETRC),
    "netrc account": ("n.txt", f"machine git.example.com\nlogin bob\naccount x\npassword {PASSWORD}\n", NETRC),
    "tf sensitive value": (
        "s.txt",
        json.dumps({"outputs": {"db_password": {"value": PASSWORD, "type": "string", "sensitive": True}}}, indent=2),
        LOGIN,
    ),
    "pgpass other port": ("db.txt", f"db.example.com:25060:credit:scorer:{mixed(14)}\n", POSTGRES),
    "go mysql dsn": ("c.txt", f"scorer:{PASSWORD}@tcp(db.example.com:3306)/credit?parseTime=true\n", ADDRESS),
    "psk": ("wifi.txt", f'network={{\n  ssid="office"\n  psk="{PASSWORD}"\n}}\n', LOGIN),
    "psk bare": ("wifi.txt", f"[wifi-security]\nkey-mgmt=wpa-psk\npsk={PASSWORD}\n", LOGIN),
    "passphrase words": ("c.yaml", "passphrase: correct horse battery staple\n", LOGIN),
    "passphrase words quoted": ("c.py", 'PASSPHRASE = "correct horse battery staple"\n', LOGIN),
    "mnemonic": (
        "c.txt",
        'mnemonic = "legal winner thank year wave sausage worth useful legal winner thank yellow"\n',
        LOGIN,
    ),
    "yaml anchor": ("c.yaml", f"db:\n  password: &pw {PASSWORD}\nother:\n  password: *pw\n", LOGIN),
    "yaml anchor quoted": ("c.yaml", f'db:\n  password: &pw "{PASSWORD}"\n', LOGIN),
    "yaml tag": ("c.yaml", f"db:\n  password: !!str {PASSWORD}\n", LOGIN),
    "yaml flow": ("c.yaml", f"db: {{user: bob, password: {PASSWORD}, port: 5432}}\n", LOGIN),
    "yaml comment behind": ("c.yaml", f"db:\n  password: {PASSWORD}  # rotate me\n", LOGIN),
    "toml array of pairs": ("c.toml", f'env = [["DB_PASSWORD", "{PASSWORD}"]]\n', LOGIN),
    "json array pair": ("c.json", json.dumps([["DB_PASSWORD", PASSWORD]]), LOGIN),
    "ini comment behind": ("c.ini", f"[db]\npassword = {PASSWORD} ; old\n", LOGIN),
    "json value escaped": ("c.json", '{"password": "' + PASSWORD[:4] + "\\u0041\\\\" + PASSWORD[4:] + '"}', LOGIN),
    "json quote escaped": ("c.json", '{"password": "a\\"' + PASSWORD + '"}', LOGIN),
    "heredoc hcl": ("m.tf", f"password = <<EOT\n{PASSWORD}\nEOT\n", LOGIN),
    "powershell securestring": (
        "a.ps1",
        f'$c = ConvertTo-SecureString -AsPlainText -Force -String "{PASSWORD}"\n',
        LOGIN,
    ),
    "powershell credential": ("a.ps1", f"$pw = '{PASSWORD}'\n", LOGIN),
    "batch setx": ("a.bat", f"setx API_TOKEN {PASSWORD}\r\n", LOGIN),
    "make ?=": ("Makefile", f"DB_PASSWORD ?= {PASSWORD}\n", LOGIN),
    "make :=": ("Makefile", f"DB_PASSWORD := {PASSWORD}\n", LOGIN),
    "make export": ("Makefile", f"export API_TOKEN ::= {PASSWORD}\n", LOGIN),
    "npm password": ("n.txt", f"//npm.example.com/:_password={coded(PASSWORD)}\n", NPM),
    "yarn": ("y.yml", f'npmAuthIdent: "bob:{PASSWORD}"\n', NPM),
    "lock direct": (
        "requirements.txt",
        "credit @ https://artifactory.example.com/repo/credit-1.0-py3-none-any.whl\n",
        INDEX,
    ),
    "uv.lock": (
        "uv.lock",
        f'[[package]]\nname = "credit"\nversion = "1.0"\n{SOURCE}nexus.example.com/repository/py/" }}\n',
        INDEX,
    ),
    "Pipfile.lock": (
        "Pipfile.lock",
        json.dumps(
            {
                "_meta": {
                    "sources": [{"name": "x", "url": "https://nexus.example.com/repository/py/", "verify_ssl": True}]
                }
            },
            indent=2,
        ),
        INDEX,
    ),
    "poetry.lock": (
        "poetry.lock",
        '[package.source]\ntype = "legacy"\nurl = "https://nexus.example.com/repository/py"\nreference = "x"\n',
        INDEX,
    ),
    "uv.lock wheel": (
        "uv.lock",
        'wheels = [\n    { url = "https://nexus.example.com/repository/py/credit-1.0-py3-none-any.whl", hash = "sha256:'
        + "ab" * 32
        + '" },\n]\n',
        INDEX,
    ),
    "condarc": ("c.yml", "channel_alias: https://conda.example.com/\n", INDEX),
    "direct_url": (
        "credit-1.dist-info/direct_url.json",
        json.dumps(
            {"url": "https://git.example.com/risk/credit", "vcs_info": {"vcs": "git", "commit_id": some(40, HEX)}}
        ),
        REMOTE,
    ),
    "user@host prompt": ("a.txt", "alice@gpu-box-18:~/credit$ python train.py\n", MACHINE),
    "backtick": ("a.js", f"const password = `{PASSWORD}`;\n", LOGIN),
    "backtick go": ("a.go", f"apiKey := `{PASSWORD}`\n", LOGIN),
    "template js": ("a.js", f"const c = {{password: `{PASSWORD}`}};\n", LOGIN),
    "DB_PW": ("c.env.txt", f"DB_PW={PASSWORD}\n", LOGIN),
    "DB_PWD": ("c.txt", f"DB_PWD={PASSWORD}\n", LOGIN),
    "pw py": ("a.py", f'DB_PW = "{PASSWORD}"\n', LOGIN),
    "pwd py": ("a.py", f'pwd = "{PASSWORD}"\n', LOGIN),
    "senha": ("a.py", f'senha = "{PASSWORD}"\n', LOGIN),
    "contrasena": ("a.py", f'contrasena = "{PASSWORD}"\n', LOGIN),
    "contraseña": ("a.yaml", f"contraseña: {PASSWORD}\n", LOGIN),
    "mot_de_passe": ("a.py", f'mot_de_passe = "{PASSWORD}"\n', LOGIN),
    "mdp": ("a.py", f'MDP = "{PASSWORD}"\n', LOGIN),
    "wachtwoord": ("a.yaml", f"wachtwoord: {PASSWORD}\n", LOGIN),
    "kennwort": ("a.yaml", f"kennwort: {PASSWORD}\n", LOGIN),
    "haslo": ("a.py", f'haslo = "{PASSWORD}"\n', LOGIN),
    "parol ru": ("a.yaml", f"пароль: {PASSWORD}\n", LOGIN),
    "mima": ("a.yaml", f"密码: {PASSWORD}\n", LOGIN),
    "lösenord": ("a.yaml", f"lösenord: {PASSWORD}\n", LOGIN),
    "comment is": ("a.py", f"# the password is {PASSWORD}\n", LOGIN),
    "comment colon": ("a.py", f"x = 1  # pw: {PASSWORD}\n", LOGIN),
    "md bold": ("README.md", f"**Password:** {PASSWORD}\n", LOGIN),
    "query password": ("c.txt", f"jdbc:postgresql://db.example.com/x?password={PASSWORD}&user=bob\n", LOGIN),
    "query only": ("c.txt", f"postgresql://db.example.com/x?sslmode=require&password={PASSWORD}\n", LOGIN),
    "jdbc sqlserver": ("c.txt", f"jdbc:sqlserver://db.example.com;databaseName=x;password={PASSWORD}\n", LOGIN),
    "dsn colon in pw": ("c.txt", f"postgresql://scorer:pa:{PASSWORD}@db.example.com/x\n", ADDRESS),
    "dsn star": ("c.txt", f"postgresql://scorer:{PASSWORD}*@db.example.com/x\n", ADDRESS),
    "dsn slash": ("c.txt", f"postgresql://scorer:{PASSWORD[:5]}/{PASSWORD[5:]}@db.example.com/x\n", ADDRESS),
    "dsn dollar": ("c.txt", f"postgresql://scorer:{PASSWORD[:5]}$x{PASSWORD[5:]}@db.example.com/x\n", ADDRESS),
    "dsn parens": ("c.txt", f"postgresql://scorer:({PASSWORD})@db.example.com/x\n", ADDRESS),
    "dsn at": ("c.txt", f"postgresql://scorer:p@{PASSWORD}@db.example.com/x\n", ADDRESS),
    "sqlalchemy URL.create": (
        "a.py",
        f'e = create_engine(URL.create("postgresql", "scorer", "{PASSWORD}", "db.example.com"))\n',
        LOGIN,
    ),
    "connect positional": ("a.py", f'c = cx_Oracle.connect("scott", "{PASSWORD}", "db/x")\n', LOGIN),
    "filezilla": (
        "s.xml",
        f'<Server><User>bob</User><Pass encoding="base64">{coded(PASSWORD)}</Pass></Server>\n',
        LOGIN,
    ),
    "flask bytes": ("a.py", r"""app.secret_key = b'_5#y2L"F4Q8z\n\xec]/' """ + "\n", LOGIN),
    "urandom": ("a.py", r'''SECRET_KEY = b"\xf0?a\x9a\\\xff\xd4;\x0c\xcbHi\x0b\x11\x93\x8d\x1f"''' + "\n", LOGIN),
    "escape in pw": ("a.py", f'password = "{PASSWORD}\\n"\n', LOGIN),
    "quote in pw": ("a.py", f'password = "{PASSWORD[:5]}\'{PASSWORD[5:]}"\n', LOGIN),
    "spark account key": (
        "a.conf",
        f"spark.hadoop.fs.azure.account.key.x.blob.core.windows.net {mixed(86)}==\n",
        AZURE,
    ),
    "k8s stringData": ("c.yaml", f"kind: Secret\nstringData:\n  db: {PASSWORD}\n", LOGIN),
    "tabs": ("c.txt", f"password\t{PASSWORD}\n", LOGIN),
    "c define": ("c.h", f'#define DB_PASSWORD "{PASSWORD}"\n', LOGIN),
    "kotlin map": ("A.kt", f'mapOf("password" to "{PASSWORD}")\n', LOGIN),
    "scala": ("A.scala", f'"password" -> "{PASSWORD}"\n', LOGIN),
    "swift": ("A.swift", f'let token: String? = "{PASSWORD}"\n', LOGIN),
    "csharp": ("A.cs", f'public string Password {{ get; set; }} = "{PASSWORD}";\n', LOGIN),
    "r": ("a.R", f'password <- "{PASSWORD}"\n', LOGIN),
    "vba": ("a.bas", f'Const PASSWORD As String = "{PASSWORD}"\n', LOGIN),
    "nginx": ("n.conf", f'proxy_set_header Authorization "Basic {coded("bob:" + PASSWORD)}";\n', BEARER),
    "hocon": ("a.conf", f"db {{ password = {PASSWORD} }}\n", LOGIN),
    "hocon env": ("a.conf", f'db.password = ${{?PASSWORD}} "{PASSWORD}"\n', LOGIN),
    "jsonnet": ("a.jsonnet", f"{{ password:: '{PASSWORD}' }}\n", LOGIN),
    "lisp": ("a.el", f'(setq api-token "{PASSWORD}")\n', LOGIN),
    "fish": ("a.fish", f"set -x DB_PASSWORD {PASSWORD}\n", LOGIN),
    "csh": ("a.csh", f"setenv DB_PASSWORD {PASSWORD}\n", LOGIN),
    "tuple": ("a.py", f'USER, PASSWORD = "bob", "{PASSWORD}"\n', LOGIN),
    "dataclass": ("a.py", f'password: str = field(default="{PASSWORD}")\n', LOGIN),
    "getpass default": ("a.py", f'password = getpass() or "{PASSWORD}"\n', LOGIN),
    "click": ("a.py", f'@click.option("--token", envvar="T", default="{PASSWORD}")\n', LOGIN),
    "dotenv": ("a.py", f'set_key(".env", "DB_PASSWORD", "{PASSWORD}")\n', LOGIN),
    "f-string": ("a.py", f'u = f"postgresql://scorer:{PASSWORD}@{{host}}/x"\n', ADDRESS),
    "in brackets on the next line": ("c.py", f'DB_PASSWORD = (\n    "{mixed(14)}"\n)\n', LOGIN),
    "typed and in brackets": ("c.py", f'API_TOKEN: str = (\n    "{mixed(30)}"  # noqa: S105\n)\n', LOGIN),
    "key in brackets": ("c.py", f'SIGNING_KEY = (\n    "{mixed(44)}"\n)\n', "a value without order, as keys are"),
    "key of digits": ("c.py", f'KEY = bytes.fromhex("{some(64, HEX)}")\n', "a value without order, as keys are"),
    "key of base64": ("c.py", f'SEAL = base64.b64decode("{mixed(44)}")\n', "a value without order, as keys are"),
    "key of a seal": ("c.py", f'hmac.new(b"{mixed(32)}", body, "sha256").hexdigest()\n', LOGIN),
    "key of a token": ("c.py", f'claims = jwt.decode(shown, "{mixed(40)}", algorithms=["HS256"])\n', LOGIN),
    "key of a token made": ("c.py", f'jwt.encode({{"sub": "a", "exp": 3}}, "{mixed(40)}", algorithm="HS256")\n', LOGIN),
    "login of words": ("README.md", f"- staging login: admin / {mixed(12)}\n", LOGIN),
    "login of an account": ("README.md", f"- Accès à la base : scorer / {mixed(12)}\n", LOGIN),
    "login in a list": ("notes.md", f"Credentials for the demo: scorer | {mixed(12)}\n", LOGIN),
    "known host of one word": ("hosts.txt", f"db01 ssh-ed25519 AAAA{some(64)}\n", MACHINE),
}
COMMANDS = {
    "redis-cli": f"redis-cli -h db -a {PASSWORD} ping",
    "mongo": f"mongosh -u bob -p {PASSWORD} db",
    "ldapsearch": f"ldapsearch -x -D cn=admin -w {PASSWORD} -b dc=x",
    "smbclient": f"smbclient //srv/x -U bob%{PASSWORD}",
    "curl -u glued": f"curl -ubob:{PASSWORD} https://x.example.com",
    "httpie": f"http -a bob:{PASSWORD} GET https://x.example.com",
    "gpg": f"gpg --batch --passphrase {PASSWORD} -d x",
    "sqlcmd": f"sqlcmd -S db -U sa -P {PASSWORD} -d x",
    "bcp": f"bcp x.dbo.t out t.txt -S db -U sa -P {PASSWORD}",
    "mosquitto": f"mosquitto_pub -h x -u bob -P {PASSWORD} -t a",
    "plink": f"plink -ssh bob@h -pw {PASSWORD} ls",
    "lftp": f"lftp -u bob,{PASSWORD} ftp.example.com",
    "echo sudo": f"echo {PASSWORD} | sudo -S ls",
    "echo login": f"echo {PASSWORD} | docker login -u bob --password-stdin r.example.com",
    "htpasswd": f"htpasswd -bc f bob {PASSWORD}",
    "xfreerdp": f"xfreerdp /u:bob /p:{PASSWORD} /v:h",
    "psexec": f"psexec \\\\h -u bob -p {PASSWORD} cmd",
    "schtasks": f"schtasks /create /ru bob /rp {PASSWORD} /tn x",
    "cmdkey": f"cmdkey /add:h /user:bob /pass:{PASSWORD}",
    "vault kv": f"vault kv put secret/db password={PASSWORD}",
    "kubectl": f"kubectl create secret generic db --from-literal=password={PASSWORD}",
    "aws configure": f"aws configure set aws_secret_access_key {mixed(40)}",
    "chpasswd": f"echo 'bob:{PASSWORD}' | chpasswd",
    "useradd": f"useradd -p {PASSWORD} bob",
    "ipmitool": f"ipmitool -H h -U bob -P {PASSWORD} power on",
    "rabbitmq": f"rabbitmqctl add_user bob {PASSWORD}",
    "snowsql env": f"SNOWSQL_PWD={PASSWORD} snowsql",
}
PATHS = {
    "git bash": "/c" + MAC + "/credit",
    "cygwin": "/cygdrive/c" + MAC + "/x",
    "silverblue": "/var" + HOME + "/x",
    "freebsd": "/usr" + HOME + "/x",
    "data volume": "/System/Volumes/Data" + MAC + "/x",
    "homes": "/homes/alice/x",
    "win lower": "c:" + MAC.lower().replace("/", "\\") + "\\x",
}
DIGESTS = {
    "ssha": "userPassword: {SSHA}" + coded(some(24)),
    "sha htpasswd": "bob:{SHA}" + coded(some(20)),
    "md5crypt": "root:$1$" + some(8) + "$" + some(22) + ":19000::",
    "django": "pbkdf2_sha256$600000$" + some(22) + "$" + coded(some(32)),
    "werkzeug": "scrypt:32768:8:1$" + some(16) + "$" + some(128, HEX),
    "scram": "SCRAM-SHA-256$4096:" + coded(some(16)) + "$" + coded(some(32)) + ":" + coded(some(32)),
    "ntlm": "bob:1001:" + some(32, HEX) + ":" + some(32, HEX) + ":::",
    "cisco5": "enable secret 5 $1$" + some(4) + "$" + some(22),
    "cisco7": "username bob password 7 0822455D0A16544541",
    "yescrypt gost": "bob:$gy$j9T$" + some(22) + "$" + some(43),
}
LIKE_OTHERS = {  # what begins or looks as a place, a word or a type does
    "place": f"{some(6, LOWER)}/{some(4, LOWER).title()}{some(4, LOWER)}K{some(3, LOWER)}7",
    "word": "null-" + some(6, LOWER) + "7",
    "type": "int8" + some(4, LOWER).title() + "99",
}
PLANTED |= {
    f"a password like a {name}": ("app.yaml", f"password: {text}\n", LOGIN) for name, text in LIKE_OTHERS.items()
}
PLANTED |= {f"the command {name}": ("run.sh", f"set -e\n{text}\n", LOGIN) for name, text in COMMANDS.items()}
PLANTED |= {f"the path {name}": ("a.txt", f"{text}\n", PATH) for name, text in PATHS.items()}
PLANTED |= {f"the digest {name}": ("a.txt", f"{text}\n", DIGEST) for name, text in DIGESTS.items()}
HARMLESS = {
    "types": (
        "a.py",
        "@dataclass\nclass T:\n    token: int64\n    token_id: int64  # of the vocabulary\n    secret: Base64Url\n    credentials: OAuth2Credentials\n    password: float32\n    key: float64\n",
    ),
    "ts types": ("a.ts", "interface T {\n  token: string;\n  apiKey: Uint8Array;\n  secret?: OAuth2Secret;\n}\n"),
    "kwargs": ("a.py", "connect(user=user1, password=password1, token=self.token2, api_key=keys2[0])\n"),
    "yaml alias": ("c.yaml", "db:\n  password: *db_password\n  token: *tok\n"),
    "yaml ref": ("c.yaml", "password: ${DB_PASSWORD}\ntoken: $TOKEN1  # from the shell\nsecret: <your-secret-1>\n"),
    "paths": (
        "c.yaml",
        "password_file: /run/secrets/db1\nsecret: secrets/db1\ntoken_path: conf/a1b.txt  # where\nkey: ./k8s/key1.pem\n",
    ),
    "urls": (
        "c.yaml",
        "token_url: https://login.example.com/oauth2/v2.0/token  # a\ntoken_endpoint: 'https://x.example.com/a1b2/token'\n",
    ),
    "prose": (
        "README.md",
        "The password is checked by the gateway. A token is 256 bits long, and a secret is 32 bytes or 64 letters.\nThe passphrase is needed twice. Token: see RFC 6750. Key: sha256 of the name. Secret: 2 of 3.\n",
    ),
    "prose2": (
        "README.md",
        "- password: at least 8 characters, 1 digit\n- token: expires after 3600s\n- secret: rotated every 90 days\n",
    ),
    "versions": (
        "c.yaml",
        "token_version: v1.2.3\nkey_version: 2.0.1rc1\ncredential_helper: gcr-2.1.5\nsecret_engine: kv-v2\n",
    ),
    "dates": ("c.yaml", "token_issued: 2024-01-01\nsecret_rotated: 2026-11-28T10:00:00Z\n"),
    "algos": (
        "c.yaml",
        "token_alg: HS256\nkey_type: ed25519\nsecret_hash: sha512\npassword_hash: pbkdf2_sha256\nkey: rsa4096\npasswd_scheme: argon2id\n",
    ),
    "names": (
        "a.py",
        'COLUMNS = ["password_age2", "token_type", "api_key_v2", "secret1"]\nrename({"token": "n_tokens2"})\n',
    ),
    "lookups": (
        "a.py",
        'token = cache.get("session_v2")\npassword = os.environ["DB_PASSWORD_2"]\nkey = keys["region-2"]\napi_key = read("conf/key2.txt")\n',
    ),
    "tests names": ("test_a.py", "def test_a_token2_is_refused():\n    assert refused(token='')\n"),
    "help": (
        "a.py",
        'p.add_argument("--token", help="the token, of 32 letters", default=None)\np.add_argument("--password-file", default="secrets/db1.txt")\n',
    ),
    "env docs": (
        "README.md",
        "| `EKIBEN_KEYS` | a file of keys |\n| `DB_PASSWORD` | set by the cluster; `POSTGRES_PASSWORD_FILE` too |\n",
    ),
    "html": (
        "a.html",
        '<input type="password" name="password" id="password1" class="form-control col-md2x"/>\n<label for="token">Token</label>\n',
    ),
    "css": ("a.css", ".password-input2 { color: #a1b2c3 }\n.token.keyword { color: #1f2d3d; }\n"),
    "js tokens": ("a.js", "case 'token': return this.token2Type;\nconst tokens = [Token.L2R, Token.R2L];\n"),
    "make": ("Makefile", "TOKEN ?= $(shell cat token)\nPASSWORD := $(PASSWORD)\nSECRET_NAME := churn-keys1\n"),
    "docker": (
        "Containerfile",
        "ARG TOKEN\nENV TOKEN_FILE=/run/secrets/token1\nRUN --mount=type=secret,id=token1 pip install x\n",
    ),
    "shell": (
        "a.sh",
        "read -s PASSWORD\nexport TOKEN=$(cat token1)\nmysql -p\nredis-cli -p 6379 -h db1 ping\nmongosh --port 27017\nsqlcmd -S db1 -P\nldapsearch -x -b dc=x1\ncurl -u $USER:$PW1 https://x\nhttp -p Hh GET x1\ncurl -a x\necho done1 | tee a\n",
    ),
    "dsn placeholders": (
        "README.md",
        "postgresql://user:password@host/db\npostgresql://USER:PASSWORD@HOST:5432/DB\nredis://:<password>@host\nmysql://{user}:{password}@{host}/x\nhttps://registry.example.com:443/@scope/pkg\nhttp://localhost:3000/users/@me1\npostgresql://scorer:********@db.example.com/x\n",
    ),
    "dsn env": ("a.py", 'u = f"postgresql://{user}:{pw1}@{host}/x"\nv = "postgresql://%s:%s@%s/x" % (a, b, c1)\n'),
    "pg-like": ("a.txt", "service.py:1204:predict:frame:value12\n12:30:45:100:abc\n"),
    "hosts": ("README.md", "ssh user@host:~$ ls\nroot@container:/app# ls\n"),
    "whl public": (
        "requirements.txt",
        (
            "torch @ https://download.pytorch.org/whl/cpu/torch-2.1-cp311-none-linux_x86_64.whl\n"
            "x @ https://github.com/a/b/releases/download/v1/x-1-py3-none-any.whl\nnumpy @ https://files.python"
            "hosted.org/packages/a/b/numpy-1-cp311.whl\n"
        ),
    ),
    "uv.lock public": (
        "uv.lock",
        SOURCE + "pypi" + '.org" }\nwheels = [{ url = "https://files.python'
        'hosted.org/packages/aa/numpy-1.whl", hash = "sha256:' + "ab" * 32 + '" }]\n',
    ),
    "weights b64": (
        "w.json",
        json.dumps({"coef": base64.b64encode(np.random.default_rng(0).normal(size=4000).tobytes()).decode()}),
    ),
    "weights f32": ("w.bin", np.random.default_rng(1).normal(size=200000).astype("f4").tobytes()),
    "weights npy": (
        "w.npy",
        saved(lambda f: np.save(f, np.random.default_rng(2).integers(0, 255, 300000).astype("u1"))),
    ),
    "uuid": ("a.json", json.dumps({"id": uuid(), "run_id": some(32, HEX), "request_id": uuid(), "model_uuid": uuid()})),
    "hashes": ("a.txt", "".join(f"{some(64, HEX)}  file{i}.txt\n" for i in range(9))),
    "sri": ("a.html", f'<script src="a.js" integrity="sha512-{some(86)}=="></script>\n'),
    "jwt docs": (
        "README.md",
        "eyJhbGciOi… is the header; send `Authorization: Bearer <token>` or `Authorization: Basic <base64>`.\n",
    ),
    "basic docs": ("README.md", "Authorization: Basic dXNlcjpwYXNzd29yZA\n".replace("dXNlcjpwYXNzd29yZA", "$(echo)")),
    "passengers": ("a.py", "passenger_class = 'class3rd'\npassed = 'step2of3'\nbypass: lane2west\ncompass: n45e\n"),
    "keys of dicts": (
        "a.json",
        json.dumps({"key": "income_2020", "keys": ["a1b", "c2d"], "primary_key": "customer_id2", "sort_key": "x1y"}),
    ),
    "keyboard": ("a.txt", "keyboard: qwerty101x\nmonkey: rhesus5macaque\nturnkey: yes1\n"),
    "tokenizer": (
        "tok.json",
        json.dumps(
            {
                "unk_token": "[UNK]",
                "pad_token": "<pad>",
                "eos_token": "</s>",
                "bos_token": "<s>",
                "mask_token": "[MASK]",
                "vocab": {"a1b": 1},
            }
        ),
    ),
    "mdp": ("a.py", "mdp = 'gridworld_v2'\npw = pairwise(a, b)\npwd = Path.cwd()\npsk = 'qpsk16'\n"),
    "pw paths": ("a.sh", 'pwd="/srv/app1"\nPW=$(cat f1)\ncd "$PWD/a1b"\n'),
    "k8s secret empty": ("c.yaml", 'kind: Secret\nmetadata: {name: x1}\nstringData:\n  keys.toml: ""\n'),
    "regex": ("a.py", 'TOKEN_RE = r"(?u)\\b\\w\\w+\\b\\d{2}"\ntoken = "\\n"\nPASSWORD_PATTERN = r"[a-z0-9]{8,}"\n'),
    "scoped npm": ("package.json", json.dumps({"dependencies": {"@types/node": "^18.0.0", "token-kit2": "1.2.3"}})),
    "mime": ("a.py", 'SECRET_HEADER = "x-ekiben-id2"\nKEY_HEADER = "authorization"\nTOKEN_KIND = "application/json"\n'),
    "card": ("README.md", "| `password_age` | number, seen 1.5 to 30x |\n| `token_count2` | integer |\n"),
    "feature values": (
        "contract.json",
        json.dumps(
            {
                "columns": [
                    {"name": "passport", "categories": ["a1b2c3", "d4e5f6"]},
                    {"name": "tokens", "categories": ["x1y2"]},
                ]
            }
        ),
    ),
    "cats": ("contract.json", json.dumps({"name": "key_account", "categories": ["k1a2", "area_code_415"]})),
    "pins": (
        "requirements.txt",
        "azure-keyvault-secrets==4.8.0\ngoogle-cloud-secret-manager==2.20.0rc1\nSecretStorage==3.3.3\n",
    ),
    "pins in toml": ("pyproject.toml", "dependencies = ['azure-keyvault-secrets==4.8.0', 'secretstorage==3.3.3']\n"),
    "ring": ("a.txt", "secret santa 2023x\npassword\ttext\ntoken\tcount12\n"),
    "settings of pydantic": (
        "settings.py",
        (
            "class Settings(BaseSettings):\n    model_config = SettingsConfigDict(secrets_dir='/run/secrets')\n"
            "    token_url: str = 'https://auth.example.com/oauth2/v2.0/token'\n    secret_name: str = 'prod-credit-db-v2'\n"
        ),
    ),
    "phrase doc": ("README.md", "passphrase: what unlocks the key of the signer\nseed_words: one for each of them\n"),
    "argon docs": ("README.md", "Digests are like $2b$12$… or {SHA}…, pbkdf2_sha256$ and so on.\n"),
    "conda public": (
        "environment.yml",
        (
            "channels:\n  - conda-forge\n  - https://conda.anac"
            "onda.org/pytorch\nchannel_alias: https://conda.anac"
            "onda.org\n"
        ),
    ),
    "pipfile public": (
        "Pipfile.lock",
        json.dumps(
            {"_meta": {"sources": [{"name": "pypi", "url": "https://pypi" + ".org/" + "simple", "verify_ssl": True}]}}
        ),
    ),
    "usr home lib": ("a.txt", "/usr/lib/home.so /var/lib/homes2 a/users/x1 https://x.example.com/c/users/42\n"),
    "set cmd": ("a.sql", "SET secret_mode TO on1;\nset key k1;\nset token_limit 100k\n"),
    "secretname": (
        "k.yaml",
        "secretName: churn-keys1\nsecretRef: {name: churn-9x}\nimagePullSecrets: [{name: regcred2}]\n",
    ),
    "id of keys": ("a.json", json.dumps({"kid": "a1b2c3d4", "key_id": "key-7f3a", "private_key_id": "x"})),
    "names in brackets": (
        "a.py",
        (
            'PASSWORD = (\n    os.environ["DB_PASSWORD"]\n)\nTOKEN = (\n    "EKIBEN_TOKEN"\n)\n'
            'PASSWORD_HINT = (\n    "At least 12 letters"\n)\nsecret_names = ("db1", "queue-name2")\n'
        ),
    ),
    "keys from elsewhere": (
        "a.py",
        (
            'hmac.new(key, body, "sha256")\nhmac.new(os.environ["SEAL1"].encode(), body, hashlib.sha256)\n'
            'jwt.decode(shown, public_key, algorithms=["RS256"])\njwt.encode({"sub": "scorer12"}, key, "HS256")\n'
            f'DIGEST = bytes.fromhex("{HEX * 4}")\n'
        ),
    ),
    "pages of logins": (
        "README.md",
        "Login: admin / user, as in the vault.\nLogin page / sign-up: see RFC 6749.\nCredentials: read | write\n",
    ),
    "places of an account": ("a.yaml", "account: acme/churn-7f3a2b\naccess: s3/bucket2x9\n"),
    "alphabets": (
        "a.py",
        (
            'LETTERS = (\n    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"\n)\n'
            'BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"\n'
        ),
    ),
    "an address of documents": ("a.py", 'url = "postgresql://user:' + 'password@db.example.com/credit"\n'),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_password_is_found_however_its_name_stands_before_it(tmp_path, planted):
    name, text, kind = PLANTED[planted]
    assert kind in kinds_in(tmp_path, name, text)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_merely_has_the_name_of_a_secret_is_none(tmp_path, name):
    file, text = HARMLESS[name]
    assert kinds_in(tmp_path, file, text) == set()


def test_a_line_of_ten_thousand_instructions_is_read_once():  # as long as the square of it takes, this would not end
    line = json.dumps([{"mnemonic": "ADD", "opcode": "0x01"}] * 10_000).encode()
    assert not [rule.kind for rule in SETTINGS if rule.finds(line, line.lower())]
