"""The code of the notebook that the model uses, as it was when the model was packed."""

import pandas as pd


# from golden.py:28
def season(rows):
    """Tell the month, and whether it is early in the year."""
    return pd.DataFrame({"month": rows["since"].dt.month.fillna(0).astype(float), "early": rows["since"].dt.month < 3})
