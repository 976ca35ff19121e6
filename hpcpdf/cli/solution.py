"""Verbs that turn PDFs into structures: solve, reconstruct, interpolate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpcpdf.cli.options import (
    Drawn,
    DryRun,
    Effort,
    EffortName,
    Element,
    Model,
    OptionalModel,
    ProfileName,
    Refine,
    Rmax,
    Rmin,
    Samples,
    Seed,
    Top,
)
from hpcpdf.cli.pipeline import Where


def solve(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.gr", help="Measured PDFs.")],
    *,
    element: Element,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")],
    effort: Effort = EffortName.NORMAL,
    model: OptionalModel = None,
    samples: Drawn = 1000,
    top: Top = None,
    refine: Refine = None,
    rmin: Rmin = 1.5,
    rmax: Rmax = 20.0,
    seed: Seed = 0,
    series: Annotated[
        bool,
        typer.Option("--series", help="Files are one series (temperature, time, position): trends; folders are taken."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results for other data in DIR.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Find structures of nanoparticles from measured PDFs: ranked candidates, table, figure, report."""
    from hpcpdf.launch.solving import SolveSettings, solve_files

    settings = SolveSettings(
        element=element,
        model=model,
        n_samples=samples,
        top=(3 if series else 10) if top is None else top,
        refine=not series if refine is None else refine,
        r_range=(rmin, rmax),
        effort=effort.value,
        seed=seed,
    )
    if series:
        from hpcpdf.launch.series import solve_series_files

        solve_series_files(files, settings, out, overwrite=overwrite, dry_run=dry_run, say=typer.echo)
        return
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
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Of each process; default: all cores.")
    ] = None,
    where: Annotated[Where, typer.Option("--where", help="Where the work is done.")] = Where.LOCAL,
    tasks: Annotated[
        int | None, typer.Option("--tasks", min=1, help="With --where slurm: jobs among which the PDFs are divided.")
    ] = None,
    profile: ProfileName = None,
    dry_run: DryRun = False,
) -> None:
    """Reconstruct many PDFs into one HDF5 file; also under mpiexec or srun --mpi=pmi2, or as an array of Slurm jobs.

    --samples 1 takes the likeliest structure alone, without ranking and fits: thousands of PDFs a second. An
    interrupted call goes on from its finished blocks, on any number of ranks or jobs.
    """
    from hpcpdf.errors import ConfigError
    from hpcpdf.launch.reconstructing import ReconstructSettings, reconstruct_pdfs, submit_reconstruction

    settings = ReconstructSettings(
        pdfs=str(pdfs),
        out=str(out),
        model=None if model is None else str(model),
        element=element,
        qmin=qmin,
        qmax=qmax,
        n_samples=samples,
        r_range=(rmin, rmax),
        seed=seed,
        n_threads=threads,
    )
    if where is Where.SLURM:
        from hpcpdf.launch.profiles import load_profile

        submit_reconstruction(settings, tasks, load_profile(profile or "local"), show=dry_run, say=typer.echo)
        return
    for name, value in (("--tasks", tasks), ("--profile", profile)):
        if value is not None:
            raise ConfigError(f"{name} {value}: is for --where slurm")
    reconstruct_pdfs(settings, dry_run=dry_run, say=typer.echo)


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
