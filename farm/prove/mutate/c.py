"""Mutations of C, by its syntax: what a macro is defined as, too."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Container, Iterator
from typing import TYPE_CHECKING, Any

from farm.prove.mutate.operators import Mutation, Terms

if TYPE_CHECKING:
    from tree_sitter import Node

#: A mutation within a node: operator, where it begins and ends, and what stands there then.
_Found = tuple[str, int, int, bytes]

#: Names that maintenance is called by.
_MAINTENANCE = re.compile(rb"sync|flush|clear_?cache|inval|barrier", re.IGNORECASE)

_STATEMENTS = ("expression_statement", "if_statement", "for_statement", "while_statement")
_NARROW, _WIDE = b"unsigned short", b"unsigned long long"
_BOUNDARIES = {b"<": b"<=", b"<=": b"<", b">": b">=", b">=": b">"}
_SIGNS = {b"intptr_t": b"uintptr_t", b"int32_t": b"uint32_t", b"int64_t": b"uint64_t", b"ptrdiff_t": b"size_t"}
_SIGNS |= {b"int16_t": b"uint16_t", b"int8_t": b"uint8_t", b"int": b"unsigned", b"long": b"unsigned long"}
_CONTRARY = {b"+=": b"-=", b"-=": b"+=", b"|=": b"&=", b"&=": b"|=", b"++": b"--", b"--": b"++"}
_ERROR = re.compile(rb"(?!\w*_OK$|\w*OK$|NULL$|TRUE$|true$)([A-Z][A-Z0-9_]*|false)")
_HEX = re.compile(rb"(0[xX])([0-9a-fA-F]+)([uUlL]*)")
_DECIMAL = re.compile(rb"(\d+)([uUlL]*)")
_UNIT = re.compile(rb"\b[A-Z_][A-Za-z_]*\((?:[^()\"]*\"(?:[^\"\\]|\\.)*\"[^()\"]*)\)")  # of a macro: STEP(0, "isb")
_STRING = re.compile(rb"\"((?:[^\"\\]|\\.)*)\"")
_SEPARATOR = re.compile(rb"(\\n(?:\\t)?|;)\s*")


@functools.cache
def _parser() -> Any:
    import tree_sitter_c
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_c.language()))


def mutations(
    text: bytes, active: Container[int], terms: Terms, macros: Container[str] | None = None
) -> Iterator[Mutation]:
    """Every mutation of ``text`` that begins in an ``active`` line.

    With ``macros``, of what is defined only these.
    """
    file = _File(text, terms, macros)
    seen = set()
    for operator, start, end, replacement in file.walk(_parser().parse(text).root_node, 0, text):
        line = text.count(b"\n", 0, start) + 1
        known = (start, end, replacement)
        if line in active and text[start:end] != replacement and known not in seen:
            seen.add(known)
            yield Mutation(operator, line, file.last_line(start, line), start, end, replacement)


class _File:
    """A text that is being walked."""

    def __init__(self, text: bytes, terms: Terms, macros: Container[str] | None) -> None:
        self._text, self._terms, self._macros = text, terms, macros
        self._statements: list[tuple[int, int]] = []  # start and end of each, outermost first

    def last_line(self, start: int, line: int) -> int:
        """The line where the statement ends that ``start``, in ``line``, is in."""
        ends = [end for begin, end in self._statements if begin <= start < end]
        return self._text.count(b"\n", 0, ends[-1]) + 1 if ends else line

    def walk(self, node: Node, base: int, text: bytes) -> Iterator[_Found]:
        """What is found in ``node``, which was parsed of ``text``, ``base`` bytes into the file."""
        if node.type in ("preproc_def", "preproc_function_def"):
            yield from self._macro(node)
            return
        if node.type in ("expression_statement", "return_statement", "declaration") and base == 0:
            self._statements.append((node.start_byte, node.end_byte))
        for found in _FINDERS.get(node.type, ()):
            for operator, start, end, replacement in found(node, self._terms):
                yield operator, start + base, end + base, replacement
        for child in node.named_children:
            yield from self.walk(child, base, text)

    def _macro(self, node: Node) -> Iterator[_Found]:
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name is None or value is None or (self._macros is not None and _of(name).decode() not in self._macros):
            return
        body = _of(value)
        if _UNIT.search(body):
            yield from _pieces(value.start_byte, body, [match.span() for match in _UNIT.finditer(body)], b"")
            return
        for before, behind in ((b"int m = (", b");"), (b"void m(void) { ", b"; }")):
            parsed = _parser().parse(before + body + behind).root_node
            if not parsed.has_error:
                for operator, start, end, replacement in self.walk(parsed, value.start_byte - len(before), body):
                    if value.start_byte <= start and end <= value.end_byte:
                        yield operator, start, end, replacement
                return


def _of(node: Node) -> bytes:
    assert node.text is not None
    return node.text


def _field(node: Node, name: str) -> Node:
    child = node.child_by_field_name(name)
    assert child is not None
    return child


def _operator(node: Node) -> Node:
    return _field(node, "operator")


def _whole(node: Node, operator: str, replacement: bytes) -> _Found:
    return operator, node.start_byte, node.end_byte, replacement


# Statements.


def _statement(node: Node, terms: Terms) -> Iterator[_Found]:
    expression = node.named_children[0] if node.named_children else None
    if expression is None or (expression.type == "cast_expression" and _of(_field(expression, "type")) == b"void"):
        return
    yield _whole(node, "drop-statement", b";")
    yield _whole(node, "duplicate-statement", b"{ %b %b }" % (_of(node), _of(node)))
    if expression.type == "assignment_expression" and _of(_operator(expression)) == b"=":
        left, right = _field(expression, "left"), _field(expression, "right")
        if _is_store(left):
            place, value = _of(left), _of(right)
            yield _whole(
                node,
                "split-store",
                b"{ const __typeof__(%b) m_value = %b; volatile unsigned char *m_to = (volatile unsigned char *)&(%b);"
                b" for (unsigned m = 0; m < sizeof m_value; m++) m_to[m] = ((const unsigned char *)&m_value)[m]; }"
                % (place, value, place),
            )
    if expression.type == "call_expression" and _MAINTENANCE.search(_of(_field(expression, "function"))):
        arguments = _field(expression, "arguments").named_children
        if arguments:
            yield _whole(arguments[0], "maintenance-place", b"%b + %d" % (_of(arguments[0]), terms.block))
        if len(arguments) > 1:
            yield _whole(arguments[-1], "maintenance-length", b"(%b) / 2" % _of(arguments[-1]))


def _is_store(left: Node) -> bool:
    return left.type == "pointer_expression" or (
        left.type == "subscript_expression" and b"volatile" in _of(_field(left, "argument"))
    )


def _jump(node: Node, terms: Terms) -> Iterator[_Found]:
    del terms
    yield _whole(node, "drop-statement", b";")


def _block(node: Node, terms: Terms) -> Iterator[_Found]:
    """Neighbours change places, if one of them at least is an expression."""
    del terms
    children = [child for child in node.named_children if child.type != "comment"]
    for first, second in itertools.pairwise(children):
        types = first.type, second.type
        if all(each in _STATEMENTS for each in types) and "expression_statement" in types:
            between = (
                node.text[first.end_byte - node.start_byte : second.start_byte - node.start_byte] if node.text else b""
            )
            swapped = _of(second) + between + _of(first)
            yield "swap-statements", first.start_byte, second.end_byte, swapped


def _if(node: Node, terms: Terms) -> Iterator[_Found]:
    condition = _field(node, "condition")
    yield from _condition(condition, terms)
    if node.child_by_field_name("alternative") is None:
        yield _whole(node, "skip-check", b";")
        if b"(" in _of(condition)[1:-1]:
            yield _whole(node, "drop-error", b"(void)%b;" % _of(condition))


def _condition(condition: Node, terms: Terms) -> Iterator[_Found]:
    del terms
    text = _of(condition)
    yield _whole(condition, "negate-condition", b"(!%b)" % text if text.startswith(b"(") else b"!(%b)" % text)


def _conditional(node: Node, terms: Terms) -> Iterator[_Found]:
    condition, then = _field(node, "condition"), _field(node, "consequence")
    yield from _condition(condition, terms)
    otherwise = _field(node, "alternative")
    for kept in (then, otherwise):
        yield _whole(node, "skip-check", b"(%b)" % _of(kept))
    for each in (then, otherwise):
        if _ERROR.fullmatch(_of(each)):
            yield _whole(each, "drop-error", b"0" if _of(each) != b"false" else b"true")


def _loop(node: Node, terms: Terms) -> Iterator[_Found]:
    condition = node.child_by_field_name("condition")
    if condition is not None:
        yield from _condition(condition, terms)
    body = _field(node, "body")
    yield _whole(body, "loop-once", b"{ %b break; }" % _of(body))
    update = node.child_by_field_name("update")
    if update is not None:
        text = _of(update)
        stepped = re.fullmatch(rb"(?:(\w+)\+\+|\+\+(\w+))", text)
        if stepped:
            yield _whole(update, "loop-stride", b"%b += 2" % (stepped[1] or stepped[2]))
        elif b"+=" in text:
            name, _, step = text.partition(b"+=")
            yield _whole(update, "loop-stride", b"%b += 2 * (%b)" % (name.strip(), step.strip()))
    first = node.child_by_field_name("initializer")
    if first is not None:
        begins = re.search(rb"=\s*0\b", _of(first))
        if begins:
            start = first.start_byte + begins.start()
            yield "loop-late", start, first.start_byte + begins.end(), b"= 1"


def _return(node: Node, terms: Terms) -> Iterator[_Found]:
    del terms
    value = node.named_children[0] if node.named_children else None
    if value is None:
        return
    text = _of(value)
    if _ERROR.fullmatch(text):
        yield _whole(value, "drop-error", b"true" if text == b"false" else b"0")
    elif re.fullmatch(rb"-\s*\w+", text):
        yield _whole(value, "drop-error", b"0")
    if value.type in ("binary_expression", "call_expression") and re.search(rb"[|^]|0x|<<", text):
        returned = _returned(node)
        if returned:
            yield _whole(value, "byte-order", _swapped(b"(%b)(%b)" % (returned, text), returned))


def _returned(node: Node) -> bytes:
    """The type that the function around ``node`` returns; empty if it is none of words."""
    while node.parent is not None and node.type != "function_definition":
        node = node.parent
    of = node.child_by_field_name("type")
    return _of(of) if of is not None and _of(of) in (b"code_word", b"uint32_t", b"uint16_t", b"uint64_t") else b""


def _swapped(value: bytes, of: bytes) -> bytes:
    return (
        b"(sizeof(%b) == 8 ? __builtin_bswap64(%b) : sizeof(%b) == 4 ? __builtin_bswap32(%b) : "
        b"sizeof(%b) == 2 ? __builtin_bswap16(%b) : (%b))" % (of, value, of, value, of, value, value)
    )


# Expressions.


def _assignment(node: Node, terms: Terms) -> Iterator[_Found]:
    del terms
    operator, left, right = _operator(node), _field(node, "left"), _field(node, "right")
    if contrary := _CONTRARY.get(_of(operator)):
        yield _whole(operator, "plus-minus", contrary)
    if _of(operator) == b"=" and _is_store(left):
        yield _whole(left, "narrow-store", b"*(volatile %b *)&(%b)" % (_NARROW, _of(left)))
        yield _whole(left, "widen-store", b"*(volatile %b *)&(%b)" % (_WIDE, _of(left)))
        yield _whole(right, "byte-order", _swapped(b"(%b)" % _of(right), b"__typeof__(%b)" % _of(left)))


def _update(node: Node, terms: Terms) -> Iterator[_Found]:
    del terms
    operator = _operator(node)
    if node.parent is not None and node.parent.type != "for_statement":
        yield _whole(operator, "plus-minus", _CONTRARY[_of(operator)])


def _binary(node: Node, terms: Terms) -> Iterator[_Found]:
    operator, left, right = _operator(node), _field(node, "left"), _field(node, "right")
    sign, a, b = _of(operator), _of(left), _of(right)
    if sign in (b"+", b"-"):
        yield _whole(operator, "plus-minus", b"-" if sign == b"+" else b"+")
        if "number_literal" not in (left.type, right.type):
            yield _whole(node, "shift-displacement", b"(%b + %d)" % (_of(node), terms.unit))
            if sign == b"-":
                yield _whole(node, "swap-operands", b"%b - %b" % (b, a))
    elif sign in (b"<<", b">>"):
        if (match := _DECIMAL.fullmatch(b)) is not None:
            for count in (int(match[1]) - 1, int(match[1]) + 1):
                yield _whole(right, "shift-count", b"%d" % count)
    elif sign in _BOUNDARIES:
        yield _whole(operator, "boundary", _BOUNDARIES[sign])
    elif sign in (b"&", b"|", b"^"):
        yield _whole(node, "drop-bits", b"(%b)" % a)
        yield _whole(node, "drop-bits", b"(%b)" % b)
    elif sign in (b"&&", b"||"):
        yield _whole(node, "drop-operand", b"(%b)" % a)
        yield _whole(node, "drop-operand", b"(%b)" % b)
    elif sign in (b"==", b"!="):
        yield _whole(operator, "negate-condition", b"!=" if sign == b"==" else b"==")


def _number(node: Node, terms: Terms) -> Iterator[_Found]:
    del terms
    text = _of(node)
    if (match := _HEX.fullmatch(text)) is not None:
        value, width = int(match[2], 16), len(match[2])
        bits = [0, max(value.bit_length() - 1, 0), (value & -value).bit_length() - 1 if value else 0]
        for bit in dict.fromkeys(bits):
            yield _whole(node, "flip-bit", b"0x%0*x%b" % (width, value ^ 1 << bit, match[3]))
    elif (match := _DECIMAL.fullmatch(text)) is not None:
        parent = node.parent
        if parent is not None and parent.type == "array_declarator":
            return
        is_binary = parent is not None and parent.type == "binary_expression"
        if (
            parent is not None
            and is_binary
            and _of(_operator(parent)) in (b"<<", b">>")
            and _field(parent, "right") == node
        ):
            return  # that is a count
        value = int(match[1])
        for other in (value + 1, value - 1):
            if other >= 0:
                yield _whole(node, "off-by-one", b"%d%b" % (other, match[2]))


def _call(node: Node, terms: Terms) -> Iterator[_Found]:
    del terms
    arguments = [each for each in _field(node, "arguments").named_children if each.type != "comment"]
    is_value = node.parent is not None and node.parent.type != "expression_statement"
    if len(arguments) == 1 and is_value and arguments[0].type != "string_literal":
        yield _whole(node, "unwrap-call", b"(%b)" % _of(arguments[0]))
    if len(arguments) == 3 and arguments[2].type == "sizeof_expression":
        at, of, size = map(_of, arguments)
        name = _of(_field(node, "function"))
        first = b"%b(%b, %b, (%b) / 2)" % (name, at, of, size)
        rest = b"%b(%b + (%b) / 2, (const unsigned char *)(%b) + (%b) / 2, (%b) - (%b) / 2)" % (
            *(name, at, size, of),
            *(size, size, size),
        )
        yield _whole(node, "split-store", b"(%b && %b)" % (first, rest))
    for one, other in itertools.pairwise(arguments):
        if "string_literal" not in (one.type, other.type) and _of(one) != _of(other):
            yield "swap-operands", one.start_byte, other.end_byte, b"%b, %b" % (_of(other), _of(one))


def _size(node: Node, terms: Terms) -> Iterator[_Found]:
    del terms
    parent = node.parent
    if parent is not None and parent.type in ("argument_list", "binary_expression"):
        if parent.type == "binary_expression" and _of(_operator(parent)) == b"/":
            return  # a number of elements
        yield _whole(node, "narrow-store", b"(%b / 2)" % _of(node))
        yield _whole(node, "widen-store", b"(%b * 2)" % _of(node))


def _type(node: Node, terms: Terms) -> Iterator[_Found]:
    """Types of casts and of variables: a number loses its sign, or gets one."""
    del terms
    of = node.child_by_field_name("type")
    if of is None:
        return
    text = _of(of)
    other = _SIGNS.get(text) or next((signed for signed, plain in _SIGNS.items() if plain == text), None)
    is_pointer = (node.type == "type_descriptor" and b"*" in _of(node)) or b"*" in _of(node).partition(b"=")[0]
    if other and not is_pointer:
        yield _whole(of, "wrong-sign", other)


def _volatile(node: Node, terms: Terms) -> Iterator[_Found]:
    del terms
    if _of(node) == b"volatile":
        yield _whole(node, "drop-volatile", b"")


def _asm(node: Node, terms: Terms) -> Iterator[_Found]:
    """Instructions of a string, one behind the other."""
    del terms
    code = node.child_by_field_name("assembly_code")
    if code is not None:
        for match in _STRING.finditer(_of(code)):
            spans, at = [], match.start(1)
            for piece in _SEPARATOR.split(match[1])[::2]:
                place = _of(code).find(piece, at)
                if piece.strip():
                    spans.append((place, place + len(piece)))
                at = place + len(piece)
            yield from _pieces(code.start_byte, _of(code), spans, b"\\n\\t")


def _pieces(start: int, text: bytes, spans: list[tuple[int, int]], separator: bytes) -> Iterator[_Found]:
    """Pieces of ``text``, instructions all, that are left out, executed twice or change places."""
    for number, (first, end) in enumerate(spans):
        piece = text[first:end]
        yield "drop-instruction", start + first, start + end, b""
        yield "duplicate-instruction", start + first, start + end, piece + (separator or b" ") + piece
        if number + 1 < len(spans):
            after, last = spans[number + 1]
            yield "swap-instructions", start + first, start + last, text[after:last] + text[end:after] + piece


_FINDERS: dict[str, tuple[Callable[[Any, Terms], Iterator[_Found]], ...]] = {
    "expression_statement": (_statement,),
    "break_statement": (_jump,),
    "continue_statement": (_jump,),
    "compound_statement": (_block,),
    "preproc_ifdef": (_block,),
    "if_statement": (_if,),
    "conditional_expression": (_conditional,),
    "for_statement": (_loop,),
    "return_statement": (_return,),
    "assignment_expression": (_assignment,),
    "update_expression": (_update,),
    "binary_expression": (_binary,),
    "number_literal": (_number,),
    "call_expression": (_call,),
    "sizeof_expression": (_size,),
    "type_descriptor": (_type,),
    "declaration": (_type,),
    "type_qualifier": (_volatile,),
    "gnu_asm_expression": (_asm,),
}
