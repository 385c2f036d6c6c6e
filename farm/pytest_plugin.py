"""The pytest plugin: a live guest as a fixture.

>>> @pytest.mark.patchable(arch="arm64", mechanism="stub", source="mine.c")
... def test_mine(patchable):
...     patchable.patch("fast")
...     assert patchable.call(3, shape="tail") == 9

A test that asks for ``patchable`` (:class:`farm.live.Guest`) becomes one item a variant, mechanism, toolchain and
engine that its marker names.  Guests come from the engines' pools, so only the first item of an image in a process
starts one; what an item left behind is reset before the next.

Every pytest of an environment where the farm is installed loads this module, so it imports nothing of it at the top.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import pytest

if TYPE_CHECKING:
    from farm.cell import Cell, Planned
    from farm.guest.image import Spec
    from farm.live import Guest
    from farm.run.quarantine import Quarantine
    from farm.run.verdict import Result

_SELECTORS = ("arch", "mechanism", "engine", "toolchain")
_RESTRICTIONS = {"arch": "variant", "mechanism": "mechanism", "engine": "engine"}  # options, and what of a cell
_LINES_SHOWN = 100

_GUEST = pytest.StashKey["Guest"]()
_ALLOWED = pytest.StashKey[dict[str, set[str]]]()
_KNOWN_BAD = pytest.StashKey["Quarantine | None"]()


class Boot(NamedTuple):
    """The guest that an item boots, or the reason why it cannot."""

    spec: Spec
    planned: Planned
    timeout: float

    def __str__(self) -> str:
        return f"{self.spec}/{self.planned.cell.engine}"


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--farm-arch`` and its like."""
    group = parser.getgroup("patchfarm")
    for name in _RESTRICTIONS:
        group.addoption(
            f"--farm-{name}",
            action="append",
            default=[],
            metavar="NAMES",
            help=f"of what the tests of patchable calls ask for, run only this {name}: names, globs, comma lists",
        )
    for name in ("arch", "mechanism"):
        group.addoption(
            f"--farm-{name}-path",
            action="append",
            default=[],
            metavar="FOLDER",
            help=f"a folder with {'architectures' if name == 'arch' else 'mechanisms'} of your own",
        )
    group.addoption("--farm-quarantine", metavar="FILE", help="a list of cells of the farm that are known to be bad")


def pytest_configure(config: pytest.Config) -> None:
    """Explain the marker, and refuse options that name nothing."""
    config.addinivalue_line(
        "markers",
        "patchable(arch, mechanism, engine, toolchain, source, timeout, mechanism_path): what the fixture `patchable` "
        "boots. The first four are names, globs, comma lists or lists (default: all); source is C beside the test, "
        "with TARGET()s; mechanism_path is a folder with mechanisms of yours, from that of the test, or several.",
    )
    config.stash[_ALLOWED] = allowed = {}
    for name, attribute in _RESTRICTIONS.items():
        value = config.getoption(f"farm_{name}")
        if value:
            from farm import live
            from farm.errors import FarmError
            from farm.run import plan

            only: dict[str, Any] = {name: value}
            try:
                made = plan.possible(plan.Selection(scenario=live.ANY_SCENARIO, **paths_of(config), **only))
            except FarmError as error:
                raise pytest.UsageError(f"--farm-{name}: {error}") from None
            allowed[attribute] = {getattr(planned.cell, attribute) for planned in made.cells}
    config.stash[_KNOWN_BAD] = _quarantine(config)


def _quarantine(config: pytest.Config) -> Quarantine | None:
    named = config.getoption("farm_quarantine")
    if named is None:
        return None
    from farm.errors import FarmError
    from farm.run import plan, quarantine

    try:
        return quarantine.load(Path(named), plan.Selection(**paths_of(config)))
    except FarmError as error:
        raise pytest.UsageError(f"--farm-quarantine: {error}") from None


def settled(result: Result, config: pytest.Config) -> Result:
    """``result`` as the list of ``--farm-quarantine`` has it count."""
    known = config.stash[_KNOWN_BAD]
    return known.settle(result) if known else result


def paths_of(config: pytest.Config) -> dict[str, Any]:
    """The folders of ``--farm-arch-path`` and ``--farm-mechanism-path``, by the field of a selection."""
    names = ("arch_path", "mechanism_path")
    return {name: tuple(Path(folder).absolute() for folder in config.getoption(f"farm_{name}")) for name in names}


def narrowed(config: pytest.Config) -> dict[str, tuple[str, ...]]:
    """The variants and mechanisms that the options leave, by the field of a selection: what it need not plan."""
    allowed = config.stash[_ALLOWED]
    fields = {"arch": "variant", "mechanism": "mechanism"}
    return {field: tuple(allowed[attribute]) for field, attribute in fields.items() if attribute in allowed}


def is_left_out(cell: Cell, config: pytest.Config) -> bool:
    """Returns whether the options exclude ``cell``."""
    return any(getattr(cell, attribute) not in names for attribute, names in config.stash[_ALLOWED].items())


def parameter(value: object, planned: Planned, name: str) -> Any:
    """``value`` as a parameter of a test with the id ``name``, to be skipped if ``planned`` has a hole.

    Where ``CI`` is ``true`` what an install would cure is no reason to skip; the test itself then calls
    :func:`fail_if_hole`.
    """
    from farm.cell import Verdict

    skipped = planned.verdict is Verdict.NOT_APPLICABLE or (planned.verdict and os.environ.get("CI") != "true")
    marks = [pytest.mark.skip(reason=planned.reason or "")] if skipped else []
    return pytest.param(value, marks=marks, id=name)


def fail_if_hole(planned: Planned) -> None:
    """Fail with the reason why ``planned`` cannot run, if there is one."""
    if planned.verdict:
        _fail(f"{planned.verdict}: {planned.reason}")


def _fail(words: str) -> NoReturn:
    """Fail with ``words`` and nothing else."""
    raise pytest.fail.Exception(words, pytrace=False) from None


# From a marker to items.


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item a combination that the marker names."""
    if "patchable" not in metafunc.fixturenames:
        return
    from farm.errors import FarmError

    try:
        boots = _boots(metafunc)
    except FarmError as error:
        _fail(f"@pytest.mark.patchable of {metafunc.function.__name__}: {error}")
    metafunc.parametrize("patchable", [parameter(boot, boot.planned, str(boot)) for boot in boots], indirect=True)


def _boots(metafunc: pytest.Metafunc) -> list[Boot]:
    from farm import live
    from farm.engines import timeout_of
    from farm.errors import UsageError
    from farm.run import plan
    from farm.scenario import shown

    mark = metafunc.definition.get_closest_marker("patchable")
    named = dict(mark.kwargs) if mark else {}
    valid = [*_SELECTORS, "source", "timeout", "mechanism_path"]
    unknown = [*(mark.args if mark else ()), *(name for name in named if name not in valid)]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is not expected; valid are, by name: {', '.join(valid)}")
    source = named.get("source")
    if source is not None:
        if not isinstance(source, str | os.PathLike):
            raise UsageError(f"source {shown(source)}: expected the path of a C file, from the test's folder")
        source = metafunc.definition.path.parent / source
        if not source.is_file():
            raise UsageError(f"source {source}: no such file")
    selectors: dict[str, Any] = {name: _names(name, named.get(name, ())) for name in _SELECTORS}
    folders = paths_of(metafunc.config)
    here = metafunc.definition.path.parent
    own = tuple(here / path for path in _names("mechanism_path", named.get("mechanism_path", ())))
    folders["mechanism_path"] = tuple(dict.fromkeys([*folders["mechanism_path"], *own]))
    made = plan.possible(plan.Selection(scenario=live.ANY_SCENARIO, **folders, **selectors))
    timeout = timeout_of(named.get("timeout", live.TIMEOUT), "timeout")
    return [
        Boot(dataclasses.replace(made.spec(planned.cell), source=source), planned, timeout) for planned in made.cells
    ]


def _names(what: str, value: object) -> tuple[str, ...]:
    from farm.errors import UsageError
    from farm.scenario import shown

    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name.strip(", ") for name in names):
        raise UsageError(f"{what} {shown(value)} found; expected a name, a glob, a comma list, or a list of them")
    return tuple(names)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what the options leave out."""
    if not config.stash[_ALLOWED]:
        return
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        boot = item.callspec.params.get("patchable") if hasattr(item, "callspec") else None
        excluded = isinstance(boot, Boot) and is_left_out(boot.planned.cell, config)
        (left_out if excluded else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Let SIGTERM and SIGHUP end the session as Ctrl-C does, if it has guests."""
    if not any("patchable" in getattr(item, "fixturenames", ()) for item in session.items):
        return (yield)
    from farm.interrupts import Ended, interruptible, status_of
    from farm.processes import die_with_parent

    if hasattr(session.config, "workerinput"):  # of pytest-xdist, which would let the item end first
        die_with_parent()
    try:
        with interruptible():
            return (yield)
    except Ended as ended:
        pytest.exit(f"ended by {ended}", returncode=status_of(ended))


# From an item to a guest.


@pytest.fixture
def patchable(request: pytest.FixtureRequest) -> Iterator[Guest]:
    """A live guest (:class:`farm.live.Guest`), pristine."""
    from farm.errors import FarmError
    from farm.live import Guest

    if not hasattr(request, "param"):
        _fail(
            "patchable: one guest or several, so one item each, which getfixturevalue() cannot make: "
            "name it as an argument of the test, or in @pytest.mark.usefixtures"
        )
    boot: Boot = request.param
    fail_if_hole(boot.planned)
    try:
        guest = Guest(boot.spec, boot.planned.cell.engine, boot.timeout, pooled=True)
    except FarmError as error:
        _fail(str(error))
    request.node.stash[_GUEST] = guest
    yield guest
    del request.node.stash[_GUEST]
    guest.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Add to a failure what the guest has seen, and its code."""
    report = yield
    guest = item.stash.get(_GUEST, None)
    if guest is not None and report.failed and report.when != "teardown":
        report.sections += [("patchfarm trace", _trace(guest)), ("patchfarm code", _code(guest))]
    return report


def _trace(guest: Guest) -> str:
    """The steps asked of the guest, and below each what the guest observed."""
    from farm.scenario.model import size

    lines: list[str] = []
    number, events = 0, iter([*guest.trace, None])
    event = next(events)
    for step in guest.steps:
        lines.append(_words(step))
        number += size(step)
        while event and event.step < number:
            lines.append(f"    {event}")
            event = next(events)
    earlier = max(0, len(lines) - _LINES_SHOWN)
    return "\n".join([guest.name, *([f"({earlier} earlier lines)"] if earlier else []), *lines[earlier:]])


def _words(value: Any) -> str:
    """``call(function=0, x=5, shape=tail)`` for a step: what is not as by default."""
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, tuple):
        return f"({', '.join(map(_words, value))})"
    if not dataclasses.is_dataclass(value):
        return str(value)
    fields = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
    given = [f"{field.name}={_words(each)}" for field, each in fields if each != field.default]
    return f"{type(value).__name__.lower()}({', '.join(given)})"


def _code(guest: Guest) -> str:
    try:
        return "\n".join(guest.code())
    except Exception as error:  # noqa: BLE001 - a report must not fail for want of a disassembly
        return f"no disassembly: {type(error).__name__}: {error}"


def pytest_sessionfinish() -> None:
    """End the idle children, if anything has started one."""
    if "farm.engines.child" in sys.modules:
        from farm.engines import engines

        for engine in engines().values():
            engine.close()
