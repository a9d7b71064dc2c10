"""Keep the developer's environment out of every test, and of every example in a docstring."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

# Libraries read these when they are imported, so they are set before the first test module is; each worker of
# pytest-xdist imports this file and has a folder of its own.
FOLDER = Path(tempfile.mkdtemp(prefix="ekiben-tests-"))
OWN_FOLDERS = {
    "BENTOML_HOME": FOLDER / "bentoml",
    "EKIBEN_HOME": FOLDER / "ekiben",
    "IPYTHONDIR": FOLDER / "ipython",
    "JUPYTER_CONFIG_DIR": FOLDER / "jupyter",
    "JUPYTER_DATA_DIR": FOLDER / "jupyter-data",
    "MPLCONFIGDIR": FOLDER / "matplotlib",
    "PROMETHEUS_MULTIPROC_DIR": FOLDER / "prometheus",
    # mlflow's only word for where a SQLite store keeps its files; without it they land in the working directory
    "_MLFLOW_SERVER_ARTIFACT_ROOT": FOLDER / "mlartifacts",
}
SETTINGS = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_TRACKING_URI": f"sqlite:///{FOLDER / 'mlflow.db'}",
    "MPLBACKEND": "agg",
    # no proxy of the machine stands between a test and its own server
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
    # two workers on two cores: more threads only wait for each other
    "OMP_NUM_THREADS": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}


def _enter() -> None:
    for name in [name for name in os.environ if name.startswith(("BENTOML_", "EKIBEN_", "MLFLOW_", "_MLFLOW_"))]:
        del os.environ[name]
    for name, folder in OWN_FOLDERS.items():
        folder.mkdir()
        os.environ[name] = str(folder)
    os.environ.update(SETTINGS)


_enter()


@pytest.fixture(autouse=True)
def environment():
    """Give back the environment as it was: what a test sets, the next one does not see."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys() - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update({name: value for name, value in before.items() if name != "PYTEST_CURRENT_TEST"})


def pytest_addoption(parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="Write tests/golden anew from the code as it is.")


def pytest_unconfigure() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
