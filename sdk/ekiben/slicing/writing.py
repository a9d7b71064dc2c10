"""Gather what definitions need: other definitions, imports and values."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

from ekiben.slicing import definitions, homes, sources
from ekiben.slicing.definitions import Key
from ekiben.slicing.finding import patches, readable
from ekiben.slicing.local import LocalFiles
from ekiben.slicing.texts import Parts, Ref, refs
from ekiben.slicing.values import CannotTravel, is_callable_by_name, parts_of


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
