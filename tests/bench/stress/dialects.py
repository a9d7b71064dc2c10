"""How each contender is attacked in its own spelling, probed, and given keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench import ours
from bench.contenders import JSON, Contender
from bench.models import Case
from ekiben import keys
from traffic.load import Request
from traffic.spelling import Rows, Spelling, text

DATATYPES = {"text": b'"BYTES"', "integer": b'"INT64"', "boolean": b'"BOOL"', "number": b'"FP64"'}

# Where each says whether it is ready: its own path, or the one that its users ask for want of another.
READY = {
    "ekiben": "/readyz",
    "fastapi": "/ready",
    "bentoml": "/readyz",
    "litserve": "/health",
    "mlflow": "/health",
    "mlserver": "/v2/health/ready",
}


def kinds_of(case: Case) -> dict[str, str]:
    """Tell what each column of a model holds, as its contract says it."""
    return {column.name: column.kind for column in ours.packed(case).schema.columns}


def nullable_of(case: Case) -> set[str]:
    """Name the columns of a model that may be missing."""
    return {column.name for column in ours.packed(case).schema.columns if column.nullable}


def spelling(contender: Contender, case: Case) -> Spelling:
    """Say how a contender wants rows written."""
    if contender.key == "ekiben":
        return Spelling()
    path = contender.path(case)
    paths = (path, path)
    if contender.key == "mlflow":
        return Spelling(name=b'"dataframe_records"', paths=paths)
    if contender.key == "mlserver":
        before = b'"parameters":{"content_type":"pd"},"outputs":[{"name":"predict_proba"}],'
        return Spelling(name=b'"inputs"', before=before, table=tensors(kinds_of(case)), paths=paths)
    return Spelling(paths=paths)


def tensors(kinds: Mapping[str, str]) -> Callable[[Rows], bytes]:
    """Write rows in the Open Inference Protocol, a tensor for each column; what a row lacks, its tensor lacks.

    Examples
    --------
    >>> tensors({"age": "integer"})([[(b'"age"', b"30")], [(b'"age"', b"null")]])
    b'[{"name":"age","shape":[2],"datatype":"INT64","data":[30,null]}]'
    """
    known = {text(name): kind for name, kind in kinds.items()}

    def table(rows: Rows) -> bytes:
        columns: dict[bytes, list[bytes]] = {}
        for row in rows:
            for name, value in row:
                columns.setdefault(name, []).append(value)
        return b"[" + b",".join(tensor(name, values, len(rows)) for name, values in columns.items()) + b"]"

    def tensor(name: bytes, values: list[bytes], n_rows: int) -> bytes:
        kind = known.get(name, "text")
        shown = b',"parameters":{"content_type":"str"}' if kind == "text" else b""
        head = b'{"name":' + name + b',"shape":[%d],"datatype":' % n_rows + DATATYPES[kind] + shown
        return head + b',"data":[' + b",".join(values) + b"]}"

    return table


def asked(contender: Contender, case: Case, *, n_rows: int = 1) -> Request:
    """Write a request for the first complete rows of a model."""
    found = case.frame.dropna().head(n_rows).to_dict(orient="records")
    rows = [[(text(name), text(value)) for name, value in row.items()] for row in found]
    spelled = spelling(contender, case)
    return Request("valid", "POST", spelled.paths[0], JSON, spelled.body(rows))


# ── keys ──


@dataclass(frozen=True, kw_only=True)
class Locks:
    """How a contender is told to ask for keys: its variables, the header of a good key, and those of bad ones."""

    environment: Mapping[str, str] = field(default_factory=dict)
    good: Mapping[str, str] = field(default_factory=dict)
    bad: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: {"no key": {}})
    says: str = "It knows no keys of its own: something in front must ask for them."

    @property
    def knows_keys(self) -> bool:
        return bool(self.good)


def locks(contender: Contender) -> Locks:
    """Give a contender keys, where it can ask for them itself."""
    return {"ekiben": _of_ekiben, "litserve": _of_litserve}.get(contender.key, Locks)()


def _of_ekiben() -> Locks:
    told: dict[str, Any] = {"good": {"scopes": keys.SCOPES}, "ended": {"scopes": keys.SCOPES, "days": -1}}
    told["for something else"] = {"scopes": ["write", "admin"]}
    made = {name: keys.make(name.replace(" ", "_"), **how) for name, how in told.items()}
    shown = {name: {"authorization": f"Bearer {token}"} for name, (token, _) in made.items()}
    unknown = {"authorization": f"Bearer {keys.make('unknown', ['read'])[0]}"}
    return Locks(
        environment={keys.TEXT: "\n".join(lines for _, lines in made.values())},
        good=shown.pop("good"),
        bad={"no key": {}, "unknown": unknown, **shown},
        says="`EKIBEN_KEYS`: scopes and an end for each key.",
    )


def _of_litserve() -> Locks:
    secret = "one-key-for-all"
    return Locks(
        environment={"LIT_SERVER_API_KEY": secret},
        good={"x-api-key": secret},
        bad={"no key": {}, "unknown": {"x-api-key": "another"}},
        says="`LIT_SERVER_API_KEY`: one key, without scopes or an end.",
    )


PROBE = re.compile(r"/(livez|readyz|healthz|health|ping|live|ready)$")


def is_probe(path: str) -> bool:
    """Tell whether a path only says that a server lives: it may answer anybody.

    >>> is_probe("/v2/health/ready"), is_probe("/predict")
    (True, False)
    """
    return bool(PROBE.search(path))
