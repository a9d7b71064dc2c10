"""Find names that no object, volume or container of a folder of manifests has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ekiben.deploying import wording
from ekiben.deploying.wording import listed, texts
from ekiben.explaining import wishes

Documents = list[tuple[str, Mapping[str, Any]]]  # each with the name of its file

# ── names within one document ──


def within(document: Mapping[str, Any]) -> Iterator[str]:
    """Tell which volumes and ports a pod names and does not have."""
    for pod in _pods(document):
        volumes = {each.get("name") for each in listed(pod, "volumes")}
        mounted = set()
        for container in listed(pod, "containers"):
            yield from _unmounted(container, pod)
            yield from _too_much(container)
            ports = {each.get("name") for each in listed(container, "ports")}
            for mount in listed(container, "volumeMounts"):
                mounted.add(mount.get("name"))
                if mount.get("name") not in volumes:
                    yield f"the mount {mount.get('name')!r} must be of a volume of the pod. There is none"
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                port = ((container.get(probe) or {}).get("httpGet") or {}).get("port")
                if isinstance(port, str) and port not in ports:
                    yield f"the port {port!r} of the {probe} must be one of the container's. There is none"
        yield from (f"the volume {name!r} must be mounted. It is not" for name in sorted(volumes - mounted, key=str))


def _unmounted(container: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[str]:
    """Tell which variables name a file that no volume brings, or a port that the container does not have."""
    items = {str(each.get("name")): _keys_of(each) for each in listed(pod, "volumes")}
    mounts = {
        str(each.get("mountPath")): items.get(str(each.get("name")), set())
        for each in listed(container, "volumeMounts")
    }
    ports = {str(each.get("containerPort")) for each in listed(container, "ports")}
    for _, name, value in wording.variables(container):
        if wording.is_place(name):
            at = max((mount for mount in mounts if f"{value}/".startswith(f"{mount}/")), key=len, default=None)
            inner = value[len(at or "") :].lstrip("/")
            if mounts and (at is None or (mounts[at] and inner not in mounts[at])):
                yield f"{name} must name a file or folder that a volume brings. Got {value!r}"
        if name == "BENTOML_PORT" and ports and value not in ports:
            yield f"{name} must be a port of the container. Got {value!r}"
    for volume in listed(pod, "volumes"):
        for source in (volume.get("configMap"), volume.get("secret")):
            for item in listed(source, "items") if isinstance(source, Mapping) else ():
                if item.get("key") != item.get("path"):
                    yield from wording.nearly("the key of an item", str(item.get("key")), [str(item.get("path"))])


_UNITS = {"m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def _too_much(container: Mapping[str, Any]) -> Iterator[str]:
    """Tell of what a container asks for more than it may have."""
    resources = container.get("resources")
    asked, most = (
        (resources.get(key) or {}) if isinstance(resources, Mapping) else {} for key in ("requests", "limits")
    )
    for name in asked if isinstance(asked, Mapping) and isinstance(most, Mapping) else ():
        amounts = [_amount(str(given[name])) for given in (asked, most) if name in given]
        if len(amounts) > 1 and None not in amounts and amounts[0] > amounts[1]:  # type: ignore[operator]
            yield f"a container must not request more {name} than its limit. It does"


def _amount(told: str) -> float | None:
    found = re.fullmatch(r"([\d.]+)([A-Za-z]*)", told)
    return float(found[1]) * _UNITS[found[2]] if found and found[2] in _UNITS and found[1].count(".") < 2 else None


def _keys_of(volume: Mapping[str, Any]) -> set[str]:
    """Name the files of a volume, where it says which."""
    sources = [volume[kind] for kind in ("configMap", "secret") if isinstance(volume.get(kind), Mapping)]
    return {str(item.get("path")) for source in sources for item in listed(source, "items")}


def _pods(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Find what describes a pod: whatever has containers."""
    if isinstance(document.get("containers"), list):
        yield document
    for value in document.values():
        if isinstance(value, Mapping):
            yield from _pods(value)


# ── names of other objects ──


def between(documents: Documents) -> Iterator[str]:
    """Tell which selectors select nothing, and which ports and keys of a map nobody has."""
    pods = [_labels(template) for _, each in documents if (template := _template(each)) is not None]
    services = [_labels(each) for _, each in documents if _is(each, "Service", "v1")]
    ports = {
        port.get("name")
        for _, each in documents
        if (template := _template(each)) is not None
        for container in listed(template.get("spec", {}), "containers")
        for port in listed(container, "ports")
    }
    kept = {name for _, each in documents for name in _generated(each)}
    hosts = {host for _, each in documents for host in _hosts(each)}
    for name, document in documents:
        if pods:
            yield from (f"{name}: {fault}" for fault in _selects(document, pods, services))
        if _is(document, "Service", "v1"):
            for port in listed(document.get("spec", {}), "ports"):
                target = port.get("targetPort")
                if isinstance(target, str) and target not in ports:
                    yield f"{name}: the port {target!r} must be one of the pods'. There is none"
        for pod in _pods(document):
            for item in _items(pod):
                if kept and item not in kept:
                    yield f"{name}: the ConfigMap must have {item!r}. It has not"
            if (host := _host_of_explainer(pod)) is not None and host not in hosts:
                yield f"{name}: {wishes.ELSEWHERE} must name a Service. There is no {host!r}"
    yield from _named(documents)
    yield from _unheard(documents)
    yield from _untold(documents)
    yield from _elsewhere(documents)
    yield from _alike(documents)


def _unheard(documents: Documents) -> Iterator[str]:
    """Tell which port a monitor asks at that no Service has."""
    ports = {
        port.get("name")
        for _, each in documents
        if _is(each, "Service", "v1")
        for port in listed(each.get("spec"), "ports")
    }
    for name, document in documents:
        for endpoint in (
            listed(document.get("spec", {}), "endpoints") if document.get("kind") == "ServiceMonitor" else ()
        ):
            if ports and endpoint.get("port") not in ports:
                yield f"{name}: the port {endpoint.get('port')!r} must be one of the Service's. There is none"


def _untold(documents: Documents) -> Iterator[str]:
    """Tell which arguments a rollout gives or a query takes that its analysis does not have."""
    templates = [(name, each) for name, each in documents if each.get("kind") == "AnalysisTemplate"]
    known = {str(arg.get("name")) for _, each in templates for arg in listed(each.get("spec", {}), "args")}
    for name, document in documents if templates else ():
        given = [arg for part, keys in _parts(document) if keys[-1:] == ("analysis",) for arg in listed(part, "args")]
        asked = {str(arg.get("name")) for arg in given if document.get("kind") == "Rollout"}
        for _, keys, value in wording.scalars(document):
            asked |= {*re.findall(r"\{\{\s*args\.(\w+)", value)} if keys[-1] == "query" else set()
        yield from (
            f"{name}: the argument {arg!r} must be one of the analysis. There is none" for arg in sorted(asked - known)
        )


def _elsewhere(documents: Documents) -> Iterator[str]:
    """Tell which kustomization is for another namespace than the one beside it."""
    for name, document in documents:
        folder, _, file = name.rpartition("/")
        beside = [
            _name(each)
            for other, each in documents
            if each.get("kind") == "Namespace" and other.rpartition("/")[0] == folder
        ]
        if file == "kustomization.yaml" and beside and document.get("namespace") not in (None, *beside):
            yield f"{name}: namespace must be one that is beside it. Got {document.get('namespace')!r}"


# Which kinds a name under these keys is of; what is elsewhere, as a secret, is of none.
_REFERS = {
    "scaleTargetRef": ("Deployment", "Rollout"),
    "workloadRef": ("Deployment",),
    "serviceAccountName": ("ServiceAccount",),
    "templateName": ("AnalysisTemplate",),
}


def _named(documents: Documents) -> Iterator[str]:
    """Tell which objects a document names that are not there."""
    there = {(str(each.get("apiVersion")), str(each.get("kind")), _name(each)) for _, each in documents}
    maps = {str(each.get("name")) for _, given in documents for each in listed(given, "configMapGenerator")}
    maps |= {name for _, kind, name in there if kind == "ConfigMap"}
    images = {
        _repository(value) for _, each in documents for _, keys, value in wording.scalars(each) if keys[-1] == "image"
    }
    for name, document in documents:
        for part, keys in _parts(document):
            for key, kinds in ((key, _REFERS[key]) for key in part if key in _REFERS):
                told = part[key]
                if (
                    isinstance(told, Mapping)
                    and (*(str(told.get(of)) for of in ("apiVersion", "kind", "name")),) not in there
                ):
                    yield f"{name}: {key} must name an object that is there. There is no {told.get('kind')} {told.get('name')!r}"
                known = {known for _, kind, known in there if kind in kinds}
                if isinstance(told, str) and known and told not in known:
                    yield f"{name}: {key} must name a {kinds[0]}. There is no {told!r}"
            if keys[-1:] == ("configMap",) and maps and part.get("name") not in maps:
                yield f"{name}: a volume must be of a ConfigMap that is there. There is no {part.get('name')!r}"
            if keys == ("images",) and images and part.get("name") not in images:
                yield f"{name}: images must name one of a container. There is no {part.get('name')!r}"


def _parts(part: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[Mapping[str, Any], tuple[str, ...]]]:
    """Give each mapping of a document with its keys."""
    if isinstance(part, Mapping):
        yield part, keys
        for key, value in part.items():
            yield from _parts(value, (*keys, str(key)))
    elif isinstance(part, list | tuple):
        for value in part:
            yield from _parts(value, keys)


def _name(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("name")) if isinstance(metadata, Mapping) else ""


def _repository(image: str) -> str:
    """Cut the tag off an image's name, but no port of a registry."""
    return re.sub(r"(@sha256:\w+|:[\w.-]+)+$", "", image) if "/" not in image.rpartition(":")[2] else image


_ONCE, _OFTEN = 1, 2  # how often a misspelt name stands in a folder, and the right one at least


def _alike(documents: Documents) -> Iterator[str]:
    """Tell which name stands once and is nearly one that stands often: those of objects, of the service, and of its version."""
    kinds: dict[str, dict[str, list[str]]] = {"name": {}, "version": {}}
    for file, document in documents:
        for path, keys, value in wording.scalars(document):
            kind, told = _kind_of_name(keys, value)
            if kind:
                kinds[kind].setdefault(told, []).append(f"{file}: {'.'.join(map(str, path))}")
    yield from _unlike_their_object(
        documents, [name for name, places in kinds["name"].items() if len(places) >= _OFTEN]
    )
    for found in kinds.values():
        often = [told for told, places in found.items() if len(places) >= _OFTEN]
        for told, places in found.items():
            if len(places) == _ONCE:  # with more behind a dash it is a name of its own, as churn-staging
                yield from wording.nearly(places[0], told, [each for each in often if not told.startswith(f"{each}-")])


_SECRETS = ("keys", "metrics", "records", "tickets")


def _unlike_their_object(documents: Documents, names: list[str]) -> Iterator[str]:
    """Tell which secret or image has nearly the name that it has by that of its object."""
    secrets = {f"{name}-{what}" for name in names for what in _SECRETS}
    for file, document in documents:
        for path, keys, value in wording.scalars(document):
            where = f"{file}: {'.'.join(map(str, path))}"
            if (keys[-1] == "secretName" or keys[-2:] == ("credentials", "name")) and value not in secrets:
                yield from wording.nearly(where, value, secrets)
            if keys[-1] == "image" and (meant := _slipped(_repository(value).rpartition("/")[2], names)):
                yield f"{where} must be spelt {meant!r}"


def _slipped(name: str, known: list[str]) -> str | None:
    """Give the name that an image would have but for two letters that changed places, or one that stands twice.

    An image may be called nearly as its service is: churn2, churns, or one letter.

    >>> _slipped("chrun", ["churn"]), _slipped("churrn", ["churn"]), _slipped("churn2", ["churn"]), _slipped("x", ["y"])
    ('churn', 'churn', None, None)
    """
    once = [name[:i] + name[i + 1 :] for i in range(1, len(name)) if name[i] == name[i - 1]]
    swapped = [name[: i - 1] + name[i] + name[i - 1] + name[i + 1 :] for i in range(1, len(name))]
    return None if name in known else next((each for each in known if each in {*once, *swapped}), None)


def _kind_of_name(keys: tuple[str, ...], value: str) -> tuple[str, str]:
    """Tell what kind of name a value is, and the part of it that names; nothing for most."""
    named = (
        *(("metadata", "labels", f"app.kubernetes.io/{key}") for key in ("name", "instance")),
        ("metadata", "name"),
    )
    if any(keys[-len(each) :] == each for each in named) or (
        keys[-2:-1] == ("matchLabels",) and keys[-1].endswith(("/name", "/instance"))
    ):
        return "name", value
    if keys[-1] in ("app.kubernetes.io/version", "newTag"):
        return "version", value
    if keys[-1] == "image" and ":" in value.rpartition("/")[2]:
        return "version", value.rpartition(":")[2]
    return "", ""


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
    for generator in listed(document, "configMapGenerator"):
        yield from (name.partition("=")[0].rpartition("/")[2] for name in texts(generator, "files"))
    if document.get("kind") == "ConfigMap" and isinstance(document.get("data"), Mapping):
        yield from map(str, document["data"])


def _items(pod: Mapping[str, Any]) -> Iterator[str]:
    for volume in listed(pod, "volumes"):
        source = volume.get("configMap")
        if isinstance(source, Mapping):
            yield from (str(item.get("key")) for item in listed(source, "items"))


def _host_of_explainer(pod: Mapping[str, Any]) -> str | None:
    """Name the Service of the address that callers are told, where a pod tells one."""
    told = (each for container in listed(pod, "containers") for each in listed(container, "env"))
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
