"""Questions to Slurm: how answers are read, and what happens without one."""

from __future__ import annotations

import os

import pytest
from fake_slurm import FakeSlurm

from hpcpdf.errors import LaunchError
from hpcpdf.launch import scheduler
from hpcpdf.launch.scheduler import Queued


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> FakeSlurm:
    monkeypatch.setattr(scheduler, "_PAUSES", (0.01, 0.01))
    return FakeSlurm(tmp_path, monkeypatch)


def test_one_squeue_for_all_jobs_and_no_sacct_when_it_knows_them(slurm):
    slurm.answer("squeue", (0, "12|N/A|RUNNING|None\n13|0|PENDING|Dependency\n13|1|COMPLETED|None\n"))
    assert scheduler.ask(["12", "13"]) == {
        "12": Queued("RUNNING"),
        "13_0": Queued("PENDING", "Dependency"),
        "13_1": Queued("COMPLETED"),
    }
    assert len(slurm.calls("squeue")) == 1
    assert "--jobs=12,13" in slurm.calls("squeue")[0]
    assert slurm.calls("sacct") == []


def test_sacct_knows_what_has_left_the_queue(slurm):
    slurm.answer("squeue", (0, "12|N/A|RUNNING|None\n"))
    slurm.answer("sacct", (0, "13|CANCELLED by 0\n14_0|COMPLETED\n14_[1-2,4%2]|PENDING\n"))
    found = scheduler.ask(["12", "13", "14"])
    assert "--jobs=13,14" in slurm.calls("sacct")[0]
    assert found["13"] == Queued("CANCELLED")
    assert found["13"].ended
    assert {name for name in found if name.startswith("14")} == {"14_0", "14_1", "14_2", "14_4"}
    assert not found["14_1"].ended


def test_without_accounting_only_the_queue_is_told(slurm):
    slurm.answer("squeue", (1, "slurm_load_jobs error: Invalid job id specified\n"))
    slurm.answer("sacct", (1, "Slurm accounting storage is disabled\n"))
    assert scheduler.ask(["12"]) == {}
    assert len(slurm.calls("sacct")) == 1


def test_nothing_to_ask_is_no_call(slurm):
    assert scheduler.ask([]) == {}
    assert slurm.calls("squeue") == []


def test_a_busy_controller_is_asked_again(slurm):
    busy = (1, "squeue: error: slurm_receive_msg: Socket timed out on send/recv operation\n")
    slurm.answer("squeue", busy, busy, (0, "12|N/A|RUNNING|None\n"))
    assert scheduler.ask(["12"]) == {"12": Queued("RUNNING")}
    assert len(slurm.calls("squeue")) == 3


def test_a_controller_that_stays_silent_is_an_error_in_one_line(slurm):
    slurm.answer("squeue", (1, "Unable to contact slurm controller\n(connect failure)\n"))
    with pytest.raises(LaunchError) as error:
        scheduler.ask(["12"])
    assert str(error.value) == "squeue failed: Unable to contact slurm controller (connect failure)"
    assert len(slurm.calls("squeue")) == 3


def test_a_wrong_question_is_not_repeated(slurm):
    slurm.answer("scontrol", (1, "Access/permission denied\n"))
    with pytest.raises(LaunchError, match="permission denied"):
        scheduler.requeue("12")
    assert slurm.calls("scontrol") == [["requeue", "12"]]


def test_without_slurm_the_missing_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match="scancel: not found"):
        scheduler.cancel(["12"])


def test_a_record_is_read_whatever_values_hold(slurm):
    slurm.answer("scontrol", (0, "JobId=12 JobState=RUNNING Comment=a=b TRES=cpu=2,mem=1G PreemptTime=None\n"))
    record = scheduler.describe("12")
    assert (record["JobState"], record["PreemptTime"], record["TRES"]) == ("RUNNING", "None", "cpu=2,mem=1G")


def test_what_a_job_or_a_launcher_set_is_hidden_and_comes_back(monkeypatch):
    kept = {
        "SLURM_CONF": "/etc/slurm.conf",
        "SBATCH_ACCOUNT": "mine",
        "MPI_HOME": "/opt/mpi",
        "PATH": os.environ["PATH"],
    }
    hidden = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "PMI_RANK": "0", "PMIX_ID": "1", "RANK": "1", "WORLD_SIZE": "2"}
    for name, value in {**kept, **hidden}.items():
        monkeypatch.setenv(name, value)
    with scheduler.outside_of_jobs():
        assert not hidden.keys() & os.environ.keys()
        assert kept.items() <= os.environ.items()
    assert hidden.items() <= os.environ.items()
