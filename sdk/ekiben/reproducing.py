"""Build the environment of a package again, from nothing, and see whether it answers as it was recorded."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ekiben import locking, packages, proving, tracking
from ekiben.distributions import LEANER
from ekiben.drawing import STYLE
from ekiben.errors import BuildError, SpecError, UnreachableError
from ekiben.packages import Package
from ekiben.progress import Progress, shown
from ekiben.proving import Evidence
from ekiben.refs import ModelRef

INSTALLED_WITHIN_S = 1200
SETTINGS = {"UV_HTTP_TIMEOUT": "15", "UV_HTTP_RETRIES": "1", "PIP_DEFAULT_TIMEOUT": "15", "PIP_RETRIES": "1"}
NOBODY = re.compile(
    "client error|connection refused|connection broken|connectivity is disabled|could not connect|dns error"
    "|error sending request|name resolution|network is unreachable|network was disabled|newconnectionerror|timed out|tunnel",
    re.IGNORECASE,
)
DESCRIBE = (
    "import json, sys; from ekiben import locking; print(json.dumps(locking.environment(json.loads(sys.argv[1]))))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """What a package answered in an environment that was built again, and how that differs from where it was packed.

    Parameters
    ----------
    subject
        The package's name and digest.
    answers
        The examples, answered again.
    environment
        The Python and the platform that were built, as one line.
    n_distributions
        How many distributions were recorded.
    differing
        Each distribution that is not what it was: gone, of another version, or with other files.
    notes
        What is otherwise on purpose, or could not be compared.
    """

    subject: str
    answers: Evidence
    environment: str
    n_distributions: int
    differing: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every answer is the same bit for bit, and every distribution that can be compared as well."""
        return self.answers.ok and not self.differing

    def to_json(self) -> dict[str, Any]:
        """Give the finding as plain JSON values."""
        return {
            "subject": self.subject,
            "ok": self.ok,
            "answers": self.answers.to_json(),
            "environment": self.environment,
            "n_distributions": self.n_distributions,
            "differing": list(self.differing),
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        lines = [f"  {'✓' if ok else '✗'} {name:<13} {facts}" for name, ok, facts in self._lines()]
        return "\n".join([f"{self.subject}: {self._verdict()}", *lines, *(f"  · {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{'✓' if ok else '✗'} {name}</td><td>{escape(facts)}</td></tr>"
            for name, ok, facts in self._lines()
        )
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return (
            f'{STYLE}<div class="ekiben"><h3>{escape(self.subject)}: {self._verdict()}</h3>'
            f"<table><tbody>{rows}</tbody></table>{f'<ul>{notes}</ul>' if notes else ''}</div>"
        )

    def _verdict(self) -> str:
        if self.ok:
            return "reproduced"
        return "the same answers, in another environment" if self.answers.ok else "different"

    def _lines(self) -> Iterator[tuple[str, bool, str]]:
        yield "answers", self.answers.ok, str(self.answers)
        same = f"{self.n_distributions} distributions as recorded, {self.environment}."
        few = " ".join(self.differing[:5]) + (" …" if len(self.differing) > 5 else "")
        told = f"{len(self.differing)} of {self.n_distributions} distributions differ. {few}"
        yield "environment", not self.differing, told if self.differing else same


def reproduce(subject: Package | ModelRef | str | Path, *, progress: Progress | bool | None = None) -> Reproduction:
    """Build the environment of a package again, from nothing, and see whether it answers as it was recorded.

    A fresh virtual environment is filled with the versions that the package recorded, and removed afterwards; its
    isolated interpreter answers the package's examples. Nothing of this environment is used but ekiben itself.

    Parameters
    ----------
    subject
        A package, its folder, or a version such as `models:/credit_risk/1`.
    progress
        Called with a few words before each step; False keeps them from being shown.

    Returns
    -------
    Whether answers and distributions are the same, and what differs.

    Raises
    ------
    NotFoundError
        If there is no such package or version.
    SpecError
        If the package does not say where it was packed.
    UnreachableError
        If no index answers, and what is needed was not installed here before.
    BuildError
        If the environment cannot be built: no such Python, or no such version on the index.

    Examples
    --------
    >>> reproduce("no/such/folder")
    Traceback (most recent call last):
    ...
    ekiben.errors.NotFoundError: A package's folder must hold package.json. Got 'no/such/folder', which has none.
    """
    package, folder = _found(subject)
    manifest = package.manifest if package is not None else packages.verify(folder)
    recorded = _recorded(manifest)
    with shown(progress) as say, tempfile.TemporaryDirectory(prefix="ekiben-reproduce-") as empty:
        place = Path(empty)
        say("making an empty environment")
        python = _make(place, recorded["python"])
        say(f"installing {len(recorded['distributions'])} distributions")
        _fill(place, python, recorded)
        say("answering the examples in it")
        answers = proving.replay(folder, python=python)
        say("comparing what was installed")
        rebuilt = _described(python, manifest["requirements"])
    differing, notes = _compared(recorded, rebuilt)
    return Reproduction(
        subject=f"{manifest['name']} {manifest['digest'][:12]}",
        answers=answers,
        environment=_words(rebuilt),
        n_distributions=len(recorded["distributions"]),
        differing=tuple(differing),
        notes=tuple(notes),
    )


def _found(subject: Package | ModelRef | str | Path) -> tuple[Package | None, Path]:
    if isinstance(subject, ModelRef) or str(subject).startswith("models:/"):
        fetched = tracking.fetch(subject if isinstance(subject, ModelRef) else str(subject))
        return fetched, fetched.folder
    if isinstance(subject, Package):
        packages.verify(subject.folder)
        return subject, subject.folder
    return None, Path(subject)


def _recorded(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    if "environment" not in manifest:
        raise SpecError(
            f"A package must say where it was packed. {manifest['name']} does not: an older ekiben packed it. "
            "Pack it again: ek.pack(model, …)"
        )
    found: Mapping[str, Any] = manifest["environment"]
    return found


# ── the environment ────────────────────────────────────────────────────────────────────────────────────────────────


def _make(place: Path, version: str) -> Path:
    """Make a virtual environment of the version, or of the nearest of the same minor version, and give its Python."""
    target = place / "venv"
    tool = locking.uv()
    if tool is not None:
        wanted = sys.executable if platform.python_version() == version else version
        done = _run([tool, "venv", "--quiet", "--no-project", "--python", wanted, str(target)], place)
        if done.returncode == 0:
            return _python(target)
    if platform.python_version_tuple()[:2] != tuple(version.split(".")[:2]):
        raise BuildError(
            f"The package was packed with Python {version}. Got {platform.python_version()}, and no other was found. "
            f"Run: uv python install {version}"
        )
    command = [sys.executable, "-m", "venv", "--clear", str(target)]
    if tool is not None:
        command = [tool, "venv", "--quiet", "--no-project", "--clear", "--python", sys.executable, str(target)]
    done = _run(command, place)
    if done.returncode:
        raise BuildError(f"A virtual environment must be made. It was not:\n{_without_addresses(_end(done.stderr))}")
    return _python(target)


def _python(target: Path) -> Path:
    return target / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _fill(place: Path, python: Path, recorded: Mapping[str, Any]) -> None:
    """Install the recorded versions and nothing that they ask for besides: all of it was recorded."""
    locking.write_wheel(place / "wheels")
    versions = {name: each["version"] for name, each in recorded["distributions"].items()}
    (place / "requirements.txt").write_text(locking.pinned(versions, recorded["python"]))
    what = ["install", "--quiet", "--no-deps", "-r", "requirements.txt"]
    tool = locking.uv()
    command = [str(python), "-m", "pip", *what, "--disable-pip-version-check", "--no-input"]
    if tool is not None:
        command = [tool, "pip", *what, "--python", str(python)]
    try:
        done = _run(command, place)
    except subprocess.TimeoutExpired:
        raise _unreachable(f"it took longer than {INSTALLED_WITHIN_S // 60} minutes") from None
    if done.returncode:
        said = _without_addresses(_end(done.stdout + done.stderr))
        if NOBODY.search(said):
            raise _unreachable(said)
        raise BuildError(f"The recorded versions must install. They did not:\n{said}")


def _run(command: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    own = SETTINGS | proving.clean_environment()
    return subprocess.run(
        command, cwd=place, env=own, capture_output=True, text=True, timeout=INSTALLED_WITHIN_S, check=False
    )


def _unreachable(reason: str) -> UnreachableError:
    return UnreachableError(
        f"The recorded versions must come from an index. None answered: {reason}\n"
        "Connect, or name an index that can be reached in UV_DEFAULT_INDEX (PIP_INDEX_URL for pip), and try again."
    )


def _without_addresses(text: str) -> str:
    """Leave out addresses: that of an index may hold a password."""
    return re.sub(r"\w+://\S+", "…", text)


def _end(text: str, lines: int = 12) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])


def _described(python: Path, needed: list[str]) -> dict[str, Any]:
    command = [str(python), "-I", "-c", DESCRIBE, json.dumps(needed)]
    done = _run(command, python.parent)
    if done.returncode:
        raise BuildError(f"ekiben must run in the environment that was built. It does not:\n{_end(done.stderr)}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# ── the comparison ─────────────────────────────────────────────────────────────────────────────────────────────────


def _compared(was: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Tell which distributions differ, and what is otherwise on purpose or cannot be compared."""
    differing: list[str] = []
    notes: list[str] = []
    files_compare = _words(was, exactly=False) == _words(now, exactly=False)
    if _words(was) != _words(now):
        notes.append(f"It was packed with {_words(was)}, and built again with {_words(now)}.")
    if not files_compare:
        notes.append("Distributions hold other files there; only their versions were compared.")
    for name, recorded in was["distributions"].items():
        lean = LEANER.get(name, name)
        found = now["distributions"].get(lean)
        if found is None or found["version"] != recorded["version"]:
            got = "It is not there" if found is None else f"Got {found['version']}"
            (notes if name == "ekiben" else differing).append(f"{name} {recorded['version']} was recorded. {got}.")
        elif name != lean:
            notes.append(
                f"{lean} {found['version']} stands for {name}, as in a service: without the code for graphics cards."
            )
        elif found["record"] != recorded["record"] and files_compare:
            told = f"{name} {found['version']} holds other files than where it was packed."
            (notes if name == "ekiben" else differing).append(told)
    return differing, notes


def _words(environment: Mapping[str, Any], *, exactly: bool = True) -> str:
    version = environment["python"] if exactly else environment["python"].rpartition(".")[0]
    return f"{environment['implementation']} {version} on {environment['platform']} {environment['machine']}"
