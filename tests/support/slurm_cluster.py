"""A real Slurm on this machine, as tests use it: run commands, wait for jobs, lose nodes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "slurm/testcluster"
UNAVAILABLE = 69
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT")


class SlurmCluster:
    """A running cluster.

    Attributes
    ----------
    folder
        Of the cluster's own files, logs among them.
    env
        Environment in which Slurm's commands talk to it.
    nodes
        Names of its nodes.
    outside
        Processes that talk to the cluster without being a part of it; `stop` leaves them alone.
    """

    def __init__(self, folder: Path, nodes: int) -> None:
        self.folder = folder
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        outside = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "SBATCH", "SRUN"))}
        self.env = {**outside, "SLURM_CONF": str(folder / "slurm.conf")}
        self.outside: set[int] = set()
        self._killed: set[str] = set()

    def run(self, *command: object, check: bool = True, timeout: float = 120.0, **more: str) -> str:
        """Output of a command; a single text is split as a shell does.

        Parameters
        ----------
        command
            Program and arguments, or all of them in one text.
        check
            Whether a bad exit status fails the test.
        more
            Additional environment.
        """
        words = shlex.split(str(command[0])) if len(command) == 1 else [str(word) for word in command]
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, env={**self.env, **more})
        if check and done.returncode:
            pytest.fail(f"{shlex.join(words)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def sbatch(self, *options: object) -> str:
        """Submit and return the job id."""
        return self.run("sbatch", "--parsable", *options).strip()

    def job(self, job: str) -> dict[str, str]:
        """Slurm's record of a job."""
        words = self.run("scontrol", "show", "--oneliner", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def state(self, job: str) -> str:
        """State of a job; of an array the states of its elements that differ, in alphabetic order."""
        lines = self.run("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}").split()
        return " ".join(sorted(set(lines)))

    def wait_job(self, job: str, *, timeout: float = 120.0) -> str:
        """Wait until a job, or all of an array, has ended for good, and return its state."""
        self.wait(lambda: set(self.state(job).split()) <= set(ENDED), f"end of job {job}", timeout=timeout)
        return self.state(job)

    def ranks(self, job: str) -> dict[int, int]:
        """Processes of a job's ranks that are Python."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
                python = (entry / "cmdline").read_bytes().split(b"\0")[0].rpartition(b"/")[2].startswith(b"python")
            except OSError:
                continue
            known = dict(word.split("=", 1) for word in words if word.startswith("SLURM_") and "=" in word)
            ours = known.get("SLURM_CONF") == self.env["SLURM_CONF"] and known.get("SLURM_JOB_ID") == job
            if python and ours and "SLURM_PROCID" in known:
                found[int(known["SLURM_PROCID"])] = int(entry.name)
        return found

    def wait(self, condition: Callable[[], bool], what: str, *, timeout: float = 60.0) -> None:
        """Wait until a condition holds; a test that waits in vain fails and shows the queue and the log."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                log = (self.folder / "log/slurmctld.log").read_text().splitlines()[-20:]
                queue = self.run("squeue", "--states=all", "--long")
                pytest.fail(f"waited {timeout:.0f} s for {what}\n{queue}\n" + "\n".join(log))
            time.sleep(0.2)

    def kill_node(self, name: str, *, noticed: bool = False) -> None:
        """End a node with all that runs on it, as a power cut does.

        Parameters
        ----------
        name
            Of the node.
        noticed
            Tell the controller, as a site's health check does; by itself it takes half a minute to notice.
        """
        self._killed.add(name)
        _call("kill-node", self.folder, name)
        if noticed:
            self.run("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=killed")

    def restart_node(self, name: str) -> None:
        """Bring a killed node back."""
        _call("start-node", self.folder, name)
        self._killed.discard(name)

    def end(self, daemon: str) -> None:
        """End ``slurmctld``, ``slurmdbd``, ``mariadbd`` or ``munged``."""
        pid: int = json.loads((self.folder / "cluster.json").read_text())["pids"][daemon]
        os.kill(pid, signal.SIGKILL)

    def tidy(self) -> None:
        """End what a test left, so that the next one finds an idle cluster."""
        self.run("scancel", "--user=root")
        for name in sorted(self._killed):
            self.restart_node(name)

        def idle() -> bool:
            return self.run("sinfo --noheader --Node --partition=normal --format=%T").split().count("idle") == len(
                self.nodes
            )

        self.wait(idle, "idle nodes")


def _call(verb: str, *arguments: object) -> None:
    done = subprocess.run([sys.executable, SCRIPT, verb, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode == UNAVAILABLE and not os.environ.get("HPCPDF_REQUIRE_SLURM"):
        pytest.skip(done.stderr.strip())
    if done.returncode:
        pytest.fail(done.stderr.strip())


def processes_below(folder: Path) -> list[str]:
    """Processes that have to do with a cluster in any way: by arguments, environment, open files or working folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            links = [os.readlink(entry / "cwd"), *(os.readlink(file) for file in (entry / "fd").iterdir())]
            words = [(entry / name).read_bytes().decode(errors="replace") for name in ("cmdline", "environ")]
        except OSError:
            continue
        if any(str(folder) in text for text in (*links, *words)):
            found.append(f"{entry.name} {words[0]}".replace("\0", " "))
    return found


@contextmanager
def cluster(nodes: int, *options: str) -> Iterator[SlurmCluster]:
    """A cluster for a while; after it there is no process, no folder and no name of it left."""
    # Its path must be short, which those of pytest are not.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    _call("start", folder, "--nodes", nodes, *options)
    running = SlurmCluster(folder, nodes)
    try:
        yield running
    finally:
        _call("stop", folder)
    left = [line for line in processes_below(folder) if int(line.split()[0]) not in running.outside]
    assert not left, left
    assert not folder.exists()
    assert str(folder) not in Path("/etc/hosts").read_text()
