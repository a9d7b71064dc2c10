"""scikit-learn's fitted transformers as nodes of a plan, a file a family; `features` names them in one table."""
