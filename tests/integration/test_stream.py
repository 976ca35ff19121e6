"""Large sets of PDFs through the command: flat memory, killed and continued, on real ranks."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launchers import mpiexec
from many_pdfs import write_pdfs
from small_model import trained

from hpcpdf.model.store import save_model
from hpcpdf.reconstruct.batch import read_results

PDFS = 12_000
BAD = (17, 5000)

PEAK = """
import sys
from hpcpdf.cli.main import main
code = main(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("peak", peak.split()[1])
sys.exit(code)
"""
_MPI = ("PMI_", "SLURM_", "OMPI_")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small model, PDFs, and their structures from one process that nothing disturbed."""
    folder = tmp_path_factory.mktemp("stream")
    save_model(trained(), folder / "model.safetensors")
    write_pdfs(folder / "pdfs.h5", PDFS, bad=BAD)
    process = start(folder, folder / "expected.h5")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "2 of 12000 PDFs were passed over (2 not_finite; see the column status)" in err
    return folder


def start(folder: Path, out: Path, *options: str, pdfs: str = "pdfs.h5", before: tuple[str, ...] = ()):
    words = ["reconstruct", str(folder / pdfs), "--model", str(folder / "model.safetensors"), "--out", str(out)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(_MPI)}
    return subprocess.Popen(
        [*before, sys.executable, "-c", PEAK, *words, "--samples", "1", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, "OMP_NUM_THREADS": "1"},
    )


def test_every_pdf_is_there_once(folder):
    found = read_results(folder / "expected.h5")
    assert found["row"].tolist() == list(range(PDFS))
    assert tuple(found["status"].nonzero()[0]) == BAD


def test_memory_does_not_grow_with_the_number_of_pdfs(folder, tmp_path):
    peaks = {}
    for n in (2_000, 26_000):
        write_pdfs(folder / f"{n}.h5", n)
        process = start(folder, tmp_path / f"{n}.h5", pdfs=f"{n}.h5")
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        peaks[n] = int(out.split("peak ")[1]) / 1024
    input_mb = (folder / "26000.h5").stat().st_size / 2**20
    assert input_mb > 30
    assert peaks[26_000] - peaks[2_000] < 8, peaks


def test_killed_at_random_and_run_again(folder, tmp_path):
    out, rng = tmp_path / "out.h5", random.Random(3)
    kills = 0
    for _ in range(3):
        process = start(folder, out)
        known = blocks(out)
        # From the first block of its own on, at any moment.
        while process.poll() is None and blocks(out) <= known:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.5))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        assert out.exists() or blocks(out) > known
    assert kills >= 2, "the work was done too soon to be disturbed"
    process = start(folder, out, "--threads", "2")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.read_bytes() == (folder / "expected.h5").read_bytes()
    left = [path.name for path in tmp_path.iterdir() if path != out and not path.name.startswith(".out")]
    assert left == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_signals_stop_it_after_the_running_block(folder, tmp_path, number):
    out = tmp_path / "out.h5"
    process = start(folder, out)
    while process.poll() is None and not blocks(out):
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "stopped by a signal; run the same command again to go on" in err
    assert 0 < blocks(out) < PDFS // 512 + 1
    assert not [path for path in out.with_suffix(".parts").iterdir() if path.name.startswith(".")]


@pytest.mark.mpi
def test_ranks_write_the_same_bytes(folder, tmp_path):
    process = start(folder, tmp_path / "out.h5", before=(mpiexec(), "-n", "2"))
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "2 ranks" in out
    assert err.count("were passed over") == 1
    assert (tmp_path / "out.h5").read_bytes() == (folder / "expected.h5").read_bytes()


def blocks(out: Path) -> int:
    """Finished blocks."""
    parts = out.with_suffix(".parts")
    return len(list(parts.glob("0*.h5"))) if parts.is_dir() else 0
