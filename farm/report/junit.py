"""``junit.xml``: a test case a cell, as Jenkins' schema has it.

Class and name are one cell's alone, for that is what servers follow a test by.  One broken line of C can fail thousands
of cells, and servers refuse files of tens of megabytes, so not all of them are explained.
"""

from __future__ import annotations

import functools
import html
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import TYPE_CHECKING

from farm.cell import ERRORS, FAILED, SKIPPED, Verdict
from farm.report import by_kind, by_verdict, number_of, second_attempt
from farm.report.explain import explain
from farm.report.text import clipped, line, printable
from farm.run.verdict import Result

if TYPE_CHECKING:
    from farm.run.journal import Run
    from farm.run.plan import Plan

_EXPLAINED = 500  # failures, one of each kind first; the others have their reason
_MESSAGE = 1_000  # characters; the explanation has the whole


def render(results: Sequence[Result], plan: Plan, run: Run) -> bytes:
    """The report; a skipped cell carries its reason, a failed one its explanation.

    A known-bad cell that failed is skipped, for JUnit has no word for it.
    """
    counts = by_verdict(results)
    suite = ET.Element(
        "testsuite",
        name="patchfarm",
        timestamp=line(run.started).removesuffix("+00:00"),  # the schemas want it without a zone
        tests=str(len(results)),
        failures=str(number_of(counts, FAILED - ERRORS)),
        errors=str(number_of(counts, ERRORS)),
        skipped=str(number_of(counts, {*SKIPPED, Verdict.XFAIL})),
        time=f"{sum(r.seconds for r in results):.3f}",
    )
    about = {"farm": run.farm, "host": run.host, "plan": run.plan, **run.versions}
    if run.confinement:
        about["confinement"] = run.confinement
    properties = ET.Element("properties")
    for name, value in about.items():
        ET.SubElement(properties, "property", name=line(name), value=line(value))
    explained = set(map(id, by_kind(result for result in results if result.failed)[:_EXPLAINED]))
    cases = [_case(result, plan, explained=id(result) in explained) for result in results]
    head = ET.tostring(suite, encoding="unicode").removesuffix(" />")
    props = f"    {ET.tostring(properties, encoding='unicode')}"
    lines = ["<?xml version='1.0' encoding='utf-8'?>", "<testsuites>", f"  {head}>", props, *cases, "  </testsuite>"]
    return "\n".join([*lines, "</testsuites>", ""]).encode()


def _case(result: Result, plan: Plan, *, explained: bool) -> str:
    """One test case, indented; written by hand, for most carry nothing and there are many."""
    cell = result.cell
    place = _quoted(f"{cell.variant}.{cell.mechanism}.{cell.toolchain}.{cell.engine}")
    start = f'    <testcase classname="{place}" name="{_quoted(cell.scenario)}" time="{result.seconds:.6f}"'
    if result.verdict is Verdict.PASS and not result.retried:  # as almost always
        return start + " />"
    children = _children(result, plan, explained=explained)
    if not children:
        return start + " />"
    lines = [f"      {ET.tostring(child, encoding='unicode')}" for child in children]
    return "\n".join([f"{start}>", *lines, "    </testcase>"])


@functools.lru_cache(maxsize=8192)
def _quoted(text: str) -> str:
    """``text`` on one line, as the value of an attribute."""
    return html.escape(line(text))


def _children(result: Result, plan: Plan, *, explained: bool) -> list[ET.Element]:
    """XML elements of a test case: its outcome, then everything else there is to say of it."""
    children = []
    verdict, reason = result.verdict, result.reason or ""
    if verdict in SKIPPED or verdict is Verdict.XFAIL:
        message = reason if verdict is Verdict.XFAIL else f"{verdict}: {reason}"  # which says that it is known
        children.append(ET.Element("skipped", message=clipped(message, _MESSAGE)))
    elif result.failed:
        kind = "error" if verdict in ERRORS else "failure"
        children.append(ET.Element(kind, type=str(verdict), message=clipped(reason, _MESSAGE)))
        children[0].text = explain(result, plan) if explained else f"reproduce: {line(result.reproduce)}"
    more = ["this engine could not have shown the defect"] if verdict is Verdict.PASS_INSENSITIVE else []
    if result.retried:
        more.append(printable(second_attempt(result)))
    if more:
        children.append(ET.Element("system-out"))
        children[-1].text = "\n".join(more)
    return children
