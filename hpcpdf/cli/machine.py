"""Verbs about this machine: bench, doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from hpcpdf.cli.options import JsonFile, ProfileName


def doctor(
    *,
    profile: ProfileName = None,
    json_file: JsonFile = None,
) -> None:
    """Check this machine and installation; say what to fix. Exit code 1 if something is broken.

    With --profile also whether Slurm accepts that profile's jobs and their ranks meet.
    """
    from hpcpdf.launch.doctor import examine, write

    checks = examine(profile)
    for check in checks:
        typer.echo(check.line())
    if json_file is not None:
        write(checks, json_file)
    if any(check.status == "broken" for check in checks):
        raise typer.Exit(1)


def bench(
    *,
    peers: Annotated[bool, typer.Option("--peers", help="Also time the peers that are installed.")] = False,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Times each pair is measured.")] = 5,
    json_file: JsonFile = None,
) -> None:
    """Time the solver and the PDF engine on this machine; with --peers, as ratios of paired runs."""
    from hpcpdf.launch.bench import measure, write

    result = measure(peers=peers, rounds=rounds, say=typer.echo)
    if json_file is not None:
        write(result, json_file)
