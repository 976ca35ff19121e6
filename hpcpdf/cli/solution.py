"""Verbs that turn PDFs into structures: solve, reconstruct, interpolate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpcpdf.cli.options import DryRun, Element, Model, Refine, Rmax, Rmin, Samples, Seed, Threads, Top


def solve(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.gr", help="Measured PDFs.")],
    *,
    element: Element,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")],
    model: Model = None,
    samples: Samples = 1000,
    top: Top = 10,
    refine: Refine = True,
    rmin: Rmin = 1.5,
    rmax: Rmax = 20.0,
    seed: Seed = 0,
    threads: Threads = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results for other data in DIR.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Find structures of nanoparticles from measured PDFs: ranked candidates, table, figure, report."""
    from hpcpdf.launch.solving import SolveSettings, solve_files

    settings = SolveSettings(
        element=element,
        model=model,
        n_samples=samples,
        top=top,
        refine=refine,
        r_range=(rmin, rmax),
        seed=seed,
        n_threads=threads,
    )
    solve_files(files, settings, out, overwrite=overwrite, dry_run=dry_run, say=typer.echo)
