"""Versions of packages in MLflow: log, fetch, resolve."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from ekiben import compatibility, dtypes, packages, packing, progress, schema, tables
from ekiben._optional import require
from ekiben.errors import IntegrityError, NotFoundError, SpecError, UnreachableError, nearest
from ekiben.packages import Package
from ekiben.refs import ModelRef, parse
from ekiben.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

PATIENCE_S = 3  # for the first word of a registry
DIGEST = "ekiben.digest"
CHANGE = "ekiben.contract_change"
MOST_TAG = 5000  # characters that MLflow keeps in a tag of a version
INSIDE = Path("data") / "package"  # where MLflow keeps what a loader module is given
TO = "keep versions of a package"


def log(package: Package, *, alias: str | None = None, tags: dict[str, str] | None = None) -> ModelRef:
    """Register the package as a version in MLflow.

    The tracking server is MLflow's own choice: `MLFLOW_TRACKING_URI`, or a SQLite file `mlflow.db` in this folder.
    The same package is registered once: logging it again gives the version that it has.

    Parameters
    ----------
    package
        What `pack` made.
    alias
        An alias to point at the version, such as `champion`.
    tags
        More tags for the version.

    Notes
    -----
    A new version's contract is held against the version before it: the tag `ekiben.contract_change` says whether a row
    that the old one takes is refused by the new one, and a notebook shows it.

    Returns
    -------
    The version, such as `models:/credit_risk/1`.

    Raises
    ------
    UnreachableError
        If the tracking server does not answer within a few seconds.
    """
    if not isinstance(package, Package):
        raise SpecError(f"What is logged must be a package: ek.log(ek.pack(model, …)). Got {type(package).__name__}.")
    if alias is not None:
        ModelRef(name=package.name, alias=alias)  # refuses an alias that no registry takes, before anything is logged
    with _registry() as client:
        ref = _known(client, package)
        if ref is None:
            ref = _register(package)
            _tell_change(client, ref, package)
        for key, value in (tags or {}).items():
            client.set_model_version_tag(ref.name, str(ref.version), key, value)
        if alias is not None:
            client.set_registered_model_alias(ref.name, alias, str(ref.version))
        return ref


def contract_change(ref: ModelRef) -> str | None:
    """Give what became of the contract since the version before it, as `log` found; None for a first version."""
    with _registry() as client:
        found: str | None = _version(client, ref).tags.get(CHANGE)
        return found


def _tell_change(client: Any, ref: ModelRef, package: Package) -> None:
    versions = (int(one.version) for one in client.search_model_versions(f"name = '{ref.name}'"))
    before = max((version for version in versions if version < int(ref.version or 0)), default=None)
    promised = None if before is None else _promised(client.get_model_version(ref.name, str(before)))
    if promised is not None:
        change = compatibility.compare(promised, package.schema)
        client.set_model_version_tag(ref.name, str(ref.version), CHANGE, str(change)[:MOST_TAG])
        progress.show(change)


def _promised(version: Any) -> Schema | None:
    """Read the contract of a logged version without its model; None when it is no package of ekiben."""
    artifacts = require("mlflow.artifacts", to=TO)
    exceptions = require("mlflow.exceptions", to=TO)
    with tempfile.TemporaryDirectory(prefix="ekiben-contract-") as folder:
        uri = f"models:/{version.name}/{version.version}/{INSIDE.as_posix()}/package.json"
        try:
            path = artifacts.download_artifacts(artifact_uri=uri, dst_path=folder)
        except (OSError, exceptions.MlflowException):
            return None
        return schema.from_json(json.loads(Path(path).read_text())["signature"]).inputs


def resolve(ref: ModelRef | str) -> ModelRef:
    """Follow an alias to the version that it points at now; a version stays as it is.

    Raises
    ------
    NotFoundError
        If there is no such model, version or alias, with the nearest name.
    """
    wanted = parse(ref) if isinstance(ref, str) else ref
    with _registry() as client:
        return replace(wanted, version=int(_version(client, wanted).version), alias=None)


def fetch(ref: ModelRef | str) -> Package:
    """Give back the package behind `models:/credit_risk/1` or `models:/credit_risk@champion`.

    Raises
    ------
    NotFoundError
        If there is no such model, version or alias, or it is no package of ekiben.
    IntegrityError
        If its bytes are not those that were logged.
    """
    wanted = parse(ref) if isinstance(ref, str) else ref
    with _registry() as client:
        found = _version(client, wanted)
        artifacts = require("mlflow.artifacts", to=TO)
        target = tempfile.mkdtemp(prefix="ekiben-fetch-")
        root = Path(artifacts.download_artifacts(artifact_uri=found.source, dst_path=target))
    if not (root / INSIDE).is_dir():
        raise NotFoundError(f"A version must hold a package of ekiben. {wanted} does not: it was not logged by ek.log.")
    package = packages.load(root / INSIDE)
    weakref.finalize(package, shutil.rmtree, target, ignore_errors=True)
    logged = found.tags.get(DIGEST)
    if logged not in (None, package.digest):
        raise IntegrityError(f"{wanted} must hold the package that was logged. Got another digest. Log it again.")
    return package


def _known(client: Any, package: Package) -> ModelRef | None:
    found = client.search_model_versions(f"name = '{package.name}' and tags.`{DIGEST}` = '{package.digest}'")
    versions = sorted(int(version.version) for version in found)
    return ModelRef(name=package.name, version=versions[0]) if versions else None


def _register(package: Package) -> ModelRef:
    mlflow = require("mlflow", to=TO)
    with mlflow.start_run(run_name=package.name, tags=_tags(package)):
        mlflow.log_params({"class": package.manifest["class"], "explainer": package.method})
        mlflow.log_metrics({name: found["value"] for name, found in package.metrics.items() if isinstance(found, dict)})
        info = _log_model(mlflow, package)
    with redirect_stderr(io.StringIO()):  # it prints what this function returns
        made = mlflow.register_model(
            info.model_uri, package.name, tags=_tags(package), await_registration_for=PATIENCE_S
        )
    return ModelRef(name=package.name, version=int(made.version))


def _log_model(mlflow: Any, package: Package) -> Any:
    """Keep the package's folder whole; the requirements are known, so MLflow need not infer them for ten seconds."""
    with tempfile.TemporaryDirectory(prefix="ekiben-log-") as folder:
        return mlflow.pyfunc.log_model(
            name=package.name,
            loader_module="ekiben.tracking",
            data_path=str(package.save(Path(folder) / INSIDE.name)),
            signature=_signature(package),
            input_example=_as_mlflow_takes_it(package.example_frame),
            pip_requirements=[f"ekiben=={package.manifest['provenance']['ekiben']}", *package.manifest["requirements"]],
            metadata={DIGEST: package.digest, "data_digest": package.manifest["data_digest"]},
        )


def _tags(package: Package) -> dict[str, str]:
    facts = {
        DIGEST: package.digest,
        "ekiben.data_digest": package.manifest["data_digest"],
        "ekiben.owner": package.manifest["owner"],
        "ekiben.git_commit": package.manifest["provenance"]["git_commit"],
    }
    return {key: value for key, value in facts.items() if value}


def _signature(package: Package) -> Any:
    infer = require("mlflow.models", to=TO).infer_signature
    with packing.quiet():
        return infer(_as_mlflow_takes_it(package.example_frame), package.predict(package.example_frame))


def _as_mlflow_takes_it(frame: pd.DataFrame) -> pd.DataFrame:
    """Give plain texts, lists and numbers for what MLflow's signatures do not know: categories, dates, nullable ones."""
    import pandas as pd

    made, rows = frame.copy(), tables.as_rows(frame)
    for name in made.columns:
        dtype, gaps = made[name].dtype, bool(made[name].isna().any())
        if _is_unknown_to_mlflow(dtype) or (getattr(dtype, "kind", "O") == "b" and gaps):
            told = pd.Series(dtypes.objects([row[name] for row in rows]), index=frame.index)
            whole = gaps and all(row[name] is None or type(row[name]) is int for row in rows)
            made[name] = told.astype("float64") if whole else told
        elif getattr(dtype, "kind", "O") in "iuf" and made[name].isna().any():
            made[name] = made[name].astype("float64")
    return made


def _is_unknown_to_mlflow(dtype: Any) -> bool:
    name = str(dtype)
    return name in ("category", "string", "str", "object") or name.endswith("string[pyarrow]") or dtype.kind == "M"


# ── the registry ────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _registry() -> Iterator[Any]:
    """Give a client of the registry that has answered, and that is asked once for each thing."""
    mlflow = require("mlflow", to=TO)
    uri = mlflow.get_registry_uri()
    if uri.startswith(("http://", "https://")):
        _knock(uri)
    with _no_retries(), _few_words():
        try:
            yield mlflow.MlflowClient()
        except mlflow.exceptions.MlflowException as reason:
            if reason.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"):
                raise UnreachableError(
                    f"The tracking server at {_public(uri)} must answer. It failed: {_first_line(reason).replace(uri.rstrip('/'), _public(uri))}"
                ) from reason
            raise


def _knock(uri: str) -> None:
    """See that somebody answers; nothing secret is sent, so it may be anybody."""
    try:
        with httpx.Client(verify=False, timeout=PATIENCE_S) as client:  # noqa: S501 -- MLflow verifies what it sends to
            status = client.get(f"{_public(uri).rstrip('/')}/health").status_code
    except (httpx.HTTPError, httpx.InvalidURL) as silence:
        raise _unreachable(uri, str(silence)) from silence
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise _unreachable(uri, f"status {status}")


def _unreachable(uri: str, reason: str) -> UnreachableError:
    return UnreachableError(
        f"The tracking server at {_public(uri)} must answer. It did not: {reason}. "
        "Start it, or unset MLFLOW_TRACKING_URI to keep versions in a local file."
    )


@contextmanager
def _no_retries() -> Iterator[None]:
    defaults = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(2 * PATIENCE_S),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    added = {key: value for key, value in defaults.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            del os.environ[key]


@contextmanager
def _few_words() -> Iterator[None]:
    """Keep MLflow's running commentary out of the notebook; its warnings stay."""
    loggers = {name: logging.getLogger(name) for name in ("mlflow", "alembic")}
    before = {name: logger.level for name, logger in loggers.items()}
    for logger in loggers.values():
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for name, logger in loggers.items():
            logger.setLevel(before[name])


def _public(uri: str) -> str:
    """Leave a user and password out of an address."""
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _first_line(reason: Exception) -> str:
    return str(reason).partition("\n")[0]


def _version(client: Any, ref: ModelRef) -> Any:
    if ref.digest is not None:
        raise SpecError(f"A version must be of the form models:/{ref.name}/1. Got {ref}, which was never logged.")
    exceptions = require("mlflow.exceptions", to=TO)
    try:
        if ref.alias is not None:
            return client.get_model_version_by_alias(ref.name, ref.alias)
        return client.get_model_version(ref.name, str(ref.version))
    except exceptions.MlflowException as reason:
        if reason.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise NotFoundError(_absent(client, ref)) from reason


def _absent(client: Any, ref: ModelRef) -> str:
    names = [model.name for model in client.search_registered_models()]
    if ref.name not in names:
        return f"No model {ref.name!r} is registered.{nearest(ref.name, names)} Known: {sorted(names)}."
    if ref.alias is not None:
        aliases = list(client.get_registered_model(ref.name).aliases)
        return f"No alias {ref.alias!r} of {ref.name!r}.{nearest(ref.alias, aliases)} Known: {sorted(aliases)}."
    versions = sorted(int(version.version) for version in client.search_model_versions(f"name = '{ref.name}'"))
    return f"No version {ref.version} of {ref.name!r}. Known: {versions}."


# ── MLflow's own loading ────────────────────────────────────────────────────────────────────────────────────────


class _Pyfunc:
    """What `mlflow.pyfunc.load_model` gives for a package."""

    def __init__(self, package: Package) -> None:
        self.package = package

    def predict(self, data: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002 -- MLflow's
        return self.package.predict(data)


def _load_pyfunc(path: str) -> _Pyfunc:
    return _Pyfunc(packages.load(path))
