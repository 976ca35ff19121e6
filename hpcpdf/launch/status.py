"""What became of submitted jobs.

The markers on disk say what a job did; Slurm says which jobs it still knows. Together they are one truth, also where a
job was killed without a word, where Slurm has forgotten it, and where there is no accounting.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from hpcpdf.errors import LaunchError
from hpcpdf.launch import scheduler
from hpcpdf.launch.graph import Graph, Node, read_graph
from hpcpdf.launch.markers import Mark, Submission, exit_path, log_path, read_mark, read_submissions
from hpcpdf.launch.scheduler import Queued

State = Literal["failed", "running", "queued", "cancelled", "missing", "done"]

ORDER: tuple[State, ...] = ("failed", "running", "queued", "cancelled", "missing", "done")
"""The first of these that one of its jobs is in is the state of a node."""

ACTIVE: tuple[State, ...] = ("running", "queued")
_WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")


@dataclass(frozen=True)
class JobReport:
    """One job of a node.

    Attributes
    ----------
    index
        In the node's array; 0 without one.
    job
        Slurm's id; empty if it was never submitted.
    state
        ``missing``: never submitted.
    reason
        Why it waits, failed or was cancelled; empty if there is nothing to say.
    started, ended
        UTC, of the last start; empty if that did not happen.
    restarts
        How often Slurm started it again.
    host
        Where rank 0 ran last.
    code_changed
        Whether the package was another one at the start than at submission.
    log
        File to read.
    """

    index: int
    job: str
    state: State
    reason: str = ""
    started: str = ""
    ended: str = ""
    restarts: int = 0
    host: str = ""
    code_changed: bool = False
    log: str = ""


@dataclass(frozen=True)
class NodeReport:
    """A node and its jobs."""

    name: str
    jobs: tuple[JobReport, ...]

    @property
    def state(self) -> State:
        """Of the whole node: failed if one of its jobs is, done if all are."""
        return next(state for state in ORDER if any(job.state == state for job in self.jobs))

    @property
    def done(self) -> int:
        """Number of jobs that are done."""
        return sum(job.state == "done" for job in self.jobs)

    @property
    def total(self) -> int:
        """Number of jobs."""
        return len(self.jobs)

    def telling(self) -> JobReport:
        """The job that tells most about the node's state."""
        return next(job for job in self.jobs if job.state == self.state)

    def seconds(self) -> float | None:
        """From its first start to its last end, or until now; None before it has begun."""
        begun = [job for job in self.jobs if job.started]
        if not begun:
            return None
        last = [datetime.fromisoformat(job.ended) if job.ended else datetime.now(UTC) for job in begun]
        return (max(last) - min(datetime.fromisoformat(job.started) for job in begun)).total_seconds()

    def line(self) -> str:
        """The node as one line of a table."""
        job, seconds = self.telling(), self.seconds()
        shown = job.job if self.state == "failed" or len(self.jobs) == 1 else job.job.partition("_")[0]
        spent = (
            "-" if seconds is None else f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"
        )
        text = f"{self.name:<20}{self.state:<11}{shown or '-':<14}{self.done:>5}/{len(self.jobs):<5}{spent:>9}  "
        return text + (f"{job.reason}; {job.log}" if job.reason and job.log else job.reason or job.log)

    def data(self) -> dict[str, Any]:
        """The node as plain data."""
        return {
            "name": self.name,
            "state": self.state,
            "done": self.done,
            "total": len(self.jobs),
            "seconds": self.seconds(),
            "jobs": [asdict(job) for job in self.jobs],
        }


HEADER = f"{'node':<20}{'state':<11}{'job':<14}{'done':>8}   {'runtime':>9}  remarks, log"


@dataclass(frozen=True)
class Report:
    """A whole graph; `silent` says why Slurm could not be asked, then the markers alone are told."""

    graph: Graph
    nodes: tuple[NodeReport, ...]
    silent: str = ""

    @property
    def active(self) -> list[str]:
        """Nodes that are queued or run."""
        return [node.name for node in self.nodes if any(job.state in ACTIVE for job in node.jobs)]

    @property
    def failed(self) -> list[str]:
        """Nodes with a job that failed."""
        return [node.name for node in self.nodes if node.state == "failed"]

    @property
    def healthy(self) -> bool:
        """Whether every job is done or can still be."""
        return all(node.state in ("done", *ACTIVE) for node in self.nodes)

    @property
    def complete(self) -> bool:
        """Whether every job is done."""
        return all(node.state == "done" for node in self.nodes)

    def lines(self) -> list[str]:
        """The report as a table."""
        changed = [node.name for node in self.nodes if any(job.code_changed for job in node.jobs)]
        notes = [f"hpcpdf changed between submission and start of {', '.join(changed)}"] if changed else []
        if self.silent:
            notes.append(f"told by markers on disk alone: {self.silent}")
        return [HEADER, *(node.line() for node in self.nodes), *notes]

    def data(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "folder": str(self.graph.folder),
            "profile": self.graph.profile,
            "complete": self.complete,
            "slurm": self.silent or "asked",
            "nodes": [node.data() for node in self.nodes],
        }


def survey(folder: Path) -> Report:
    """State of every job of a graph."""
    graph = read_graph(folder)
    entries = {node.name: _newest(read_submissions(folder, node.name)) for node in graph.nodes}
    marks = {node.name: [read_mark(folder, node.name, index) for index in range(node.size)] for node in graph.nodes}
    # What is done needs no question.
    asked = {
        entries[name][index].job: None
        for name, found in marks.items()
        for index, mark in enumerate(found)
        if index in entries[name] and (mark is None or mark.state != "done")
    }
    silent, queue = "", {}
    try:
        queue = scheduler.ask(list(asked))
    except LaunchError as error:
        silent = str(error)
    # A job may have ended between the first look at its marker and the question.
    for name, found in marks.items():
        marks[name] = [
            mark if mark is not None and mark.state == "done" else read_mark(folder, name, index)
            for index, mark in enumerate(found)
        ]
    reports: list[NodeReport] = []
    broken: set[str] = set()
    for node in graph.nodes:
        blocked = sorted(broken.intersection(node.after))
        view = _View(graph, node, entries[node.name], None if silent else queue, blocked)
        report = NodeReport(node.name, tuple(view.job(index, mark) for index, mark in enumerate(marks[node.name])))
        if report.state in ("failed", "cancelled", "missing"):
            broken.add(node.name)
        reports.append(report)
    return Report(graph, tuple(reports), silent)


def _newest(submissions: Sequence[Submission]) -> dict[int, Submission]:
    """The last submission of each index."""
    return {index: entry for entry in submissions for index in entry.indices}


@dataclass(frozen=True)
class _View:
    """What is known about one node; `queue` is None when Slurm does not answer."""

    graph: Graph
    node: Node
    entries: Mapping[int, Submission]
    queue: Mapping[str, Queued] | None
    blocked: Sequence[str]

    def job(self, index: int, mark: Mark | None) -> JobReport:
        entry = self.entries.get(index)
        if entry is None:
            return JobReport(index, "", "missing", "was not submitted")
        job = entry.job_of(index)
        if mark is not None and mark.state == "done":
            job = mark.job
        elif mark is not None and mark.job != job:
            mark = None  # of an earlier submission
        state, reason = self._state(entry, job, mark)
        log = log_path(self.graph.folder, self.node.name, job, mark.rank if mark else 0)
        shown = str(log) if log.exists() else ""
        if mark is None:
            return JobReport(index, job, state, reason, log=shown)
        ended = mark.ended if state not in ACTIVE else ""
        changed = mark.code is not None and mark.code != self.graph.code
        return JobReport(index, job, state, reason, mark.started, ended, mark.restart, mark.host, changed, shown)

    def _state(self, entry: Submission, job: str, mark: Mark | None) -> tuple[State, str]:
        own = None if mark is None else mark.state
        if own == "done":
            return "done", ""
        if self.queue is None:
            states: dict[str | None, State] = {"running": "running", "failed": "failed"}
            return states.get(own, "queued"), mark.error if mark else ""
        slurm = self.queue.get(job)
        if slurm is not None and slurm.state == "COMPLETED":
            return "done", ""  # a shared file system may show the marker later
        if slurm is not None and not slurm.ended:
            if slurm.state in _WAITING:
                return "queued", slurm.reason
            if own != "failed":
                return "running", ""
        if mark is not None and own == "failed":
            return "failed", mark.error
        if entry.cancelled or (slurm is not None and slurm.state == "CANCELLED"):
            if self.blocked and own is None and not entry.cancelled:
                return "cancelled", f"waited for {', '.join(self.blocked)}"
            return "cancelled", "cancelled"
        if own is None and self.blocked and slurm is None:
            return "cancelled", f"waited for {', '.join(self.blocked)}"
        return "failed", self._last_words(job, slurm, begun=own is not None)

    def _last_words(self, job: str, slurm: Queued | None, *, begun: bool) -> str:
        """Why a job without a last marker ended."""
        parts = [f"Slurm says {slurm.state}"] if slurm is not None else ["Slurm does not know it any more"]
        path = exit_path(self.graph.folder, self.node.name, job)
        if path.is_file():
            parts.append(f"srun's exit status {path.read_text().strip()}")
        return f"{'died' if begun else 'ended before it began'} ({', '.join(parts)})"


def wait(folder: Path, *, pause: float = 2.0, longest: float = 60.0) -> Report:
    """Wait until nothing is queued or running; Slurm is asked ever more rarely.

    Parameters
    ----------
    pause, longest
        First and last time between two questions, in seconds.
    """
    while (report := survey(folder)).active:
        time.sleep(pause)
        pause = min(1.3 * pause, longest)
    return report
