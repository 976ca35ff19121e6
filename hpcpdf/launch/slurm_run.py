"""The pipeline as a graph of Slurm jobs."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpcpdf.config import RunConfig
from hpcpdf.errors import ConfigError
from hpcpdf.evaluate.members import members
from hpcpdf.launch.graph import Graph, Node, Ranks
from hpcpdf.launch.jobs import check_idle
from hpcpdf.launch.pipeline import STAGES, check_run, named, run_pipeline
from hpcpdf.launch.profiles import Profile
from hpcpdf.launch.settings import load_target, save_config
from hpcpdf.launch.study import STUDY_STAGES, check_study, report_study, run_member
from hpcpdf.launch.submit import dry_run, make_graph, submit
from hpcpdf.stage import DONE, Context

log = logging.getLogger(__name__)

Say = Callable[[str], None]

RANKED_PDFS = 64
"""PDFs that are worth a job of their own in the array that reconstructs."""

_RANKS: dict[str, Ranks] = {"generate": "mpi", "train": "torch"}
"""Stages that use as many ranks as the profile gives them."""
_STAGE = "hpcpdf.launch.slurm_run:run_stage"


def run_on_slurm(config: RunConfig, profile: Profile, *, show: bool = False, say: Say = print) -> Graph | None:
    """Submit every stage that is not finished and return at once.

    Parameters
    ----------
    config
        Complete configuration; saved as ``<run.out>/config.json`` for the jobs.
    profile
        What a job gets.
    show
        Show the scripts instead and write nothing.
    say
        Receives the lines.

    Returns
    -------
    Graph or None
        What was submitted; None if there was nothing left to do.

    Raises
    ------
    ConfigError
        For everything that can be known before the first job starts.
    """
    folder = config.run.out.absolute() / "jobs"
    if config.study.models:
        check_study(config)
        nodes = study_nodes(config)
    else:
        nodes = pipeline_nodes(config, profile, check_run(config, STAGES))
    check_idle(folder)
    if not nodes:
        say(f"{config.run.out}: every stage is finished already")
        return None
    _check_work(config, profile, [node.name for node in nodes])
    graph = make_graph(nodes, folder, profile, title=config.run.out.absolute().name)
    if show:
        dry_run(graph, profile, say=say)
        return graph
    save_config(config)
    submit(graph, profile, say=say)
    say(f"follow it with: hpcpdf jobs status {config.run.out}")
    return graph


def pipeline_nodes(config: RunConfig, profile: Profile, finished: list[str]) -> list[Node]:
    """Nodes of the stages whose folders are not among `finished`."""
    run = str(config.run.out.absolute())
    todo = [stage for stage in STAGES if stage.folder not in finished]
    names = [stage.name for stage in todo]
    nodes: list[Node] = []
    for stage in todo:
        after = tuple(name for name in stage.needs if name in names)
        arguments: dict[str, Any] = {"run": run, "stage": stage.name}
        if stage.name in _RANKS:
            nodes.append(Node(stage.name, _STAGE, arguments, after, resources=stage.name, ranks=_RANKS[stage.name]))
            continue
        if stage.name == "reconstruct" and (jobs := _array_size(config, profile)) > 1:
            blocks = "hpcpdf.launch.slurm_run:reconstruct_blocks"
            nodes.append(Node("blocks", blocks, {"run": run}, after, array=jobs, resources=stage.name))
            after = ("blocks",)
        nodes.append(Node(stage.name, _STAGE, arguments, after, resources=stage.name, nodes=1, tasks=1))
    return nodes


def study_nodes(config: RunConfig) -> list[Node]:
    """An array with a job for each member of a study that is not finished, then tables and report."""
    run = str(config.run.out.absolute())
    todo = [member.name for member in members(config) if not member.finished]
    nodes = []
    if todo:
        function = "hpcpdf.launch.slurm_run:study_member"
        arguments = {"run": run, "names": todo}
        nodes.append(Node("members", function, arguments, array=len(todo), resources="train", nodes=1, tasks=1))
    after = tuple(node.name for node in nodes)
    if todo or not all((config.run.out / stage.folder / DONE).exists() for stage in STUDY_STAGES):
        function = "hpcpdf.launch.slurm_run:study_report"
        nodes.append(Node("collect", function, {"run": run}, after, resources="report", nodes=1, tasks=1))
    return nodes


def study_member(context: Context, *, run: str, names: list[str], part: tuple[int, int]) -> None:
    """Train and score one member of a study."""
    name = names[part[0]]
    member = next(one for one in members(load_target(Path(run))) if one.name == name)
    run_member(member, context, say=log.info)


def study_report(context: Context, *, run: str) -> None:
    """Tables and report of a study whose members are finished."""
    report_study(load_target(Path(run)), context, say=log.info)


def _array_size(config: RunConfig, profile: Profile) -> int:
    """Jobs among which reconstruction is divided, from what is known of the number of PDFs before they are there."""
    section = config.reconstruct
    validation, test = config.dataset.fractions
    share = {"validation": validation, "test": test, "train": 1.0 - validation - test}[section.split]
    pdfs = math.ceil(share * config.clusters.n)
    if section.limit is not None:
        pdfs = min(pdfs, section.limit)
    return min(math.ceil(pdfs / RANKED_PDFS), profile.array_parallelism)


def _check_work(config: RunConfig, profile: Profile, stages: list[str]) -> None:
    """Try on this machine what jobs would otherwise find out after hours in the queue.

    Raises
    ------
    ConfigError
        Naming what cannot work.
    """
    if "generate" in stages:
        from hpcpdf.dataset.samples import cluster_source

        cluster_source(config)(0)
    if "train" in stages:
        from hpcpdf.model.store import build

        build(config.model, length=10.0)
        if config.training.device == "cuda" and not profile.request("train").gpus_per_node:
            raise ConfigError(
                f"training.device = cuda, but profile {profile.name} gives train no GPU; "
                "set gpus_per_node in its section [train], or device = 'cpu' or 'auto'"
            )


def run_stage(context: Context, *, run: str, stage: str) -> None:
    """Run one stage of the run in a folder: what a job of the pipeline does."""
    run_pipeline(load_target(Path(run)), context, named([stage]), say=log.info)


def reconstruct_blocks(context: Context, *, run: str, part: tuple[int, int]) -> None:
    """Reconstruct one part of the PDFs of a run; the stage itself, run afterwards, finds all blocks and joins them."""
    from hpcpdf.reconstruct.batch import run_share

    index, count = part
    run_share(load_target(Path(run)), context, index * context.world + context.rank, count * context.world)
