"""Prove that a package answers its examples in a clean interpreter: no notebook, no working folder, no module of the user's."""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# -I leaves out PYTHONPATH, the user's own packages and the working folder, so where ekiben is comes as an argument.
START = """\
import sys
sys.path[:0] = sys.argv[3:]
from ekiben.proving import write_answers
write_answers(*sys.argv[1:3])
"""
SITES = ("site-packages", "dist-packages")
WITHIN_S = 120.0
OF_THE_NOTEBOOK = ("IPY", "JPY_", "JUPYTER", "PYDEVD", "PYTHON", "VIRTUAL_ENV")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a clean interpreter answered, held against what was recorded.

    Parameters
    ----------
    n_rows, n_values
        How many examples and how many values in their answers were compared, bit for bit.
    differing
        The values that differ, as `example 2, score_good: 0.25 was recorded. Got 0.5`.
    largest
        The largest absolute difference between two numbers; infinite where one of them is no finite number.
    failure
        Why there is no answer: the last words of the interpreter; None when it answered.
    seconds
        How long it took, the imports too.

    Examples
    --------
    >>> Evidence(n_rows=6, n_values=12, differing=(), largest=0.0, failure=None, seconds=1.4).ok
    True
    """

    n_rows: int
    n_values: int
    differing: tuple[str, ...]
    largest: float
    failure: str | None
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every value is the same, bit for bit, and there is one."""
        return self.failure is None and not self.differing and self.n_values > 0

    def to_json(self) -> dict[str, Any]:
        """Give the evidence as plain JSON values."""
        largest = self.largest if math.isfinite(self.largest) else None
        return {"ok": self.ok, **asdict(self), "differing": list(self.differing), "largest": largest}

    def __str__(self) -> str:
        if self.failure is not None:
            return f"It did not answer: {self.failure}"
        if self.ok:
            return f"{self.n_values} values in {self.n_rows} examples are the same, bit for bit."
        few = "; ".join(self.differing[:3]) + ("; …" if len(self.differing) > 3 else "")
        return f"{len(self.differing)} of {self.n_values} values differ, by up to {self.largest:.3g}: {few}."


def replay(folder: str | Path, *, python: str | Path | None = None, within_s: float = WITHIN_S) -> Evidence:
    """Answer a package's examples in a clean interpreter, and compare the answers with those that were recorded.

    The interpreter is isolated (`python -I`), starts in an empty folder, and knows nothing of this process but its
    environment variables, without those of Python and the notebook. One that answers in time is never an error here:
    what went wrong in it is in the evidence.

    Parameters
    ----------
    folder
        The package's.
    python
        Another interpreter, which has an ekiben of its own; by default this one, with the ekiben that runs here.
    within_s
        How long it may take, in seconds.

    Examples
    --------
    >>> import ekiben, pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> X = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 6.0]})
    >>> package = ekiben.pack(LinearRegression().fit(X, [20, 30, 40, 60]), name="flat", reference=X)
    >>> print(replay(package.folder))
    4 values in 4 examples are the same, bit for bit.
    """
    recorded = [example["answer"] for example in json.loads((Path(folder) / "examples.json").read_text())]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ekiben-prove-") as empty:
        out, place = Path(empty) / "answers.json", Path(empty) / "here"
        place.mkdir()
        interpreter = [str(python or sys.executable), "-I", "-c", START]
        command = [*interpreter, str(Path(folder).resolve()), str(out), *(_places() if python is None else ())]
        failure = _run(command, place, within_s)
        answered = json.loads(out.read_text()) if failure is None else []
    return _compared(recorded, answered, failure, time.monotonic() - began)


def _places() -> list[str]:
    """Give where ekiben is, and where installers put libraries; no folder of the user's own."""
    return [str(Path(__file__).parents[1]), *(place for place in sys.path if Path(place).name in SITES)]


def _run(command: list[str], place: Path, within_s: float) -> str | None:
    """Run a clean interpreter to its end, and say why it failed, if it did."""
    try:
        done = subprocess.run(
            command, cwd=place, env=clean_environment(), capture_output=True, text=True, timeout=within_s, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {within_s:g} s."
    if done.returncode == 0:
        return None
    said = [line for line in done.stderr.splitlines() if line.strip()]
    return said[-1] if said else f"the interpreter ended with the code {done.returncode}."


def clean_environment() -> dict[str, str]:
    """Give this process's environment variables without those that lead to a notebook or to another Python's modules."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OF_THE_NOTEBOOK)}
    if trusted := kept.get("EKIBEN_HOME"):
        kept["EKIBEN_HOME"] = str(Path(trusted).absolute())  # the interpreter starts elsewhere
    return kept


def write_answers(folder: str, out: str) -> None:
    """Load a package and write its answers to its examples as JSON: what the clean interpreter does."""
    from ekiben import packages, tables

    package = packages.load(folder)
    answers = tables.as_records(package.predict(package.example_frame, compiled=False))
    Path(out).write_text(json.dumps(answers))


def _compared(recorded: Sequence[Any], answered: Sequence[Any], failure: str | None, seconds: float) -> Evidence:
    pairs = [] if failure is not None else list(_pairs(recorded, answered))
    differing = [(where, was, now) for where, was, now in pairs if _bits(was) != _bits(now)]
    return Evidence(
        n_rows=len(recorded),
        n_values=len(pairs),
        differing=tuple(f"{where}: {was!r} was recorded. Got {now!r}" for where, was, now in differing),
        largest=max((_distance(was, now) for _, was, now in differing), default=0.0),
        failure=failure,
        seconds=round(seconds, 3),
    )


def _pairs(recorded: Sequence[Any], answered: Sequence[Any]) -> Iterator[tuple[str, Any, Any]]:
    """Give every recorded value with its counterpart; one that only one side has is paired with None."""
    for row in range(max(len(recorded), len(answered))):
        was = _flat(recorded[row]) if row < len(recorded) else {}
        now = _flat(answered[row]) if row < len(answered) else {}
        for name in was | now:
            yield f"example {row}, {name}", was.get(name), now.get(name)


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Spread an answer out, whatever it is made of: `{"a": [1, 2]}` has the values `a.0` and `a.1`."""
    if isinstance(value, Mapping | list):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        return {key: leaf for part, inner in items for key, leaf in _flat(inner, f"{name}.{part}").items()}
    return {name.removeprefix("."): value}


def _bits(value: Any) -> Any:
    """Give what two values share when they are the same: -0.0 is not 0.0, 1 is not True, and NaN is NaN."""
    return struct.pack("<d", value) if isinstance(value, float) else (type(value), value)


def _distance(was: Any, now: Any) -> float:
    numbers = [value for value in (was, now) if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < 2:
        return 0.0 if not numbers else math.inf
    apart = abs(numbers[0] - numbers[1])
    return apart if math.isfinite(apart) else math.inf
