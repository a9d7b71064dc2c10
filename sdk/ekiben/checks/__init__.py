"""Find out whether a package, or a service, keeps its promises."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from ekiben import pinning, running, spec, storing
from ekiben.checks import loading
from ekiben.checks.laws import HTTP_LAWS, LAWS, sentence
from ekiben.checks.loading import Load
from ekiben.checks.reports import Finding, Report, State
from ekiben.checks.subjects import Evidence, Law, Subject
from ekiben.client import Client
from ekiben.errors import SpecError
from ekiben.packages import Package
from ekiben.pinning import Pin
from ekiben.progress import Progress, shown
from ekiben.running import Server
from ekiben.spec import ServiceSpec

__all__ = ["Finding", "Load", "Report", "Subject", "check", "examine", "http_subjects", "package_subjects"]

TIMED_REQUESTS = 100


def check(subject: Package | str | Path, *, progress: Progress | bool | None = None) -> Report:
    """Try every law on a package, or on a service's folder: each arm, and over real HTTP.

    Parameters
    ----------
    subject
        What `pack` made, or a folder that `scaffold` wrote.
    progress
        Called with a few words before each law; False keeps them from being shown.

    Returns
    -------
    A report with one finding a law and arm; `report.ok` is False when one is broken.

    Raises
    ------
    NotFoundError
        If there is no such folder.
    BuildError
        If the service does not start.

    Examples
    --------
    >>> import pandas as pd, ekiben
    >>> from sklearn.linear_model import LinearRegression
    >>> X = pd.DataFrame({"rooms": [2.0, 3.0, 4.0, 6.0]})
    >>> check(ekiben.pack(LinearRegression().fit(X, [20, 30, 40, 60]), name="flat", reference=X)).ok
    True
    """
    with shown(progress) as say:
        if isinstance(subject, Package):
            alone = Subject(arm=subject.name, package=subject)
            return Report(subject=str(subject.ref), findings=tuple(_findings([alone], LAWS, say)))
        if not isinstance(subject, str | Path):
            got = type(subject).__name__
            raise SpecError(
                f"What is checked must be a package or a service's folder. Got {got}. Pack it: ek.pack(model, …)"
            )
        return _check_folder(Path(subject), say)


def _check_folder(folder: Path, say: Progress) -> Report:
    arms = package_subjects(folder)
    findings = list(_findings(arms, LAWS, say))
    say("starting the service")
    with running.serve(folder, environment=running.TRIED, progress=say) as server:
        asked = http_subjects(folder, server)
        findings += _findings(asked, HTTP_LAWS, say)
        broken = any(finding.state == "broken" for finding in findings)
        load = None if broken or not len(asked[0].askable) else _load(server, asked[0])
        said = server.last_error if broken else ""
    notes = () if load is None else (_told(load, spec.read(folder)),)
    notes = (*notes, f"the service's log: {said}") if said else notes
    return Report(subject=str(folder), findings=tuple(findings), notes=notes, load=load)


def package_subjects(folder: Path) -> list[Subject]:
    """Give every arm of a service's folder as a subject of the laws."""
    described = spec.read(folder)
    pins = pinning.read(folder).pins
    return [Subject(arm=arm, package=_pinned(pins[arm]), spec=described) for arm in described.arms]


def http_subjects(folder: Path, client: Client) -> list[Subject]:
    """Give the arms that answer over HTTP; a shadow cannot be asked."""
    described, promised = spec.read(folder), pinning.read(folder)
    asked = [arm for arm in described.arms if described.route.share(arm) > 0]
    return [
        Subject(arm=arm, package=_pinned(promised.pins[arm]), spec=described, client=client, promised=promised)
        for arm in asked
    ]


def _pinned(pin: Pin) -> Package:
    return storing.get(pin.tag, digest=pin.digest)


def examine(law: Law, subject: Subject) -> Finding:
    """Try one law on one subject; a law that raises is broken."""
    try:
        evidence = law(subject)
    except Exception as failure:  # noqa: BLE001 -- whatever fails under a law breaks it
        evidence = Evidence(tried=1, faults=(f"{type(failure).__name__}: {failure}",))
    state: State = "broken" if evidence.faults else "kept" if evidence.tried else "not tried"
    facts = "; ".join(evidence.faults[:3]) or evidence.note or f"{evidence.tried} tried"
    return Finding(law=sentence(law), arm=subject.arm, state=state, facts=facts)


def _findings(subjects: list[Subject], laws: tuple[Law, ...], say: Progress) -> Iterator[Finding]:
    for subject in subjects:
        for law in laws:
            say(f"{subject.arm}: {sentence(law)}")
            yield examine(law, subject)


def _load(server: Server, subject: Subject) -> Load:
    """Time single rows over HTTP, one after the other: a fact beside the budget, not a law."""
    taken, rows = [], subject.whole(subject.askable)
    before = loading.cpu_s(server.pid)
    for i in range(TIMED_REQUESTS):
        began = time.perf_counter()
        server.predict(rows.iloc[[i % len(rows)]])
        taken.append((time.perf_counter() - began) * 1000)
    after = loading.cpu_s(server.pid)
    taken.sort()
    return Load(
        p50_ms=taken[len(taken) // 2],
        p99_ms=taken[int(len(taken) * 0.99) - 1],
        cpu_ms=None if before is None or after is None else (after - before) * 1000 / TIMED_REQUESTS,
        memory_mb=loading.memory_mb(server.pid),
    )


def _told(load: Load, described: ServiceSpec) -> str:
    budget = described.budgets.predict_p99_ms
    return f"one row over HTTP, one after the other: p50 {load.p50_ms:.1f} ms, p99 {load.p99_ms:.1f} ms (budget {budget:g} ms)"
