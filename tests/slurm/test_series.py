"""A series of measured files through an array of jobs on a real Slurm: the trends that one process gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.cluster import Octahedron

import hpcpdf
from hpcpdf.cli.main import main
from hpcpdf.launch.graph import find_jobs
from hpcpdf.launch.status import wait
from hpcpdf.pdf.gr import MeasuredPdf, write_gr

pytestmark = pytest.mark.slurm

FILES = 50
"""Two stretches."""


def write_files(folder: Path) -> Path:
    """The PDFs of a particle that grows warm."""
    folder.mkdir()
    positions = Octahedron("Pt", 4, cutoff=1).positions
    for k in range(FILES):
        params = hpcpdf.PdfParams(rmax=15.1, rstep=0.1, qmin=0.8, qmax=18.0, qdamp=0.03, biso=0.3 + 0.01 * k)
        r, g = hpcpdf.simulate_pdf(positions, params)
        write_gr(folder / f"Pt_{100 + k}K.gr", MeasuredPdf(r[12:], g[12:], None, 0.8, 18.0, "Pt", {"qdamp": "0.03"}))
    return folder


def test_an_array_solves_a_series(slurm, tmp_path, capfd):
    files = write_files(tmp_path / "files")
    words = ["solve", str(files), "--series", "-e", "Pt", "--effort", "quick", "--top", "1", "--rmax", "14"]
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    out = tmp_path / "out"
    assert main([*words, "--out", str(out), "--where", "slurm", "--tasks", "5"]) == 0
    report = wait(find_jobs(out), pause=1.0, longest=2.0)
    assert [(node.name, node.state) for node in report.nodes] == [("stretches", "done"), ("trends", "done")], (
        report.lines()
    )
    assert len(report.nodes[0].jobs) == 2, "as many jobs as stretches"
    assert (out / "series.csv").read_bytes() == (tmp_path / "whole" / "series.csv").read_bytes()
    assert main(["jobs", "status", str(out)]) == 0
    assert "done" in capfd.readouterr().out
