"""Match a text against a pattern in time proportional to the text, whatever the pattern says.

Python's `re` tries one alternative after the other: `(a+)+$` on thirty letters keeps it busy for
minutes. A policy's pattern comes from outside, so here it walks all its states at once instead
(Thompson's construction). Backreferences and lookarounds, which cannot be run so, are refused.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

MAX_PATTERN = 256
_MAX_STATES = 500
_MAX_DEPTH = 20
_QUANTIFIER = re.compile(r"\{(\d{1,4})(?:(,)(\d{1,4})?)?\}", re.ASCII)
_CLASS = re.compile(r"\[\^?\]?(?:[^\]\\]|\\.)*\]")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_KNOWN_ESCAPES = frozenset("dwsDWS")
# Python warns that these will mean set operations one day.
_RESERVED_IN_CLASS = re.compile(r"(?<!^)\[|--|&&|~~|\|\|")
_ENDLESS = -1

Test = Callable[[str], bool]
# A piece of a pattern, given the state to go on with, returns the state to begin with.
Piece = Callable[[int], int]


class PatternError(ValueError):
    """A pattern is not one that can be matched here."""


class Pattern:
    """A pattern that is ready to match."""

    def __init__(self, text: str) -> None:
        self._tests: list[Test | None] = []
        self._next: list[tuple[int, ...]] = []
        self._final = self._add(None)
        self._start = _Parser(text, self._add, self._link).whole()(self._final)

    def matches(self, text: str) -> bool:
        """Tell whether a whole text fits."""
        seen: dict[tuple[int, str], bool] = {}
        states = self._reach([self._start])
        for letter in text:
            states = self._reach(
                follower
                for state in states
                if self._takes(state, letter, seen)
                for follower in self._next[state]
            )
            if not states:
                return False
        return self._final in states

    def _takes(self, state: int, letter: str, seen: dict[tuple[int, str], bool]) -> bool:
        test = self._tests[state]
        if test is None:
            return False
        if (state, letter) not in seen:
            seen[state, letter] = test(letter)
        return seen[state, letter]

    def _reach(self, states: Iterable[int]) -> set[int]:
        """Follow every step that takes no letter."""
        reached: set[int] = set()
        waiting = list(states)
        while waiting:
            state = waiting.pop()
            if state not in reached:
                reached.add(state)
                if self._tests[state] is None:
                    waiting += self._next[state]
        return reached

    def _add(self, test: Test | None, *followers: int) -> int:
        if len(self._tests) >= _MAX_STATES:
            raise PatternError("the pattern repeats too much; use smaller counts")
        self._tests.append(test)
        self._next.append(followers)
        return len(self._tests) - 1

    def _link(self, state: int, *followers: int) -> None:
        self._next[state] = followers


class _Parser:
    """Reads a pattern from left to right."""

    def __init__(self, text: str, add: Callable[..., int], link: Callable[..., None]) -> None:
        if len(text) > MAX_PATTERN:
            raise PatternError(f"the pattern is longer than {MAX_PATTERN} characters")
        # A whole text is matched anyway, so anchors at both ends say nothing new.
        body = text.removeprefix("^")
        rest = body.removesuffix("$")
        is_escaped = (len(rest) - len(rest.rstrip("\\"))) % 2
        self._text = body if is_escaped else rest
        self._at = 0
        self._depth = 0
        self._add = add
        self._link = link

    def whole(self) -> Piece:
        """Read everything."""
        piece = self._alternatives()
        if self._at < len(self._text):
            raise PatternError(f"unexpected ')' at position {self._at}")
        return piece

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _alternatives(self) -> Piece:
        pieces = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            pieces.append(self._sequence())
        if len(pieces) == 1:
            return pieces[0]
        return lambda after: self._add(None, *(piece(after) for piece in pieces))

    def _sequence(self) -> Piece:
        pieces = []
        while self._peek() and self._peek() not in "|)":
            pieces.append(self._repeated(self._atom()))
        if not pieces:
            raise PatternError(f"nothing stands at position {self._at}; use ? for what may lack")

        def build(after: int) -> int:
            for piece in reversed(pieces):
                after = piece(after)
            return after

        return build

    def _atom(self) -> Piece:
        letter = self._peek()
        if letter == "(":
            return self._group()
        if letter in "*+?{":
            raise PatternError(f"'{letter}' at position {self._at} repeats nothing")
        if letter in "^$":
            raise PatternError(f"'{letter}' may stand only at the pattern's ends; escape it")
        test = self._class() if letter in "[.\\" else letter.__eq__
        if letter not in "[.\\":
            self._at += 1
        return lambda after: self._add(test, after)

    def _group(self) -> Piece:
        self._at += 1
        if self._peek() == "?":
            if not self._text.startswith("?:", self._at):
                raise PatternError("groups that look around, refer or set flags are not accepted")
            self._at += 2
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise PatternError(f"groups are nested more than {_MAX_DEPTH} deep")
        piece = self._alternatives()
        if self._peek() != ")":
            raise PatternError("a '(' is never closed")
        self._at += 1
        self._depth -= 1
        return piece

    def _class(self) -> Test:
        """Read the pattern of one letter: `.`, an escape, or a class; `re` judges the letter."""
        text = self._one_letter()
        escaped = set(_ESCAPED.findall(text)) - _KNOWN_ESCAPES
        reserved = text[0] == "[" and _RESERVED_IN_CLASS.search(text)
        if reserved or any(letter.isalnum() for letter in escaped):
            raise PatternError(f"'{text}' is not accepted; of escapes \\d \\w \\s and signs are")
        try:
            compiled = re.compile(text)
        except re.error as error:
            raise PatternError(f"'{text}': {error}") from None
        self._at += len(text)
        return lambda letter: compiled.fullmatch(letter) is not None

    def _one_letter(self) -> str:
        letter = self._peek()
        if letter == ".":
            return letter
        if letter == "\\":
            if self._at + 1 == len(self._text):
                raise PatternError("the pattern ends in a lone '\\'")
            return self._text[self._at : self._at + 2]
        found = _CLASS.match(self._text, self._at)
        if found is None:
            raise PatternError("a '[' is never closed")
        return found[0]

    def _repeated(self, piece: Piece) -> Piece:
        low, high = self._quantifier()
        if (low, high) == (1, 1):
            return piece
        if self._peek() and self._peek() in "*+?{":
            raise PatternError(f"'{self._peek()}' at position {self._at} repeats a repetition")
        return lambda after: self._build_repeated(piece, low, high, after)

    def _quantifier(self) -> tuple[int, int]:
        simple = {"*": (0, _ENDLESS), "+": (1, _ENDLESS), "?": (0, 1)}
        if self._peek() in simple:
            self._at += 1
            return simple[self._text[self._at - 1]]
        if self._peek() != "{":
            return 1, 1
        found = _QUANTIFIER.match(self._text, self._at)
        if found is None:
            raise PatternError(f"'{{' at position {self._at} is no count such as {{2,5}}")
        self._at = found.end()
        low = int(found[1])
        high = int(found[3]) if found[3] else _ENDLESS if found[2] else low
        if high == 0 or _ENDLESS < high < low:
            raise PatternError(f"'{found[0]}' can never be met")
        return low, high

    def _build_repeated(self, piece: Piece, low: int, high: int, after: int) -> int:
        start = after
        if high == _ENDLESS:
            start = self._add(None)
            self._link(start, piece(start), after)
        else:
            for _ in range(high - low):
                start = self._add(None, piece(start), after)
        for _ in range(low):
            start = piece(start)
        return start


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> Pattern:
    """Make a pattern ready; raises PatternError with what is not accepted."""
    return Pattern(text)
