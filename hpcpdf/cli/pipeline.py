"""Verbs of the pipeline: run, generate, train, evaluate, report."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hpcpdf.cli.options import ConfigFile, DryRun, Overrides, ProfileName, RunTarget

if TYPE_CHECKING:
    from hpcpdf.config import RunConfig
    from hpcpdf.stage import Context

Ranks = Literal["one", "mpi", "torch"]


class Where(StrEnum):
    """Where a run's stages are executed."""

    LOCAL = "local"
    SLURM = "slurm"


def run(
    config: ConfigFile,
    *,
    overrides: Overrides = None,
    where: Annotated[Where, typer.Option("--where", help="Where the stages run.")] = Where.LOCAL,
    profile: ProfileName = None,
    dry_run: DryRun = False,
) -> None:
    """Run the whole pipeline: generate, train, reconstruct, evaluate, report.

    Finished stages are kept; an interrupted run goes on where it stopped. With --where slurm all stages are submitted
    and the command returns at once; `hpcpdf jobs status` follows them.
    """
    if where is Where.SLURM:
        from hpcpdf.config import load_config
        from hpcpdf.launch.profiles import load_profile
        from hpcpdf.launch.slurm_run import run_on_slurm

        run_on_slurm(
            load_config(config, overrides or ()), load_profile(profile or "local"), show=dry_run, say=typer.echo
        )
        return
    if profile is not None:
        from hpcpdf.errors import ConfigError

        raise ConfigError(f"--profile {profile}: is for --where slurm")
    _stages(config, overrides, dry_run, ranks="one")


def generate(config: ConfigFile, *, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Generate clusters and their PDFs into one HDF5 data set; also under mpiexec or srun --mpi=pmi2."""
    _stages(config, overrides, dry_run, "generate", ranks="mpi")


def train(config: ConfigFile, *, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Train the model on the generated data set; also on many ranks, under torchrun or srun."""
    _stages(config, overrides, dry_run, "train", ranks="torch")


def evaluate(target: RunTarget, *, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Print and save the table of a run: agreement of PDFs and structures, beside the look-up baseline."""
    _stages(target, overrides, dry_run, "evaluate", ranks="one")
    if not dry_run:
        from hpcpdf.evaluate.evaluate import table_text
        from hpcpdf.launch.settings import load_target

        typer.echo(table_text(load_target(target, overrides or ()).run.out / "evaluate"), nl=False)


def report(target: RunTarget, *, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Write the HTML report of a run."""
    _stages(target, overrides, dry_run, "report", ranks="one")


def _stages(target: Path, overrides: list[str] | None, dry_run: bool, *names: str, ranks: Ranks) -> None:
    from hpcpdf.launch.pipeline import STAGES, named, plan, run_pipeline
    from hpcpdf.launch.settings import load_target

    context = _context(ranks, names[0] if names else "run")
    with context.together():
        config = load_target(target, overrides or ())
        if config.study.models:
            _study(config, context, dry_run, names)
            return
        stages = named(names) if names else STAGES
        if not dry_run:
            run_pipeline(config, context, stages, say=_say)
        elif context.rank == 0:
            for line in plan(config, stages):
                _say(line)


def _study(config: RunConfig, context: Context, dry_run: bool, names: tuple[str, ...]) -> None:
    from hpcpdf.errors import ConfigError
    from hpcpdf.launch.study import plan_study, report_study, run_study

    if names not in ((), ("report",)):
        raise ConfigError(f"hpcpdf {names[0]} is for a single training, and [study] names several; use hpcpdf run")
    if dry_run:
        for line in plan_study(config):
            _say(line)
    elif names:
        report_study(config, context, say=_say)
    else:
        run_study(config, context, say=_say)


def _context(ranks: Ranks, verb: str) -> Context:
    from hpcpdf.dataset.mpi import context_from_mpi
    from hpcpdf.errors import LaunchError
    from hpcpdf.training.ranks import context_from_launcher, place

    if ranks == "torch":
        return context_from_launcher()
    if "TORCHELASTIC_RUN_ID" in os.environ and (where := place()):
        raise LaunchError(f"torchrun started {where.world} times hpcpdf {verb}; it is for hpcpdf train alone")
    context = context_from_mpi()
    if context.world > 1 and ranks == "one":
        with context.together():
            raise LaunchError(
                f"hpcpdf {verb} was started as {context.world} MPI ranks but uses one process; start it without mpiexec"
            )
    return context


def _say(line: str) -> None:
    typer.echo(line)
