"""Asks patch code that is broken what no scenario asks of it: encoders, decoders, and what mechanisms share."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from farm.engines.qemu_user import QEMU_USER
from farm.errors import BuildError, FarmError, ImageError
from farm.guest.image import Image, Spec
from farm.guest.mechanisms import common
from farm.prove import decoders, encoders, helpers
from farm.prove.mutate.overlay import Workshop
from farm.prove.mutate.subject import Broken

ENCODER_FILES = ("patch.c", "sites.c", "arch.h")  #: of an architecture: what encoders are made of

_Noticed = tuple[str, str, str]  # by what, the engine, and how


class Inquiry:
    """Asks the mutants of one guest."""

    def __init__(self, spec: Spec, folder: Path) -> None:
        """``folder`` is for what is built meanwhile."""
        self._spec, self._folder = spec, folder
        self._lock = threading.Lock()
        self._workshops: dict[str, Workshop] = {}  # of the guests that are asked
        self._moved_before: list[decoders.Answer] = []  # what the decoders answer with nothing broken

    def complaints(self, broken: Broken, work: Path) -> Iterator[_Noticed]:
        """What is wrong with the answers of a mutant; ``work`` is a folder of its own."""
        if QEMU_USER.hole(self._spec.variant):
            return
        for what, asked in (
            ("encoders", self._of_encoders(broken, work)),
            ("decoders", self._of_decoders(broken, work)),
            ("helpers", self._of_helpers(broken, work)),
        ):
            try:
                for complaint in asked:
                    yield what, QEMU_USER.name, complaint
            except FarmError as error:
                yield what, QEMU_USER.name, str(error)

    def _of_encoders(self, broken: Broken, work: Path) -> Iterator[str]:
        spec, variant = self._spec, self._spec.variant
        if broken.text.path not in map(variant.source, ENCODER_FILES) or not spec.made_by.pokes:
            return
        if image := self._image("encoders", encoders.spec_of(variant, spec.toolchain), broken, work):
            yield from encoders.Encoders(variant, image).complaints()

    def _of_decoders(self, broken: Broken, work: Path) -> Iterator[str]:
        spec, variant = self._spec, self._spec.variant
        asking = decoders.spec_of(variant, spec.toolchain)
        if spec.mechanism != asking.mechanism or spec.foreign or decoders.cannot(variant):
            return
        if image := self._image("decoders", asking, broken, work):
            with self._lock:
                if not self._moved_before:
                    whole = decoders.Decoders(variant, self._workshops["decoders"].image)
                    self._moved_before = whole.ask(whole.questions())
            yield from decoders.Decoders(variant, image).complaints(self._moved_before)

    def _of_helpers(self, broken: Broken, work: Path) -> Iterator[str]:
        spec, path = self._spec, broken.text.path
        if path.parent != common() or path.name not in helpers.FILES:
            return
        asking = helpers.spec_of(spec.variant, spec.toolchain)
        assert asking.source
        users = (path,) if path.name == helpers.LINKED else (asking.source,)
        asked = replace(broken, text=replace(broken.text, users=users))
        if image := self._image("helpers", asking, asked, work):
            yield from helpers.complaints(spec.variant, image)

    def _image(self, what: str, asking: Spec, broken: Broken, work: Path) -> Image | None:
        """The guest of ``asking``, broken; None if it is the same, or cannot be built."""
        with self._lock:
            if what not in self._workshops:
                self._workshops[what] = Workshop(asking, Path(tempfile.mkdtemp(dir=self._folder)))
            workshop = self._workshops[what]
        with contextlib.suppress(BuildError, ImageError):
            (place := work / what).mkdir()
            if objects := workshop.compiled(broken, place):
                return workshop.link(objects, place)
        return None
