"""What an estimator of scikit-learn answers: its task, its outputs, and for rows their labels, scores and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from ekiben._optional import require
from ekiben.errors import UnsupportedModelError
from ekiben.models import Answers
from ekiben.schema import Label, Output, Part, Task

if TYPE_CHECKING:
    from ekiben.models import Array

# Classifiers whose label is the class of the largest probability, by their own code; and those whose label follows from the
# number that the probability is made of, which rounding may turn into a tie.
BY_CHANCE = (
    "BaggingClassifier",
    "CalibratedClassifierCV",
    "DecisionTreeClassifier",
    "ExtraTreeClassifier",
    "ExtraTreesClassifier",
    "RandomForestClassifier",
    "VotingClassifier",
)
BY_CHANCE_BUT_TIES = (
    "GradientBoostingClassifier",
    "HistGradientBoostingClassifier",
    "LogisticRegression",
    "LogisticRegressionCV",
)
CLOSE = 1e-6  # scores that differ by more are in the right order, those of 32 bits too


def refuse_unfitted(model: Any) -> None:
    """Refuse what was not fitted, and a search that kept no best estimator.

    Raises
    ------
    UnsupportedModelError
        With what to do.
    """
    validation = require("sklearn.utils.validation", to="pack a scikit-learn model")
    name = type(model).__name__
    try:
        validation.check_is_fitted(model)
    except Exception as reason:
        raise UnsupportedModelError(f"The model must be fitted. Got an unfitted {name}. Fit it first.") from reason
    if not getattr(model, "refit", True):
        raise UnsupportedModelError(f"A search must be fitted with refit=True. Got {name}(refit=False).")


def task_of(last: Any) -> Task:
    """Tell what an estimator does, by its tags."""
    base = require("sklearn.base", to="pack a scikit-learn model")
    known: dict[str | None, Task] = {
        "classifier": "classification",
        "regressor": "regression",
        "clusterer": "clustering",
        "density_estimator": "clustering",  # a mixture: which component
        "outlier_detector": "outliers",
    }
    if isinstance(last, base.OutlierMixin):
        return "outliers"
    kind = require("sklearn.utils", to="pack a scikit-learn model").get_tags(last).estimator_type
    return known.get(kind, "other")


def outputs(last: Any, data: Any) -> tuple[Output, ...]:
    """Ask about a few rows what comes back: one column or several, with scores or without."""
    task, predicted = task_of(last), _table(last.predict(data))
    names = _names(predicted)
    if task == "regression":
        return tuple(Output(name=name, parts=("value",)) for name in names)
    if task == "outliers":
        parts: tuple[Part, ...] = ("label", "value") if hasattr(last, "decision_function") else ("label",)
        return (Output(parts=parts, classes=(-1, 1)),)
    if task == "other":
        return tuple(
            Output(name=name, parts=("value" if values.dtype.kind == "f" else "label",))
            for name, values in zip(names, predicted.T, strict=True)
        )
    parts = ("label", "scores") if _gives_scores(last) else ("label",)
    classes = _classes(last, predicted)
    return tuple(Output(name=name, parts=parts, classes=known) for name, known in zip(names, classes, strict=True))


def answers(last: Any, data: Any, parts: Sequence[Part]) -> tuple[Answers, ...]:
    """Ask for what is wanted of each output."""
    task = task_of(last)
    if task == "regression":
        return tuple(Answers(values=_doubles(each)) for each in _table(last.predict(data)).T)
    if task == "other":
        columns = _table(last.predict(data)).T
        return tuple(Answers(values=each) if each.dtype.kind == "f" else Answers(labels=each) for each in columns)
    if task == "outliers":
        labels = last.predict(data) if "label" in parts else None
        valued = "value" in parts and hasattr(last, "decision_function")
        return (Answers(labels=labels, values=_doubles(last.decision_function(data)).reshape(-1) if valued else None),)
    scores = _scores(last, data) if "scores" in parts and _gives_scores(last) else None
    if scores is not None and "label" not in parts:
        return tuple(Answers(scores=each) for each in scores)
    labels = _labels(last, data) if scores is None else _labels_beside(last, data, scores)
    if scores is None:
        return tuple(Answers(labels=each) for each in labels)
    return tuple(Answers(labels=each, scores=chances) for each, chances in zip(labels, scores, strict=True))


def _gives_scores(last: Any) -> bool:
    """Tell whether there is a probability for each class; a chain has but one a link, which is enough for two."""
    if type(last).__name__ == "ClassifierChain":
        return hasattr(last, "predict_proba") and all(len(each) == 2 for each in last.classes_)
    return hasattr(last, "predict_proba")


def _scores(last: Any, data: Any) -> list[Array]:
    import numpy as np

    found = last.predict_proba(data)
    if isinstance(found, list):
        return [_doubles(each) for each in found]
    if _answers_yes_or_no(last):
        return [np.column_stack([1 - chance, chance]) for chance in _doubles(found).T]
    return [_doubles(found)]


def _answers_yes_or_no(last: Any) -> bool:
    """Tell a model of several yes-or-no labels whose probabilities are those of yes."""
    binarizer = getattr(last, "_label_binarizer", None)
    several = getattr(last, "multilabel_", False) or "multilabel" in getattr(binarizer, "y_type_", "")
    return bool(several) or type(last).__name__ == "ClassifierChain"


def _labels(last: Any, data: Any) -> list[Array]:
    predicted = _table(last.predict(data))
    fitted = getattr(last, "classes_", None)
    if isinstance(fitted, list):  # a chain passes them on as floats
        return [each.astype(known.dtype) for each, known in zip(predicted.T, fitted, strict=True)]
    return list(predicted.T)


def _labels_beside(last: Any, data: Any, scores: Sequence[Array]) -> list[Array]:
    """Give the labels that belong to scores; a model is asked again only where they do not tell."""
    name = type(last).__name__ if type(last).__module__.startswith("sklearn.") else ""
    if len(scores) == 1 and (name in BY_CHANCE or (name in BY_CHANCE_BUT_TIES and not _has_ties(scores[0]))):
        labels: Array = last.classes_.take(scores[0].argmax(axis=1), axis=0)
        return [labels]
    return _labels(last, data)


def _has_ties(scores: Array) -> bool:
    """Tell whether the two largest scores of some row are so close that rounding may have turned them."""
    import numpy as np

    if scores.shape[1] < 2:
        return True
    two = np.partition(scores, -2, axis=1)[:, -2:] if scores.shape[1] > 2 else scores
    return not bool((np.abs(two[:, 1] - two[:, 0]) > CLOSE).all())


def _classes(last: Any, predicted: Array) -> list[tuple[Label, ...]]:
    """Give the labels of each output: those that were fitted, or 0 and 1 for each of several yes-or-no labels."""
    fitted = getattr(last, "classes_", None)
    if fitted is None:
        return [_groups(last)]
    if isinstance(fitted, list):
        return [tuple(each.tolist()) for each in fitted]
    return [tuple(fitted.tolist())] if predicted.shape[1] == 1 else [(0, 1)] * predicted.shape[1]


def _groups(last: Any) -> tuple[Label, ...]:
    """Give the numbers of a clusterer's clusters, or of a mixture's components."""
    seen = {*getattr(last, "labels_", ()), *getattr(last, "subcluster_labels_", ())}
    n_known = len(getattr(last, "cluster_centers_", ())) or int(getattr(last, "n_components", 0) or 0)
    return tuple(sorted({int(label) for label in seen} | set(range(n_known))))


def _table(predicted: Any) -> Array:
    """Give predictions as (n_rows, n_outputs), whatever container they came in."""
    import numpy as np

    dense = predicted.toarray() if hasattr(predicted, "tocoo") else np.asarray(predicted)
    return cast("Array", dense.reshape(-1, 1) if dense.ndim == 1 else dense)


def _names(predicted: Array) -> list[str]:
    return [""] if predicted.shape[1] == 1 else [f"y{i}" for i in range(predicted.shape[1])]


def _doubles(scores: Any) -> Array:
    import numpy as np

    return np.asarray(scores, dtype=np.float64)  # XGBoost as a last step gives 32 bits
