"""Ray Serve: one deployment a model with one replica, behind its own HTTP proxy, as its documents show it."""

import os
import signal
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import ray
from ray import serve
from starlette.requests import Request

FOLDER = Path(os.environ["MODELS"])


@serve.deployment(num_replicas=1, ray_actor_options={"num_cpus": 0}, max_ongoing_requests=128)
class Model:
    def __init__(self, key):
        self.model = joblib.load(FOLDER / key / "model.joblib")
        self.read = (lambda rows: np.array(rows, np.float32)) if key == "b" else pd.DataFrame

    async def __call__(self, request: Request):
        asked = await request.json()
        return {"probabilities": self.model.predict_proba(self.read(asked["rows"]))[:, 1].tolist()}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100_000_000)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    for key in os.environ["SERVES"].split(","):
        serve.run(Model.bind(key), name=key, route_prefix=f"/{key}")
    print("ready", flush=True)
    signal.pause()
