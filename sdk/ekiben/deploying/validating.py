"""Hold every file of a folder of manifests to the schema of its kind, strictly and with no cluster."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from ekiben import keys, refs, spec
from ekiben._optional import require
from ekiben.deploying import agreeing, monitoring, pods, wording, yamls
from ekiben.errors import NotFoundError, SpecError, nearest
from ekiben.routing import Route
from ekiben.spec.service import ServiceSpec, faults_of_rerouting

OLDEST = "1.28"  # of the versions of Kubernetes that manifests are held to
_OURS = {
    "kustomization.yaml": "kustomization",
    "references.yaml": "references",
    "compose.yaml": "compose",
    "prometheus.yml": "prometheus",
    "alerts.yml": "rules",
    "grafana-sources.yml": "grafana",
    "grafana-boards.yml": "grafana",
}
_CUSTOM = (
    "AnalysisTemplate",
    "InferenceService",
    "PrometheusRule",
    "Rollout",
    "Service",
    "ServiceMonitor",
)  # of definitions
_SHOWN = ("title", "description", "expr", "legendFormat", "name", "label")  # of a dashboard, what a person writes
_PATCHED = ("required", "minItems", "minProperties")  # what a patch may leave to what it patches


class File(NamedTuple):
    """A file of manifests: its name below the folder, what it holds, and whether it only changes another."""

    name: str
    documents: list[Any]
    is_patch: bool


def versions() -> tuple[str, ...]:
    """Give the versions of Kubernetes whose schemas are here, from 1.28 on."""
    told = require("kubernetes_validate", to="check manifests").utils.all_versions()
    known = sorted({tuple(map(int, each.split("-")[0].split(".")[:2])) for each in told})
    least = tuple(map(int, OLDEST.split(".")))
    return tuple(".".join(map(str, each)) for each in known if each >= least)


def validate(folder: str | Path, *, service: str | Path | None = None) -> int:
    """Hold a folder of manifests to the schemas of their kinds, in every version of Kubernetes from 1.28 on.

    Parameters
    ----------
    folder
        What `manifests` wrote, and perhaps somebody changed.
    service
        The folder of the service, whose arms a route may name; by default that in which the manifests lie. Where they lie
        elsewhere and none is given, arms are not looked at.

    Returns
    -------
    How many documents there are.

    Raises
    ------
    NotFoundError
        If the folder holds no YAML, or the service's no spec.
    SpecError
        With every fault: a key that nobody knows, a value of another kind, a name that nothing has.

    Examples
    --------
    >>> validate("no/such/folder")
    Traceback (most recent call last):
    ...
    ekiben.errors.NotFoundError: A folder of manifests must hold files of YAML. Got 'no/such/folder', which has none. \
Run: ekiben manifests <service> --image <image>
    """
    found = read(Path(folder))
    faults = [*dict.fromkeys(f"{file.name}: {fault}" for file in found for fault in faults_of(file))]
    faults += _between(found, Path(folder), are_told=bool(faults))
    arms = _arms(Path(folder), service)
    of_route: Callable[[Path], Iterator[str]] = partial(faults_of_route, arms=arms)
    beside = {**_BESIDE, f"*{pods.ROUTE_FILE}": of_route}
    for pattern, looks in beside.items():
        for path in sorted(Path(folder).rglob(pattern)):
            faults += [f"{path.relative_to(folder).as_posix()}: {fault}" for fault in looks(path)]
    if faults:
        shown = faults[:40] + ([f"… and {len(faults) - 40} more"] if len(faults) > 40 else [])
        raise SpecError(
            "\n- ".join([f"Manifests must be as their kinds are. {folder} has {len(faults)} faults:", *shown])
        )
    return sum(len(file.documents) for file in found)


def _between(found: list[File], folder: Path, *, are_told: bool) -> list[str]:
    """Tell what does not fit between documents, as far as these are of the kinds that they must be."""
    try:
        return agreeing.faults({file.name: file.documents for file in found}, folder)
    except (TypeError, AttributeError):
        if not are_told:
            raise
        return []  # a value of another kind, which was told already, hides what names it


def read(folder: Path) -> list[File]:
    """Read every YAML file below a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".yaml", ".yml") and path.is_file())
    if not paths:
        raise NotFoundError(
            f"A folder of manifests must hold files of YAML. Got {str(folder)!r}, which has none. Run: ekiben manifests <service> --image <image>"
        )
    held = {path: yamls.loads(_text(path), source=path.name) for path in paths}
    patches = {
        (path.parent / patch["path"]).resolve()
        for path, documents in held.items()
        if path.name == "kustomization.yaml"
        for document in documents
        for patch in _patches(document)
    }
    return [
        File(path.relative_to(folder).as_posix(), documents, path.resolve() in patches)
        for path, documents in held.items()
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SpecError(f"A file of manifests must be text in UTF-8. {path.name} is not.") from None


def _patches(document: Any) -> Iterator[Mapping[str, str]]:
    told = document.get("patches") if isinstance(document, Mapping) else None
    for patch in told if isinstance(told, list) else []:
        if isinstance(patch, Mapping) and isinstance(patch.get("path"), str):
            yield patch


def faults_of(file: File) -> Iterator[str]:
    """Tell what is wrong with each document of a file."""
    own = _OURS.get(file.name.rpartition("/")[2])
    if not file.documents:
        yield "holds nothing"
    for document in file.documents:
        if not isinstance(document, dict):
            yield f"each document must be a mapping. Got {type(document).__name__}"
        elif own is not None:
            yield from _held(_vendored(own), document, file.is_patch)
        else:
            yield from _faults_of_object(document, file.is_patch)


def _arms(folder: Path, service: str | Path | None) -> Mapping[str, object] | None:
    """Give the arms of the service that manifests are of; None where nothing tells which it is."""
    above = (parent for parent in folder.resolve().parents if (parent / spec.FILE).is_file())
    found = Path(service) if service is not None else next(above, None)
    return spec.read(found).arms if found is not None else None


def faults_of_route(path: Path, arms: Mapping[str, object] | None) -> Iterator[str]:
    """Tell what is wrong with a route; its arms are looked at where those of the service are known."""
    try:
        document = tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as reason:
        yield f"must be TOML. Got: {reason}."
        return
    told = document.get("route")
    parts = [told.get(key) for key in ("weights", "shadows")] if isinstance(told, Mapping) else []
    named = [str(arm) for part in parts if isinstance(part, Mapping | list) for arm in part] or ["any"]
    known = dict.fromkeys(named if arms is None else arms, refs.parse("models:/any/1"))
    try:
        service = ServiceSpec(name="any", arms=known, route=Route({next(iter(known)): 1}))
    except SpecError as reason:  # a name that no arm has
        yield str(reason).replace("\n", " ")
        return
    yield from faults_of_rerouting(document, service)


def faults_of_adapter(path: Path) -> Iterator[str]:
    """Tell what is wrong with the values of prometheus-adapter."""
    for document in yamls.loads(_text(path), source=path.name):
        yield from _held(_vendored("adapter"), document, is_patch=False)
        yield from wording.faults(document)


def faults_of_dashboard(path: Path) -> Iterator[str]:
    """Tell which keys and queries of a dashboard are nearly those that ours is made of: Grafana passes over what it does not know."""
    try:
        document = json.loads(_text(path))
    except ValueError:
        yield "must be JSON. It is not"
        return
    ours = json.loads(monitoring.text(monitoring.DASHBOARD))
    known = {*_keys(ours)}
    for key in sorted({*_keys(document)} - known):
        yield from wording.nearly(key, key, known)
    words: dict[str, set[str]] = {}
    for _, keys_, value in wording.scalars(ours):
        words.setdefault(keys_[-1], set()).add(value)
    for place, (*_, key), value in wording.scalars(document):
        if key not in _SHOWN and value not in words.get(key, ()):
            yield from wording.nearly(".".join(map(str, place)), value, words.get(key, ()))
    yield from wording.faults(document)


def _keys(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        yield from map(str, part)
    for each in part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ():
        yield from _keys(each)


def faults_of_keys(path: Path) -> Iterator[str]:
    """Tell what is wrong with a file of keys, which holds hashes alone."""
    try:
        keys.parse(_text(path))
    except SpecError as reason:
        yield str(reason).replace("\n", " ")


# What lies beside the manifests and is no YAML by its name.
_BESIDE: dict[str, Callable[[Path], Iterator[str]]] = {
    "adapter.values": faults_of_adapter,
    monitoring.DASHBOARD: faults_of_dashboard,
    "secrets/keys.toml": faults_of_keys,
}


def _faults_of_object(document: dict[str, Any], is_patch: bool) -> Iterator[str]:
    """Tell what is wrong with one of Kubernetes' objects, custom or its own."""
    api, kind = document.get("apiVersion"), document.get("kind")
    if not isinstance(api, str) or not isinstance(kind, str):
        missing = [key for key in ("apiVersion", "kind") if not isinstance(document.get(key), str)]
        yield f"{' and '.join(missing)} must be set.{nearest(missing[0], map(str, document))}"
        return
    yield from _faults_of_metadata(document)
    name = f"{kind.lower()}-{api.replace('/', '-')}"
    if _is_vendored(name):
        if kind not in _CUSTOM:
            yield f"kind must be one of {', '.join(_CUSTOM)}. Got {kind!r}"
        yield from _held(_vendored(name), document, is_patch)
        return
    for version in versions():
        validator = _built_in(kind, api, version)
        if validator is None:
            yield f"no schema is known of the kind {kind!r} of {api!r} in Kubernetes {version}"
            return
        found = list(_held(validator, document, is_patch))
        yield from found
        if found:
            return


def _faults_of_metadata(document: dict[str, Any]) -> Iterator[str]:
    validator = _built_in("ObjectMeta", "meta/v1", versions()[-1])
    if validator is None:
        raise SpecError(
            "Schemas must be those of kubernetes-validate. It has none of ObjectMeta. Install another version."
        )
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        yield "metadata.name must be set"
    elif document["apiVersion"].count("."):  # of a custom resource, whose own schema leaves it open
        yield from (f"metadata.{fault}" for fault in _held(validator, metadata, is_patch=True))


# ── schemas ──


def _vendored_at(name: str) -> Any:
    return files("ekiben.deploying") / "schemas" / f"{name}.json"


def _is_vendored(name: str) -> bool:
    return "/" not in name and bool(_vendored_at(name).is_file())


@cache
def _vendored(name: str) -> Any:
    jsonschema = require("jsonschema", to="check manifests")
    return jsonschema.Draft202012Validator(json.loads(_vendored_at(name).read_text(encoding="utf-8")))


@cache
def _definitions(version: str) -> Any:
    """Give what the kinds of a version share, looked through once."""
    referencing = require("referencing", to="check manifests")
    shared = referencing.Resource.from_contents(_contents("_definitions", version))
    return (shared @ referencing.Registry()).crawl()


def _contents(name: str, version: str) -> Any:
    utils = require("kubernetes_validate", to="check manifests").utils
    return utils.schema_contents(f"kubernetes-json-schema/v{version}.0-local-strict/{name}.json", version)


@cache
def _built_in(kind: str, api: str, version: str) -> Any:
    """Give the strict schema of one of Kubernetes' own kinds; None where that version has none."""
    jsonschema, referencing = require("jsonschema", to="check manifests"), require("referencing", to="check manifests")
    group, _, level = api.rpartition("/")
    if not re.fullmatch(r"[\w.-]+", f"{kind}{group}{level}"):  # no name of a file, though it may be the way to one
        return None
    try:
        schema = _contents(
            f"{kind.lower()}-{group.partition('.')[0]}-{level}" if group else f"{kind.lower()}-{level}", version
        )
    except FileNotFoundError:
        return None
    registry = referencing.Resource.from_contents(schema) @ _definitions(version)
    return jsonschema.Draft202012Validator(schema, registry=registry)


# ── what a schema says ──


def _held(validator: Any, document: Any, is_patch: bool) -> Iterator[str]:
    """Tell what a schema says of a document, in the order of the places."""
    for error in sorted(validator.iter_errors(document), key=lambda each: [str(part) for part in each.absolute_path]):
        if not (is_patch and error.validator in _PATCHED):
            yield from _told(error, error.absolute_path)


def _told(error: Any, path: Any) -> Iterator[str]:
    place = ".".join(map(str, path))
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        known = {*error.schema.get("properties", ())}
        patterns = [*error.schema.get("patternProperties", ())]
        odd = [
            str(key) for key in error.instance if key not in known and not any(re.search(p, str(key)) for p in patterns)
        ]
        for key in sorted(odd):
            where = f"{place}.{key}" if place else key
            yield f"{where} is no key that is known here.{nearest(key, known)}"
    elif error.validator in ("anyOf", "oneOf") and error.context:
        best = min(error.context, key=lambda each: (-len(each.absolute_path), str(each.message)))
        yield from _told(best, best.absolute_path)
    elif error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        yield f"{place or 'the document'} must have {', '.join(missing)}"
    else:
        yield f"{place or 'the document'}: {_says(error)}"


def _says(error: Any) -> str:
    """Say what a value must be, without the value."""
    asked = error.validator_value
    got = type(error.instance).__name__
    if error.validator == "type":
        return f"must be of type {asked if isinstance(asked, str) else ' or '.join(asked)}. Got {got}"
    if error.validator in ("enum", "const"):
        return f"must be {asked!r}. Got another value"
    return f"must keep to {error.validator} {str(asked)[:120]}. Got another value"
