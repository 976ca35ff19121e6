"""Fifty stages on sixteen nodes: in order, and cheap for those who submit, for the scheduler and for those who ask."""

from __future__ import annotations

import importlib
import sys

import pytest

from hpcpdf.launch.graph import read_graph
from hpcpdf.launch.markers import read_mark

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def test_fifty_stages(slurm_many, root, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")  # the measurement sets it
    monkeypatch.syspath_prepend(str(root / "benchmarks/scaling"))
    job_graph = importlib.import_module("job_graph")
    result = job_graph.measure(tmp_path / "jobs", 50, 1, rounds=2)
    graph = read_graph(tmp_path / "jobs")
    marks = {node.name: read_mark(graph.folder, node.name, 0) for node in graph.nodes}
    assert len(marks) == 50
    for node in graph.nodes:
        assert marks[node.name].state == "done"
        assert all(marks[earlier].ended <= marks[node.name].started for earlier in node.after)
    assert len({mark.host for mark in marks.values()}) > 1
    # Far above what an idle machine takes, far below what anybody would mind.
    assert result["submit_seconds_per_stage"] < 1.0
    assert result["status_seconds"]["median"] < 2.0
    scheduler = result["scheduler"]
    assert scheduler["request_submit_batch_job"]["calls"] == 50
    assert scheduler["main_cycle_max_us"] < 500_000
    assert scheduler["server_threads_most"] < 32
    sys.modules.pop("job_graph")
