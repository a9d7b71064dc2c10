"""Save a model the MLflow way, with its signature; `predict_proba` is what the server is to call."""

import os
import shutil
from pathlib import Path

import joblib
import mlflow
from mlflow.models import infer_signature

for key in os.environ["SERVES"].split(","):
    folder = Path(os.environ["MODELS"]) / key
    model, example = joblib.load(folder / "model.joblib"), joblib.load(folder / "example.joblib")
    shutil.rmtree(folder / "mlflow", ignore_errors=True)
    mlflow.sklearn.save_model(
        model,
        folder / "mlflow",
        pyfunc_predict_fn="predict_proba",
        signature=infer_signature(example, model.predict_proba(example)),
        serialization_format="cloudpickle",
        pip_requirements=["scikit-learn", "xgboost"],
    )
