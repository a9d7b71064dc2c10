"""What a file must be, by its name, its place or how it begins."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import PurePosixPath

N_LINES = 20  # rows that make a table, and where it does not begin the file:
N_WITHIN = 50
MOST_LINE = 4096  # bytes of a line of a table
MARKS = ",;\t|"
_PAIR = re.compile(r"[^\s,;|<>=(){}\"'`]+[,;|][^\s,;|<>=(){}\"'`]+")
_NO_ROW = re.compile(r"[\s{\[]|\w+\(|.*[{}]$|\| `[^`|]+` \| ")  # code, or a line of a card, which has one a column
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:[.,:]\d+)*(?:e[-+]?\d+)?(?![\w.])", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d]\w*")
_SPACES = re.compile(r"\s+")
_PAGE = re.compile(rb"<table [^>]{0,80}class=[\"']dataframe")
_FIELDS = re.compile(r"[a0]")
_CODE = re.compile(
    r"^\w+\s*[=(:]|[<>=!~]=|sha256|^\s*[#*+-] "
)  # what sets or calls something, locks it, or says it in words

# Files and folders whose name says that they hold secrets; no library ships them.
NAMED = {
    "a file of secrets": r"\.envrc|application_default_credentials\.json|rclone\.conf|\.env(\.(?!example$|sample$|template$).+)?|.+\.env|\.?secrets?\.(toml|ya?ml|json|ini)|credentials(\.json|\.csv)?|\.vault[-_](token|pass)|\.htpasswd|\.s3cfg|\.boto|.+\.tfstate|client_secret.*\.json",
    "a file of logins": r"[._]netrc|\.terraformrc|\.git-credentials|\.pypirc|\.npmrc|\.pgpass|\.my\.cnf|\.pg_service\.conf|\.gitconfig|\.dockercfg|\.dockerconfigjson|kubeconfig|.+\.kubeconfig",
    "the configuration of a package index": r"pip\.(conf|ini)",
    "a private key": r"id_(rsa|dsa|ecdsa|ed25519)(_sk)?|.+\.(p12|pfx|jks|keystore|ppk|kdbx|agekey)",
    "a git repository": r"\.git",
    "the history of a shell": r"\.Rhistory|\.(ba|z|\w+_)?(sh_)?history|fish_history|ConsoleHost_history\.txt|\.viminfo|\.lesshst",
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
    "a private key": r".+\.(key|p8|pk8|ovpn|kdb)",
    "a file of secrets": r"\.flaskenv|\.Renviron|local\.settings\.json|wp-config\.php|.+\.tfvars(\.json)?|.+\.tfstate\.backup",
    "a file of logins": r".+\.(rdp|har)",
    "a notebook": r".+\.ipynb",
    "a data file": r".+\.(csv|tsv|psv|parquet|pq|feather|arrow|orc|avro|xlsx?|xlsm|ods|db|sqlite3?|duckdb|dta|sas7bdat|sav|por|rds|rdata|hdf5?|h5|mdb|accdb|jsonl|ndjson|dump|bak|dbf|mat|arff|libsvm|svmlight|geojson|shp|tfrecords?|lmdb|pcap|pcapng|mbox|eml|msg|pst|vcf)(\.(gz|bz2|xz|zst|zip))?|([xy]_?)?(train|test|val|validation|holdout)(_?(data|set|x|y|features|labels|target))?\.(npy|npz|pkl|pickle|joblib)|workbook\.(xml|bin)|events\.out\.tfevents\..+",
    "what cannot be looked into": r".+\.(br|gpg|pgp|age|enc|iso|dmg|vmdk|vhdx?|qcow2)",
    "a log": r".+\.log(\.\d+)?|nohup\.out",
    "what an editor or a desktop left": r".+~|.+\.(orig|rej)|\..+\.sw[opx]|\.DS_Store|Thumbs\.db",
}
HEADS_MILD = {
    "a data file": (
        *(b"PAR1", b"SQLite format 3\x00", b"ARROW1", b"\x89HDF\r\n", b"Obj\x01", b"ORC", b"CDF\x01", b"CDF\x02"),
        *(b"<stata_dta>", b"\x71\x02\x01\x00", b"\x72\x01\x01\x00", b"\x72\x02\x01\x00", b"\x73\x02\x01\x00"),
        *(b"$FL2", b"$FL3", b"RDX2\n", b"RDX3\n", b"PGDMP", b"REDIS0", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        *(b"FEA1", b"MATLAB 5.0 MAT-file", bytes(16) + b"\xde\xc0\xef\xbe"),
        *(b"\x00\x01\x00\x00Standard ", bytes(12) + b"\xc2\xea\x81\x60"),
    ),
    "a private key": (
        *(b"\xfe\xed\xfe\xed\x00\x00\x00", b"\xce\xce\xce\xce\x00\x00\x00"),
        *(b"\x00\x00\x00\x01\x00\x00\x00\x14", b"\x00\x00\x00\x02\x00\x00\x00\x14"),
    ),
    "a file of logins": (b"\x03\xd9\xa2\x9a", b"\x05\x02\x00\x00\x00", b"\x05\x04\x00\x0c"),
    "the memory of a process": (b"JAVA PROFILE 1.0", b"MDMP\x93\xa7"),
    "a git repository": (
        b"PACK\x00\x00\x00",
        b"DIRC\x00\x00\x00",
        b"# v2 git bundle\n",
        b"# v3 git bundle\n",
        b"gitdir: ",
    ),
}
FOLDERS_MILD = {
    ".config": "the settings of a user",
    ".docker": "a file of logins",
    ".ipython": "the state of a notebook",
    ".dvc": "a store of experiments",
    "wandb": "a store of experiments",
}
_NAMED = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in NAMED.items()}
_NAMED_MILD = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in NAMED_MILD.items()}


def by_name(place: str) -> str | None:
    """Tell what a file must be by its name, wherever it lies; None for most."""
    return _named(place, FOLDERS, _NAMED)


def by_name_mild(place: str) -> str | None:
    """Tell what a file of the user's is by its name."""
    return _named(place, FOLDERS_MILD, _NAMED_MILD)


def by_head(head: bytes) -> set[str]:
    """Tell what a file of the user's must be by its first bytes.

    >>> by_head(b"PAR1" + bytes(8)), by_head(bytes(8) + b"DUCK"), by_head(b"import os")
    ({'a data file'}, {'a data file'}, set())
    """
    found = {kind for kind, heads in HEADS_MILD.items() if head.startswith(heads)}
    found |= (
        {"the memory of a process"}
        if head.startswith(b"\x7fELF") and head[16:18] in (b"\x04\x00", b"\x00\x04")
        else set()
    )
    return found | ({"a data file"} if head[8:12] == b"DUCK" or is_table(head) else set())


def is_table(head: bytes) -> bool:
    r"""Tell rows of a table that goes by another name, or stands in a text: lines that each have as many fields.

    >>> is_table(b"age,job,risk\n" * 30), is_table(b"import a, b, c\\n\\nx = 1\\n" * 30)
    (True, False)
    """
    lines = _text(head).splitlines()
    return any(_begins(lines, mark) for mark in MARKS) or _holds_rows(lines) or _is_frame(head)


def _is_frame(head: bytes) -> bool:
    """Tell the page that pandas writes of a frame."""
    begins = _PAGE.search(head)
    return begins is not None and head.count(b"<tr", begins.start()) > N_LINES


def holds_rows(view: bytes) -> bool:
    """Tell rows of a table in what was unwrapped of a file, as `is_table` does."""
    return _holds_rows(_text(view).splitlines())


def _text(head: bytes) -> str:
    """Read a text of one byte a letter, or of two where it says so; nothing where it is no text."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head[: len(head) // 2 * 2].decode("utf-16", errors="replace")
    return "" if b"\x00" in head[:4096] else head.decode("latin-1")


def _begins(lines: list[str], mark: str) -> bool:
    """Tell whether a file begins with a table, whose texts may hold the mark between quotes."""
    first = lines[: N_LINES + 1]
    if len(first) <= N_LINES or any(_NO_ROW.match(line) or len(line) > MOST_LINE for line in first):
        return False
    if all(_PAIR.fullmatch(line) and line.count(mark) == 1 for line in first):
        return True
    counts = {len(fields) for fields in csv.reader(first, delimiter=mark)}
    return len(counts) == 1 and min(counts) > 2


def _holds_rows(lines: list[str]) -> bool:
    """Tell a table within a text: many lines that have as many fields, or the same form with numbers in it."""
    rows = ["" if _NO_ROW.match(line) else line for line in lines]
    counted = (((n if (n := row.count(mark)) > 1 else 0) for row in rows) for mark in MARKS)
    return any(_longest(each) >= N_WITHIN for each in (*counted, map(_form, rows)))


def _longest(told: Iterable[object]) -> int:
    """Count the longest run of what is told of lines one after another; nothing told ends a run."""
    return max((sum(1 for _ in run) for which, run in groupby(told) if which), default=0)


def _form(line: str) -> str:
    """Write a line with 0 for each number and a for each word; nothing for what is no row of three fields, one a number.

    >>> _form("31  clerk  low   7.5"), _form("<tr><td>31</td><td>low</td></tr>"), _form("HTTP_OK = 200  # all is well")
    ('0 a a 0', '<a><a>0</a><a>a</a></a>', '')
    """
    if len(line) > MOST_LINE or not _NUMBER.search(line) or _CODE.search(line):
        return ""
    form = _SPACES.sub(" ", _WORD.sub("a", _NUMBER.sub("0", line)))
    return form if len(_FIELDS.findall(form)) > 2 else ""


def _named(place: str, folders: dict[str, str], patterns: dict[str, re.Pattern[str]]) -> str | None:
    path = PurePosixPath(place)
    folder = next((folders[part] for part in path.parts[:-1] if part in folders), None)
    return folder or next((kind for kind, pattern in patterns.items() if pattern.fullmatch(path.name)), None)


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
