"""The whole pipeline: stages in the order of the data, each skipped when it is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from hpcpdf.config import RunConfig
from hpcpdf.errors import ConfigError, DataError, LaunchError
from hpcpdf.launch.settings import check_finished, check_writable, save_config
from hpcpdf.stage import DONE, Context

Say = Callable[[str], None]


@dataclass(frozen=True)
class Stage:
    """A step of the pipeline: `module`.run(config, context) leaves the folder ``<run.out>/<folder>``.

    `needs` names the stages whose folders it reads.
    """

    name: str
    module: str
    folder: str
    purpose: str
    needs: tuple[str, ...] = ()

    def run(self, config: RunConfig, context: Context) -> Path:
        """Run the stage; finished work is kept, interrupted work goes on."""
        result: Path = import_module(self.module).run(config, context)
        return result


STAGES: tuple[Stage, ...] = (
    Stage("generate", "hpcpdf.dataset.generate", "dataset", "clusters and their PDFs"),
    Stage("train", "hpcpdf.training.train", "model", "the conditional generative model", ("generate",)),
    Stage(
        "reconstruct",
        "hpcpdf.reconstruct.batch",
        "reconstruct",
        "structures of the held-out PDFs",
        ("generate", "train"),
    ),
    Stage(
        "evaluate",
        "hpcpdf.evaluate.evaluate",
        "evaluate",
        "the table, beside the look-up baseline",
        ("generate", "reconstruct"),
    ),
    Stage("report", "hpcpdf.report.run_report", "report", "report.html", ("generate", "train", "evaluate")),
)


def named(names: Sequence[str]) -> tuple[Stage, ...]:
    """Stages by name, in pipeline order.

    Raises
    ------
    ConfigError
        If a name is not known.
    """
    known = [stage.name for stage in STAGES]
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown stage {name!r}; expected one of {', '.join(known)}")
    return tuple(stage for stage in STAGES if stage.name in names)


def plan(config: RunConfig, stages: Sequence[Stage] = STAGES) -> list[str]:
    """What a run would do, one line a stage, after the checks that a run makes first."""
    finished = check_run(config, stages)
    return [
        f"{stage.name:<12}{config.run.out / stage.folder}  "
        + ("finished already" if stage.folder in finished else stage.purpose)
        for stage in stages
    ]


def check_run(config: RunConfig, stages: Sequence[Stage]) -> list[str]:
    """Folders of finished stages, after everything that can be refused has been."""
    check_writable(config.run.out, "run.out =")
    finished = check_finished(config, [stage.folder for stage in STAGES])
    planned = {stage.name for stage in stages}
    for stage in stages:
        for earlier in named(stage.needs):
            if earlier.folder not in finished and earlier.name not in planned:
                folder = config.run.out / earlier.folder
                raise DataError(f"{folder}: {stage.name} needs what {earlier.name} makes; do that first, or hpcpdf run")
    return finished


def run_pipeline(
    config: RunConfig, context: Context, stages: Sequence[Stage] = STAGES, *, say: Say = print
) -> dict[str, Path]:
    """Run `stages` one after the other.

    Parameters
    ----------
    config
        Complete configuration; saved as ``<run.out>/config.json`` before the first stage.
    context
        Where this process runs. Only rank 0 writes the configuration and says anything.
    stages
        Which stages, in this order; default all of `STAGES`.
    say
        Receives the progress lines.

    Returns
    -------
    dict
        Stage name to the path that it returned.

    Raises
    ------
    ConfigError
        Before any work, if a finished stage in the folder was made with other settings.
    DataError
        Before any work, if a stage needs another that is neither finished nor among `stages`.
    LaunchError
        If a stage was asked to stop, by Ctrl-C or a batch system, and did so before its end.
    """
    finished = check_run(config, stages)
    leads = context.rank == 0
    if leads:
        save_config(config)
    results: dict[str, Path] = {}
    for number, stage in enumerate(stages, start=1):
        title = f"[{number}/{len(stages)}] {stage.name}"
        if leads and stage.folder not in finished:
            say(f"{title}: {stage.purpose}")
        start = time.perf_counter()
        results[stage.name] = stage.run(config, context)
        # Only rank 0 has written there: a shared file system may show it to other machines later.
        if leads and not (config.run.out / stage.folder / DONE).exists():
            raise LaunchError(f"{stage.name} stopped before its end; the same command goes on from there")
        if leads:
            spent = "finished already" if stage.folder in finished else f"{time.perf_counter() - start:.1f} s"
            say(f"{title}: {spent} -> {results[stage.name]}")
    return results
