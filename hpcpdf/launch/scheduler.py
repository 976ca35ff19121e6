"""The few questions and orders for Slurm, each one command for all jobs together."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hpcpdf.errors import LaunchError

ENDED = (
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "TIMEOUT",
)
"""States of Slurm in which a job neither runs nor will run."""

_PAUSES = (0.5, 2.0, 8.0)
"""Seconds before a question is asked again that a busy controller did not answer."""

_BUSY = ("timed out", "unable to contact", "connection refused", "resource temporarily unavailable", "try again")

_INHERITED = re.compile(
    r"(SLURM|PMI|PMIX|OMPI|HYDI|HYDRA|MPI|SUBMITIT|GROUP|LOCAL|ROLE|TORCHELASTIC)_.*|RANK|WORLD_SIZE"
)
_KEPT = re.compile(r"SLURM_CONF|MPI_HOME|MPI_ROOT")


@dataclass(frozen=True)
class Queued:
    """What Slurm says about a job: its state, and why it waits or ended."""

    state: str
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether it will not run (on)."""
        return self.state in ENDED


@contextmanager
def outside_of_jobs() -> Iterator[None]:
    """Hide what a job, ``mpiexec`` or ``torchrun`` told this process: it would give new jobs a wrong shape."""
    hidden = {name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name) and not _KEPT.match(name)}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def call(*command: str) -> str:
    """Output of a Slurm command; asked again, ever later, while the controller is too busy to answer.

    Raises
    ------
    LaunchError
        With what the command said.
    """
    for pause in (*_PAUSES, None):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        except FileNotFoundError:
            raise LaunchError(f"{command[0]}: not found; call this where Slurm is installed") from None
        except subprocess.TimeoutExpired:
            raise LaunchError(f"{command[0]}: no answer within 120 s; is the controller up (scontrol ping)?") from None
        if done.returncode == 0:
            return done.stdout
        said = " ".join((done.stderr or done.stdout).split())
        if pause is None or not any(sign in said.lower() for sign in _BUSY):
            break
        time.sleep(pause)
    raise LaunchError(f"{command[0]} failed: {said or f'exit status {done.returncode}'}")


def ask(jobs: Sequence[str]) -> dict[str, Queued]:
    """What Slurm knows about jobs and all elements of arrays, by id (``12`` or ``12_3``).

    ``squeue`` is asked once; ``sacct``, where there is accounting, once more about jobs that have left the queue.
    """
    if not jobs:
        return {}
    found = _squeue(jobs)
    bases = {name.partition("_")[0] for name in found}
    gone = [job for job in jobs if job not in bases]
    return {**_sacct(gone), **found} if gone else found


def _squeue(jobs: Sequence[str]) -> dict[str, Queued]:
    try:
        text = call(
            "squeue", "--noheader", "--array", "--states=all", "--format=%F|%K|%T|%r", f"--jobs={','.join(jobs)}"
        )
    except LaunchError as error:
        if "Invalid job id" in str(error):
            return {}
        raise
    found = {}
    for line in text.splitlines():
        base, element, state, reason = line.strip().split("|")
        found[base if element == "N/A" else f"{base}_{element}"] = Queued(state, "" if reason == "None" else reason)
    return found


def _sacct(jobs: Sequence[str]) -> dict[str, Queued]:
    try:
        text = call(
            "sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State", f"--jobs={','.join(jobs)}"
        )
    except LaunchError:
        return {}  # without accounting the markers have to do
    found = {}
    for line in text.splitlines():
        job, _, state = line.strip().partition("|")
        for name in _elements(job):
            found[name] = Queued(state.split()[0] if state else "UNKNOWN")  # "CANCELLED by 0"
    return found


def _elements(job: str) -> list[str]:
    """Ids of ``12``, ``12_3`` or ``12_[4-6,9%2]``."""
    base, bracket, rest = job.partition("_[")
    if not bracket:
        return [job]
    names = []
    for part in rest.rstrip("]").partition("%")[0].split(","):
        low, _, high = part.partition("-")
        names += [f"{base}_{k}" for k in range(int(low), int(high or low) + 1)]
    return names


def cancel(jobs: Sequence[str]) -> None:
    """Cancel jobs; those that have ended already are no error."""
    if jobs:
        call("scancel", *jobs)


def requeue(job: str) -> None:
    """Put a running job back into the queue; its processes are killed."""
    call("scontrol", "requeue", job)


def describe(job: str) -> dict[str, str]:
    """Slurm's own record of a job: ``JobState``, ``PreemptTime``, ``Requeue`` and more."""
    words = call("scontrol", "show", "--oneliner", "job", job).split()
    return dict(word.split("=", 1) for word in words if "=" in word)
