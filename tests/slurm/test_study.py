"""A study on a real Slurm: an array with a job for each member, and one that collects; the numbers of a local study."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from slurm_cluster import SlurmCluster

from hpcpdf.cli.main import main
from hpcpdf.launch.graph import find_jobs
from hpcpdf.launch.status import wait

pytestmark = pytest.mark.slurm

PAPER = Path(__file__).parents[2] / "examples" / "paper.toml"
SMALL = (
    "study.splits=['paper']",
    "study.seeds=[1]",
    "study.satellites=[]",
    "study.variants=[]",
    "study.pairs=2",
    "study.steps=3",
    "study.n_samples=2",
    "clusters.n=200",
    "training.max_epochs=1",
)


def words(out: Path, *options: str) -> list[str]:
    changes = [part for text in (*SMALL, f"run.out='{out}'") for part in ("--set", text)]
    return ["run", str(PAPER), *changes, *options]


def submit(out: Path) -> int:
    return main(words(out, "--where", "slurm"))


@pytest.mark.timeout(900)
def test_members_are_jobs_with_the_numbers_of_a_local_study(slurm: SlurmCluster, tmp_path, capfd):
    here, there = tmp_path / "here", tmp_path / "there"
    assert submit(there) == 0
    assert [line.split()[0] for line in capfd.readouterr().out.splitlines()[:2]] == ["members", "collect"]
    # Its members are processes with a helper that outlives them; here it ends with its parent.
    subprocess.run([str(Path(sys.executable).with_name("hpcpdf")), *words(here)], check=True, capture_output=True)
    report = wait(find_jobs(there), pause=1.0, longest=2.0)
    assert [(node.name, node.state) for node in report.nodes] == [("members", "done"), ("collect", "done")], (
        report.lines()
    )
    for name in ("paper-cvae-2020-seed1", "paper-dae-2020-seed1"):
        for file in ("scores.csv", "latent.csv", "intermediates.csv"):
            one, other = ((out / "members" / name / "scores" / file).read_bytes() for out in (here, there))
            assert one == other, f"{name}/{file}"
    assert (there / "study/table1.json").read_bytes() == (here / "study/table1.json").read_bytes()
    assert (there / "report/report.html").is_file()
    assert submit(there) == 0
    assert "finished already" in capfd.readouterr().out
