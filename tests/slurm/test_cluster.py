"""The test cluster itself: what the other tests of this folder rely on."""

from __future__ import annotations

import subprocess
import sys

import pytest
from slurm_cluster import cluster, processes_below

pytestmark = pytest.mark.slurm


@pytest.fixture
def batch(tmp_path):
    """Write a batch script; its output goes to ``out`` in `tmp_path`."""

    def write(body: str) -> str:
        path = tmp_path / "job.sh"
        path.write_text(f"#!/bin/bash\n#SBATCH --output={tmp_path}/out --open-mode=append\n{body}\n")
        return str(path)

    return write


def test_nodes_are_idle_and_have_what_was_asked(slurm):
    lines = slurm.run("sinfo --noheader --Node --partition=normal '--format=%N %T %c %G'").splitlines()
    assert lines == ["n1 idle 4 gpu:2", "n2 idle 4 gpu:2"]


def test_job_over_two_nodes(slurm, tmp_path, batch):
    job = slurm.sbatch(
        "--nodes=2", "--ntasks-per-node=2", batch("srun bash -c 'echo \"$SLURM_PROCID $SLURMD_NODENAME\"'")
    )
    assert slurm.wait_job(job) == "COMPLETED"
    assert sorted((tmp_path / "out").read_text().splitlines()) == ["0 n1", "1 n1", "2 n2", "3 n2"]


def test_ranks_meet_across_nodes(slurm):
    program = "from mpi4py.MPI import COMM_WORLD as c; print(c.Get_rank(), sum(c.allgather(c.Get_rank())))"
    out = slurm.run("srun", "--mpi=pmi2", "--nodes=2", "--ntasks=4", sys.executable, "-c", program)
    assert sorted(out.splitlines()) == ["0 6", "1 6", "2 6", "3 6"]


def test_graphics_processors_are_handed_out(slurm, tmp_path, batch):
    job = slurm.sbatch("--nodes=2", "--gpus-per-node=2", batch('srun bash -c "echo \\$CUDA_VISIBLE_DEVICES; sleep 3"'))
    slurm.wait(lambda: slurm.state(job) == "RUNNING", "start of the job")
    other = slurm.sbatch("--gpus-per-node=1", "--output=/dev/null", "--wrap=true")
    slurm.wait(lambda: slurm.job(other)["Reason"] == "Resources", "decision about the second job")
    assert slurm.wait_job(job) == "COMPLETED"
    assert slurm.wait_job(other) == "COMPLETED"
    assert (tmp_path / "out").read_text().split() == ["0,1", "0,1"]


def test_preempted_job_gets_its_signal_and_runs_again(slurm, tmp_path, batch):
    # Straight to a file: what srun forwards may be lost with it.
    said = tmp_path / "said"
    work = f'trap "echo asked >>{said}; scontrol requeue $SLURM_JOB_ID; sleep 60" USR2'
    (tmp_path / "work.sh").write_text(
        f"[ $SLURM_RESTART_COUNT ] || {work}\n"
        f'echo "start ${{SLURM_RESTART_COUNT:-0}}" >>{said}\n'
        "[ $SLURM_RESTART_COUNT ] || while sleep 0.1; do :; done\n"
    )
    whole = ("--nodes=2", "--ntasks-per-node=4")
    low = slurm.sbatch(*whole, "--partition=low", "--signal=USR2@30", batch(f"srun --ntasks=1 bash {tmp_path}/work.sh"))
    slurm.wait(lambda: said.exists() and "start 0" in said.read_text(), "start of the job")
    high = slurm.sbatch(*whole, "--output=/dev/null", "--wrap=true")
    assert slurm.wait_job(high) == "COMPLETED"
    assert slurm.wait_job(low) == "COMPLETED"
    assert said.read_text().split("\n") == ["start 0", "asked", "start 1", ""]
    assert slurm.job(low)["Restarts"] == "1"


def test_job_of_a_lost_node_runs_again_elsewhere(slurm, tmp_path, batch):
    work = 'echo "$SLURMD_NODENAME ${SLURM_RESTART_COUNT:-0}"; [ $SLURM_RESTART_COUNT ] || sleep 300'
    job = slurm.sbatch(batch(f"srun bash -c '{work}'"))
    slurm.wait(lambda: (tmp_path / "out").exists() and " 0" in (tmp_path / "out").read_text(), "start of the job")
    first = slurm.job(job)["NodeList"]
    slurm.kill_node(first)
    assert not [line for line in processes_below(slurm.folder) if "sleep 300" in line]
    assert slurm.wait_job(job) == "COMPLETED"
    second = next(name for name in slurm.nodes if name != first)
    lines = [line for line in (tmp_path / "out").read_text().splitlines() if line.startswith("n")]
    assert lines == [f"{first} 0", f"{second} 1"]
    slurm.restart_node(first)
    assert slurm.run(f"srun --nodelist={first} hostname")


def test_accounting_remembers_jobs(slurm_accounting):
    job = slurm_accounting.sbatch("--output=/dev/null", "--wrap=exit 3")
    assert slurm_accounting.wait_job(job) == "FAILED"
    ask = f"sacct --noheader --parsable2 --allocations --format=State,ExitCode --jobs={job}"
    slurm_accounting.wait(lambda: slurm_accounting.run(ask).strip() == "FAILED|3:0", "record of the job")


def test_sixteen_nodes(slurm_many):
    out = slurm_many.run("srun", "--nodes=16", "bash", "-c", "echo $SLURMD_NODENAME")
    assert sorted(out.split()) == sorted(slurm_many.nodes)


def test_stop_ends_jobs_that_do_not_want_to(tmp_path):
    deaf = (
        "import signal, time\nfor n in 1, 2, 12, 15: signal.signal(n, signal.SIG_IGN)\nopen('{}', 'w')\ntime.sleep(600)"
    )
    with cluster(1, "--gpus", "0") as own:
        signs = [tmp_path / name for name in ("step", "apart")]
        for sign in signs:
            (tmp_path / f"{sign.name}.py").write_text(deaf.format(sign))
        apart = f"setsid {sys.executable} {tmp_path}/apart.py & sleep 1; exec srun {sys.executable} {tmp_path}/step.py"
        own.sbatch("--output=/dev/null", f"--wrap={apart}")
        own.wait(lambda: all(sign.exists() for sign in signs), "start of the programs")
        # Whoever merely talks to the cluster is left alone.
        shell = subprocess.Popen(["sleep", "600"], env=own.env)
        own.outside.add(shell.pid)
    # That no other process is left is checked on leaving the cluster.
    assert shell.poll() is None
    shell.kill()
    shell.wait()
