"""Give each peer an environment of its own, with the versions that its requirements name."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE / "peers"
SAID_LINES = 3  # of what an installer said last, when it failed


class UnavailableError(Exception):
    """A contender cannot take part; the message says why."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A folder with a Python and what was installed beside it."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def command(self, name: str) -> str:
        """Give the path of a command that the environment holds."""
        return str(self.folder / "bin" / name)

    def versions(self) -> dict[str, str]:
        """Tell every distribution that is installed, with its version."""
        listed = _uv("pip", "list", "--format", "json", "--python", str(self.python))
        return {each["name"]: each["version"] for each in json.loads(listed)}


OURS = Environment(Path(sys.prefix))


def build(name: str, cache: Path, *, folder: Path | None = None) -> Environment:
    """Install the requirements of a peer, or of what has a folder of that name in `folder`, unless they are there already.

    Raises
    ------
    UnavailableError
        If they cannot be installed, with what the installer said.
    """
    environment, requirements = Environment(cache / name), (folder or FOLDER) / name / "requirements.txt"
    stamp, wanted = environment.folder / "installed.txt", _digest(requirements)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:  # of the processes that want it, one installs
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != wanted:
            shutil.rmtree(environment.folder, ignore_errors=True)
            _uv("venv", "--quiet", "--python", sys.executable, str(environment.folder))
            _uv("pip", "install", "--quiet", "--python", str(environment.python), "-r", str(requirements))
            stamp.write_text(wanted)
    return environment


def is_built(name: str, cache: Path) -> bool:
    """Tell whether a peer's environment holds what its requirements name today."""
    stamp = cache / name / "installed.txt"
    return stamp.is_file() and stamp.read_text() == _digest(FOLDER / name / "requirements.txt")


def pinned(name: str) -> list[str]:
    """Give the names that a peer's own requirements pin, without what the models need."""
    lines = (FOLDER / name / "requirements.txt").read_text().splitlines()
    return [re.split(r"[\[=]", line)[0] for line in lines if "==" in line]


def _digest(requirements: Path) -> str:
    models = requirements.parents[1] / "models.txt"
    read = requirements.read_bytes() + (models.read_bytes() if models.is_file() else b"") + sys.version.encode()
    return hashlib.sha256(read).hexdigest()


def _uv(*arguments: str) -> str:
    done = subprocess.run([OURS.command("uv"), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise UnavailableError(said(done.stderr))
    return done.stdout


def said(output: str) -> str:
    """Cut the last lines of an output, without addresses and paths, which differ by machine."""
    lines = [line.strip() for line in output.strip().splitlines() if line.strip()]
    return re.sub(r"\w+://\S+|(?<!\w)/\S+", "…", " ".join(lines[-SAID_LINES:]))
