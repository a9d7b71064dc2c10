"""Try a plan beside its model: the same rows as one table, row by row, and after a round trip through its folder."""

import warnings

import numpy as np

from ekiben import compiling, models, probing, tables
from ekiben.compiling.edges import edges
from ekiben.errors import EkibenError

PARTS = ("labels", "scores", "values")


def signed(model, X, contract=None):
    return probing.sign(model, models.find(model), X, "tried", contract)


def translated(model, X):
    return compiling.translate(model, signed(model, X))


def tried(model, X, folder=None, more=(), atol=1e-12):
    """Compare a plan with its model on real rows and on edge rows; give the document of the plan."""
    adapter, signature = models.find(model), signed(model, X)
    document = compiling.translate(model, signature)
    if folder is None:
        plan = compiling.Plan(document, signature.inputs, signature.outputs, model=lambda: model)
    else:
        compiling.write(folder, document)
        plan = compiling.load(folder, signature.inputs, signature.outputs, model=lambda: model)
    rows = tables.as_rows(X.head(60))
    made = edges(plan, signature.inputs, rows, probing.unseen_texts)
    special = made.special + made.splits[:: max(1, len(made.splits) // 60)]
    rows += [*special, *({**rows[0], **each} for each in more)]
    _same(plan, adapter, model, signature.inputs, rows, atol)
    return document


def _same(plan, adapter, model, contract, rows, atol):
    answered = []
    for row in rows:
        native = _native(adapter, model, contract, [row])
        ours = _ours(lambda row=row: plan.answers_by_row([tuple(row[name] for name in contract.names)]))
        assert (native is None) == (ours is None), (row, native, ours)
        if native is not None:
            answered.append(row)
            _compare(ours, native, atol, row)
    native = _native(adapter, model, contract, answered)
    _compare(plan.answers([[row[name] for row in answered] for name in contract.names], len(answered)), native, atol)


def _native(adapter, model, contract, rows):
    frame = tables.as_frame({name: [row[name] for row in rows] for name in contract.names}, contract)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = adapter.answers(model, frame)
    except Exception:
        return None
    finite = all(np.isfinite(getattr(each, part)).all() for each in found for part in PARTS[1:] if _has(each, part))
    return found if finite else None


def _ours(ask):
    try:
        return ask()
    except (EkibenError, ArithmeticError):
        return None


def _has(answers, part):
    return getattr(answers, part) is not None


def _compare(ours, native, atol, row=None):
    for a, b in zip(ours, native, strict=True):
        for part in PARTS:
            assert _has(a, part) == _has(b, part), part
        if _has(b, "labels"):
            assert np.asarray(a.labels, dtype=object).tolist() == np.asarray(b.labels, dtype=object).tolist(), row
        for part in PARTS[1:]:
            if _has(b, part):
                found, true = getattr(a, part), getattr(b, part)
                assert np.allclose(found, true, rtol=atol, atol=atol), (row, np.abs(found - true).max())
