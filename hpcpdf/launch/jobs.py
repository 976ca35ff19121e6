"""What to do about submitted jobs: cancel, retry, read a log."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcpdf.errors import ConfigError, LaunchError
from hpcpdf.launch import scheduler
from hpcpdf.launch.graph import GRAPH
from hpcpdf.launch.markers import code_version, note_cancelled
from hpcpdf.launch.status import ACTIVE, ORDER, Report, survey

if TYPE_CHECKING:
    from hpcpdf.launch.profiles import Profile

Say = Callable[[str], None]


def cancel(folder: Path, *, show: bool = False) -> list[str]:
    """Cancel what is queued or runs; returns the names of those nodes. With `show`, that alone."""
    report = _asked(folder)
    active = report.active
    if show:
        return active
    jobs: list[str] = []
    for node in report.nodes:
        ended = {job.job.partition("_")[0]: None for job in node.jobs if job.state in ACTIVE}
        note_cancelled(folder, node.name, list(ended))
        jobs += ended
    scheduler.cancel(jobs)
    return active


def retry(folder: Path, profile: Profile, *, show: bool = False, say: Say = print) -> dict[str, list[int]]:
    """Submit again what failed, was cancelled or never ran, and what waited for it; of arrays the missing indices only.

    With `show`, only say what would be submitted.

    Returns
    -------
    dict
        Node to the indices that are submitted again; empty when there was nothing to do.
    """
    from hpcpdf.launch.submit import send  # submitit: a third of a second that the other questions do not need

    report = _asked(folder)
    nodes = {node.name: node for node in report.nodes}
    bad = [node.name for node in report.nodes if any(job.state not in ("done", *ACTIVE) for job in node.jobs)]
    wanted: dict[str, list[int]] = {}
    waiting: dict[str, list[str]] = {}
    obsolete: list[str] = []
    again = report.graph.downstream(bad)
    for name, node in nodes.items():
        # What waits for a job that is now replaced would wait for ever.
        stale = [job for job in node.jobs if job.state == "queued" and name in again and name not in bad]
        obsolete += [job.job for job in stale]
        kept = [job.job for job in node.jobs if job.state in ACTIVE and job not in stale]
        if kept:
            waiting[name] = kept
        indices = [job.index for job in node.jobs if job.state not in ("done", *ACTIVE) or job in stale]
        if indices:
            wanted[name] = indices
    if show:
        for name, indices in wanted.items():
            say(f"{name:<16}would be submitted again: {len(indices)} of {nodes[name].total} jobs")
    if show or not wanted:
        return wanted
    scheduler.cancel(obsolete)
    graph = replace(report.graph, profile=profile.name, code=code_version())
    graph.save()
    send(graph, profile, wanted, waiting, say=say)
    return wanted


def _asked(folder: Path) -> Report:
    report = survey(folder)
    if report.silent:
        raise LaunchError(report.silent)
    return report


def check_idle(folder: Path) -> None:
    """Refuse to submit a second time what is still queued or running.

    Raises
    ------
    ConfigError
        Naming the nodes.
    LaunchError
        If Slurm does not say.
    """
    if not (folder / GRAPH).is_file() or shutil.which("squeue") is None:
        return
    report = _asked(folder)
    if report.active:
        raise ConfigError(
            f"{folder}: {', '.join(report.active)} still queued or running; "
            "see hpcpdf jobs status, or end them with hpcpdf jobs cancel"
        )


def find_log(folder: Path, node: str | None, index: int | None) -> Path:
    """Log of a node's telling job, or of one index; without a node, of the first that failed, runs or ran last.

    Raises
    ------
    ConfigError
        If that job has left no log.
    """
    report = survey(folder)
    report.graph[node or report.nodes[0].name]
    chosen = [entry for entry in report.nodes if node in (None, entry.name)]
    if index is not None:
        found = [job for entry in chosen for job in entry.jobs if job.index == index]
    else:
        found = [entry.telling() for state in ORDER for entry in reversed(chosen) if entry.state == state]
    for job in found:
        if job.log:
            return Path(job.log)
    raise ConfigError(
        f"{folder}: {node or 'no node'} {'has' if node else 'of it has'} written no log yet; see hpcpdf jobs status"
    )
