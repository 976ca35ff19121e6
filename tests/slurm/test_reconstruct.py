"""Many PDFs through an array of jobs on a real Slurm: each of them once, and the bytes that one process writes.

The sizes can be raised; on two cores this takes about half an hour, and 3 GB in the folder of temporary files:

    HPCPDF_ARRAY_TASKS=200 HPCPDF_ARRAY_PDFS=1000000 python -m pytest tests/slurm/test_reconstruct.py -k array -s
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from many_pdfs import write_pdfs
from small_model import trained

from hpcpdf.cli.main import main
from hpcpdf.config import ReconstructSection
from hpcpdf.launch.graph import find_jobs
from hpcpdf.launch.markers import read_mark
from hpcpdf.launch.status import survey, wait
from hpcpdf.model.store import save_model
from hpcpdf.reconstruct.batch import reconstruct_file
from hpcpdf.stage import Context

pytestmark = pytest.mark.slurm

TASKS = int(os.environ.get("HPCPDF_ARRAY_TASKS", "40"))
PDFS = int(os.environ.get("HPCPDF_ARRAY_PDFS", "100000"))
BAD = (0, 777, PDFS - 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(trained(), path)
    return path


def reference(pdfs: Path, model: Path) -> Path:
    """What a single process makes of the PDFs."""
    section = ReconstructSection(n_samples=1)
    return reconstruct_file(pdfs, pdfs.with_name("expected.h5"), trained(), section, Context())


def submit(pdfs: Path, model: Path, tasks: int) -> Path:
    """Submit, and give the file that will be made."""
    out = pdfs.with_name("out.h5")
    words = ["reconstruct", pdfs, "--model", model, "--out", out, "--samples", 1, "--where", "slurm", "--tasks", tasks]
    assert main([str(word) for word in words]) == 0
    return out


def same_bytes(one: Path, other: Path) -> bool:
    """Whether two files are equal, read piece by piece."""
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as a, other.open("rb") as b:
        return all(x == b.read(len(x)) for x in iter(lambda: a.read(1 << 24), b""))


@pytest.mark.timeout(60 + PDFS // 50 + 30 * TASKS)
def test_an_array_reconstructs_every_pdf_once(slurm, tmp_path, model, capfd):
    pdfs = write_pdfs(tmp_path / "pdfs.h5", PDFS, bad=BAD)
    expected = reference(pdfs, model)
    start = time.monotonic()
    out = submit(pdfs, model, TASKS)
    folder = find_jobs(out)
    report = wait(folder, pause=1.0, longest=2.0)
    spent = time.monotonic() - start
    assert [(node.name, node.state) for node in report.nodes] == [("blocks", "done"), ("merge", "done")], report.lines()
    assert len(report.nodes[0].jobs) == TASKS
    with h5py.File(out) as file:
        assert np.array_equal(file["row"][()], np.arange(PDFS))
        assert tuple(np.flatnonzero(file["status"][()])) == BAD
    assert same_bytes(out, expected)
    assert not out.with_suffix(".parts").exists()
    assert main(["jobs", "status", str(out)]) == 0
    assert "done" in capfd.readouterr().out
    print(f"{PDFS} PDFs by {TASKS} jobs in {spent:.0f} s")


def test_requeued_and_cancelled_jobs_lose_and_double_nothing(slurm, tmp_path, model):
    """One job is requeued in the middle, one cancelled for good; retry brings what is missing."""
    pdfs = write_pdfs(tmp_path / "pdfs.h5", 24_000)
    expected = reference(pdfs, model)
    out = submit(pdfs, model, 4)
    folder = find_jobs(out)
    parts = out.with_suffix(".parts")
    slurm.wait(lambda: parts.is_dir() and len(list(parts.glob("0*.h5"))) > 6, "some blocks", timeout=120)
    mine = survey(folder).nodes[0].jobs
    running = [job.index for job in mine if job.state == "running"]
    assert len(running) >= 2, "the work was done too soon to be disturbed"
    again, ended = (read_mark(folder, "blocks", index).job for index in running[:2])
    slurm.run("scontrol", "requeue", again)
    slurm.run("scancel", "--signal=KILL", ended)
    report = wait(folder, pause=0.5, longest=1.0)
    states = {node.name: node.state for node in report.nodes}
    assert states["merge"] != "done"
    assert not out.exists()
    assert main(["jobs", "retry", str(out)]) == 0
    report = wait(folder, pause=0.5, longest=1.0)
    assert {node.state for node in report.nodes} == {"done"}, report.lines()
    assert same_bytes(out, expected)
