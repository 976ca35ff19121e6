"""The `hpcpdf` command: verbs, and errors turned into exit codes."""

from __future__ import annotations

from typing import Annotated

import typer

import hpcpdf
from hpcpdf.cli import configuration, guard, jobs, live, machine, pipeline, solution

app = typer.Typer(
    name="hpcpdf",
    help=hpcpdf.__doc__,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hpcpdf {hpcpdf.__version__}")
        raise typer.Exit


@app.callback(epilog="A run from clusters to a report: hpcpdf run CONFIG.toml")
def options(
    *,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Nanoparticle structures from x-ray pair distribution functions."""
    guard.debug = debug


for verb, example in (
    (pipeline.run, "hpcpdf run examples/quick.toml --set run.out=runs/quick"),
    (pipeline.generate, "mpiexec -n 4 hpcpdf generate examples/quick.toml"),
    (pipeline.train, "hpcpdf train examples/quick.toml"),
    (solution.calibrate, "hpcpdf calibrate Ni.gr --element Ni --out instrument.toml"),
    (solution.reconstruct, "hpcpdf reconstruct pdfs.h5 --model runs/quick/model --out structures.h5"),
    (solution.solve, "hpcpdf solve sample.gr --element Pt --out solved"),
    (live.serve, "hpcpdf serve measured/ --element Pt"),
    (pipeline.evaluate, "hpcpdf evaluate examples/quick.toml"),
    (solution.interpolate, "hpcpdf interpolate small.gr large.gr --element Pt --out between"),
    (pipeline.report, "hpcpdf report runs/quick"),
    (machine.bench, "hpcpdf bench --peers"),
    (machine.doctor, "hpcpdf doctor"),
):
    app.command(epilog=f"Example: {example}")(verb)
app.add_typer(jobs.app, name="jobs")
app.add_typer(configuration.app, name="config")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 failed, 2 usage."""
    return guard.call(app, arguments)
