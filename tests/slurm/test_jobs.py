"""Graphs of jobs on a real Slurm: arrays, failures, retries, signals, cancelling, and jobs that die without a word."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import fake_slurm
import pytest
from slurm_cluster import SlurmCluster

from hpcpdf.cli.main import main
from hpcpdf.launch import jobs
from hpcpdf.launch import submit as submission
from hpcpdf.launch.graph import Graph, Node
from hpcpdf.launch.markers import read_mark
from hpcpdf.launch.profiles import Profile, load_profile
from hpcpdf.launch.status import Report, survey, wait

pytestmark = pytest.mark.slurm

NAP = "fake_slurm:nap"


@pytest.fixture(autouse=True)
def _jobs_find_the_functions(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(fake_slurm.__file__).parent))


def _submit(folder: Path, *nodes: Node, profile: Profile | None = None) -> Graph:
    profile = profile or load_profile("local")
    graph = submission.make_graph(nodes, folder / "jobs", profile, title="test")
    submission.submit(graph, profile, say=lambda line: None)
    return graph


def _states(report: Report) -> dict[str, str]:
    return {node.name: node.state for node in report.nodes}


def _end(graph: Graph) -> Report:
    return wait(graph.folder, pause=0.3, longest=1.0)


def _parts(note: Path) -> list[int]:
    return sorted(json.loads(line)["part"][0] for line in note.read_text().splitlines())


def test_a_failed_element_is_repaired_by_itself_and_what_waits_goes_on(slurm, tmp_path, capfd):
    note, obstacle = tmp_path / "note", tmp_path / "obstacle"
    obstacle.touch()
    graph = _submit(
        tmp_path,
        Node("good", NAP, {"note": str(note)}, array=3, tasks=1),
        Node("bad", NAP, {"fail": str(obstacle)}, after=("good",), nodes=2, tasks=2),
        Node("last", NAP, after=("bad",), tasks=1),
    )
    report = _end(graph)
    assert _states(report) == {"good": "done", "bad": "failed", "last": "cancelled"}
    assert report.nodes[1].jobs[0].reason == f"{obstacle}: in the way; remove it"
    assert report.nodes[2].jobs[0].reason == "waited for bad"
    assert slurm.wait_job(report.nodes[2].jobs[0].job) == "CANCELLED"
    assert main(["jobs", "status", str(tmp_path)]) == 1
    assert main(["jobs", "logs", str(tmp_path)]) == 0
    assert f"ERROR {obstacle}: in the way" in capfd.readouterr().out

    obstacle.unlink()
    assert main(["jobs", "retry", str(tmp_path)]) == 0
    report = _end(graph)
    assert _states(report) == {"good": "done", "bad": "done", "last": "done"}
    assert _parts(note) == [0, 1, 2]
    assert {slurm.wait_job(node.jobs[0].job) for node in report.nodes} == {"COMPLETED"}
    assert main(["jobs", "status", str(tmp_path)]) == 0


def test_of_an_array_only_the_missing_elements_run_again(slurm, tmp_path):
    note = tmp_path / "note"
    graph = _submit(tmp_path, Node("a", NAP, {"note": str(note), "seconds": 3.0}, array=3, tasks=1), Node("b", NAP))
    slurm.wait(lambda: note.exists() and len(_parts(note)) == 3, "start of the array")
    os.kill(read_mark(graph.folder, "a", 1).pid, signal.SIGKILL)
    report = _end(graph)
    assert [job.state for job in report.nodes[0].jobs] == ["done", "failed", "done"]
    assert report.nodes[0].jobs[1].reason.startswith("died (Slurm says FAILED, srun's exit status 137")
    assert jobs.retry(graph.folder, load_profile("local"), say=lambda line: None) == {"a": [1]}
    assert _end(graph).complete
    assert _parts(note) == [0, 1, 1, 2]


def test_signalled_ranks_stop_together_and_go_on_without_releasing_what_waits(slurm, tmp_path):
    note = tmp_path / "note"
    graph = _submit(
        tmp_path,
        Node("a", NAP, {"seconds": 4.0, "note": str(note)}, nodes=2, tasks=4),
        Node("b", NAP, after=("a",), tasks=1),
    )
    slurm.wait(lambda: note.exists() and len(note.read_text().splitlines()) == 4, "start of four ranks")
    first, second = (node.jobs[0].job for node in survey(graph.folder).nodes)
    slurm.run("scancel", "--signal=USR2", first)
    slurm.wait(lambda: slurm.state(first) == "PENDING", "requeue")
    assert _states(survey(graph.folder)) == {"a": "queued", "b": "queued"}
    assert read_mark(graph.folder, "a", 0).state == "stopped"
    report = _end(graph)
    assert report.complete
    assert (report.nodes[0].jobs[0].job, report.nodes[0].jobs[0].restarts) == (first, 1)
    assert report.nodes[1].jobs[0].job == second
    ranks = sorted(json.loads(line)["rank"] for line in note.read_text().splitlines())
    assert ranks == [0, 0, 1, 1, 2, 2, 3, 3]
    assert read_mark(graph.folder, "b", 0).started >= read_mark(graph.folder, "a", 0).ended


def test_cancel(slurm, tmp_path, capfd):
    note = tmp_path / "note"
    graph = _submit(
        tmp_path,
        Node("a", NAP, {"seconds": 60.0, "note": str(note)}, tasks=2),
        Node("b", NAP, after=("a",), array=4, tasks=1),
    )
    slurm.wait(note.exists, "start")
    assert main(["jobs", "cancel", str(tmp_path)]) == 0
    assert "cancelled: a, b" in capfd.readouterr().out
    report = _end(graph)
    assert _states(report) == {"a": "cancelled", "b": "cancelled"}
    first = report.nodes[0].jobs[0].job
    assert slurm.wait_job(first) == "CANCELLED"
    assert slurm.job(first)["Restarts"] == "0"


def test_a_job_that_dies_without_a_word_is_known_to_be_dead(slurm, tmp_path):
    graph = _submit(tmp_path, Node("a", "fake_slurm:crash", {"how": "exit"}, tasks=1), Node("b", NAP, after=("a",)))
    report = _end(graph)
    assert _states(report) == {"a": "failed", "b": "cancelled"}
    assert report.nodes[0].jobs[0].reason == "died (Slurm says FAILED, srun's exit status 3)"


def test_a_graph_submitted_from_inside_a_job_has_its_own_shape(slurm, tmp_path):
    note, script = tmp_path / "note", tmp_path / "inner.py"
    script.write_text(
        "from pathlib import Path\n"
        "from hpcpdf.launch.graph import Node\n"
        "from hpcpdf.launch.profiles import load_profile\n"
        "from hpcpdf.launch.submit import make_graph, submit\n"
        f"nodes = [Node('a', {NAP!r}, {{'note': {str(note)!r}}}, tasks=1)]\n"
        "profile = load_profile('local')\n"
        f"submit(make_graph(nodes, Path({str(tmp_path / 'jobs')!r}), profile, title='inner'), profile)\n"
    )
    inside = f"srun --mpi=pmi2 --ntasks=1 --overlap {sys.executable} {script}"
    options = ["--parsable", "--nodes=2", "--ntasks=4", f"--output={tmp_path}/outer.log", f"--wrap={inside}"]
    outer = slurm.run("sbatch", *options, PYTHONPATH=os.environ["PYTHONPATH"]).strip()
    assert slurm.wait_job(outer) == "COMPLETED", (tmp_path / "outer.log").read_text()
    report = wait(tmp_path / "jobs", pause=0.3)
    assert report.complete
    assert json.loads(note.read_text()) == {"part": None, "rank": 0, "world": 1}
    assert slurm.job(report.nodes[0].jobs[0].job)["NumNodes"] == "1"


def test_slurm_accepts_every_script_of_a_dry_run_and_names_what_it_would_not(slurm, tmp_path, capfd):
    nodes = [Node("a", NAP, nodes=2, tasks=8, gpus=2), Node("b", NAP, after=("a",), array=40)]
    profile = load_profile("local")
    graph = submission.make_graph(nodes, tmp_path / "jobs", profile, title="test")
    submission.dry_run(graph, profile)
    assert capfd.readouterr().out.endswith("2 scripts; sbatch --test-only accepts all of them; nothing was submitted\n")
    objections = submission.refused(submission.scripts(graph, profile.model_copy(update={"partition": "nowhere"})))
    assert objections.keys() == {"a", "b"}
    assert "invalid partition" in objections["a"]
    assert not (tmp_path / "jobs").exists()
    assert slurm.run("squeue", "--noheader") == ""


def test_accounting_remembers_what_the_queue_forgot(slurm_accounting: SlurmCluster, tmp_path, monkeypatch):
    graph = _submit(tmp_path, Node("a", "fake_slurm:crash", {"how": "exit"}, tasks=1))
    assert slurm_accounting.wait_job(survey(graph.folder).nodes[0].jobs[0].job) == "FAILED"
    monkeypatch.setattr("hpcpdf.launch.scheduler._squeue", lambda jobs: {})
    slurm_accounting.wait(
        lambda: "Slurm says FAILED" in survey(graph.folder).nodes[0].jobs[0].reason, "a word of the accounting"
    )
