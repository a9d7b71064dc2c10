"""Try a plan beside its model: as one table, row by row, on real rows and at the edges of what the contract takes."""

import warnings

import numpy as np

from ekiben import compiling, models, probing, tables
from ekiben.compiling.edges import edges
from ekiben.errors import PlanError

PARTS = ("labels", "scores", "values")


def signed(model, X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return probing.sign(model, models.find(model), X, "tried", None)


def translated(model, X):
    """Give the document of a model's plan."""
    return compiling.translate(model, signed(model, X))


def tried(model, X, folder, more=(), atol=1e-12):
    """Write and read the plan of a model, and see that it answers every row that the model answers, and as it does."""
    signature = signed(model, X)
    document = compiling.translate(model, signature, X)
    compiling.write(folder, document)
    plan = compiling.load(folder, signature.inputs, signature.outputs, model=lambda: model)
    rows = tables.as_rows(X.head(25))
    made = edges(plan, signature.inputs, rows, probing.unseen_texts)
    rows += [*made.special, *made.splits[:: max(1, len(made.splits) // 30)], *({**rows[0], **each} for each in more)]
    names = signature.inputs.names
    true = _truths(models.find(model), model, signature.inputs, rows)
    answered = [i for i, each in enumerate(true) if each is not None]
    table = plan.answers([[rows[i][name] for i in answered] for name in names], len(answered))
    frame = tables.as_frame({name: [rows[i][name] for i in answered] for name in names}, signature.inputs)
    framed = plan.answers_by_column(compiling.columns_of(frame), len(answered))
    for place, i in enumerate(answered):
        _compare(_row_of(table, place), true[i], atol, rows[i])
        _compare(_row_of(framed, place), true[i], atol, rows[i])
    for row, native in zip(rows, true, strict=True):
        ours = _ours(plan, tuple(row[name] for name in names))
        assert (ours is None) == (native is None), row
        if native is not None:
            _compare(ours, native, atol, row)
            _compare(_body(plan, tuple(row[name] for name in names)), native, atol, row)
    return document


def _body(plan, values):
    """Answer one row as the body of an answer holds it, in the form of the others."""
    told = plan.predictions([values])[0]
    found = [told] if len(plan.heads) == 1 else list(told.values())
    read = {"label": lambda part: part, "scores": lambda part: [*part.values()], "value": lambda part: part}
    return [{f"{name.removesuffix('s')}s": read[name](part) for name, part in each.items()} for each in found]


def _truths(adapter, model, contract, rows):
    """Ask the model about rows at once; where it refuses them, about halves of them, and so on."""
    frame = tables.as_frame({name: [row[name] for row in rows] for name in contract.names}, contract)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = adapter.answers(model, frame)
        if _finite(found):
            return [_row_of(found, i) for i in range(len(rows))]
    except Exception:
        pass  # whatever a model raises, one of the rows has no answer
    if len(rows) == 1:
        return [None]
    half = len(rows) // 2
    return _truths(adapter, model, contract, rows[:half]) + _truths(adapter, model, contract, rows[half:])


def _finite(found):
    return all(np.isfinite(getattr(each, part)).all() for each in found for part in PARTS[1:] if _has(each, part))


def _has(answers, part):
    return getattr(answers, part) is not None


def _row_of(found, i):
    return [{part: getattr(each, part)[i] for part in PARTS if _has(each, part)} for each in found]


def _ours(plan, values):
    try:
        return _row_of(plan.answers_by_row([values]), 0)
    except (PlanError, ArithmeticError):
        return None


def _compare(ours, native, atol, row):
    for a, b in zip(ours, native, strict=True):
        assert a.keys() == b.keys()
        for part, true in b.items():
            if part == "labels":
                assert a[part] == true, row
            else:
                assert np.allclose(a[part], true, rtol=atol, atol=atol), (row, a[part], true)
