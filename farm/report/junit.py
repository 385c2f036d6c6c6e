"""``junit.xml``: a test case a cell."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import TYPE_CHECKING

from farm.report.explain import explain
from farm.verdict import SKIPPED, Result, Verdict

if TYPE_CHECKING:
    from farm.plan import Plan

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ERRORS = frozenset({Verdict.ENGINE_ERROR, Verdict.BUILD_ERROR})


def _legal(text: str) -> str:
    """``text`` without the characters that XML cannot hold."""
    return _ILLEGAL.sub("\ufffd", text)


def render(results: Sequence[Result], plan: Plan) -> bytes:
    """The report; a skipped cell carries its reason, a failed one its explanation."""
    suite = ET.Element(
        "testsuite",
        name="patchfarm",
        tests=str(len(results)),
        failures=str(sum(r.failed and r.verdict not in _ERRORS for r in results)),
        errors=str(sum(r.verdict in _ERRORS for r in results)),
        skipped=str(sum(r.verdict in SKIPPED for r in results)),
        time=f"{sum(r.seconds for r in results):.3f}",
    )
    for result in results:
        cell = result.cell
        place = _legal(f"{cell.variant}.{cell.mechanism}.{cell.toolchain}.{cell.engine}")
        case = ET.SubElement(
            suite, "testcase", classname=place, name=_legal(cell.scenario), time=f"{result.seconds:.6f}"
        )
        if result.verdict in SKIPPED:
            ET.SubElement(case, "skipped", message=_legal(f"{result.verdict}: {result.reason}"))
        elif result.failed:
            kind = "error" if result.verdict in _ERRORS else "failure"
            problem = ET.SubElement(case, kind, type=str(result.verdict), message=_legal(result.reason or ""))
            problem.text = _legal(explain(result, plan))
        elif result.verdict is Verdict.PASS_INSENSITIVE:
            ET.SubElement(case, "system-out").text = "this engine could not have shown the defect"
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"
