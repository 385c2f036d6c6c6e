"""Reads litmus files of herd's format for AArch64; what is not understood is refused, never guessed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, NoReturn

from farm.errors import UsageError
from farm.prove.litmus.assemble import FormError, Instruction, assemble

_CODE, _DATA = 0x40000000, 0x50000000  # addresses: both fit into a W register
_COLUMN, _HANDLER, _LINE = 0x10000, 0x8000, 0x100
_MOST = 8  # threads

ELR = 32  #: number of ELR_EL1 among the registers


class LitmusError(UsageError):
    """A litmus file cannot be read, or says what is not supported: file, line and reason."""


class Value(NamedTuple):
    """A value as a file writes it: an integer, a data name, a label, or an instruction."""

    kind: Literal["integer", "name", "label", "instruction"]
    text: str
    number: int = 0


class Register(NamedTuple):
    """A register of a thread in a condition."""

    thread: int
    number: int
    name: str

    def __str__(self) -> str:
        return f"{self.thread}:{self.name}"


class Fault(NamedTuple):
    """An undefined instruction at a label, in a condition."""

    thread: int
    label: str

    def __str__(self) -> str:
        return f"fault(P{self.thread}:{self.label},UndefinedInstruction)"


Place = Register | str | Fault  #: a str is a name of data


@dataclass(frozen=True)
class Term:
    """A condition: ``and`` and ``or`` of terms, ``not`` of one, ``is`` of a place and a value, ``true``."""

    what: Literal["and", "or", "not", "is", "true"]
    terms: tuple[Term, ...] = ()
    place: Place | None = None
    value: int = 0


@dataclass
class Column:
    """What one thread executes, or what handles its faults."""

    thread: int
    handler: bool
    base: int
    code: list[tuple[str, int]] = field(default_factory=list)  #: text and line
    labels: dict[str, int] = field(default_factory=dict)  #: addresses

    @property
    def end(self) -> int:
        return self.base + 4 * len(self.code)


@dataclass
class Litmus:
    """A litmus test, its instructions assembled and its names laid out: one location a cache line."""

    name: str
    dic: bool
    idc: bool
    columns: list[Column]
    instructions: dict[int, Instruction]  #: by address
    known: dict[int, Instruction]  #: by word
    registers: dict[tuple[int, int], int]
    memory: dict[int, int]  #: initial values of the locations: data, and instructions that are modifiable
    names: dict[int, str]  #: of locations and labels, by address
    labels: dict[tuple[int, str], int]
    quantifier: Literal["exists", "~exists", "forall"]
    condition: Term
    shown: list[Place]

    @property
    def threads(self) -> list[Column]:
        return [column for column in self.columns if not column.handler]

    def text(self, value: int) -> str:
        """A value as a state shows it."""
        if value in self.names:
            return self.names[value]
        if value in self.known and value >= 1 << 16:
            return f'instr:"{self.known[value].text}"'
        return str(value)


_VALUE = re.compile(
    r"""(?P<integer>-?(?:0[xX][0-9a-fA-F]+|\d+))$ | label:\s*"P(?P<t1>\d+):(?P<l1>\w+)"$
    | P?(?P<t2>\d+):(?P<l2>[A-Za-z_]\w*)$
    | instr:\s*"(?P<instr>[^"]*)"$ | &?(?P<name>[A-Za-z_]\w*)$""",
    re.VERBOSE,
)
_PLACE = re.compile(r"(?:(\d+):\s*([XxWw])(\d+)|\[?([A-Za-z_]\w*)\]?)$")
_TYPES = r"(?:ins_t|void|int|int32_t|uint32_t|int64_t|uint64_t|intptr_t|uintptr_t|long)\b"


class _Reader:
    """Reads one file."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = self._uncommented(text)
        self.line = 1
        self.data: dict[str, int] = {}
        self.labels: dict[tuple[int, str], int] = {}
        self.instructions: dict[int, Instruction] = {}
        self.known: dict[int, Instruction] = {}
        self.wanted: set[int] = set()  # labels that are values
        self.threads: set[int] = set()

    def fail(self, reason: str) -> NoReturn:
        raise LitmusError(f"{self.path}:{self.line}: {reason}")

    def _uncommented(self, text: str) -> str:
        """The text with blanks for each comment, so that lines keep their numbers.  Comments nest."""
        made, depth, quoted = list(text), 0, False
        i = line = 0
        while i < len(text):
            pair = text[i : i + 2]
            if text[i] == '"' and not depth:
                quoted = not quoted
            width = 0
            if not quoted and pair == "(*":
                depth, width, line = depth + 1, 2, line if depth else text.count("\n", 0, i) + 1
            elif depth and pair == "*)":
                width = 2
            for at in range(i, min(i + max(width, 1), len(text))):
                if depth and made[at] != "\n":
                    made[at] = " "
            if depth and pair == "*)":
                depth -= 1
            i += max(width, 1)
        if depth:
            self.line = line
            self.fail("a comment does not end")
        return "".join(made)

    def read(self) -> Litmus:
        head, brace, rest = self.text.partition("{")
        lines = head.split("\n")
        first = next((i for i, line in enumerate(lines) if line.strip()), 0)
        self.line = first + 1
        title = lines[first].split(None, 1)
        if len(title) != 2 or title[0] != "AArch64":
            self.fail("a litmus file for AArch64 begins with `AArch64 NAME`")
        if not brace:
            self.fail("there is no initial state in braces")
        dic = idc = False
        for number, line in enumerate(lines[first + 1 :], first + 2):
            self.line = number
            words = line.strip()
            if not words or re.fullmatch(r'"[^"]*"', words):
                continue
            if not re.fullmatch(r"[A-Za-z_]\w*\s*=.*", words):
                self.fail(f"`{words}` is neither a quoted comment nor KEY=VALUE")
            key, _, value = (part.strip() for part in words.partition("="))
            if key == "CacheType":
                kinds = value.replace(",", " ").split()
                if set(kinds) - {"DIC", "IDC"}:
                    self.fail(f"CacheType={value}: valid are DIC and IDC")
                dic, idc = "DIC" in kinds, bool(kinds)
            elif key == "Variant" and set(value.replace(",", " ").split()) - {"self", "fatal", "ifetch"}:
                self.fail(f"Variant={value}: valid are self and fatal")
        self.line = head.count("\n") + 1
        state, closed, body = rest.partition("}")
        if not closed:
            self.fail("the initial state does not end")
        if "{" in state:
            self.fail("an array: a location is one name here, each on a cache line of its own")
        state_line = self.line
        self.line += state.count("\n")
        columns, tail = self._table(body)
        where = self.line
        registers, memory = self._state(state, state_line)
        self._assemble(columns)
        known = {self.data[name]: self._number(value, line) for name, (value, line) in memory.items()}
        starts = {key: self._number(value, line) for key, (value, line) in registers.items()}
        self.line = where
        quantifier, condition, shown = self._final(tail)
        for address in sorted(self.wanted):
            if address in self.instructions:
                known[address] = self.instructions[address].word
        for address in self.data.values():
            known.setdefault(address, 0)
        names = {address: name for name, address in self.data.items()}
        for (thread, label), address in reversed(self.labels.items()):
            names[address] = f'label:"P{thread}:{label}"'
        return Litmus(
            title[1].strip(), dic, idc or dic, columns, self.instructions, self.known, starts, known, names,
            self.labels, quantifier, condition, shown,
        )  # fmt: skip

    def _table(self, body: str) -> tuple[list[Column], str]:
        rows: list[tuple[list[str], int]] = []
        at = 0
        while True:
            match = re.compile(r"\s*").match(body, at)
            assert match
            start = match.end()
            if re.match(r"(~?\s*exists|forall|locations|filter|final)\b", body[start:]) or start == len(body):
                break
            end = body.find(";", start)
            row_line = self.line + body.count("\n", 0, start)
            if end < 0:
                self.line = row_line
                self.fail("a row of the program does not end with `;`")
            rows.append(([cell.strip() for cell in body[start:end].split("|")], row_line))
            at = end + 1
        if not rows:
            self.fail("there is no program")
        tail, first_line = body[start:], self.line
        columns: list[Column] = []
        header, self.line = rows[0]
        for cell in header:
            match = re.fullmatch(r"P(\d+)(\.F)?", cell)
            if not match:
                self.fail(f"`{cell}` heads a column: valid are P0, P1, ... and P0.F for a fault handler")
            thread, handler = int(match[1]), bool(match[2])
            if thread >= _MOST:
                self.fail(f"P{thread}: there are {_MOST} threads at most")
            if any((c.thread, c.handler) == (thread, handler) for c in columns):
                self.fail(f"{cell} is there twice")
            columns.append(Column(thread, handler, _CODE + thread * _COLUMN + handler * _HANDLER))
        threads = sorted(c.thread for c in columns if not c.handler)
        if threads != list(range(len(threads))) or any(c.thread not in threads for c in columns):
            self.fail("threads are numbered from P0 on, and a handler belongs to one of them")
        self.threads = set(threads)
        for cells, self.line in rows[1:]:
            if len(cells) != len(columns):
                self.fail(f"{len(cells)} columns, where the head has {len(columns)}")
            for column, cell in zip(columns, cells, strict=True):
                *labels, code = re.split(r"(?<=\w)\s*:\s*", cell)
                for label in labels:
                    if not re.fullmatch(r"[A-Za-z_]\w*", label):
                        self.fail(f"`{label}` is no label")
                    if (column.thread, label) in self.labels:
                        self.fail(f"label {label} of P{column.thread} is there twice")
                    column.labels[label] = self.labels[column.thread, label] = column.end
                if code:
                    column.code.append((" ".join(code.split()), self.line))
        self.line = first_line + body.count("\n", 0, start)
        return columns, tail

    def _assemble(self, columns: list[Column]) -> None:
        for column in columns:
            labels = self._in_reach(column.thread)
            for number, (text, self.line) in enumerate(column.code):
                address = column.base + 4 * number
                instruction = self._instruction(text, address, labels)
                self.instructions[address] = instruction
                self.known.setdefault(instruction.word, instruction)
                if text.upper().startswith("ADR "):
                    target = text.partition(",")[2].strip()
                    if target in labels:
                        self.wanted.add(labels[target])

    def _in_reach(self, own: int) -> dict[str, int]:
        """Labels that an instruction of a thread may name: its own, and those of one other thread alone."""
        names = [label for thread, label in self.labels if thread != own]
        others = {label: at for (thread, label), at in self.labels.items() if thread != own and names.count(label) == 1}
        return others | {label: at for (thread, label), at in self.labels.items() if thread == own}

    def _instruction(self, text: str, address: int, labels: dict[str, int]) -> Instruction:
        try:
            return assemble(text, address, labels)
        except FormError as error:
            self.fail(str(error))

    def _state(
        self, state: str, line: int
    ) -> tuple[dict[tuple[int, int], tuple[Value, int]], dict[str, tuple[Value, int]]]:
        registers: dict[tuple[int, int], tuple[Value, int]] = {}
        memory: dict[str, tuple[Value, int]] = {}
        self.line = line
        for raw in state.split(";"):
            self.line += len(raw[: len(raw) - len(raw.lstrip())].split("\n")) - 1
            item = raw.strip()
            rest = raw.rstrip()[len(raw) - len(raw.lstrip()) :]
            if item.startswith("pte_"):
                item = ""
            if item:
                declared = re.match(rf"{_TYPES}\s*(\*)?\s*(?=[\w\[])(?!=)", item)
                left, given, right = item[declared.end() if declared else 0 :].partition("=")
                match = _PLACE.fullmatch(left.strip())
                if not match:
                    self.fail(f"`{item}` of the initial state is not understood")
                if not given and not declared:
                    self.fail(f"`{item}` has no value")
                value = (self._value(right.strip()) if given else Value("integer", "0"), self.line)
                if match[1]:
                    key = (int(match[1]), int(match[3]))
                    if key[1] > 30 or key[0] not in self.threads:
                        self.fail(f"`{left.strip()}` is no register of a thread that is there")
                    if registers.setdefault(key, value) != value and registers[key][0] != value[0] and given:
                        self.fail(f"`{left.strip()}` has two values")
                else:
                    self._name(match[4])
                    memory[match[4]] = value
                if value[0].kind == "name":
                    self._name(value[0].text)
            self.line += rest.count("\n") + raw[len(raw.rstrip()) :].count("\n") * bool(rest)
        return registers, memory

    def _name(self, name: str) -> int:
        return self.data.setdefault(name, _DATA + _LINE * len(self.data))

    def _value(self, text: str) -> Value:
        match = _VALUE.match(text)
        if not match:
            self.fail(f'`{text}` is no value that is read: an integer, a name, P0:label, NOP, or instr:"..."')
        if match["integer"]:
            return Value("integer", text, int(text, 0) if not re.fullmatch(r"-?0\d+", text) else int(text))
        if match["instr"] is not None or text.upper() in ("NOP", "ISB"):
            return Value("instruction", match["instr"] if match["instr"] is not None else text)
        if match["name"]:
            return Value("name", match["name"])
        return Value("label", match["l1"] or match["l2"], int(match["t1"] or match["t2"]))

    def _number(self, value: Value, line: int) -> int:
        """The value as a word of 64 bits."""
        self.line = line
        if value.kind == "integer":
            return value.number & (1 << 64) - 1
        if value.kind == "name":
            if value.text not in self.data:
                self.fail(f"nothing is called {value.text}")
            return self.data[value.text]
        if value.kind == "label":
            if (value.number, value.text) not in self.labels:
                self.fail(f"P{value.number} has no label {value.text}")
            address = self.labels[value.number, value.text]
            self.wanted.add(address)
            return address
        instruction = self._instruction(value.text, 0, {})
        self.known.setdefault(instruction.word, instruction)
        return instruction.word

    def _final(self, tail: str) -> tuple[Literal["exists", "~exists", "forall"], Term, list[Place]]:
        shown: list[Place] = []
        match = re.match(r"\s*locations\s*\[([^\]]*)\]\s*;?", tail)
        if match:
            shown.extend(self._place(part.strip()) for part in match[1].split(";") if part.strip())
            tail = tail[match.end() :]
        match = re.match(r"\s*(~\s*exists|exists|forall)\b", tail)
        if not match and tail.strip():
            self.fail(f"`{tail.strip().splitlines()[0]}` is no condition that is read: exists, ~exists, forall")
        if not match and not shown:
            self.fail("there is no final condition")
        if not match:
            return "forall", Term("true"), shown
        tokens = re.findall(
            r'fault\s*\([^)]*\)|label:\s*"[^"]*"|instr:\s*"[^"]*"|/\\|\\/|[()~=]|P?\d+:\s*\w+|-?\w+|\[\w+\]|\S',
            tail[match.end() :],
        )
        condition = _Condition(self, tokens, shown)
        term = condition.either()
        if condition.tokens:
            self.fail(f"`{condition.tokens[0]}` follows the condition")
        quantifier = match[1].replace(" ", "")
        assert quantifier in ("exists", "~exists", "forall")
        return quantifier, term, shown  # type: ignore[return-value]

    def _place(self, text: str) -> Place:
        match = _PLACE.fullmatch(text)
        if not match:
            self.fail(f"`{text}` is no register and no name")
        if match[1]:
            if int(match[1]) not in self.threads or int(match[3]) > 30:
                self.fail(f"`{text}` is no register of a thread that is there")
            return Register(int(match[1]), int(match[3]), f"X{match[3]}")
        if match[4] not in self.data:
            self.fail(f"nothing is called {match[4]}")
        return str(match[4])

    def fault(self, text: str) -> Fault:
        """The fault that a condition names."""
        match = re.fullmatch(r"fault\s*\(\s*P?(\d+)(?::(\w+))?\s*(?:,\s*(\w+)\s*)?\)", text)
        if not match or match[3] not in (None, "UndefinedInstruction") or match[2] is None:
            self.fail(f"`{text}` is no fault that is read: fault(P0:label,UndefinedInstruction)")
        if (int(match[1]), match[2]) not in self.labels:
            self.fail(f"P{match[1]} has no label {match[2]}")
        return Fault(int(match[1]), match[2])

    place = property(lambda self: self._place)

    def constant(self, text: str) -> int:
        """The number of a value in a condition."""
        return self._number(self._value(text), self.line)


class _Condition:
    r"""Reads a condition: ``~`` binds strongest, then ``/\``, then ``\/``."""

    def __init__(self, reader: _Reader, tokens: list[str], shown: list[Place]) -> None:
        self.reader, self.tokens, self.shown = reader, tokens, shown
        self.depth = 0

    def _chain(self, part: Callable[[], Term], sign: str, what: Literal["and", "or"]) -> Term:
        terms = [part()]
        while self.tokens and self.tokens[0] == sign:
            self.tokens.pop(0)
            terms.append(part())
        return terms[0] if len(terms) == 1 else Term(what, tuple(terms))

    def either(self) -> Term:
        return self._chain(self._both, "\\/", "or")

    def _both(self) -> Term:
        return self._chain(self._one, "/\\", "and")

    def _next(self) -> str:
        if not self.tokens:
            self.reader.fail("the condition ends early")
        return self.tokens.pop(0)

    def _one(self) -> Term:
        token = self._next()
        self.depth += 1
        if self.depth > 200:
            self.reader.fail("the condition is nested too deeply")
        try:
            if token in ("~", "not"):
                return Term("not", (self._one(),))
            if token == "(":
                term = self.either()
                if self._next() != ")":
                    self.reader.fail("a parenthesis of the condition does not end")
                return term
            if token == "true":
                return Term("true")
            place = self.reader.fault(token) if token.startswith("fault") else self.reader.place(token)
            if place not in self.shown:
                self.shown.append(place)
            if isinstance(place, Fault):
                return Term("is", place=place, value=1)
            if self._next() != "=":
                self.reader.fail(f"`{token}` of the condition is compared with nothing")
            return Term("is", place=place, value=self.reader.constant(self._next()))
        finally:
            self.depth -= 1


def parse(text: str, path: str) -> Litmus:
    """The test of a litmus file.  Raises :class:`LitmusError` that names ``path``, the line and the reason."""
    return _Reader(path, text).read()
