"""Reads litmus files of herd's format for AArch64; what is not understood is refused, never guessed."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, NoReturn

from farm.prove.litmus import condition
from farm.prove.litmus.assemble import assemble
from farm.prove.litmus.forms import FormError, Instruction
from farm.prove.litmus.model import LINE, Column, Final, Litmus, LitmusError, Location, Register

_CODE, _DATA = 0x40000000, 0x50000000  # addresses: both fit into a W register
_COLUMN, _HANDLER = 0x10000, 0x8000
_MOST = 8  # threads


class Value(NamedTuple):
    """A value as a file writes it: an integer, a data name, a label, or an instruction."""

    kind: Literal["integer", "name", "label", "instruction"]
    text: str
    number: int = 0


class Given(NamedTuple):
    """A value in the initial state, its line, and whether it is written or implied by a declaration."""

    value: Value
    line: int
    written: bool


_NAME = r"[A-Za-z_.$][\w.$]*"
_VALUE = re.compile(
    rf"""(?P<integer>-?(?:0[xX][0-9a-fA-F]+|\d+))$ | label:\s*"P?(?P<t1>\d+):(?P<l1>[^"]+)"$
    | P?(?P<t2>\d+):\s*(?P<l2>{_NAME})$
    | instr:\s*"(?P<instr>[^"]*)"$ | &?(?P<name>{_NAME})$""",
    re.VERBOSE,
)
_PLACE = re.compile(rf"P?(\d+):\s*([XxWw])(\d+)|({_NAME})|\[\s*({_NAME})\s*\]")
#: A declaration: a type, a pointer's star, a place.
_DECLARED = re.compile(
    rf"(?:_Atomic\s+)?(?:(?P<type>{_NAME})(?=[\s*\[])\s*)?(?P<star>\*?)\s*(?P<place>[^=\s].*)", re.DOTALL
)
_END = re.compile(r"(~?\s*exists|forall|locations|filter|final|observed)\b|\(")
_VARIANTS = ("self", "ifetch", "fatal")


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
        made, depth, quoted, at = [], 0, False, 0
        for match in re.finditer(r'\(\*|\*\)|"', text):
            if match[0] == '"':
                quoted ^= not depth
            elif match[0] == "(*" and not quoted:
                if not depth:
                    made.append(text[at : match.start()])
                    at = match.start()
                depth += 1
            elif match[0] == "*)" and depth:
                depth -= 1
                if not depth:
                    made.append(re.sub(r"[^\n]", " ", text[at : match.end()]))
                    at = match.end()
        if depth:
            self.line = text.count("\n", 0, at) + 1
            self.fail("a comment does not end")
        return "".join((*made, text[at:]))

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
            if key.lower() == "cachetype":
                kinds = value.replace(",", " ").split()
                if set(kinds) - {"DIC", "IDC"}:
                    self.fail(f"CacheType={value}: valid are DIC and IDC")
                dic, idc = "DIC" in kinds, bool(kinds)
            elif key.lower() == "variant" and set(value.replace(",", " ").split()) - set(_VARIANTS):
                self.fail(f"{key}={value}: valid are {', '.join(_VARIANTS)}")
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
        starts = {register: self._number(given) for register, given in registers.items()}
        contents = {self.data[name]: self._number(given) for name, given in memory.items()}
        self.line = where
        final = self._final(tail)
        for address in sorted(self.wanted):
            if address in self.instructions:
                contents[address] = self.instructions[address].word
        for address in self.data.values():
            contents.setdefault(address, 0)
        names = {address: name for name, address in self.data.items()}
        for (thread, label), address in reversed(self.labels.items()):
            names[address] = f'label:"P{thread}:{label}"'
        return Litmus(
            title[1].strip(), dic, idc or dic, columns, self.instructions, self.known, starts, contents, names,
            self.data, self.labels, final,
        )  # fmt: skip

    def _table(self, body: str) -> tuple[list[Column], str]:
        rows: list[tuple[list[str], int]] = []
        at = 0
        while True:
            match = re.compile(r"\s*").match(body, at)
            assert match
            start = match.end()
            if start == len(body) or (rows and _END.match(body, start)):
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
                *labels, code = re.split(r"(?<=[\w.$])\s*:\s*", cell)
                for label in labels:
                    if not re.fullmatch(_NAME, label):
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

    def _state(self, state: str, line: int) -> tuple[dict[Register, Given], dict[str, Given]]:
        registers: dict[Register, Given] = {}
        memory: dict[str, Given] = {}
        self.line = line
        for raw in state.split(";"):
            item = raw.strip()
            ahead = raw[: len(raw) - len(raw.lstrip())].count("\n")
            self.line += ahead
            if item and not item.startswith("pte_"):
                self._item(item, registers, memory)
            self.line += raw.count("\n") - ahead
        return registers, memory

    def _item(self, item: str, registers: dict[Register, Given], memory: dict[str, Given]) -> None:
        left, written, right = item.partition("=")
        match = _DECLARED.fullmatch(left.strip())
        place = self.place(match["place"].strip()) if match else None
        if place is None:
            self.fail(f"`{item}` of the initial state is not understood")
        value = self._value(right.strip()) if written else Value("integer", "0")
        if value.kind == "name":
            self._name(value.text)
        given = Given(value, self.line, bool(written))
        before = registers.get(place) if isinstance(place, Register) else memory.get(place.name)
        if before and before.written:
            if written and before.value != value:
                self.fail(f"`{left.strip()}` has two values")
        elif isinstance(place, Register):
            registers[place] = given
        else:
            memory[place.name] = given

    def _name(self, name: str) -> int:
        return self.data.setdefault(name, _DATA + LINE * len(self.data))

    def _value(self, text: str) -> Value:
        match = _VALUE.match(text)
        if not match:
            self.fail(f'`{text}` is no value that is read: an integer, a name, P0:label, NOP, or instr:"..."')
        if match["integer"]:
            return Value("integer", text, int(text, 0) if not re.fullmatch(r"-?0\d+", text) else int(text))
        if match["instr"] is not None or text in ("NOP", "nop"):
            return Value("instruction", match["instr"] if match["instr"] is not None else text)
        if match["name"]:
            return Value("name", match["name"])
        return Value("label", match["l1"] or match["l2"], int(match["t1"] or match["t2"]))

    def _number(self, given: Given) -> int:
        """The value as a word of 64 bits."""
        value, self.line, _ = given
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

    def _final(self, tail: str) -> Final:
        return condition.Reader(self, tail).read()

    def place(self, text: str) -> Register | Location | None:
        """The register or the location that ``text`` is; None if it has the form of neither."""
        match = _PLACE.fullmatch(text)
        if not match:
            return None
        if match[1]:
            if int(match[1]) not in self.threads or int(match[3]) > 30:
                self.fail(f"`{text}` is no register of a thread that is there")
            return Register(int(match[1]), int(match[3]))
        location = Location(match[4] or match[5])
        self._name(location.name)
        return location

    def constant(self, text: str) -> int:
        """The number of a value in a condition."""
        return self._number(Given(self._value(text), self.line, True))


def parse(text: str, path: str) -> Litmus:
    """The test of a litmus file.  Raises :class:`LitmusError` that names ``path``, the line and the reason."""
    return _Reader(path, text).read()
