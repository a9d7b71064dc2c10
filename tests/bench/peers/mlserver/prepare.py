"""Write MLServer's model repository: its own runtimes for scikit-learn and XGBoost, and a folder of settings for each model."""

import json
import os
import shutil
import sys
from pathlib import Path

FOLDER, PORT = Path(os.environ["MODELS"]), int(sys.argv[1])
REPOSITORY = Path(os.environ["WORK"])
RUNTIMES = {"b": ("mlserver_xgboost.XGBoostModel", "model.ubj")}
SKLEARN = ("mlserver_sklearn.SKLearnModel", "model.joblib")

shutil.rmtree(REPOSITORY, ignore_errors=True)
for key in os.environ["SERVES"].split(","):
    runtime, file = RUNTIMES.get(key, SKLEARN)
    target = REPOSITORY / key
    target.mkdir(parents=True)
    settings = {"name": key, "implementation": runtime, "parameters": {"uri": str(FOLDER / key / file)}}
    (target / "model-settings.json").write_text(json.dumps(settings))

# Inference in the server's own process: fewer processes, and cheaper a request than its pool of workers. Several workers are a pool.
WORKERS = int(os.environ["WORKERS"])
settings = {
    "host": "127.0.0.1",
    "http_port": PORT,
    "grpc_port": PORT + 1,
    "metrics_port": PORT + 2,
    "parallel_workers": WORKERS if WORKERS > 1 else 0,
}
(REPOSITORY / "settings.json").write_text(json.dumps(settings))
