"""Verbs about this machine: bench, doctor."""

from __future__ import annotations

import typer

from hpcpdf.cli.options import JsonFile


def doctor(
    *,
    json_file: JsonFile = None,
) -> None:
    """Check this machine and installation; say what to fix. Exit code 1 if something is broken."""
    from hpcpdf.launch.doctor import examine, write

    checks = examine()
    for check in checks:
        typer.echo(check.line())
    if json_file is not None:
        write(checks, json_file)
    if any(check.status == "broken" for check in checks):
        raise typer.Exit(1)
