"""How a process was launched, without launching any."""

from __future__ import annotations

import sys

import pytest

from hpcpdf import LaunchError
from hpcpdf.dataset.mpi import Launch, context_from_mpi, launched


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"PMI_RANK": "0", "PMI_SIZE": "3", "HYDI_CONTROL_FD": "7"}, Launch(3, "mpiexec")),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, Launch(2, "mpiexec")),
        ({"PMI_SIZE": "4", "SLURM_PROCID": "2", "SLURM_NTASKS": "4"}, Launch(4, "srun")),
        ({"PMI_SIZE": "2", "SLURM_PROCID": "0", "SLURM_NTASKS": "4", "HYDI_CONTROL_FD": "7"}, Launch(2, "mpiexec")),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "2"}, Launch(2, "srun")),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, None),
        ({"SLURM_NTASKS": "4", "SLURM_JOB_ID": "1"}, None),
    ],
)
def test_launched(environment: dict[str, str], expected: Launch | None) -> None:
    assert launched(environment) == expected


def test_alone_means_one_rank_and_no_mpi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {})
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    context = context_from_mpi()
    assert (context.rank, context.world, context.gather(5)) == (0, 1, [5])


def test_ranks_without_mpi4py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {"PMI_SIZE": "3"})
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.delitem(sys.modules, "mpi4py.MPI", raising=False)
    with pytest.raises(LaunchError, match=r"started 3 ranks but MPI cannot be loaded.*pip install 'hpcpdf\[mpi\]'"):
        context_from_mpi()
