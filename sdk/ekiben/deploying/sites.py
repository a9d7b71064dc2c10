"""What manifests are made of: the service, its image, and how much it needs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ekiben.checks import Load, Report
from ekiben.errors import NotFoundError, SpecError, nearest
from ekiben.spec import ServiceSpec

Component = Literal["monitoring", "rollout"]
COMPONENTS: tuple[Component, ...] = ("monitoring", "rollout")
USER = 1034  # whom BentoML's images and ours run as
PORT = 3000
TMP_MB, SEGMENT_MB = 256, 64
SUPERVISOR_MB, WORKER_MB = 100, 300  # where nothing was measured: scikit-learn or XGBoost, pandas, and a model
ANSWERS_A_S = 50  # of one pod, where nothing was measured
BUSY = 0.5  # the share of what a pod could answer at which another is started
RAMP = (25, 50)

# name, tag, digest: each may hold what a registry takes, and a port
_IMAGE = re.compile(
    r"(?P<name>([a-z0-9][a-z0-9.-]*(:\d+)?/)?[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*)(:(?P<tag>[\w][\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where and how a service is to run.

    Parameters
    ----------
    spec
        What is served.
    image
        The image's reference, with a tag or a digest.
    keys
        Whether callers must show a key.
    load
        What the service cost where it was checked; None where nothing was measured.
    replicas
        The fewest and the most pods.
    callers
        Namespaces whose pods may ask, beside the service's own.
    claim
        A claim of a volume that many pods may write, for the records; None keeps them in the pod.
    ramp
        Per cent of the pods that a new version has, step by step.
    components
        What production has beside the base.
    drain_s
        For how many seconds a pod that is told to end goes on answering.
    explainer
        A second service of the same arms, which explains by methods that this one leaves out.
    """

    spec: ServiceSpec
    image: str
    keys: bool = True
    load: Load | None = None
    replicas: tuple[int, int] = (2, 10)
    callers: tuple[str, ...] = ()
    claim: str | None = None
    ramp: tuple[int, ...] = ()
    components: tuple[Component, ...] = COMPONENTS
    drain_s: int = 5
    explainer: Site | None = None

    def __post_init__(self) -> None:
        faults = [*_faults(self)]
        if faults:
            raise SpecError("\n- ".join(["Manifests cannot be written:", *faults]) if len(faults) > 1 else faults[0])

    @property
    def name(self) -> str:
        """The service's name, as Kubernetes takes it."""
        return self.spec.name.replace("_", "-")

    @property
    def image_name(self) -> str:
        """The image's name, without tag and digest."""
        return _parts(self.image)["name"] or ""

    @property
    def version(self) -> str:
        """What the label of the version says: the image's tag, or the beginning of its digest."""
        found = _parts(self.image)
        return (found["tag"] or (found["digest"] or "").removeprefix("sha256:")[:12])[:63].strip("._-")

    @property
    def selector(self) -> dict[str, str]:
        """The labels by which a pod is found; they never change."""
        return {"app.kubernetes.io/name": self.name, "app.kubernetes.io/instance": self.name}

    @property
    def labels(self) -> dict[str, str]:
        """The labels of every object."""
        return self.selector | {
            "app.kubernetes.io/component": "server",
            "app.kubernetes.io/managed-by": "ekiben",
            "app.kubernetes.io/version": self.version,
        }

    @property
    def is_shipped(self) -> bool:
        """Whether records go on to Postgres."""
        return self.spec.records.to == "postgres"

    @property
    def grace_s(self) -> int:
        """How long a pod has to end: what it drains, and the longest answer."""
        return math.ceil(self.drain_s + self.spec.timeout_s + 10)

    @property
    def answers_a_s(self) -> int:
        """How many requests a second one pod is for."""
        cpu_ms = self.load.cpu_ms if self.load else None
        return ANSWERS_A_S if not cpu_ms else max(1, math.floor(BUSY * self.spec.workers * 1000 / cpu_ms))

    @property
    def memory_mi(self) -> int:
        """The memory that a pod asks for, in MiB."""
        measured = self.load.memory_mb if self.load else None
        needed = measured * 1.25 if measured else SUPERVISOR_MB + WORKER_MB * self.spec.workers
        return _rounded(needed)

    @property
    def disk_mi(self) -> int:
        """What a pod may write to its own disk, in MiB."""
        return TMP_MB + self.kept_mi

    @property
    def kept_mi(self) -> int:
        """What records and tickets may take, in MiB: what the spec keeps, and a segment for each process."""
        records = 0 if self.claim or self.spec.records.to == "off" else self.spec.records.keep_mb
        return _rounded(records + self.spec.explain.keep_mb + SEGMENT_MB * self.spec.workers)

    def resources(self) -> dict[str, Any]:
        """Give what a container asks for, and what it may take."""
        cpu_m = round(1000 * BUSY) * self.spec.workers
        explaining = self.spec.explain.processes * self.spec.workers * self.spec.explain.memory_mb
        return {
            "requests": {
                "cpu": f"{cpu_m}m",
                "memory": f"{self.memory_mi}Mi",
                "ephemeral-storage": f"{self.disk_mi}Mi",
            },
            "limits": {
                "cpu": f"{self.spec.workers + 1}",
                "memory": f"{2 * self.memory_mi + _rounded(explaining)}Mi",
                "ephemeral-storage": f"{self.disk_mi + 128}Mi",
            },
        }


def _rounded(mb: float) -> int:
    """Round megabytes up to whole 64 MiB."""
    return math.ceil(mb * 1e6 / 2**20 / 64) * 64


def _parts(image: str) -> dict[str, str | None]:
    found = _IMAGE.fullmatch(image)
    return found.groupdict() if found else {"name": image, "tag": None, "digest": None}


def _faults(site: Site) -> Iterator[str]:
    found = _IMAGE.fullmatch(str(site.image))
    if found is None or not (found["tag"] or found["digest"]) or found["tag"] == "latest":
        yield (
            "The 'image' must name a tag that stays, or a digest, such as registry.example.com/churn:1. "
            f"Got {site.image!r}."
        )
    least, most = site.replicas
    if not (type(least) is int and type(most) is int and 1 <= least <= most):
        yield f"The 'replicas' must be the fewest and the most, each at least 1. Got {site.replicas!r}."
    steps = site.ramp
    if any(type(each) is not int or not 0 < each < 100 for each in steps) or [*steps] != sorted({*steps}):
        yield f"The 'ramp' must rise, in whole per cent from 1 to 99. Got {steps!r}."
    for component in site.components:
        if component not in COMPONENTS:
            known = nearest(str(component), COMPONENTS)
            yield f"The 'components' must be some of {[*COMPONENTS]}. Got {component!r}.{known}"
    for caller in site.callers:
        if not _LABEL.fullmatch(str(caller)):
            yield f"The 'callers' must be names of namespaces, such as 'shop'. Got {caller!r}."
    if site.explainer is not None:
        yield from _faults_of_explainer(site.spec, site.explainer.spec)
    if site.claim is not None and not _LABEL.fullmatch(site.claim):
        yield f"The 'claim' must be the name of a claim of a volume. Got {site.claim!r}."


def _faults_of_explainer(spec: ServiceSpec, told: ServiceSpec) -> Iterator[str]:
    if told.name == spec.name:
        yield f"The 'explainer' must be a service of another name. Both are {spec.name!r}."
    if told.arms != spec.arms:
        odd = sorted(arm for arm in {*spec.arms, *told.arms} if spec.arms.get(arm) != told.arms.get(arm))
        yield f"The 'explainer' must have the arms of the service, of the same versions. {', '.join(odd)} differ."
    if not {*told.explain.methods} - {*spec.explain.methods}:
        yield (
            "The 'explainer' must name a method in [explain] that the service has not. "
            f"Got {', '.join(told.explain.methods) or 'none'}."
        )


def pair_of(replicas: Any) -> tuple[int, int]:
    """Take the fewest pods and the most, as they were given.

    >>> pair_of(2)
    Traceback (most recent call last):
    ekiben.errors.SpecError: The 'replicas' must be the fewest and the most, such as (2, 10). Got 2.
    """
    if not (isinstance(replicas, Sequence) and len(replicas) == 2):
        raise SpecError(f"The 'replicas' must be the fewest and the most, such as (2, 10). Got {replicas!r}.")
    least, most = replicas
    return least, most


def ramp_of(spec: ServiceSpec) -> tuple[int, ...]:
    r"""Give the steps of a new version: those of the spec, or from the share of its smallest arm on.

    >>> from ekiben.spec import loads
    >>> ramp_of(
    ...     loads(
    ...         'format = 1\nname = "churn"\n[arms]\na = "models:/c/1"\nb = "models:/c/2"\n'
    ...         "[route]\nweights = { a = 0.9, b = 0.1 }\n"
    ...     )
    ... )
    (10, 25, 50)
    """
    if spec.ramp:
        return spec.ramp
    shares = [spec.route.share(arm) for arm in spec.route.weights]
    answering = sorted(share for share in shares if share > 0)
    first = max(1, min(50, round(100 * answering[0]))) if len(answering) > 1 else 5
    return (first, *(each for each in RAMP if each > first))


def load_of(report: Report | str | Path | None) -> Load | None:
    """Read what was measured: a report of `check`, or the file of one.

    Raises
    ------
    NotFoundError
        If there is no such file.
    SpecError
        If it is no report of a service's folder.
    """
    if report is None:
        return None
    if isinstance(report, Report):
        told: Any = report.to_json()
    else:
        told = _read(Path(report))
    load = told.get("load") if isinstance(told, dict) else None
    try:
        return Load(**(load or {}))
    except TypeError:
        raise SpecError(
            "The 'report' must be what `check` says of a service's folder. This one has no load. "
            "Run: ekiben check <service> --json > report.json"
        ) from None


def _read(path: Path) -> Any:
    if not path.is_file():
        raise NotFoundError(
            f"The 'report' must be a file. There is no {str(path)!r}. Run: ekiben check <service> --json > {path.name}"
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
