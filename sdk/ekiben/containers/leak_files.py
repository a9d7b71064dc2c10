"""What a file must be, by its name, its place or how it begins."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

N_LINES = 20  # rows that make a table, and where it does not begin the file:
N_WITHIN = 50
MOST_LINE = 4096  # bytes of a line of a table

# Files and folders whose name says that they hold secrets; no library ships them.
NAMED = {
    "a file of secrets": r"\.envrc|application_default_credentials\.json|rclone\.conf|\.env(\.(?!example$|sample$|template$).+)?|.+\.env|\.?secrets?\.(toml|ya?ml|json|ini)|credentials(\.json|\.csv)?|\.vault[-_](token|pass)|\.htpasswd|\.s3cfg|\.boto|.+\.tfstate|client_secret.*\.json",
    "a file of logins": r"[._]netrc|\.terraformrc|\.git-credentials|\.pypirc|\.npmrc|\.pgpass|\.my\.cnf|\.dockercfg|\.dockerconfigjson|kubeconfig|.+\.kubeconfig",
    "the configuration of a package index": r"pip\.(conf|ini)",
    "a private key": r"id_(rsa|dsa|ecdsa|ed25519)(_sk)?|.+\.(p12|pfx|jks|keystore|ppk|kdbx|agekey)",
    "a git repository": r"\.git",
    "the history of a shell": r"\.Rhistory|\.(ba|z|python_|sqlite_|psql_|mysql_|node_repl_)?(sh_)?history",
    "the state of a notebook": r".+-checkpoint\.(ipynb|py)",
}
FOLDERS = {
    ".git": "a git repository",
    ".ssh": "a private key",
    ".aws": "a file of logins",
    ".azure": "a file of logins",
    ".gnupg": "a private key",
    ".kube": "a file of logins",
    ".ipynb_checkpoints": "the state of a notebook",
    ".hg": "a repository of Mercurial",
    ".svn": "a repository of Subversion",
    ".idea": "the settings of an editor",
    ".vscode": "the settings of an editor",
    ".jupyter": "the state of a notebook",
    "mlruns": "a store of experiments",
    "mlartifacts": "a store of experiments",
}
# What a library may ship as an example, and a user's bento must not hold.
NAMED_MILD = {
    "a private key": r".+\.(key|p8|pk8|ovpn)",
    "a notebook": r".+\.ipynb",
    "a data file": r".+\.(csv|tsv|psv|parquet|pq|feather|arrow|orc|avro|xlsx?|xlsm|ods|db|sqlite3?|duckdb|dta|sas7bdat|sav|por|rds|rdata|hdf5?|h5|mdb|accdb|jsonl|ndjson|dump|bak)(\.(gz|bz2|xz|zst|zip))?|workbook\.(xml|bin)",
    "a log": r".+\.log(\.\d+)?|nohup\.out",
    "what an editor or a desktop left": r".+~|\..+\.sw[opx]|\.DS_Store|Thumbs\.db",
}
HEADS_MILD = {
    "a data file": (
        *(b"PAR1", b"SQLite format 3\x00", b"ARROW1", b"\x89HDF\r\n", b"Obj\x01", b"ORC", b"CDF\x01", b"CDF\x02"),
        *(b"<stata_dta>", b"\x71\x02\x01\x00", b"\x72\x01\x01\x00", b"\x72\x02\x01\x00", b"\x73\x02\x01\x00"),
        *(b"$FL2", b"$FL3", b"RDX2\n", b"RDX3\n", b"PGDMP", b"REDIS0", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        *(b"\x00\x01\x00\x00Standard ", bytes(12) + b"\xc2\xea\x81\x60"),
    ),
    "a private key": (b"\xfe\xed\xfe\xed\x00\x00\x00", b"\xce\xce\xce\xce\x00\x00\x00"),
    "a file of logins": (b"\x03\xd9\xa2\x9a",),
    "a git repository": (
        b"PACK\x00\x00\x00",
        b"DIRC\x00\x00\x00",
        b"# v2 git bundle\n",
        b"# v3 git bundle\n",
        b"gitdir: ",
    ),
}
_NAMED = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in NAMED.items()}
_NAMED_MILD = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in NAMED_MILD.items()}


def by_name(place: str) -> str | None:
    """Tell what a file must be by its name, wherever it lies; None for most."""
    path = PurePosixPath(place)
    folder = next((FOLDERS[part] for part in path.parts[:-1] if part in FOLDERS), None)
    return folder or _named(path.name, _NAMED)


def by_name_mild(place: str) -> str | None:
    """Tell what a file of the user's is by its name."""
    return _named(PurePosixPath(place).name, _NAMED_MILD)


def by_head(head: bytes) -> set[str]:
    """Tell what a file of the user's must be by its first bytes.

    >>> by_head(b"PAR1" + bytes(8)), by_head(bytes(8) + b"DUCK"), by_head(b"import os")
    ({'a data file'}, {'a data file'}, set())
    """
    found = {kind for kind, heads in HEADS_MILD.items() if head.startswith(heads)}
    return found | ({"a data file"} if head[8:12] == b"DUCK" or is_table(head) else set())


def is_table(head: bytes) -> bool:
    r"""Tell rows of a table that goes by another name, or stands in a text: lines that each have as many fields.

    >>> is_table(b"age,job,risk\n" * 30), is_table(b"import a, b, c\\n\\nx = 1\\n" * 30)
    (True, False)
    """
    if b"\x00" in head[:4096]:
        return False
    lines = head.decode("latin-1").splitlines()
    return any(_begins(lines, mark) or _longest(lines, mark) >= N_WITHIN for mark in ",;\t|")


def _begins(lines: list[str], mark: str) -> bool:
    """Tell whether a file begins with a table, whose texts may hold the mark between quotes."""
    first = lines[: N_LINES + 1]
    if len(first) <= N_LINES or any(line[:1].isspace() or len(line) > MOST_LINE for line in first):
        return False
    counts = {len(fields) for fields in csv.reader(first, delimiter=mark)}
    return len(counts) == 1 and min(counts) > 2


def _longest(lines: list[str], mark: str) -> int:
    """Count the lines of the longest table within a text."""
    longest = run = before = 0
    for line in lines:
        fields = 0 if line[:1].isspace() or line.startswith(("{", "[")) else line.count(mark)
        run = run + 1 if fields == before and fields > 1 else 1 if fields > 1 else 0
        before, longest = fields, max(longest, run)
    return longest


def _named(name: str, patterns: dict[str, re.Pattern[str]]) -> str | None:
    return next((kind for kind, pattern in patterns.items() if pattern.fullmatch(name)), None)


def is_library(place: str, published: Iterable[str] | None) -> bool:
    """Tell a file of a published distribution or of the operating system from one of the user's.

    `published` are the places of the wheels whose digest an index gave; without it every wheel is one.

    Examples
    --------
    >>> (
    ...     is_library("app/.venv/lib/python3.11/site-packages/numpy/core.py", None),
    ...     is_library("bento/src/service.py", None),
    ... )
    (True, False)
    """
    inner = place.rpartition("!/")[2] if ".tar!" in place or "blobs/" in place else place
    if "site-packages/" in place or "dist-packages/" in place:
        return True
    if re.match(r"(\./)?(usr|lib|lib64|etc|bin|sbin|var|opt|app/site)/", inner):
        return True
    wheel, mark, _ = place.partition(".whl")
    name = wheel.rpartition("/")[2]
    return bool(mark) and (name.startswith("ekiben-") or published is None or f"{wheel}.whl" in published)


def is_test(place: str) -> bool:
    """Tell a library's own test, which may hold a key that was made for it."""
    return re.search(r"/tests?/", place) is not None
