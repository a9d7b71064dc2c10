"""One after the other: how a model is asked that would part its work among threads or processes of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def in_turn() -> Iterator[None]:
    """Let joblib run in this thread, one after the other, what a model parts by its `n_jobs`.

    A forest adds its trees up in the order in which threads end, so that one row has several answers, which differ in their
    last bits. And in a service the workers are what runs side by side. Threads of the model's own compiled code stay.
    """
    joblib = sys.modules.get("joblib")  # of a model that parts its work, it was imported with its library
    if joblib is None:
        yield
        return
    with joblib.parallel_config(backend="sequential"):
        yield
