"""Templates are compiled once for a user, and filled in whatever has become of that."""

from __future__ import annotations

import jinja2
import pytest

from farm.report import compiled

ESCAPED = "&lt;1&gt;\n"


@pytest.fixture
def fill(tmp_path, monkeypatch):
    """``fill(source)``: the template's text for a value, and whether it was compiled for that."""
    monkeypatch.setenv("PATCHFARM_CACHE", str(tmp_path / "cache"))
    path, compiles = tmp_path / "page.j2", []
    compile_ = jinja2.Environment.compile

    def spy(*arguments, **options):
        compiles.append(arguments)
        return compile_(*arguments, **options)

    monkeypatch.setattr(jinja2.Environment, "compile", spy)

    def filled(source="{% if x %}\n{{ x | angled }}\n{% endif %}\n"):
        compiles.clear()
        path.write_text(source)
        text = compiled.template(path, {"angled": lambda x: f"<{x}>"}, trim_blocks=True).render(x=1)
        return text, bool(compiles)

    return filled


def test_template_is_compiled_once(fill):
    assert [fill(), fill()] == [(ESCAPED, True), (ESCAPED, False)]


def test_template_that_was_changed_is_compiled_anew(fill):
    fill()
    assert fill("{{ x }} more") == ("1 more", True)


@pytest.mark.parametrize("spoil", [lambda _: b"", lambda old: old[:-1], lambda old: old[:-1] + bytes([old[-1] ^ 1])])
def test_kept_code_that_is_broken_is_not_run(fill, tmp_path, spoil):
    fill()
    (kept,) = (tmp_path / "cache" / "templates").iterdir()
    kept.write_bytes(spoil(kept.read_bytes()))
    assert [fill(), fill()] == [(ESCAPED, True), (ESCAPED, False)]


def test_where_nothing_can_be_kept_templates_are_compiled_each_time(fill, tmp_path):
    (tmp_path / "cache").write_text("no folder")
    assert [fill(), fill()] == [(ESCAPED, True), (ESCAPED, True)]
