"""From a service's folder to a bento that was run."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import bentoml

from ekiben import checks, explainers, locking, spec
from ekiben.checks.laws import HTTP_LAWS
from ekiben.errors import BuildError, NotFoundError
from ekiben.progress import Progress, shown
from ekiben.running import TRIED, Server, child_environment

ALLOWED = re.compile(
    r"service\.py|ekiben\.toml|contract\.json|requirements(\.hashed)?\.txt|uv\.toml|README\.md|bentofile\.yaml|tests/[^/]+\.py|wheels/[^/]+\.(whl|tar\.gz)"
)


def build(folder: str | Path, *, progress: Progress | bool | None = None) -> str:
    """Check a service, build its bento, and run the bento from an empty store before saying that it is done.

    Parameters
    ----------
    folder
        What `scaffold` wrote.
    progress
        Called with a few words before each step; False keeps them from being shown.

    Returns
    -------
    The bento's tag, such as `credit_risk:4kz2…`.

    Raises
    ------
    NotFoundError
        If there is no such folder.
    BuildError
        If a law is broken, BentoML refuses, the bento holds what it must not, or it answers differently when run.
    """
    target = Path(folder)
    described = spec.read(target)
    with shown(progress) as say:
        report = checks.check(target, progress=say)
        if not report.ok:
            raise BuildError(f"A bento is built of a service that keeps its laws. This one does not:\n{report}")
        locking.write(target, [*described.requirements, *_needs(target, described.explain.methods)], gpu=described.gpu)
        say("asking an index for the digests of the requirements")
        locking.write_hashed(target)
        say("building the bento")
        tag = _build_in_child(target)
        try:
            _holds_nothing_else(tag)
            say("running the bento from an empty store")
            _run_and_replay(tag, target)
        except BaseException:
            bentoml.delete(tag)  # a bento that was refused must not be anybody's latest
            raise
    return tag


def _needs(folder: Path, methods: Iterable[str]) -> list[str]:
    subjects = checks.package_subjects(folder)
    lines = [line for subject in subjects for line in subject.package.manifest["requirements"]]
    return [*lines, *(name for method in methods for name in explainers.requirements(method))]


def _build_in_child(folder: Path) -> str:
    """Build in a process of its own: a kernel keeps the first `service` module that it imports."""
    # The tag that it prints is for people: rich makes pictures of words such as `:taxi:`, and folds what is long.
    version = str(bentoml.Tag("bento", None).make_new_version().version)
    command = [sys.executable, "-m", "bentoml", "build", "--output", "tag", "--version", version]
    done = subprocess.run(command, cwd=folder, env=child_environment(), capture_output=True, text=True, check=False)
    made = [] if done.returncode else [bento.tag for bento in bentoml.bentos.list() if bento.tag.version == version]
    if not made:
        raise BuildError(f"BentoML must build the service. It refused:\n{_end(done.stdout + done.stderr)}")
    return str(made[0])


def _holds_nothing_else(tag: str) -> None:
    """Look at what went in: the include list alone, and no address of an index."""
    root = Path(bentoml.get(tag).path)
    faults = [f"{name} is not on the include list" for name in _names(root / "src") if not ALLOWED.fullmatch(name)]
    written = (
        "env/python/requirements.txt",
        "env/docker/Dockerfile",
        "src/requirements.txt",
        f"src/{locking.HASHED}",
        "src/uv.toml",
        "src/bentofile.yaml",
    )
    recipes = [root / name for name in written]
    for recipe in recipes:
        lines = (recipe.read_text() if recipe.is_file() else "").splitlines()
        faults += [
            f"{recipe.name} names an index in line {i}"
            for i, line in enumerate(lines, 1)
            if locking.ADDRESS.search(line)
        ]
    if faults:
        raise BuildError(f"A bento must hold its service alone. {'; '.join(faults)}. Look at bentofile.yaml.")


def _names(folder: Path) -> Iterator[str]:
    return (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())


def _run_and_replay(tag: str, folder: Path) -> None:
    """Serve the bento by its tag where nothing else is, and ask it what the packages answer."""
    with tempfile.TemporaryDirectory(prefix="ekiben-build-") as empty:
        store = Path(empty) / "store"
        archive = bentoml.get(tag).export(str(Path(empty) / "bento.tar"))
        environment = {"BENTOML_HOME": str(store), **TRIED}
        command = [sys.executable, "-m", "bentoml", "import", str(Path(archive).resolve())]
        done = subprocess.run(
            command, cwd=empty, env=child_environment(environment), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BuildError(
                f"A bento must import into an empty store. BentoML refused:\n{_end(done.stdout + done.stderr)}"
            )
        with Server(tag, environment=environment) as server:
            subjects = checks.http_subjects(folder, server)
            findings = [checks.examine(law, subject) for subject in subjects for law in HTTP_LAWS]
    broken = [f"{finding.arm}: {finding.law} {finding.facts}" for finding in findings if finding.state == "broken"]
    if broken:
        raise BuildError(f"The bento must answer as its packages do. {tag} does not: {'; '.join(broken)}.")


def source_of(tag: str) -> Path:
    """Give the folder of the service that a bento holds.

    Raises
    ------
    NotFoundError
        If there is no such bento.
    """
    try:
        return Path(bentoml.get(tag).path) / "src"
    except (bentoml.exceptions.NotFound, bentoml.exceptions.InvalidArgument):
        raise NotFoundError(f"No bento {tag!r}. To see those that are here, run: bentoml list") from None


def _end(output: str, lines: int = 25) -> str:
    return "\n".join(output.strip().splitlines()[-lines:])
