"""Jobs that wait for each other: what is run, on how much, after what.

A graph is a list of `Node`. Every node names a function that a job can import; what the function reads and writes lies
on disk, so a node can be run again from its description alone:

>>> from hpcpdf.launch.graph import Node
>>> nodes = [
...     Node("blocks", "mypackage.work:blocks", {"out": "/data/out"}, array=200, resources="reconstruct", tasks=1),
...     Node("merge", "mypackage.work:merge", {"out": "/data/out"}, after=("blocks",), tasks=1),
... ]

>>> from hpcpdf.launch.profiles import load_profile
>>> from hpcpdf.launch.submit import dry_run, make_graph, submit
>>> profile = load_profile("cpu-cluster")
>>> graph = make_graph(nodes, folder, profile, title="example")  # checks, writes nothing
>>> submit(graph, profile)  # all of it to Slurm at once; or dry_run(graph, profile), which shows the scripts

:mod:`hpcpdf.launch.task` runs a node's function inside its job, :mod:`hpcpdf.launch.status` says what became of it and
:mod:`hpcpdf.launch.jobs` acts (``hpcpdf jobs status|logs|cancel|retry FOLDER``). The function is called as
``function(context, **arguments)``:

- `context` (:class:`hpcpdf.stage.Context`) carries rank and number of ranks, and ``stopping()`` turns true on a signal.
  A function that then leaves by an exception, with its work saved, is queued again and later called anew; one that
  returns is done.
- The nodes of an array are also given ``part=(index, count)``.
- It is called again after preemption, node failure and ``jobs retry``: it must go on from what it finds on disk.
- An exception is a failure; nodes that come after it do not run.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Literal

from hpcpdf.errors import ConfigError, DataError
from hpcpdf.stage import write_json

GRAPH = "graph.json"
"""Name of the description inside a folder of jobs; it is written before the first job is submitted."""

Ranks = Literal["mpi", "torch"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Node:
    """One job, or one array of jobs.

    Attributes
    ----------
    name
        Letters, digits, dots, dashes and underscores; unique in its graph.
    function
        ``package.module:function``, see the module.
    arguments
        Keyword arguments of the function: plain JSON data.
    after
        Names of the nodes that must have ended well before.
    array
        Number of equal jobs; None: a single one.
    resources
        Section of the profile that says how much a job gets: nodes, ranks, processors, graphics processors, time.
    ranks
        What connects the processes of a job that has several.
    nodes, tasks, gpus, cpus, minutes
        Instead of what the profile's section says: machines, ranks on all of them together, graphics processors on
        each, processors a rank, time limit in minutes. A function for one process needs ``tasks=1``.
    """

    name: str
    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    array: int | None = None
    resources: str = "default"
    ranks: Ranks = "mpi"
    nodes: int | None = None
    tasks: int | None = None
    gpus: int | None = None
    cpus: int | None = None
    minutes: int | None = None

    @property
    def size(self) -> int:
        """Number of jobs."""
        return 1 if self.array is None else self.array

    def target(self) -> Callable[..., Any]:
        """The function.

        Raises
        ------
        ConfigError
            If it cannot be imported.
        """
        module, _, name = self.function.partition(":")
        try:
            found: Callable[..., Any] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"node {self.name}: cannot import {self.function} ({error})") from None
        return found


@dataclass(frozen=True)
class Graph:
    """Nodes, each after those that it waits for, and how they were submitted.

    Attributes
    ----------
    folder
        Where descriptions, markers, scripts and logs lie; shared by all machines.
    title
        What the jobs are called together, for their names in the queue.
    profile
        Name of the profile that gave the resources.
    code
        What the package was at submission, see :func:`hpcpdf.launch.markers.code_version`.
    """

    folder: Path
    nodes: tuple[Node, ...]
    title: str
    profile: str
    code: Mapping[str, str | None] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Node:
        """Node by name.

        Raises
        ------
        ConfigError
            If there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise ConfigError(f"{self.folder}: has no node {name}; expected one of {', '.join(n.name for n in self.nodes)}")

    def downstream(self, names: Iterable[str]) -> set[str]:
        """`names` and every node that comes after one of them, directly or not."""
        reached = set(names)
        for node in self.nodes:
            if reached.intersection(node.after):
                reached.add(node.name)
        return reached

    def save(self) -> None:
        """Write ``graph.json``."""
        write_json(self.folder / GRAPH, {**asdict(self), "nodes": [asdict(node) for node in self.nodes]})


def ordered(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Nodes in an order in which each follows those it waits for, after checking them.

    Raises
    ------
    ConfigError
        Naming what is wrong: a name, a dependency, a circle, a number, a module that is not installed.
    """
    names = [node.name for node in nodes]
    if not nodes:
        raise ConfigError("a graph of jobs needs at least one node")
    for node in nodes:
        _check(node, names)
    try:
        order = list(TopologicalSorter({node.name: node.after for node in nodes}).static_order())
    except CycleError as error:
        raise ConfigError(f"nodes wait for each other in a circle: {' -> '.join(error.args[1])}") from None
    by_name = {node.name: node for node in nodes}
    return tuple(by_name[name] for name in order)


def _check(node: Node, names: Sequence[str]) -> None:
    if not _NAME.fullmatch(node.name):
        raise ConfigError(f"node name {node.name!r}: expected letters, digits, dots, dashes and underscores")
    if names.count(node.name) > 1:
        raise ConfigError(f"node {node.name}: the name is used twice")
    for earlier in node.after:
        if earlier not in names:
            raise ConfigError(f"node {node.name}: comes after {earlier!r}, which is not one of {', '.join(names)}")
    for name in ("array", "nodes", "tasks", "cpus", "minutes"):
        value = getattr(node, name)
        if value is not None and value < 1:
            raise ConfigError(f"node {node.name}: {name} = {value}, expected at least 1")
    module, _, function = node.function.partition(":")
    if not function:
        raise ConfigError(f"node {node.name}: function {node.function!r}, expected package.module:function")
    try:
        present = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        present = False
    if not present:
        raise ConfigError(f"node {node.name}: module {module} is not installed here")
    try:
        json.dumps(dict(node.arguments))
    except TypeError as error:
        raise ConfigError(f"node {node.name}: arguments must be plain JSON data ({error})") from None


def read_graph(folder: Path) -> Graph:
    """The graph that was submitted with `folder`.

    Raises
    ------
    DataError
        If it is damaged.
    ConfigError
        If there is none.
    """
    path = folder / GRAPH
    try:
        data = json.loads(path.read_text())
        nodes = tuple(Node(**{**node, "after": tuple(node["after"])}) for node in data["nodes"])
        return Graph(folder, nodes, data["title"], data["profile"], data["code"])
    except FileNotFoundError:
        raise ConfigError(f"{folder}: no jobs were submitted from there (it has no {GRAPH})") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path}: damaged; delete {folder} and submit again") from None


def find_jobs(target: Path) -> Path:
    """Folder of the jobs of a run: `target` itself, its ``jobs`` folder, or ``<target>.jobs`` beside a result file.

    Raises
    ------
    ConfigError
        If none of them holds any.
    """
    for folder in (target, target / "jobs", jobs_beside(target)):
        if (folder / GRAPH).is_file():
            return folder.absolute()
    raise ConfigError(f"{target}: no jobs were submitted for it; expected the folder of a run that was sent to Slurm")


def jobs_beside(result: Path) -> Path:
    """Folder of the jobs that make the file `result`."""
    return result.with_name(f"{result.name}.jobs")
