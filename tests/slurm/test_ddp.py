"""Training on the ranks of a real Slurm: srun and submitit start it, on one node and on two."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import ddp_worker
import pytest
import submitit
from curves import assert_same_curve
from slurm_cluster import SlurmCluster

from hpcpdf.training.checkpoint import newest_checkpoint

pytestmark = pytest.mark.slurm

SUPPORT = str(Path(ddp_worker.__file__).parent)


def command(folder: Path, **case: object) -> list[str]:
    program = f"import pathlib, ddp_worker as w; w.rank_main(pathlib.Path({str(folder)!r}), w.Case(**{case!r}))"
    return [sys.executable, "-c", program]


def srun(
    slurm: SlurmCluster, tasks: int, nodes: int, folder: Path, *more: str, **case: object
) -> subprocess.CompletedProcess[str]:
    environment = {**slurm.env, "PYTHONPATH": SUPPORT, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    words = ["srun", f"--ntasks={tasks}", f"--nodes={nodes}", "--kill-on-bad-exit=1", *more, *command(folder, **case)]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, env=environment)


@pytest.fixture(scope="module")
def alone(slurm, tmp_path_factory):
    """Folder of a training by one task."""
    folder = tmp_path_factory.mktemp("ranks") / "alone"
    done = srun(slurm, 1, 1, folder)
    assert (done.returncode, said(done)) == (0, [])
    return folder


def said(done):
    """Lines of stderr without those of srun about waiting for the job before."""
    return [line for line in done.stderr.splitlines() if not line.startswith("srun: job")]


@pytest.mark.parametrize(
    ("tasks", "nodes", "more"), [(2, 1, ()), (4, 1, ()), (2, 2, ("--mpi=pmi2",)), (4, 2, ())], ids=str
)
def test_ranks_on_one_node_and_on_two_follow_the_curve_of_one(slurm, tmp_path, alone, tasks, nodes, more):
    """An MPI plugin makes no difference."""
    done = srun(slurm, tasks, nodes, tmp_path / "run", *more)
    assert (done.returncode, said(done)) == (0, [])
    _, state = newest_checkpoint(tmp_path / "run")
    assert len(state["sums"]) == tasks
    assert_same_curve(tmp_path / "run", alone)


def test_a_signal_on_one_node_stops_both_and_one_node_goes_on(slurm, tmp_path, alone):
    folder = tmp_path / "run"
    stopped = srun(slurm, 2, 2, folder, number=12, at=5, victim=1, pause=3600.0)
    assert stopped.returncode != 0
    assert [line for line in stopped.stderr.splitlines() if line.startswith("error")] == ["error: stopped after step 6"]
    done = srun(slurm, 1, 1, folder)
    assert (done.returncode, said(done)) == (0, [])
    assert_same_curve(folder, alone)


def test_a_killed_rank_ends_the_job_step(slurm, tmp_path):
    started = time.monotonic()
    done = srun(slurm, 2, 2, tmp_path / "run", at=6, victim=1)
    assert done.returncode != 0
    assert "Killed" in done.stderr
    _, state = newest_checkpoint(tmp_path / "run")
    assert state["steps"] == 5
    assert time.monotonic() - started < 120.0


def test_tasks_without_srun_are_found_out(slurm, tmp_path):
    """The batch script itself is one process."""
    script = tmp_path / "job.sh"
    words = " ".join(f'"{word}"' for word in command(tmp_path / "run"))
    script.write_text(f"#!/bin/bash\nexport PYTHONPATH={SUPPORT}\n{words}\n")
    job = slurm.sbatch("--ntasks=2", f"--output={tmp_path}/out", script)
    assert slurm.wait_job(job) == "FAILED"
    assert (
        "this job has 2 tasks but training runs as one process; start it as srun -n 2" in (tmp_path / "out").read_text()
    )


def test_submitit(slurm, tmp_path, alone, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", SUPPORT)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    executor = submitit.AutoExecutor(folder=tmp_path / "jobs", cluster="slurm")
    executor.update_parameters(nodes=2, tasks_per_node=1, timeout_min=5, cpus_per_task=1)
    job = executor.submit(ddp_worker.submitted, tmp_path / "run")
    assert len(job.results()) == 2
    assert_same_curve(tmp_path / "run", alone)
    _, state = newest_checkpoint(tmp_path / "run")
    assert len(state["sums"]) == 2
    assert json.loads(state["settings"])
