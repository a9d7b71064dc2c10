"""Leaks that a person put together, cut or turned: in code, over lines, as digits of any base, and within what else files hold."""

import ast
import base64
import bz2
import codecs
import gzip
import io
import itertools
import json
import lzma
import pickle
import sqlite3
import struct
import tarfile
import zipfile
import zlib
from collections import OrderedDict

import joblib
import numpy as np
import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ekiben.containers import leaks
from ekiben.containers.leaks import CHUNK, Machine, folding, values, views
from leaking import DIGITS, LOWER, UPPER, Draw, kinds_in, saved, zipped

# Secrets are made here, in parts, so that this file holds none of them.
DRAW = Draw("pieces")
mixed, some = DRAW.mixed, DRAW.some
LOGIN, KEY, DATA, PATH = "a password or token", "a private key", "a data file", "a path of a machine"
AWS_KIND, GITHUB_KIND, ADDRESS = "a key of AWS", "a token of GitHub", "an address with a password"
LOGINS, SECRETS, NOTEBOOK = "a file of logins", "a file of secrets", "a notebook"
NETRC, INDEX, HOST = "a login of .netrc", "the address of a package index", "the name of a private host"


def tarred(name, data, mode="w"):
    with tarfile.open(fileobj=(made := io.BytesIO()), mode=mode) as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


def database(text):
    connection = sqlite3.connect(":memory:")
    connection.execute("create table t (x)")
    connection.execute("insert into t values (?)", (text,))
    connection.commit()
    return connection.serialize()


def chunk_of_png(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks):
    head = chunk_of_png(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk_of_png(b"IEND", b"")


def rot13(text):
    return codecs.encode(text, "rot13")


def cut(text, *places):
    """Cut a text into pieces at these places."""
    ends = [0, *places, len(text)]
    return [text[start:end] for start, end in itertools.pairwise(ends)]


AWS = "AKIA" + mixed(16, UPPER + "234567")
GITHUB = "ghp_" + mixed(36)
SLACK = "xoxb-" + some(12, DIGITS) + "-" + mixed(24)
STRIPE = "sk_live" + "_" + mixed(24)
GOOGLE = "AIza" + mixed(35)
GITLAB = "glpat-" + mixed(20)
FACE = "hf_" + mixed(34)
MODEL = "sk-proj-" + mixed(48)
JWT = ".".join(("eyJ" + mixed(20), "eyJ" + mixed(40), mixed(43)))
PASSWORD = some(4, LOWER) + "7" + some(5, LOWER) + "Q2"
DSN = "postgresql" + f"://scorer:{PASSWORD}@db.example.com/credit"
HOME = "/ho" + "me/alice/credit/train.py"
PEM = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
SSH = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
FRAME = pd.DataFrame({"age": range(60), "job": ["clerk"] * 60})
A, B = cut(AWS, 9)
G, H = cut(GITHUB, 15)
JWT_KIND = "a signed token (JWT)"


def code(text):
    return ("service.py", f"import os\n\n{text}\n\n\ndef predict(x):\n    return x\n")


ASSEMBLED = {  # put together by code
    "letters by number": (*code("K = " + "+".join(f"chr({ord(x)})" for x in AWS)), AWS_KIND),
    "letters by number in lines": (
        *code("K = (\n    " + "\n    + ".join(f"chr({ord(x)})" for x in AWS) + "\n)"),
        AWS_KIND,
    ),
    "letters by hexadecimal number": (*code("K = " + " + ".join(f"chr({ord(x):#x})" for x in AWS)), AWS_KIND),
    "a list of numbers": (*code(f'K = "".join(chr(c) for c in {[*map(ord, AWS)]})'), AWS_KIND),
    "a list that is named": (*code(f'C = {[*map(ord, AWS)]}\nK = "".join(map(chr, C))'), AWS_KIND),
    "a list that was moved": (*code(f'K = "".join(chr(c - 3) for c in {[ord(x) + 3 for x in AWS]})'), AWS_KIND),
    "a list that was masked": (*code(f'K = "".join(chr(c ^ 85) for c in {[ord(x) ^ 85 for x in AWS]})'), AWS_KIND),
    "bytes of a list": (*code(f"K = bytes({[*AWS.encode()]}).decode()"), AWS_KIND),
    "bytes of a tuple of a password": (*code(f"password = bytes({(*PASSWORD.encode(),)}).decode()"), LOGIN),
    "bytes of hexadecimal numbers": (*code(f"K = bytearray([{', '.join(map(hex, AWS.encode()))}]).decode()"), AWS_KIND),
    "two texts of other quotes": (*code(f"K = \"{A}\" + '{B}'"), AWS_KIND),
    "two texts of bytes": (*code(f"K = b'{A}' b\"{B}\""), AWS_KIND),
    "a text and a raw one": (*code(f"K = '{A}' r'{B}'"), AWS_KIND),
    "texts in lines, told apart": (*code(f'K = (\n    "{A}"  # the first half\n    "{B}"\n)'), AWS_KIND),
    "signs of per cent": (*code(f'K = "%s%s" % ("{A}", "{B}")'), AWS_KIND),
    "a form": (*code(f'K = "{{}}{{}}".format("{A}", "{B}")'), AWS_KIND),
    "a form the other way": (*code(f'K = "{{1}}{{0}}".format("{B}", "{A}")'), AWS_KIND),
    "a form by name": (*code(f'K = "{{a}}{{b}}".format(b="{B}", a="{A}")'), AWS_KIND),
    "an f-string of texts": (*code(f"K = f\"{{'{A}'}}{{'{B}'}}\""), AWS_KIND),
    "an f-string of variables": (*code(f'B_ = "{B}"\nX = 1\nA_ = "{A}"\nK = f"{{A_}}{{B_}}"'), AWS_KIND),
    "a text from behind": (*code(f'password = "{PASSWORD[::-1]}"[::-1]'), LOGIN),
    "an address from behind": (*code(f'K = "{DSN[::-1]}"[::-1]'), ADDRESS),
    "a letter too many": (*code(f'K = "{"!".join(AWS)}".replace("!", "")'), AWS_KIND),
    "a word too many": (*code(f'K = "{A}NOSPAM{B}".replace("NOSPAM", "")'), AWS_KIND),
    "split and joined": (*code(f'K = "".join("{" ".join(AWS)}".split())'), AWS_KIND),
    "other letters": (
        *code(f'K = "{AWS.translate(str.maketrans("AKI", "xyz"))}".translate(str.maketrans("xyz", "AKI"))'),
        AWS_KIND,
    ),
    "rot13 in code": (*code(f'import codecs\nK = codecs.decode("{rot13(DSN)}", "rot13")'), ADDRESS),
    "every second letter": (*code(f'K = "{"".join(x + "q" for x in AWS)}"[::2]'), AWS_KIND),
    "the other case": (*code(f'password = "{PASSWORD.swapcase()}".swapcase()'), LOGIN),
    "two variables": (*code(f'first = "{A}"\nsecond = "{B}"\nK = first + second'), AWS_KIND),
    "two variables apart": (
        *code(f'first = "{A}"\n{"x = 1" * 1}\n\ndef f():\n    pass\n\nsecond = "{B}"\nK = first + second'),
        AWS_KIND,
    ),
    "two variables of an address": (
        *code(f'USER = "scorer"\nPW = "{PASSWORD}"\nurl = "postgresql://" + USER + ":" + PW + "@db.example.com/x"'),
        ADDRESS,
    ),
    "an f-string of an address": (
        *code(f'PW = "{PASSWORD}"\nurl = f"postgresql://scorer:{{PW}}@db.example.com/{{name()}}"'),
        ADDRESS,
    ),
    "attributes": (
        *code(f'class C:\n    a = "{A}"\n    b = "{B}"\n\n    def key(self):\n        return self.a + self.b'),
        AWS_KIND,
    ),
    "attributes of an object": (
        *code(
            f'def __init__(self):\n    self.a = "{A}"\n    self.b = "{B}"\n\ndef key(self):\n    return self.a + self.b'
        ),
        AWS_KIND,
    ),
    "a text that grows": (*code(f'K = "{A}"\nprint(1)\nK += "{B}"'), AWS_KIND),
    "a list that is joined": (*code(f'P = ["{A}", "{B}"]\nK = "".join(P)'), AWS_KIND),
    "a list of letters": (*code(f"K = ''.join({[*AWS]})"), AWS_KIND),
    "a list of letters of a password": (*code(f"connect(password=''.join({[*PASSWORD]}))"), LOGIN),
    "a list from behind": (*code(f"K = ''.join(reversed({[*AWS[::-1]]}))"), AWS_KIND),
    "items of a dict": (*code(f'P = {{"y": "{B}", "x": "{A}"}}\nK = P["x"] + P["y"]'), AWS_KIND),
    "a path in pieces": (*code('P = "/ho" + \'me\' + "/" + "alice" + "/credit/x"'), PATH),
    "hexadecimal digits that are short": (
        *code(f'password = bytes.fromhex("{PASSWORD.encode().hex()}").decode()'),
        LOGIN,
    ),
    "base64 that is short": (
        *code(f'password = base64.b64decode("{base64.b64encode(PASSWORD.encode()).decode()}").decode()'),
        LOGIN,
    ),
    "a path that is joined": (*code('P = os.path.join("/ho" "me", "alice", "credit.csv")'), PATH),
    "a path of parts": (*code('P = Path("/ho" "me") / "alice" / "credit.csv"'), PATH),
    "a key that a class joins": (
        *code(
            f'K = "\\n".join(["-----BEGIN PRIVATE" + " KEY-----", "{PEM.splitlines()[1]}", "{PEM.splitlines()[2]}"])'
        ),
        KEY,
    ),
    "JavaScript's numbers": ("a.js", f"const k = String.fromCharCode({','.join(str(ord(x)) for x in AWS)})", AWS_KIND),
    "JavaScript's texts": ("a.js", f"const a = '{A}';\nconst b = '{B}';\nconst k = a + b;", AWS_KIND),
    "JavaScript's template": ("a.js", f"const k = `{A}` + `{B}`;", AWS_KIND),
    "Basic's numbers": ("a.vbs", "k = " + " & ".join(f"Chr({ord(x)})" for x in AWS), AWS_KIND),
    "PHP's numbers": ("a.php", "$k = " + ".".join(f"chr({ord(x)})" for x in AWS) + ";", AWS_KIND),
    "PHP's texts": ("a.php", f"$k = '{A}' . '{B}';", AWS_KIND),
    "SQL's numbers": ("a.sql", "select " + "||".join(f"CHR({ord(x)})" for x in AWS), AWS_KIND),
    "PowerShell's numbers": ("a.ps1", "$k = " + "+".join(f"[char]{ord(x)}" for x in AWS), AWS_KIND),
    "R's texts": ("a.R", f'k <- paste0("{A}", "{B}")', AWS_KIND),
    "C's texts": ("a.c", f'char *k = "{A}"\n          "{B}";', AWS_KIND),
    "C's letters": ("a.c", f"char k[] = {{{', '.join(repr(x) for x in AWS)}}};", AWS_KIND),
    "C's numbers": ("a.c", f"char k[] = {{{', '.join(hex(ord(x)) for x in AWS)}}};", AWS_KIND),
    "Java's builder": ("a.java", f'new StringBuilder("{A}").append("{B}").toString();', AWS_KIND),
    "the shell's texts": ("run.sh", f"export K=\"{A}\"'{B}'\n", AWS_KIND),
    "the shell's text that grows": ("run.sh", f'K="{A}"\nK+="{B}"\n', AWS_KIND),
    "the shell's variables": ("run.sh", f"A={A}\nB={B}\nexport K=$A$B\n", AWS_KIND),
}
LINES = {  # over two or more lines
    "a line's end": ("notes.txt", f"the key: {A}\n{B}\n", AWS_KIND),
    "a line's end of Windows": ("notes.txt", f"the key: {A}\r\n{B}\r\nend", AWS_KIND),
    "a head that is cut": ("notes.txt", f"the key: {AWS[:2]}\n{AWS[2:]}\n", AWS_KIND),
    "a head that is cut twice": ("notes.txt", f"{GITHUB[:1]}\n{GITHUB[1:3]}\n{GITHUB[3:]}\n", GITHUB_KIND),
    "four lines": ("notes.txt", "\n".join(cut(GITHUB, 10, 20, 30)) + "\nafter\n", GITHUB_KIND),
    "lines of a comment": ("a.py", f"# {G}\n# {H}\nx = 1\n", GITHUB_KIND),
    "lines of C's comment": ("a.c", f"/*\n * {G}\n * {H}\n */\n", GITHUB_KIND),
    "lines of a quotation": ("a.md", f"> {G}\n> {H}\n", GITHUB_KIND),
    "a backslash of the shell": ("run.sh", f"export K={A}\\\n{B}\n", AWS_KIND),
    "a backslash of settings": ("config.txt", f"K={A}\\\n{B}\n", AWS_KIND),
    "a backslash of a recipe": ("Containerfile", f"ENV K={G}\\\n    {H}\n", GITHUB_KIND),
    "a backslash of a secret": ("a.cfg", "aws_secret_access" + f"_key={some(20)}\\\n{some(20)}\n", AWS_KIND),
    "a backslash of an address": (
        "run.sh",
        f"URL=postgresql://scorer:{PASSWORD[:4]}\\\n{PASSWORD[4:]}@db.example.com/x\n",
        ADDRESS,
    ),
    "YAML's fold": ("a.yaml", f"key: >-\n  {A}\n  {B}\nnext: 1\n", AWS_KIND),
    "YAML's block": ("a.yaml", f"key: |\n  {G}\n  {H}\nnext: 1\n", GITHUB_KIND),
    "YAML's text in lines": ("a.yaml", f'key: "{A}\\\n  {B}"\n', AWS_KIND),
    "YAML's plain text in lines": ("a.yaml", f"key: {A}\n  {B}\n", AWS_KIND),
    "YAML's list": ("a.yaml", f"key:\n  - {A}\n  - {B}\n", AWS_KIND),
    "YAML's list of texts": ("a.yaml", f'key:\n  - "{A}"\n  - "{B}"\n', AWS_KIND),
    "YAML's items": ("a.yaml", f"first: {A}\nsecond: {B}\n", AWS_KIND),
    "TOML's list": ("a.toml", f'key = ["{A}", "{B}"]\n', AWS_KIND),
    "JSON's list": ("a.json", json.dumps({"key": [A, B]}), AWS_KIND),
    "JSON's list in lines": ("a.json", json.dumps({"key": cut(GITHUB, 9, 18, 27)}, indent=2), GITHUB_KIND),
    "JSON's list of letters": ("a.json", json.dumps({"key": [*AWS]}), AWS_KIND),
    "JSON's items": ("a.json", json.dumps({"first": A, "second": B}), AWS_KIND),
    "JSON's text in lines": ("a.json", json.dumps({"key": f"{A}\n{B}"}), AWS_KIND),
    "JSON's key in lines": ("a.json", json.dumps({"key": PEM.splitlines()}), KEY),
    "YAML's key in lines": ("a.yaml", "key:\n" + "".join(f'  - "{x}"\n' for x in PEM.splitlines()), KEY),
    "a key of code in lines": ("a.py", "K = (\n" + "".join(f'    "{x}"\n' for x in PEM.splitlines()) + ")\n", KEY),
    "a key of SSH in a list": ("a.json", json.dumps({"key": SSH.splitlines()}), KEY),
    "a key in comments": ("a.py", "".join(f"# {x}\n" for x in PEM.splitlines()), KEY),
    "base64 in a list": (
        "a.json",
        json.dumps({"d": cut(base64.b64encode(f"key {AWS} end".encode()).decode(), 13)}),
        AWS_KIND,
    ),
    "base64 in comments": (
        "a.py",
        "".join(f"# {x}\n" for x in cut(base64.b64encode(f"key {AWS} end {DSN}".encode()).decode(), 30, 60)),
        AWS_KIND,
    ),
    "INI's lines": ("a.cfg", f"[x]\nkey = {G}\n    {H}\n", GITHUB_KIND),
    "XML's elements": ("a.xml", f"<a>{A}</a><a>{B}</a>", AWS_KIND),
    "words of HTML": ("a.html", f"<p>{A}<wbr>{B}</p>", AWS_KIND),
    "runs of a document": (
        "a.docx",
        zipped({"word/document.xml": f"<w:r><w:t>{A}</w:t></w:r><w:r><w:rPr/><w:t>{B}</w:t></w:r>"}),
        AWS_KIND,
    ),
    "a signed token in lines": ("a.txt", "\n".join(cut(JWT, 12, 50, 90)), JWT_KIND),
    "a token of Slack in lines": ("a.txt", "\n".join(cut(SLACK, 4)), "a token of Slack"),
    "a key of Google in lines": ("a.txt", "\n".join(cut(GOOGLE, 3, 20)), "a key of Google"),
    "a key of Stripe in texts": ("a.js", json.dumps(cut(STRIPE, 5, 14)), "a key of Stripe"),
    "a token of GitLab in texts": ("a.js", json.dumps(cut(GITLAB, 6)), "a token of GitLab"),
    "a token of Hugging Face in texts": ("a.js", json.dumps(cut(FACE, 2, 17)), "a token of Hugging Face"),
    "a key of a model provider in lines": ("a.txt", "\n".join(cut(MODEL, 20, 40)), "a key of a model provider"),
}
TURNED = {  # by the alphabet: a name and a kind
    "AWS": (AWS, AWS_KIND),
    "GitHub": (GITHUB, GITHUB_KIND),
    "Slack": (SLACK, "a token of Slack"),
    "Stripe": (STRIPE, "a key of Stripe"),
    "Google": (GOOGLE, "a key of Google"),
    "GitLab": (GITLAB, "a token of GitLab"),
    "Hugging Face": (FACE, "a token of Hugging Face"),
    "a model provider": (MODEL, "a key of a model provider"),
    "a key": (PEM, KEY),
    "a key of SSH": (SSH, KEY),
    "a signed token": (JWT, JWT_KIND),
}
BASES = {  # digits of any base
    "binary": lambda data: "".join(f"{x:08b}" for x in data),
    "binary apart": lambda data: " ".join(f"{x:08b}" for x in data),
    "binary of seven": lambda data: " ".join(f"{x:07b}" for x in data),
    "binary in lines": lambda data: "\n".join(f"{x:08b}" for x in data),
    "binary of code": lambda data: "[" + ", ".join(f"{x:#b}" for x in data) + "]",
    "decimal": lambda data: " ".join(map(str, data)),
    "decimal with commas": lambda data: ",".join(map(str, data)),
    "decimal of three": lambda data: " ".join(f"{x:03d}" for x in data),
    "decimal in lines": lambda data: "\n".join(map(str, data)),
    "decimal in a list": lambda data: "".join(f"- {x}\n" for x in data),
    "decimal with bars": lambda data: "|".join(map(str, data)),
    "decimal in JSON": lambda data: json.dumps([*data], indent=1),
    "octal": lambda data: " ".join(f"{x:03o}" for x in data),
    "octal of code": lambda data: ", ".join(f"{x:#o}" for x in data),
    "octal of C": lambda data: ", ".join(f"0{x:o}" for x in data),
    "hexadecimal apart": lambda data: " ".join(f"{x:02x}" for x in data),
    "hexadecimal of code": lambda data: ", ".join(map(hex, data)),
    "hexadecimal in lines": lambda data: "\n".join(f"{x:02x}" for x in data),
    "hexadecimal of C": lambda data: "{" + ",".join(f"0x{x:02X}" for x in data) + "}",
    "escapes": lambda data: "".join(f"\\x{x:02x}" for x in data),
    "octal escapes": lambda data: "".join(f"\\{x:03o}" for x in data),
    "escapes in braces": lambda data: "".join(f"\\u{{{x:x}}}" for x in data),
    "escapes of styles": lambda data: "".join(f"\\{x:06x}" for x in data),
    "entities": lambda data: "".join(f"&#x{x:x};" for x in data),
    "per cent": lambda data: "".join(f"%{x:02X}" for x in data),
    "per cent twice": lambda data: "".join(f"%25{x:02X}" for x in data),
}
GIVEN = f"- {AWS} -".encode()
WORDS = f"before\n{AWS}\nafter\n".encode()
WRAPPED = {  # what files hold
    "a list in a pickle": ("a.pkl", pickle.dumps([*AWS.encode()])),
    "a list in an old pickle": ("a.pkl", pickle.dumps([*AWS.encode()], 0)),
    "a tuple in a pickle": ("a.pkl", pickle.dumps(tuple(AWS.encode()), 2)),
    "bytes in a pickle": ("a.pkl", pickle.dumps(OrderedDict(k=AWS.encode()), 0)),
    "an array of numbers": ("a.npy", saved(lambda file: np.save(file, np.array([*AWS.encode()])))),
    "an array of small numbers": ("a.npy", saved(lambda file: np.save(file, np.array([*AWS.encode()], np.int32)))),
    "an array of bytes": ("a.npy", saved(lambda file: np.save(file, np.frombuffer(AWS.encode(), np.uint8)))),
    "an array of letters": ("a.npy", saved(lambda file: np.save(file, np.array([*AWS])))),
    "an array of objects": ("a.npy", saved(lambda file: np.save(file, np.array([AWS], object), allow_pickle=True))),
    "arrays": ("a.npz", saved(lambda file: np.savez_compressed(file, x=np.array(["a", AWS])))),
    "records": ("a.npy", saved(lambda file: np.save(file, np.array([(1, AWS)], [("a", "i4"), ("b", "U30")])))),
    "joblib": ("a.joblib", saved(lambda file: joblib.dump({"k": AWS}, file))),
    "joblib with zlib": ("a.joblib", saved(lambda file: joblib.dump({"k": AWS}, file, compress=3))),
    "joblib with bz2": ("a.joblib", saved(lambda file: joblib.dump({"k": AWS}, file, compress=("bz2", 3)))),
    "zip in tar in gz": ("a.tgz", tarred("b.zip", zipped({"c.txt": WORDS}), "w:gz")),
    "tar in xz": ("a.bin", lzma.compress(tarred("b.txt", WORDS))),
    "tar in bz2": ("a.bin", bz2.compress(tarred("b.txt", WORDS))),
    "xz in a zip": ("a.zip", zipped({"b": lzma.compress(WORDS)})),
    "a zip with lzma": ("a.zip", zipped({"b.txt": WORDS}, zipfile.ZIP_LZMA)),
    "a zip with bz2": ("a.zip", zipped({"b.txt": WORDS}, zipfile.ZIP_BZIP2)),
    "a zip behind text": ("a.txt", b"words\n" * 200 + zipped({"b.txt": WORDS})),
    "a wheel": ("wheels/ours-1.0-py3-none-any.whl", zipped({"ours/a.py": WORDS})),
    "a shared library": ("a.so", b"\x7fELF\x02\x01\x01" + bytes(57) + b".rodata\x00" + AWS.encode() + b"\x00"),
    "a picture's words": ("a.png", png(chunk_of_png(b"tEXt", b"Comment\x00" + AWS.encode()))),
    "a picture's packed words": ("a.png", png(chunk_of_png(b"zTXt", b"Comment\x00\x00" + zlib.compress(AWS.encode())))),
    "a picture's other words": ("a.png", png(chunk_of_png(b"iTXt", b"a\x00\x00\x00\x00\x00" + AWS.encode()))),
    "a photograph's words": (
        "a.jpg",
        b"\xff\xd8\xff\xfe" + struct.pack(">H", len(AWS) + 2) + AWS.encode() + b"\xff\xd9",
    ),
    "a page": (
        "a.pdf",
        b"%PDF-1.4\n1 0 obj<</Filter/FlateDecode>>stream\n"
        + zlib.compress(b"(" + AWS.encode() + b") Tj")
        + b"\nendstream",
    ),
    "a page of digits": ("a.pdf", b"%PDF-1.4\nstream\n" + AWS.encode().hex().encode() + b">\nendstream"),
    "a page of pieces": ("a.pdf", f"%PDF-1.4\nBT [({A}) -20 ({B})] TJ ET".encode()),
    "a document": ("a.docx", zipped({"word/document.xml": f"<w:t>{AWS}</w:t>"})),
    "a document's properties": ("a.docx", zipped({"docProps/core.xml": f"<dc:creator>{AWS}</dc:creator>"})),
    "tensors": ("a.safetensors", struct.pack("<Q", len(x := json.dumps({"__metadata__": {"k": AWS}}).encode())) + x),
    "a network": (
        "a.onnx",
        b"\x08\x08\x12\x07pytorch\x72" + bytes([len(AWS) + 5]) + b"\x0a\x01k\x12" + bytes([len(AWS)]) + AWS.encode(),
    ),
    "a bundle of numbers": ("a.bin", struct.pack(f"<{len(AWS)}q", *AWS.encode())),
    "a bundle of large numbers": ("a.bin", struct.pack(f">{len(AWS)}q", *AWS.encode())),
    "numbers with a point": ("a.json", json.dumps([float(x) for x in AWS.encode()])),
    "gzip in base64": ("a.yaml", b"d: " + base64.b64encode(gzip.compress(WORDS))),
    "base64 for addresses": ("a.txt", base64.urlsafe_b64encode(b"\xfb\xff" * 9 + GIVEN)),
    "base64 without an end": ("a.txt", base64.b64encode(GIVEN).rstrip(b"=")),
    "base64 in three": ("a.txt", base64.b64encode(base64.b64encode(base64.b64encode(WORDS)))),
    "base64 of UTF-16": ("a.ps1", b"-enc " + base64.b64encode(WORDS.decode().encode("utf-16-le"))),
    "base64 of hexadecimal": ("a.txt", base64.b64encode(GIVEN.hex().encode())),
    "base64 from behind": ("a.txt", base64.b64encode(GIVEN + b"-")[::-1]),
    "base32 in small letters": ("a.txt", base64.b32encode(GIVEN).lower()),
    "base32 in lines": ("a.txt", b"\n".join(x.encode() for x in cut(base64.b32encode(GIVEN).decode(), 16, 32))),
    "base32 of the other alphabet": ("a.txt", base64.b32hexencode(GIVEN)),
    "base85": ("a.txt", base64.b85encode(GIVEN)),
    "ASCII of 85": ("a.txt", base64.a85encode(GIVEN, adobe=True)),
    "hexadecimal in large letters": ("a.txt", GIVEN.hex().upper().encode()),
    "hexadecimal in lines": ("a.txt", GIVEN.hex("\n", 4).encode()),
    "what xxd writes": (
        "a.txt",
        "".join(
            f"{i:08x}: {GIVEN[i : i + 16].hex(' ', 2):<40} {GIVEN[i : i + 16].decode()}\n"
            for i in range(0, len(GIVEN), 16)
        ).encode(),
    ),
    "hexadecimal from behind": ("a.txt", GIVEN.hex()[::-1].encode()),
    "UTF-16": ("a.txt", WORDS.decode().encode("utf-16-be")),
    "UTF-32": ("a.txt", WORDS.decode().encode("utf-32")),
    "entities by name": ("a.html", f"&quot;{AWS}&quot;".encode()),
    "entities of some": ("a.html", "".join(f"&#{ord(x)};" if i % 2 else x for i, x in enumerate(AWS)).encode()),
    "per cent of some": ("a.txt", "".join(f"%{ord(x):02x}" if i % 2 else x for i, x in enumerate(AWS)).encode()),
    "escapes of some": ("a.json", "".join(f"\\u{ord(x):04x}" if i % 2 else x for i, x in enumerate(AWS)).encode()),
    "escapes in code of some": (
        "a.py",
        ('K = "' + "".join(f"\\x{ord(x):02x}" if i % 2 else x for i, x in enumerate(AWS)) + '"').encode(),
    ),
    "JSON in JSON": ("a.json", json.dumps({"d": json.dumps({"d": json.dumps({"k": f"ü{DSN}"})})}).encode()),
    "letters without a width": ("a.txt", "\u200b".join(AWS).encode()),
    "soft hyphens": ("a.txt", "\u00ad".join((A, B)).encode()),
    "wide letters": ("a.txt", "".join(chr(ord(x) + 0xFEE0) for x in AWS).encode()),
    "letters of mathematics": (
        "a.txt",
        "".join(chr(0x1D400 + ord(x) - 65) if x.isalpha() else chr(0x1D7CE + int(x)) for x in AWS).encode(),
    ),
    "letters apart": ("a.txt", " ".join(AWS).encode()),
    "letters with dashes": ("a.txt", "-".join(AWS).encode()),
    "groups of four": ("a.txt", " ".join(cut(AWS, 4, 8, 12, 16)).encode()),
    "letters in lines": ("a.txt", "\n".join(AWS).encode()),
    "uuencode": ("a.txt", b"begin 644 a\n" + codecs.encode(GIVEN, "uu").split(b"\n", 1)[1]),
    "quoted": ("a.eml", codecs.encode(GIVEN, "quopri")),
    "quoted wholly": ("a.eml", "".join(f"={x:02X}" for x in GIVEN).encode()),
    "a core of numbers in base64": ("a.txt", base64.b64encode(pickle.dumps({"k": AWS}))),
    "a pickle in JSON": ("a.json", json.dumps({"d": pickle.dumps({"k": AWS}).hex()}).encode()),
}
for protocol in range(6):
    WRAPPED[f"a pickle of protocol {protocol}"] = ("a.pkl", pickle.dumps({"k": [AWS, 1]}, protocol))
FILES = {  # of kinds that have no business there, also under another name
    ".env of production": ("prod.env", "A=1", SECRETS),
    ".env under another name": ("settings.txt", f"DATABASE_PASS{'WORD'}={PASSWORD}\nMODE=1\n", LOGIN),
    ".npmrc": (".npmrc", "a=1", LOGINS),
    ".npmrc under another name": ("npm.txt", f"//npm.example.com/:_auth{'Token'}={mixed(36)}\n", "a login of npm"),
    ".pypirc": (".pypirc", "[pypi]", LOGINS),
    ".pypirc under another name": ("upload.txt", f"[pypi]\nusername = alice\npassword = {PASSWORD}\n", LOGIN),
    "netrc under another name": ("logins.txt", f"machine git.example.com login alice pass{'word'} {PASSWORD}\n", NETRC),
    "kube config under another name": (
        "k.yaml",
        f"users:\n- name: a\n  user:\n    client-key-data: {base64.b64encode(PEM.encode()).decode()}\n",
        KEY,
    ),
    "kube config": ("kubeconfig", "a: 1", LOGINS),
    "docker config under another name": (
        "d.json",
        json.dumps({"auths": {"x": {"auth": base64.b64encode(b"alice:" + PASSWORD.encode()).decode()}}}),
        "a login of Docker",
    ),
    "a key of SSH": ("deploy", SSH, KEY),
    "a key of SSH with DOS lines": ("deploy.txt", SSH.replace("\n", "\r\n"), KEY),
    "a key of GPG": ("gpg.txt", "-----BEGIN PGP PRI" + f"VATE KEY BLOCK-----\n\nlQOY{some(60)}\n{some(64)}\n", KEY),
    "a key of GPG in JSON": (
        "gpg.json",
        json.dumps({"k": "-----BEGIN PGP PRI" + f"VATE KEY BLOCK-----\nVersion: 1\n\nlQOY{some(60)}\n{some(64)}\n"}),
        KEY,
    ),
    "a renamed notebook": (
        "a.txt",
        json.dumps({"cells": [{"cell_type": "code", "source": []}], "nbformat": 4}),
        NOTEBOOK,
    ),
    "a renamed notebook of lines": (
        "a.json",
        json.dumps({"nbformat_minor": 5, "nbformat": 4, "cells": []}, indent=1),
        NOTEBOOK,
    ),
    "parquet": ("a.dat", saved(FRAME.to_parquet), DATA),
    "feather": ("a.dat", saved(FRAME.to_feather), DATA),
    "a table": ("a.dat", FRAME.to_csv(), DATA),
    "a table with bars": ("a.dat", FRAME.to_csv(sep="|"), DATA),
    "a table in gzip": ("a.dat", gzip.compress(FRAME.to_csv().encode(), mtime=0), DATA),
    "a table as records": ("a.dat", FRAME.to_json(orient="records"), DATA),
    "a table as lines": ("a.dat", FRAME.to_json(orient="records", lines=True), DATA),
    "a pickled frame": ("a.dat", pickle.dumps(FRAME), DATA),
    "a pickled frame of old": ("a.dat", pickle.dumps(FRAME, 2), DATA),
    "a frame in joblib": ("a.dat", saved(lambda file: joblib.dump(FRAME, file)), DATA),
    "a frame in packed joblib": ("a.dat", saved(lambda file: joblib.dump(FRAME, file, compress=3)), DATA),
    "sqlite in a zip": ("a.zip", zipped({"b": database("x")}), DATA),
    "parquet in a tar": ("a.bin", tarred("b", saved(FRAME.to_parquet)), DATA),
    "a path": ("a.txt", HOME, PATH),
    "a path of a Mac in code": ("a.py", "P = '/Us" + "ers/alice/credit.txt'", PATH),
    "a path of Windows": ("a.txt", "C:\\Us" + "ers\\alice\\credit.txt", PATH),
    "a traceback": ("a.txt", f'  File "{HOME}", line 3, in fit\n', PATH),
    "a host": ("a.txt", "http://mlflow" + ".corp:5000/api", HOST),
    "the machine": ("a.txt", "ran on gpu-box-17.", "the name of this machine"),
    "the machine in rows": ("a.py", "HOST = 'GPU-BOX-17'", "the name of this machine"),
    "an index": ("r.txt", "--extra-index-" + "url https://wheels.example.com/simple\nx==1\n", INDEX),
    "an index of poetry": (
        "p.toml",
        '[[tool.poetry.source]]\nname = "x"\nurl = "https://wheels.example.com/"\n',
        INDEX,
    ),
    "an index with a login": ("r.txt", "--index-" + f"url https://bot:{PASSWORD}@wheels.example.com/simple\n", ADDRESS),
    "a database in bytes": ("a.bin", b"\x00\x01" + DSN.encode() + b"\x00", ADDRESS),
}


@pytest.mark.parametrize("planted", ASSEMBLED)
def test_a_secret_that_code_puts_together_is_found(tmp_path, planted):
    name, text, kind = ASSEMBLED[planted]
    assert kind in kinds_in(tmp_path, name, text)


@pytest.mark.parametrize("planted", LINES)
def test_a_secret_that_is_cut_is_found(tmp_path, planted):
    name, text, kind = LINES[planted]
    assert kind in kinds_in(tmp_path, name, text)


@pytest.mark.parametrize("planted", TURNED)
def test_a_secret_that_is_turned_by_half_an_alphabet_is_found(tmp_path, planted):
    text, kind = TURNED[planted]
    assert kind in kinds_in(tmp_path, "a.txt", f"before\n{rot13(text)}\nafter\n")


@pytest.mark.parametrize("base", BASES)
def test_a_secret_as_digits_of_any_base_is_found(tmp_path, base):
    assert AWS_KIND in kinds_in(tmp_path, "a.txt", f"before:\n{BASES[base](AWS.encode())}\nafter\n")


@pytest.mark.parametrize("planted", WRAPPED)
def test_a_secret_is_found_whatever_holds_it(tmp_path, planted):
    name, data = WRAPPED[planted]
    assert {AWS_KIND, ADDRESS} & kinds_in(tmp_path, name, data)


@pytest.mark.parametrize("planted", FILES)
def test_a_file_that_has_no_business_in_an_image_is_found(tmp_path, planted):
    name, data, kind = FILES[planted]
    assert kind in kinds_in(tmp_path, name, data)


# Lists of which each holds the one before ten times: a thousand million letters in few.
LAUGHS = "a = ['xxxxxxxx', 'y']\n" + "".join(
    f"{new} = [{', '.join([old] * 10)}]\n" for old, new in itertools.pairwise("abcdefghij")
)


@pytest.mark.parametrize(
    "source",
    [
        "x = 'a' * 999999999 + 'b'",
        "x = '%999999999d' % 1 + '{:999999999}'.format(1) + '%*d' % (999999999, 1)",
        "x = ''.join(chr(c) for c in range(10 ** 9)) + str(bytes(10 ** 9))",
        "x = ''.join(''.join(''.join(chr(65) for a in range(4000)) for b in range(4000)) for c in range(4000))",
        "x = 'a'" + ".replace('b', 'c')" * 3000,
        "x = __import__('os').getenv('HOME') + open('a').read() + exec('b' + c)",
        "x = 'a' + (",
        "x = ''.join(chr(200 + c) for c in range(4000))\ny = (x + x + x + x).encode('punycode')",
        f"{LAUGHS}x = str(j) + 'a'",
        f"{LAUGHS}x = f'{{j}}b'",
        f"{LAUGHS}{LAUGHS.upper()}x = j\nx = J",
    ],
)
def test_code_that_makes_too_much_or_does_something_is_left_as_it_is(source):
    assert not [*folding.folded(source.encode())]


def test_a_long_text_costs_more_steps_than_a_short_one():
    known = values.Known(names={(0, "x"): "a" * values.MOST_LETTERS})
    told = [values.value_of(ast.parse("x.title()", mode="eval").body, known) for _ in range(100)]
    assert told[0] is not None
    assert told[-1] is None


# Each took minutes or for ever, by a pattern that was tried in every way at every place.
@pytest.mark.parametrize(
    "text",
    [
        '"' + " " * CHUNK,
        ")" + " " * CHUNK,
        "abcdefghijkl" * 2 + '"' + " " * CHUNK,
        '"' + "\\\\n" * 40 + "x",
        '["#1f77b4", ' * (CHUNK // 12),
        '"' + "password" * (CHUNK // 8),
        "https://a/simples" * (CHUNK // 17),
        ("-----BEGIN PRI" + "VATE KEY-----" + "\n" * 19 + "!") * (CHUNK // 46),
        "x = f'" + "{a}" * (CHUNK // 3) + "'",
    ],
    ids=["spaces", "bracket", "base64", "breaks", "colours", "password", "addresses", "heads", "f-string"],
)
def test_no_file_is_looked_through_for_longer_than_its_size_allows(tmp_path, text):
    assert not kinds_in(tmp_path, "notes.txt", text)


@pytest.mark.parametrize(
    "chunk",
    [
        zlib.compress(bytes(1 << 20)) * 50,
        gzip.compress(bytes(1 << 20)) * 50,
        b"X\xfc\x0f\0\0q" * 10_000,  # a pickle's texts, each within the one before
    ],
    ids=["zlib", "gzip", "pickle"],
)
def test_what_is_unwrapped_of_a_file_comes_to_no_more_than_is_held(monkeypatch, chunk):
    monkeypatch.setattr(views, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(views, "MOST_TOGETHER", 2 << 20)
    monkeypatch.setattr(views, "MOST_READ", 8 << 20)
    sizes = [len(view) for view in views.of(chunk)]
    assert max(sizes) < 4 << 20
    assert sum(sizes) < 12 << 20


@pytest.mark.parametrize("join", ["\\\n", "%20", "&#32;", "\\x41", "\u200b"])
def test_half_a_word_beside_what_is_joined_is_not_taken_for_another(tmp_path, join):
    lines = [f"A={join} B\n{'.' * n} WORKDIR /home/bentoml/bento\n{'-' * 700}\n" for n in range(200, 290)]
    (tmp_path / "notes.txt").write_text("".join(lines))
    assert leaks.scan(tmp_path, own=Machine()) == ()
