"""``farm doctor``: what is here, what is missing, and how to install it."""

from __future__ import annotations

from typing import Annotated

import typer

from farm.cli.app import app


@app.command(help="Say what is here, what is missing, and how to install it.")
def doctor(
    install: Annotated[bool, typer.Option("--install", help="Install what apt can install")] = False,
    tests: Annotated[bool, typer.Option("--tests", help="Also what only the farm's own tests need")] = False,
) -> None:
    from farm import doctor as doctors

    findings = doctors.check(tests=tests)
    status = 0
    if install:
        status = doctors.install(findings)
        findings = doctors.check(tests=tests)
    doctors.report(findings)
    missing = any(finding.required and finding.found is None for finding in findings)
    raise typer.Exit(3 if missing else status)
