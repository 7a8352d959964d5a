"""A use case names the parts it needs, and no other: mypy holds the first, this the second."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "shared.use_cases"
SERVICES, PARTS = f"{PACKAGE}.services", f"{PACKAGE}.parts"
PARAMETER = "services"

Unit = ast.FunctionDef | ast.ClassDef
Key = tuple[str, str]  # a module and a name in it


@dataclass
class Module:
    """One module: what it defines at its top, and what it imports from the use cases."""

    name: str
    tree: ast.Module
    units: dict[str, Unit] = field(default_factory=dict)
    constants: dict[str, ast.expr] = field(default_factory=dict)
    imports: dict[str, Key] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Index the names."""
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                self.units[node.name] = node
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                self.constants |= {t.id: node.value for t in targets if isinstance(t, ast.Name)}
            elif isinstance(node, ast.ImportFrom) and node.module:
                for each in node.names:
                    self.imports[each.asname or each.name] = (node.module, each.name)


class UseCases:
    """The modules of the use cases, and what the functions in them need."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.modules = {name: Module(name, ast.parse(text)) for name, text in sources.items()}
        self.own = {
            node.name: {member.name for member in node.body if isinstance(member, ast.FunctionDef)}
            for node in self.modules[PARTS].units.values()
        }
        self.protocols = dict.fromkeys(self.own, PARTS)
        self.bases: dict[str, list[str]] = {}
        for module in self.modules.values():
            for name, node in module.units.items():
                if name.endswith("Parts") and isinstance(node, ast.ClassDef):
                    assert name not in self.protocols, f"{name} is the name of two Protocols"
                    self.protocols[name] = module.name
                    self.bases[name] = [b for b in map(ast.unparse, node.bases) if b != "Protocol"]

    def parts(self, protocol: str) -> set[str]:
        """Return the parts that a Protocol gives, by itself or by what it inherits from."""
        inherited = (self.parts(base) for base in self.bases.get(protocol, ()))
        return self.own.get(protocol, set()).union(*inherited)

    def taken(self, unit: Unit) -> str:
        """Return the Protocol that a function or class takes, or an empty text."""
        annotations = (
            ast.unparse(node.annotation)
            for node in ast.walk(unit)
            if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation
        )
        return next((each for each in annotations if each in self.protocols), "")

    def surplus(self) -> list[str]:
        """Return each part that a Protocol gives to functions of a module which need it not."""
        found = []
        for module in self.modules.values():
            needs: dict[str, set[str]] = {
                name: set() for name, home in self.protocols.items() if home == module.name != PARTS
            }
            for unit in module.units.values():
                protocol = self.taken(unit)
                if protocol:
                    needs.setdefault(protocol, set()).update(self._needs(module, unit))
            for name, needed in needs.items():
                more = sorted(self.parts(name) - needed)
                found += [f"{module.name}: {name} without need: {part}" for part in more]
        return found

    def listed_twice(self) -> list[str]:
        """Return each base of a Protocol that another base of it already gives."""
        return [
            f"{name} lists {base}"
            for name, bases in self.bases.items()
            for base in bases
            if any(self.parts(base) <= self.parts(other) for other in bases if other != base)
        ]

    def _needs(self, module: Module, unit: Unit) -> set[str]:
        """Return the parts that a unit uses, and those that what it calls takes.

        A function of the same module under the same Protocol is looked at by itself.
        """
        used = {n.attr for n in ast.walk(unit) if isinstance(n, ast.Attribute) and _holds(n.value)}
        beside = {id(u) for u in module.units.values() if self.taken(u) == self.taken(unit)}
        called = [each for each in self._references(module, unit) if id(each) not in beside]
        return used.union(*(self.parts(self.taken(each)) for each in called))

    def _references(self, module: Module, node: ast.AST) -> Iterator[Unit]:
        """Yield what some code refers to; a class only where it is called."""
        called = {id(n.func) for n in ast.walk(node) if isinstance(n, ast.Call)}
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and each.id in module.constants:
                value = module.constants[each.id]
                if value is not node:
                    yield from self._references(module, value)
            if isinstance(each, ast.Call) and any(map(_holds, each.args)):
                yield from self._methods(module, each.func)
            found = self._resolve(module, each)
            if isinstance(found, ast.FunctionDef) or (found and id(each) in called):
                yield found

    def _resolve(self, module: Module, node: ast.AST) -> Unit | None:
        """Return the function or class of the use cases that an expression names."""
        if isinstance(node, ast.Name):
            if node.id in module.units:
                return module.units[node.id]
            home, name = module.imports.get(node.id, ("", ""))
            return self.modules[home].units.get(name) if home in self.modules else None
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            other = self.modules.get(".".join(module.imports.get(node.value.id, ("", ""))))
            return other.units.get(node.attr) if other else None
        return None

    def _methods(self, module: Module, called: ast.expr) -> Iterator[Unit]:
        """Yield the methods that a call through an object may reach, by their name."""
        if not isinstance(called, ast.Attribute) or self._resolve(module, called):
            return
        for home in {home for home, _ in module.imports.values()} & self.modules.keys():
            for unit in self.modules[home].units.values():
                for each in unit.body if isinstance(unit, ast.ClassDef) else ():
                    if isinstance(each, ast.FunctionDef) and each.name == called.attr:
                        yield each


def _holds(node: ast.expr) -> bool:
    """Tell whether an expression is the parts that a use case was given."""
    name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
    return name in {PARAMETER, f"_{PARAMETER}"}


def _sources() -> dict[str, str]:
    """Return the text of each module of the use cases, but for that of `Services`."""
    texts = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text(encoding="utf-8")
        for path in (ROOT / "shared" / "use_cases").rglob("*.py")
    }
    return {name: text for name, text in texts.items() if name != SERVICES}


SOURCES = _sources()


def test_no_use_case_takes_the_object_with_every_part() -> None:
    """No module of the use cases names `Services`."""
    naming = {
        name
        for name, text in SOURCES.items()
        for node in ast.walk(ast.parse(text))
        if "Services" in {getattr(node, "id", ""), getattr(node, "attr", "")}
        or (isinstance(node, ast.ImportFrom) and node.module == SERVICES)
    }

    assert len(SOURCES) > 50
    assert naming == set()


def test_each_use_case_names_only_parts_that_it_needs() -> None:
    """A Protocol gives only parts that its functions use, or that what they call needs."""
    assert UseCases(SOURCES).surplus() == []


def test_no_protocol_lists_a_part_twice() -> None:
    """A Protocol does not list a part that it inherits already."""
    assert UseCases(SOURCES).listed_twice() == []


def test_a_protocol_inherits_from_one_use_case() -> None:
    """A Protocol inherits from that of one use case: Python cannot always order those of two."""
    cases = UseCases(SOURCES)

    several = {
        name: inherited
        for name, bases in cases.bases.items()
        if len(inherited := [base for base in bases if base in cases.bases]) > 1
    }

    assert several == {}


def test_each_part_is_needed_by_a_use_case() -> None:
    """A Protocol of one part stands in `parts` because some use case needs it."""
    cases = UseCases(SOURCES)
    taken = {
        cases.taken(unit) for module in cases.modules.values() for unit in module.units.values()
    }

    needed = taken.union(*cases.bases.values())

    assert cases.own.keys() - needed == set()


def test_the_parts_have_one_name() -> None:
    """A function takes its parts by one name in all use cases."""
    cases = UseCases(SOURCES)
    named = {
        node.arg
        for module in cases.modules.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.arg)
        and node.annotation
        and ast.unparse(node.annotation) in cases.protocols
    }

    assert named == {PARAMETER}


SAMPLE_PARTS = """
class HasClock(Protocol):
    def clock(self): ...
class HasQueues(Protocol):
    def queues(self): ...
"""
SAMPLE_CALLEE = """
from shared.use_cases.parts import HasQueues
def send(services: HasQueues): services.queues()
"""
SAMPLE = """
from shared.use_cases.callee import send
from shared.use_cases.parts import HasClock, HasQueues
class WorkParts(HasClock, HasQueues, Protocol): ...
def work(services: WorkParts):
    {body}
"""


@pytest.mark.parametrize(
    ("body", "surplus"),
    [
        ("services.clock(); services.queues()", []),
        ("services.clock(); send(services)", []),
        ("services.clock(); partial(send, services)", []),
        ("services.clock()", ["queues"]),
        ("send(services)", ["clock"]),
        ("pass", ["clock", "queues"]),
    ],
)
def test_a_part_without_need_is_found(body: str, surplus: list[str]) -> None:
    """The check names each part that neither the function nor what it calls uses."""
    cases = UseCases(
        {
            PARTS: SAMPLE_PARTS,
            f"{PACKAGE}.callee": SAMPLE_CALLEE,
            f"{PACKAGE}.sample": SAMPLE.format(body=body),
        }
    )

    assert [each.rpartition(" ")[2] for each in cases.surplus()] == surplus
