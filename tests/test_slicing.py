"""The notebook's own code travels as it runs now, stands by itself in a clean interpreter, or is refused by name."""

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ekiben.slicing import digest, importable, slice_off

SDK = str(Path(__file__).parents[1] / "sdk")

# Runs cells as IPython does: compiled under a name that linecache knows, in one `__main__`; then slices `model` off.
NOTEBOOK = """
import json, linecache, os, pathlib, pickle, random, sys, warnings

work = json.loads(pathlib.Path(sys.argv[1]).read_text())
sys.path[:0] = [os.getcwd(), work["sdk"]]

import ekiben.slicing
from ekiben.errors import UnsupportedModelError


def run(cells, names):
    for number, text in enumerate(cells, start=1):
        name = f"/tmp/ipykernel_0/{number}.py"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        exec(compile(text, name, "exec"), names)


def state(names):
    numpy = sys.modules.get("numpy")
    drawn = numpy and numpy.random.get_state()[1].tolist()
    held = {key: id(value) for key, value in names.items()}
    return repr((sys.path, sys.meta_path, os.getcwd(), warnings.filters, random.getstate(), drawn, held))


def tell(names):
    try:
        before = state(names)
        loaded = set(sys.modules)
        sliced = ekiben.slicing.slice_off(names["model"])
        others = {name.partition(".")[0] for name in set(sys.modules) - loaded} - sys.stdlib_module_names
        assert {name for name in others if not name.startswith("ekiben_code_")} <= {"pandas"}, others
        assert state(names) == before, "the kernel was changed"
    except UnsupportedModelError as reason:
        return {"refused": str(reason)}
    if sliced is None:
        return {"none": True}
    for file, content in sliced.files.items():
        path = pathlib.Path(work["folder"], file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    pathlib.Path(work["copy"]).write_bytes(pickle.dumps(sliced.model))
    made = {"module": sliced.module, "files": sorted(sliced.files), "imports": sliced.imports, "notes": sliced.notes}
    return {**made, "answer": repr(eval(work["ask"], dict(names)))}


import __main__

run(work["cells"], vars(__main__))
print(json.dumps(tell(vars(__main__))))
"""

# Builds the copy from nothing but the folder: `-I`, another working directory, only ekiben beside the libraries.
CLEAN = """
import json, pathlib, pickle, sys
work = json.loads(pathlib.Path(sys.argv[1]).read_text())
sys.path.insert(0, work["sdk"])
path, finders = list(sys.path), list(sys.meta_path)
from ekiben.slicing import importable
package = importable(pathlib.Path(work["folder"]))
assert importable(pathlib.Path(work["folder"])) is package
# libraries may leave finders of their own behind (six does); ours is taken away
ours = [finder for finder in sys.meta_path if finder not in finders and "ekiben" in repr(finder)]
assert sys.path == path and not ours
model = pickle.loads(pathlib.Path(work["copy"]).read_bytes())
names = {"model": model}
for line in work["before"]:
    exec(line, names)
print(json.dumps({"module": package.__name__, "answer": repr(eval(work["ask"], names))}))
"""


def child(script, work, folder, *flags):
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE")
    program = work.with_name("program.py")
    program.write_text(script)
    # the program has names of its own: `__main__` is left to the notebook
    start = "exec(open(__import__('sys').argv[2]).read(), {'__name__': 'program'})"
    command = [sys.executable, *flags, "-c", start, str(work), str(program)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def told(tmp_path, cells, ask, files=None, before=()):
    notebook = tmp_path / "notebook"
    notebook.mkdir()
    for name, text in (files or {}).items():
        path = notebook / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    work = tmp_path / "work.json"
    facts = {"cells": [textwrap.dedent(cell).strip("\n") + "\n" for cell in cells], "ask": ask, "sdk": SDK}
    places = {"folder": str(tmp_path / "code"), "copy": str(tmp_path / "copy.pickle"), "before": list(before)}
    work.write_text(json.dumps({**facts, **places}))
    return child(NOTEBOOK, work, notebook), work


@pytest.fixture
def travels(tmp_path):
    """Run cells, slice `model` off, and see that it answers the same in a clean interpreter; give its text."""

    def run(*cells, ask="model(2)", files=None, before=()):
        live, work = told(tmp_path, cells, ask, files, before)
        assert "answer" in live, live
        (tmp_path / "elsewhere").mkdir()
        clean = child(CLEAN, work, tmp_path / "elsewhere", "-I")
        assert (clean["module"], clean["answer"]) == (live["module"], live["answer"])
        written = sorted(p.relative_to(tmp_path / "code").as_posix() for p in (tmp_path / "code").rglob("*.*"))
        assert written == live["files"]
        path = tmp_path / "code" / "notebook.py"
        return live | {"text": path.read_text() if path.exists() else ""}

    return run


@pytest.fixture
def refused(tmp_path):
    """Run cells and give the message with which `model` is refused."""

    def run(*cells, files=None):
        live, _ = told(tmp_path, cells, "None", files)
        assert "refused" in live, live
        return live["refused"]

    return run


PANDAS = ("import numpy as np, pandas as pd",)

TRAVELS = {
    "a function": ["def model(x): return x + 1"],
    "a lambda": ["model = lambda x: x + 1"],
    "a lambda over lines": ["model = (lambda x:\n    x +\n    1)"],
    "a constant": ["RATE = 1.5", "def model(x): return x * RATE"],
    "a constant changed after": ["RATE = 1.5", "def model(x): return x * RATE", "RATE = 2.5"],
    "cells out of order": ["def model(x): return helper(x)", "def helper(x): return x * RATE", "RATE = 3"],
    "a helper redefined": ["def helper(x): return x", "def model(x): return helper(x)", "def helper(x): return -x"],
    "recursion": ["def model(n): return 1 if n < 2 else n * model(n - 1)"],
    "mutual recursion": ["def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)\nmodel = even"],
    "an aliased module": ["import math as m", "def model(x): return m.sqrt(x)"],
    "a dotted module": ["import os.path", "def model(x): return os.path.join('a', str(x))"],
    "from with alias": ["from math import sqrt as root", "def model(x): return root(x)"],
    "a star import": ["from math import *", "def model(x): return sqrt(x) + pi"],
    "a shadowed builtin": ["def sum(values): return 7", "def model(x): return sum([x])"],
    "a docstring": ['def model(x):\n    """Say \'\'\'this\'\'\'.\n\nand "that"\n    """\n    return x, model.__doc__'],
    "text at the margin": ["if True:\n    def model(x):\n        return '''\nat the margin\n''' + str(x)"],
    "umlauts": ["größe = 3\ndef model(x): return 'ä' * x + str(größe) + 'ö'"],
    "a default of a global": ["K = 2", "def model(x, k=K): return x * k", "K = 5"],
    "a keyword default": ["K = {'a': 2}", "def model(x, *, k=K): return x * k['a']", "K['a'] = 4"],
    "lambdas in a loop": ["fs = [lambda x, k=k: x * k for k in range(3)]\nmodel = [fs[2], fs[1]]", "", ],
    "two lambdas on a line": ["model = [lambda x: x + 1, lambda x: x + 2]"],
    "a lambda of a lambda": ["model = (lambda k: lambda x: x * k)(4)"],
    "two closures of one function": ["def times(k):\n    def by(x): return x * k\n    return by\nmodel = [times(2), times(3)]"],
    "a closure that calls itself": ["def make():\n    def fact(n): return 1 if n < 2 else n * fact(n - 1)\n    return fact\nmodel = make()"],
    "a closure that counts": [
        "def make():\n    n = 0\n    def count(x):\n        nonlocal n\n        n += 1\n        return n + x\n    return count",
        "model = make()",
    ],
    "a counter in a global": ["n = 4\ndef model(x):\n    global n\n    n += 1\n    return n + x"],
    "partial": ["from functools import partial\ndef scale(x, k): return x * k\nmodel = partial(scale, k=3)"],
    "a partial in a global": ["from functools import partial\np = partial(max, 1)\ndef model(x): return p(x)"],
    "a decorated function": [
        "from functools import wraps\ndef twice(f):\n    @wraps(f)\n    def inner(x):\n        return 2 * f(x)\n    return inner",
        "@twice\ndef model(x):\n    return x + 1",
    ],
    "a cached function": ["from functools import lru_cache", "@lru_cache(maxsize=8)\ndef slow(x): return x * 2\ndef model(x): return slow(x)"],
    "an enum": ["from enum import Enum\nclass Kind(Enum):\n    A = 1\n    B = 2", "def model(x): return Kind(x).name"],
    "a redefined enum": ["from enum import Enum\nclass Kind(Enum):\n    A = 1", "class Kind(Enum):\n    A = 1\n    B = 2", "def model(x): return Kind(x).name"],
    "a member of an enum": ["from enum import Enum\nclass Kind(Enum):\n    A = 2", "BEST = Kind.A", "def model(x): return BEST.value == x"],
    "a dataclass": ["from dataclasses import dataclass, field\n@dataclass\nclass Row:\n    a: int\n    b: list = field(default_factory=list)", "def model(x): return str(Row(x))"],
    "a callable instance": ["class Model:\n    def __init__(self, k): self.k = k\n    def __call__(self, x): return x * self.k", "model = Model(3)"],
    "a bound method": ["class Model:\n    def __init__(self, k): self.k = k\n    def ask(self, x): return x * self.k", "model = Model(3).ask"],
    "classes across cells": [
        "class Base:\n    def ask(self, x): return x + 1",
        "class Model(Base):\n    def ask(self, x): return super().ask(x) * 2\n    def __call__(self, x): return self.ask(x)",
        "model = Model()",
    ],
    "a base that names its child": [
        "class Base:\n    def __call__(self, x): return Child.__name__ * x",
        "class Child(Base): pass\nmodel = Child()",
    ],
    "a base redefined after": [
        "class Base:\n    def __call__(self, x): return x + 1",
        "class Child(Base): pass",
        "class Base:\n    def __call__(self, x): return x - 1",
        "model = [Child(), Base()]",
    ],
    "a class redefined after the fit": [
        "class Model:\n    def __call__(self, x): return x + 1\nmodel = Model()",
        "class Model:\n    def __call__(self, x): return x - 1",
    ],
    "an attribute of a constant": ["TOP = 4", "class Model:\n    top = TOP\n    def __call__(self, x): return x + self.top", "model = Model()"],
    "an attribute set after": ["class Model:\n    top = 4\n    def __call__(self, x): return x + self.top", "model = Model()\nModel.top = 9"],
    "static and class methods": [
        ("class Model:\n    k = 3\n    @staticmethod\n    def one(x): return x + 1\n    @classmethod\n    def two(cls, x): return x * cls.k\n"
        "    @property\n    def three(self): return 3\n    def __call__(self, x): return self.one(x), self.two(x), self.three"),
        "model = Model()",
    ],
    "a class in a class": ["class Model:\n    class Part:\n        def go(self, x): return x + 1\n    def __init__(self): self.part = Model.Part()\n    def __call__(self, x): return self.part.go(x)", "model = Model()"],
    "a class in a function": ["def make(k):\n    class Model:\n        def __call__(self, x): return x * k\n    return Model()\nmodel = make(3)"],
    "a patched method": ["class Model:\n    def __call__(self, x): return x", "def other(self, x): return x * 5\nModel.__call__ = other\nmodel = Model()"],
    "annotations": ["from __future__ import annotations\nfrom typing import Optional\ndef model(x: Nowhere, y: Optional[int] = None) -> None: return x, y"],
    "annotations that run": ["from typing import Optional, List\ndef model(x: List[int], y: Optional[int] = None): return x, y"],
    "an async function": ["import asyncio\nasync def ask(x): return x + 1\ndef model(x): return asyncio.run(ask(x))"],
    "a generator function": ["def every(n):\n    yield from range(n)\ndef model(x): return list(every(x))"],
    "a comprehension": ["K = 3\nclass Model:\n    ks = [K * i for i in range(2)]\n    def __call__(self, x): return [k * x for k in self.ks]", "model = Model()"],
    "a regular expression": ["import re\nWORD = re.compile(r'\\d+', re.I)", "def model(x): return WORD.findall(str(x))"],
    "values of every kind": [
        ("import datetime, decimal, collections, pathlib\nV = {'d': datetime.date(2024, 1, 2), (1, 2): decimal.Decimal('1.5'), 's': {3, 1}, 'f': frozenset([1]),"
        " 'n': float('inf'), 'c': collections.OrderedDict(a=1), 'dd': collections.defaultdict(int, b=2), 'p': pathlib.PurePosixPath('a/b'), 'e': ()}"),
        "def model(x): return V",
    ],
    "a long dictionary": ["RATES = {f'code {i}': i / 3 for i in range(200)}", "def model(x): return RATES[f'code {x}']"],
    "an instance in a global": ["class Rate:\n    def __init__(self, k): self.k = k\n    def of(self, x): return x * self.k", "rate = Rate(2.5)", "def model(x): return rate.of(x)"],
    "a function's attribute": ["def model(x): return x * model.k\nmodel.k = 3"],
    "an import in a function": ["def model(x):\n    import math\n    return math.sqrt(x)"],
    "an alias of a function": ["def f(x): return x + 1\ng = f", "def model(x): return g(x) + f(x)"],
    "a name in a lambda's default": ["K = [1, 2]\nmodel = lambda x, k=K: (x, k)"],
    "an abstract base": ["from abc import ABC, abstractmethod\nclass Base(ABC):\n    @abstractmethod\n    def go(self, x): ...", "class Model(Base):\n    def go(self, x): return x + 1\n    def __call__(self, x): return self.go(x)\nmodel = Model()"],
    "a named tuple": ["from typing import NamedTuple\nclass Row(NamedTuple):\n    a: int\n    b: int = 3", "from collections import namedtuple\nPair = namedtuple('Pair', 'a b')", "def model(x): return Row(x), Pair(x, 1)"],
    "generics and protocols": ["from typing import Generic, TypeVar, Protocol\nT = TypeVar('T')\nclass Has(Protocol):\n    def go(self) -> int: ...\nclass Box(Generic[T]):\n    def __init__(self, v: T): self.v = v", "def model(x): return Box(x).v"],
    "a cached property": ["from functools import cached_property\nclass Model:\n    @cached_property\n    def k(self): return K\n    def __call__(self, x): return x * self.k", "K = 6\nmodel = Model()"],
    "slots": ["from dataclasses import dataclass\n@dataclass(frozen=True, slots=True)\nclass Model:\n    k: int = 3\n    def __call__(self, x): return x * self.k", "model = Model(4)"],
    "plain slots": ["class Model:\n    __slots__ = ('k',)\n    def __init__(self): self.k = 3\n    def __call__(self, x): return x * self.k", "model = Model()"],
    "a lambda in a class": ["class Model:\n    f = lambda self, x: x + 1\n    def __call__(self, x): return self.f(x)", "model = Model()"],
    "functions in a dictionary": ["def a(x): return x + 1\nways = {'a': a, 'b': lambda x: x + 2, 'c': max}", "def model(x): return [f(x) for f in (ways['a'], ways['b'])]"],
    "a decorated method": ["def twice(f):\n    def inner(self, x): return 2 * f(self, x)\n    return inner", "class Model:\n    @twice\n    def __call__(self, x): return x + 1\nmodel = Model()"],
    "a context manager": ["from contextlib import contextmanager\n@contextmanager\ndef given(x):\n    yield x + 1", "def model(x):\n    with given(x) as y:\n        return y"],
    "a decorated class": ["from functools import total_ordering\n@total_ordering\nclass Row:\n    def __init__(self, a): self.a = a\n    def __lt__(self, o): return self.a < o.a\n    def __eq__(self, o): return self.a == o.a", "def model(x): return Row(x) >= Row(1)"],
    "an exception": ["class TooHigh(ValueError):\n    pass", "def model(x):\n    try:\n        raise TooHigh(x)\n    except TooHigh as e:\n        return str(e)"],
    "a logger": ["import logging\nlog = logging.getLogger('mine')", "def model(x):\n    log.debug('x')\n    return log.name"],
    "a name of ours": ["kept = 5\ndef model(x):\n    return kept * x, len(rates)", "rates = {str(i): i / 3 for i in range(200)}"],
    "a flag": ["import enum\nclass F(enum.IntFlag):\n    A = enum.auto()\n    B = enum.auto()", "BOTH = F.A | F.B", "def model(x): return int(BOTH) + x"],
    "a match and a walrus": ["def model(x):\n    match x:\n        case int() if (y := x + K) > 1:\n            return y", "K = 4"],
    "an itemgetter": ["from operator import itemgetter\nfirst = itemgetter(0)", "def model(x): return first([x])"],
    "a random generator": ["import random\nr = random.Random(3)", "def model(x): return random.Random(x).random(), r.random()"],
    "a hint of an own class": ["class Row: pass", "def model(x: Row) -> Row: return x"],
    "a definition in a branch": ["if True:\n    class Model:\n        def __call__(self, x):\n            return x + 1\nmodel = Model()"],
    "a class of the same name in a function": ["class Model:\n    def __call__(self, x): return x + 1", "def make():\n    class Model:\n        def __call__(self, x): return x + 2\n    return Model()", "one, two = Model(), make()\nmodel = lambda x: (one(x), two(x))"],
    "one cell for two closures": ["def make():\n    box = [1]\n    def put(x): box.append(x)\n    def get(): return sum(box)\n    return put, get\nput, get = make()", "def model(x):\n    put(x)\n    return get()"],
    "a closure over what a global is called": ["k = 1\ndef make(k):\n    def f(x): return x * k\n    return f\nf = make(5)", "def model(x): return f(x) + k"],
    "a closure over a builtin's name": ["def make(len):\n    def f(x): return x * len\n    return f\nf = make(5)", "def model(x): return f(x) + len([1])"],
    "a function from a method": ["class Tools:\n    @staticmethod\n    def up(x): return x + 1\n    def down(self, x): return x - 1", "up = Tools.up\ndown = Tools().down", "def model(x): return up(x), down(x)"],
    "a class kept as a value": ["class A:\n    k = 1\nclass B(A):\n    k = 2", "KINDS = {'a': A, 'b': B, 't': int}", "def model(x): return KINDS['b'].k, KINDS['a'].k, KINDS['t'](x)"],
    "a helper two modules share": ["import math\nimport math as m\nfrom math import pi, floor", "def model(x): return math.sqrt(x), m.floor(x), floor(x), pi"],
    "a decorator with arguments": ["def times(k):\n    def wrap(f):\n        def inner(x): return k * f(x)\n        return inner\n    return wrap", "@times(3)\ndef model(x): return x"],
    "a default that is a function": ["def up(x): return x + 1", "def model(x, f=up): return f(x)", "def up(x): return x - 1"],
    "a closure in an f-string": ["def make(k):\n    def f(x): return f'{x} {k:.1f} ' + f'{k}'\n    return f\none, two = make(1), make(2)", "model = lambda x: (one(x), two(x))"],
    "a closure in a long f-string": ["def make(k):\n    def f(x): return f'''\n\n  é {x} {k}\n {k!r:>{k}}''' f'{{{k}}}'\n    return f\none, two = make(1), make(2)", "model = lambda x: (one(x), two(x))"],
    "a private name in a class": ["_Model__k = 5\nclass Model:\n    def __call__(self, x): return __k * x", "model = Model()"],
    "one line with semicolons": ["a = 1; f = lambda x: x + a; model = f"],
}  # fmt: skip


@pytest.mark.parametrize("case", TRAVELS)
def test_code_answers_the_same_in_a_clean_interpreter(case, travels):
    ask = (
        "[f(2) for f in model]"
        if case
        in ("two lambdas on a line", "lambdas in a loop", "two closures of one function", "a base redefined after")
        else "model(2)"
    )
    travels(*TRAVELS[case], ask=ask)


SKLEARN = [
    """
    import numpy as np
    import pandas as pd
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    UPPER = 3.5
    X = pd.DataFrame({"a": np.arange(6.0), "b": [1.0, 5, 2, 8, 3, 9]})
    """,
    """
    class Clipper(TransformerMixin, BaseEstimator):
        \"\"\"Cut what is too high.\"\"\"

        def __init__(self, upper=UPPER):
            self.upper = upper

        def fit(self, X, y=None):
            self.n_features_in_ = X.shape[1]
            return self

        def transform(self, X):
            return np.clip(X, None, self.upper)

    def log_income(X):
        # what is below zero is no income
        return np.log1p(np.maximum(X, 0))
    """,
]
PREDICT = "[float.hex(float(v)) for v in model.predict(__import__('pandas').DataFrame({'a': [1.0, 2], 'b': [7.0, 9]}))]"


@pytest.mark.parametrize("funcs", ["log_income", "lambda X: X * 2", "lambda X: scaler.transform(X.to_numpy())"])
def test_a_pipeline_with_code_of_the_notebook_travels(funcs, travels):
    scaler = "scaler = StandardScaler().fit(X.to_numpy())"
    fit = (
        f"model = make_pipeline(Clipper(), FunctionTransformer({funcs}), LinearRegression()).fit(X, [1, 2, 3, 1, 2, 9])"
    )
    live = travels(*SKLEARN, scaler, fit, ask=PREDICT)
    assert live["imports"] == ["numpy", "sklearn"]
    assert "class Clipper(TransformerMixin, BaseEstimator):" in live["text"]


def test_the_module_holds_the_source_and_nothing_else(travels):
    pipe = "unused = 5\ndef unused_too(): pass\nmodel = make_pipeline(Clipper(), FunctionTransformer(log_income), LinearRegression()).fit(X, [1, 2, 3, 1, 2, 9])"
    text = travels(*SKLEARN, pipe, ask=PREDICT)["text"]
    assert text == textwrap.dedent(
        '''\
        """The code of the notebook that the model uses, as it was when the model was packed."""

        from sklearn.base import BaseEstimator
        from sklearn.base import TransformerMixin
        import numpy as np

        UPPER = 3.5


        # from 2.py:1
        class Clipper(TransformerMixin, BaseEstimator):
            """Cut what is too high."""

            def __init__(self, upper=UPPER):
                self.upper = upper

            def fit(self, X, y=None):
                self.n_features_in_ = X.shape[1]
                return self

            def transform(self, X):
                return np.clip(X, None, self.upper)


        # from 2.py:14
        def log_income(X):
            # what is below zero is no income
            return np.log1p(np.maximum(X, 0))
        '''
    )


@pytest.mark.parametrize(
    "value",
    [
        "pd.DataFrame({'a': [1.5, None], 'b': ['x', None], 'c': [True, False]}, index=[3, 5])",
        "pd.DataFrame({'t': pd.to_datetime(['2024-01-01', None]), 'z': pd.to_datetime(['2024-01-01', None]).tz_localize('Europe/Paris')})",
        "pd.DataFrame({'k': pd.Categorical(['a', 'b'], ['b', 'a', 'c'], ordered=True), 'i': pd.array([1, None], 'Int64')})",
        "pd.Series([0.1, float('inf'), float('nan')], index=['a', 'b', 'c'], name='rate', dtype='float32')",
        "pd.Series({'a': 1, 'b': 2})",
        "np.array([[1, 2], [3, 4]], dtype='int16')",
        "np.array(['x', None, 1.5], dtype=object)",
        "np.float32(0.1)",
        "np.array(['2024-01-01'], dtype='datetime64[D]')",
        "{'a': np.arange(3), 'b': [np.int64(3), np.nan]}",
        "np.log1p",
        "np.dtype('float32')",
    ],
)
def test_data_that_the_code_uses_travels_without_pickle(value, travels):
    made = f"import pandas as pd, numpy as np\ndef make():\n    table = {value}\n    def model(x):\n        return table\n    return model"
    ask = "(lambda v: (repr(v), str(getattr(v, 'dtypes', None)), str(getattr(v, 'index', None))))(model(1))"
    live = travels(made, "model = make()", ask=ask)
    assert not [name for name in live["files"] if name.endswith((".pkl", ".pickle"))]


def test_local_files_travel_with_what_they_import(travels):
    files = {
        "features.py": "import math, scales\nfrom parts.units import METRE\nimport parts.deep as d\ndef add(x):\n    return scales.up(x) + METRE + d.VALUE\n",
        "scales.py": "def up(x):\n    import json\n    return x * 10\n",
        "parts/__init__.py": "from . import units\n",
        "parts/units.py": "from features_of_units import METRE\n",
        "parts/deep.py": "VALUE = 7\n",
        "features_of_units.py": "METRE = 100\n",
        "unused.py": "raise SystemExit\n",
    }
    live = travels(
        "import features\nfrom features import add as plus",
        "def model(x): return features.add(x), plus(x)",
        files=files,
    )
    assert live["files"] == [
        "features.py", "features_of_units.py", "notebook.py", "parts/__init__.py", "parts/deep.py", "parts/units.py", "scales.py",
    ]  # fmt: skip


def test_a_class_of_a_local_file_needs_no_module_of_the_notebook(travels):
    live = travels(
        "from own import Model\nmodel = Model()",
        files={"own.py": "class Model:\n    def __call__(self, x):\n        return x + 1\n"},
    )
    assert live["files"] == ["own.py"]


def test_a_script_is_a_notebook_of_one_cell(tmp_path):
    script = f"""
    import sys
    sys.path.insert(0, {SDK!r})
    from ekiben.slicing import slice_off
    K = 3
    class Model:
        k = K
        def __call__(self, x): return x * self.k
    class Plain:
        k = 4
    if __name__ == "__main__":
        print(slice_off([Model(), Plain()]).notes)
    """
    (tmp_path / "train.py").write_text(textwrap.dedent(script))
    done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True)
    assert "Code of the notebook travels along: Model, Plain (train.py:" in done.stdout, done.stderr


IPYTHON = """
import json, sys
sys.path.insert(0, sys.argv[1])
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
cells = [
    "%matplotlib --list\\n!ls > /dev/null\\nfrom enum import Enum\\nclass Kind(Enum):\\n    A = 1",
    "%%time\\nclass Model:\\n    def __call__(self, x): return helper(x), Kind(1).name, value",
    "%%time\\ndef helper(x):\\n    return x + 1",
    "import asyncio\\nawait asyncio.sleep(0)\\nvalue = 5\\nplus = lambda x: x + value",
    "class Bare:\\n    k = 4\\nmodel = [Model(), plus, Bare()]",
]
for cell in cells:
    shell.run_cell(cell, store_history=True).raise_error()
from ekiben.slicing import slice_off
sliced = slice_off(shell.user_ns["model"])
print(json.dumps({"notes": sliced.notes, "answers": repr([f(2) for f in sliced.model[:2]]), "text": sliced.files["notebook.py"].decode()}))
shell.run_cell("def model(x): return get_ipython().magic(x)", store_history=True)
try:
    slice_off(shell.user_ns["model"])
except TypeError as reason:
    print(json.dumps(str(reason)))
"""


def test_cells_of_a_real_kernel_are_named_by_their_numbers(tmp_path):
    done = subprocess.run([sys.executable, "-c", IPYTHON, SDK], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    told, refusal = map(json.loads, done.stdout.splitlines()[-2:])
    assert (
        told["notes"][0]
        == "Code of the notebook travels along: Bare, Kind, Model, helper, plus (cells 1, 2, 3, 4 and 5)."
    )
    assert told["answers"] == "[(3, 'A', 5), 7]"
    assert "# from cell 4\ndef plus(x):\n    return x + value\n" in told["text"]
    assert "`model` of cell 6 uses `get_ipython`, which only the kernel of a notebook has." in refusal


REFUSED = {
    "an open file": (["f = open('/dev/null')\ndef model(x): return f.read()"], "`model` of 1.py:2 uses `f`, an open file, which cannot travel."),
    "a connection": (
        ["import sqlite3\nconn = sqlite3.connect(':memory:')", "class Clipper:\n    def __call__(self, x): return conn.execute(x)\nmodel = Clipper()"],
        ("`Clipper` of 2.py:1 uses `conn`, an open sqlite3.Connection, which cannot travel. "
        "Open it inside the method, or pass what it reads as a parameter."),
    ),
    "a lock": (["import threading\nlock = threading.Lock()\ndef model(x):\n    with lock: return x"], "uses `lock`, a lock, which cannot travel."),
    "a generator": (["g = (i for i in range(3))\ndef model(x): return next(g)"], "uses `g`, a generator, which cannot travel."),
    "a thread": (["import threading\nt = threading.Thread()\ndef model(x): return t"], "uses `t`, a threading.Thread, which cannot travel."),
    "a socket": (["import socket\ns = socket.socket()\ndef model(x): return s\n"], "uses `s`, an open socket.socket, which cannot travel."),
    "a handle in the model": (
        ["class Model:\n    def __init__(self): self.parts = [('log', open('/dev/null'))]\nmodel = Model()"],
        "`parts[0]['log']`",
    ),
    "code without source": (["exec('def model(x): return x')"], "`model` has no source"),
    "a deleted helper": (["def helper(x): return x\ndef model(x): return helper(x)", "del helper"], "uses `helper`, which is defined nowhere now."),
    "a patched library": (["import collections\ndef f(self): return 1\ncollections.Counter.best = f", "def model(x): return collections.Counter(x).best()\nkeep = collections.Counter\nmodel.k = keep"], "`Counter.best` of a library was changed in the notebook."),
    "a patched frame": (["import pandas as pd\ndef f(self): return 1\npd.DataFrame.best = f", "def model(x): return x.best()"], "`DataFrame.best` of a library, which was changed in the notebook."),
    "a patched module": (["import math\ndef f(x): return 1\nmath.best = f", "def model(x): return math.best(x)"], "`math.best` of a library, which was changed in the notebook."),
    "an attribute made later": (["class Model:\n    def __call__(self, x): return self.k", "model = Model()\nModel.k = 5"], "`Model.k` was set after the class was made."),
    "a singledispatch": (
        ["from functools import singledispatch\n@singledispatch\ndef model(x): return x\n@model.register\ndef _(x: int): return -x"],
        "`model` of 1.py:3 is a singledispatch function.",
    ),
    "a module made by hand": (["import types\nm = types.ModuleType('m')\ndef model(x): return m"], "uses `m`, a module made by hand, 'm', which cannot travel."),
    "a method with super() put into another class": (
        ["class A:\n    def __call__(self, x): return super().__hash__() * 0 + x", "class B(A): pass\nB.__call__ = A.__call__\nA.__call__ = lambda self, x: x\nmodel = B()"],
        "uses super(), and stands outside of its class now.",
    ),
    "a value in itself": (["loop = []\nloop.append(loop)\ndef model(x): return loop"], "uses `loop`, a list that holds itself, which cannot travel."),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_stand_by_itself_is_refused_by_name(case, refused):
    cells, told = REFUSED[case]
    assert told in refused(*cells)


def test_one_message_lists_every_fault(refused):
    message = refused(
        "import sqlite3\nf = open('/dev/null')\nc = sqlite3.connect(':memory:')", "def model(x): return f, c, gone"
    )
    assert message.startswith("The code of a model must stand by itself.\n")
    assert [re.search("uses `(.+?)`", line)[1] for line in message.splitlines()[1:]] == ["c", "f", "gone"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "from scales import *\ndef add(x): return x\n",
            "features.py:1 imports * from `scales`. Name what it imports.",
        ),
        (
            "import importlib\ns = importlib.import_module('scales')\ndef add(x): return x\n",
            "features.py:2 imports by `importlib.import_module`.",
        ),
        ("def add(x): return open(__file__)\n", "features.py:1 reads `__file__`, beside which nothing else travels."),
    ],
)
def test_a_local_file_that_looks_for_others_is_refused(text, told, refused):
    files = {"features.py": text, "scales.py": "K = 1\n"}
    assert told in refused("from features import add as model", files=files)


def test_a_local_file_changed_after_its_import_is_refused(refused):
    files = {"features.py": "def add(x): return x + 1\n"}
    change = "import pathlib\npathlib.Path('features.py').write_text('def add(x): return x + 2\\n')"
    assert "`add` is not what its file says now." in refused("from features import add as model", change, files=files)


CHANGED = {
    "a name": ("def model(x):\n    return max(x, 7)\n", "max", "min", "model"),
    "a function within": ("def model(x):\n    return [(lambda i: x + i)(3)]\n", "x + i", "x - i", "model"),
    "a method": ("class Model:\n    def __call__(self, x):\n        return x + 1\n\nmodel = Model()\n", "+", "-", "Model.__call__"),
    "what it calls": ("def model(x):\n    return double(x)\n\ndef double(x):\n    return x + x\n", "x + x", "x - x", "double"),
    "a value": ("RATE = 1\ndef model(x):\n    return x + RATE\n", "RATE = 1", "RATE = 2", "RATE"),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGED)
def test_whatever_changed_in_a_local_file_after_its_import_is_refused(case, refused):
    text, was, now, name = CHANGED[case]
    change = f"import pathlib\npathlib.Path('own.py').write_text({text.replace(was, now)!r})"
    assert f"`{name}` is not what its file says now." in refused(
        "from own import model", change, files={"own.py": text}
    )


@pytest.mark.parametrize(
    "text",
    [
        "RATE = 1\ntry:\n    from overridden import RATE\nexcept ImportError:\n    pass\n",
        "RATE = 1\ndef RATE(): return 3\nRATE = RATE()\n",
    ],
)
def test_a_value_of_a_local_file_may_be_set_by_an_import_or_a_definition(text, travels):
    files = {"own.py": f"{text}def model(x):\n    return x + RATE\n", "overridden.py": "RATE = 3\n"}
    assert travels("from own import model", files=files)["answer"] == "5"


def test_a_function_of_a_local_file_may_import_another_one_itself(travels):
    files = {
        "own.py": "def model(x):\n    import scales\n    return scales.up(x)\n",
        "scales.py": "def up(x): return 2 * x\n",
    }
    assert travels("from own import model", files=files)["answer"] == "4"


def test_a_class_of_which_the_text_holds_some_methods_as_they_run_is_refused(refused):
    text = "class Model:\n    def __call__(self, x): return x + 1\n    def other(self): return 3\nmodel = Model()\n"
    change = """
    import linecache
    name = Model.other.__code__.co_filename
    linecache.cache[name] = (0, None, [line.replace(chr(43), chr(45)) for line in linecache.cache[name][2]], name)
    """
    assert "`Model` has no source" in refused(text, change)


@pytest.mark.parametrize("mark", ["\x0c", "\x1c", "\x85", "\u2028"])
def test_what_ends_no_line_to_python_moves_no_line_of_a_slice(mark, travels):
    before = "x = 1\n\x0c\n"  # as editors part the pages of a file
    live = travels(f"{before}def model(x):\n    said = '{mark}'\n    # {mark} and so on\n    x = x * 2\n    return x\n")
    assert live["answer"] == "4"


TRAVELLING = {
    "a deque": ("collections.deque([1, 2, 3], maxlen=3)", "list(collections.deque(value.copy()) + value)[-3:] and value.maxlen"),
    "an infinite complex number": ("complex('inf')", "value.real"),
    "texts with half a surrogate pair": ("['\\udc80' + str(i) for i in range(100)]", "value[7]"),
}  # fmt: skip


@pytest.mark.parametrize("case", TRAVELLING)
def test_values_travel_whole(case, travels):
    value, asked = TRAVELLING[case]
    travels(f"import collections\nvalue = {value}", f"def model(x):\n    return {asked}")


@pytest.mark.parametrize(
    "arguments", ["x,  # what comes: a number\n    by=3,  # times\n    ", "x, by=3  # times: a number\n    "]
)
def test_a_lambda_may_hold_comments(arguments, travels):
    assert travels(f"model = (lambda {arguments}: x * by)")["answer"] == "6"


def test_a_model_without_own_code_has_nothing_to_slice_off():
    assert slice_off({"rates": [1, 2, 3]}) is None


def test_two_packages_live_side_by_side(tmp_path):
    modules = []
    for value in (1, 2):
        folder = tmp_path / str(value)
        folder.mkdir()
        (folder / "notebook.py").write_text(f"VALUE = {value}\n")
        modules.append(importable(folder))
    assert [module.notebook.VALUE for module in modules] == [1, 2]
    assert modules[0].__name__ == f"ekiben_code_{digest({'notebook.py': b'VALUE = 1' + bytes([10])})[:12]}"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["1", "2", "notebook.py", "notebook.py"]


def test_code_that_does_not_import_leaves_no_module_behind(tmp_path):
    (tmp_path / "notebook.py").write_text("1 / 0\n")
    before, finders = set(sys.modules), list(sys.meta_path)
    with pytest.raises(ZeroDivisionError):
        importable(tmp_path)
    assert not [name for name in set(sys.modules) - before if name.startswith("ekiben_code_")]
    assert not [finder for finder in sys.meta_path if finder not in finders and "ekiben" in repr(finder)]


def test_a_sliced_model_is_sliced_again(travels):
    files = {"features.py": "import scales\ndef add(x): return x + scales.K\n", "scales.py": "K = 1\n"}
    model = """
    import numpy as np
    from features import add
    K = np.arange(3)
    class Model:
        def __init__(self): self.f = add
        def __call__(self, x): return (self.f(x) * K).tolist()
    model = Model()
    """
    again = "import ekiben.slicing\nmodel = ekiben.slicing.slice_off(model).model"
    live = travels(model, again, again, files=files)
    assert live["files"] == ["features.py", "kept/K.npy", "kept/__init__.py", "notebook.py", "scales.py"]
