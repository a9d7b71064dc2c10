"""Run an image as it will run: hardened, asked what its packages were asked, and told to end."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

import httpx
import numpy as np
import pandas as pd

from ekiben import draining, pinning, routing, running, spec
from ekiben.checks import Subject
from ekiben.checks.laws import http_answers_what_the_notebook_answers
from ekiben.client import Client
from ekiben.containers import diet
from ekiben.containers.context import Context
from ekiben.containers.engines import Engine, asked, last
from ekiben.containers.images import Ran
from ekiben.errors import BuildError, EkibenError, RequestError
from ekiben.packages import Package
from ekiben.progress import Progress

READY_S = 120.0
LOOK_S = 4.0  # between two looks whether it lives at all: longer than a start, which a look would slow
STOP_S = 15
DRAIN_S = "0.2"  # nobody is sent to it who would have to hear of its end
# Asked of the Python inside: what the other processes of the container hold in memory.
MEMORY = (
    "import os; print(sum(int(line.split()[1]) for pid in os.listdir('/proc') if pid.isdigit() and int(pid) != os.getpid()"
    " for line in open(f'/proc/{pid}/status') if line.startswith('VmRSS')))"
)


@dataclass(slots=True, kw_only=True)
class Container:
    """A container that runs, and how it is asked.

    Parameters
    ----------
    engine
        What runs it.
    id
        Its name.
    url
        Where it answers.
    started
        When it was started, by `time.monotonic`.
    """

    engine: Engine
    id: str
    url: str
    started: float = field(default_factory=time.monotonic)

    def wait(self) -> float:
        """Wait until it is ready, and give the seconds since it was started.

        Raises
        ------
        BuildError
            If it ends, or is not ready in time, with the end of its log.
        """
        looked = self.started
        with httpx.Client(base_url=self.url, timeout=2, trust_env=False) as http:
            while time.monotonic() - self.started < READY_S:
                try:
                    if http.get("/readyz").status_code == httpx.codes.OK:
                        return time.monotonic() - self.started
                except httpx.TransportError:
                    if time.monotonic() - looked >= LOOK_S:  # to ask an engine costs what the service starts with
                        looked = time.monotonic()
                        if not self.is_running():
                            raise BuildError(f"The image must start. It ended:\n{self.log()}") from None
                time.sleep(0.02)
        raise BuildError(f"The image must be ready within {READY_S:.0f} s. It was not:\n{self.log()}")

    def is_running(self) -> bool:
        """Tell whether it lives."""
        return self.engine.call("inspect", "-f", "{{.State.Running}}", self.id, check=False).stdout.strip() == "true"

    def log(self) -> str:
        """Give the end of its log."""
        done = self.engine.call("logs", "--tail", "25", self.id, check=False)
        return last(done.stdout + done.stderr, 25)

    def memory_mb(self) -> float:
        """Give the megabytes that its processes hold."""
        return int(self.engine.call("exec", self.id, "python3", "-c", MEMORY).stdout) * 1024 / 1e6

    def stop(self) -> tuple[float, int]:
        """Tell it to end, and give the seconds that took and its exit code."""
        began = time.monotonic()
        self.engine.call("stop", "-t", str(STOP_S), self.id)
        code = self.engine.call("inspect", "-f", "{{.State.ExitCode}}", self.id).stdout
        return time.monotonic() - began, int(code)

    def remove(self) -> None:
        """Remove it, running or not."""
        self.engine.call("rm", "-f", self.id, check=False)


@contextmanager
def running_image(
    engine: Engine,
    ref: str,
    *,
    environment: Mapping[str, str] | None = None,
    volumes: Mapping[Path, str] | None = None,
    cpus: float = 1,
    memory_mb: int = 1024,
) -> Iterator[Container]:
    """Start an image under the hardening; it is removed when the block ends.

    Parameters
    ----------
    engine, ref
        What runs it, and the image.
    environment
        More variables for it.
    volumes
        Folders of this machine that it may write to, each with the place where it finds them.
    cpus, memory_mb
        What it may use, where the engine can limit that.
    """
    port, name = _free_port(), f"ekiben-{token_hex(6)}"
    told = {**running.TRIED, draining.SECONDS: DRAIN_S, **(environment or {})}
    words = [f"--env={key}={value}" for key, value in told.items()]
    words += [f"--volume={folder}:{place}" for folder, place in (volumes or {}).items()]
    began = time.monotonic()
    limited = asked(engine, port=port, cpus=cpus, memory_mb=memory_mb)
    # By a name of ours, since an engine that does not start what it created leaves it there, and tells no identifier.
    container = Container(engine=engine, id=name, url=f"http://127.0.0.1:{port}", started=began)
    try:
        engine.call("run", "-d", f"--name={name}", *limited, *words, ref)
        yield container
    finally:
        container.remove()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prove(engine: Engine, ref: str, context: Context, say: Progress) -> Ran:
    """Run an image hardened, at one processor and 1 GiB, replay the examples of its bento, compare, and stop it.

    Raises
    ------
    BuildError
        If it does not start, answers otherwise than its packages, or does not end well.
    """
    say("starting the image without rights, read-only, at 1 processor and 1 GiB")
    with running_image(engine, ref) as container:
        container.wait()
        with Client(container.url) as client:
            subjects = list(_subjects(context, client))
            _first_answer(client, subjects)
            start_s, memory_mb = time.monotonic() - container.started, container.memory_mb()
            say("replaying the examples")
            compared = [_compared(each, exact=each.arm in context.by_plan) for each in subjects]
        say("stopping the image")
        stop_s, code = container.stop()
        if code:
            raise BuildError(
                f"The image must end with code 0 when it is told to. It ended with {code}:\n{container.log()}"
            )
    if faults := [fault for each in compared for fault in each.faults]:
        raise BuildError(f"The image must answer as its packages do. {'; '.join(faults)}.")
    return Ran(
        start_s=start_s,
        memory_mb=memory_mb,
        n_rows=sum(each.n_rows for each in compared),
        exact=tuple(each.arm for each in compared if each.exact),
        stop_s=stop_s,
    )


def _subjects(context: Context, client: Client) -> Iterator[Subject]:
    """Give every arm that can be asked, its package from the context itself."""
    source = context.folder / "bento" / "src"
    described, promised = spec.read(source), pinning.read(source)
    for arm in described.arms:
        if described.route.share(arm) > 0:
            package = _of(context.folder, promised.pins[arm])
            yield Subject(arm=arm, package=package, spec=described, client=client, promised=promised)


def _of(folder: Path, pin: pinning.Pin) -> Package:
    return diet.package_of(folder / "models", pin.tag, pin.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    arm: str
    n_rows: int
    exact: bool
    faults: tuple[str, ...]


def _first_answer(client: Client, subjects: list[Subject]) -> None:
    if rows := [each.askable for each in subjects if len(each.askable)]:
        client.predict(subjects[0].whole(rows[0]).head(1))
    else:
        client.schema()


def _compared(subject: Subject, *, exact: bool) -> _Compared:
    """Compare what an arm answers with what its package answers here: of a plan to the last bit."""
    try:
        return _replayed(subject, exact=exact)
    except EkibenError as reason:
        return _Compared(arm=subject.arm, n_rows=0, exact=False, faults=(f"{subject.arm}: {reason}",))


def _replayed(subject: Subject, *, exact: bool) -> _Compared:
    told = http_answers_what_the_notebook_answers(subject)
    faults = [f"{subject.arm}: {fault}" for fault in told.faults]
    rows = subject.askable.head(told.tried)
    equal = False
    if told.tried and exact:
        equal = _same_bits(subject.over_http(rows), subject.package.predict(rows))
        faults += [] if equal else [f"{subject.arm}: its plan answers other bits in the image than here"]
    faults += _explains(subject, rows.head(1)) if told.tried else []
    return _Compared(arm=subject.arm, n_rows=told.tried, exact=equal, faults=tuple(faults))


def _same_bits(got: pd.DataFrame, wanted: pd.DataFrame) -> bool:
    """Tell whether two frames hold the same numbers and labels.

    >>> _same_bits(pd.DataFrame({"value": [0.1 + 0.2]}), pd.DataFrame({"value": [0.3]}))
    False
    """
    return all(np.array_equal(got[name].to_numpy(), wanted[name].to_numpy()) for name in wanted.columns)


def _explains(subject: Subject, rows: pd.DataFrame) -> list[str]:
    """Ask for one explanation by each method: what an image must hold for it was chosen, and shows only now."""
    assert subject.client is not None
    assert subject.spec is not None
    unit = routing.unit_for(subject.spec.route, subject.arm, prefix="explain") if subject.spec.unit else None
    faults = []
    for method in (None, *_named(subject)):
        by = f" by {method}" if method else ""
        try:
            subject.client.explain(subject.whole(rows), unit=unit, method=method)
        except Exception as reason:  # noqa: BLE001 -- whatever is missing in there is a fault of the image
            is_of_the_method = isinstance(reason, RequestError) and reason.code == "unexplainable"
            if not (method and is_of_the_method):  # a method need not find an explanation for every row
                faults.append(f"{subject.arm}: it does not explain{by}: {json.dumps(str(reason))[:200]}")
    return faults


def _named(subject: Subject) -> list[str]:
    """Name the methods that may be asked for, but for those that show rows which the service does not."""
    assert subject.spec is not None
    explain = subject.spec.explain
    return [each for each in explain.methods if each != "examples" or explain.show_reference]
