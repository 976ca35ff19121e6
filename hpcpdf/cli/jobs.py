"""Verbs about what was sent to Slurm: status, logs, cancel, retry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hpcpdf.cli.options import DryRun, ProfileName

app = typer.Typer(
    help="Look after the jobs of a run that was sent to Slurm.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of the run, or the file that `reconstruct` shall make.")
]


@app.command(epilog="Example: hpcpdf jobs status runs/quick")
def status(
    run: Run,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything that is known, as JSON.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until nothing is queued or running.")] = False,
) -> None:
    """Show what became of the jobs. Exit code 1 if something failed or was cancelled."""
    from hpcpdf.launch import status as states
    from hpcpdf.launch.graph import find_jobs

    folder = find_jobs(run)
    report = states.wait(folder) if wait else states.survey(folder)
    if as_json:
        typer.echo(json.dumps(report.data(), indent=2))
    else:
        for line in report.lines():
            typer.echo(line)
    if not report.complete and not report.healthy:
        raise typer.Exit(1)


@app.command(epilog="Example: hpcpdf jobs logs runs/quick train --lines 50")
def logs(
    run: Run,
    node: Annotated[str | None, typer.Argument(metavar="NODE", help="Default: the first that failed or runs.")] = None,
    *,
    index: Annotated[int | None, typer.Option("--index", min=0, help="Which job of an array.")] = None,
    lines: Annotated[int, typer.Option("--lines", min=1, help="How many lines of its end.")] = 40,
) -> None:
    """Print the end of a log."""
    from hpcpdf.launch.graph import find_jobs
    from hpcpdf.launch.jobs import find_log

    path = find_log(find_jobs(run), node, index)
    text = path.read_text(errors="replace").splitlines()
    typer.echo(f"{path}, last {min(lines, len(text))} of {len(text)} lines")
    for line in text[-lines:]:
        typer.echo(line)


@app.command(epilog="Example: hpcpdf jobs cancel runs/quick")
def cancel(run: Run, *, dry_run: DryRun = False) -> None:
    """Cancel what is queued or runs. Finished work is kept."""
    from hpcpdf.launch import jobs
    from hpcpdf.launch.graph import find_jobs

    names = jobs.cancel(find_jobs(run), show=dry_run)
    done = "would be cancelled" if dry_run else "cancelled"
    typer.echo(f"{done}: {', '.join(names)}" if names else "nothing is queued or running")


@app.command(epilog="Example: hpcpdf jobs retry runs/quick")
def retry(run: Run, *, profile: ProfileName = None, dry_run: DryRun = False) -> None:
    """Submit again what failed, was cancelled or is missing, and what waited for it; of arrays only those jobs."""
    from hpcpdf.launch import jobs
    from hpcpdf.launch.graph import find_jobs, read_graph
    from hpcpdf.launch.profiles import load_profile

    folder = find_jobs(run)
    chosen = load_profile(profile or read_graph(folder).profile)
    if not jobs.retry(folder, chosen, show=dry_run, say=typer.echo):
        typer.echo("nothing to do: every job is done, queued or running")
