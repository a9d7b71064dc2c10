"""Unpack wheels into a folder, the same bytes each time: `install.py WHEELS REQUIREMENTS SITE`.

It runs by the Python of the base image, with nothing but its standard library: no installer is needed, and no network.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

EPOCH = 315532800  # 1980-01-01, where none is told
SITE = "/app/site"
# What no service imports: tests, stubs, sources and headers of what is compiled.
UNUSED_FOLDERS = {"tests", "test"}
READS_STUB = b"attach_stub("  # lazy_loader takes from a stub what a package has
IMPORTED_TESTS = re.compile(
    rb"^[ \t]*from[ \t]+([\w.]+\.tests?(?:\.\w+)*)[ \t]+import|^[ \t]*import[ \t]+([\w.]+\.tests?(?:\.\w+)*)",
    re.MULTILINE,
)
# Of what is large: tools for making, testing and shipping models, and a second copy of the engine for programs in C.
UNUSED_PARTS = (
    *("numpy/core/_simd.", "numpy/_core/_simd.", "numpy/distutils/", "numpy/f2py/"),
    *("sklearn/datasets/data/", "sklearn/datasets/images/"),
    *("pandas/conftest.", "pydantic/mypy.", "bentoml/testing/", "xgboost/dask/", "xgboost/spark/", "xgboost/testing/"),
    *("ekiben/containers/", "ekiben/deploying/"),
    *("onnxruntime/backend/", "onnxruntime/capi/libonnxruntime.so"),
    *("onnxruntime/datasets/", "onnxruntime/quantization/", "onnxruntime/tools/", "onnxruntime/transformers/"),
)
# What tests alone import of what is compiled.
COMPILED_TESTS = (
    *("numpy/core/_operand_flag_tests.", "numpy/core/_rational_tests.", "numpy/core/_struct_ufunc_tests."),
    *("numpy/_core/_multiarray_tests.", "numpy/_core/_operand_flag_tests.", "numpy/_core/_rational_tests."),
    *("numpy/_core/_struct_ufunc_tests.", "multidict/_testcapi.", "scipy/_lib/_test_", "scipy/integrate/_test_"),
    *("scipy/ndimage/_ctest.", "scipy/ndimage/_cytest.", "scipy/special/_test_internal."),
)
UNUSED_SUFFIXES = (
    ".pyi",
    ".pyx",
    ".pxd",
    ".pxi",
    ".tp",
    ".h",
    ".hpp",
    ".c",
    ".cpp",
    ".a",
    ".f90",
    ".lib",
    ".pyc",
    ".build",
)
# Of what colours the source of other languages, the part that colours Python's.
COLOURS, KEPT_COLOURS = "pygments/lexers/", ("__init__.py", "_mapping.py", "python.py", "special.py")
# Libraries whose documentation and comments a person reads, and no program does as circus reads that of its commands.
UNDOCUMENTED = (
    *("numpy", "pandas", "scipy", "sklearn", "xgboost", "onnxruntime", "narwhals", "joblib", "skops", "tornado"),
    *("opentelemetry", "rich", "fsspec", "pyparsing", "jinja2", "anyio", "zmq", "aiohttp", "dateutil", "psutil"),
    *("pydantic", "packaging", "pygments", "httpx", "httpcore", "starlette", "uvicorn", "attr", "cattrs", "pytz"),
    *("click", "ekiben", "markdown_it", "pathspec", "pydantic_core", "wrapt"),
)
ELF = b"\x7fELF\x02\x01"  # of 64 bits, the low byte first
ELF_HEAD = 64  # bytes that say where the segments are
LOADED = (b"\x02\0", b"\x03\0")  # a program and a library have segments; what is still to be linked has none
LINE = re.compile(r"^(?P<file>\S+\.whl)\s+--hash=sha256:(?P<digest>[0-9a-f]{64})$")


def main(wheels: str, requirements: str, site: str) -> None:
    """Install every wheel that the requirements name, each of the bytes that they say."""
    into = Path(site)
    into.mkdir(parents=True, exist_ok=True)
    for file, digest in wanted(Path(requirements).read_text()):
        unpack(Path(wheels) / file, digest, into)
    precompile(into, SITE, UNDOCUMENTED)
    tell_what_is_in(into)
    make_even(into)


def precompile(folder: Path, shown: str, undocumented: Iterable[str]) -> None:
    """Compile what is below a folder, in a process of its own: columns of lines are left out of what a whole process compiles."""
    program = str(Path(__file__).with_name("precompile.py"))
    command = [sys.executable, "-X", "no_debug_ranges", program, str(folder), shown, ",".join(undocumented)]
    subprocess.run(command, check=True)


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
    left = name.endswith(UNUSED_SUFFIXES) or name.startswith((*UNUSED_PARTS, *COMPILED_TESTS))
    return not (left or UNUSED_FOLDERS & set(parts[1:-1]))


def shed(data: bytes) -> bytes:
    """Cut what follows the segments of a compiled library: the names and lines that a debugger asks for, and nobody else.

    >>> shed(b"text")
    b'text'
    """
    if not data.startswith(ELF) or len(data) < ELF_HEAD or data[16:18] not in LOADED:
        return data
    (begins,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    end = begins + size * count
    if not ELF_HEAD <= end <= len(data):
        return data  # cut short by somebody: no library, and not ours to cut
    for i in range(count):
        offset, n_bytes = (struct.unpack_from("<Q", data, begins + i * size + at)[0] for at in (8, 32))
        end = max(end, offset + n_bytes)
    head = bytearray(data[:end])
    struct.pack_into("<Q", head, 40, 0)  # where the sections are listed, how many there are, and which has their names
    struct.pack_into("<HH", head, 60, 0, 0)
    return bytes(head)


def tell_what_is_in(site: Path) -> None:
    """Let each RECORD name what was installed, and its digest: some files were left out, others shortened."""
    for record in sorted(site.glob("*.dist-info/RECORD")):
        told = io.StringIO()
        written = csv.writer(told, lineterminator="\n")
        for name, digest, *_ in csv.reader(record.read_text().splitlines()):
            path = site / (_place(name) or name)
            if digest and path.is_file():
                data = path.read_bytes()
                sha256 = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                written.writerow([path.relative_to(site).as_posix(), f"sha256={sha256}", len(data)])
        written.writerow([record.relative_to(site).as_posix(), "", ""])
        record.write_text(told.getvalue())


def make_even(root: Path) -> None:
    """Give every file below a folder one time and one of two modes."""
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or EPOCH)
    for path in sorted(root.rglob("*"), reverse=True):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    os.utime(root, (epoch, epoch))


if __name__ == "__main__":
    main(*sys.argv[1:])
