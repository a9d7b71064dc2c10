"""A fitted model beside its plan: what the tests of compiling hold against each other."""

import numpy as np

from ekiben import compiling, models, tables
from ekiben.schema import Signature


def signature(model, frame):
    adapter = models.find(model)
    return Signature(
        inputs=tables.learn(frame), task=adapter.task(model), outputs=adapter.outputs(model, frame.head(5))
    )


def plan_of(model, frame, folder):
    """Translate a model, write its plan, and read it back: the document must survive being a file."""
    signed = signature(model, frame)
    compiling.write(folder, compiling.translate(model, signed))
    return compiling.load(folder, signed.inputs, signed.outputs, model=lambda: model)


def rows_of(frame):
    return [tuple(row.values()) for row in tables.as_rows(frame)]


def assert_equal(model, frame, folder, *, within=1e-9, asked=None):
    """See that a plan answers many rows, and each alone, as its model: labels identical, numbers within a share."""
    plan = plan_of(model, frame, folder)
    frame = frame if asked is None else asked
    rows = rows_of(frame)
    true = models.find(model).answers(model, tables.conform(frame, signature(model, frame).inputs))
    many, alone = plan.answers(list(zip(*rows, strict=True)), len(rows)), plan.answers_by_row(rows)
    for found in (many, alone):
        assert len(found) == len(true) == len(plan.heads)
        for mine, its in zip(found, true, strict=True):
            if its.labels is not None:
                np.testing.assert_array_equal(mine.labels, its.labels)
            for part in ("scores", "values"):
                if getattr(its, part) is not None and getattr(mine, part) is not None:
                    np.testing.assert_allclose(getattr(mine, part), getattr(its, part), rtol=within, atol=within)
    return plan
