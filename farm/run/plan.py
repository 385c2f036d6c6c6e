"""Plans: which cells there are, and why some of them will not run.

Selectors define the plan; what they leave out is not in it.  Within it every combination of scenario, variant,
mechanism, toolchain and engine is there: it will run, or it carries the reason why not.
"""

from __future__ import annotations

import errno
import fnmatch
import functools
import hashlib
import itertools
import os
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from farm import documents, suite
from farm.cell import SKIPPED, Cell, EngineName, Hole, Planned, Verdict
from farm.engines import Engine, NeedsHost, WaitsToBeNamed, engine_named, engines
from farm.errors import BackendError, MissingToolError, NothingSelectedError, UnknownNameError, UsageError
from farm.guest import arch_toml, image, mechanisms
from farm.guest.controls import absent, needs_probes
from farm.guest.mechanisms import Mechanism
from farm.guest.toolchain import TOOLCHAINS
from farm.guest.variant import ABI_FILE, Unavailable, Variant
from farm.run import shards
from farm.scenario import Scenario, wire
from farm.text import quoted

FILE = "plan.json"  #: in an output folder
SCHEMA = 1


class _File(msgspec.Struct, omit_defaults=True):
    schema: int
    farm: str
    cells: list[Planned]
    sha256: str
    shards: tuple[int, ...] = ()


@dataclass(frozen=True)
class Selection:
    """Selection of cells by a user: each field a list of names and globs; empty means all."""

    arch: Sequence[str] = ()
    mechanism: Sequence[str] = ()
    engine: Sequence[str] = ()
    toolchain: Sequence[str] = ()
    scenario: Sequence[str] = ()
    tag: Sequence[str] = ()
    arch_path: tuple[Path, ...] = ()
    scenario_path: tuple[Path, ...] = ()
    mechanism_path: tuple[Path, ...] = ()

    def path_options(self) -> str:
        """The options that name out-of-tree folders, for a shell in the current folder."""
        here = Path.cwd()

        def short(path: Path) -> Path:
            """``path`` as it is called in other checkouts too."""
            return path.relative_to(here) if path.is_relative_to(here) else path

        named = [("--arch-path", short(path)) for path in self.arch_path]
        named += [("--scenario-path", short(path)) for path in self.scenario_path]
        named += [("--mechanism-path", short(path)) for path in self.mechanism_path]
        return " ".join(f"{option} {quoted(path)}" for option, path in named)


@dataclass(frozen=True)
class Plan:
    """Cells in order, and what they are made of."""

    cells: tuple[Planned, ...]
    scenarios: dict[str, Scenario]
    variants: dict[str, Variant]
    selection: Selection = field(default_factory=Selection)
    shards: tuple[int, ...] = ()  #: if the plan is divided: the number of the shard, from 1, that each cell belongs to
    part: Part | None = None  #: if this is one shard of a plan

    @functools.cached_property
    def sha256(self) -> str:
        """Identifies the plan: of its cells and of the program of each scenario."""
        digest = hashlib.sha256(msgspec.json.encode(self.cells))
        for name in sorted({planned.cell.scenario for planned in self.cells}):
            digest.update(wire.encode(self.scenarios[name], big_endian=False))
        return digest.hexdigest()

    @property
    def mechanisms(self) -> dict[str, Mechanism]:
        """The mechanisms that the selection knows, by name."""
        return mechanisms.load(self.selection.mechanism_path)

    def check_ready(self) -> None:
        """Raise :class:`~farm.errors.BackendError` if a mechanism of the cells needs a variable that is not set."""
        for name in dict.fromkeys(planned.cell.mechanism for planned in self.cells):
            self.mechanisms[name].check_ready()

    def spec(self, cell: Cell, control: str | None = None) -> image.Spec:
        """The specification of the guest of ``cell``, with a negative control if one is named."""
        variant, mechanism = self.variants[cell.variant], self.mechanisms[cell.mechanism]
        return image.Spec.of(variant, mechanism, cell.toolchain, control)

    @property
    def whole(self) -> Plan:
        """The plan that this is a shard of, or itself."""
        return self.part.whole if self.part else self

    def json(self) -> bytes:
        from farm import __version__

        document = _File(SCHEMA, __version__, list(self.cells), self.sha256, self.shards)
        return msgspec.json.format(msgspec.json.encode(document), indent=1)

    def divided(self, count: int) -> Plan:
        """The same in ``count`` shards; if it is divided already it must be into as many.

        Raises :class:`~farm.errors.UsageError` for that, and if there is not work for so many.
        """
        if not self.shards:
            division = shards.divide(self.cells, count)
            if division.count < count:
                raise UsageError(f"{count} shards: the plan has work for {division.count} at most")
            return replace(self, shards=division.numbers)
        if max(self.shards) != count:
            raise UsageError(f"{count} shards: the plan is divided into {max(self.shards)}")
        return self

    def shard(self, number: int, count: int) -> Plan:
        """The ``number``-th (from 1) of ``count`` shards.  Raises :class:`~farm.errors.UsageError`."""
        if not count:
            raise UsageError(f"shard {number}/0: there must be one shard at least, for example 1/4")
        if not 1 <= number <= count:
            raise UsageError(f"shard {number}/{count}: the number must be from 1 to {count}")
        whole = self.divided(count)
        cells = tuple(p for p, assigned in zip(whole.cells, whole.shards, strict=True) if assigned == number)
        return Plan(cells, self.scenarios, self.variants, self.selection, part=Part(f"{number}/{count}", whole))


@dataclass(frozen=True)
class Part:
    """Place of a plan that is one shard of another."""

    name: str  #: ``k/n``
    whole: Plan


def choose(
    patterns: Iterable[str], names: Sequence[str], what: str, aliases: dict[str, set[str]] | None = None, more: str = ""
) -> list[str]:
    """The ``names`` that any of ``patterns`` selects, in their order.

    A pattern is a name, a glob, a comma list of these, or a key of ``aliases``; a name is itself before it is an alias.
    ``more`` is said behind what is valid.

    Raises :class:`~farm.errors.UnknownNameError` for a pattern that selects nothing, and
    :class:`~farm.errors.UsageError` for one that is empty, as that of a variable of a shell that is not set.
    """
    aliases = aliases or {}
    wanted = []
    for pattern in patterns:
        named = [part.strip() for part in pattern.split(",") if part.strip()]
        if not named:
            raise UsageError(f"no {what} is named by {pattern!r}: leave the option out for all, or name one")
        wanted += named
    if not wanted:
        return list(names)
    chosen: set[str] = set()
    for pattern in wanted:
        hits = {name for name in names if fnmatch.fnmatchcase(name, pattern)}
        for alias, members in aliases.items():
            if fnmatch.fnmatchcase(alias, pattern) and pattern not in names:
                hits |= members
        if not hits:
            raise UnknownNameError(what, pattern, [*names, *(alias for alias in aliases if alias not in names)], more)
        chosen |= hits
    return [name for name in names if name in chosen]


def chosen_variants(selection: Selection, variants: dict[str, Variant]) -> list[str]:
    """Names of the ``variants`` that ``selection`` names, or whose architectures it names; raises as :func:`choose`."""
    architectures = _aliases((v.architecture, v.name) for v in variants.values())
    more = _elsewhere("architecture", selection)
    return choose(selection.arch, list(variants), "architecture", architectures, more)


def _elsewhere(what: str, selection: Selection) -> str:
    """Hint at the option that adds others, where an unknown name may be from a path and no path was given."""
    option, given = {
        "architecture": ("arch-path", selection.arch_path),
        "mechanism": ("mechanism-path", selection.mechanism_path),
        "scenario": ("scenario-path", selection.scenario_path),
    }.get(what, ("", ()))
    return f"; {option} adds others" if option and not given else ""


def _aliases(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    aliases: dict[str, set[str]] = {}
    for alias, name in pairs:
        aliases.setdefault(alias, set()).add(name)
    return aliases


def make(selection: Selection) -> Plan:
    """The plan for ``selection``, ready to run.

    Raises as :func:`possible` and :meth:`Plan.check_ready`.
    """
    plan = possible(selection)
    plan.check_ready()
    return plan


def possible(selection: Selection) -> Plan:
    """The plan for ``selection``, though variables may not be set that its mechanisms need.

    Raises :class:`~farm.errors.UnknownNameError` for names that select nothing, :class:`~farm.errors.UsageError` if
    the whole selects no cell.
    """
    variants = arch_toml.load(selection.arch_path)
    scenarios = suite.load(selection.scenario_path)
    known = mechanisms.load(selection.mechanism_path)
    _check_names(variants, scenarios, known, selection)
    arches = chosen_variants(selection, variants)
    profiles = [name for v in variants.values() for name in v.engine if EngineName.of(name).profile]
    engine_names = list(dict.fromkeys([*engines(), *profiles]))
    mechanism_names = choose(selection.mechanism, list(known), "mechanism", more=_elsewhere("mechanism", selection))
    chosen_engines = choose(selection.engine, engine_names, "engine")
    ids = _aliases((s.id, s.name) for s in scenarios.values())
    names = choose(selection.scenario, list(scenarios), "scenario", ids, _elsewhere("scenario", selection))
    if selection.tag:
        tags = _aliases((tag, s.name) for s in scenarios.values() for tag in s.tags)
        chosen_tags = choose(selection.tag, list(tags), "tag")
        names = [name for name in names if any(name in tags[tag] for tag in chosen_tags)]
    if selection.toolchain:
        choose(selection.toolchain, list(TOOLCHAINS), "toolchain")
    kind_of = {name: _needs(scenarios[name]) for name in names}
    kinds = {kind: name for name, kind in kind_of.items()}  # any of those that run in the same places
    cells = []
    for arch in arches:
        variant = variants[arch]
        for mechanism in (known[name] for name in mechanism_names):
            guest = _Guest(variant, mechanism)
            holes = {kind: guest.hole(scenarios[name]) for kind, name in kinds.items()}
            for toolchain in _toolchains(guest, selection.toolchain):
                for engine in chosen_engines:
                    profile = bool(EngineName.of(engine).profile) and not selection.engine  # nobody asked for it
                    if profile and engine not in variant.engine:
                        continue
                    if not selection.engine and not is_default(engine, variant):
                        continue
                    profiled = variant.profiled(engine)
                    hole = _hole(profiled, guest.missing(toolchain), toolchain, engine_named(engine))
                    whys = {
                        kind: holes[kind] or hole or _cpu_hole(scenarios[name], variant, engine)
                        for kind, name in kinds.items()
                    }
                    for name in names:
                        if profile and not scenarios[name].depends_on_cpu:
                            continue  # by default a profile is only for what depends on the CPU
                        cell = Cell(name, arch, mechanism.name, toolchain, engine)
                        cells.append(Planned.of(cell, whys[kind_of[name]]))
    if not cells:
        reason = "the selectors have no cell in common"
        if names:  # so it is the toolchain
            has = ", ".join(f"{arch} has {' and '.join(variants[arch].toolchain)} only" for arch in arches)
            reason = f"toolchain {','.join(selection.toolchain)}: {has}"
        raise NothingSelectedError(f"nothing is selected: {reason}")
    return Plan(tuple(cells), scenarios, variants, selection)


def is_default(engine: str, variant: Variant) -> bool:
    """Tell whether ``variant`` is run on ``engine`` by default: not if that must be named, or needs another host."""
    runner = engine_named(engine)
    if isinstance(runner, WaitsToBeNamed) and runner.waits_to_be_named:
        return False
    return not isinstance(runner, NeedsHost) or runner.runs_here(variant)


def _check_names(
    variants: dict[str, Variant],
    scenarios: dict[str, Scenario],
    known: dict[str, Mechanism],
    selection: Selection,
) -> None:
    """Raise :class:`~farm.errors.UsageError` if a mechanism names a variant, or a scenario a mechanism, not there."""
    for mechanism in known.values():
        patterns = [("variants", pattern) for pattern in mechanism.variants]
        patterns += [(f"absent.{pattern}", pattern.partition("/")[0]) for pattern in mechanism.absent]
        for key, pattern in (*patterns, *((f"on.{pattern}", pattern) for pattern in mechanism.on)):
            if not any(mechanisms.fits(pattern, variant) for variant in variants.values()):
                valid = dict.fromkeys(name for v in variants.values() for name in (v.name, v.architecture))
                error = UnknownNameError("architecture", pattern, valid, _elsewhere("architecture", selection))
                raise BackendError(f"{mechanism.folder / mechanisms.FILE}: {key}: {error}")
        for pattern in mechanism.absent:
            toolchain = pattern.partition("/")[2]
            if toolchain and toolchain not in TOOLCHAINS:
                error = UnknownNameError("toolchain", toolchain, TOOLCHAINS)
                raise BackendError(f"{mechanism.folder / mechanisms.FILE}: absent.{pattern}: {error}")
    for scenario in scenarios.values():
        for name in sorted(scenario.only[0]) if scenario.only else ():
            if name not in known:
                error = UnknownNameError("mechanism", name, known, _elsewhere("mechanism", selection))
                raise UsageError(f"scenario {scenario.id} {scenario.name}: only: {error}")


#: The parts of a cell's name, in order, and the selector of each.
PARTS = ("variant", "mechanism", "toolchain", "engine", "scenario")


def parts(name: str) -> list[str]:
    """The parts of a cell's name, or of a pattern of such names.  Raises :class:`~farm.errors.UsageError`."""
    pieces = [part.strip() for part in name.split("/")]
    if len(pieces) != len(PARTS):
        example = "arm64/stub/zig/unicorn/supersede_then_restore"
        raise UsageError(f"cell {name!r}: expected {'/'.join(PARTS).upper()}, for example {example}")
    empty = next((what for what, part in zip(PARTS, pieces, strict=True) if not part), None)
    if empty:
        raise UsageError(f"cell {name!r}: no {empty} is named; * is any")
    return pieces


def named(name: str, known: Selection | None = None) -> Plan:
    """The cells that ``name`` names, of what ``known`` knows by its paths: one, or several if it has globs.

    Raises :class:`~farm.errors.UsageError` if there is none, with the part of the name that is wrong.
    """
    variant, mechanism, toolchain, engine, scenario = parts(name)
    selection = replace(
        known or Selection(),
        arch=(variant,),
        mechanism=(mechanism,),
        engine=(engine,),
        toolchain=(toolchain,),
        scenario=(scenario,),
    )
    try:
        return possible(selection)
    except NothingSelectedError:  # all parts exist, and only a toolchain can be absent from what another part names
        variants = arch_toml.load(selection.arch_path)
        able = sorted(
            {tool for v in choose((variant,), list(variants), "architecture") for tool in variants[v].toolchain}
        )
        raise UnknownNameError(f"toolchain of {variant}", toolchain, able) from None


def one(name: str, known: Selection | None = None) -> tuple[Plan, Planned]:
    """The plan of one cell, and the cell, as :func:`named`, ready to run.

    Raises :class:`~farm.errors.UsageError` unless ``name`` names just one, and as :meth:`Plan.check_ready`.
    """
    plan = named(name, known)
    if len(plan.cells) > 1:
        few = ", ".join(str(planned.cell) for planned in plan.cells[:3])
        raise UsageError(f"cell {name!r}: names {len(plan.cells)} cells where one is wanted: {few}, ...")
    plan.check_ready()
    return plan, plan.cells[0]


def on_engine(plan: Plan, cell: Cell, engine: str) -> Planned:
    """``cell`` as ``engine`` would run it: with the profile of the same name if the engine has it there."""
    profile = EngineName.of(cell.engine).profile
    variant = plan.variants[cell.variant]
    with_profile = str(EngineName(engine, profile))
    settings = variant.engine.get(with_profile)
    name = with_profile if settings and not isinstance(settings, Unavailable) else engine
    moved = msgspec.structs.replace(cell, engine=name)
    return Planned.of(moved, hole_of(plan, moved))


def hole_of(plan: Plan, cell: Cell) -> Hole | None:
    """Why ``cell`` cannot run here and now; None if it can."""
    variant, mechanism = plan.variants[cell.variant], plan.mechanisms[cell.mechanism]
    return cannot_run(plan.scenarios[cell.scenario], variant, mechanism, cell.engine) or _hole(
        variant.profiled(cell.engine),
        mechanism.missing(variant, cell.toolchain),
        cell.toolchain,
        engine_named(cell.engine),
    )


def _toolchains(guest: _Guest, patterns: Sequence[str]) -> list[str]:
    """Toolchains asked for that can build the variant; by default the first that can, the mechanism too if any can."""
    able = [name for name in TOOLCHAINS if name in guest.variant.toolchain]
    if not patterns:
        return [name for name in able if not guest.missing(name)][:1] or able[:1]
    return [name for name in choose(patterns, list(TOOLCHAINS), "toolchain") if name in able]


def _hole(variant: Variant, missing: str | None, toolchain: str, engine: Engine) -> Hole | None:
    """Why no scenario has a cell there; ``missing`` is why there is no such guest."""
    if missing:
        return Hole(Verdict.NOT_APPLICABLE, missing)
    hole = engine.hole(variant)
    if hole:
        return hole
    try:
        TOOLCHAINS[toolchain].version(variant)
    except MissingToolError as error:
        return Hole.to_install(error.missing)
    return None


def cannot_run(scenario: Scenario, variant: Variant, mechanism: Mechanism, engine: str) -> Hole | None:
    """Why ``scenario`` has no cell there, though others have."""
    return _Guest(variant, mechanism).hole(scenario) or _cpu_hole(scenario, variant, engine)


def _needs(scenario: Scenario) -> Hashable:
    """All of ``scenario`` that decides where it can run: those with the same run in the same places."""
    return needs_probes(scenario), scenario.only, scenario.all_needs, scenario.abi, scenario.requires, scenario.detects


class _Guest:
    """A mechanism on a variant, and which scenarios have a cell there: what is in a file is looked up once for all."""

    def __init__(self, variant: Variant, mechanism: Mechanism) -> None:
        self.variant = variant
        self._here = mechanism.at(variant)
        self._looks_at_registers = variant.looks_at_registers
        #: Why there is no such guest, built by a toolchain or by any; None if there is.
        self.missing = functools.cache(functools.partial(mechanism.missing, variant))
        self._impossible = functools.cache(lambda control: control.impossible_in(variant, self._here))

    def hole(self, scenario: Scenario) -> Hole | None:
        """Why ``scenario`` has no cell there, whatever runs it; None if it may have one."""
        variant = self.variant
        if reason := self._here.cannot_run(scenario):
            return Hole(Verdict.NOT_APPLICABLE, reason)
        if needs_probes(scenario) and not self._looks_at_registers:
            return Hole(Verdict.NOT_APPLICABLE, f"nothing looks at registers: {variant.architecture} has no {ABI_FILE}")
        missing = sorted(scenario.abi - set(variant.abi))
        if missing:
            return Hole(Verdict.NOT_APPLICABLE, f"the ABI of {variant.name} has no {missing[0]}")
        if not self._looks_at_registers or self.missing():
            return None
        if names := absent(scenario, self._impossible):
            return Hole(Verdict.NOT_APPLICABLE, f"{variant.name} has nothing that {' or '.join(names)} could be about")
        return None


def _cpu_hole(scenario: Scenario, variant: Variant, engine: str) -> Hole | None:
    missing = sorted(scenario.requires - variant.features(engine))
    return Hole(Verdict.NOT_APPLICABLE, f"{variant.name} on {engine} has no {missing[0]}") if missing else None


def read(path: Path, selection: Selection) -> Plan:
    """The plan saved in ``path``.

    Raises :class:`~farm.errors.UsageError` if it cannot be used with the suite and backends that are here.
    """
    document = _decoded(path)
    variants = arch_toml.load(selection.arch_path)
    scenarios = suite.load(selection.scenario_path)
    known = mechanisms.load(selection.mechanism_path)
    cells = [planned.cell for planned in document.cells]
    for what, named, available in (
        ("architecture", {cell.variant for cell in cells}, variants),
        ("scenario", {cell.scenario for cell in cells}, scenarios),
        ("mechanism", {cell.mechanism for cell in cells}, known),
        ("engine", {EngineName.of(cell.engine).engine for cell in cells}, engines()),
        ("toolchain", {cell.toolchain for cell in cells}, TOOLCHAINS),
    ):
        for name in sorted(named.difference(available)):
            raise UsageError(f"{path}: {UnknownNameError(what, name, available, _elsewhere(what, selection))}")
    for planned in document.cells:
        if why := _cannot_be(planned, variants[planned.cell.variant], known[planned.cell.mechanism]):
            raise UsageError(f"{path}: {planned.cell} is no cell of this farm: {why}")
    plan = Plan(tuple(document.cells), scenarios, variants, selection, document.shards)
    if plan.sha256 != document.sha256:
        raise UsageError(f"{path}: made for another suite, or edited: its hash is not that of its cells")
    if plan.shards and (len(plan.shards) != len(cells) or set(plan.shards) != set(range(1, max(plan.shards) + 1))):
        raise UsageError(f"{path}: edited: its shards are not those of its cells")
    return plan


def cells_in(path: Path) -> list[Planned]:
    """The cells of the plan saved in ``path``, whether or not it could be run here.

    Raises :class:`~farm.errors.UsageError` if it is no plan.
    """
    return _decoded(path).cells


def planned_in(path: Path, sha256: str, shard: str | None) -> list[Planned]:
    """The cells of the plan ``sha256`` saved in ``path``; of shard ``k/n`` alone, if it is named.

    Raises :class:`~farm.errors.UsageError` if it is no plan, or another one.
    """
    document = _decoded(path)
    if document.sha256 != sha256 or (shard and len(document.shards) != len(document.cells)):
        raise UsageError(f"{path}: not the plan of the results beside it")
    number = int(shard.partition("/")[0]) if shard else None
    assignments = itertools.zip_longest(document.cells, document.shards)
    return [p for p, assigned in assignments if number in (None, assigned)]


def _decoded(path: Path) -> _File:
    document = documents.read(path, _File, "a plan", SCHEMA)
    if document is None:
        raise UsageError(f"{path}: cannot be read: {os.strerror(errno.ENOENT)}")
    seen: set[Cell] = set()
    for planned in document.cells:
        if planned.cell in seen:
            raise UsageError(f"{path}: edited: {planned.cell} is in it twice")
        if planned.verdict is not None and planned.verdict not in SKIPPED:
            valid = f"a plan knows {', '.join(sorted(map(str, SKIPPED)))} or none"
            raise UsageError(f"{path}: edited: {planned.cell} has the verdict '{planned.verdict}'; {valid}")
        seen.add(planned.cell)
    return document


def _cannot_be(planned: Planned, variant: Variant, mechanism: Mechanism) -> str | None:
    """Why a cell that a plan would run is none that any plan of ``variant`` has; None if one may have it."""
    cell = planned.cell
    if planned.verdict is not None:
        return None
    if cell.toolchain not in variant.toolchain:
        return f"{variant.name} has {' and '.join(variant.toolchain)} only"
    settings = variant.engine.get(cell.engine)
    if settings is None or isinstance(settings, Unavailable):
        return settings.unavailable if settings else f"{variant.name} has no engine {cell.engine}"
    return mechanism.missing(variant, cell.toolchain)
