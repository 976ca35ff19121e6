"""hpcpdf doctor: each thing that can be wrong is put wrong here, and must be found with its fix."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import subprocess
import sys

import h5py
import pytest
import torch

from hpcpdf.errors import ConfigError
from hpcpdf.launch import doctor
from hpcpdf.launch.doctor_slurm import check_profile, check_slurm
from hpcpdf.launch.findings import Check
from hpcpdf.launch.profiles import load_profile

CONFIG = """echo 'Configuration data as of today'
echo 'SLURM_VERSION           = 23.02.1'
echo 'AccountingStorageType   = {accounting}'
echo 'MaxArraySize            = {largest}'
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Put shell scripts in the place of the programs of this machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def write(**scripts: str) -> None:
        for name, body in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{body}\n")
            (folder / name).chmod(0o755)

    return write


@pytest.fixture
def cluster(programs):
    """A batch system that answers well; parts of it may be replaced."""

    def write(*, accounting: str = "accounting_storage/none", largest: int = 1001, **scripts: str) -> None:
        config = CONFIG.format(accounting=accounting, largest=largest)
        answers = {
            "scontrol": f"[ $1 = ping ] && {{ echo 'Slurmctld(primary) at head is UP'; exit; }}\n{config}",
            "sinfo": "echo 'fast|up|2/6/0/8'; echo 'old|up|0/0/4/4'; echo 'shut|down|0/2/0/2'",
            "sacctmgr": "echo here",
            "sbatch": "exit 0",
            "srun": "[ $1 = --mpi=list ] && { printf 'MPI plugin types are...\\n\\tnone\\n\\tpmi2\\n'; exit; }\n"
            "echo 'world 2 avx2'; echo 'world 2 avx2'",
        }
        programs(**{**answers, **scripts})

    return write


def found(checks) -> dict[str, Check]:
    return {check.subject: check for check in checks}


def test_no_batch_system_is_no_fault(programs, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert found(check_slurm())["Slurm"].status == "note"


def test_programs_without_configuration_are_no_fault(cluster):
    cluster(scontrol="echo 'scontrol: fatal: Could not establish a configuration source' >&2; exit 1")
    assert found(check_slurm())["Slurm"].status == "note"


def test_batch_system_in_order(cluster):
    cluster(accounting="accounting_storage/slurmdbd")
    checks = found(check_slurm())
    assert {check.status for check in checks.values()} == {"ok"}
    assert checks["partitions"].found == "fast (8 of 8 nodes)"
    assert "here" in checks["accounting"].found


@pytest.mark.parametrize(
    ("changes", "subject", "status", "says", "fix"),
    [
        ({"scontrol": "echo 'Slurmctld(primary) at head is DOWN'"}, "Slurm", "broken", "DOWN", "administrators"),
        ({"scontrol": "echo 'error: no host' >&2; exit 1"}, "Slurm", "broken", "no host", "SLURM_CONF"),
        ({"sinfo": "echo 'all|up|0/0/4/4'"}, "partitions", "broken", "none is up", "sinfo -R"),
        ({"sinfo": "echo 'timed out' >&2; exit 1"}, "partitions", "broken", "timed out", "administrators"),
        ({}, "accounting", "note", "own markers", ""),
        (
            {"accounting": "accounting_storage/slurmdbd", "sacctmgr": "echo refused >&2; exit 1"},
            "accounting",
            "broken",
            "refused",
            "slurmdbd",
        ),
        ({"largest": 101}, "job arrays", "note", "at most 100", "MaxArraySize = 1001"),
    ],
)
def test_batch_system_with_a_fault(cluster, changes, subject, status, says, fix):
    cluster(**changes)
    check = found(check_slurm())[subject]
    assert check.status == status
    assert says in check.found
    assert fix in check.fix


def test_profile_in_order(cluster):
    cluster()
    checks = found(check_profile(load_profile("local")))
    assert checks["profile"].status == checks["MPI in Slurm"].status == "ok"
    assert "avx2" in checks["MPI in Slurm"].found


def test_profile_that_slurm_refuses(cluster):
    cluster(sbatch='grep -q time=600 "$2" && { echo "invalid partition specified: fast" >&2; exit 1; }; exit 0')
    checks = [check for check in check_profile(load_profile("local")) if check.subject == "profile"]
    assert [(check.status, check.found) for check in checks] == [
        ("broken", "local, train: invalid partition specified: fast")
    ]


LIST = "[ $1 = --mpi=list ] && { printf 'MPI plugin types are...\\n\\tnone\\n\\tpmi2\\n\\tpmix\\n'; exit; }\n"
LONE = "echo 'hpcpdf.errors.LaunchError: srun started 2 processes but MPI sees 1; start it otherwise' >&2; exit 1"


def test_ranks_that_do_not_meet_and_the_plugin_with_which_they_would(cluster):
    cluster(srun=LIST + f"case \"$*\" in *--mpi=pmix*) echo 'world 2 avx2';; *) {LONE};; esac")
    check = found(check_profile(load_profile("local")))["MPI in Slurm"]
    assert (check.status, check.fix) == ("broken", 'set mpi = "pmix" in the profile')
    assert check.found == "pmi2: srun started 2 processes but MPI sees 1; start it otherwise"


def test_ranks_that_meet_with_no_plugin(cluster):
    cluster(srun=LIST + "echo \"No module named 'hpcpdf'\" >&2; exit 1")
    check = found(check_profile(load_profile("local")))["MPI in Slurm"]
    assert check.status == "broken"
    assert check.found == "pmi2: No module named 'hpcpdf'"
    assert "modules" in check.fix


def test_plugin_that_slurm_does_not_have(cluster, tmp_path):
    (tmp_path / "odd.toml").write_text('base = "local"\nmpi = "openmpi"\n')
    cluster()
    check = found(check_profile(load_profile(str(tmp_path / "odd.toml"))))["MPI in Slurm"]
    assert (check.status, check.fix) == ("broken", 'set mpi = "pmi2" in the profile')
    assert "none, pmi2" in check.found


def test_full_cluster_is_no_fault(cluster):
    cluster(srun=LIST + "echo 'srun: error: Unable to allocate resources: Requested nodes are busy' >&2; exit 1")
    check = found(check_profile(load_profile("local")))["MPI in Slurm"]
    assert (check.status, check.found) == ("note", "no place for two ranks within 20 s")


def test_unknown_profile_is_refused_before_anything_is_checked(monkeypatch):
    monkeypatch.setattr(doctor, "_CHECKS", (lambda: pytest.fail("checked"),))
    with pytest.raises(ConfigError, match="no profile 'none'"):
        doctor.examine("none")


@pytest.mark.parametrize(
    ("cpus", "environment", "status", "fix"),
    [
        (8, {}, "ok", ""),
        (8, {"OMP_NUM_THREADS": "8"}, "ok", ""),
        (2, {"OMP_NUM_THREADS": "8"}, "broken", "set OMP_NUM_THREADS to at most 2"),
        (1, {"SLURM_CPUS_PER_TASK": "4"}, "broken", "give srun --cpus-per-task too"),
        (8, {"SLURM_CPUS_PER_TASK": "4"}, "broken", "export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK"),
        (8, {"SLURM_CPUS_PER_TASK": "4", "OMP_NUM_THREADS": "4"}, "ok", ""),
    ],
)
def test_processors(monkeypatch, cpus, environment, status, fix):
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(doctor, "available_cpus", lambda: cpus)
    monkeypatch.setattr(doctor, "_quota", lambda: None)
    (check,) = doctor._check_processors()
    assert check.status == status
    assert check.fix.startswith(fix)
    assert bool(check.fix) == bool(fix)


def test_container_that_gets_less_time_than_it_shows_processors(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setattr(doctor, "available_cpus", lambda: 16)
    monkeypatch.setattr(doctor, "_quota", lambda: 2.5)
    (check,) = doctor._check_processors()
    assert (check.status, check.fix) == ("note", "export OMP_NUM_THREADS=2")


@pytest.mark.parametrize(("wanted", "says"), [("sse9", "has no effect"), ("baseline", "held there")])
def test_instructions_that_are_held_down_or_unknown(wanted, says):
    program = "from hpcpdf.launch.doctor import _check_package; print(*(c.line() for c in _check_package()), sep='\\n')"
    if doctor.instruction_level() == "baseline" and wanted == "baseline":
        says = "PDF loops use baseline"
    environment = {**os.environ, "HPCPDF_INSTRUCTIONS": wanted}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert says in done.stdout


def test_locks_that_work(tmp_path):
    assert doctor._locks("locks", tmp_path).status == "ok"
    assert os.listdir(tmp_path) == []


def test_file_system_on_which_hdf5_cannot_lock(monkeypatch, tmp_path):
    def refuse(*arguments, **options):
        raise OSError(errno.ENOLCK, "Unable to lock file, errno = 37, error message = 'No locks available'")

    monkeypatch.setattr(h5py, "File", refuse)
    check = doctor._locks("locks", tmp_path)
    assert check.status == "broken"
    assert "No locks available" in check.found
    assert "HDF5_USE_FILE_LOCKING" in check.fix


@pytest.mark.parametrize("fault", ["granted twice", "no locks"])
def test_locks_that_keep_nobody_out(monkeypatch, tmp_path, fault):
    def flock(file, operation):
        if fault == "no locks":
            raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    check = doctor._locks("locks", tmp_path)
    assert check.status == "note"
    assert fault in check.found
    assert "same run.out" in check.fix


def test_own_name_without_address(monkeypatch):
    def unknown(*arguments):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    (check,) = doctor._check_training_ranks()
    assert check.status == "broken"
    assert socket.gethostname() in check.found
    assert "GLOO_SOCKET_IFNAME" in check.fix


def test_torch_whose_ranks_cannot_meet(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_gloo_available", lambda: False)
    (check,) = doctor._check_training_ranks()
    assert (check.status, "gloo" in check.fix) == ("broken", True)


def test_gpus_without_nccl(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    (check,) = doctor._check_training_ranks()
    assert (check.status, "NCCL" in check.fix) == ("broken", True)


def test_driver_that_torch_does_not_use(programs, monkeypatch):
    programs(**{"nvidia-smi": "exit 0"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (check,) = doctor._check_gpu()
    assert (check.status, "CUDA build" in check.fix) == ("broken", True)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 'proxy cannot start' >&2; exit 1", "proxy cannot start"),
        ("echo world 1 MPICH", "two lone processes"),
    ],
)
def test_mpiexec_that_does_not_work(programs, monkeypatch, tmp_path, script, says):
    programs(mpiexec=script)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))  # no mpiexec beside it
    (check,) = doctor._check_mpi()
    assert check.status == "broken"
    assert says in check.found
    assert "mpi4py" in check.fix


def test_full_disk(monkeypatch):
    usage = type("usage", (), {"free": 2e8})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    assert {(check.status, check.fix[:9]) for check in doctor._check_storage()} == {("broken", "make room")}


def test_check_that_fails_is_a_finding():
    def _check_something():
        yield Check("first", "ok", "found before")
        raise RuntimeError("not foreseen\nmore")

    assert doctor._guarded(_check_something) == [
        Check("first", "ok", "found before"),
        Check("something", "broken", "RuntimeError: not foreseen", "reinstall this part"),
    ]
