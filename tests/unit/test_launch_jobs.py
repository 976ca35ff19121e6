"""One truth from markers and queue: every state of a job, and what cancel and retry do about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_slurm import FakeSlurm

from hpcpdf.cli.main import main
from hpcpdf.errors import ConfigError, LaunchError
from hpcpdf.launch import jobs, scheduler
from hpcpdf.launch import submit as submission
from hpcpdf.launch.graph import Graph, Node
from hpcpdf.launch.markers import exit_path, log_path, mark_path, new_mark, read_submissions, write_mark
from hpcpdf.launch.profiles import load_profile
from hpcpdf.launch.scheduler import Queued
from hpcpdf.launch.status import survey

NAP = "fake_slurm:nap"
INVALID = (1, "slurm_load_jobs error: Invalid job id specified\n")
NO_ACCOUNTING = (1, "Slurm accounting storage is disabled\n")


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> FakeSlurm:
    monkeypatch.setattr(scheduler, "_PAUSES", ())
    (tmp_path / "bin").mkdir()
    slurm = FakeSlurm(tmp_path / "bin", monkeypatch)
    slurm.answer("sacct", NO_ACCOUNTING)
    return slurm


@pytest.fixture
def graph(tmp_path, slurm) -> Graph:
    """`first`, then an array of three, then `last`: jobs 101, 102 and 103."""
    nodes = [Node("first", NAP), Node("each", NAP, after=("first",), array=3), Node("last", NAP, after=("each",))]
    profile = load_profile("local")
    graph = submission.make_graph(nodes, tmp_path / "run" / "jobs", profile, title="run")
    submission.submit(graph, profile, say=lambda line: None)
    return graph


def _mark(graph: Graph, node: str, index: int, state: str, job: str, **more) -> None:
    mark = new_mark(job, 0, code=graph.code)
    write_mark(graph.folder, node, index, mark if state == "running" else mark.now(state, **more))


def _states(graph: Graph) -> dict[str, str]:
    return {node.name: node.state for node in survey(graph.folder).nodes}


def _reasons(graph: Graph, node: str) -> list[str]:
    report = next(entry for entry in survey(graph.folder).nodes if entry.name == node)
    return [f"{job.state}: {job.reason}" if job.reason else job.state for job in report.jobs]


def test_waiting_and_running(graph, slurm):
    pending = (
        "102|0|PENDING|Dependency\n102|1|PENDING|Dependency\n102|2|PENDING|Dependency\n103|N/A|PENDING|Dependency\n"
    )
    slurm.answer("squeue", (0, f"101|N/A|PENDING|Resources\n{pending}"))
    assert _states(graph) == {"first": "queued", "each": "queued", "last": "queued"}
    assert _reasons(graph, "first") == ["queued: Resources"]
    slurm.answer("squeue", (0, f"101|N/A|RUNNING|None\n{pending}"))
    _mark(graph, "first", 0, "running", "101")
    assert _states(graph) == {"first": "running", "each": "queued", "last": "queued"}


def test_one_question_about_what_is_not_done_and_none_when_all_is(graph, slurm):
    slurm.answer("squeue", (0, "102|0|RUNNING|None\n102|1|RUNNING|None\n103|N/A|PENDING|Dependency\n"))
    _mark(graph, "first", 0, "done", "101")
    _mark(graph, "each", 2, "done", "102_2")
    assert _states(graph) == {"first": "done", "each": "running", "last": "queued"}
    assert [call[-1] for call in slurm.calls("squeue")] == ["--jobs=102,103"]
    for index in range(3):
        _mark(graph, "each", index, "done", f"102_{index}")
    _mark(graph, "last", 0, "done", "103")
    slurm.answer("squeue", INVALID)
    assert survey(graph.folder).complete
    assert slurm.calls("squeue") == []


def test_a_failure_keeps_its_text_and_what_waited_is_told(graph, slurm):
    _mark(graph, "first", 0, "failed", "101", error="disk full")
    slurm.answer("squeue", (0, "101|N/A|FAILED|NonZeroExitCode\n103|N/A|CANCELLED|Dependency\n"))
    assert _reasons(graph, "first") == ["failed: disk full"]
    assert _reasons(graph, "each") == ["cancelled: waited for first"] * 3
    assert _reasons(graph, "last") == ["cancelled: waited for each"]


@pytest.mark.parametrize(
    ("queue", "status", "says"),
    [
        ((0, "101|N/A|NODE_FAIL|None\n"), None, "died (Slurm says NODE_FAIL)"),
        ((0, "101|N/A|OUT_OF_MEMORY|None\n"), "137", "died (Slurm says OUT_OF_MEMORY, srun's exit status 137)"),
        (INVALID, "137", "died (Slurm does not know it any more, srun's exit status 137)"),
        (INVALID, None, "died (Slurm does not know it any more)"),
    ],
)
def test_a_job_that_died_without_a_word_is_failed(graph, slurm, queue, status, says):
    _mark(graph, "first", 0, "running", "101")
    slurm.answer("squeue", queue)
    if status:
        exit_path(graph.folder, "first", "101").write_text(f"{status}\n")
    assert _reasons(graph, "first") == [f"failed: {says}"]


def test_a_job_that_never_began_is_failed(graph, slurm):
    slurm.answer("squeue", (0, "101|N/A|FAILED|NonZeroExitCode\n"))
    exit_path(graph.folder, "first", "101").write_text("1\n")
    says = "failed: ended before it began (Slurm says FAILED, srun's exit status 1)"
    assert _reasons(graph, "first") == [says]


def test_accounting_tells_what_the_queue_forgot(graph, slurm):
    slurm.answer("squeue", INVALID)
    slurm.answer("sacct", (0, "101|TIMEOUT\n"))
    _mark(graph, "first", 0, "running", "101")
    assert _reasons(graph, "first") == ["failed: died (Slurm says TIMEOUT)"]


def test_requeued_jobs_are_queued_whatever_their_last_start_said(graph, slurm):
    slurm.answer("squeue", (0, "101|N/A|PENDING|BeginTime\n"))
    for state in ("running", "stopped", "failed"):
        _mark(graph, "first", 0, state, "101")
        assert _reasons(graph, "first") == ["queued: BeginTime"]


def test_what_slurm_calls_completed_is_done_before_its_marker_is_seen(graph, slurm):
    slurm.answer("squeue", (0, "101|N/A|COMPLETED|None\n"))
    _mark(graph, "first", 0, "running", "101")
    assert _states(graph)["first"] == "done"


def test_a_job_that_ends_while_slurm_is_asked_has_not_died(graph, slurm, monkeypatch):
    _mark(graph, "first", 0, "running", "101")

    def end(names: list[str]) -> dict[str, Queued]:
        _mark(graph, "first", 0, "done", "101")
        return {}

    monkeypatch.setattr(scheduler, "ask", end)
    assert _states(graph)["first"] == "done"


def test_a_damaged_marker_is_no_marker(graph, slurm):
    slurm.answer("squeue", (0, "101|N/A|RUNNING|None\n"))
    _mark(graph, "first", 0, "running", "101")
    mark_path(graph.folder, "first", 0).write_text('{"state": "do')
    assert _states(graph)["first"] == "running"


def test_markers_alone_serve_where_slurm_does_not_answer(graph, slurm):
    slurm.answer("squeue", (1, "Unable to contact slurm controller\n"))
    _mark(graph, "first", 0, "done", "101")
    _mark(graph, "each", 0, "failed", "102_0", error="torn")
    _mark(graph, "each", 1, "running", "102_1")
    report = survey(graph.folder)
    assert [job.state for job in report.nodes[1].jobs] == ["failed", "running", "queued"]
    assert report.lines()[-1].startswith("told by markers on disk alone: squeue failed: Unable to contact")
    with pytest.raises(LaunchError, match="Unable to contact"):
        jobs.retry(graph.folder, load_profile("local"))
    with pytest.raises(LaunchError, match="Unable to contact"):
        jobs.cancel(graph.folder)


def test_cancel_ends_what_is_active_and_is_remembered(graph, slurm):
    _mark(graph, "first", 0, "done", "101")
    _mark(graph, "each", 0, "done", "102_0")
    queue = "102|1|RUNNING|None\n102|2|PENDING|Resources\n103|N/A|PENDING|Dependency\n"
    slurm.answer("squeue", (0, queue))
    assert jobs.cancel(graph.folder, show=True) == ["each", "last"]
    assert slurm.calls("scancel") == []
    assert jobs.cancel(graph.folder) == ["each", "last"]
    assert slurm.calls("scancel") == [["102", "103"]]
    slurm.answer("squeue", INVALID)
    assert _reasons(graph, "each") == ["done", "cancelled: cancelled", "cancelled: cancelled"]
    assert _states(graph) == {"first": "done", "each": "cancelled", "last": "cancelled"}
    assert jobs.cancel(graph.folder) == []


def test_retry_sends_only_missing_indices_and_what_waited(graph, slurm):
    _mark(graph, "first", 0, "done", "101")
    _mark(graph, "each", 0, "done", "102_0")
    _mark(graph, "each", 1, "failed", "102_1", error="torn")
    slurm.answer("squeue", (0, "102|1|FAILED|None\n102|2|RUNNING|None\n103|N/A|PENDING|Dependency\n"))
    profile, lines = load_profile("local"), []
    assert jobs.retry(graph.folder, profile, show=True, say=lines.append) == {"each": [1], "last": [0]}
    assert lines == [
        "each            would be submitted again: 1 of 3 jobs",
        "last            would be submitted again: 1 of 1 jobs",
    ]
    assert len(slurm.calls("sbatch")) == 3
    assert jobs.retry(graph.folder, profile, say=lambda line: None) == {"each": [1], "last": [0]}
    # `last` would have waited for ever for the element that failed; the new one waits for what still runs, too.
    assert slurm.calls("scancel") == [["103"]]
    assert "--array" not in slurm.script(4)
    assert "--dependency" not in slurm.script(4)
    assert "#SBATCH --dependency=afterok:102_2:104" in slurm.script(5)
    assert read_submissions(graph.folder, "each")[-1].job_of(1) == "104"
    queue = "102|1|FAILED|None\n102|2|RUNNING|None\n104|N/A|PENDING|Resources\n105|N/A|PENDING|Dependency\n"
    slurm.answer("squeue", (0, queue))
    assert _reasons(graph, "each") == ["done", "queued: Resources", "running"]
    assert jobs.retry(graph.folder, profile) == {}
    _mark(graph, "each", 1, "done", "104")
    assert _reasons(graph, "each") == ["done", "done", "running"]


def test_what_is_queued_or_runs_is_not_submitted_a_second_time(graph, slurm):
    slurm.answer("squeue", (0, "101|N/A|RUNNING|None\n"))
    nodes, profile = list(graph.nodes), load_profile("local")
    with pytest.raises(ConfigError, match="first still queued or running"):
        submission.make_graph(nodes, graph.folder, profile, title="run")
    slurm.answer("squeue", (1, "Unable to contact slurm controller\n"))
    with pytest.raises(LaunchError, match="Unable to contact"):
        submission.make_graph(nodes, graph.folder, profile, title="run")
    slurm.answer("squeue", INVALID)
    assert submission.make_graph(nodes, graph.folder, profile, title="run") == graph


def test_code_that_changed_in_the_queue_is_told(graph, slurm):
    slurm.answer("squeue", INVALID)
    write_mark(graph.folder, "first", 0, new_mark("101", 0, code={**graph.code, "digest": "0"}).now("done"))
    assert "hpcpdf changed between submission and start of first" in survey(graph.folder).lines()


def test_the_command_line(graph, slurm, tmp_path, capfd):
    run = tmp_path / "run"
    slurm.answer("squeue", (0, "101|N/A|RUNNING|None\n102|0|PENDING|Dependency\n"))
    _mark(graph, "first", 0, "running", "101")
    log = log_path(graph.folder, "first", "101")
    log.write_text("".join(f"line {number}\n" for number in range(9)))
    capfd.readouterr()
    assert main(["jobs", "logs", str(run), "first", "--lines", "2"]) == 0
    assert capfd.readouterr().out.splitlines() == [f"{log}, last 2 of 9 lines", "line 7", "line 8"]
    assert main(["jobs", "logs", str(run), "each"]) == 2
    assert "each has written no log yet" in capfd.readouterr().err
    assert main(["jobs", "logs", str(run), "other"]) == 2
    assert "expected one of first, each, last" in capfd.readouterr().err
    _mark(graph, "first", 0, "failed", "101", error="disk full")
    slurm.answer("squeue", INVALID)
    assert main(["jobs", "status", str(run)]) == 1
    out = capfd.readouterr().out
    assert f"disk full; {log}" in out
    assert main(["jobs", "status", str(run), "--json"]) == 1
    assert '"reason": "disk full"' in capfd.readouterr().out
    assert main(["jobs", "retry", str(run), "--dry-run"]) == 0
    assert "first           would be submitted again: 1 of 1 jobs" in capfd.readouterr().out
    assert main(["jobs", "cancel", str(run)]) == 0
    assert "nothing is queued or running" in capfd.readouterr().out
    assert main(["jobs", "status", str(tmp_path)]) == 2
    assert "no jobs were submitted" in capfd.readouterr().err


def test_a_finished_graph_exits_well(graph, slurm, capfd):
    slurm.answer("squeue", INVALID)
    for node, count, job in (("first", 1, "101"), ("each", 3, "102"), ("last", 1, "103")):
        for index in range(count):
            _mark(graph, node, index, "done", job if count == 1 else f"{job}_{index}")
    assert main(["jobs", "status", str(Path(graph.folder).parent), "--wait"]) == 0
    assert main(["jobs", "retry", str(graph.folder)]) == 0
    assert "nothing to do" in capfd.readouterr().out
