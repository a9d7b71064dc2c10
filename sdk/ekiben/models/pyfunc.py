"""Models of MLflow by reference: taken out of it where their own library can hold them, or kept whole."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekiben import models, registry
from ekiben._optional import require
from ekiben.errors import IntegrityError, NotFoundError, SpecError, UnsupportedModelError
from ekiben.models import answered
from ekiben.models.sklearn import ADAPTER as SKLEARN
from ekiben.models.skops_file import FILE as SKOPS_FILE
from ekiben.models.turns import in_turn
from ekiben.models.xgboost import KINDS as XGBOOST_KINDS
from ekiben.refs import parse
from ekiben.schema import Task

if TYPE_CHECKING:
    import pandas as pd

    from ekiben.models import Array

FOLDER = "mlflow"  # in a package's model/
DESCRIBED = "MLmodel"
OWN_LOADER = "ekiben.tracking"  # of a version that ek.log made
WORD = "mlflow.pyfunc"
PICKLES = (".dill", ".joblib", ".pickle", ".pkl")
TO = "open a model of MLflow"
LOGGED = re.compile(r"models:/m-[0-9a-f]{32}")  # what `log_model` of MLflow 3 returns
# What MLflow itself trusts in a skops file of LightGBM.
LIGHTGBM = (
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    *(f"lightgbm.sklearn.{kind}" for kind in ("LGBMClassifier", "LGBMModel", "LGBMRanker", "LGBMRegressor")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A model behind a reference: the model, the reference pinned, and what the user should know."""

    model: Any
    source: str
    notes: tuple[str, ...] = ()


class MlflowModel:
    """A model in its MLflow folder, asked through `mlflow.pyfunc`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def loaded(self) -> Any:
        """What MLflow makes of the folder: code of the model runs here, once."""
        if self not in _LOADED:
            with _hushed():
                mlflow = require("mlflow.pyfunc", to="answer with a model of MLflow")
                _LOADED[self] = mlflow.load_model(str(self.folder))
        return _LOADED[self]

    def predict(self, frame: pd.DataFrame) -> Any:
        """Answer as MLflow does."""
        return self.loaded.predict(frame)


# Beside the models, not in them: what is in a model is searched for the notebook's code and for what it imports.
_LOADED: weakref.WeakKeyDictionary[MlflowModel, Any] = weakref.WeakKeyDictionary()


class PyfuncAdapter(answered.Opaque):
    """Whatever MLflow can load, with MLflow; the package is code."""

    library = "pyfunc"
    noun = "A model of MLflow"

    def task(self, model: Any) -> Task:  # noqa: ARG002 -- the protocol's
        """Take it as it comes; what its answers mean, nobody can tell."""
        return "other"

    @in_turn()
    def asked(self, model: MlflowModel, frame: pd.DataFrame) -> dict[str, Array]:
        """Ask as MLflow does."""
        return answered.columns(model.predict(frame.reset_index(drop=True)), len(frame))

    def save(self, model: Any, folder: Path, *, trust: Sequence[str] = ()) -> None:  # noqa: ARG002 -- asked when opened
        """Copy MLflow's folder whole."""
        shutil.copytree(model.folder, folder / FOLDER, ignore=shutil.ignore_patterns("__pycache__"))

    def load(self, folder: Path, *, trust: Sequence[str] = ()) -> Any:
        """Let MLflow load the folder, if its loader is trusted: code runs."""
        refused = [name for name in self.foreign(folder) if not _within(name, trust)]
        if refused:
            raise IntegrityError(f"A model of MLflow is code: it must be trusted. Got {', '.join(refused)}.")
        model = MlflowModel(folder / FOLDER)
        _ = model.loaded  # now, not with the first request
        return model

    def foreign(self, folder: Path) -> list[str]:
        """Name the module that loads the model."""
        return [str(_flavors(folder / FOLDER)["python_function"].get("loader_module"))]

    def requirements(self, model: Any) -> tuple[str, ...]:
        """Name MLflow, and what the model says that it needs and is installed here."""
        return tuple(dict.fromkeys(["mlflow", *(name for name in _needed(model.folder) if _is_installed(name))]))


ADAPTER = PyfuncAdapter()


# ── opening ────────────────────────────────────────────────────────────────────────────────────────────────────────


def opened(
    reference: str, *, columns: Sequence[str], trust: Sequence[str] = (), allow_pickle: Sequence[str] = ()
) -> Opened:
    """Open the model behind `models:/other/3`, `models:/other@champion`, `models:/m-…`, `runs:/…/model`, or in a folder of MLflow.

    Parameters
    ----------
    reference
        Where the model is.
    columns
        The columns that it will be asked about.
    trust, allow_pickle
        The user's word: `mlflow.sklearn` and `mlflow.lightgbm` for what MLflow pickled, `mlflow.pyfunc` for models
        that only MLflow can load.

    Raises
    ------
    NotFoundError
        If there is no such model, version, alias or run.
    UnreachableError
        If the registry does not answer within a few seconds.
    SpecError
        If it is no reference, a package of ekiben, or takes other columns.
    UnsupportedModelError
        If the user's word is needed; it is named.
    """
    target = Path(tempfile.mkdtemp(prefix="ekiben-mlflow-"))
    try:
        folder, source = _found(reference, target)
        _refuse_a_package(folder, source)
        notes = _compared(_described(folder), columns)
        model = _native(folder, source, trust, allow_pickle)
        if model is None:
            model = _whole(folder, source, trust, allow_pickle)
            notes = [*notes, *_absent(folder)]
            weakref.finalize(model, shutil.rmtree, target, ignore_errors=True)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    if not isinstance(model, MlflowModel):
        shutil.rmtree(target, ignore_errors=True)
    return Opened(model=model, source=source, notes=tuple(notes))


def _found(reference: str, target: Path) -> tuple[Path, str]:
    """Bring the model's folder here, and pin its reference."""
    if reference.startswith("runs:/") or LOGGED.fullmatch(reference):
        return _of_run(reference, target), reference
    if reference.startswith(("models:/", "package:/")):
        wanted = parse(reference)
        with registry.client() as client:
            found = registry.version(client, wanted)
            pinned = replace(wanted, version=int(found.version), alias=None)
            return _downloaded(found.source, target), str(pinned)
    folder = Path(reference)
    if (folder / DESCRIBED).is_file():
        return folder, f"folder {folder.name}"
    load = " Load it first, and pack the model." if folder.suffix else ""
    raise SpecError(
        "A model that is given as a text must be 'models:/<name>/<version>', 'models:/<name>@<alias>', "
        f"'runs:/<run>/<name>' or a folder with MLflow's {DESCRIBED}. Got {reference!r}.{load}"
    )


def _of_run(reference: str, target: Path) -> Path:
    exceptions = require("mlflow.exceptions", to=TO)
    with registry.client():
        try:
            return _downloaded(reference, target)
        except (exceptions.MlflowException, OSError) as reason:
            if getattr(reason, "error_code", "") in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE") and not _is_absent(
                reason
            ):
                raise
            raise NotFoundError(f"No model at {reference}. Look at the models of its run in MLflow.") from reason


def _is_absent(reason: Exception) -> bool:
    return any(word in str(reason) for word in ("not found", "No such", "does not exist"))


def _downloaded(uri: str, target: Path) -> Path:
    artifacts = require("mlflow.artifacts", to=TO)
    root = Path(artifacts.download_artifacts(artifact_uri=uri, dst_path=str(target)))
    if not (root / DESCRIBED).is_file():
        raise NotFoundError(f"What is packed by reference must be a model of MLflow. Got a folder without {DESCRIBED}.")
    return root


def _described(folder: Path) -> Any:
    with _hushed():
        return require("mlflow.models", to=TO).Model.load(str(folder))


def _flavors(folder: Path) -> Mapping[str, Any]:
    flavors: Mapping[str, Any] = _described(folder).flavors
    if "python_function" not in flavors:
        raise UnsupportedModelError(
            f"A model of MLflow must have the flavour python_function. Got {', '.join(sorted(flavors))}."
        )
    return flavors


def _refuse_a_package(folder: Path, source: str) -> None:
    if _flavors(folder)["python_function"].get("loader_module") == OWN_LOADER:
        raise SpecError(f"{source} is a package of ekiben already. Fetch it: ek.fetch({source!r}).")


def _compared(described: Any, columns: Sequence[str]) -> list[str]:
    """Hold the model's signature against the reference; tell what of it is not supported."""
    inputs, params = described.get_input_schema(), described.get_params_schema()
    notes = [f"Its params stay as they are: {', '.join(each.name for each in params)}."] if params else []
    if inputs is None or not inputs.has_input_names():
        return notes
    missing = sorted(set(inputs.required_input_names()) - set(columns))
    more = sorted(set(columns) - set(inputs.input_names()))
    if missing or more:
        told = [f"{missing} missing"] * bool(missing) + [f"{more} more"] * bool(more)
        raise SpecError(
            f"The 'reference' must hold the columns of the model's signature in MLflow. Got {' and '.join(told)}. "
            f"They are {sorted(inputs.input_names())}."
        )
    return notes


# ── out of MLflow, where the model's own library can hold it ───────────────────────────────────────────────────────


def _native(folder: Path, source: str, trust: Sequence[str], allow_pickle: Sequence[str]) -> Any:
    """Give the model as its own library knows it, or None where it needs MLflow."""
    flavors = _flavors(folder)
    for library, read in (("sklearn", _of_sklearn), ("xgboost", _of_xgboost), ("lightgbm", _of_lightgbm)):
        known = flavors.get(library)
        if known is not None and not known.get("code") and models.knows(library):
            _refuse_unspoken(library, known, source, allow_pickle)
            return read(folder, known, trust)
    return None


def _refuse_unspoken(library: str, known: Mapping[str, Any], source: str, allow_pickle: Sequence[str]) -> None:
    if _is_pickled(library, known) and f"mlflow.{library}" not in allow_pickle:
        raise UnsupportedModelError(
            f"A model that MLflow pickled must be allowed by name. {source} is such a one. "
            f"If you trust it: pack(…, allow_pickle=['mlflow.{library}']). The package itself will hold no pickle."
        )


def _is_pickled(library: str, known: Mapping[str, Any]) -> bool:
    file = str(known.get("pickled_model") or known.get("data"))
    default = "pickle" if library == "sklearn" or file.endswith(PICKLES) else "own"
    return str(known.get("serialization_format", default)) in ("pickle", "cloudpickle")


def _of_sklearn(folder: Path, known: Mapping[str, Any], trust: Sequence[str]) -> Any:
    if _is_pickled("sklearn", known):
        with _hushed():
            return require("mlflow.sklearn", to=TO).load_model(str(folder))
    with tempfile.TemporaryDirectory(prefix="ekiben-mlflow-") as copied:
        shutil.copyfile(folder / known["pickled_model"], Path(copied) / SKOPS_FILE)
        try:
            return SKLEARN.load(Path(copied), trust=trust)
        except IntegrityError as reason:
            raise UnsupportedModelError(
                f"{reason} If you trust their library: pack(…, trust=['its_name'])."
            ) from reason


def _of_xgboost(folder: Path, known: Mapping[str, Any], trust: Sequence[str]) -> Any:  # noqa: ARG001 -- as its siblings
    kind = str(known.get("model_class", "")).rpartition(".")[2]
    if kind not in XGBOOST_KINDS:
        return None
    model = getattr(require("xgboost", to=TO), kind)()
    model.load_model(folder / known["data"])
    return model


def _of_lightgbm(folder: Path, known: Mapping[str, Any], trust: Sequence[str]) -> Any:  # noqa: ARG001 -- as its siblings
    if _is_pickled("lightgbm", known):
        with _hushed():
            return require("mlflow.lightgbm", to=TO).load_model(str(folder))
    if known.get("serialization_format") != "skops":
        return None
    skops, data = require("skops.io", to=TO), (folder / known["data"]).read_bytes()
    refused = sorted(set(skops.get_untrusted_types(data=data)) - set(LIGHTGBM))
    if refused:
        raise UnsupportedModelError(f"A model of LightGBM may use classes of its own. Got {', '.join(refused)}.")
    return skops.loads(data, trusted=list(LIGHTGBM))


# ── whole ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _whole(folder: Path, source: str, trust: Sequence[str], allow_pickle: Sequence[str]) -> MlflowModel:
    """Give the model as MLflow knows it, if the user allows what it runs."""
    pickled = any(path.suffix in PICKLES for path in folder.rglob("*"))
    said = allow_pickle if pickled else (*trust, *allow_pickle)
    if WORD not in said:
        what, word = ("holds a pickle", "allow_pickle") if pickled else ("is loaded by code of its own", "trust")
        raise UnsupportedModelError(
            f"A model that only MLflow can load must be allowed by name. {source} {what}. "
            f"If you trust it: pack(…, {word}=[{WORD!r}]). Its service will need MLflow."
        )
    if any(path.is_symlink() for path in folder.rglob("*")):
        raise UnsupportedModelError(f"A model of MLflow must hold no links. {source} does.")
    return MlflowModel(folder)


def _within(name: str, trust: Sequence[str]) -> bool:
    return any(name == given or name.startswith(f"{given}.") for given in trust)


def _needed(folder: Path) -> list[str]:
    """Name the distributions in the model's requirements."""
    path = folder / "requirements.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = (re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line.strip()) for line in lines)
    return [match[0] for match in found if match]


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _absent(folder: Path) -> list[str]:
    names = [name for name in _needed(folder) if not _is_installed(name)]
    return (
        [f"It asks for what is not installed here, and its service will not have: {', '.join(names)}."] if names else []
    )


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep MLflow's commentary and its warnings out of the notebook and the service's log."""
    logger = logging.getLogger("mlflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(record=True):  # not "ignore": MLflow sets a filter of its own
            warnings.simplefilter("default")
            yield
    finally:
        logger.setLevel(before)
