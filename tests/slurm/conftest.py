"""Real Slurm clusters for the tests of this folder, each stopped with nothing left behind.

Where Slurm is not installed these tests are skipped, or fail if HPCPDF_REQUIRE_SLURM is set.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from slurm_cluster import SlurmCluster, cluster


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """Two nodes of four processors and two GPUs, without accounting."""
    with cluster(2) as running:
        yield running


@pytest.fixture(scope="session")
def slurm_accounting() -> Iterator[SlurmCluster]:
    """The same with accounting."""
    with cluster(2, "--accounting") as running:
        yield running


@pytest.fixture(scope="session")
def slurm_many() -> Iterator[SlurmCluster]:
    """Sixteen nodes of four processors, without accounting."""
    with cluster(16, "--gpus", "0") as running:
        yield running


@pytest.fixture(autouse=True)
def _this_process_talks_to_it(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let code in this process, too, find the cluster that a test uses, and tidy up after the test."""
    named = [name for name in ("slurm", "slurm_accounting", "slurm_many") if name in request.fixturenames]
    used = [request.getfixturevalue(name) for name in named]
    for one in used:
        monkeypatch.setenv("SLURM_CONF", one.env["SLURM_CONF"])
    yield
    for one in used:
        one.tidy()
