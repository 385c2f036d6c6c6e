"""The child process that judges litmus files: ``python -m farm.prove.litmus.child``.

Each line of standard input is a :class:`Question` in JSON, each line of standard output a :class:`Verdict`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import msgspec

from farm.prove.litmus.check import AstrayError, Checker, holds, states_text
from farm.prove.litmus.execute import Event, Threads, Unbounded
from farm.prove.litmus.model import LitmusError, Term
from farm.prove.litmus.parse import parse


class Question(msgspec.Struct):
    """A file that is to be judged, for the kind of cache that it names itself if ``dic`` or ``idc`` is None."""

    path: str
    text: str
    dic: bool | None = None
    idc: bool | None = None
    witness: bool = False
    without: tuple[str, ...] = ()


class Verdict(msgspec.Struct):
    """What came of a file: its final states, and what they make of its condition."""

    path: str
    name: str = ""
    observed: bool = False  #: some state fits the condition
    states: list[str] = []
    verdict: str = ""  #: Allowed, Forbidden or Required
    witness: list[str] = []
    notes: list[str] = []  #: what was left out
    error: str = ""  #: why there is no verdict
    refused: bool = False  #: the file is at fault


def judge(question: Question) -> Verdict:
    """The verdict of a file, or the reason why there is none."""
    try:
        test = parse(question.text, question.path)
        dic = test.dic if question.dic is None else question.dic
        idc = dic or (test.idc if question.idc is None else question.idc)
        threads = Threads(test)
    except LitmusError as error:
        return Verdict(question.path, error=str(error), refused=True)
    except Unbounded as error:
        return Verdict(question.path, error=f"{question.path}: {error}", refused=True)
    checker = Checker(test, dic=dic, idc=idc, without=question.without)
    final = test.final
    wanted = Term("not", (final.condition,)) if final.quantifier == "forall" else final.condition
    try:
        found = checker.outcomes(threads, Term("and", (final.filter, wanted)) if question.witness else None)
    except AstrayError as error:
        line, reason = error.astray
        return Verdict(question.path, error=f"{question.path}:{line}: {reason}", refused=True)
    if not found.states:
        return Verdict(question.path, error=f"{question.path}: no execution ends: {found.notes[0]}", refused=True)
    counted = [state for state in found.states if holds(final.filter, test.places, state)]
    fits = [state for state in counted if holds(final.condition, test.places, state)]
    verdict = "Allowed" if fits else "Forbidden"
    if final.quantifier == "forall" and len(fits) == len(counted):
        verdict = "Required"
    told = [f"P{thread}: {_told(test.text, event)}" for thread, event in found.witness]
    states = sorted({states_text(test, state) for state in counted})
    return Verdict(question.path, test.name, bool(fits), states, verdict, told, list(found.notes))


def _told(text: Callable[[int], str], event: Event) -> str:
    if event.kind == "F":
        return f"fetches `{event.text}` at {text(event.place)}"
    if event.kind in ("R", "W"):
        return f"`{event.text}` {'loads' if event.kind == 'R' else 'stores'} {text(event.value)} at {text(event.place)}"
    if event.kind == "isb" and event.exception:
        return f"`{event.text}` enters or leaves an exception"
    where = f" for {text(event.place)}" if event.place else ""
    return f"`{event.text}`{where}"


def main() -> None:
    """Answer questions until there are no more."""
    decoder = msgspec.json.Decoder(Question)
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(msgspec.json.encode(judge(decoder.decode(line))) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
