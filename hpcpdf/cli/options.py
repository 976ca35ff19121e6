"""Arguments that several verbs share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="Configuration of the run.")]

RunTarget = Annotated[
    Path, typer.Argument(metavar="CONFIG.toml|RUN", help="Configuration of the run, or the folder it was written to.")
]

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=value", help="Change one value; TOML, else a plain string. May be repeated."),
]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, say what would be done, write nothing.")]

Element = Annotated[str, typer.Option("--element", "-e", metavar="SYMBOL", help="Metal of the particles, e.g. Pt.")]

Model = Annotated[
    Path | None, typer.Option("--model", "-m", metavar="MODEL", help="Trained model; default: the one shipped.")
]

OptionalModel = Annotated[
    Path | None,
    typer.Option(
        "--model", "-m", metavar="MODEL", help="Also begin from what this model proposes; thorough: the one shipped."
    ),
]


class EffortName(StrEnum):
    """How long a PDF is searched."""

    QUICK = "quick"
    NORMAL = "normal"
    THOROUGH = "thorough"


Effort = Annotated[EffortName, typer.Option("--effort", help="How long to search.")]

Samples = Annotated[int, typer.Option("--samples", "-n", min=1, help="Structures drawn for each PDF.")]
Drawn = Annotated[int, typer.Option("--samples", "-n", min=1, help="Structures that a model draws, where one is used.")]
Top = Annotated[
    int | None, typer.Option("--top", min=1, help="Candidates kept for each PDF; default: 10, in a series 3.")
]
Refine = Annotated[
    bool | None,
    typer.Option("--refine/--no-refine", help="Also move the atoms of the best candidates; default: not in a series."),
]
Rmin = Annotated[float, typer.Option("--rmin", min=0.0, help="Lower end of the compared range, in angstrom.")]
Rmax = Annotated[float, typer.Option("--rmax", min=0.0, help="Upper end of the compared range, in angstrom.")]


def _rmax(text: str) -> str:
    """Refuse what is neither a number nor ``auto``."""
    if text != "auto":
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not 0.0 <= number < float("inf"):
            raise typer.BadParameter(f"{text!r} is neither a number of angstrom nor 'auto'")
    return text


RmaxOrAuto = Annotated[
    str,
    typer.Option(
        "--rmax",
        metavar="FLOAT|auto",
        callback=_rmax,
        help="Upper end of the compared range, in angstrom; auto: where the signal sinks into noise.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the samples.")]

InstrumentFile = Annotated[
    Path | None,
    typer.Option("--instrument", metavar="FILE", help="Qdamp and Qbroad as hpcpdf calibrate found them."),
]


class RadiationName(StrEnum):
    """What a PDF was measured with."""

    XRAY = "xray"
    NEUTRON = "neutron"


Qmin = Annotated[
    float | None,
    typer.Option(
        "--qmin", min=0.0, help="F(Q), S(Q): range of the transform, 1/angstrom; G(r): if its header is silent."
    ),
]
Qmax = Annotated[float | None, typer.Option("--qmax", min=0.0, help="See --qmin.")]
Lorch = Annotated[bool, typer.Option("--lorch", help="F(Q), S(Q): damp by a Lorch window. The fit knows none.")]
Radiation = Annotated[
    RadiationName | None, typer.Option("--radiation", help="Of the measurement; default: as the header says.")
]

ProfileName = Annotated[
    str | None, typer.Option("--profile", metavar="NAME", help="What a Slurm job gets: a profile, or its TOML file.")
]

JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the result there.")]
