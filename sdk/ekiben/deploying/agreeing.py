"""Find what no schema sees: a name that nothing has, and a misspelt key where any key may stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ekiben.deploying import referring, wording
from ekiben.deploying.wording import listed, texts
from ekiben.explaining import wishes

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
_FREE = {
    "services": SERVICES,
    "labels": wording.LABELS,
    "matchLabels": wording.LABELS,
    "pairs": wording.LABELS,
    "annotations": ANNOTATIONS,
}
_FREE |= {"environment": VARIABLES}
_QUALIFIED = re.compile(r"([a-z0-9.-]+/|hugepages-)[A-Za-z0-9._-]+")


def faults(held: Mapping[str, list[Any]], folder: Path) -> list[str]:
    """Tell what does not fit in the documents of a folder, by the name of each file.

    >>> faults({"service.yaml": [{"metadata": {"labels": {"app.kubernetes.io/nmae": "churn"}}}]}, Path())
    ["service.yaml: metadata.labels.app.kubernetes.io/nmae must be spelt 'app.kubernetes.io/name'"]
    """
    found: list[str] = []
    documents = {name: [each for each in given if isinstance(each, dict)] for name, given in held.items()}
    for name, given in documents.items():
        for document in given:
            told = [*_misspelt(document), *wording.faults(document), *referring.within(document)]
            if name.rpartition("/")[2] == "kustomization.yaml":
                told += _absent(document, (folder / name).parent)
            if name.rpartition("/")[2] == "compose.yaml":
                told += _of_compose(document, (folder / name).parent)
            found += [f"{name}: {fault}" for fault in told]
    found += referring.between([(name, document) for name, given in documents.items() for document in given])
    return found


# ── keys that may be any ──


def _misspelt(part: Any, path: str = "", key: str = "") -> Iterator[str]:
    """Tell which keys or names of variables are nearly one that is known."""
    if isinstance(part, Mapping):
        for name, value in part.items():
            where = f"{path}.{name}" if path else str(name)
            if key in _FREE and name not in _FREE[key]:
                yield from wording.nearly(where, str(name), _FREE[key] - {*part})
            if key in ("requests", "limits") and name not in RESOURCES and not _QUALIFIED.fullmatch(str(name)):
                yield f"{where} must be one of {', '.join(sorted(RESOURCES))}, or another's with its domain"
            yield from _misspelt(value, where, str(name))
    elif isinstance(part, list | tuple):
        for i, value in enumerate(part):
            if key == "env" and isinstance(value, Mapping) and value.get("name") not in VARIABLES:
                yield from wording.nearly(f"{path}.{i}.name", str(value.get("name")), VARIABLES)
            yield from _misspelt(value, f"{path}.{i}", "")


# ── names of other files ──


def _absent(document: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Tell which files a kustomization names that are not there."""
    named = [name for key in ("resources", "components", "configurations") for name in texts(document, key)]
    named += [patch["path"] for patch in listed(document, "patches") if isinstance(patch.get("path"), str)]
    for generator in listed(document, "configMapGenerator"):
        named += [name.partition("=")[2] or name for name in texts(generator, "files")]
    yield from (f"names {name}, which is not there" for name in named if not (folder / name).exists())


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
    yield from _unbrought(document, services, folder)
    yield from (
        wording.nearly("name", str(document.get("name")), services) if document.get("name") not in services else ()
    )
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
    for mount in listed(service, "volumes"):
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
        for job in re.findall(r"job_name:\s*(\S+)", path.read_text(encoding="utf-8")):
            yield from wording.nearly(f"{path.name}: job_name", job, services) if job not in services else ()


def _unbrought(document: Mapping[str, Any], services: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Tell which files a composition takes that are not there, and which a service is told of and does not get."""
    given = {name: each for name, each in services.items() if isinstance(each, Mapping)}
    secrets = document.get("secrets")
    for secret, told in secrets.items() if isinstance(secrets, Mapping) else ():
        if isinstance(told, Mapping) and (file := str(told.get("file"))) != f"./secrets/{secret}":
            yield from wording.nearly(f"secrets.{secret}.file", file, [f"./secrets/{secret}"])  # they are made later
    files = [
        mount.get("source")
        for each in given.values()
        for mount in listed(each, "volumes")
        if mount.get("type") == "bind"
    ]
    yield from (f"names {file}, which is not there" for file in files if not (folder / str(file)).exists())
    for name, each in given.items():
        yield from (f"{name}: {fault}" for fault in _of_service(each))
    others = {each.get("image") for name, each in given.items() if name != "owner"}
    if "owner" in given and given["owner"].get("image") not in others:
        yield "owner: image must be that of the service. It is another"
    everything = {place for each in given.values() for place in _brought(each)}
    for file in ("prometheus.yml", "grafana-boards.yml"):
        text = (folder / file).read_text(encoding="utf-8") if (folder / file).is_file() else ""
        for path in re.findall(r"(?m)^[\s-]*(?:\w+:\s*)?(/[\w./-]+)\s*$", text):
            if not any(f"{place}/".startswith(f"{path}/") for place in everything):
                yield f"{file}: names {path}, which no service gets"


def _brought(service: Mapping[str, Any]) -> set[str]:
    """Name what a service finds in its container, beside its image."""
    places = {str(mount.get("target")) for mount in listed(service, "volumes")}
    places |= {each.partition(":")[0] for each in texts(service, "tmpfs")}
    return places | {f"/run/secrets/{name}" for name in texts(service, "secrets")}


def _of_service(service: Mapping[str, Any]) -> Iterator[str]:
    """Tell which variable, program or check of a service is of what it does not get."""
    brought, ports = _brought(service), {str(port).rpartition(":")[2] for port in service.get("ports") or ()}
    told = [(variable, value) for _, variable, value in wording.variables(service)]
    for variable, value in told:
        if wording.is_place(variable) and not any(f"{value}/".startswith(f"{place}/") for place in brought):
            yield f"{variable} must name a file or folder that it gets. Got {value!r}"
        if variable == "BENTOML_PORT" and ports and value not in ports:
            yield f"{variable} must be a port that it has. Got {value!r}"
    program = " ".join(texts(service, "entrypoint"))
    for path in re.findall(r"'(/[\w/]+)'", program):
        below = [place.removeprefix(path) for place in brought if f"{place}/".startswith(path)]
        if not below or any(rest and f"'{rest}'" not in program for rest in below):
            yield f"its program must use what it gets, and get what it uses below {path}"
    yield from _unlike_its_check(service, dict(told))
    for mount in listed(service, "volumes"):
        source, target = (str(mount.get(end)).rpartition("/")[2] for end in ("source", "target"))
        if mount.get("type") == "bind" and source != target:
            yield from wording.nearly("the target of a file", target, [source])


def _unlike_its_check(service: Mapping[str, Any], told: Mapping[str, str]) -> Iterator[str]:
    """Tell where a health check asks for another port, user or database than the service has."""
    check = service.get("healthcheck")
    text = " ".join(texts(check, "test")) if isinstance(check, Mapping) else ""
    for variable, pattern in (
        ("BENTOML_PORT", r"127\.0\.0\.1:(\d+)"),
        ("POSTGRES_USER", r"--username=(\S+)"),
        ("POSTGRES_DB", r"--dbname=(\S+)"),
    ):
        found = re.search(pattern, text)
        if variable in told and text and (found is None or found[1] != told[variable]):
            yield f"its health check must ask for {variable}. It asks for another"
