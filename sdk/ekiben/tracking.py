"""Versions of packages in MLflow: log, fetch, resolve."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import weakref
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben import compatibility, dtypes, packages, probing, progress, registry, schema, tables
from ekiben._optional import require
from ekiben.errors import IntegrityError, NotFoundError, SpecError, TrustError
from ekiben.packages import Package
from ekiben.refs import ModelRef, parse
from ekiben.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

DIGEST = "ekiben.digest"
RUN = "ekiben.mlflow_run"  # in which the model was trained
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
    if not isinstance(tags, dict | None):
        raise SpecError(f"The 'tags' must be a dict of texts: tags={{'team': 'risk'}}. Got {type(tags).__name__}.")
    if alias is not None:
        ModelRef(name=package.name, alias=alias)  # refuses an alias that no registry takes, before anything is logged
    with registry.client() as client:
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
    with registry.client() as client:
        found: str | None = registry.version(client, ref).tags.get(CHANGE)
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
    with registry.client() as client:
        return replace(wanted, version=int(registry.version(client, wanted).version), alias=None)


def fetch(ref: ModelRef | str, *, trust: str | None = None) -> Package:
    """Give back the package behind `models:/credit_risk/1` or `models:/credit_risk@champion`.

    Parameters
    ----------
    ref
        A version or an alias.
    trust
        For a package that carries code: its digest, whole or its first 12 digits or more, as your word for this once.

    Raises
    ------
    NotFoundError
        If there is no such model, version or alias, or it is no package of ekiben.
    IntegrityError
        If its bytes are not those that were logged.
    TrustError
        If it carries code, pickles or types of other libraries, and its digest is not trusted here.
    """
    target = tempfile.mkdtemp(prefix="ekiben-fetch-")
    try:
        folder = download(ref, Path(target))
        try:
            package = packages.load(folder, trust=trust)
        except TrustError as refusal:
            told = str(refusal).partition(" Look into ")[0].replace(f"{folder.name} is not.", f"{ref} is not.")
            word = str(refusal).rpartition("\n")[2]
            raise TrustError(f"{told} Look at it, and trust it: ekiben trust {ref}\n{word}") from None
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    weakref.finalize(package, shutil.rmtree, target, ignore_errors=True)
    return package


def download(ref: ModelRef | str, target: Path) -> Path:
    """Bring the package behind a version or an alias into a folder, its bytes verified and nothing built."""
    wanted = parse(ref) if isinstance(ref, str) else ref
    with registry.client() as client:
        found = registry.version(client, wanted)
        artifacts = require("mlflow.artifacts", to=TO)
        root = Path(artifacts.download_artifacts(artifact_uri=found.source, dst_path=str(target)))
    if not (root / INSIDE).is_dir():
        raise NotFoundError(f"A version must hold a package of ekiben. {wanted} does not: it was not logged by ek.log.")
    if found.tags.get(DIGEST) not in (None, packages.verify(root / INSIDE)["digest"]):
        raise IntegrityError(f"{wanted} must hold the package that was logged. Got another digest. Log it again.")
    return root / INSIDE


def _known(client: Any, package: Package) -> ModelRef | None:
    found = client.search_model_versions(f"name = '{package.name}' and tags.`{DIGEST}` = '{package.digest}'")
    versions = sorted(int(version.version) for version in found)
    return ModelRef(name=package.name, version=versions[0]) if versions else None


def _register(package: Package) -> ModelRef:
    mlflow = require("mlflow", to=TO)
    active = mlflow.active_run()  # of the training, where the notebook is in one: the package's own run goes beneath it
    tags = _tags(package) | ({RUN: active.info.run_id} if active is not None else {})
    with mlflow.start_run(run_name=package.name, tags=tags, nested=active is not None):
        mlflow.log_params({"class": package.manifest["class"], "explainer": package.method})
        mlflow.log_metrics({name: found["value"] for name, found in package.metrics.items() if isinstance(found, dict)})
        info = _log_model(mlflow, package)
    with redirect_stderr(io.StringIO()):  # it prints what this function returns
        made = mlflow.register_model(
            info.model_uri, package.name, tags=tags, await_registration_for=registry.PATIENCE_S
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
        RUN: package.manifest["provenance"].get("mlflow_run"),
    }
    return {key: value for key, value in facts.items() if value}


def _signature(package: Package) -> Any:
    infer = require("mlflow.models", to=TO).infer_signature
    with probing.quiet():
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


# ── MLflow's own loading ────────────────────────────────────────────────────────────────────────────────────────


class _Pyfunc:
    """What `mlflow.pyfunc.load_model` gives for a package."""

    def __init__(self, package: Package) -> None:
        self.package = package

    def predict(self, data: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002 -- MLflow's
        return self.package.predict(data)


def _load_pyfunc(path: str) -> _Pyfunc:
    return _Pyfunc(packages.load(path))
