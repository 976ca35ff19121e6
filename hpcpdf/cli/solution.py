"""Verbs that turn PDFs into structures: solve, reconstruct, interpolate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpcpdf.cli.options import DryRun, Element, Model, Refine, Rmax, Rmin, Samples, Seed, Top


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
    )
    solve_files(files, settings, out, overwrite=overwrite, dry_run=dry_run, say=typer.echo)


def reconstruct(
    pdfs: Annotated[Path, typer.Argument(metavar="PDFS.h5", help="PDFs: a data set, or HDF5 with `pdf` and `r`.")],
    *,
    model: Model = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT.h5", help="File for the structures.")],
    element: Annotated[
        str | None, typer.Option("--element", "-e", metavar="SYMBOL", help="Metal, when the file does not say it.")
    ] = None,
    qmin: Annotated[
        float | None, typer.Option("--qmin", min=0.0, help="With --qmax: range of the transform, 1/angstrom.")
    ] = None,
    qmax: Annotated[float | None, typer.Option("--qmax", min=0.0, help="See --qmin.")] = None,
    samples: Samples = 100,
    rmin: Rmin = 1.5,
    rmax: Rmax = 20.0,
    seed: Seed = 0,
    dry_run: DryRun = False,
) -> None:
    """Reconstruct many PDFs into one HDF5 file; also under mpiexec or srun --mpi=pmi2.

    An interrupted call goes on from its finished blocks.
    """
    from hpcpdf.launch.solving import reconstruct_pdfs

    reconstruct_pdfs(
        pdfs,
        out,
        model,
        element=element,
        q_range=None if qmin is None and qmax is None else (qmin, qmax),
        n_samples=samples,
        r_range=(rmin, rmax),
        seed=seed,
        dry_run=dry_run,
        say=typer.echo,
    )


def interpolate(
    first: Annotated[Path, typer.Argument(metavar="A.gr", help="Where the way begins.")],
    second: Annotated[Path, typer.Argument(metavar="B.gr", help="Where it ends.")],
    *,
    element: Element,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")],
    model: Model = None,
    steps: Annotated[int, typer.Option("--steps", min=2, help="Structures on the way, both ends included.")] = 9,
    dry_run: DryRun = False,
) -> None:
    """Structures on the way between two PDFs, in the latent space of the model."""
    from hpcpdf.launch.interpolating import interpolate_files

    interpolate_files(first, second, element, out, model=model, steps=steps, dry_run=dry_run, say=typer.echo)
