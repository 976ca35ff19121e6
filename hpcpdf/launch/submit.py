"""Send a graph of jobs to Slurm through submitit, in one go, or show what would be sent."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import submitit
import submitit.core.utils

from hpcpdf.errors import ConfigError, LaunchError
from hpcpdf.launch import scheduler
from hpcpdf.launch.graph import GRAPH, Graph, Node, jobs_beside, ordered
from hpcpdf.launch.jobs import check_idle
from hpcpdf.launch.markers import (
    Submission,
    code_version,
    mark_path,
    note_cancelled,
    read_submissions,
    slurm_folder,
    utc,
    write_submissions,
)
from hpcpdf.launch.profiles import Profile
from hpcpdf.launch.settings import check_writable
from hpcpdf.launch.task import Task

Say = Callable[[str], None]

LARGEST_ARRAY = 1000
"""Elements of one array of Slurm, whose default limit (MaxArraySize) is 1001; larger nodes become several arrays."""


class _Executor(submitit.SlurmExecutor):
    """submitit's executor, which can also show its script where Slurm is not installed."""

    @classmethod
    def affinity(cls) -> int:
        return 2

    def script(self, count: int) -> str:
        """The sbatch script for `count` jobs."""
        if count > 1:
            self.parameters["map_count"] = count
        return str(self._make_submission_file_text(self._submitit_command_str, "")) + "\n"


def make_graph(nodes: Sequence[Node], folder: Path, profile: Profile, *, title: str) -> Graph:
    """Check nodes, folder and profile as far as that is possible here, and write nothing.

    Raises
    ------
    ConfigError
        Naming what cannot be submitted as it is, or which earlier jobs of this folder are still queued or running.
    """
    folder = folder.absolute()
    if "%" in str(folder):
        raise ConfigError(f"{folder}: Slurm takes % in the name of a log for a pattern; choose another folder")
    check_writable(folder, "jobs folder")
    check_idle(folder)
    graph = Graph(folder, ordered(nodes), title, profile.name, code_version())
    for node in graph.nodes:
        _parameters(graph, node, profile, ())
    return graph


def submit(graph: Graph, profile: Profile, *, say: Say = print) -> dict[str, list[str]]:
    """Submit every node and return at once.

    Parameters
    ----------
    graph
        From :func:`make_graph`.
    profile
        Says what a job gets.
    say
        Receives a line for each node.

    Returns
    -------
    dict
        Node to its Slurm job ids.

    Raises
    ------
    LaunchError
        If Slurm refuses one; what was submitted before is cancelled, so that there is all or nothing.
    """
    if shutil.which("sbatch") is None:
        raise LaunchError("sbatch: not found; submit from a machine of the cluster, or run with --where local")
    graph.save()
    for node in graph.nodes:
        write_submissions(graph.folder, node.name, ())
        for path in mark_path(graph.folder, node.name, 0).parent.glob("*.json"):
            path.unlink()
    return send(graph, profile, {node.name: range(node.size) for node in graph.nodes}, {}, say=say)


def submit_beside(
    nodes: Sequence[Node], result: Path, profile: Profile, *, title: str, job: str, show: bool, say: Say
) -> Graph:
    """Submit the jobs that make `result`, with their folder beside it; with `show`, show their scripts alone.

    `job` says what is done. Raises ConfigError where jobs of an earlier call are still at it.
    """
    folder = jobs_beside(result)
    if (folder / GRAPH).is_file():
        check_idle(folder)
    graph = make_graph(nodes, folder, profile, title=title)
    say(f"{job} -> {result}")
    if show:
        dry_run(graph, profile, say=say)
    else:
        submit(graph, profile, say=say)
        say(f"follow it with: hpcpdf jobs status {result}")
    return graph


def send(
    graph: Graph,
    profile: Profile,
    wanted: Mapping[str, Sequence[int]],
    waiting: Mapping[str, Sequence[str]],
    *,
    say: Say = print,
) -> dict[str, list[str]]:
    """Submit some indices of some nodes of a saved graph.

    Parameters
    ----------
    wanted
        Indices to submit, by node.
    waiting
        Ids of jobs that are queued or run already, by node: dependents wait for them too. All others count as done.
    """
    sent: dict[str, list[str]] = {}
    with scheduler.outside_of_jobs():
        try:
            for node in graph.nodes:
                if not wanted.get(node.name):
                    continue
                before = [job for name in node.after for job in (*waiting.get(name, ()), *sent.get(name, ()))]
                sent[node.name] = []
                for chunk in _chunks(wanted[node.name]):
                    entry = _send(graph, node, chunk, profile, before)
                    write_submissions(graph.folder, node.name, [*read_submissions(graph.folder, node.name), entry])
                    sent[node.name].append(entry.job)
                say(_line(node, wanted[node.name], sent[node.name], before))
        except LaunchError:
            for name, ids in sent.items():
                note_cancelled(graph.folder, name, ids)
            scheduler.cancel([job for ids in sent.values() for job in ids])
            raise
    return sent


def _line(node: Node, indices: Sequence[int], jobs: Sequence[str], before: Sequence[str]) -> str:
    count = "" if node.array is None else f" x {len(indices)}"
    after = f", after {', '.join(node.after)}" if before else ""
    return f"{node.name:<16}job {', '.join(jobs)}{count}{after}"


def _chunks(indices: Sequence[int]) -> list[tuple[int, ...]]:
    return [tuple(indices[k : k + LARGEST_ARRAY]) for k in range(0, len(indices), LARGEST_ARRAY)]


def _send(graph: Graph, node: Node, indices: tuple[int, ...], profile: Profile, before: Sequence[str]) -> Submission:
    executor = _executor(graph, node, profile, before)
    tasks = [Task(graph.folder, node.name, index) for index in indices]
    try:
        found = executor.submit_array(tasks)
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        raise LaunchError(f"node {node.name}: sbatch refused it: {' '.join(str(error).split())}") from None
    return Submission(found[0].job_id.partition("_")[0], indices, len(tasks) > 1, utc())


def _executor(graph: Graph, node: Node, profile: Profile, before: Sequence[str]) -> _Executor:
    executor = _Executor(folder=slurm_folder(graph.folder, node.name))
    executor.update_parameters(**_parameters(graph, node, profile, before))
    return executor


def _parameters(graph: Graph, node: Node, profile: Profile, before: Sequence[str]) -> dict[str, Any]:
    """submitit's parameters of a node: the profile's, and what every job of ours needs."""
    parameters = profile.submit_parameters(
        node.resources,
        nodes=node.nodes,
        tasks=node.tasks,
        gpus=node.gpus,
        cpus=node.cpus,
        minutes=node.minutes,
        mpi=node.ranks == "mpi",
    )
    if parameters["signal_delay_s"] >= 60 * parameters["time"]:
        raise ConfigError(
            f"node {node.name}: its limit of {parameters['time']} min leaves no time before the signal that comes "
            f"{parameters['signal_delay_s']} s earlier; raise minutes or lower signal_seconds in profile {profile.name}"
        )
    if before:
        parameters["dependency"] = "afterok:" + ":".join(before)
        parameters["additional_parameters"]["kill-on-invalid-dep"] = "yes"
    job = "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
    folder = shlex.quote(str(slurm_folder(graph.folder, node.name)))
    return {
        **parameters,
        "job_name": f"{graph.title}-{node.name}",
        "teardown": ["status=$?", f'echo $status >{folder}/"{job}.exit"', "exit $status"],
        "stderr_to_stdout": True,
    }


def scripts(graph: Graph, profile: Profile) -> dict[str, str]:
    """sbatch script of every node; ids of jobs that it waits for stand as ``<node>``."""
    shown = {}
    for node in graph.nodes:
        executor = _executor(graph, node, profile, [f"<{name}>" for name in node.after])
        shown[node.name] = executor.script(min(node.size, LARGEST_ARRAY))
    return shown


def refused(shown: Mapping[str, str]) -> dict[str, str]:
    """What ``sbatch --test-only`` objects to, by node; empty where Slurm is not installed.

    Dependencies are left out: those jobs do not exist yet.
    """
    if shutil.which("sbatch") is None:
        return {}
    objections = {}
    with scheduler.outside_of_jobs(), tempfile.TemporaryDirectory() as scratch:
        for name, text in shown.items():
            path = Path(scratch) / "script.sh"
            path.write_text("\n".join(line for line in text.splitlines() if "--dependency=" not in line) + "\n")
            done = subprocess.run(["sbatch", "--test-only", str(path)], capture_output=True, text=True, timeout=60)
            if done.returncode:
                objections[name] = " ".join(done.stderr.split())
    return objections


def dry_run(graph: Graph, profile: Profile, *, say: Say = print) -> None:
    """Show every script, and let Slurm check each where it is installed; submit and write nothing.

    Raises
    ------
    LaunchError
        Naming the nodes whose scripts Slurm would refuse.
    """
    shown = scripts(graph, profile)
    for name, text in shown.items():
        say(f"### {name}")
        say(text)
    objections = refused(shown)
    if objections:
        raise LaunchError("; ".join(f"node {name}: {text}" for name, text in objections.items()))
    checked = "sbatch --test-only accepts all of them" if shutil.which("sbatch") else "not checked: no sbatch here"
    say(f"{len(shown)} scripts; {checked}; nothing was submitted")
