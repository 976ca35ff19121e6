"""Graphs of jobs: what is refused, and what survives on disk."""

from __future__ import annotations

import pytest

from hpcpdf.errors import ConfigError, DataError
from hpcpdf.launch.graph import GRAPH, Graph, Node, find_jobs, jobs_beside, ordered, read_graph

WORK = "json:dumps"


def test_nodes_follow_those_they_wait_for():
    nodes = [Node("c", WORK, after=("a", "b")), Node("b", WORK, after=("a",)), Node("a", WORK)]
    assert [node.name for node in ordered(nodes)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ([], "at least one node"),
        ([Node("a b", WORK)], "'a b'"),
        ([Node("../a", WORK)], "'../a'"),
        ([Node("a", WORK), Node("a", WORK)], "used twice"),
        ([Node("a", WORK, after=("x",))], "'x', which is not one of a"),
        ([Node("a", WORK, after=("b",)), Node("b", WORK, after=("a",))], "circle: "),
        ([Node("a", WORK, array=0)], "array = 0, expected at least 1"),
        ([Node("a", WORK, minutes=0)], "minutes = 0"),
        ([Node("a", "json")], "'json', expected package.module:function"),
        ([Node("a", "nowhere.at_all:run")], "module nowhere.at_all is not installed"),
        ([Node("a", WORK, {"x": object()})], "plain JSON"),
    ],
)
def test_wrong_graphs_are_refused(nodes, says):
    with pytest.raises(ConfigError) as refused:
        ordered(nodes)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_graph_is_the_same_after_writing_and_reading(tmp_path):
    nodes = (
        Node("a", WORK, {"x": [1, 2.5, "three", None]}, array=4, resources="train", ranks="torch", gpus=2),
        Node("b", WORK, after=("a",), tasks=6, nodes=3, minutes=5, cpus=2),
    )
    graph = Graph(tmp_path, nodes, "title", "local", {"version": "1", "commit": None})
    graph.save()
    assert read_graph(tmp_path) == graph


def test_damaged_and_absent_graphs(tmp_path):
    with pytest.raises(ConfigError, match="no jobs were submitted"):
        read_graph(tmp_path)
    (tmp_path / GRAPH).write_text('{"nodes": [{"name"')
    with pytest.raises(DataError, match="damaged"):
        read_graph(tmp_path)
    (tmp_path / GRAPH).write_text('{"nodes": [{"colour": 3}], "title": "", "profile": "", "code": {}}')
    with pytest.raises(DataError, match="damaged"):
        read_graph(tmp_path)


def test_jobs_are_found_by_run_folder_own_folder_and_result_file(tmp_path):
    for folder in (tmp_path / "run" / "jobs", jobs_beside(tmp_path / "out.h5")):
        folder.mkdir(parents=True)
        (folder / GRAPH).write_text("{}")
    assert find_jobs(tmp_path / "run") == tmp_path / "run" / "jobs"
    assert find_jobs(tmp_path / "run" / "jobs") == tmp_path / "run" / "jobs"
    assert find_jobs(tmp_path / "out.h5") == tmp_path / "out.h5.jobs"
    with pytest.raises(ConfigError, match="no jobs were submitted"):
        find_jobs(tmp_path / "other")


def test_downstream_reaches_everything_that_waits():
    names = {"a": (), "b": ("a",), "c": ("b",), "d": ()}
    graph = Graph(None, tuple(Node(name, WORK, after=after) for name, after in names.items()), "", "")
    assert graph.downstream(["b"]) == {"b", "c"}
    assert graph.downstream(["a"]) == {"a", "b", "c"}
    with pytest.raises(ConfigError, match="expected one of a, b, c, d"):
        graph["x"]


def test_functions_that_cannot_be_imported_are_named():
    with pytest.raises(ConfigError, match="node a: cannot import json:nothing"):
        Node("a", "json:nothing").target()
