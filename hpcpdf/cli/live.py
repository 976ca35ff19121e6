"""The verb that follows a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpcpdf.cli.options import (
    DryRun,
    Effort,
    EffortName,
    Element,
    InstrumentFile,
    Lorch,
    OptionalModel,
    Qmax,
    Qmin,
    Radiation,
    RmaxOrAuto,
    Rmin,
    Seed,
)


def serve(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where measured files arrive: .gr, .fq, .sq.")],
    *,
    element: Element,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder for the answers; default: FOLDER/hpcpdf.")
    ] = None,
    effort: Effort = EffortName.NORMAL,
    model: OptionalModel = None,
    refine: Annotated[
        bool, typer.Option("--refine/--no-refine", help="Also move atoms of the best structure.")
    ] = False,
    rmin: Rmin = 1.5,
    rmax: RmaxOrAuto = "20",
    qmin: Qmin = None,
    qmax: Qmax = None,
    lorch: Lorch = False,
    radiation: Radiation = None,
    instrument: InstrumentFile = None,
    seed: Seed = 0,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Of this machine; 0: a free one.")] = 0,
    at_once: Annotated[
        int | None, typer.Option("--at-once", min=1, help="Files solved at a time; default: all cores but one.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Follow a folder: a page on this machine on which answers and trends grow as files arrive."""
    from hpcpdf.launch.serving import serve_folder
    from hpcpdf.launch.solving import SolveSettings
    from hpcpdf.pdf.fq import Reading

    settings = SolveSettings(
        element=element,
        model=model,
        top=3,
        refine=refine,
        r_range=(rmin, "auto" if rmax == "auto" else float(rmax)),
        effort=effort.value,
        seed=seed,
        instrument=instrument,
    )
    reading = Reading(qmin, qmax, lorch, None if radiation is None else radiation.value)
    serve_folder(folder, settings, out, reading=reading, port=port, at_once=at_once, dry_run=dry_run, say=typer.echo)
