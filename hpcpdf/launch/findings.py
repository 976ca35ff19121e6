"""What a check of the machine says, and how checks call other programs."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "note", "broken"]

_TIMEOUT = 60.0
"""Seconds an external program may take before it counts as hanging."""

_LAUNCHERS = ("PMI_", "PMIX_", "OMPI_", "HYDRA_", "HYDI_", "SLURM_")


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes
    ----------
    subject
        What was looked at.
    status
        ``ok``; ``note``: an optional part is absent; ``broken``: something that should work does not.
    found
        What was found.
    fix
        What to do; empty when there is nothing to do.
    """

    subject: str
    status: Status
    found: str
    fix: str = ""

    def line(self) -> str:
        """The finding as one line of a listing."""
        return f"{self.status:<7}{self.subject:<14}{self.found}" + (f"  -> {self.fix}" if self.fix else "")


def call(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program outside of the job or MPI run that this process may belong to: it would take it for a rank."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(_LAUNCHERS) or key == "SLURM_CONF"}
    return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, env=clean)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a failed program said at the end."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1] if lines else f"exit status {done.returncode}, no message"
