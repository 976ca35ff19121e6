"""A series as jobs: what is submitted, and that the jobs give what one process gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import hpcpdf
from hpcpdf import LaunchError
from hpcpdf.cli.main import main
from hpcpdf.launch import series_jobs
from hpcpdf.launch.profiles import load_profile
from hpcpdf.launch.series import solve_series_files
from hpcpdf.launch.solving import SolveSettings
from hpcpdf.pdf.fq import Reading
from hpcpdf.pdf.gr import MeasuredPdf, write_gr
from hpcpdf.series import plan
from hpcpdf.stage import Context

FILES = 4
SETTINGS = SolveSettings("Pt", effort="quick", refine=False, top=1)


def cluster(n: int) -> np.ndarray:
    """A lump of fcc, in bonds of 2.77 Å."""
    axis = np.arange(-4, 5)
    i, j, k = (part.ravel() for part in np.meshgrid(axis, axis, axis, indexing="ij"))
    sites = np.column_stack([i + j, i + k, j + k]) / np.sqrt(2.0)
    order = np.argsort(np.linalg.norm(sites - [0.1, 0.2, 0.3], axis=1), kind="stable")
    return 2.77 * sites[order[:n]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("series")
    for k in range(FILES):
        params = hpcpdf.PdfParams(rmax=20.1, rstep=0.05, qmin=0.8, qmax=20.0, qdamp=0.03, biso=0.3 + 0.1 * k)
        r, g = hpcpdf.simulate_pdf(cluster(38 + 3 * k), params)
        pdf = MeasuredPdf(r[20:], g[20:], None, 0.8, 20.0, "Pt", {"qdamp": "0.03"})
        write_gr(found / f"Pt_{100 + 50 * k}K.gr", pdf)
    return found


@pytest.fixture
def short_stretches(monkeypatch):
    """Two files begin from one that is solved alone, so that a few files are several stretches."""
    monkeypatch.setattr(plan.stretches, "__defaults__", (2,))


def submitted(folder: Path, out: Path, tasks: int, lines: list[str]):
    with pytest.MonkeyPatch.context() as no_slurm:
        no_slurm.setenv("PATH", "")
        return series_jobs.submit_series(
            [folder], SETTINGS, out, tasks, load_profile("cpu-cluster"), reading=Reading(), show=True, say=lines.append
        )


def test_scripts_of_an_array_and_of_the_trends(folder, tmp_path, short_stretches):
    lines: list[str] = []
    graph = submitted(folder, tmp_path / "out", 50, lines)
    text = "\n".join(lines)
    assert lines[0].startswith(f"{FILES} files, 2 jobs -> "), "not more jobs than stretches"
    assert "#SBATCH --array=0-1%" in text
    assert "#SBATCH --dependency='afterok:<stretches>'" in text
    assert [node.name for node in graph.nodes] == ["stretches", "trends"]
    assert list(tmp_path.iterdir()) == []


def test_the_jobs_make_what_one_process_makes(folder, tmp_path, short_stretches):
    quiet: list[str] = []
    solve_series_files([folder], SETTINGS, tmp_path / "whole", processes=False, say=quiet.append)
    # What a job is given has been JSON in between.
    nodes = submitted(folder, tmp_path / "out", 2, quiet).nodes
    given = json.loads(json.dumps(dict(nodes[0].arguments)))
    for part in ((1, 2), (0, 2)):
        series_jobs.share(Context(), **given, part=part)
        assert not (tmp_path / "out" / "series.csv").exists()
    with pytest.raises(LaunchError, match="one process"):
        series_jobs.join(Context(rank=0, world=2), **given)
    series_jobs.join(Context(), **json.loads(json.dumps(dict(nodes[1].arguments))))
    whole, joined = (tmp_path / name / "series.csv" for name in ("whole", "out"))
    assert joined.read_bytes() == whole.read_bytes()
    assert len(joined.read_text().splitlines()) == FILES + 1
    one, other = (hpcpdf.read_solution(tmp_path / name / "Pt_150K") for name in ("whole", "out"))
    assert np.array_equal(one[0].atoms.positions, other[0].atoms.positions)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--where", "slurm"], "is for --series"),
        (["--series", "--tasks", "3"], "--tasks 3: is for --where slurm"),
        (["--series", "--profile", "local"], "is for --where slurm"),
    ],
)
def test_options_that_do_not_belong_together(folder, tmp_path, capfd, words, says):
    assert main(["solve", str(folder / "Pt_100K.gr"), "-e", "Pt", "--out", str(tmp_path / "out"), *words]) == 2
    assert says in capfd.readouterr().err
