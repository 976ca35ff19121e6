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
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the samples.")]

ProfileName = Annotated[
    str | None, typer.Option("--profile", metavar="NAME", help="What a Slurm job gets: a profile, or its TOML file.")
]

JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the result there.")]
