"""Plain BentoML, as its documents show it: a frame for named columns, an array with its type and shape for bare numbers."""

import os
from pathlib import Path
from typing import Annotated

import bentoml
import joblib
import numpy as np
import pandas as pd
from bentoml.validators import DType, Shape

FOLDER = Path(os.environ["MODELS"])
TRAFFIC = {"max_concurrency": int(os.environ["LIMIT"])} if os.environ["LIMIT"] else {}
Floats = Annotated[np.ndarray, DType("float32"), Shape((-1, 30))]


@bentoml.service(name="by_hand", workers=int(os.environ["WORKERS"]), traffic=TRAFFIC)
class ByHand:
    def __init__(self) -> None:
        self.models = {key: joblib.load(FOLDER / key / "model.joblib") for key in os.environ["SERVES"].split(",")}

    @bentoml.api
    def a(self, rows: pd.DataFrame) -> np.ndarray:
        return self.models["a"].predict_proba(rows)[:, 1]

    @bentoml.api
    def b(self, rows: Floats) -> np.ndarray:
        return self.models["b"].predict_proba(rows)[:, 1]

    @bentoml.api
    def c(self, rows: pd.DataFrame) -> np.ndarray:
        return self.models["c"].predict_proba(rows)[:, 1]

    @bentoml.api
    def d(self, rows: pd.DataFrame) -> np.ndarray:
        return self.models["d"].predict_proba(rows)[:, 1]
