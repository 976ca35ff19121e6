"""Reconstruction as jobs: what is submitted, and what the jobs do."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from many_pdfs import write_pdfs
from small_model import trained

from hpcpdf import ConfigError, DataError, LaunchError
from hpcpdf.cli.main import main
from hpcpdf.launch.profiles import load_profile
from hpcpdf.launch.reconstructing import (
    ReconstructSettings,
    merge,
    reconstruct_pdfs,
    share,
    submit_reconstruction,
)
from hpcpdf.model.store import save_model
from hpcpdf.stage import Context

PDFS = 1500  # three blocks


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    save_model(trained(), folder / "model.safetensors")
    return write_pdfs(folder / "pdfs.h5", PDFS), folder / "model.safetensors"


@pytest.fixture
def settings(inputs, tmp_path):
    pdfs, model = inputs
    return ReconstructSettings(str(pdfs), str(tmp_path / "out.h5"), str(model), n_samples=1, n_threads=1)


@pytest.fixture
def no_slurm(monkeypatch):
    monkeypatch.setenv("PATH", "")


def test_scripts_of_an_array_and_of_the_merge(settings, no_slurm, tmp_path):
    lines: list[str] = []
    graph = submit_reconstruction(settings, 200, load_profile("cpu-cluster"), show=True, say=lines.append)
    text = "\n".join(lines)
    assert "1500 PDFs, the likeliest structure each, 3 jobs" in lines[0], "not more jobs than blocks"
    assert "#SBATCH --array=0-2%" in text
    assert "#SBATCH --dependency='afterok:<blocks>'" in text
    assert [node.name for node in graph.nodes] == ["blocks", "merge"]
    assert list(tmp_path.iterdir()) == []


def test_the_jobs_make_what_one_process_makes(settings, tmp_path):
    whole = replace(settings, out=str(tmp_path / "whole.h5"))
    reconstruct_pdfs(whole, say=lambda line: None)
    # What a job is given has been JSON in between.
    given = json.loads(json.dumps(asdict(settings)))
    share(Context(), settings=given, part=(1, 2))
    with pytest.raises(DataError, match="2 of 3 blocks are missing or damaged"):
        merge(Context(), settings=given)
    share(Context(), settings=given, part=(0, 2))
    with pytest.raises(LaunchError, match="one process"):
        merge(Context(rank=0, world=2), settings=given)
    merge(Context(), settings=given)
    assert Path(settings.out).read_bytes() == Path(whole.out).read_bytes()
    before = Path(settings.out).stat().st_mtime_ns
    share(Context(), settings=given, part=(0, 1))
    merge(Context(), settings=given)
    assert Path(settings.out).stat().st_mtime_ns == before, "a job that runs again leaves it alone"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.h5", "whole.h5"]


def test_ranks_of_a_job_divide_its_share(settings):
    given = asdict(settings)
    share(Context(rank=1, world=2), settings=given, part=(0, 2))
    parts = Path(settings.out).with_suffix(".parts")
    assert [path.name for path in parts.iterdir()] == ["000001.h5"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"r_range": (5.0, 5.0)}, "--rmin 5 --rmax 5"),
        ({"qmin": 0.5}, "give both or none"),
        ({"qmin": 5.0, "qmax": 2.0}, "--qmin 5 --qmax 2"),
        ({"element": "Xx"}, "Xx"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_submitted(settings, no_slurm, change, says):
    with pytest.raises(ConfigError, match=says):
        submit_reconstruction(replace(settings, **change), 2, load_profile("local"), say=lambda line: None)


@pytest.mark.parametrize("option", [["--tasks", "3"], ["--profile", "local"]])
def test_options_for_slurm_need_it(inputs, tmp_path, capfd, option):
    assert main(["reconstruct", str(inputs[0]), "--out", str(tmp_path / "out.h5"), *option]) == 2
    assert "is for --where slurm" in capfd.readouterr().err


def test_the_input_is_not_the_output(settings):
    with pytest.raises(ConfigError, match="is the input file"):
        reconstruct_pdfs(replace(settings, out=settings.pdfs), say=lambda line: None)
