"""What every job leaves on disk about itself, so that nobody needs the batch system's memory.

``<jobs>/<node>/submitted.json`` lists the submissions of a node: job id and the indices of the array that it covers.
Every job keeps one marker, ``<jobs>/<node>/marks/<index>.json``. A node without array has the single index 0. Files are
replaced whole. What was submitted and has no marker is queued, or never came to run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import hpcpdf
from hpcpdf.errors import DataError
from hpcpdf.stage import provenance, write_json

State = Literal["running", "stopped", "done", "failed"]


@dataclass(frozen=True)
class Submission:
    """Some indices of a node, submitted as one job or one array.

    Attributes
    ----------
    job
        Slurm's id of the job or the whole array.
    indices
        Which jobs of the node; position k is element k of Slurm's array.
    array
        Whether it is an array for Slurm.
    time
        When, UTC.
    cancelled
        Whether the user cancelled it.
    """

    job: str
    indices: tuple[int, ...]
    array: bool
    time: str
    cancelled: bool = False

    def job_of(self, index: int) -> str:
        """Slurm's id of one of the jobs."""
        return f"{self.job}_{self.indices.index(index)}" if self.array else self.job


@dataclass(frozen=True)
class Mark:
    """What a job says about itself.

    Attributes
    ----------
    state
        ``running``; ``stopped``: by a signal, with its work saved, and queued again unless it was cancelled; ``done``;
        ``failed``.
    job, restart, host, pid
        Slurm's id, how often Slurm had restarted it, and the process of rank 0 (of a failure: of the rank that
        failed).
    started, ended
        UTC; of this start.
    rank
        The rank that failed.
    error
        Why it failed, in one line.
    timeouts
        How often it was stopped shortly before its time limit.
    code
        What the package was when the job started.
    """

    state: State
    job: str
    restart: int = 0
    host: str = ""
    pid: int = 0
    started: str = ""
    ended: str = ""
    rank: int = 0
    error: str = ""
    timeouts: int = 0
    code: Mapping[str, str | None] | None = None

    def now(self, state: State, **changes: Any) -> Mark:
        """The same job in another state, ended now."""
        return replace(self, state=state, ended=utc(), **changes)


def new_mark(job: str, restart: int, **more: Any) -> Mark:
    """Marker of the job that this process begins."""
    return Mark("running", job, restart, os.environ.get("SLURMD_NODENAME", ""), os.getpid(), utc(), **more)


def utc() -> str:
    """Now, as text."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def mark_path(folder: Path, node: str, index: int) -> Path:
    """Where the marker of a job lies."""
    return folder / node / "marks" / f"{index}.json"


def write_mark(folder: Path, node: str, index: int, mark: Mark) -> None:
    """Replace the marker of a job."""
    write_json(mark_path(folder, node, index), asdict(mark))


def read_mark(folder: Path, node: str, index: int) -> Mark | None:
    """The marker of a job; None if it has none, or a damaged one: the job then counts as not begun."""
    try:
        data = json.loads(mark_path(folder, node, index).read_text())
        return Mark(**{item.name: data[item.name] for item in fields(Mark)})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def read_submissions(folder: Path, node: str) -> list[Submission]:
    """Submissions of a node, oldest first.

    Raises
    ------
    DataError
        If the list is damaged.
    """
    path = _submitted(folder, node)
    try:
        return [Submission(**{**entry, "indices": tuple(entry["indices"])}) for entry in json.loads(path.read_text())]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{path}: damaged; cancel what squeue shows of this run, delete {folder} and submit again"
        ) from None


def write_submissions(folder: Path, node: str, submissions: Sequence[Submission]) -> None:
    """Replace the list of submissions of a node."""
    write_json(_submitted(folder, node), [asdict(entry) for entry in submissions])


def note_cancelled(folder: Path, node: str, jobs: Sequence[str]) -> None:
    """Remember that submissions of a node were cancelled."""
    if jobs:
        entries = read_submissions(folder, node)
        write_submissions(folder, node, [replace(e, cancelled=e.cancelled or e.job in jobs) for e in entries])


def _submitted(folder: Path, node: str) -> Path:
    return folder / node / "submitted.json"


def slurm_folder(folder: Path, node: str) -> Path:
    """Where submitit keeps scripts and logs of a node."""
    return folder / node / "slurm"


def log_path(folder: Path, node: str, job: str, rank: int = 0) -> Path:
    """Log of a rank of a job; Slurm and the batch script write into that of rank 0."""
    return slurm_folder(folder, node) / f"{job}_{rank}_log.out"


def exit_path(folder: Path, node: str, job: str) -> Path:
    """Where the batch script writes srun's exit status: the last word about a job whose ranks were all killed."""
    return slurm_folder(folder, node) / f"{job}.exit"


@cache
def code_version() -> dict[str, str | None]:
    """What the package is: version, commit, and a digest of its Python files and its compiled core.

    The digest also tells two states of an edited checkout apart, and works for an installation without git.
    """
    state = hashlib.blake2b(digest_size=8)
    root = Path(hpcpdf.__file__).parent
    core = importlib.util.find_spec("hpcpdf._core")
    compiled = [Path(core.origin)] if core is not None and core.origin else []
    for path in [*sorted(root.rglob("*.py")), *compiled]:
        state.update(path.name.encode())
        state.update(path.read_bytes())
    return {"version": hpcpdf.__version__, "commit": provenance()["commit"], "digest": state.hexdigest()}
