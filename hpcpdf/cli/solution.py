"""Verbs that turn PDFs into structures: calibrate, solve, reconstruct, interpolate."""

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
    InstrumentFile,
    Lorch,
    Model,
    OptionalModel,
    ProfileName,
    Qmax,
    Qmin,
    Radiation,
    Refine,
    Rmax,
    RmaxOrAuto,
    Rmin,
    Samples,
    Seed,
    Top,
)
from hpcpdf.cli.pipeline import Where


def calibrate(
    file: Annotated[Path, typer.Argument(metavar="FILE.gr", help="PDF of a bulk standard.")],
    *,
    element: Annotated[str, typer.Option("--element", "-e", metavar="SYMBOL", help="Of the standard, e.g. Ni.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.toml", help="File for the instrument.")],
    rmin: Rmin = 1.5,
    rmax: Rmax = 60.0,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="FILE.png", help="Also draw the fit: .png, .pdf or .svg.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the result of another standard.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Find what the instrument does to every PDF, from that of a bulk standard: Qdamp, Qbroad, lattice constant."""
    from hpcpdf.launch.calibrating import CalibrateSettings, calibrate_file

    settings = CalibrateSettings(element, (rmin, rmax), figure)
    calibrate_file(file, settings, out, overwrite=overwrite, dry_run=dry_run, say=typer.echo)


def solve(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.gr", help="Measured PDFs; F(Q) as .fq, S(Q) as .sq.")],
    *,
    element: Element,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")],
    effort: Effort = EffortName.NORMAL,
    model: OptionalModel = None,
    samples: Drawn = 1000,
    top: Top = None,
    refine: Refine = None,
    rmin: Rmin = 1.5,
    rmax: RmaxOrAuto = "20",
    qmin: Qmin = None,
    qmax: Qmax = None,
    lorch: Lorch = False,
    radiation: Radiation = None,
    instrument: InstrumentFile = None,
    seed: Seed = 0,
    formats: Annotated[
        str, typer.Option("--formats", metavar="NAMES", help="Also write candidates as any of stru,pdb,rmc6f.")
    ] = "",
    script: Annotated[bool, typer.Option("--script", help="Also write refine.py, a DiffPy-CMI refinement.")] = False,
    series: Annotated[
        bool,
        typer.Option("--series", help="Files are one series (temperature, time, position): trends; folders are taken."),
    ] = False,
    where: Annotated[Where, typer.Option("--where", help="Where a --series is solved.")] = Where.LOCAL,
    tasks: Annotated[
        int | None, typer.Option("--tasks", min=1, help="With --where slurm: jobs among which the files are divided.")
    ] = None,
    profile: ProfileName = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results for other data in DIR.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Find structures of nanoparticles from measured PDFs: ranked candidates, table, figure, report."""
    from hpcpdf.launch.solving import SolveSettings, solve_files
    from hpcpdf.pdf.fq import Reading

    settings = SolveSettings(
        element=element,
        model=model,
        n_samples=samples,
        top=(3 if series else 10) if top is None else top,
        refine=not series if refine is None else refine,
        r_range=(rmin, "auto" if rmax == "auto" else float(rmax)),
        effort=effort.value,
        seed=seed,
        instrument=instrument,
    )
    reading = Reading(qmin, qmax, lorch, None if radiation is None else radiation.value)
    if where is Where.SLURM and series:
        from hpcpdf.launch.profiles import load_profile
        from hpcpdf.launch.series_jobs import submit_series

        submit_series(
            files,
            settings,
            out,
            tasks,
            load_profile(profile or "local"),
            reading=reading,
            overwrite=overwrite,
            show=dry_run,
            say=typer.echo,
        )
        return
    _refuse_without_slurm(where, tasks, profile)
    if series:
        from hpcpdf.launch.series import solve_series_files

        solve_series_files(files, settings, out, reading=reading, overwrite=overwrite, dry_run=dry_run, say=typer.echo)
        return
    solve_files(
        files,
        settings,
        out,
        reading=reading,
        formats=formats,
        script=script,
        overwrite=overwrite,
        dry_run=dry_run,
        say=typer.echo,
    )


def _refuse_without_slurm(where: Where, tasks: int | None, profile: str | None) -> None:
    from hpcpdf.errors import ConfigError

    if where is Where.SLURM:
        raise ConfigError("--where slurm: is for --series; a few files are solved where they lie")
    for name, value in (("--tasks", tasks), ("--profile", profile)):
        if value is not None:
            raise ConfigError(f"{name} {value}: is for --where slurm")


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
    _refuse_without_slurm(where, tasks, profile)
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
