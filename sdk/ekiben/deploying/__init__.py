"""Write what runs a service elsewhere: manifests of Kubernetes, KServe and Knative, and a composition for one machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from ekiben import spec
from ekiben.checks import Report
from ekiben.deploying import compose, knative, kubernetes
from ekiben.deploying.agreeing import SERVICES
from ekiben.deploying.sites import COMPONENTS, Component, Site, load_of, pair_of, ramp_of
from ekiben.deploying.validating import validate
from ekiben.errors import SpecError, nearest

__all__ = ["Target", "manifests", "validate"]

Target = Literal["kubernetes", "kserve", "knative", "compose"]
_WRITERS: Mapping[Target, Callable[[Site], Iterator[tuple[str, str]]]] = {
    "kubernetes": kubernetes.written,
    "kserve": knative.kserve_written,
    "knative": knative.knative_written,
    "compose": compose.written,
}
# A namespace with `-staging`, a host with `-predictor`, and a revision with its number have 63 letters at most.
_LONGEST: Mapping[Target, int] = {"kubernetes": 55, "kserve": 53, "knative": 57}


def manifests(  # noqa: PLR0913 -- each is one thing that a cluster does not know
    folder: str | Path,
    *,
    image: str,
    target: Target = "kubernetes",
    out: str | Path | None = None,
    report: Report | str | Path | None = None,
    keys: bool = True,
    replicas: tuple[int, int] = (2, 10),
    callers: Sequence[str] = (),
    claim: str | None = None,
    ramp: Sequence[int] | None = None,
    components: Sequence[Component] = COMPONENTS,
    explainer: str | Path | None = None,
    explainer_image: str | None = None,
) -> Path:
    """Write what runs a service elsewhere, held to the schemas of its kinds before a file is there.

    Parameters
    ----------
    folder
        The service's folder, as `scaffold` writes it.
    image
        The image's reference, with a tag that stays or a digest.
    target
        `kubernetes`: a base, overlays for staging and production, and components, for `kubectl apply -k`; `kserve` or
        `knative`: one object, or two; `compose`: one machine, with Prometheus, Grafana and, where the records go there, Postgres.
    out
        Where to; by default `deploy/<target>` in the service's folder. Files of the same names are written again,
        secrets are not.
    report
        What `check` found for this folder, or the file of `ekiben check --json`: how much a pod asks for is then what was
        measured.
    keys
        Whether callers must show a key.
    replicas
        The fewest and the most pods.
    callers
        Namespaces whose pods may ask, beside the service's own.
    claim
        A claim of a volume that many pods may write, for the records; by default they stay in the pod. Not of `knative`.
    ramp
        Per cent of the pods that a new version has, step by step; by default it begins with the spec's smallest arm.
    components
        What production has beside the base: `monitoring` (Prometheus' operator) and `rollout` (Argo Rollouts).
    explainer
        The folder of a second service of the same arms, which explains by methods that this one leaves out. It runs beside
        this one, and callers who ask for such a method are told its address.
    explainer_image
        The image's reference of that one.

    Returns
    -------
    The folder that was written.

    Raises
    ------
    NotFoundError
        If there is no such folder or report.
    SpecError
        If what is asked for cannot be; the message lists every fault.
    MissingExtraError
        If the schemas are not installed.

    Examples
    --------
    >>> manifests("no/such/folder", image="churn:1")
    Traceback (most recent call last):
    ...
    ekiben.errors.NotFoundError: A bento's folder must have a file ekiben.toml. Got 'no/such/folder', which has none. \
To make one, run: ekiben scaffold no/such/folder
    """
    if target not in _WRITERS:
        known = get_args(Target)
        raise SpecError(f"The 'target' must be one of {', '.join(known)}. Got {target!r}.{nearest(str(target), known)}")
    if (explainer is None) != (explainer_image is None):
        raise SpecError("The 'explainer' and the 'explainer_image' must be given together. Got one of them.")
    if claim is not None and target == "knative":
        raise SpecError(
            "The 'claim' is for pods that each have a folder of it, which Knative cannot give. Leave it out, and send the records "
            'to Postgres: [records] to = "postgres"'
        )
    described = spec.read(folder)
    site = Site(
        spec=described,
        image=image,
        keys=keys,
        load=load_of(report),
        replicas=pair_of(replicas),
        callers=tuple(callers),
        claim=claim,
        ramp=tuple(ramp) if ramp is not None else ramp_of(described),
        components=tuple(components),
    )
    if explainer is not None:
        second = replace(
            site, spec=spec.read(explainer), image=explainer_image or "", load=None, replicas=(1, site.replicas[1])
        )
        site = replace(site, explainer=second)
    _are_names(target, [each.name for each in (site, site.explainer) if each])
    place = Path(out) if out is not None else Path(folder) / "deploy" / target
    _write(dict(_WRITERS[target](site)), place)
    if target == "compose":
        compose.make_secrets(site, place)
    return place


def _are_names(target: Target, names: Sequence[str]) -> None:
    """Refuse a service's name that what runs it has no room for, or has given to another."""
    most = _LONGEST.get(target, 63)
    for name in names:
        if len(name) > most:
            raise SpecError(
                f"A service must have a name of at most {most} letters, since {target} makes longer ones of it. "
                f"Got {name!r}, {len(name)} letters."
            )
        if target == "compose" and name in SERVICES:
            raise SpecError(
                f"A service must not be called as what stands beside it: {', '.join(sorted(SERVICES))}. Got {name!r}."
            )


def _write(texts: Mapping[str, str], place: Path) -> None:
    """Write files once they are known to be right."""
    with tempfile.TemporaryDirectory(prefix="ekiben-manifests-") as beside:
        for name, text in texts.items():
            path = Path(beside) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        validate(beside)
        shutil.copytree(beside, place, dirs_exist_ok=True, copy_function=shutil.copyfile)
