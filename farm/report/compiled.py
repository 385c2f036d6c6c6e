"""Templates of jinja2 as code, kept in the cache: to compile one takes longer than to fill it in.

What jinja2 itself has for that fails on a file that is broken.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING

from farm import paths
from farm.errors import FarmError
from farm.guest import inputs

if TYPE_CHECKING:
    from jinja2 import Template

_DIGEST = hashlib.sha256().digest_size


def template(path: Path, filters: Mapping[str, Callable[..., str]], *, trim_blocks: bool = False) -> Template:
    """The template in ``path``, which needs no other file.  What it is filled with is escaped, and must all be there.

    ``trim_blocks`` leaves out the lines that hold nothing but statements.
    """
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=trim_blocks, lstrip_blocks=trim_blocks
    )
    environment.filters.update(filters)
    source = path.read_text(encoding="utf-8")
    made_of = (sys.version, jinja2.__version__, Path(__file__).read_bytes(), str(path), sorted(filters), trim_blocks)
    key = hashlib.sha256(f"{made_of} {source}".encode()).digest()
    code = _kept(path.name, key)
    if code is None:
        code = environment.compile(source, path.name, str(path))
        _keep(path.name, key, marshal.dumps(code))
    return jinja2.Template.from_code(environment, code, environment.globals)


def _home(name: str) -> Path:
    return paths.cache() / "templates" / name


def _kept(name: str, key: bytes) -> CodeType | None:
    """Code that was made of what ``key`` is the digest of; None if there is none, or it is broken."""
    with contextlib.suppress(OSError, FarmError):
        content = _home(name).read_bytes()
        body = content[2 * _DIGEST :]
        if content.startswith(key + hashlib.sha256(body).digest()):
            code: CodeType = marshal.loads(body)  # noqa: S302 - as trusted as the guests beside it, which are run
            return code
    return None


def _keep(name: str, key: bytes, body: bytes) -> None:
    """Keep code where that can be done; it is made anew elsewhere."""
    with contextlib.suppress(OSError, FarmError):
        home = _home(name)
        home.parent.mkdir(parents=True, exist_ok=True)
        inputs.write(home, key + hashlib.sha256(body).digest() + body, durable=False)
