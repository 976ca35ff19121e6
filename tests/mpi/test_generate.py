"""Generation on three real MPI ranks: same contents, killed and continued, failing together."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launchers import mpiexec

from hpcpdf.dataset.reader import open_dataset

pytestmark = pytest.mark.mpi

HINDERED = Path(__file__).with_name("hindered.py")
LIMIT_S = 120
HPCPDF = (sys.executable, "-c", "import sys; from hpcpdf.cli.main import main; sys.exit(main(sys.argv[1:]))")


def hindered(rank: int, samples: int, trouble: str) -> tuple[str, ...]:
    return (sys.executable, str(HINDERED), str(rank), str(samples), trouble)


def start(config: Path, ranks: int, program: tuple[str, ...] = HPCPDF) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PMI_", "SLURM_", "OMPI_"))}
    return subprocess.Popen(
        [mpiexec(), "-n", str(ranks), *program, "generate", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Exit code and the lines on stderr."""
    try:
        _, err = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, err.splitlines()


def digests(run: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (run / "dataset").glob("*.h5")}


def write_config(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.toml"
    path.write_text(
        f'[run]\nout = "{folder}"\nseed = 3\n[clusters]\nn = 70\nmax_atoms = 40\n'
        "[pdf]\nrmax = 12.0\nqmax = [15.0, 25.0]\n[dataset]\nshard_size = 6\n"
    )
    return path


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("one")
    code, err = finish(start(write_config(folder), 1))
    assert code == 0, err
    found = digests(folder)
    assert len(found) == 13
    return found


def test_three_ranks_write_the_same_bytes(one_rank: dict[str, str], tmp_path: Path) -> None:
    code, err = finish(start(write_config(tmp_path), 3))
    assert code == 0, err
    assert digests(tmp_path) == one_rank
    assert len(open_dataset(tmp_path / "dataset")) == 70
    assert sum("100%" in line for line in err) == 1


def test_more_ranks_than_shards(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace("shard_size = 6", "shard_size = 40"))
    code, err = finish(start(config, 3))
    assert code == 0, err
    assert len(open_dataset(tmp_path / "dataset")) == 70


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_killed_rank_and_a_second_start(one_rank: dict[str, str], tmp_path: Path, ranks: int) -> None:
    config = write_config(tmp_path)
    code, _ = finish(start(config, 3, hindered(1, 15, "kill")))
    assert code != 0
    left = digests(tmp_path)
    assert "shard-00001.h5" in left
    assert "dataset.h5" not in left
    assert all(one_rank[name] == digest for name, digest in left.items() if name.startswith("shard-"))
    code, err = finish(start(config, ranks))
    assert code == 0, err
    assert digests(tmp_path) == one_rank
    assert not list((tmp_path / "dataset").glob(".*"))


@pytest.mark.parametrize(
    ("rank", "trouble", "message"),
    [
        (1, "raise", "hpcpdf: error: rank 1 of 3: ZeroDivisionError: of all things"),
        (2, "data", "hpcpdf: error: rank 2 of 3: the well is poisoned"),
        (0, "data", "hpcpdf: error: the well is poisoned"),
    ],
)
def test_one_failing_rank_ends_all_with_one_line(tmp_path: Path, rank: int, trouble: str, message: str) -> None:
    config = write_config(tmp_path)
    start_time = time.monotonic()
    code, err = finish(start(config, 3, hindered(rank, 8, trouble)))
    assert code == 1
    assert err == [message]
    assert time.monotonic() - start_time < 30
    assert not list((tmp_path / "dataset").glob(".*"))


def test_sigterm_to_one_rank_stops_all_and_can_go_on(one_rank: dict[str, str], tmp_path: Path) -> None:
    config = write_config(tmp_path)
    code, err = finish(start(config, 3, hindered(1, 8, "term")))
    assert code == 1
    assert len(err) == 1
    assert "stopped by a signal; run the same command again to go on" in err[0]
    code, err = finish(start(config, 3))
    assert code == 0, err
    assert digests(tmp_path) == one_rank


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_the_launcher(one_rank: dict[str, str], tmp_path: Path, number: signal.Signals) -> None:
    config = write_config(tmp_path)
    process = start(config, 3, hindered(0, 0, "slow"))
    first = tmp_path / "dataset" / "shard-00000.h5"
    limit = time.monotonic() + LIMIT_S
    while not first.exists() and time.monotonic() < limit:
        time.sleep(0.02)
    process.send_signal(number)
    code, _ = finish(process)
    assert code != 0
    assert not (tmp_path / "dataset" / "dataset.h5").exists()
    code, err = finish(start(config, 2))
    assert code == 0, err
    assert digests(tmp_path) == one_rank


def test_signal_to_a_single_process(one_rank: dict[str, str], tmp_path: Path) -> None:
    config = write_config(tmp_path)
    process = subprocess.Popen(
        [*hindered(0, 10, "term"), "generate", str(config)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    code, err = finish(process)
    assert code == 1
    assert len(err) == 1
    assert err[0].startswith("hpcpdf: error: ")
    assert sorted(digests(tmp_path)) == ["shard-00000.h5"]
    assert not list((tmp_path / "dataset").glob(".*"))
    code, err = finish(start(config, 1))
    assert code == 0, err
    assert digests(tmp_path) == one_rank


def test_ranks_that_do_not_see_each_other(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    slurm = {"SLURM_NTASKS": "3", "SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "1", "SLURM_STEP_ID": "0"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PMI_", "MPI_"))}
    done = subprocess.run(
        [*HPCPDF, "generate", str(config)], capture_output=True, text=True, timeout=LIMIT_S, env={**clean, **slurm}
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "srun started 3 processes but MPI sees 1; start it with srun --mpi=pmi2 -n 3" in done.stderr
    assert not (tmp_path / "dataset").exists()


def test_wrong_configuration_on_three_ranks_is_one_line(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace("max_atoms", "max_atom"))
    code, err = finish(start(config, 3))
    assert code == 2
    assert len(err) == 1
    assert "did you mean max_atoms?" in err[0]
