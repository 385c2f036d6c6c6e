r"""Reads what a litmus file says behind its program: locations, a filter, and the condition.

``~`` binds strongest, then ``=>``, then ``/\``, then ``\/``, as herd has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NoReturn, Protocol

from farm.prove.litmus.model import FALSE, TRUE, Fault, Final, Location, Place, Register, Term

_TOKEN = re.compile(
    r"""(?:fault|Fault)\s*\([^)]*\) | label:\s*"[^"]*" | instr:\s*"[^"]*" | /\\ | \\/ | => | == | != | <> | ~\s*exists\b
    | P?\d+:\s*[\w.$]+ | -?[\w.$]+ | \[\s*[\w.$]+\s*\] | \S""",
    re.VERBOSE,
)
_FAULT = re.compile(r"[fF]ault\s*\(\s*P?(\d+)\s*(?::\s*([\w.$]+)\s*)?(?:,\s*(\w+)\s*)?\)")
_FAULTS = ("UndefinedInstruction",)
_DEEPEST = 200


class Names(Protocol):
    """What a condition may name, and how it complains."""

    line: int
    labels: dict[tuple[int, str], int]

    def fail(self, reason: str) -> NoReturn:
        """Refuse the file."""

    def place(self, text: str) -> Register | Location | None:
        """The place that ``text`` is, or None if it has not the form of one."""

    def constant(self, text: str) -> int:
        """The number of a value."""


class Reader:
    """Reads the end of a file, from its tokens."""

    def __init__(self, names: Names, text: str) -> None:
        self.names, self.final = names, Final()
        self.depth, self.showing = 0, True
        first = names.line
        self.tokens = [(m[0], first + text.count("\n", 0, m.start())) for m in _TOKEN.finditer(text)]
        self.last = first + text.rstrip().count("\n")

    def read(self) -> Final:
        """All of it; without a condition, that every state is as it is."""
        if self._at("locations"):
            self._locations()
        if self._at("filter"):
            self.showing = False
            self.final.filter = self._either()
            self.showing = True
        word = self._peek()
        if word and re.fullmatch(r"exists|forall|final|~\s*exists", word):
            self._next()
            kind = "".join(word.split())
            self.final.quantifier = "exists" if kind == "final" else kind  # type: ignore[assignment]
            self.final.condition = self._either()
        elif word == "(":
            self.final.quantifier, self.final.condition = "exists", self._either()
        elif word:
            self._fail(f"`{word}` is no condition that is read: exists, ~exists, forall")
        self._at(";")
        if word := self._peek():
            self._fail(f"`{word}` follows the condition")
        return self.final

    def _fail(self, reason: str) -> NoReturn:
        self.names.line = self.tokens[0][1] if self.tokens else self.last
        self.names.fail(reason)

    def _peek(self) -> str:
        return self.tokens[0][0] if self.tokens else ""

    def _at(self, word: str) -> bool:
        """Whether ``word`` is next; then it is read."""
        if self._peek() != word:
            return False
        self._next()
        return True

    def _next(self) -> str:
        if not self.tokens:
            self._fail("the condition ends early")
        token, self.names.line = self.tokens.pop(0)
        return token

    def _locations(self) -> None:
        """``[0:X1; x; [y]; 0:X2 ins_t*;]``: places, each with a type or none."""
        if self._peek().startswith("[") and len(self._peek()) > 1:  # `[x]` was one token
            self.tokens[0:1] = [(part, self.tokens[0][1]) for part in ("[", self._peek().strip("[] "), "]")]
        if not self._at("["):
            self._fail("`locations` is followed by places in brackets")
        while not self._at("]"):
            if self._at(";"):
                continue
            self._look_at(self._place(self._next()))
            while self._peek() not in (";", "]"):
                word = self._next()
                if not re.fullmatch(r"\*|[A-Za-z_]\w*", word):
                    self.names.fail(f"`{word}` is no type of a place")
        self._at(";")

    def _look_at(self, place: Place) -> Place:
        for places in (self.final.places, *([self.final.shown] if self.showing else ())):
            if place not in places:
                places.append(place)
        return place

    def _place(self, token: str) -> Place:
        if token[:5].lower() == "fault":
            return self._fault(token)
        place = self.names.place(token)
        if place is None:
            self.names.fail(f"`{token}` is no register and no name")
        return place

    def _fault(self, token: str) -> Fault:
        match = _FAULT.fullmatch(token)
        if not match or match[3] not in (None, *_FAULTS):
            self.names.fail(f"`{token}` is no fault that is read: fault(P0:label,UndefinedInstruction)")
        thread, label = int(match[1]), match[2]
        if label is None:
            self.names.place(f"{thread}:X0")  # the thread is there
        elif (thread, label) not in self.names.labels:
            self.names.fail(f"P{thread} has no label {label}")
        return Fault(thread, label)

    def _chain(self, part: Callable[..., Term], sign: str, what: Literal["and", "or"]) -> Term:
        terms = [part()]
        while self._at(sign):
            terms.append(part())
        return terms[0] if len(terms) == 1 else Term(what, tuple(terms))

    def _either(self) -> Term:
        return self._chain(self._both, "\\/", "or")

    def _both(self) -> Term:
        return self._chain(self._implied, "/\\", "and")

    def _implied(self) -> Term:
        term = self._one()
        return Term("or", (Term("not", (term,)), self._implied())) if self._at("=>") else term

    def _one(self) -> Term:
        token = self._next()
        self.depth += 1
        if self.depth > _DEEPEST:
            self.names.fail("the condition is nested too deeply")
        try:
            if token in ("~", "not"):
                return Term("not", (self._one(),))
            if token == "(":
                term = self._either()
                if not self._at(")"):
                    self._fail("a parenthesis of the condition does not end")
                return term
            if token in ("true", "false"):
                return TRUE if token == "true" else FALSE
            return self._compared(token)
        finally:
            self.depth -= 1

    def _compared(self, token: str) -> Term:
        place = self._look_at(self._place(token))
        if isinstance(place, Fault):
            return Term("is", place=place, value=1)
        sign = self._next()
        if sign not in ("=", "==", "!=", "<>"):
            self.names.fail(f"`{token}` of the condition is compared with nothing")
        value = self._next()
        if value == "*":
            value = self._next()
        if re.fullmatch(r"P?\d+:\s*[XxWw]\d+|\[.*\]", value):
            made = Term("same", place=place, other=self._look_at(self._place(value)))
        else:
            made = Term("is", place=place, value=self.names.constant(value))
        return made if sign in ("=", "==") else Term("not", (made,))
