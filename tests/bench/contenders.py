"""What a contender is: something that can be started with models, asked for a row, and read."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx

from bench import environments, servers
from bench.environments import FOLDER, Environment, UnavailableError, said
from bench.models import Case
from bench.peers import Peer, Start
from bench.servers import Tree


@dataclass(frozen=True, slots=True)
class Place:
    """The folder, ignored by git, where environments, models, logs and results are kept."""

    folder: Path

    @property
    def environments(self) -> Path:
        return self.folder / "environments"

    @property
    def models(self) -> Path:
        return self.folder / "models"

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def work(self, name: str) -> Path:
        return self.folder / "work" / name


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a server is started with, where that is not as by default."""

    name: str = ""  # parts its files from those of another server of the same contender
    port: int | None = None
    workers: int = 1  # processes that compute
    limit: int | None = None  # requests that a process takes at once, before it turns others away
    environment: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)  # of a request that it is to answer, such as a key


ALONE = Setting()


class Contender(Protocol):
    """One column of the table."""

    key: str
    title: str
    says: str
    serves_many: bool

    def start(self, cases: Sequence[Case], place: Place, setting: Setting = ALONE) -> Tree:
        """Start a server of these models, and wait until it answers the first."""

    def path(self, case: Case) -> str:
        """Give where a model is asked."""

    def bodies(self, case: Case) -> list[str]:
        """Write the rows that are asked for, each as one request's body."""

    def chance(self, answer: Any) -> float:
        """Read the probability of the second class."""

    def versions(self) -> dict[str, str]:
        """Tell what is installed."""


@dataclass(frozen=True, eq=False)
class Installed:
    """A peer in the environment that was built for it."""

    peer: Peer
    environment: Environment

    @property
    def key(self) -> str:
        return self.peer.key

    @property
    def title(self) -> str:
        return self.peer.title

    @property
    def says(self) -> str:
        return self.peer.says

    @property
    def serves_many(self) -> bool:
        return self.peer.serves_many

    def start(self, cases: Sequence[Case], place: Place, setting: Setting = ALONE) -> Tree:
        serves = ",".join(case.key for case in cases)
        given = Start(
            environment=self.environment,
            serves=serves,
            port=setting.port or servers.free_port(),
            models=place.models,
            work=place.work(f"{self.key}{setting.name}"),
            workers=setting.workers,
            limit=setting.limit,
        )
        variables = {**self._variables(given), **setting.environment}
        folder, log = FOLDER / self.key, place.log(f"{self.key}-{serves}{setting.name}")
        if self.peer.prepare:
            self._prepare(given.port, variables)
        command = self.peer.command(given)
        tree = servers.start(command, port=given.port, folder=folder, environment=variables, log=log)
        answers_first(tree, self, cases[0], setting.headers)
        return tree

    def path(self, case: Case) -> str:
        return self.peer.path(case)

    def bodies(self, case: Case) -> list[str]:
        return self.peer.asked(case)

    def chance(self, answer: Any) -> float:
        return float(self.peer.chance(answer))

    def versions(self) -> dict[str, str]:
        return self.environment.versions()

    def _variables(self, start: Start) -> dict[str, str]:
        commands = os.pathsep.join([str(self.environment.folder / "bin"), os.environ.get("PATH", os.defpath)])
        own = {"MODELS": str(start.models), "SERVES": start.serves, "WORK": str(start.work), "PATH": commands}
        own |= {"WORKERS": str(start.workers), "LIMIT": str(start.limit or "")}
        inherited = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        return {**inherited, **own, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **self.peer.settings}

    def _prepare(self, port: int, variables: dict[str, str]) -> None:
        command = [str(self.environment.python), str(self.peer.prepare), str(port)]
        done = subprocess.run(command, cwd=FOLDER / self.key, env=variables, capture_output=True, text=True)
        if done.returncode:
            raise UnavailableError(f"Its model could not be written: {said(done.stderr)}")


def install(peer: Peer, place: Place) -> Installed:
    """Build a peer's environment, unless it is there."""
    return Installed(peer, environments.build(peer.key, place.environments))


JSON = {"content-type": "application/json"}
NO_HEADERS: Mapping[str, str] = {}


def ask(
    tree: Tree, contender: Contender, case: Case, body: str, headers: Mapping[str, str] = NO_HEADERS
) -> httpx.Response:
    """Send one request."""
    url = f"http://127.0.0.1:{tree.port}{contender.path(case)}"
    return httpx.post(url, content=body, headers={**JSON, **headers}, timeout=60, trust_env=False)


def answers_first(tree: Tree, contender: Contender, case: Case, headers: Mapping[str, str] = NO_HEADERS) -> None:
    """Wait for the first answer, and stop a server that gives none.

    Raises
    ------
    UnavailableError
        If none comes, with what came instead.
    """
    try:
        servers.wait(tree, lambda: _answers(tree, contender, case, headers))
    except BaseException:
        tree.end()
        raise


def _answers(tree: Tree, contender: Contender, case: Case, headers: Mapping[str, str]) -> bool:
    try:
        return ask(tree, contender, case, contender.bodies(case)[0], headers).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
