"""Unpack wheels into a folder, the same bytes each time: `install.py WHEELS REQUIREMENTS SITE`, or `install.py --compile SITE`.

It runs by the Python of the base image, with nothing but its standard library: no installer is needed, and no network.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import marshal
import os
import py_compile
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

EPOCH = 315532800  # 1980-01-01, where none is told
# What no service imports: tests, stubs, sources and headers of what is compiled.
UNUSED_FOLDERS = {"tests", "test"}
READS_STUB = b"attach_stub("  # lazy_loader takes from a stub what a package has
IMPORTED_TESTS = re.compile(
    rb"^[ \t]*from[ \t]+([\w.]+\.tests?(?:\.\w+)*)[ \t]+import|^[ \t]*import[ \t]+([\w.]+\.tests?(?:\.\w+)*)",
    re.MULTILINE,
)
# Of what is large: tools for making, testing and shipping models, and a second copy of the engine for programs in C.
UNUSED_PARTS = (
    *("numpy/core/_simd.", "numpy/distutils/", "numpy/f2py/", "sklearn/datasets/data/", "sklearn/datasets/images/"),
    *("pandas/conftest.", "pydantic/mypy.", "bentoml/testing/", "xgboost/dask/", "xgboost/spark/", "xgboost/testing/"),
    *("ekiben/containers/", "ekiben/deploying/"),
    *("onnxruntime/backend/", "onnxruntime/capi/libonnxruntime.so"),
    *("onnxruntime/datasets/", "onnxruntime/quantization/", "onnxruntime/tools/", "onnxruntime/transformers/"),
)
UNUSED_SUFFIXES = (".pyi", ".pyx", ".pxd", ".pxi", ".tp", ".h", ".hpp", ".c", ".cpp", ".a", ".f90", ".lib", ".pyc")
# Of what colours the source of other languages, the part that colours Python's.
COLOURS, KEPT_COLOURS = "pygments/lexers/", ("__init__.py", "_mapping.py", "python.py", "special.py")
# Libraries whose documentation strings a person reads, and no service: they are compiled with empty ones.
UNDOCUMENTED = (
    *("numpy", "pandas", "scipy", "sklearn", "xgboost", "onnxruntime", "narwhals", "joblib", "skops", "tornado"),
    *("opentelemetry", "rich", "fsspec", "pyparsing", "jinja2", "anyio", "zmq", "aiohttp", "dateutil", "psutil"),
)
COMPILE = "--compile"
UNCHECKED = 1  # the flag of compiled code that is never compared with its source
ELF = b"\x7fELF\x02\x01"  # of 64 bits, the low byte first
LINE = re.compile(r"^(?P<file>\S+\.whl)\s+--hash=sha256:(?P<digest>[0-9a-f]{64})$")


def main(wheels: str, requirements: str, site: str) -> None:
    """Install every wheel that the requirements name, each of the bytes that they say."""
    into = Path(site)
    into.mkdir(parents=True, exist_ok=True)
    for file, digest in wanted(Path(requirements).read_text()):
        unpack(Path(wheels) / file, digest, into)
    # A process of its own, since columns of lines are left out of what is compiled for a whole process.
    subprocess.run([sys.executable, "-X", "no_debug_ranges", __file__, COMPILE, site], check=True)
    make_even(into)


def wanted(text: str) -> Iterator[tuple[str, str]]:
    """Read `file --hash=sha256:…` from each line that is no comment."""
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            found = LINE.match(line.strip())
            if found is None:
                raise SystemExit(f"A line must be 'name.whl --hash=sha256:<digest>'. Got {line!r}.")
            yield found["file"], found["digest"]


def unpack(wheel: Path, digest: str, site: Path) -> None:
    """Unpack one wheel, if it has the bytes that it must have."""
    data = wheel.read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise SystemExit(f"{wheel.name} must have the SHA-256 {digest[:12]}…. It has another: get the wheels again.")
    with zipfile.ZipFile(wheel) as packed:
        kept = asked_for(packed)
        for name in packed.namelist():
            place = name if name in kept else _place(name)
            if place is None:
                continue
            target = (site / place).resolve()
            if not target.is_relative_to(site.resolve()):
                raise SystemExit(f"{wheel.name} must stay below its folder. It holds {name!r}.")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(shed(packed.read(name)))


def _place(name: str) -> str | None:
    """Say where a file of a wheel belongs; None for what no service needs."""
    if name.endswith("/") or not is_used(name):
        return None
    top, _, rest = name.partition("/")
    if not top.endswith(".data"):
        return name
    scheme, _, inner = rest.partition("/")
    return inner if scheme in ("purelib", "platlib") else None


def asked_for(packed: zipfile.ZipFile) -> set[str]:
    """Name what else a wheel's own modules ask for: of tests what they import by its whole name, and stubs that they read."""
    names = set(packed.namelist())
    if all(is_used(name) for name in names if name.endswith((".py", ".pyi"))):
        return set()
    found = set[str]()
    for name in names:
        if name.endswith(".py") and is_used(name):
            source = packed.read(name)
            found |= {f"{name}i"} if READS_STUB in source else set()
            for one, other in IMPORTED_TESTS.findall(source):
                parts = (one or other).decode().split(".")
                found |= {"/".join([*parts[:n], "__init__.py"]) for n in range(1, len(parts) + 1)}
                found.add("/".join(parts) + ".py")
    return found & names


def is_used(name: str) -> bool:
    """Tell whether a service may need a file of a wheel.

    >>> is_used("numpy/core/tests/test_api.py"), is_used("numpy/core/_methods.py"), is_used("x-1.dist-info/METADATA")
    (False, True, True)
    """
    parts = name.split("/")
    if parts[0].endswith(".dist-info"):
        return True
    if name.startswith(COLOURS):
        return parts[-1] in KEPT_COLOURS
    return not (UNUSED_FOLDERS & set(parts[1:-1]) or name.endswith(UNUSED_SUFFIXES) or name.startswith(UNUSED_PARTS))


def shed(data: bytes) -> bytes:
    """Cut what follows the segments of a compiled library: the names and lines that a debugger asks for, and nobody else.

    >>> shed(b"text")
    b'text'
    """
    if not data.startswith(ELF):
        return data
    (begins,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    end = begins + size * count
    for i in range(count):
        offset, n_bytes = (struct.unpack_from("<Q", data, begins + i * size + at)[0] for at in (8, 32))
        end = max(end, offset + n_bytes)
    head = bytearray(data[:end])
    struct.pack_into("<Q", head, 40, 0)  # where the sections are listed, how many there are, and which has their names
    struct.pack_into("<HH", head, 60, 0, 0)
    return bytes(head)


def compile_all(site: Path) -> None:
    """Compile every module once, so that a container with a read-only root need not each time it starts."""
    files = sorted(str(path) for path in site.rglob("*.py"))
    with ProcessPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(_compile, files, [str(site)] * len(files), chunksize=64))


def _compile(file: str, site: str) -> None:
    inner = Path(file).relative_to(site)
    shown = f"/app/site/{inner}"
    if inner.parts[0] in UNDOCUMENTED:
        _compile_undocumented(Path(file), shown)
        return
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    try:
        py_compile.compile(file, dfile=shown, doraise=True, invalidation_mode=mode)
    except py_compile.PyCompileError:
        return  # a template, or for another Python: nothing that is imported here


def _compile_undocumented(file: Path, shown: str) -> None:
    source = file.read_bytes()
    try:
        code = compile(undocumented(source), shown, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return  # a template, as above
    target = Path(importlib.util.cache_from_source(str(file)))
    target.parent.mkdir(exist_ok=True)
    head = importlib.util.MAGIC_NUMBER + UNCHECKED.to_bytes(4, "little") + importlib.util.source_hash(source)
    target.write_bytes(head + marshal.dumps(code))


def undocumented(source: bytes) -> ast.Module:
    """Read a module with empty documentation strings; the lines stay where they are, and the source as it is.

    >>> found = {}
    >>> exec(compile(undocumented(b"'Words.'; told = __doc__"), "module.py", "exec"), found)
    >>> found["told"]
    ''
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                first.value.value = "" if isinstance(first.value.value, str) else first.value.value
    return tree


def make_even(root: Path) -> None:
    """Give every file below a folder one time and one of two modes."""
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or EPOCH)
    for path in sorted(root.rglob("*"), reverse=True):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    os.utime(root, (epoch, epoch))


if __name__ == "__main__":
    if sys.argv[1] == COMPILE:
        compile_all(Path(sys.argv[2]))
    else:
        main(*sys.argv[1:])
