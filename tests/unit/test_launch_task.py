"""What runs inside a job: markers, failures, signals, and the way back into the queue."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from fake_slurm import FakeSlurm

from hpcpdf.errors import LaunchError
from hpcpdf.launch import scheduler, task
from hpcpdf.launch.graph import Graph, Node
from hpcpdf.launch.markers import Mark, code_version, mark_path, read_mark
from hpcpdf.launch.task import Task
from hpcpdf.stage import Context

RUNNING = "JobId=7 JobState=RUNNING PreemptTime=None Requeue=1\n"


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> FakeSlurm:
    monkeypatch.setattr(scheduler, "_PAUSES", ())
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    for name in ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_ARRAY_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()
    slurm = FakeSlurm(tmp_path / "bin", monkeypatch)
    slurm.answer("scontrol", (0, RUNNING))
    return slurm


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    log = logging.getLogger("hpcpdf")
    before = log.handlers, log.level, log.propagate
    yield
    log.handlers, log.level, log.propagate = before


def _graph(folder, *nodes: Node, **code) -> Graph:
    graph = Graph(folder / "jobs", nodes, "title", "local", {**code_version(), **code})
    graph.save()
    return graph


def _mark(graph: Graph, node: str = "a", index: int = 0) -> Mark:
    mark = read_mark(graph.folder, node, index)
    assert mark is not None
    return mark


def _nap(**arguments) -> Node:
    return Node("a", "fake_slurm:nap", arguments)


class _Signal:
    """Sends a signal to this process when the file `note` appears: the job has begun."""

    def __init__(self, number: int, note) -> None:
        self.number, self.note = number, note
        self.thread = threading.Thread(target=self._send)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *error: object) -> None:
        self.thread.join()

    def _send(self) -> None:
        end = time.monotonic() + 10
        while not self.note.exists() and time.monotonic() < end:
            time.sleep(0.01)
        os.kill(os.getpid(), self.number)


def test_a_job_that_returns_is_done(tmp_path, slurm):
    graph = _graph(tmp_path, _nap())
    Task(graph.folder, "a", 0)()
    mark = _mark(graph)
    assert (mark.state, mark.job, mark.restart, mark.host, mark.pid) == ("done", "7", 0, "n1", os.getpid())
    assert mark.code == graph.code
    assert mark.started <= mark.ended
    assert slurm.calls("scontrol") == []


def test_an_element_of_an_array_knows_its_part_whatever_slurm_calls_it(tmp_path, slurm, monkeypatch):
    note = tmp_path / "note"
    graph = _graph(tmp_path, Node("a", "fake_slurm:nap", {"note": str(note)}, array=5))
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "6")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    Task(graph.folder, "a", 3)()
    assert json.loads(note.read_text())["part"] == [3, 5]
    assert _mark(graph, index=3).job == "6_0"
    assert not mark_path(graph.folder, "a", 0).exists()


def test_an_expected_failure_is_one_line_and_exit_status_1(tmp_path, slurm, capfd):
    blocked = tmp_path / "blocked"
    blocked.touch()
    graph = _graph(tmp_path, _nap(fail=str(blocked)))
    with pytest.raises(SystemExit) as left:
        Task(graph.folder, "a", 0)()
    assert left.value.code == 1
    assert (_mark(graph).state, _mark(graph).error) == ("failed", f"{blocked}: in the way; remove it")
    out = capfd.readouterr().out
    assert "ERROR" in out
    assert "Traceback" not in out


def test_a_defect_is_recorded_and_passed_on(tmp_path, slurm):
    graph = _graph(tmp_path, Node("a", "fake_slurm:crash", {"how": "defect"}))
    with pytest.raises(KeyError):
        Task(graph.folder, "a", 0)()
    assert (_mark(graph).state, _mark(graph).error) == ("failed", "KeyError: 'key'")


def test_a_function_that_is_gone_is_named(tmp_path, slurm):
    graph = _graph(tmp_path, Node("a", "fake_slurm:gone"))
    with pytest.raises(SystemExit):
        Task(graph.folder, "a", 0)()
    assert "cannot import fake_slurm:gone" in _mark(graph).error


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
@pytest.mark.parametrize(("preempted", "timeouts"), [("None", 1), ("2026-01-01T00:00:00", 0)])
def test_a_signal_stops_the_work_and_queues_the_job_again(tmp_path, slurm, number, preempted, timeouts):
    note = tmp_path / "note"
    slurm.answer("scontrol", (0, f"JobState=RUNNING PreemptTime={preempted}\n"))
    graph = _graph(tmp_path, _nap(seconds=20, note=str(note)))
    before = signal.getsignal(number)
    with _Signal(number, note), pytest.raises(SystemExit):
        Task(graph.folder, "a", 0)()
    assert slurm.calls("scontrol") == [["show", "--oneliner", "job", "7"], ["requeue", "7"]]
    assert (_mark(graph).state, _mark(graph).timeouts) == ("stopped", timeouts)
    assert signal.getsignal(number) == before


def test_a_cancelled_job_does_not_queue_again(tmp_path, slurm):
    note = tmp_path / "note"
    slurm.answer("scontrol", (0, "JobState=COMPLETING PreemptTime=None\n"))
    graph = _graph(tmp_path, _nap(seconds=20, note=str(note)))
    with _Signal(signal.SIGTERM, note), pytest.raises(SystemExit):
        Task(graph.folder, "a", 0)()
    assert [call[0] for call in slurm.calls("scontrol")] == ["show"]
    assert _mark(graph).state == "stopped"


def test_work_that_ends_in_spite_of_a_signal_is_done(tmp_path, slurm, monkeypatch):
    graph = _graph(tmp_path, _nap())

    def work(context: Context) -> None:
        os.kill(os.getpid(), signal.SIGUSR2)

    monkeypatch.setattr(Node, "target", lambda node: work)
    Task(graph.folder, "a", 0)()
    assert _mark(graph).state == "done"


def test_a_job_that_cannot_queue_again_says_so(tmp_path, slurm):
    note = tmp_path / "note"
    slurm.answer("scontrol", (0, RUNNING), (1, "Requested operation is presently disabled for job 7\n"))
    graph = _graph(tmp_path, _nap(seconds=20, note=str(note)))
    with _Signal(signal.SIGUSR2, note), pytest.raises(SystemExit) as left:
        Task(graph.folder, "a", 0)()
    assert left.value.code == 1
    assert _mark(graph).state == "failed"
    assert (
        "not queued again (scontrol failed: Requested operation is presently disabled for job 7)" in _mark(graph).error
    )


def test_a_controller_that_does_not_answer_at_the_stop_leaves_a_failure(tmp_path, slurm):
    note = tmp_path / "note"
    slurm.answer("scontrol", (1, "Unable to contact slurm controller\n"))
    graph = _graph(tmp_path, _nap(seconds=20, note=str(note)))
    with _Signal(signal.SIGUSR2, note), pytest.raises(SystemExit):
        Task(graph.folder, "a", 0)()
    assert _mark(graph).state == "failed"
    assert "Unable to contact slurm controller" in _mark(graph).error


def test_work_that_never_fits_its_time_limit_ends(tmp_path, slurm, monkeypatch):
    monkeypatch.setattr(task, "MOST_TIMEOUTS", 2)
    note = tmp_path / "note"
    graph = _graph(tmp_path, _nap(seconds=20, note=str(note)))
    for restart, state in enumerate(("stopped", "stopped", "failed")):
        monkeypatch.setenv("SLURM_RESTART_COUNT", str(restart))
        note.unlink(missing_ok=True)
        with _Signal(signal.SIGUSR2, note), pytest.raises(SystemExit):
            Task(graph.folder, "a", 0)()
        assert (_mark(graph).state, _mark(graph).restart) == (state, restart)
    assert "not queued again (stopped 3 times short of its time limit; give it more minutes)" in _mark(graph).error


def test_code_that_changed_in_the_queue_is_recorded_and_warned_of(tmp_path, slurm, capfd):
    graph = _graph(tmp_path, _nap(), digest="of-another-day")
    Task(graph.folder, "a", 0)()
    assert _mark(graph).code == code_version()
    digest = code_version()["digest"]
    (line,) = [line for line in capfd.readouterr().out.splitlines() if "WARNING" in line]
    assert f"changed while the job was queued (digest of-another-day -> {digest})" in line


def test_ranks_that_do_not_see_each_other_are_detected(tmp_path, slurm, monkeypatch):
    """As under srun with --mpi=none: every process of two believes to be alone."""
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setattr(task, "_PATIENCE", 0.1)
    graph = _graph(tmp_path, _nap())
    with pytest.raises(SystemExit):
        Task(graph.folder, "a", 0)()
    assert "srun started 2 processes but MPI sees 1; start it with srun --mpi=pmi2" in _mark(graph).error


def test_another_rank_that_failed_has_the_word(tmp_path, slurm, monkeypatch):
    monkeypatch.setattr(task, "_PATIENCE", 0.1)
    graph = _graph(tmp_path, Node("a", "fake_slurm:nap"))
    monkeypatch.setenv("SLURM_NTASKS", "2")

    def leave(node: Node, world: int) -> Context:
        raise SystemExit(1)

    monkeypatch.setattr(task, "_context", leave)
    with pytest.raises(SystemExit) as left:
        Task(graph.folder, "a", 0)()
    assert (left.value.code, _mark(graph).error) == (1, "1")

    def fail(node: Node, world: int) -> Context:
        raise LaunchError("rank 1 says it")

    for rank, made in ((1, fail), (0, leave)):
        monkeypatch.setenv("SLURM_PROCID", str(rank))
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
        monkeypatch.setattr(task, "_context", made)
        if rank == 0:
            # Rank 0 notes its start first; the other's word must outlive it.
            monkeypatch.setattr(task._Job, "_begin", lambda job, code: _mark(graph).now("running"))
        with pytest.raises(SystemExit) as left:
            Task(graph.folder, "a", 0)()
    assert left.value.code == 0
    assert (_mark(graph).rank, _mark(graph).error) == (1, "rank 1 says it")
