"""Malicious files, made here so that they can be read: each one, really loaded, leaves a file `canary` where it runs.

Nothing is loaded in this module. `control` does that, in a child process that is thrown away, and proves that each of
them is harmful; the tests then put the same bytes wherever a package has a place.
"""

import bz2
import gzip
import io
import itertools
import json
import lzma
import marshal
import pickle
import struct
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np

TOUCH = "touch canary"
WRITE = "open('canary', 'w').close()"


@dataclass(frozen=True)
class Case:
    """One malicious file: its name, its bytes, and which loader it is made for."""

    name: str
    data: bytes
    loader: str = "pickle"  # pickle, joblib, npy, torch or skops


# ── callables, called by REDUCE ──


class Call:
    """What unpickling turns into a call of a function that is named and not imported here."""

    def __init__(self, name, *arguments):
        self.name, self.arguments = name, arguments

    def __reduce__(self):
        return Name(self.name), self.arguments


class Name:
    """A global of a pickle, such as `os.system`, written without importing it."""

    def __init__(self, name):
        self.name = name


class Pickler(pickle._Pickler):  # the one written in Python can be told how to write a name
    """A pickler that writes what `Name` says, though no such object is here."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012 -- as pickle has it

    def save_name(self, wanted):
        module, _, name = wanted.name.rpartition(".")
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())

    dispatch[Name] = save_name

    def save_call(self, wanted):
        self.save(Name(wanted.name) if isinstance(wanted.name, str) else wanted.name)
        self.save(wanted.arguments)
        self.write(pickle.REDUCE)

    dispatch[Call] = save_call


def dumps(wanted, protocol=4):
    made = io.BytesIO()
    Pickler(made, protocol).dump(wanted)
    return made.getvalue()


def method(thing, name, *arguments):
    """Call a method of what unpickling has made."""
    return Call(Call("builtins.getattr", thing, name), *arguments)


PATH = Call("pathlib.Path", "canary")
MARK = compile("open('canary', 'w').close()", "mark", "exec")
INNER = dumps(Call("os.system", TOUCH))
CALLS = {
    "os-system": Call("os.system", TOUCH),
    "posix-system": Call("posix.system", TOUCH),
    "os-popen": method(Call("os.popen", TOUCH), "read"),
    "os-mkdir": Call("os.mkdir", "canary"),
    "os-open": Call("os.open", "canary", 0o101),
    "os-rename": Call("os.rename", "precious", "canary"),
    "os-symlink": Call("os.symlink", "precious", "canary"),
    "os-spawn": Call("os.spawnlp", 0, "touch", "touch", "canary"),
    "os-execlp": Call("os.execlp", "touch", "touch", "canary"),
    "posix-spawn": Call("os.waitpid", Call("os.posix_spawn", "/usr/bin/touch", ["touch", "canary"], {}), 0),
    "subprocess-call": Call("subprocess.call", ["touch", "canary"]),
    "subprocess-run": Call("subprocess.run", ["touch", "canary"]),
    "subprocess-popen": method(Call("subprocess.Popen", ["touch", "canary"]), "wait"),
    "subprocess-output": Call("subprocess.check_output", ["touch", "canary"]),
    "subprocess-getoutput": Call("subprocess.getoutput", TOUCH),
    "eval": Call("builtins.eval", WRITE),
    "exec": Call("builtins.exec", WRITE),
    "open": Call("builtins.open", "canary", "w"),
    "io-open": Call("_io.open", "canary", "w"),
    "io-file": Call("_io.FileIO", "canary", "w"),
    "compile": Call("builtins.exec", Call("builtins.compile", WRITE, "mark", "exec")),
    "import": Call("builtins.__import__", "mark"),
    "import-module": Call("importlib.import_module", "mark"),
    "a-name-is-an-import": Name("mark.anything"),
    "find-and-load": Call("importlib._bootstrap._find_and_load", "mark", Name("builtins.__import__")),
    "ctypes": method(Call("ctypes.CDLL", None), "system", TOUCH.encode()),
    "ctypes-attribute": Call(Call("builtins.getattr", Call("ctypes.PyDLL", None), "system"), TOUCH.encode()),
    "socket": method(Call("socket.socket", 1), "bind", "canary"),
    "socket-server": Call("socketserver.UnixStreamServer", "canary", Name("socketserver.BaseRequestHandler")),
    "rmtree": Call("shutil.rmtree", "folder"),
    "copyfile": Call("shutil.copyfile", "precious", "canary"),
    "move": Call("shutil.move", "precious", "canary"),
    "path-write": method(PATH, "write_text", "x"),
    "path-touch": method(PATH, "touch"),
    "urlretrieve": Call("urllib.request.urlretrieve", "data:,x", "canary"),
    "webbrowser": method(Call("webbrowser.GenericBrowser", ["touch", "canary"]), "open", "x"),
    "pty-spawn": Call("pty.spawn", ["touch", "canary"]),
    "run-path": Call("runpy.run_path", "mark.py"),
    "run-module": Call("runpy.run_module", "mark"),
    "pip": Call("pip.main", ["--log", "canary", "--disable-pip-version-check", "config", "list"]),
    "timeit": Call("timeit.timeit", WRITE, "pass", Name("time.perf_counter"), 1),
    "interpreter": method(Call("code.InteractiveInterpreter"), "runsource", WRITE),
    "interpreter-code": method(
        Call("code.InteractiveInterpreter"), "runcode", Call("marshal.loads", marshal.dumps(MARK))
    ),
    "profile": Call("cProfile.run", WRITE),
    "debugger": method(Call("bdb.Bdb"), "run", WRITE),
    "trace": method(Call("trace.Trace"), "run", WRITE),
    "methodcaller": Call(Call("operator.methodcaller", "write_text", "x"), PATH),
    "attrgetter": Call(Call(Call("operator.attrgetter", "system"), Call("builtins.__import__", "os")), TOUCH),
    "itemgetter": Call(Call(Call("operator.itemgetter", "eval"), Name("builtins.__dict__")), WRITE),
    "partial": Call(Call("functools.partial", Name("os.system"), TOUCH)),
    "reduce-chain": Call(
        Call("functools.reduce", Name("builtins.getattr"), ["os", "system"], Call("builtins.__import__", "shutil")),
        TOUCH,
    ),
    "map": Call("builtins.list", Call("builtins.map", Name("os.system"), [TOUCH])),
    "filter": Call("builtins.list", Call("builtins.filter", Name("os.system"), [TOUCH])),
    "starmap": Call("builtins.tuple", Call("itertools.starmap", Name("os.system"), [(TOUCH,)])),
    "function-of-code": Call(Call("types.FunctionType", Call("marshal.loads", marshal.dumps(MARK)), {})),
    "getattr-chain": Call(
        Call("builtins.getattr", Call("builtins.getattr", Call("builtins.__import__", "shutil"), "os"), "system"), TOUCH
    ),
    "defaultdict": method(
        Call("collections.defaultdict", Call("functools.partial", Name("os.system"), TOUCH)), "__missing__", 1
    ),
    "logging": Call("logging.FileHandler", "canary"),
    "zipfile": method(Call("zipfile.ZipFile", "canary", "w"), "close"),
    "tarfile": method(Call("tarfile.open", "canary", "w"), "close"),
    "dbm": Call("dbm.dumb.open", "canary", "c"),
    "tempfile": Call("tempfile.mkdtemp", "", "canary", "."),
    "thread": method(Call("threading.Timer", 0, Name("os.system"), [TOUCH]), "run"),
    "pool": method(
        method(Call("concurrent.futures.thread.ThreadPoolExecutor", 1), "submit", Name("os.system"), TOUCH), "result"
    ),
    "doctest": Call("doctest.debug_script", f"{WRITE}; raise SystemExit", True),
    "pickle-in-a-pickle": Call("pickle.loads", INNER),
    "c-pickle-in-a-pickle": Call("_pickle.loads", dumps(Call("_pickle.loads", INNER))),
    "joblib-in-a-pickle": Call("joblib.load", "inner.pkl"),
    "pandas-read-pickle": Call("pandas.read_pickle", "inner.pkl"),
    "numpy-load": Call("numpy.load", "inner.npy", None, True),
    "numpy-savetxt": Call("numpy.savetxt", "canary", [1]),
    "numpy-memmap": Call("numpy.memmap", "canary", "uint8", "w+", 0, (1,)),
    "numpy-runstring": Call("numpy.testing._private.utils.runstring", WRITE, {}),
    "scipy-savemat": Call("scipy.io.savemat", "canary", {"x": [1]}),
    "sklearn-dump": Call("sklearn.datasets.dump_svmlight_file", [[1.0]], [1.0], "canary"),
    "joblib-dump": Call("joblib.dump", 1, "canary"),
    "cloudpickle": Call("cloudpickle.loads", INNER),
    "ipython": Call("IPython.utils.process.system", TOUCH),
}


# ── opcodes: the same harm by each that can call, in every protocol ──


def text(value):
    return pickle.SHORT_BINUNICODE + bytes([len(value)]) + value.encode()


OS = b"cos\nsystem\n"
ARGUMENT = b"X" + struct.pack("<I", len(TOUCH)) + TOUCH.encode()
TUPLE = ARGUMENT + b"\x85"
PARTIAL = b"cfunctools\npartial\n"
HOOKED = b"cmark_when_built\nHooked\n"  # a class of a module that lies beside the control
OPCODES = {
    "global-reduce": OS + b"(" + b"S'touch canary'\n" + b"tR.",
    "inst": b"(S'touch canary'\nios\nsystem\n.",
    "obj": b"(" + OS + ARGUMENT + b"o.",
    "stack-global": b"\x80\x04" + text("os") + text("system") + b"\x93" + TUPLE + b"R.",
    "stack-global-from-memo": b"\x80\x04" + text("system") + b"\x94" + text("os") + b"h\x00\x93" + TUPLE + b"R.",
    "newobj-of-a-class": b"\x80\x02" + HOOKED + b")\x81.",
    "newobj-ex": b"\x80\x04" + HOOKED + b")}\x92.",
    "build-setstate": b"\x80\x02" + b"cmark_when_built\nStateful\n" + b")\x81" + b"}b.",
    "build-partial-then-call": b"\x80\x02" + PARTIAL + b"cbuiltins\nprint\n\x85R(" + OS + TUPLE + b"}}tb)R.",
    "build-of-a-dict": b"\x80\x02cmark_when_built\nPlain\n)\x81}X\x05\x00\x00\x00marksK\x01sb0" + OS + TUPLE + b"R.",
    "append-calls": b"\x80\x02" + b"cmark_when_built\nAppending\n)\x81K\x01a.",
    "appends-calls": b"\x80\x02" + b"cmark_when_built\nAppending\n)\x81(K\x01K\x02e.",
    "setitem-calls": b"\x80\x02" + b"cmark_when_built\nSetting\n)\x81K\x01K\x02s.",
    "setitems-calls": b"\x80\x02" + b"cmark_when_built\nSetting\n)\x81(K\x01K\x02u.",
    "additems-calls": b"\x80\x04" + b"cmark_when_built\nAdding\n)\x81(K\x01\x90.",
    "ext1": b"\x80\x02\x82\xf0" + TUPLE + b"R.",
    "ext2": b"\x80\x02\x83\xf0\x00" + TUPLE + b"R.",
    "ext4": b"\x80\x02\x84\xf0\x00\x00\x00" + TUPLE + b"R.",
    "persid": b"Ptouch canary\n.",
    "binpersid": b"\x80\x02" + ARGUMENT + b"Q.",
    "memo-swapped": b"\x80\x04" + text("os") + b"\x94" + text("system") + b"\x940" + b"0h\x00h\x01\x93" + TUPLE + b"R.",
    "memo-put-over": b"\x80\x04"
    + text("math")
    + b"q\x050"
    + text("os")
    + b"q\x050h\x05"
    + text("system")
    + b"\x93"
    + TUPLE
    + b"R.",
    "pop-mark": b"\x80\x04(K\x01K\x021" + OS + TUPLE + b"R.",
    "dup": b"\x80\x04" + OS + TUPLE + b"2" + b"0R.",
    "frames-that-lie": b"\x80\x04\x95\x02\x00\x00\x00\x00\x00\x00\x00N0" + OS + TUPLE + b"R.",
    "after-a-good-look": b"\x80\x04}" + b"0" + OS + TUPLE + b"R0}.",
    "harm-and-then-nonsense": OS + TUPLE + b"R\xff\xff",
    "name-by-inst-of-protocol-0": b'(S\'open("canary","w")\'\nibuiltins\neval\n.',
    "unicode-name": b"\x80\x04" + b"\x8d" + struct.pack("<Q", 2) + b"os" + b"\x8c\x06system\x93" + TUPLE + b"R.",
    "name-of-python-2": b'c__builtin__\neval\n(S\'open("canary","w")\'\ntR.',
    "dotted-stack-global": b"\x80\x04" + text("shutil") + text("os.system") + b"\x93" + TUPLE + b"R.",
}


def by_protocol():
    for protocol in range(6):
        yield Case(f"protocol-{protocol}", dumps(Call("os.system", TOUCH), protocol))


# ── containers: a pickle in other clothes ──


def object_array():
    made = io.BytesIO()
    head = {"descr": "|O", "fortran_order": False, "shape": (1,)}
    np.lib.format.write_array_header_1_0(made, head)
    return made.getvalue() + dumps([Call("os.system", TOUCH)], 2)


def object_archive():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("x.npy", object_array())
    return made.getvalue()


def like_torch():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", dumps(Call("os.system", TOUCH), 2))
        archive.writestr("archive/version", "3\n")
    return made.getvalue()


def joblib_array():
    """Write what joblib writes for an array of objects: a wrapper, and then a pickle that its state loads."""
    import joblib

    made = io.BytesIO()
    joblib.dump({"weights": np.array([0, 1]), "then": 1}, made)
    plain = made.getvalue()
    return plain[:-1] + b"0" + OS + TUPLE + b"R."


CONTAINERS = (
    Case("joblib-plain", INNER, "joblib"),
    Case("joblib-zlib", zlib.compress(INNER), "joblib"),
    Case("joblib-gzip", gzip.compress(INNER, mtime=0), "joblib"),
    Case("joblib-bz2", bz2.compress(INNER), "joblib"),
    Case("joblib-xz", lzma.compress(INNER), "joblib"),
    Case("joblib-lzma", lzma.compress(INNER, format=lzma.FORMAT_ALONE), "joblib"),
    Case("joblib-after-an-array", joblib_array(), "joblib"),
    Case("numpy-objects", object_array(), "npy"),
    Case("numpy-archive", object_archive(), "npy"),
    Case("like-torch", like_torch(), "torch"),
)


IDS = itertools.count(1)


# ── skops files: no pickle, and still names of what runs ──


def node(loader, module, name, **more):
    return {"__id__": next(IDS), "__loader__": loader, "__module__": module, "__class__": name, **more}


def value(of):
    return node("JsonNode", "builtins", type(of).__name__, content=json.dumps(of), is_json=True)


def listed(kind, *parts):
    return node(f"{kind.title()}Node", "builtins", kind, content=list(parts))


def keyed(**entries):
    keys = listed("list", *[node("TypeNode", "builtins", "str") for _ in entries])
    return node("DictNode", "builtins", "dict", content=entries, key_types=keys)


def skops_file(root, compression=zipfile.ZIP_STORED):
    document = {**root, "protocol": 2, "_skops_version": "0.16.0"}
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        archive.writestr("schema.json", json.dumps(document))
    return made.getvalue()


def transformer(func):
    """Write a scikit-learn FunctionTransformer whose function is the hostile one."""
    state = keyed(func=func, inverse_func=value(None), validate=value(False), accept_sparse=value(False),
                  check_inverse=value(False), feature_names_out=value(None), kw_args=value(None), inv_kw_args=value(None))  # fmt: skip
    return node("ObjectNode", "sklearn.preprocessing._function_transformer", "FunctionTransformer", content=state)


def partial_of(func, *arguments):
    content = {"func": func, "args": listed("tuple", *arguments), "kwds": keyed(), "namespace": keyed()}
    return node("PartialNode", "functools", "partial", content=content)


def caller(name, *arguments):
    return node(
        "OperatorFuncNode", "operator", "methodcaller", attrs=listed("tuple", value(name), *map(value, arguments))
    )


SKOPS = {
    "function-os-system": transformer(node("FunctionNode", "os", "system")),
    "function-eval": transformer(node("FunctionNode", "builtins", "eval")),
    "type-os-system": transformer(node("TypeNode", "os", "system")),
    "type-subprocess": transformer(node("TypeNode", "subprocess", "Popen")),
    "import-by-type": node("TypeNode", "mark", "anything"),
    "import-by-function": node("FunctionNode", "mark", "anything"),
    "import-by-object": node("ObjectNode", "mark", "Anything", content=keyed()),
    "import-in-a-list": listed("list", value(1), node("TypeNode", "mark", "anything")),
    "partial-os-system": transformer(partial_of(node("FunctionNode", "os", "system"))),
    "methodcaller": transformer(caller("write_text", "x")),
    "constructed-eval": node("ConstructorFromReduceNode", "builtins", "eval", content=listed("tuple", value(WRITE))),
    "setstate": node("ObjectNode", "mark_when_built", "Stateful", content=keyed(x=value(1))),
}


def corpus():
    """Give every malicious file."""
    yield from (Case(name, dumps(wanted)) for name, wanted in CALLS.items())
    yield from (Case(f"opcode-{name}", data) for name, data in OPCODES.items())
    yield from by_protocol()
    yield from CONTAINERS
    yield from (Case(f"skops-{name}", skops_file(root), "skops") for name, root in SKOPS.items())


EVERY = tuple(corpus())
