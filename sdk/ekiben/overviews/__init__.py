"""What explains a model as a whole: values that travel as JSON, show themselves, and are kept in a package."""

from __future__ import annotations

from ekiben.overviews.curve import Curve, CurveKind, Surface
from ekiben.overviews.importance import Importance
from ekiben.overviews.interactions import Interaction, Interactions
from ekiben.overviews.overview import Overview
from ekiben.overviews.surrogate import Branch, Form, Surrogate, Term

__all__ = [
    "Branch",
    "Curve",
    "CurveKind",
    "Form",
    "Importance",
    "Interaction",
    "Interactions",
    "Overview",
    "Surface",
    "Surrogate",
    "Term",
]
