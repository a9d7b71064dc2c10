"""Gather what definitions need, and write the module that holds them all."""

from __future__ import annotations

import builtins
import keyword
import sys
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

from ekiben.slicing import definitions, homes, kept, sources
from ekiben.slicing.definitions import Key
from ekiben.slicing.finding import patches, readable
from ekiben.slicing.local import LocalFiles
from ekiben.slicing.texts import Parts, Ref, refs
from ekiben.slicing.values import CannotTravel, is_callable_by_name, parts_of

HEADER = '"""The code of the notebook that the model uses, as it was when the model was packed."""\n'


@dataclass(slots=True)
class Item:
    """Something that the module holds under a name: an import, a value or a definition."""

    key: Key
    wish: str
    parts: Parts = ()
    imports: tuple[str, str | None] | None = None
    hard: tuple[Key, ...] = ()
    soft: tuple[Key, ...] = ()
    where: str | None = None
    thing: Any = None


@dataclass(slots=True)
class Gathered:
    """Everything that travels, found from the definitions that a model uses."""

    items: dict[Key, Item] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    local: LocalFiles = field(default_factory=LocalFiles)
    faults: list[str] = field(default_factory=list)
    dotted: dict[int, tuple[Key | str, str]] = field(default_factory=dict)  # what is reached inside another thing
    modules: set[str] = field(default_factory=set)
    future: bool = False
    alive: list[Any] = field(default_factory=list)  # so that no id is used twice
    fixed: list[tuple[Key, str, str]] = field(default_factory=list)  # names that the text holds where none can be put
    hint: str = "answer"

    def root(self, thing: Any, path: str) -> None:
        """Take along what a model holds."""
        self.hint = readable(path)
        try:
            self.refer(thing)
        except CannotTravel as what:
            self.faults.append(f"`{path}` is {what}, which cannot travel.")

    def fix(self, key: Key, name: str, owner: str) -> None:
        """Note that a name cannot be replaced in the text."""
        self.fixed.append((key, name, owner))

    def refuse(self, fault: str) -> None:
        """Note a fault."""
        self.faults.append(fault)

    # ── names and values ──

    def slot(self, key: Key, value: Any, owner: str) -> Ref:
        """Give the reference to a name's live value."""
        if key not in self.items:
            item = self.items[key] = Item(key=key, wish=str(key[2]), thing=value)
            self.alive.append(value)
            parts = self._written(value, item.wish, owner, f"uses `{item.wish}`, ")
            self._fill(item, parts)
        return Ref(key)

    def constant(self, label: str, value: Any, owner: str) -> Ref | None:
        """Give the reference to a value that has no name of its own; None where it is a name already."""
        key = ("constant", id(value), label)
        parts = self.expression(value, label, owner)
        if len(parts) == 1 and isinstance(parts[0], Ref):
            return None
        self.items[key] = Item(key=key, wish=label, thing=value, parts=parts, hard=tuple(refs(parts)))
        self.alive.append(value)
        return Ref(key)

    def expression(self, value: Any, label: str, owner: str) -> Parts:
        """Write a value."""
        return self._written(value, label, owner, f"holds {label.rpartition('_')[2]!r}, ")

    def _written(self, value: Any, label: str, owner: str, how: str) -> Parts:
        try:
            return parts_of(value, label, self)
        except CannotTravel as what:
            cure = "Open it inside the method, or pass what it reads as a parameter."
            self.faults.append(f"{owner} {how}{what}, which cannot travel. {cure}")
            return ("None",)

    def _fill(self, item: Item, parts: Parts) -> None:
        first = parts[0] if len(parts) == 1 else None
        target = self.items[first.key].imports if isinstance(first, Ref) else None
        if target is not None:
            item.imports = target
        else:
            item.parts, item.hard = parts, tuple(refs(parts))

    def keep(self, label: str, ending: str, written: bytes) -> str:
        """Put a file beside the code, and give its name."""
        n, name = 1, f"{label}.{ending}"
        while self.files.get(f"kept/{name}", written) != written:
            n += 1
            name = f"{label}_{n}.{ending}"
        self.files[f"kept/{name}"] = written
        return name

    # ── what has a name ──

    def refer(self, value: Any) -> Parts | None:
        """Name a module, a class or a function; None for another value."""
        if isinstance(value, ModuleType):
            return self._module(value)
        if isinstance(value, type | FunctionType) or self._wraps(value):
            return self._named(value)
        if is_callable_by_name(value):
            return self._public(value)
        return None

    def _wraps(self, value: Any) -> bool:
        inner = homes.unwrapped(value) if callable(value) else value
        return inner is not value and isinstance(inner, FunctionType) and homes.of(inner) != "installed"

    def _module(self, module: ModuleType) -> Parts:
        home = homes.of_module(module.__name__)
        if home == "notebook":
            raise CannotTravel(f"a module made by hand, {module.__name__!r}")
        if home == "installed":
            return self.imported(module.__name__)
        self.local.add(module.__name__)
        parent, _, last = homes.logical(module.__name__).rpartition(".")
        return self.imported(f".{parent}", last)

    def _public(self, value: Any) -> Parts | None:
        if isinstance(getattr(value, "__self__", None), object) and not isinstance(
            getattr(value, "__self__", None), ModuleType | type(None)
        ):
            return None  # a bound method of a builtin is written by what it is bound to
        place = homes.public(value)
        return None if place is None else self._reached(*place)

    def _reached(self, module: str, path: str) -> Parts:
        top, _, rest = path.partition(".")
        return (*self.imported(module, top), *((f".{rest}",) if rest else ()))

    def _named(self, value: Any) -> Parts:
        home = homes.of(value if not self._wraps(value) else homes.unwrapped(value))
        if home == "installed":
            return self._installed(value)
        if homes.named(value) and (home == "local" or "." in value.__qualname__):
            return self._inside(value, home)
        return (self._definition(value),)

    def _installed(self, value: Any) -> Parts:
        place = homes.public(value)
        if place is None:
            raise CannotTravel(f"`{value.__qualname__}` of {value.__module__}, which no import gives")
        if isinstance(value, type):
            for patch in patches(value):
                self.faults.append(f"`{patch}` of a library was changed in the notebook. Write a subclass.")
        return self._reached(*place)

    def _inside(self, value: Any, home: homes.Home) -> Parts:
        """Name what stands in a local file, or in another class of the notebook."""
        top, _, rest = value.__qualname__.partition(".")
        self.alive.append(value)
        if home == "local":
            self.local.add(value.__module__)
            place = homes.logical(value.__module__)
            self.dotted[id(value)] = (place, value.__qualname__)
            return self._reached(f".{place}", value.__qualname__)
        outer = self._definition(getattr(sys.modules[value.__module__], top))
        self.dotted[id(value)] = (outer.key, rest)
        return (outer, f".{rest}")

    def imported(self, module: str, name: str | None = None) -> Parts:
        """Name what a library holds."""
        if not module.startswith(".") and homes.of_module(module) != "installed":
            raise CannotTravel(f"`{name}` of {module}, which no import gives")
        key = ("import", module, name)
        if key not in self.items:
            self.items[key] = Item(key=key, wish=name or module.rpartition(".")[2], imports=(module, name))
        return (Ref(key),)

    def submodules(self, module: Any, path: list[str], owner: str) -> None:
        """See that the modules on a dotted path are imported, and that no library was changed on it."""
        held = module
        for name in path:
            held = getattr(held, name, None)
            if not isinstance(held, ModuleType):
                break
            if homes.of_module(held.__name__) == "installed":
                self.modules.add(held.__name__)
            else:
                self.local.add(held.__name__)
        ours = isinstance(held, FunctionType) and held.__globals__.get("__name__") == "__main__"
        if ours and homes.of_module(module.__name__) == "installed":
            dotted = ".".join([module.__name__, *path])
            self.faults.append(f"{owner} uses `{dotted}` of a library, which was changed in the notebook.")

    # ── definitions ──

    def _definition(self, thing: Any) -> Ref:
        key = ("definition", id(thing))
        if key not in self.items:
            shown = str(getattr(thing, "__name__", "answer"))
            wish = self._held_as(thing) if shown == "<lambda>" else shown
            item = self.items[key] = Item(key=key, wish=wish, thing=thing)
            self.alive.append(thing)
            self._read(item, thing)
        return Ref(key)

    def _held_as(self, function: FunctionType) -> str:
        """Name a lambda by the global that holds it, or else by its place in the model."""
        names = [name for name, value in function.__globals__.items() if value is function and name.isidentifier()]
        return next((name for name in names if not name.startswith("_")), self.hint)

    def _read(self, item: Item, thing: Any) -> None:
        made = isinstance(thing, type)
        plain = (
            thing if isinstance(thing, type | FunctionType) and definitions.is_plain(thing) else homes.unwrapped(thing)
        )
        source: Any = sources.of_class(thing) if made else sources.of_function(plain)  # type: ignore[arg-type]
        if source is None and made and issubclass(thing, tuple) and hasattr(thing, "_fields"):
            self._named_tuple(item, thing)
            return
        if source is None:
            shown = "A lambda" if plain.__name__ == "<lambda>" else f"`{plain.__qualname__}`"
            self.faults.append(
                f"{shown} has no source: it runs what no cell and no file says now. "
                "Run the cell that makes it again, and fit the model again."
            )
            return
        if len(getattr(thing, "registry", ())) > 1:
            self.faults.append(f"`{item.wish}` of {source.where} is a singledispatch function. Write an if instead.")
        read = (definitions.of_class if made else definitions.of_function)(thing, item.key, source, self)
        item.parts, item.hard, item.soft, item.where = read.parts, read.hard, read.soft, source.where
        self.future |= read.future
        self._no_patched_frame(read.attributes, item.wish)

    def _named_tuple(self, item: Item, made: Any) -> None:
        """Write what `collections.namedtuple` made, which has no body."""
        held = tuple(made._field_defaults.values())
        defaults = self.expression(held, f"{item.wish}_defaults", f"`{item.wish}`")
        known = self.imported("collections", "namedtuple")
        item.parts = (
            Ref(item.key),
            " = ",
            *known,
            "('",
            Ref(item.key),
            f"', {list(made._fields)!r}, defaults=",
            *defaults,
            ")\n",
        )
        item.hard = tuple(key for key in refs(item.parts) if key != item.key)

    def _no_patched_frame(self, used: frozenset[str], owner: str) -> None:
        pandas = sys.modules.get("pandas")
        for made in (pandas.DataFrame, pandas.Series) if pandas else ():
            for patch in patches(made):
                if patch.rpartition(".")[2] in used:
                    self.faults.append(f"`{owner}` uses `{patch}` of a library, which was changed in the notebook.")


# ── the module ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Module:
    """The text of the module, and the names of what is in it."""

    gathered: Gathered
    names: dict[Key, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def name_all(self) -> None:
        """Give every item a name: globals have theirs, the others take what is free."""
        items = self.gathered.items
        reached = self._reached()
        globals_ = [key for key in reached if key[0] == "global"]
        for key in globals_:
            self._name(key, items[key].wish, free=items[key].wish not in self.taken)
        for kind in ("definition", "cell", "constant", "import"):
            for key in [key for key in reached if key[0] == kind]:
                self._name(key, items[key].wish, free=False)

    def misnamed(self) -> list[str]:
        """Tell of names that had to be others, where the text could not be changed."""
        return [
            f"{owner} uses `{name}` where another `{name}` is used too. Give one of them another name."
            for key, name, owner in self.gathered.fixed
            if self.names[key] != name
        ]

    def _reached(self) -> list[Key]:
        items, found = self.gathered.items, dict[Key, None]()
        waiting = [key for key in items if key[0] == "definition"]
        while waiting:
            key = waiting.pop(0)
            if key not in found:
                found[key] = None
                waiting += [*items[key].hard, *items[key].soft, *refs(items[key].parts)]
        return list(found)

    def _name(self, key: Key, wish: str, *, free: bool) -> None:
        own = self._as_another(key)
        self.names[key] = own or (wish if free else self._unique(wish))
        self.taken.add(self.names[key])

    def _as_another(self, key: Key) -> str | None:
        """Give the name that a slot has already for this very definition or import."""
        item = self.gathered.items[key]
        for other, name in self.names.items():
            held = self.gathered.items[other]
            if key[0] == "definition" and held.parts == (Ref(key),) and name == item.wish:
                return name
            if key[0] == "import" and held.imports == item.imports:
                return name
        return self._lambda_name(key)

    def _lambda_name(self, key: Key) -> str | None:
        if key[0] != "definition" or getattr(self.gathered.items[key].thing, "__name__", "") != "<lambda>":
            return None
        return next((self.names[o] for o in self.names if self.gathered.items[o].parts == (Ref(key),)), None)

    def _unique(self, wish: str) -> str:
        wish = wish if wish.isidentifier() and not keyword.iskeyword(wish) else "answer"
        n, name = 1, wish
        while name in self.taken or hasattr(builtins, name):
            n += 1
            name = f"{wish}_{n}"
        return name

    def text(self) -> str:
        """Write imports, then values, then definitions, each after what it needs."""
        lines = [self._line(key) for key in self._ordered()]
        future = ["from __future__ import annotations\n"] if self.gathered.future else []
        imports = "".join(sorted(self._imports()))
        values = "".join(line for kind, line in lines if kind == "value")
        rest = "\n".join(line for kind, line in lines if kind == "definition")
        parts = [HEADER, *future, imports, values, rest]
        return "\n".join(part for part in parts if part)

    def _imports(self) -> set[str]:
        lines = {_import(self.gathered.items[key].imports, name) for key, name in self.names.items()} - {""}
        for module in self.gathered.modules:
            top = module.partition(".")[0]
            plain = top not in self.taken or f"import {top}\n" in lines
            lines.add(f"import {module}\n" if plain else f"import {module} as _{module.replace('.', '_')}\n")
        return lines

    def _line(self, key: Key) -> tuple[str, str]:
        item, name = self.gathered.items[key], self.names[key]
        text = "".join(self.names[part.key] if isinstance(part, Ref) else part for part in item.parts)
        if item.imports is not None or (text == name and key[0] != "definition"):
            return "import", ""
        if key[0] == "definition":
            return "definition", f"\n# from {item.where}\n{text}" if item.where else f"\n{text}"
        simple = all(self.gathered.items[dep].imports is not None for dep in item.hard)
        return ("value", f"{name} = {text}\n") if simple else ("definition", f"\n{name} = {text}\n")

    def _ordered(self) -> list[Key]:
        """Put what a definition needs at once before it, and as much as possible of what it needs later."""
        order: dict[Key, None] = {}
        soft = list(self.names)
        preferred = self._sorted(soft, lambda key: [*self._hard(key), *self.gathered.items[key].soft])
        for key in self._sorted(preferred, self._strong):
            order[key] = None
        return list(order)

    def _hard(self, key: Key) -> list[Key]:
        return list(self.gathered.items[key].hard)

    def _strong(self, key: Key) -> list[Key]:
        """Give what must stand before: what is needed at once, with what that needs to run."""
        first = self._hard(key)
        running = self._closure(first, lambda k: [*self._hard(k), *self.gathered.items[k].soft])
        return [*first, *(k for k in running if key not in self._closure([k], self._hard))]

    def _closure(self, start: list[Key], edges: Any) -> list[Key]:
        found, waiting = dict[Key, None](), list(start)
        while waiting:
            key = waiting.pop(0)
            if key not in found:
                found[key] = None
                waiting += edges(key)
        return list(found)

    def _sorted(self, keys: list[Key], edges: Any) -> list[Key]:
        done: dict[Key, None] = {}
        begun: set[Key] = set()

        def visit(key: Key) -> None:
            if key not in begun:
                begun.add(key)
                for other in edges(key):
                    visit(other)
                done[key] = None

        for key in keys:
            visit(key)
        return list(done)


def _import(target: tuple[str, str | None] | None, name: str) -> str:
    if target is None:
        return ""
    module, attribute = target
    if attribute is not None:
        return f"from {module} import {attribute}" + ("" if attribute == name else f" as {name}") + "\n"
    return f"import {module}" + ("" if module == name else f" as {name}") + "\n"


def library_names(gathered: Gathered, module: Module) -> set[str]:
    """Name the installed libraries that the code imports."""
    targets = [gathered.items[key].imports for key in module.names]
    named = {target[0] for target in targets if target is not None} | gathered.modules | gathered.local.imports
    tops = {name.partition(".")[0] for name in named if not name.startswith(".")}
    return {name for name in tops if name and name not in sys.stdlib_module_names}


def reader() -> bytes:
    """Give the source of what reads kept values, which travels with them."""
    from pathlib import Path

    return Path(kept.__file__).read_bytes()
