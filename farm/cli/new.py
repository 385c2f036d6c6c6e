"""``farm new``: a folder to begin with."""

from __future__ import annotations

import enum
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from farm.cli.app import Arch, ArchPath, app, paths_of
from farm.errors import UsageError
from farm.text import quoted


class Like(enum.Enum):
    """What a new mechanism is like to begin with."""

    STUB = "stub"
    POINTER = "pointer"


new = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(new, name="new", help="Begin a mechanism of your own.")


@new.callback()
def _new() -> None:
    """What is begun is a command of its own, though there is one alone."""


@new.command(
    help="Write a folder that builds, with five functions to fill in.\n\n"
    "Until then it is red; docs/your-mechanism.md goes on to green. Nothing that exists is overwritten."
)
def mechanism(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the mechanism, and of its folder")],
    arch: Arch = None,
    like: Annotated[
        Like, typer.Option(help="stub: asm, which a patch changes; pointer: C, which calls what a pointer says")
    ] = Like.STUB,
    arch_path: ArchPath = None,
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where the folder is made")] = Path(),
) -> None:
    from farm.guest import arch_toml, mechanisms, template
    from farm.run import plan

    template.check_name(name, mechanisms.load())
    if not arch:
        raise UsageError("--arch is missing: name the architectures that it is for, such as --arch arm64,x86_64")
    selection = replace(paths_of(arch_path, None, None), arch=arch)
    variants = arch_toml.load(selection.arch_path)
    chosen = plan.chosen_variants(selection, variants)
    files = template.files(name, like.value, [variants[each] for each in chosen])
    folder = output / name
    _write(folder, files)
    selection = replace(selection, mechanism_path=(folder.resolve(),))
    options = f"--mechanism {name} --arch {','.join(chosen)} {selection.path_options()}"
    for line in (
        f"{quoted(folder)} has {', '.join(map(str, files))}",
        f"It builds, and is red until the five functions in {quoted(folder / 'mechanism.c')} are filled in:",
        f"  farm run {options} --engine unicorn --scenario 'BS-0*'",
        f"{mechanisms.common() / 'mechanism.h'} says what each must do and what helps.",
        "docs/your-mechanism.md goes on to green; docs/mechanism-toml.md has every key and promise.",
    ):
        typer.echo(line)


def _write(folder: Path, files: dict[Path, str]) -> None:
    """``folder``, which is not there yet, with ``files``.  Raises :class:`~farm.errors.UsageError`; then it is not."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(f"{folder} exists, and nothing is overwritten: choose another NAME, or --output DIR") from None
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made: {error.strerror}; --output DIR names another place") from None
    try:
        for path, content in files.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(content, encoding="utf-8")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UsageError(f"{folder / path}: cannot be written: {error.strerror}") from None
