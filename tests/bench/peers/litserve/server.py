"""LitServe: one API a model, each in its own worker process, as its documents show it."""

import os
import sys
from pathlib import Path

import joblib
import litserve as ls
import numpy as np
import pandas as pd

FOLDER = Path(os.environ["MODELS"])


class Table(ls.LitAPI):
    """A model that is asked by named columns."""

    def setup(self, device):
        self.model = joblib.load(FOLDER / self.api_path.strip("/") / "model.joblib")

    def decode_request(self, request):
        return pd.DataFrame(request["rows"])

    def predict(self, x):
        return self.model.predict_proba(x)[:, 1]

    def encode_response(self, output):
        return {"probabilities": output.tolist()}


class Floats(Table):
    """A model that is asked by bare numbers."""

    def decode_request(self, request):
        return np.array(request["rows"], np.float32)


if __name__ == "__main__":
    apis = [(Floats if key == "b" else Table)(api_path=f"/{key}") for key in os.environ["SERVES"].split(",")]
    server = ls.LitServer(apis, accelerator="cpu", workers_per_device=int(os.environ["WORKERS"]))
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False)
