"""Reads Bicep with tree-sitter: declarations and literal values, enough to compare with the code.

No Bicep compiler can be had from a package registry, so this and ../shared/tools stand in for one;
`az bicep build` runs on GitHub's runners only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import tree_sitter
import tree_sitter_bicep

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
FILES = sorted(INFRA.rglob("*.bicep"))
APP_REGISTRATION = INFRA / "app-registration.bicep"
APP_ROLES = INFRA / "app-role-assignments.bicep"
# These go to Microsoft Graph: `extension` is in no grammar at hand, and they hold no ARM resource.
PAGE_REGISTRATION = INFRA / "page-registration.bicep"
GRAPH = (APP_REGISTRATION, APP_ROLES, PAGE_REGISTRATION)
Node = tree_sitter.Node
_PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))


@dataclass(frozen=True)
class Text:
    """Something that is no literal: its source, to be compared or searched."""

    source: str


@dataclass(frozen=True)
class Resource:
    """A resource declaration: symbol, type, version and its body."""

    symbol: str
    type: str
    version: str
    body: dict[str, Any]
    node: Node = field(repr=False, compare=False)


@dataclass(frozen=True)
class Module:
    """A module declaration."""

    symbol: str
    path: Path
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """A parameter, whether it may be left out, what it is then, and its decorators by name."""

    name: str
    is_optional: bool
    default: Any
    decorators: dict[str, Any]


class Bicep:
    """One file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text(encoding="utf-8")
        self.root = _PARSER.parse(self.text.encode()).root_node

    @property
    def faults(self) -> list[str]:
        """Name what the parser does not understand."""
        return [
            f"{self.path.name}:{node.start_point.row + 1} {source(node)[:60]!r}"
            for node in walk(self.root)
            if node.type == "ERROR" or node.is_missing
        ]

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Return the parameters by name."""
        found = {}
        decorators: dict[str, Any] = {}
        for node in self.root.children:
            if node.type == "decorators":
                decorators = _decorators(node)
                continue
            if node.type == "parameter_declaration":
                optional = any(child.type == "=" for child in node.children)
                default = value(node.children[-1]) if optional else None
                found[_name(node)] = Parameter(_name(node), optional, default, decorators)
            decorators = {}
        return found

    @property
    def variables(self) -> dict[str, Any]:
        """Return the variables by name; what is no literal comes as its source."""
        return {
            _name(node): value(node.children[-1]) for node in self._declared("variable_declaration")
        }

    @property
    def outputs(self) -> dict[str, Any]:
        """Return the outputs by name."""
        return {
            _name(node): value(node.children[-1]) for node in self._declared("output_declaration")
        }

    @property
    def resources(self) -> list[Resource]:
        """Return the resources in the order of the file."""
        found = []
        for node in self._declared("resource_declaration"):
            type_name, _, version = _literal(node).partition("@")
            found.append(Resource(_name(node), type_name, version, value(_object(node)), node))
        return found

    @property
    def modules(self) -> list[Module]:
        """Return the modules in the order of the file."""
        found = []
        for node in self._declared("module_declaration"):
            body = value(_object(node))
            path = (self.path.parent / _literal(node)).resolve()
            found.append(Module(_name(node), path, body.get("params", {})))
        return found

    @property
    def names(self) -> list[str]:
        """Return every declared name but the outputs', as often as it is declared."""
        return [
            _name(node)
            for type_name in ("parameter", "variable", "resource", "module")
            for node in self._declared(f"{type_name}_declaration")
        ]

    @property
    def used(self) -> set[str]:
        """Return every identifier that is read somewhere."""
        return {
            source(node)
            for node in walk(self.root)
            if node.type == "identifier" and node.parent is not None and not _is_declared_by(node)
        }

    def _declared(self, type_name: str) -> Iterator[Node]:
        return (node for node in self.root.children if node.type == type_name)


@cache
def read(path: Path) -> Bicep:
    """Read a file once."""
    return Bicep(path)


def everywhere() -> list[Bicep]:
    """Read every file of the infrastructure."""
    return [read(path) for path in FILES]


def resources(type_name: str) -> list[Resource]:
    """Find every resource of a type in all files."""
    return [found for file in everywhere() for found in file.resources if found.type == type_name]


def source(node: Node) -> str:
    """Return the text of a node."""
    return node.text.decode() if node.text is not None else ""


def walk(node: Node) -> Iterator[Node]:
    """Go through a node and everything below it."""
    yield node
    for child in node.children:
        yield from walk(child)


def value(node: Node) -> Any:
    """Return a literal as Python has it, and anything else as its source."""
    if node.type == "object":
        members = (child for child in node.children if child.type == "object_property")
        return {_key(member): value(member.children[-1]) for member in members}
    if node.type == "array":
        return [value(child) for child in node.named_children if child.type != "comment"]
    if node.type == "string" and not any(c.type == "interpolation" for c in node.children):
        return "".join(_unescaped(child) for child in node.children)
    if node.type == "number":
        return int(source(node))
    if node.type == "boolean":
        return source(node) == "true"
    return Text(source(node))


def strings(held: Any) -> Iterator[str]:
    """Go through every literal text of a value."""
    if isinstance(held, str):
        yield held
    elif isinstance(held, dict):
        for child in held.values():
            yield from strings(child)
    elif isinstance(held, list):
        for child in held:
            yield from strings(child)


def _is_declared_by(node: Node) -> bool:
    parent = node.parent
    assert parent is not None
    if parent.type == "object_property":
        return parent.children[0] == node
    if parent.type.endswith("_declaration"):
        return next(c for c in parent.children if c.type == "identifier") == node
    return False


def _unescaped(node: Node) -> str:
    if node.type == "string_content":
        return source(node)
    if node.type == "escape_sequence":
        return source(node).replace("\\'", "'").replace("\\n", "\n").replace("\\\\", "\\")
    return ""


def _key(member: Node) -> str:
    key = member.children[0]
    found = value(key) if key.type == "string" else source(key)
    return found.source if isinstance(found, Text) else str(found)


def _name(node: Node) -> str:
    return source(next(child for child in node.children if child.type == "identifier"))


def _literal(node: Node) -> str:
    return str(value(next(child for child in node.children if child.type == "string")))


def _object(node: Node) -> Node:
    """Return the body of a declaration, through a condition or a loop."""
    for child in node.children:
        if child.type == "object":
            return child
        if child.type in {"if_statement", "for_statement"}:
            return _object(child)
    raise ValueError(f"no body: {source(node)[:60]}")


def _decorators(node: Node) -> dict[str, Any]:
    found = {}
    for decorator in node.named_children:
        name = next(child for child in walk(decorator) if child.type == "identifier")
        arguments = next((child for child in walk(decorator) if child.type == "arguments"), None)
        given = [value(child) for child in arguments.named_children] if arguments else []
        found[source(name)] = given[0] if given else None
    return found
