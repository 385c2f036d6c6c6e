"""Mechanisms, as their ``mechanism.toml`` describes them."""

from __future__ import annotations

import shutil

import pytest

from farm.errors import BackendError
from farm.guest import arch_toml, build, image, mechanisms
from farm.scenario import layout

WRONG = {
    "what = 1": "Expected `str`, got `int` - at `$.what`",
    'patches = "heap"': "Invalid enum value 'heap' - at `$.patches`",
    "source = []": "source: unknown key; valid are architecture, patched, patches, redirects, sources, what",
    "patched = {}": "Object missing required field `instruction` - at `$.patched`",
    "what": "Expected '=' after a key in a key/value pair (at line 1, column 5)",
}


@pytest.fixture
def copied(tmp_path):
    """The file of a copy of ``stub``, in a folder beside a copy of what is shared."""
    known = mechanisms.load()["stub"]
    shutil.copytree(known.folder.parent, tmp_path / "mechanism")
    return tmp_path / "mechanism" / "stub" / "mechanism.toml"


def test_every_mechanism_has_a_folder_that_describes_it():
    known = mechanisms.load()
    assert list(known) == list(layout.MECHANISMS)
    assert [name for name, mechanism in known.items() if not mechanism.pokes] == ["pointer"]
    assert [name for name, mechanism in known.items() if mechanism.redirects] == ["relocated"]


def test_every_source_in_the_folders_is_used_and_every_one_that_is_named_is_there():
    known = mechanisms.load().values()
    named = {path for mechanism in known for v in arch_toml.load().values() for path in mechanism.files(v)}
    assert [path for path in named if not path.is_file()] == []
    folder = next(iter(known)).folder.parent
    assert set(folder.rglob("*.c")) - named == set()


@pytest.mark.parametrize(("line", "complaint"), WRONG.items())
def test_what_is_wrong_in_a_file_is_said_with_its_name(copied, line, complaint):
    text = copied.read_text(encoding="utf-8")
    key = line.partition(" ")[0]
    copied.write_text(line + "\n" + "\n".join(o for o in text.splitlines() if not o.startswith(f"{key} =")), "utf-8")
    with pytest.raises(BackendError) as caught:
        mechanisms.read(copied)
    assert str(caught.value) == f"{copied}: {complaint}"


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(BackendError, match=r"mechanism\.toml: cannot be read: No such file"):
        mechanisms.read(tmp_path / "mechanism.toml")


def test_a_mechanism_whose_folder_is_gone_is_said(copied, monkeypatch):
    copied.unlink()
    monkeypatch.setattr(mechanisms.paths, "data", lambda _: copied.parents[2])
    mechanisms.load.cache_clear()
    try:
        with pytest.raises(BackendError, match=r"stub/mechanism\.toml: cannot be read: No such file"):
            mechanisms.load()
    finally:
        mechanisms.load.cache_clear()


def test_a_source_of_the_folder_itself_comes_before_a_shared_one(copied, arm64):
    made = mechanisms.read(copied)
    assert copied.parent.parent / "common" / "poke.c" in made.files(arm64)
    (copied.parent / "poke.c").touch()
    assert copied.parent / "poke.c" in mechanisms.read(copied).files(arm64)


def test_an_architecture_without_a_file_cannot_have_the_mechanism(arm64, edited_arch):
    folder = edited_arch()
    (folder / "sites.c").unlink()
    (variant,) = arch_toml.load_folder(folder)
    assert mechanisms.load()["relocated"].missing(arm64) is None
    assert mechanisms.load()["relocated"].missing(variant) == "arm64 has no relocated: no sites.c"
    assert mechanisms.load()["stub"].missing(variant) is None


def test_what_an_architecture_need_not_have_is_left_out(arm64, edited_arch):
    folder = edited_arch()
    (folder / "patch.c").unlink()
    (variant,) = arch_toml.load_folder(folder)
    assert mechanisms.load()["pointer"].missing(variant) is None
    assert folder / "patch.c" not in build.sources(image.Spec(variant, "pointer"))
    assert arm64.folder / "patch.c" in build.sources(image.Spec(arm64, "pointer"))
