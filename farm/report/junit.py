"""``junit.xml``: a test case a cell."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from farm.report.explain import explain
from farm.verdict import SKIPPED, Result, Verdict

if TYPE_CHECKING:
    from farm.plan import Cell, Plan

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ERRORS = frozenset({Verdict.ENGINE_ERROR, Verdict.BUILD_ERROR})


def _legal(text: str) -> str:
    """``text`` without the characters that XML cannot hold."""
    return _ILLEGAL.sub("\ufffd", text)


def render(results: Sequence[Result], plan: Plan, absent: Sequence[Cell] = ()) -> bytes:
    """The report; a skipped cell carries its reason, a failed one its explanation, an ``absent`` one is an error."""
    suite = ET.Element(
        "testsuite",
        name="patchfarm",
        tests=str(len(results) + len(absent)),
        failures=str(sum(r.failed and r.verdict not in _ERRORS for r in results)),
        errors=str(sum(r.verdict in _ERRORS for r in results) + len(absent)),
        skipped=str(sum(r.verdict in SKIPPED for r in results)),
        time=f"{sum(r.seconds for r in results):.3f}",
    )
    cases = [*(_case(result, plan) for result in results), *(_absent(cell) for cell in absent)]
    head = ET.tostring(suite, encoding="unicode").removesuffix(" />")
    lines = ["<?xml version='1.0' encoding='utf-8'?>", "<testsuites>", f"  {head}>", *cases, "  </testsuite>"]
    return "\n".join([*lines, "</testsuites>", ""]).encode()


def _case(result: Result, plan: Plan) -> str:
    """One test case, indented; written by hand, for most carry nothing and there are many."""
    start = _start(result.cell, result.seconds)
    if result.verdict is Verdict.PASS:
        return start + " />"
    if result.verdict in SKIPPED:
        child = ET.Element("skipped", message=_legal(f"{result.verdict}: {result.reason}"))
    elif result.failed:
        kind = "error" if result.verdict in _ERRORS else "failure"
        child = ET.Element(kind, type=str(result.verdict), message=_legal(result.reason or ""))
        child.text = _legal(explain(result, plan))
    else:
        child = ET.Element("system-out")
        child.text = "this engine could not have shown the defect"
    return f"{start}>\n      {ET.tostring(child, encoding='unicode')}\n    </testcase>"


def _absent(cell: Cell) -> str:
    error = '<error type="no-result" message="planned, but no result is there" />'
    return f"{_start(cell, 0.0)}>\n      {error}\n    </testcase>"


def _start(cell: Cell, seconds: float) -> str:
    place = quoteattr(_legal(f"{cell.variant}.{cell.mechanism}.{cell.toolchain}.{cell.engine}"))
    return f'    <testcase classname={place} name={quoteattr(_legal(cell.scenario))} time="{seconds:.6f}"'
