"""Lay out the module: give everything in it a name, and put it in order."""

from __future__ import annotations

import builtins
import keyword
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ekiben.slicing import kept
from ekiben.slicing.definitions import Key
from ekiben.slicing.texts import Ref, refs
from ekiben.slicing.writing import Gathered

HEADER = '"""The code of the notebook that the model uses, as it was when the model was packed."""\n'


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
    return Path(kept.__file__).read_bytes()
