"""Take a local file along with the local files that it imports, its imports of them made relative."""

from __future__ import annotations

import ast
import importlib.util
import linecache
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from ekiben.distributions import CODE
from ekiben.slicing import homes, sources
from ekiben.slicing.texts import Parts, Spans, put

RESERVED = {"notebook", "kept"}
PLAIN = (bool, int, float, complex, str, bytes)  # what nobody changes in its place


@dataclass(slots=True)
class LocalFiles:
    """The local files that travel, the libraries that they import, and what stands in the way."""

    files: dict[str, bytes] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def add(self, module: str) -> None:
        """Take along a module with its packages and all local files that it imports."""
        parent = module.rpartition(".")[0]
        if parent and not (parent.startswith(CODE) and "." not in parent):
            self.add(parent)
        if module not in self.seen:
            self.seen.add(module)
            self._read(module)

    def _read(self, module: str) -> None:
        path = _file(module)
        name = homes.logical(module)
        if name in RESERVED:
            self.faults.append(f"`{name}.py` has a name that the code of a package needs itself. Rename the file.")
        elif path is None:
            self.files[f"{name.replace('.', '/')}/__init__.py"] = b""
        else:
            suffix = "/__init__.py" if path.name == "__init__.py" else ".py"
            rewriting = _Rewriting(self, module, path)
            self.files[name.replace(".", "/") + suffix] = rewriting.text().encode()
            self.faults += [
                f"`{changed}` is not what its file says now. Import the file again, and fit again."
                for changed in _changed(sys.modules.get(module), rewriting.source)
            ]


def _changed(module: ModuleType | None, source: str) -> Iterator[str]:
    """Name what a module holds otherwise than its file says now: functions, methods, and plain values that are set once."""
    for name, thing in list(vars(module).items()) if module else ():
        if isinstance(thing, type) and thing.__module__ == module.__name__:  # type: ignore[union-attr]
            held = [(f"{thing.__qualname__}.{method}", function) for method, function in homes.functions(thing)]
        else:
            held = [(name, homes.unwrapped(thing))] if callable(thing) else []
        for told, function in held:
            code = getattr(function, "__code__", None)
            if isinstance(code, CodeType) and code.co_filename == module.__file__ and not sources.says(source, code):  # type: ignore[union-attr]
                yield told
    yield from _changed_values(module, source)


def _changed_values(module: ModuleType | None, source: str) -> Iterator[str]:
    tree = sources.tree_of(source)
    if module is None or tree is None:
        return
    stored = Counter(name for node in ast.walk(tree) for name in _bound(node))
    for name, expression in sources.assigned(tree):
        told, live = sources.literal(expression), vars(module).get(name, sources.MISSING)
        if (
            stored[name] == 1
            and isinstance(told, PLAIN)
            and live is not sources.MISSING
            and not sources.same(told, live)
        ):
            yield name


def _bound(node: ast.AST) -> Iterator[str]:
    """Give the name that a node binds: by setting it, by a definition, or by an import."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.alias):
        yield node.asname or node.name.partition(".")[0]


class _Rewriting:
    """One file while its imports are made relative."""

    def __init__(self, found: LocalFiles, module: str, path: Path) -> None:
        self.found, self.module, self.path = found, module, path
        # the folder of a package's code may be gone, its text is not
        self.source = path.read_text(encoding="utf-8") if path.is_file() else "".join(linecache.getlines(str(path)))
        self.spans = Spans(self.source)
        package = path.name == "__init__.py"
        self.package = module if package else module.rpartition(".")[0]
        depth = homes.logical(module).count(".") + package
        self.dots = "." * (depth + 1)

    def text(self) -> str:
        places: dict[tuple[int, int], Parts] = {}
        for node in ast.walk(ast.parse(self.source)):
            if isinstance(node, ast.Import):
                places |= self._plain(node)
            elif isinstance(node, ast.ImportFrom):
                places |= self._from(node)
            else:
                self._refuse_dynamic(node)
        return "".join(str(part) for part in put(self.source, places))

    def _plain(self, node: ast.Import) -> dict[tuple[int, int], Parts]:
        local = [alias for alias in node.names if self._is_local(alias.name)]
        other = [alias for alias in node.names if alias not in local]
        self.found.imports |= {alias.name.partition(".")[0] for alias in other}
        if not local:
            return {}
        lines = [f"import {', '.join(map(_told, other))}"] if other else []
        return {self.spans.of(node): ("; ".join([*lines, *(self._relative(alias) for alias in local)]),)}

    def _relative(self, alias: ast.alias) -> str:
        self.found.add(alias.name)
        parent, _, last = alias.name.rpartition(".")
        if alias.asname or not parent:
            return f"from {self.dots}{parent} import {_told(ast.alias(last, alias.asname))}"
        top = alias.name.partition(".")[0]
        return f"from {self.dots}{parent} import {last} as _{last}; from {self.dots} import {top}"

    def _from(self, node: ast.ImportFrom) -> dict[tuple[int, int], Parts]:
        name = node.module or ""
        if node.level:
            self._follow(importlib.util.resolve_name("." * node.level + name, self.package), node)
            return {}
        if not self._is_local(name):
            self.found.imports.add(name.partition(".")[0])
            return {}
        self._follow(name, node)
        start, _ = self.spans.of(node)
        found = self.spans.bytes.index(name.encode(), start + len("from"))
        return {(found, found): (self.dots,)}

    def _follow(self, name: str, node: ast.ImportFrom) -> None:
        if any(alias.name == "*" for alias in node.names):
            self._refuse(node, f"imports * from `{name}`", "Name what it imports")
        if not (name.startswith(CODE) and "." not in name):
            self.found.add(name)
        for alias in node.names:
            if _file(f"{name}.{alias.name}") is not None:
                self.found.add(f"{name}.{alias.name}")

    def _is_local(self, name: str) -> bool:
        top = name.partition(".")[0]
        if top in sys.modules:
            return homes.of_module(top) == "local" or (top not in sys.stdlib_module_names and _is_space(top))
        if top in sys.stdlib_module_names:
            return False
        root = self.path.parents[homes.logical(self.module).count(".") + (self.path.name == "__init__.py")]
        return (root / f"{top}.py").is_file() or (root / top / "__init__.py").is_file()

    def _refuse_dynamic(self, node: ast.AST) -> None:
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if called == "__import__" or called.endswith("import_module"):
            self._refuse(node, f"imports by `{called}`", "Write a plain import")
        if isinstance(node, ast.Name) and node.id == "__file__":
            self._refuse(
                node, "reads `__file__`, beside which nothing else travels", "Pass what it reads as a parameter"
            )

    def _refuse(self, node: Any, fault: str, cure: str) -> None:
        self.found.faults.append(f"{self.path.name}:{node.lineno} {fault}. {cure}.")


def _told(alias: ast.alias) -> str:
    return alias.name + (f" as {alias.asname}" if alias.asname else "")


def _is_space(name: str) -> bool:
    """Tell whether a module is a local folder without `__init__.py`."""
    module = sys.modules.get(name)
    if not isinstance(module, ModuleType) or getattr(module, "__file__", None) is not None:
        return False
    folders = [str(folder) for folder in getattr(module, "__path__", ())]
    return bool(folders) and not any(homes.SITES & set(Path(folder).parts) for folder in folders)


def _file(module: str) -> Path | None:
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if file is not None:
        return Path(file) if str(file).endswith(".py") else None
    parent, _, last = module.rpartition(".")
    if loaded is None and not parent:
        return _beside(sys.path, last)
    return None if loaded is not None else _beside(getattr(sys.modules.get(parent), "__path__", ()), last)


def _beside(folders: Any, name: str) -> Path | None:
    tried = [Path(folder or ".") / tail for folder in folders for tail in (f"{name}.py", f"{name}/__init__.py")]
    return next((path for path in tried if path.is_file()), None)
