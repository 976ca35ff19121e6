"""The pipeline as a graph: which jobs, on what, after what."""

from __future__ import annotations

import pytest
from fake_slurm import FakeSlurm

from hpcpdf.cli.main import main
from hpcpdf.config import RunConfig, load_config
from hpcpdf.launch import slurm_run
from hpcpdf.launch.graph import ordered
from hpcpdf.launch.profiles import Profile, load_profile
from hpcpdf.stage import Context


def _config(*overrides: str) -> RunConfig:
    return load_config(None, ["run.out=run", *overrides])


def _nodes(*overrides: str, finished: tuple[str, ...] = (), profile: Profile | None = None):
    nodes = slurm_run.pipeline_nodes(_config(*overrides), profile or load_profile("local"), list(finished))
    return {node.name: node for node in ordered(nodes)}


def test_stages_follow_the_data_and_only_two_have_ranks():
    nodes = _nodes("reconstruct.limit=40")
    assert {name: node.after for name, node in nodes.items()} == {
        "generate": (),
        "train": ("generate",),
        "reconstruct": ("generate", "train"),
        "evaluate": ("generate", "reconstruct"),
        "report": ("generate", "train", "evaluate"),
    }
    assert {name: node.tasks for name, node in nodes.items()} == {
        "generate": None,
        "train": None,
        "reconstruct": 1,
        "evaluate": 1,
        "report": 1,
    }
    assert (nodes["generate"].ranks, nodes["train"].ranks) == ("mpi", "torch")


def test_many_pdfs_are_shared_out_and_joined():
    nodes = _nodes("clusters.n=10000", "dataset.fractions=[0.1, 0.2]")
    assert nodes["blocks"].array == 8  # the profile's most at a time
    assert nodes["blocks"].after == ("generate", "train")
    assert nodes["reconstruct"].after == ("blocks",)
    profile = load_profile("cpu-cluster")
    counts = {
        "reconstruct.split=test": 32,  # 2000 PDFs
        "reconstruct.split=validation": 16,
        "reconstruct.split=train": 100,
        "reconstruct.limit=130": 3,
    }
    for change, count in counts.items():
        found = _nodes("clusters.n=10000", "dataset.fractions=[0.1, 0.2]", change, profile=profile)
        assert found["blocks"].array == count, change


def test_finished_stages_are_neither_run_nor_waited_for():
    nodes = _nodes("clusters.n=200", finished=("dataset", "model"))
    assert {name: node.after for name, node in nodes.items()} == {
        "reconstruct": (),
        "evaluate": ("reconstruct",),
        "report": ("evaluate",),
    }
    everything = ["dataset", "model", "reconstruct", "evaluate", "report"]
    assert slurm_run.pipeline_nodes(_config(), load_profile("local"), everything) == []


def test_a_job_runs_the_stage_of_the_stored_configuration(tmp_path, monkeypatch):
    config = load_config(None, [f"run.out={tmp_path / 'run'}", "run.seed=5"])
    slurm_run.save_config(config)
    ran = []
    monkeypatch.setattr(slurm_run, "run_pipeline", lambda *given, **more: ran.append(given))
    context = Context()
    slurm_run.run_stage(context, run=str(tmp_path / "run"), stage="train")
    ((stored, where, stages),) = ran
    assert stored == config
    assert where is context
    assert [stage.name for stage in stages] == ["train"]


def test_parts_of_an_array_and_their_ranks_are_workers(tmp_path, monkeypatch):
    slurm_run.save_config(load_config(None, [f"run.out={tmp_path / 'run'}"]))
    shares = []
    monkeypatch.setattr("hpcpdf.reconstruct.batch.run_share", lambda config, context, *share: shares.append(share))
    for part in range(3):
        for rank in range(2):
            slurm_run.reconstruct_blocks(Context(rank=rank, world=2), run=str(tmp_path / "run"), part=(part, 3))
    assert shares == [(worker, 6) for worker in range(6)]


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> FakeSlurm:
    (tmp_path / "bin").mkdir()
    return FakeSlurm(tmp_path / "bin", monkeypatch)


def test_a_dry_run_from_the_command_line(slurm, tmp_path, capfd):
    (tmp_path / "a.toml").write_text("[clusters]\nn = 100\n")
    arguments = ["run", str(tmp_path / "a.toml"), "--set", f"run.out={tmp_path / 'run'}", "--where", "slurm"]
    assert main([*arguments, "--dry-run"]) == 0
    out = capfd.readouterr().out
    assert out.count("#SBATCH --job-name=run-") == 5
    assert not (tmp_path / "run").exists()
    assert main([*arguments[:-2], "--profile", "local"]) == 2
    assert "--profile local: is for --where slurm" in capfd.readouterr().err
