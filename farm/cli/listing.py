"""Rows for ``farm list``: each is a dictionary with a ``name``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from farm import suite
from farm.engines import Engine, engines
from farm.errors import MissingToolError, UnknownNameError
from farm.guest import arch_toml, bodies, mechanisms, rules
from farm.guest.call_sites import width
from farm.guest.controls import CONTROLS
from farm.guest.mechanisms import Mechanism
from farm.guest.toolchain import TOOLCHAINS
from farm.guest.variant import CallSiteForm, Variant
from farm.run.measured import blind_everywhere
from farm.run.plan import Selection
from farm.scenario.promises import Promise
from farm.suite.absent import ABSENT
from farm.text import counted


def rows(what: str, known: Selection) -> list[dict[str, Any]]:
    """Everything of the kind ``what`` that ``known`` knows by its paths.

    Raises :class:`~farm.errors.UnknownNameError` if there is no such kind.
    """
    made_by = mechanisms.load(known.mechanism_path)
    makers: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "variants": lambda: _variants(known.arch_path, made_by),
        "mechanisms": lambda: _mechanisms(known.arch_path, made_by),
        "baselines": _baselines,
        "engines": _engines,
        "toolchains": lambda: _toolchains(known.arch_path),
        "scenarios": lambda: _scenarios(known.scenario_path, made_by),
        "controls": _controls,
        "instructions": lambda: _instructions(known.arch_path, made_by),
        "bodies": lambda: _bodies(known.arch_path),
        "rules": lambda: _rules(known.arch_path),
    }
    if what not in makers:
        raise UnknownNameError("list", what, makers)
    return makers[what]()


def brief(value: object) -> str:
    """A value of a row on one line; what there is none of is empty."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def lines(what: str, listed: list[dict[str, Any]]) -> Iterator[str]:
    """The rows ``listed``, of the kind ``what``, for people: a line each, or a paragraph each."""
    if what == "rules":
        yield from _rule_lines(listed)
        return
    width = max(len(row["name"]) for row in listed)
    for row in listed:
        values = _paragraph(row) if what == "mechanisms" else ["  ".join(brief(row[k]) for k in row if k != "name")]
        yield f"{row['name']:<{width}}  {values[0]}"
        yield from (f"{'':<{width}}  {value}" for value in values[1:])


def _paragraph(mechanism: dict[str, Any]) -> list[str]:
    """What is said of a mechanism, and of what it does not promise."""
    promises, variants = mechanism["promises"], mechanism["variants"]
    lacks = sorted(set(map(str, Promise)).difference(promises))
    return [
        mechanism["what"],
        f"on {counted(len(variants), 'variant')}: {', '.join(variants)}",
        *(f"on {pattern}: {what}" for pattern, what in mechanism["on"].items()),
        *(f"not on {', '.join(names)}: {reason}" for reason, names in mechanism["absent"].items()),
        f"patching is {mechanism['patching']}{_elsewhere(mechanism['patching_on'])}",
        f"promises {', '.join(promises) or 'nothing'}",
        *([f"does not promise {', '.join(lacks)}"] if lacks else ()),
        mechanism["folder"],
        *([mechanism["unready"]] if mechanism["unready"] else ()),
    ]


def _elsewhere(on: dict[str, str]) -> str:
    return f", on {', '.join(f'{name} {patching}' for name, patching in on.items())}" if on else ""


def _rule_lines(listed: list[dict[str, Any]]) -> Iterator[str]:
    """A paragraph for all variants whose rules are the same, and two lines a rule: what it says, what it stands on."""
    by_variant: dict[str, tuple[tuple[str, ...], ...]] = {}
    for row in listed:
        rule = (row["rule"], row["says"], row["basis"], row["source"])
        by_variant[row["name"]] = (*by_variant.get(row["name"], ()), rule)
    alike: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for name, own in by_variant.items():
        alike.setdefault(own, []).append(name)
    for own, names in alike.items():
        yield ", ".join(names)
        width = max(len(about) for about, *_ in own)
        for about, says, basis, source in own:
            yield f"  {about:<{width}}  {says}"
            yield f"  {'':<{width}}  {': '.join(filter(None, (basis, source))) or 'no source'}"
        yield ""


_Mechanisms = dict[str, Mechanism]


def _variants(arch_path: tuple[Path, ...], made_by: _Mechanisms) -> list[dict[str, Any]]:
    rows = []
    for v in arch_toml.load(arch_path).values():
        ready = _ready(v)
        rows.append(
            {
                "name": v.name,
                "architecture": v.architecture,
                "bits": v.bits,
                "byte_order": v.byte_order,
                "mechanisms": [name for name, mechanism in made_by.items() if not mechanism.missing(v)],
                "toolchains": list(v.toolchain),
                "engines": {name: _hole(engine, v) or ready for name, engine in engines().items()},
            }
        )
    return rows


def _hole(engine: Engine, variant: Variant) -> str | None:
    hole = engine.hole(variant)
    return hole.reason if hole else None


def _ready(variant: Variant) -> str:
    """``ready`` if the compiler that is chosen by default is here, else what is missing."""
    chosen = next((tool for name, tool in TOOLCHAINS.items() if name in variant.toolchain), None)
    if chosen is None:
        return f"{variant.name} has no toolchain"
    try:
        chosen.version(variant)
    except MissingToolError as error:
        return str(error)
    return "ready"


def _mechanisms(arch_path: tuple[Path, ...], made_by: _Mechanisms) -> list[dict[str, Any]]:
    variants = arch_toml.load(arch_path).values()
    return [
        {
            "name": name,
            "what": mechanism.what,
            "patching": mechanism.patching,
            "patching_on": {
                v.name: mechanism.at(v).patching
                for v in variants
                if not mechanism.missing(v) and mechanism.at(v).patching != mechanism.patching
            },
            "promises": sorted(map(str, mechanism.promises)),
            "variants": [v.name for v in variants if not mechanism.missing(v)],
            "on": {pattern: part.what for pattern, part in mechanism.on.items() if part.what},
            "absent": _absent(mechanism, variants),
            "folder": str(mechanism.folder),
            "unready": mechanism.unready,
        }
        for name, mechanism in made_by.items()
    ]


def _rules(arch_path: tuple[Path, ...]) -> list[dict[str, Any]]:
    """What each architecture demands of a store to code, and where its manual says so."""
    names = ("name", "rule", "says", "basis", "source")
    return [
        dict(zip(names, (v.name, *rule), strict=True))
        for v in arch_toml.load(arch_path).values()
        for rule in rules.rows(v.atomicity, v.coherence)
    ]


def _absent(mechanism: Mechanism, variants: Iterable[Variant]) -> dict[str, list[str]]:
    """The variants that lack ``mechanism``, or do with one of their toolchains, by the reason that it gives."""
    by_reason: dict[str, list[str]] = {}
    for v in variants:
        whole = mechanism.missing(v)
        for toolchain in v.toolchain:
            if reason := mechanism.why_absent(v, toolchain):
                names = by_reason.setdefault(reason, [])
                names += [v.name if whole else f"{v.name} by {toolchain}"] if v.name not in names else []
    return by_reason


def _baselines() -> list[dict[str, Any]]:
    from farm.measure.cost import BASELINES

    return [{"name": name, "what": what} for name, what in BASELINES.items()]


def _instructions(arch_path: tuple[Path, ...], made_by: _Mechanisms) -> list[dict[str, Any]]:
    """The instruction that each mechanism changes on each variant, with which store, and how far it reaches."""
    rows = []

    def row(variant: str, mechanism: str, instruction: str, store: str, reach: str) -> None:
        names = ("name", "mechanism", "instruction", "store", "reach")
        rows.append(dict(zip(names, (variant, mechanism, instruction, store, reach), strict=True)))

    for v in arch_toml.load(arch_path).values():
        for name, mechanism in made_by.items():
            if mechanism.missing(v):
                continue
            if mechanism.redirects:
                for form in v.call_site:
                    store = _STORES[form.store] if form.store != "never" else f"none: {form.reason}"
                    row(v.name, name, form.instruction, store, _form_reach(form))
            if patched := mechanism.at(v).patched:
                row(v.name, name, patched.instruction, patched.store, patched.reach)
            elif not mechanism.redirects:
                far = f"{_distance(v.branch_range)}, then its data slot" if v.branch_range else "everything"
                row(v.name, name, v.stub_jump, v.stub_store, far)
    return rows


def _bodies(arch_path: tuple[Path, ...]) -> list[dict[str, Any]]:
    """The default bodies of each variant that has any, disassembled; in place of them why they cannot be."""
    rows: list[dict[str, Any]] = []
    for v in filter(bodies.exist, arch_toml.load(arch_path).values()):
        try:
            toolchain = next(name for name in TOOLCHAINS if name in v.toolchain)
            rows += [{"name": f"{v.name}/{name}", "code": "; ".join(code)} for name, code in bodies.of(v, toolchain)]
        except MissingToolError as error:
            rows.append({"name": v.name, "code": None, "reason": str(error)})
    return rows


_STORES = {
    "aligned": "one aligned 32-bit word",
    "quadword": "one 32-bit word within an aligned quadword",
}


def _form_reach(form: CallSiteForm) -> str:
    if form.store == "never":
        return "the stub"
    if form.region:
        return f"its aligned {form.region >> 20} MiB, then the stub"
    reach = 1 << width(form) - 1
    return f"{_distance(reach * form.scale)}, then the stub"


def _distance(size: int) -> str:
    for unit, name in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << unit:
            return f"+-{size >> unit} {name}"
    return f"+-{size} bytes"


def _engines() -> list[dict[str, Any]]:
    return [{"name": name, "blind_to": sorted(map(str, blind_everywhere(name)))} for name in engines()]


def _toolchains(arch_path: tuple[Path, ...]) -> list[dict[str, Any]]:
    rows = []
    for name, toolchain in TOOLCHAINS.items():
        versions: dict[str, str] = {}
        for v in arch_toml.load(arch_path).values():
            if name in v.toolchain:
                try:
                    versions[v.name] = toolchain.version(v)
                except MissingToolError as error:
                    versions[v.name] = str(error)
        rows.append({"name": name, "variants": versions})
    return rows


def _scenarios(scenario_path: tuple[Path, ...], made_by: _Mechanisms) -> list[dict[str, Any]]:
    scenarios = [
        {
            "name": s.name,
            "id": s.id,
            "title": s.title,
            "detects": sorted(map(str, s.detects)),
            "mechanisms": [name for name, mechanism in made_by.items() if not mechanism.cannot_run(s)],
            "tags": sorted(s.tags),
            "bugs": list(s.bugs),
            "controls": [c.name for c in CONTROLS.values() if c.defect in s.detects],
            "absent": None,
        }
        for s in suite.load(scenario_path).values()
    ]
    absent = [
        {"name": a.id, "id": a.id, "title": a.title, "absent": "; ".join(filter(None, (a.reason, a.elsewhere)))}
        for a in ABSENT
    ]
    return [*scenarios, *absent]


def _controls() -> list[dict[str, Any]]:
    return [
        {
            "name": c.name,
            "defect": str(c.defect),
            "what": c.what,
            "planted": c.file or "images",
            "mechanisms": sorted(c.mechanisms),
        }
        for c in CONTROLS.values()
    ]
