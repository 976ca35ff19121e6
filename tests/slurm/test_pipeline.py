"""The whole pipeline on a real Slurm: one command, several machines, the same numbers as here."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from slurm_cluster import SlurmCluster

from hpcpdf.cli.main import main
from hpcpdf.config import load_config
from hpcpdf.dataset.reader import open_dataset
from hpcpdf.launch import slurm_run
from hpcpdf.launch.graph import read_graph
from hpcpdf.launch.markers import log_path
from hpcpdf.launch.pipeline import STAGES, run_pipeline
from hpcpdf.launch.status import survey, wait
from hpcpdf.reconstruct.batch import read_results
from hpcpdf.stage import Context

pytestmark = pytest.mark.slurm

CONFIG = """
[run]
seed = 3
[clusters]
n = 200
max_atoms = 16
families = ["fcc"]
elements = ["Pt"]
[dataset]
fractions = [0.1, 0.25]
shard_size = 32
[model]
latent = 4
hidden = 32
[training]
max_epochs = 3
batch = 64
device = "cpu"
threads = 1
[reconstruct]
limit = 34
n_samples = 2
"""

PROFILE = """
base = "local"
[generate]
nodes = 2
tasks_per_node = 2
[train]
nodes = 2
tasks_per_node = 1
"""


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """A folder with the configuration, and a profile of two machines called `two`."""
    monkeypatch.setenv("HPCPDF_PROFILES", str(tmp_path / "profiles"))
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/two.toml").write_text(PROFILE)
    (tmp_path / "small.toml").write_text(CONFIG)
    return tmp_path


def _run(site: Path, out: str, *options: str) -> int:
    return main(["run", str(site / "small.toml"), "--set", f"run.out={site / out}", *options])


def _scores(run: Path) -> list[dict[str, str]]:
    with (run / "evaluate/scores.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def _assert_same(here: Path, there: Path) -> None:
    one, other = (open_dataset(run / "dataset") for run in (here, there))
    for name, values in one.load("train").items():
        assert values.tobytes() == other.load("train")[name].tobytes(), name
    first, second = _scores(here), _scores(there)
    assert len(first) == len(second) > 34
    for row, same in zip(first, second, strict=True):
        assert (row["method"], row["row"], row["n_atoms"]) == (same["method"], same["row"], same["n_atoms"])
        for name in row.keys() - {"method"}:
            # Gradients of two ranks are added in another order: the last digits of the weights differ.
            assert (row[name] == "") == (same[name] == "")
            assert float(row[name] or 0) == pytest.approx(float(same[name] or 0), rel=1e-3, abs=1e-6), name


def test_the_whole_pipeline_and_the_repair_of_a_stage(slurm: SlurmCluster, site, monkeypatch, capfd):
    # Two blocks of PDFs shall be two jobs.
    monkeypatch.setattr(slurm_run, "RANKED_PDFS", 17)
    there = site / "there"
    assert _run(site, "there", "--where", "slurm", "--profile", "two") == 0
    out = capfd.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[:6]] == [
        "generate",
        "train",
        "blocks",
        "reconstruct",
        "evaluate",
        "report",
    ]
    assert f"hpcpdf jobs status {there}" in out
    assert not (there / "report").exists(), "the command waited for its jobs"
    assert _run(site, "there", "--where", "slurm", "--profile", "two") == 2
    assert "still queued or running" in capfd.readouterr().err

    # Meanwhile the same here; the report, which takes longest, adds no numbers.
    here = load_config(site / "small.toml", [f"run.out={site / 'here'}"])
    run_pipeline(here, Context(), STAGES[:-1], say=lambda line: None)
    assert main(["jobs", "status", str(there), "--wait"]) == 0
    report = survey(there / "jobs")
    assert report.complete
    assert {slurm.wait_job(job.job) for node in report.nodes for job in node.jobs} == {"COMPLETED"}
    ranks = {"generate": 4, "train": 2, "blocks": 1, "reconstruct": 1}
    for node in report.nodes[:4]:
        log = log_path(there / "jobs", node.name, node.jobs[0].job).read_text()
        assert f", {ranks[node.name]} ranks" in log
    assert [len(node.jobs) for node in report.nodes] == [1, 1, 2, 1, 1, 1]
    assert read_results(there / "reconstruct/results.h5")["row"].size == 34
    _assert_same(site / "here", there)
    assert (there / "report/report.html").stat().st_size > 10_000

    # A stage that cannot work: what waits for it is cancelled, and both run once the obstacle is gone.
    shutil.rmtree(there / "evaluate")
    shutil.rmtree(there / "report")
    (there / "evaluate").write_text("in the way")
    assert _run(site, "there", "--where", "slurm", "--profile", "two") == 0
    graph = read_graph(there / "jobs")
    assert [node.name for node in graph.nodes] == ["evaluate", "report"]
    states = {node.name: node.state for node in wait(graph.folder, pause=0.5).nodes}
    assert states == {"evaluate": "failed", "report": "cancelled"}
    capfd.readouterr()
    assert main(["jobs", "status", str(there)]) == 1
    assert "waited for evaluate" in capfd.readouterr().out
    (there / "evaluate").unlink()
    assert main(["jobs", "retry", str(there)]) == 0
    assert wait(graph.folder, pause=0.5).complete
    _assert_same(site / "here", there)
    assert _run(site, "there", "--where", "slurm") == 0
    assert "every stage is finished already" in capfd.readouterr().out


def test_a_dry_run_is_checked_by_slurm_and_writes_nothing(slurm: SlurmCluster, site, capfd):
    assert _run(site, "run", "--where", "slurm", "--profile", "two", "--dry-run") == 0
    out = capfd.readouterr().out
    assert out.count("#!/bin/bash") == 5
    assert "#SBATCH --dependency='afterok:<generate>:<train>'" in out
    assert out.endswith("5 scripts; sbatch --test-only accepts all of them; nothing was submitted\n")
    assert not (site / "run").exists()
    (site / "profiles/two.toml").write_text(PROFILE.replace("[train]", '[train]\npartition = "nowhere"'))
    assert _run(site, "run", "--where", "slurm", "--profile", "two", "--dry-run") == 1
    assert "hpcpdf: error: node train: " in capfd.readouterr().err
    assert slurm.run("squeue", "--noheader") == ""


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--set", "training.device=cuda"], "training.device = cuda, but profile local gives train no GPU"),
        (["--set", "clusters.elements=['Xx']"], "Xx"),
        (["--profile", "nowhere"], "no profile 'nowhere'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_submitted(slurm: SlurmCluster, site, capfd, options, says):
    assert _run(site, "run", "--where", "slurm", *options) == 2
    assert says in capfd.readouterr().err
    assert not (site / "run").exists()
    assert slurm.run("squeue", "--noheader") == ""


def test_a_configuration_is_stored_for_the_jobs(slurm: SlurmCluster, site):
    assert _run(site, "run", "--where", "slurm", "--set", "run.seed=8") == 0
    assert main(["jobs", "cancel", str(site / "run")]) == 0
    assert json.loads((site / "run/config.json").read_text())["run"]["seed"] == 8
    assert {node.state for node in wait(site / "run/jobs", pause=0.5).nodes} == {"cancelled"}
