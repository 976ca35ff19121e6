"""What is sent to Slurm: the scripts as text, the order, and all or nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm

from hpcpdf.errors import ConfigError, LaunchError
from hpcpdf.launch import submit as submission
from hpcpdf.launch.graph import Graph, Node, read_graph
from hpcpdf.launch.markers import code_version, mark_path, new_mark, read_submissions, write_mark
from hpcpdf.launch.profiles import Profile
from hpcpdf.launch.status import survey

NAP = "fake_slurm:nap"

SCRIPT = """\
#!/bin/bash

# Parameters
#SBATCH --account=materials
#SBATCH --array=0-2%3
#SBATCH --cpus-per-task=4
#SBATCH --dependency='afterok:<first>'
#SBATCH --gpus-per-node=2
#SBATCH --job-name=name-second
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=3
#SBATCH --open-mode=append
#SBATCH --output=FOLDER/second/slurm/%A_%a_0_log.out
#SBATCH --partition=batch
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=7

# setup
module load gcc
export OMP_NUM_THREADS=4

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output FOLDER/second/slurm/%A_%a_%t_log.out --kill-on-bad-exit=1 --cpus-per-task=4 --mpi=pmi2 \
PYTHON -u -m submitit.core._submit FOLDER/second/slurm


# teardown
status=$?
echo $status >FOLDER/second/slurm/\
"${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}.exit"
exit $status
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> FakeSlurm:
    (tmp_path / "bin").mkdir()
    return FakeSlurm(tmp_path / "bin", monkeypatch)


def _profile(**settings) -> Profile:
    return Profile.model_validate({"name": "site", **settings})


def _graph(folder: Path, *nodes: Node, **settings) -> tuple[Graph, Profile]:
    profile = _profile(**settings)
    return submission.make_graph(nodes, folder / "jobs", profile, title="name"), profile


def test_the_script_of_an_array_on_many_ranks(tmp_path):
    graph, profile = _graph(
        tmp_path,
        Node("first", NAP),
        Node("second", NAP, after=("first",), array=3, resources="train", nodes=2, tasks=6, gpus=2, minutes=7),
        partition="batch",
        account="materials",
        modules=["gcc"],
        train={"cpus_per_task": 4},
    )
    text = submission.scripts(graph, profile)["second"]
    assert text.replace(str(tmp_path / "jobs"), "FOLDER").replace(sys.executable, "PYTHON") == SCRIPT


def test_training_ranks_need_no_mpi(tmp_path):
    graph, profile = _graph(tmp_path, Node("train", NAP, ranks="torch"))
    assert "--mpi=none" in submission.scripts(graph, profile)["train"]


def test_a_dry_run_prints_and_checks_every_script_and_writes_nothing(tmp_path, slurm):
    graph, profile = _graph(tmp_path, Node("a", NAP), Node("b", NAP, after=("a",), array=2))
    lines: list[str] = []
    submission.dry_run(graph, profile, say=lines.append)
    assert [line for line in lines if line.startswith("###")] == ["### a", "### b"]
    assert lines[-1] == "2 scripts; sbatch --test-only accepts all of them; nothing was submitted"
    assert [call[0] for call in slurm.calls("sbatch")] == ["--test-only"] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin"]


def test_what_slurm_would_refuse_is_told_by_node(tmp_path, slurm):
    graph, profile = _graph(tmp_path, Node("a", NAP), Node("b", NAP))
    slurm.answer("sbatch", (0, ""), (1, "allocation failure:\ninvalid partition specified: nowhere\n"))
    with pytest.raises(LaunchError, match=r"^node b: allocation failure: invalid partition specified: nowhere$"):
        submission.dry_run(graph, profile, say=lambda line: None)


def test_a_dry_run_works_where_slurm_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    graph, profile = _graph(tmp_path, Node("a", NAP))
    lines: list[str] = []
    submission.dry_run(graph, profile, say=lines.append)
    assert "not checked: no sbatch here" in lines[-1]
    with pytest.raises(LaunchError, match="sbatch: not found; submit from a machine of the cluster"):
        submission.submit(graph, profile, say=lines.append)
    assert list(tmp_path.iterdir()) == []


def test_all_nodes_are_sent_at_once_with_their_dependencies(tmp_path, slurm, monkeypatch):
    for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "PMI_RANK", "RANK"):
        monkeypatch.setenv(name, "1")
    graph, profile = _graph(
        tmp_path, Node("a", NAP), Node("b", NAP, array=3), Node("c", NAP, {"seconds": 1}, after=("a", "b"))
    )
    lines: list[str] = []
    assert submission.submit(graph, profile, say=lines.append) == {"a": ["101"], "b": ["102"], "c": ["103"]}
    assert "#SBATCH --dependency=afterok:101:102" in slurm.script(3)
    assert "--dependency" not in slurm.script(1) + slurm.script(2)
    assert "#SBATCH --array=0-2%" in slurm.script(2)
    assert lines == ["a               job 101", "b               job 102 x 3", "c               job 103, after a, b"]
    assert all(not environment.keys() - {"SLURM_CONF"} for environment in slurm.environments("sbatch"))
    assert read_graph(graph.folder) == graph
    assert graph.code == code_version()
    (entry,) = read_submissions(graph.folder, "b")
    assert [entry.job_of(index) for index in range(3)] == ["102_0", "102_1", "102_2"]


def test_an_array_beyond_slurms_limit_becomes_several(tmp_path, slurm, monkeypatch):
    monkeypatch.setattr(submission, "LARGEST_ARRAY", 2)
    graph, profile = _graph(tmp_path, Node("a", NAP, array=5), Node("b", NAP, after=("a",)))
    assert submission.submit(graph, profile, say=lambda line: None)["a"] == ["101", "102", "103"]
    assert "#SBATCH --dependency=afterok:101:102:103" in slurm.script(4)
    entries = read_submissions(graph.folder, "a")
    assert [entry.indices for entry in entries] == [(0, 1), (2, 3), (4,)]
    assert [entry.job_of(entry.indices[-1]) for entry in entries] == ["101_1", "102_1", "103"]


def test_when_slurm_refuses_one_node_those_before_it_are_cancelled(tmp_path, slurm):
    graph, profile = _graph(tmp_path, Node("a", NAP), Node("b", NAP, array=2), Node("c", NAP, after=("b",)))
    slurm.answer("sbatch", (0, ""), (0, ""), (1, "sbatch: error: Batch job submission failed: Invalid account\n"))
    with pytest.raises(LaunchError, match=r"node c: sbatch refused it: .*Invalid account"):
        submission.submit(graph, profile, say=lambda line: None)
    assert slurm.calls("scancel") == [["101", "102"]]
    slurm.answer("squeue", (1, "Invalid job id specified\n"))
    assert [node.state for node in survey(graph.folder).nodes] == ["cancelled", "cancelled", "missing"]


def test_submitting_again_forgets_the_markers_of_before(tmp_path, slurm):
    graph, profile = _graph(tmp_path, Node("a", NAP))
    submission.submit(graph, profile, say=lambda line: None)
    write_mark(graph.folder, "a", 0, new_mark("101", 0).now("done"))
    submission.submit(graph, profile, say=lambda line: None)
    assert not mark_path(graph.folder, "a", 0).exists()
    assert [entry.job for entry in read_submissions(graph.folder, "a")] == ["102"]


def test_what_cannot_be_submitted_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="5 ranks on 2 nodes"):
        _graph(tmp_path, Node("a", NAP, nodes=2, tasks=5))
    with pytest.raises(ConfigError, match=r"node a: its limit of 2 min leaves no time .* 120 s earlier"):
        _graph(tmp_path, Node("a", NAP, minutes=2))
    with pytest.raises(ConfigError, match="Slurm takes % in the name"):
        _graph(tmp_path / "100%", Node("a", NAP))
    (tmp_path / "jobs").write_text("")
    with pytest.raises(ConfigError, match="is a file, expected a folder"):
        _graph(tmp_path, Node("a", NAP))
