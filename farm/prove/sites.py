"""Call sites, of which the host knows how many there are, and whether a request leaves some of them behind.

Who calls by a site that was left behind goes through the stub and comes to the same target, so no call tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from farm.guest.call_sites import CallSite, leads_to, redirected
from farm.guest.image import Image
from farm.guest.variant import CallSiteForm, Variant


class Left(NamedTuple):
    """Call sites of a function that a request left where they were."""

    function: int
    behind: tuple[int, ...]  #: their addresses
    total: int  #: number of its call sites
    to: int  #: where they should lead


class Sites:
    """The call sites of one image that a mechanism redirects; none of a mechanism that redirects none."""

    def __init__(self, variant: Variant, image: Image) -> None:
        self._variant = variant
        forms = {form.instruction: form for form in variant.call_site}
        self._of: dict[int, list[tuple[CallSite, CallSiteForm]]] = {}
        for site in image.sites:
            self._of.setdefault(site.function, []).append((site, forms[site.instruction]))
        self._function = {site.address: site.function for site in image.sites}
        self._stubs = range(image.symbols["stub_start"], image.symbols["patched_end"])
        self._stub_size = image.stubs.size or 1

    def function(self, address: int) -> int | None:
        """The function that the word at ``address`` is a call site of, or in whose stub it lies; None: of none."""
        if self._of and address in self._stubs:
            return (address - self._stubs.start) // self._stub_size
        return self._function.get(address)

    def left(
        self, functions: Iterable[int], leads: dict[int, int], read: Callable[[int, int], bytes], *, module: bool
    ) -> Left | None:
        """The first of ``functions`` whose call sites do not all lead where they can.

        ``leads`` has where a stub was made to lead, by function, if that is known; ``read`` gives memory; ``module``:
        the module is loaded, so that its call sites are there.
        """
        for function in sorted(functions):
            present = [(site, form) for site, form in self._of.get(function, ()) if module or not site.module]
            words = {site: self._word(read, site.address) for site, _ in present}
            if not all(self._is_branch(read, site, form) for site, form in present):
                continue  # a call that is a no-op, say, leads nowhere
            moved = [(site, form) for site, form in present if words[site] != site.word]
            to = {leads_to(form, site.address, words[site], self._variant.bits) for site, form in moved}
            if not to and function in leads:
                to = {leads[function]}
            if not to:
                continue
            where = min(to)
            behind = tuple(
                site.address
                for site, form in present
                if words[site] != redirected(form, site.address, site.word, where, self._variant.bits)
            )
            if behind:
                return Left(function, behind, len(present), where)
        return None

    def _word(self, read: Callable[[int, int], bytes], address: int) -> int:
        return int.from_bytes(read(address, 4), self._variant.byte_order)

    def _is_branch(self, read: Callable[[int, int], bytes], site: CallSite, form: CallSiteForm) -> bool:
        opcode = form.opcode
        seen = int.from_bytes(read(site.address + opcode.at, opcode.size), self._variant.byte_order)
        return seen & opcode.mask == opcode.value
