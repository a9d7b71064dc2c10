"""Find what no schema sees: a name that nothing has, and a misspelt key where any key may stand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ekiben.explaining import wishes

LABELS = {
    *(f"app.kubernetes.io/{name}" for name in ("name", "instance", "version", "component", "part-of", "managed-by")),
    "kubernetes.io/metadata.name",
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    *(f"pod-security.kubernetes.io/{mode}" for mode in ("enforce", "audit", "warn", "enforce-version")),
    *("k8s-app", "severity", "release"),
}
ANNOTATIONS = {
    *(f"autoscaling.knative.dev/{name}" for name in ("min-scale", "max-scale", "target", "metric", "class")),
    "serving.kserve.io/deploymentMode",
    *("summary", "description", "runbook_url"),
}
RESOURCES = {"cpu", "memory", "ephemeral-storage", "storage"}
VARIABLES = {
    *("BENTOML_HOME", "BENTOML_HOST", "BENTOML_PORT", "HOME", "PORT", "POD_NAME", "POD_NAMESPACE"),
    *("EKIBEN_DRAIN_S", "EKIBEN_HOME", "EKIBEN_KEYS_FILE", "EKIBEN_RECORDS", "EKIBEN_RECORDS_DSN_FILE"),
    *(wishes.ELSEWHERE, "EKIBEN_ROUTE_FILE", "EKIBEN_TICKETS"),
    *("POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD_FILE"),
    *("GF_SECURITY_ADMIN_PASSWORD__FILE", "GF_ANALYTICS_REPORTING_ENABLED", "GF_ANALYTICS_CHECK_FOR_UPDATES"),
}
SERVICES = {"grafana", "owner", "postgres", "prometheus"}
_FREE = {"services": SERVICES, "labels": LABELS, "matchLabels": LABELS, "pairs": LABELS, "annotations": ANNOTATIONS}
_FREE |= {"environment": VARIABLES}
_QUALIFIED = re.compile(r"([a-z0-9.-]+/|hugepages-)[A-Za-z0-9._-]+")
_CLOSE = 0.82  # how alike two names are of which one is taken for the other's misspelling
_PODS = {"Deployment": ("spec", "template")}


def faults(held: Mapping[str, list[Any]], folder: Path) -> list[str]:
    """Tell what does not fit in the documents of a folder, by the name of each file.

    >>> faults({"service.yaml": [{"metadata": {"labels": {"app.kubernetes.io/nmae": "churn"}}}]}, Path())
    ["service.yaml: metadata.labels.app.kubernetes.io/nmae must be spelt 'app.kubernetes.io/name'"]
    """
    found: list[str] = []
    documents = {name: [each for each in given if isinstance(each, dict)] for name, given in held.items()}
    for name, given in documents.items():
        for document in given:
            told = [*_misspelt(document), *_within(document)]
            if name.rpartition("/")[2] == "kustomization.yaml":
                told += _absent(document, (folder / name).parent)
            if name.rpartition("/")[2] == "compose.yaml":
                told += _of_compose(document, (folder / name).parent)
            found += [f"{name}: {fault}" for fault in told]
    found += _between([(name, document) for name, given in documents.items() for document in given])
    return found


# ── keys that may be any ──


def _misspelt(part: Any, path: str = "", key: str = "") -> Iterator[str]:
    """Tell which keys or names of variables are nearly one that is known."""
    if isinstance(part, Mapping):
        for name, value in part.items():
            where = f"{path}.{name}" if path else str(name)
            if key in _FREE and name not in _FREE[key]:
                yield from _nearly(where, str(name), _FREE[key] - {*part})
            if key in ("requests", "limits") and name not in RESOURCES and not _QUALIFIED.fullmatch(str(name)):
                yield f"{where} must be one of {', '.join(sorted(RESOURCES))}, or another's with its domain"
            yield from _misspelt(value, where, str(name))
    elif isinstance(part, list | tuple):
        for i, value in enumerate(part):
            if key == "env" and isinstance(value, Mapping) and value.get("name") not in VARIABLES:
                yield from _nearly(f"{path}.{i}.name", str(value.get("name")), VARIABLES)
            yield from _misspelt(value, f"{path}.{i}", "")


def _nearly(where: str, name: str, known: Iterable[str]) -> Iterator[str]:
    others, told = {each.lower(): each for each in sorted(known)}, name.lower()
    alike = min(_CLOSE, 1 - 1 / len(told)) if told else _CLOSE  # of four letters, one may be another
    close = [each for each in others if sorted(each) == sorted(told)] or get_close_matches(told, [*others], 1, alike)
    if close:
        yield f"{where} must be spelt {others[close[0]]!r}"


# ── names within one document ──


def _within(document: Mapping[str, Any]) -> Iterator[str]:
    """Tell which volumes and ports a pod names and does not have."""
    for pod in _pods(document):
        volumes = {each.get("name") for each in _list(pod, "volumes")}
        mounted = set()
        for container in _list(pod, "containers"):
            ports = {each.get("name") for each in _list(container, "ports")}
            for mount in _list(container, "volumeMounts"):
                mounted.add(mount.get("name"))
                if mount.get("name") not in volumes:
                    yield f"the mount {mount.get('name')!r} must be of a volume of the pod. There is none"
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                port = container.get(probe, {}).get("httpGet", {}).get("port", 0)
                if isinstance(port, str) and port not in ports:
                    yield f"the port {port!r} of the {probe} must be one of the container's. There is none"
        yield from (f"the volume {name!r} must be mounted. It is not" for name in sorted(volumes - mounted, key=str))


def _pods(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Find what describes a pod: whatever has containers."""
    if isinstance(document.get("containers"), list) and "containers" in document:
        yield document
    for value in document.values():
        if isinstance(value, Mapping):
            yield from _pods(value)


def _list(part: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    told = part.get(key)
    return [each for each in told if isinstance(each, Mapping)] if isinstance(told, list) else []


# ── names of other files and objects ──


def _absent(document: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Tell which files a kustomization names that are not there."""
    named = [name for key in ("resources", "components", "configurations") for name in _texts(document, key)]
    named += [patch["path"] for patch in _list(document, "patches") if isinstance(patch.get("path"), str)]
    for generator in _list(document, "configMapGenerator"):
        named += [name.partition("=")[2] or name for name in _texts(generator, "files")]
    yield from (f"names {name}, which is not there" for name in named if not (folder / name).exists())


def _texts(part: Mapping[str, Any], key: str) -> list[str]:
    told = part.get(key)
    return [each for each in told if isinstance(each, str)] if isinstance(told, list) else []


def _between(documents: list[tuple[str, Mapping[str, Any]]]) -> Iterator[str]:
    """Tell which selectors select nothing, and which ports and keys of a map nobody has."""
    pods = [_labels(template) for _, each in documents if (template := _template(each)) is not None]
    services = [_labels(each) for _, each in documents if _is(each, "Service", "v1")]
    ports = {
        port.get("name")
        for _, each in documents
        if (template := _template(each)) is not None
        for container in _list(template.get("spec", {}), "containers")
        for port in _list(container, "ports")
    }
    kept = {name for _, each in documents for name in _generated(each)}
    hosts = {host for _, each in documents for host in _hosts(each)}
    for name, document in documents:
        if pods:
            yield from (f"{name}: {fault}" for fault in _selects(document, pods, services))
        if _is(document, "Service", "v1"):
            for port in _list(document.get("spec", {}), "ports"):
                target = port.get("targetPort")
                if isinstance(target, str) and target not in ports:
                    yield f"{name}: the port {target!r} must be one of the pods'. There is none"
        for pod in _pods(document):
            for item in _items(pod):
                if kept and item not in kept:
                    yield f"{name}: the ConfigMap must have {item!r}. It has not"
            if (host := _host_of_explainer(pod)) is not None and host not in hosts:
                yield f"{name}: {wishes.ELSEWHERE} must name a Service. There is no {host!r}"


def _is(document: Mapping[str, Any], kind: str, api: str) -> bool:
    return document.get("kind") == kind and document.get("apiVersion") == api


def _hosts(document: Mapping[str, Any]) -> Iterator[str]:
    """Name the Service that an object is or becomes, by which others ask it."""
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if _is(document, "Service", "v1") or _is(document, "Service", "serving.knative.dev/v1"):
        yield str(name)
    if _is(document, "InferenceService", "serving.kserve.io/v1beta1"):
        yield f"{name}-predictor"


def _template(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    spec = document.get("spec")
    template = spec.get("template") if isinstance(spec, Mapping) and document.get("kind") == "Deployment" else None
    return template if isinstance(template, Mapping) else None


def _labels(part: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = part.get("metadata")
    told = metadata.get("labels") if isinstance(metadata, Mapping) else None
    return told if isinstance(told, Mapping) else {}


def _generated(document: Mapping[str, Any]) -> Iterator[str]:
    for generator in _list(document, "configMapGenerator"):
        yield from (name.partition("=")[0].rpartition("/")[2] for name in _texts(generator, "files"))
    if document.get("kind") == "ConfigMap" and isinstance(document.get("data"), Mapping):
        yield from map(str, document["data"])


def _items(pod: Mapping[str, Any]) -> Iterator[str]:
    for volume in _list(pod, "volumes"):
        source = volume.get("configMap")
        if isinstance(source, Mapping):
            yield from (str(item.get("key")) for item in _list(source, "items"))


def _host_of_explainer(pod: Mapping[str, Any]) -> str | None:
    """Name the Service of the address that callers are told, where a pod tells one."""
    told = (each for container in _list(pod, "containers") for each in _list(container, "env"))
    address = next((str(each.get("value")) for each in told if each.get("name") == wishes.ELSEWHERE), None)
    return None if address is None else re.split(r"[.:/]", address.partition("://")[2])[0]


def _selects(document: Mapping[str, Any], pods: list[Any], services: list[Any]) -> Iterator[str]:
    """Tell which selector of a document selects nothing."""
    spec = document.get("spec")
    if not isinstance(spec, Mapping):
        return
    by_kind = {"Service": spec, "Deployment": spec.get("selector"), "PodDisruptionBudget": spec.get("selector")}
    by_kind |= {"NetworkPolicy": spec.get("podSelector"), "ServiceMonitor": spec.get("selector")}
    told = by_kind.get(str(document.get("kind")))
    if not isinstance(told, Mapping) or str(document.get("apiVersion", "")).startswith("serving."):
        return
    key = "selector" if document.get("kind") == "Service" else "matchLabels"
    selected, among = told.get(key), services if document.get("kind") == "ServiceMonitor" else pods
    if not isinstance(selected, Mapping) or not any(selected.items() <= labels.items() for labels in among):
        what = "a Service" if among is services else "the pods"
        yield f"its {key} must be labels of {what}. They are not"


# ── compose ──


def _of_compose(document: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Tell which service, volume, network, secret or file a composition names and does not have, or has and does not name."""
    services = document.get("services")
    if not isinstance(services, Mapping):
        return
    used: dict[str, set[str]] = {"volumes": set(), "networks": set(), "secrets": set(), "services": set()}
    for service in services.values():
        if isinstance(service, Mapping):
            _note_used(service, used)
    for kind in ("volumes", "networks", "secrets"):
        told = document.get(kind)
        there = {*map(str, told)} if isinstance(told, Mapping) else set()
        yield from (f"{kind} must hold {name!r}, which a service names" for name in sorted(used[kind] - there))
        yield from (f"{kind}.{name} must be named by a service. None does" for name in sorted(there - used[kind]))
    yield from (f"services must hold {name!r}, which is named" for name in sorted(used["services"] - {*services}))
    yield from _unpublished(services)
    yield from _unreached(folder, {*map(str, services)})


def _unpublished(services: Mapping[str, Any]) -> Iterator[str]:
    """Tell where callers are told an address of this machine that no service listens at."""
    given = [each for each in services.values() if isinstance(each, Mapping)]
    ports = {str(port).rpartition(":")[0] for each in given for port in each.get("ports") or ()}
    for each in given:
        variables = each.get("environment")
        address = variables.get(wishes.ELSEWHERE) if isinstance(variables, Mapping) else None
        if address is not None and str(address).partition("://")[2] not in ports:
            yield f"{wishes.ELSEWHERE} must name a port that a service publishes. None does"


def _note_used(service: Mapping[str, Any], used: dict[str, set[str]]) -> None:
    for mount in _list(service, "volumes"):
        if mount.get("type") == "volume":
            used["volumes"].add(str(mount.get("source")))
    for kind in ("networks", "secrets", "depends_on"):
        told = service.get(kind)
        names = [each.get("source") if isinstance(each, Mapping) else each for each in told or ()]
        used["services" if kind == "depends_on" else kind].update(map(str, names))


def _unreached(folder: Path, services: set[str]) -> Iterator[str]:
    """Tell which hosts the files beside a composition ask for that are no services of it."""
    for path in sorted(folder.glob("*.yml")):
        for host in re.findall(r"(?:http://|[\s\"'\[])([a-z][a-z0-9-]*):\d{2,5}\b", path.read_text(encoding="utf-8")):
            if host not in services and host != "localhost":
                yield f"services must hold {host!r}, which {path.name} asks for"
