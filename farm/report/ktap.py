"""``results.ktap``: KTAP version 1, as the kernel's Documentation/dev-tools/ktap.rst defines it.

Nested as variant > mechanism/toolchain/engine > scenario.  What the specification leaves open is as kselftest prints
it: a known-bad cell that failed is ``ok N name # XFAIL``, so that a parser which does not know the directive, and the
rule that a test fails if any of its subtests does, come to the same.  KTAP has no escapes, so a ``#`` in a name or a
reason becomes its full-width form.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import TYPE_CHECKING

from farm.cell import ERRORS, FAILED, PASSED, SKIPPED, Verdict
from farm.report import by_kind, by_verdict, number_of, second_attempt
from farm.report.explain import explain
from farm.report.text import indented, line
from farm.run.verdict import Result

if TYPE_CHECKING:
    from farm.run.plan import Plan

_EXPLAINED = 200  # failures, one of each kind first; the others have their reason
_DIRECTIVES = {
    Verdict.NOT_APPLICABLE: "SKIP",
    Verdict.NOT_RUN: "SKIP",
    Verdict.XFAIL: "XFAIL",
    Verdict.TIMEOUT: "TIMEOUT",
    Verdict.BUILD_ERROR: "ERROR",
    Verdict.ENGINE_ERROR: "ERROR",
}


def render(results: Sequence[Result], plan: Plan) -> str:
    """The report; a test that failed is explained in diagnostic lines before its result."""
    groups: dict[str, dict[str, list[Result]]] = {}
    for result in results:
        cell = result.cell
        guest = f"{cell.mechanism}/{cell.toolchain}/{cell.engine}"
        groups.setdefault(cell.variant, {}).setdefault(guest, []).append(result)
    explained = set(map(id, by_kind(result for result in results if result.failed)[:_EXPLAINED]))
    lines = _head(groups, "")
    for number, (variant, guests) in enumerate(groups.items(), 1):
        lines += _head(guests, "  ")
        for i, (guest, members) in enumerate(guests.items(), 1):
            lines += _head(members, "    ")
            for j, result in enumerate(members, 1):
                if id(result) in explained:
                    lines += indented(explain(result, plan), "    # ")
                lines.append(f"    {_case(j, result)}")
            lines.append(f"  {_whole(i, guest, members)}")
        lines.append(_whole(number, variant, [result for members in guests.values() for result in members]))
    return "\n".join([*lines, _totals(results), ""])


def _head(tests: Sized, indentation: str) -> list[str]:
    return [f"{indentation}KTAP version 1", f"{indentation}1..{len(tests)}"]


def _plain(text: str) -> str:
    return line(text).replace("#", "\uff03")


def _result(number: int, name: str, *, good: bool, directive: str = "", data: str = "") -> str:
    test = f"{'ok' if good else 'not ok'} {number} {_plain(name)}".rstrip()
    if not directive and not data:  # as almost always
        return test
    comment = " ".join(part for part in (directive, _plain(data)) if part)
    return f"{test} # {comment}" if comment else test


def _case(number: int, result: Result) -> str:
    verdict = result.verdict
    if verdict is Verdict.PASS and not result.retried:  # as almost always
        return _result(number, result.cell.scenario, good=True)
    parts = [result.reason or ""] if verdict is Verdict.TIMEOUT else [f"{verdict}: {result.reason or ''}"]
    if verdict in PASSED:
        parts = [] if verdict is Verdict.PASS else ["this engine could not have shown the defect"]
    parts += [second_attempt(result)] if result.retried else []
    directive = _DIRECTIVES.get(verdict, "")
    return _result(number, result.cell.scenario, good=not result.failed, directive=directive, data="; ".join(parts))


def _whole(number: int, name: str, results: Sequence[Result]) -> str:
    """A parent: failed if any of ``results`` is, skipped if all are."""
    if all(result.verdict in SKIPPED for result in results):
        reasons = {f"{result.verdict}: {result.reason}" for result in results}
        why = reasons.pop() if len(reasons) == 1 else "every subtest is skipped"
        return _result(number, name, good=True, directive="SKIP", data=why)
    failed = number_of(by_verdict(results), FAILED)
    return _result(number, name, good=not failed, data=f"{failed} of {len(results)} failed" if failed else "")


def _totals(results: Sequence[Result]) -> str:
    """The line that kselftest ends with."""
    verdicts = by_verdict(results)
    counts = {
        "pass": number_of(verdicts, PASSED),
        "fail": number_of(verdicts, FAILED - ERRORS - {Verdict.XPASS}),
        "xfail": verdicts[Verdict.XFAIL],
        "xpass": verdicts[Verdict.XPASS],
        "skip": number_of(verdicts, SKIPPED),
        "error": number_of(verdicts, ERRORS),
    }
    return "# Totals: " + " ".join(f"{name}:{count}" for name, count in counts.items())
