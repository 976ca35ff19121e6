"""Ranks are found in what torchrun, srun and submitit leave in the environment, and misuse is named."""

from __future__ import annotations

import threading
import time

import pytest
import torch.distributed

from hpcpdf.errors import LaunchError
from hpcpdf.training.distributed import RankContext
from hpcpdf.training.ranks import Place, first_host, place

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "x",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "TORCHELASTIC_RESTART_COUNT": "2",
}
SRUN = {
    "SLURM_JOB_ID": "1234567",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
    "SLURM_NTASKS": "4",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_JOB_NODELIST": "n[1-4]",
    "SLURM_STEP_NODELIST": "n[3-4]",
}


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("n[1-2]", "n1"),
        ("gpu[001-128]", "gpu001"),
        ("gpu[007,012-014],login1", "gpu007"),
        ("rack[2-3]-node[05,07]", "rack2-node05"),
        ("a-b[10-11]x.cluster.org", "a-b10x.cluster.org"),
        ("my-node,n2", "my-node"),
    ],
)
def test_first_host(nodes, first):
    assert first_host(nodes) == first


def test_torchrun():
    assert place(TORCHRUN) == Place(3, 4, 1, "node1", 29500, by="torchrun", attempt=2)


def test_submitit_variables():
    env = {**SRUN, "RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "MASTER_ADDR": "n3", "MASTER_PORT": "40000"}
    assert place(env) == Place(2, 4, 0, "n3", 40000, by="RANK and WORLD_SIZE")


def test_srun():
    found = place(SRUN)
    assert (found.rank, found.world, found.local_rank, found.host, found.by) == (2, 4, 0, "n3", "srun")
    assert 12000 <= found.port < 30000


def test_jobs_steps_and_restarts_meet_at_different_ports():
    changes = ({}, {"SLURM_JOB_ID": "1234568"}, {"SLURM_STEP_ID": "1"}, {"SLURM_RESTART_COUNT": "1"})
    assert len({place({**SRUN, **change}).port for change in changes}) == 4


def test_a_named_meeting_place_wins():
    found = place({**SRUN, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "7000"})
    assert (found.host, found.port) == ("10.0.0.1", 7000)


@pytest.mark.parametrize(
    "env",
    [
        {},
        {**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1"},
        {**SRUN, "SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4"},
    ],
    ids=["nothing", "torchrun", "srun", "salloc"],
)
def test_alone(env):
    assert place(env) is None


BATCH_SCRIPT = {name: value for name, value in SRUN.items() if "STEP" not in name} | {"SLURM_PROCID": "0"}


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (BATCH_SCRIPT, "this job has 4 tasks but training runs as one process; start it as srun -n 4"),
        ({"PMI_SIZE": "2", "PMI_RANK": "0"}, "mpiexec started 2 processes.*torchrun --nproc-per-node 2"),
        ({**SRUN, "RANK": "0", "WORLD_SIZE": "1"}, "srun started 4 tasks but WORLD_SIZE = 1"),
        ({**TORCHRUN, "RANK": "4"}, "RANK = 4 does not lie in"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR is not"),
        ({**TORCHRUN, "MASTER_PORT": "many"}, "MASTER_PORT = 'many' in the environment is not a number"),
    ],
)
def test_misuse_is_named(env, message):
    with pytest.raises(LaunchError, match=message):
        place(env)


def test_no_rank_closes_its_connections_under_another(monkeypatch):
    """Rank 1 is slow in the exchange that all end with."""
    told = []

    def gather(context, value):
        if context.rank == 1:
            time.sleep(0.3)
        told.append(("through", context.rank))

    monkeypatch.setattr(RankContext, "gather", gather)
    monkeypatch.setattr(RankContext, "_leave", lambda context, failed: told.append(("leaves", context.rank)))
    store = torch.distributed.HashStore()

    def run(rank):
        with RankContext(rank=rank, world=2, store=store).together():
            pass

    ranks = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    assert told[:2] == [("through", 0), ("through", 1)]
    assert sorted(told[2:]) == [("leaves", 0), ("leaves", 1)]
