"""Faults on a real Slurm, each injected on purpose: what comes out is what an undisturbed run leaves, to the bit.

Nothing is lost and nothing counted twice; what cannot go on by itself says why, and ``hpcpdf jobs retry`` goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import slow_stages
from safetensors.numpy import load_file
from slurm_cluster import SlurmCluster

from hpcpdf.cli.main import main
from hpcpdf.config import RunConfig, load_config
from hpcpdf.dataset.reader import open_dataset
from hpcpdf.launch import jobs
from hpcpdf.launch import submit as submission
from hpcpdf.launch.graph import Graph, Node
from hpcpdf.launch.markers import log_path, read_mark
from hpcpdf.launch.pipeline import named, run_pipeline
from hpcpdf.launch.profiles import Profile, load_profile
from hpcpdf.launch.settings import save_config
from hpcpdf.launch.status import JobReport, survey, wait
from hpcpdf.reconstruct.batch import read_results
from hpcpdf.stage import Context

pytestmark = pytest.mark.slurm

CONFIG = """
[run]
seed = 5
[clusters]
n = 192
max_atoms = 16
families = ["fcc", "hcp"]
elements = ["Pt"]
[dataset]
fractions = [0.1, 0.3]
shard_size = 8
[model]
latent = 4
hidden = 32
[training]
max_epochs = 40
patience = 40
batch = 64
device = "cpu"
threads = 1
noise = 0.01
[reconstruct]
n_samples = 2
"""
SHARDS, EPOCHS = 24, 40


class Run:
    """A run in a folder, of which single stages are submitted."""

    def __init__(
        self, folder: Path, slurm: SlurmCluster, *, after: Path | None = None, kept: tuple[str, ...] = ()
    ) -> None:
        self.folder, self.slurm = folder, slurm
        folder.mkdir(parents=True)
        (folder / "run.toml").write_text(CONFIG)
        for name in kept:
            shutil.copytree(after / name, folder / name)
        save_config(self.config)

    @property
    def config(self) -> RunConfig:
        return load_config(self.folder / "run.toml", [f"run.out={self.folder}"])

    def here(self, *stages: str) -> None:
        """Do stages in this process."""
        run_pipeline(self.config, Context(), named(stages), say=lambda line: None)

    def start(self, stage: str, *, pause: float, profile: Profile | None = None, **size: int) -> str:
        """Submit a stage and return its job."""
        ranks = {"generate": "mpi", "train": "torch"}.get(stage, "mpi")
        arguments = {"run": str(self.folder), "stage": stage, "pause": pause}
        self.submit(Node(stage, "slow_stages:run_stage", arguments, ranks=ranks, **size), profile=profile)
        return self.job(stage).job

    def submit(self, *nodes: Node, profile: Profile | None = None) -> None:
        profile = profile or load_profile("local")
        self.graph: Graph = submission.make_graph(nodes, self.folder / "jobs", profile, title="fault")
        submission.submit(self.graph, profile, say=lambda line: None)

    def job(self, node: str, index: int = 0) -> JobReport:
        return next(found.jobs[index] for found in survey(self.graph.folder).nodes if found.name == node)

    def end(self) -> dict[str, str]:
        """Wait until nothing is queued or runs; states of the nodes."""
        return {node.name: node.state for node in wait(self.graph.folder, pause=0.3, longest=1.0).nodes}

    def retry(self, profile: Profile | None = None) -> dict[str, list[int]]:
        return jobs.retry(self.graph.folder, profile or load_profile("local"), say=lambda line: None)

    def log(self, node: str) -> str:
        return log_path(self.graph.folder, node, self.job(node).job).read_text()

    def shards(self) -> list[Path]:
        return sorted((self.folder / "dataset").glob("shard-*.h5"))

    def epochs(self) -> list[int]:
        path = self.folder / "model/metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line)["epoch"] for line in lines if line.endswith("}")]

    def wait_for(self, count: int, what: str) -> None:
        """Wait until so many shards or epochs are there; those of the whole stage are not yet."""
        found = self.shards if what == "shards" else self.epochs
        self.slurm.wait(lambda: len(found()) >= count, f"{count} {what}", timeout=180.0)
        assert len(found()) < {"shards": SHARDS, "epochs": EPOCHS}[what], "too late to disturb it"


def assert_same_dataset(run: Run, calm: Run) -> None:
    assert len(run.shards()) == SHARDS
    for path, other in zip(run.shards(), calm.shards(), strict=True):
        assert path.name == other.name
        assert path.read_bytes() == other.read_bytes(), path.name
    one, other = (open_dataset(where.folder / "dataset") for where in (run, calm))
    for split in ("train", "validation", "test"):
        for name, values in one.load(split).items():
            assert values.tobytes() == other.load(split)[name].tobytes(), name


def assert_same_training(run: Run, calm: Run) -> None:
    def curve(where: Run) -> list[dict]:
        records = [json.loads(line) for line in (where.folder / "model/metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in record.items() if key != "seconds"} for record in records]

    assert run.epochs() == list(range(1, EPOCHS + 1))
    assert curve(run) == curve(calm)
    weights, others = (load_file(where.folder / "model/model.safetensors") for where in (run, calm))
    assert weights.keys() == others.keys()
    for name, values in weights.items():
        assert values.tobytes() == others[name].tobytes(), name


def assert_same_results(run: Run, calm: Run) -> None:
    one, other = (read_results(where.folder / "reconstruct/results.h5") for where in (run, calm))
    assert np.array_equal(np.unique(one["row"]), np.sort(one["row"])), "a row twice"
    for name, values in one.items():
        assert values.tobytes() == other[name].tobytes(), name


@pytest.fixture(autouse=True)
def _jobs_find_the_functions(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(slow_stages.__file__).parent))


@pytest.fixture(scope="module")
def calm(slurm: SlurmCluster, tmp_path_factory) -> Run:
    """The undisturbed run: generated and reconstructed by one process here, trained by two ranks."""
    run = Run(tmp_path_factory.mktemp("calm") / "run", slurm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", slurm.env["SLURM_CONF"])
        patch.setenv("PYTHONPATH", str(Path(slow_stages.__file__).parent))
        run.here("generate")
        run.start("train", pause=0.0, nodes=1, tasks=2)
        assert run.end() == {"train": "done"}
        run.here("reconstruct")
    return run


@pytest.fixture
def fresh(slurm, tmp_path) -> Run:
    """A run with nothing done."""
    return Run(tmp_path / "run", slurm)


@pytest.fixture
def generated(slurm, tmp_path, calm) -> Run:
    """A run whose data set is there."""
    return Run(tmp_path / "run", slurm, after=calm.folder, kept=("dataset",))


@pytest.fixture
def trained(slurm, tmp_path, calm) -> Run:
    """A run whose data set and model are there."""
    return Run(tmp_path / "run", slurm, after=calm.folder, kept=("dataset", "model"))


def site(tmp_path: Path, text: str) -> Profile:
    (tmp_path / "site.toml").write_text(f'base = "local"\n{text}\n')
    return load_profile(str(tmp_path / "site.toml"))


def test_preempted_twice(slurm, tmp_path, generated, calm):
    job = generated.start("train", pause=0.3, profile=site(tmp_path, 'partition = "low"'), nodes=2, tasks=2)
    for count in (8, 20):
        generated.wait_for(count, "epochs")
        high = slurm.sbatch("--nodes=2", "--ntasks-per-node=4", "--output=/dev/null", "--wrap=true")
        assert slurm.wait_job(high) == "COMPLETED"
    assert generated.end() == {"train": "done"}
    assert generated.job("train").restarts == 2
    assert slurm.wait_job(job) == "COMPLETED"
    assert generated.log("train").count("going on after epoch") >= 2
    assert read_mark(generated.graph.folder, "train", 0).timeouts == 0
    assert_same_training(generated, calm)


def test_requeued_by_hand(slurm, fresh, calm):
    job = fresh.start("generate", pause=0.6, nodes=2, tasks=4)
    fresh.wait_for(6, "shards")
    slurm.run("scontrol", "requeue", job)
    kept = {path: path.stat().st_mtime_ns for path in fresh.shards()}
    assert fresh.end() == {"generate": "done"}
    assert fresh.job("generate").restarts == 1
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items()), "intact shards were made again"
    assert_same_dataset(fresh, calm)


def test_lost_node(slurm, generated, calm):
    job = generated.start("train", pause=0.3, nodes=1, tasks=2)
    generated.wait_for(10, "epochs")
    first = slurm.job(job)["NodeList"]
    slurm.kill_node(first, noticed=True)
    assert generated.end() == {"train": "done"}
    assert slurm.job(job)["NodeList"] != first
    assert generated.job("train").restarts == 1
    assert "going on after epoch" in generated.log("train"), "it began anew instead of from its checkpoint"
    assert_same_training(generated, calm)


@pytest.mark.parametrize("stage", ["generate", "train"])
def test_killed_rank(slurm, request, stage, calm):
    run = request.getfixturevalue("fresh" if stage == "generate" else "generated")
    what = "shards" if stage == "generate" else "epochs"
    job = run.start(stage, pause=0.5, nodes=2, tasks=2)
    run.wait_for(6, what)
    ranks = slurm.ranks(job)
    os.kill(ranks[1], signal.SIGKILL)
    slurm.wait(lambda: ranks[0] not in slurm.ranks(job).values(), "end of the other rank", timeout=20.0)
    # What ends the other rank is a signal: when it comes before the news of the dead one, the job queues again.
    states = run.end()
    assert states == {stage: "done"} or run.job(stage).reason
    if states == {stage: "failed"}:
        assert slurm.wait_job(job) == "FAILED"
        assert run.retry() == {stage: [0]}
        states = run.end()
    assert states == {stage: "done"}
    (assert_same_dataset if stage == "generate" else assert_same_training)(run, calm)


def test_time_limit(slurm, tmp_path, fresh, calm):
    """Slurm sends the signal up to half a minute early: how often a job is stopped differs, what comes out does not."""
    other = Run(tmp_path / "deaf", slurm)
    nodes = Node("deaf", "slow_stages:deaf", tasks=1), Node("after", "slow_stages:deaf", after=("deaf",))
    other.submit(*nodes, profile=site(tmp_path, "minutes = 1\nsignal_seconds = 30"))
    fresh.start("generate", pause=4.0, profile=site(tmp_path, "minutes = 2\nsignal_seconds = 30"), tasks=1)
    assert fresh.end() == {"generate": "done"}
    mark = read_mark(fresh.graph.folder, "generate", 0)
    assert mark.restart == mark.timeouts >= 1
    assert_same_dataset(fresh, calm)

    assert other.end() == {"deaf": "failed", "after": "cancelled"}
    assert "TIMEOUT" in other.job("deaf").reason


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own in the place of a folder."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("stage", ["generate", "train"])
def test_full_disk(request, stage, calm):
    run = request.getfixturevalue("fresh" if stage == "generate" else "generated")
    folder = run.folder / ("dataset" if stage == "generate" else "model")
    with small_disk(folder, "160k"):
        run.start(stage, pause=0.0, nodes=1, tasks=2)
        assert run.end() == {stage: "failed"}
        assert "No space left on device" in run.job(stage).reason
        assert str(folder) in run.job(stage).reason
        assert not (folder / "provenance.json").exists()
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
        assert run.retry() == {stage: [0]}
        assert run.end() == {stage: "done"}
        (assert_same_dataset if stage == "generate" else assert_same_training)(run, calm)


def tear(path: Path) -> None:
    """Cut a file in two and lose one half, as an interrupted write does."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def flip(path: Path, column: str) -> None:
    """Change one bit in the middle of a column of an HDF5 file."""
    with h5py.File(path, "r") as file:
        place = file[column].id.get_offset() + file[column].nbytes // 2
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_torn_shards_of_an_interrupted_run(slurm, fresh, calm):
    job = fresh.start("generate", pause=0.6, nodes=1, tasks=3)
    fresh.wait_for(8, "shards")
    assert jobs.cancel(fresh.graph.folder) == ["generate"]
    assert slurm.wait_job(job) == "CANCELLED"
    whole, torn, flipped = fresh.shards()[:3]
    kept = whole.stat().st_mtime_ns
    tear(torn)
    flip(flipped, "pdf")
    assert fresh.retry() == {"generate": [0]}
    assert fresh.end() == {"generate": "done"}
    assert whole.stat().st_mtime_ns == kept
    assert_same_dataset(fresh, calm)


def test_torn_shard_of_a_finished_data_set(slurm, generated, calm, capfd):
    torn = generated.shards()[3]
    tear(torn)
    generated.start("train", pause=0.0, nodes=1, tasks=2)
    assert generated.end() == {"train": "failed"}
    assert str(torn) in generated.job("train").reason
    again = ["generate", str(generated.folder / "run.toml"), "--set", f"run.out={generated.folder}"]
    assert main(again) == 0, capfd.readouterr().err
    assert_same_dataset(generated, calm)
    assert generated.retry() == {"train": [0]}
    assert generated.end() == {"train": "done"}
    assert_same_training(generated, calm)


def test_torn_checkpoint(slurm, generated, calm):
    job = generated.start("train", pause=0.3, nodes=1, tasks=2)
    generated.wait_for(10, "epochs")
    assert jobs.cancel(generated.graph.folder) == ["train"]
    assert slurm.wait_job(job) == "CANCELLED"
    _, newest = sorted((generated.folder / "model").glob("checkpoint-*.pt"))
    tear(newest)
    assert generated.retry() == {"train": [0]}
    assert generated.end() == {"train": "done"}
    log = generated.log("train")
    assert f"{newest}: unreadable checkpoint skipped" in log
    assert "going on after epoch" in log
    assert_same_training(generated, calm)


def test_array_that_is_requeued_killed_and_torn(slurm, trained, calm):
    arguments = {"run": str(trained.folder), "pause": 1.0}
    trained.submit(
        Node("blocks", "slow_stages:run_stage", {**arguments, "stage": "blocks"}, array=3, tasks=1),
        Node("reconstruct", "slow_stages:run_stage", {**arguments, "stage": "reconstruct"}, after=("blocks",), tasks=1),
    )
    parts = trained.folder / "reconstruct/results.parts"

    def blocks() -> list[Path]:
        return sorted(parts.glob("[!.]*.h5"))

    slurm.wait(lambda: len(blocks()) >= 3, "three blocks", timeout=180.0)
    slurm.run("scontrol", "requeue", trained.job("blocks", 0).job)
    os.kill(read_mark(trained.graph.folder, "blocks", 1).pid, signal.SIGKILL)
    tear(blocks()[0])
    assert trained.end() == {"blocks": "failed", "reconstruct": "cancelled"}
    assert [trained.job("blocks", index).state for index in range(3)] == ["done", "failed", "done"]
    flip(blocks()[-1], "positions")
    assert trained.retry() == {"blocks": [1], "reconstruct": [0]}
    assert trained.end() == {"blocks": "done", "reconstruct": "done"}
    assert "made again" in trained.log("reconstruct")
    assert_same_results(trained, calm)


def test_wrong_mpi_plugin(fresh, tmp_path, calm):
    fresh.start("generate", pause=0.0, profile=site(tmp_path, 'mpi = "none"'), nodes=2, tasks=4)
    assert fresh.end() == {"generate": "failed"}
    assert "srun started 4 processes but MPI sees 1; start it with srun --mpi=pmi2" in fresh.job("generate").reason
    assert not (fresh.folder / "dataset").exists(), "each process made the data set for itself"
    assert fresh.retry() == {"generate": [0]}
    assert fresh.end() == {"generate": "done"}
    assert_same_dataset(fresh, calm)


def test_code_that_changed_while_the_job_was_queued(fresh, monkeypatch, calm):
    then = {**submission.code_version(), "version": "0.0.9", "digest": "0123456789abcdef"}
    monkeypatch.setattr(submission, "code_version", lambda: then)
    fresh.start("generate", pause=0.0, tasks=1)
    monkeypatch.undo()
    assert fresh.end() == {"generate": "done"}
    now = read_mark(fresh.graph.folder, "generate", 0).code
    assert now["version"] == submission.code_version()["version"]
    assert fresh.graph.code == then
    assert fresh.job("generate").code_changed
    warning = next(line for line in fresh.log("generate").splitlines() if "WARNING" in line)
    assert "hpcpdf changed while the job was queued" in warning
    assert f"digest 0123456789abcdef -> {now['digest']}" in warning
