"""Pokes as litmus tests, and whether both judges agree, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from farm.prove.pokes import Compared, Guests, State
from farm.text import counted, printable

SCHEMA = 1


def disagreeing(made: Sequence[Guests]) -> list[Compared]:
    """Pokes of which the proof expects other outcomes than the litmus test has, or that it could not judge."""
    return [each for guest in made for each in guest.pokes if not each.agrees and not each.poke.apart]


def stale(made: Sequence[Guests]) -> list[Compared]:
    """Pokes as guests do them that may leave something stale."""
    return [each for guest in made for each in guest.pokes if each.is_stale and not each.poke.mutant]


def reasons(made: Sequence[Guests]) -> list[str]:
    """Why there are guests and pokes without a litmus file, each reason once."""
    apart = [each.poke.apart for guest in made for each in guest.pokes]
    return list(dict.fromkeys(filter(None, [*(guest.left for guest in made), *apart])))


def lines(made: Sequence[Guests]) -> Iterator[str]:
    """A guest a line, what does not agree, what is stale, and what a litmus file cannot say, by reason."""
    return map(printable, _lines(made))


def _lines(made: Sequence[Guests]) -> Iterator[str]:
    width = max((len(str(guest.spec)) for guest in made), default=0)
    for guest in made:
        yield f"{guest.spec!s:<{width}}  {_summary(guest)}"
    for each in disagreeing(made):
        yield ""
        yield f"disagree {_named(each)}: {each.error or _differences(each)}"
    for each in stale(made):
        yield ""
        yield f"stale {_named(each)}: what was there before may be found when the request is over"
    everything = [each for guest in made for each in guest.pokes]
    reasons = Counter(each.poke.apart for each in everything if each.poke.apart)
    for why, number in reasons.most_common():
        yield f"not in a litmus file, {number:,}: {why}"
    if together := sum(bool(each.poke.together) for each in everything):
        yield f"a cache line may hold two of what has a line each in the file, {together:,}: its comment says which"
    yield f"{counted(len(everything), 'poke')}: {_counts(everything)}"


def _summary(guest: Guests) -> str:
    if guest.left:
        return f"no litmus file: {guest.left}"
    own = [each for each in guest.pokes if not each.poke.mutant]
    mutants = [each for each in guest.pokes if each.poke.mutant]
    parts = [f"{counted(len(own), 'poke')}: {_counts(own)}"]
    if mutants:
        parts.append(f"{counted(len(mutants), 'mutant')}: {_counts(mutants)}")
    return "; ".join(parts)


def _counts(pokes: Sequence[Compared]) -> str:
    agree = [each for each in pokes if each.agrees]
    apart = sum(bool(each.poke.apart) for each in pokes)
    parts = [f"{len(agree):,} agree"]
    if found := sum(each.is_stale for each in agree):
        parts[0] += f", {found:,} of them that something may be stale"
    if disagree := len(pokes) - len(agree) - apart:
        parts.append(f"{disagree:,} disagree")
    if apart:
        parts.append(f"{apart:,} not in a litmus file")
    return ", ".join(parts)


def _named(each: Compared) -> str:
    return f"{each.poke.name}{f', {each.poke.mutant}' if each.poke.mutant else ''}"


def _differences(each: Compared) -> str:
    parts = [
        f"{who} alone has {', '.join(map(str, sorted(states)))}"
        for who, states in (
            ("the litmus test", each.observed - each.poke.expected),
            ("the proof", each.poke.expected - each.observed),
        )
        if states
    ]
    return "; ".join(parts)


class Row(msgspec.Struct, frozen=True):
    """A poke as JSON has it."""

    name: str
    guest: str
    reader: str
    mutant: str
    agrees: bool
    stale: bool
    expected: list[State]
    observed: list[State]
    together: str
    apart: str
    error: str
    litmus: str  #: the file


class Document(msgspec.Struct, frozen=True):
    """The pokes of a command as JSON has them."""

    schema: int
    farm: str  #: version
    pokes: list[Row]


def document(made: Sequence[Guests], version: str) -> Document:
    """The document of ``made``, by the farm's ``version``."""
    return Document(SCHEMA, version, [_row(guest, each) for guest in made for each in guest.pokes])


def _row(guest: Guests, each: Compared) -> Row:
    poke = each.poke
    return Row(
        name=poke.name,
        guest=str(guest.spec),
        reader=str(poke.reader),
        mutant=poke.mutant,
        agrees=each.agrees,
        stale=each.is_stale,
        expected=sorted(poke.expected),
        observed=sorted(each.observed),
        together=poke.together,
        apart=poke.apart,
        error=each.error,
        litmus=poke.text if poke.program else "",
    )
