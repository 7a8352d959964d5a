"""The expression language that Logic Apps and Azure Policy share: calls, texts, numbers, indexes."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

Function = Callable[..., Any]
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<mark>\?\[|[()\[\],]))"
)
_INTERPOLATION = re.compile(r"@\{((?:[^{}']|'(?:[^']|'')*')*)\}")
_CONSTANTS = {"true": True, "false": False, "null": None}


class ExpressionError(Exception):
    """An expression cannot be read, or fails on what it is given."""


@dataclass(frozen=True)
class Lazy:
    """A function that gets its arguments unevaluated, each as a call."""

    call: Function


def evaluate(expression: str, functions: Mapping[str, Function | Lazy]) -> Any:
    """Evaluate one expression, without the sign that introduces it."""
    parser = _Parser(expression, functions)
    found = parser.expression()
    parser.end()
    return found()


def resolve(held: Any, functions: Mapping[str, Function | Lazy]) -> Any:
    """Evaluate every expression in a JSON value, as a workflow's inputs are."""
    if isinstance(held, dict):
        return {key: resolve(each, functions) for key, each in held.items()}
    if isinstance(held, list):
        return [resolve(each, functions) for each in held]
    if not isinstance(held, str):
        return held
    return _resolved_text(held, functions)


def _resolved_text(text: str, functions: Mapping[str, Function | Lazy]) -> Any:
    if text.startswith("@@"):
        return text[1:]
    if text.startswith("@") and not text.startswith("@{"):
        return evaluate(text[1:], functions)
    return _INTERPOLATION.sub(lambda match: as_text(evaluate(match[1], functions)), text)


def as_text(found: Any) -> str:
    """Write a value into a text as Logic Apps does."""
    if found is None:
        return ""
    if isinstance(found, bool):
        return "True" if found else "False"
    if isinstance(found, (dict, list)):
        raise ExpressionError(f"no text: {found}")
    return str(found)


class _Parser:
    """Reads left to right; what it returns is evaluated later, so that `if` can choose."""

    def __init__(self, text: str, functions: Mapping[str, Function | Lazy]) -> None:
        self._text = text
        self._functions = {name.lower(): each for name, each in functions.items()}
        self._tokens = self._split(text)
        self._at = 0

    def expression(self) -> Callable[[], Any]:
        token_type, token = self._next()
        if token_type == "text":
            found = _constant(token[1:-1].replace("''", "'"))
        elif token_type == "number":
            found = _constant(float(token) if "." in token else int(token))
        elif token_type == "name" and token in _CONSTANTS:
            found = _constant(_CONSTANTS[token])
        elif token_type == "name":
            found = self._called(token)
        else:
            raise ExpressionError(f"unexpected {token!r} in {self._text!r}")
        while self._peek() in {"[", "?["}:
            found = self._indexed(found)
        return found

    def end(self) -> None:
        if self._at != len(self._tokens):
            raise ExpressionError(f"unexpected {self._peek()!r} in {self._text!r}")

    def _called(self, name: str) -> Callable[[], Any]:
        self._expect("(")
        arguments = []
        while self._peek() != ")":
            arguments.append(self.expression())
            if self._peek() != ")":
                self._expect(",")
        self._expect(")")
        function = self._functions.get(name.lower())
        if function is None:
            raise ExpressionError(f"no function {name!r} in {self._text!r}")
        if isinstance(function, Lazy):
            lazy = function.call
            return lambda: lazy(*arguments)
        plain = function
        return lambda: _call(plain, name, [argument() for argument in arguments])

    def _indexed(self, held: Callable[[], Any]) -> Callable[[], Any]:
        _, mark = self._next()
        index = self.expression()
        self._expect("]")
        return lambda: _item(held(), index(), optional=mark == "?[", text=self._text)

    def _split(self, text: str) -> list[tuple[str, str]]:
        tokens, at = [], 0
        while at < len(text.rstrip()):
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise ExpressionError(f"unexpected {text[at : at + 10]!r} in {text!r}")
            tokens.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()
        return tokens

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise ExpressionError(f"{self._text!r} ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, mark: str) -> None:
        _, token = self._next()
        if token != mark:
            raise ExpressionError(f"{mark!r} expected, {token!r} found in {self._text!r}")


def _call(function: Function, name: str, given: list[Any]) -> Any:
    """Call a function; whatever it cannot do with what it is given fails the expression."""
    try:
        return function(*given)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise ExpressionError(f"{name}{tuple(given)!r}: {error}") from None


def _constant(held: Any) -> Callable[[], Any]:
    return lambda: held


def _item(held: Any, index: Any, *, optional: bool, text: str) -> Any:
    if held is None and optional:
        return None
    # A list takes numbers and an object takes names; nothing else has parts, a text least of all.
    if isinstance(held, list if isinstance(index, int) else dict):
        with suppress(KeyError, IndexError):
            return held[index]
    if optional and isinstance(held, (dict, list)):
        return None
    raise ExpressionError(f"{index!r} cannot be selected in {text!r}")
