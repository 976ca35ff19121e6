"""A graph of many stages on many virtual nodes: time to submit it, load of the scheduler, time of `hpcpdf jobs status`.

    python benchmarks/scaling/job_graph.py --out benchmarks/scaling/job_graph.json

Starts a Slurm of its own in a scratch folder (slurm/testcluster: root, and Debian's slurm-wlm and munge). The stages
do nothing, in layers of five; each waits for all of the layer before. So what is measured is the price of the graph.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpcpdf.launch.graph import Graph, Node
from hpcpdf.launch.profiles import load_profile
from hpcpdf.launch.status import survey
from hpcpdf.launch.submit import make_graph, submit
from hpcpdf.stage import Context, provenance, write_json

HERE = Path(__file__).resolve().parent
TESTCLUSTER = HERE.parents[1] / "slurm/testcluster"
WIDTH = 5


def nothing(context: Context) -> None:
    """What a stage does."""


def stages(count: int, ranks: int) -> list[Node]:
    """`count` stages in layers; each job has `ranks` ranks on as many nodes."""
    function = f"{Path(__file__).stem}:nothing"
    names = [f"stage-{number:03d}" for number in range(count)]
    layers = [tuple(names[first : first + WIDTH]) for first in range(0, count, WIDTH)]
    return [
        Node(name, function, after=layers[depth - 1] if depth else (), nodes=ranks, tasks=ranks)
        for depth, layer in enumerate(layers)
        for name in layer
    ]


def measure(folder: Path, count: int, ranks: int, *, rounds: int = 5) -> dict[str, Any]:
    """Run the graph on the Slurm that SLURM_CONF names.

    Parameters
    ----------
    folder
        For scripts, markers and logs.
    count, ranks
        Stages, and ranks of each.
    rounds
        How often the status is timed.

    Returns
    -------
    dict
        Times in seconds, on a busy machine to be read beside those of the processor; of the scheduler in microseconds.
    """
    os.environ["PYTHONPATH"] = str(HERE)
    profile = load_profile("local")
    subprocess.run(["sdiag", "--reset"], check=True, capture_output=True)
    graph = make_graph(stages(count, ranks), folder, profile, title="graph")
    submitting = _timed(lambda: submit(graph, profile, say=lambda line: None))
    begin = time.monotonic()
    command = [sys.executable, "-c", "from hpcpdf.cli.main import main; raise SystemExit(main())", "jobs", "status"]
    asked = [_timed(lambda: survey(graph.folder)) for _ in range(rounds)]
    called = [
        _timed(lambda: subprocess.run([*command, str(folder)], check=True, capture_output=True)) for _ in range(rounds)
    ]
    threads = _until_done(graph)
    end = time.monotonic()
    load = _sdiag()
    return {
        "stages": count,
        "ranks_each": ranks,
        "submit_seconds": submitting[0],
        "submit_seconds_per_stage": submitting[0] / count,
        "submit_cpu_seconds": submitting[1],
        "status_seconds": _spread([wall for wall, _ in asked]),
        "status_command_seconds": _spread([wall for wall, _ in called]),
        "status_command_cpu_seconds": _spread([cpu for _, cpu in called]),
        "graph_seconds": end - begin,
        "scheduler": {"server_threads_most": max(threads), "server_threads_median": statistics.median(threads), **load},
    }


def _until_done(graph: Graph) -> list[int]:
    """Server threads of the controller, seen every second until the graph has ended."""
    threads = []
    while (report := survey(graph.folder)).active:
        text = subprocess.run(["sdiag"], check=True, capture_output=True, text=True).stdout
        threads.append(int(_value(text, "Server thread count")))
        time.sleep(1.0)
    if not report.complete:
        raise SystemExit("\n".join(report.lines()))
    return threads


def _sdiag() -> dict[str, Any]:
    text = subprocess.run(["sdiag"], check=True, capture_output=True, text=True).stdout
    main, _, backfill = text.partition("Backfilling stats")
    calls = {name: (int(number), int(mean)) for name, number, mean in _RPC.findall(text)}
    found: dict[str, Any] = {
        "main_cycles": int(_value(main, "Total cycles")),
        "main_cycle_mean_us": int(_value(main, "Mean cycle")),
        "main_cycle_max_us": int(_value(main, "Max cycle")),
    }
    if int(_value(backfill, "Total cycles")):
        found["backfill_cycles"] = int(_value(backfill, "Total cycles"))
        found["backfill_cycle_mean_us"] = int(_value(backfill, "Mean cycle"))
        found["backfill_cycle_max_us"] = int(_value(backfill, "Max cycle"))
    for name in ("REQUEST_SUBMIT_BATCH_JOB", "REQUEST_JOB_INFO", "REQUEST_JOB_STEP_CREATE"):
        if name in calls:
            found[name.lower()] = {"calls": calls[name][0], "mean_us": calls[name][1]}
    return found


_RPC = re.compile(r"^\s+(\w+)\s+\(\s*\d+\)\s+count:(\d+)\s+ave_time:(\d+)", re.MULTILINE)


def _value(text: str, name: str) -> str:
    found = re.search(rf"^\s*{name}:\s+(\S+)", text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"sdiag says nothing about {name!r}")
    return found[1]


def _timed(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the wall clock, and of processors in this process and those that it started and that have ended."""

    def cpu() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used)

    start, begin = time.perf_counter(), cpu()
    call()
    return time.perf_counter() - start, cpu() - begin


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "rounds": len(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, default=50)
    parser.add_argument("--nodes", type=int, default=16, help="virtual nodes")
    parser.add_argument("--ranks", type=int, default=2, help="ranks of each stage, on as many nodes")
    parser.add_argument("--rounds", type=int, default=10, help="times the status is asked")
    parser.add_argument("--out", type=Path, default=Path("job_graph.json"))
    options = parser.parse_args()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="graph-") as scratch:
        cluster = Path(scratch) / "slurm"
        subprocess.run([TESTCLUSTER, "start", cluster, "--nodes", str(options.nodes), "--gpus", "0"], check=True)
        os.environ["SLURM_CONF"] = str(cluster / "slurm.conf")
        try:
            result = measure(Path(scratch) / "jobs", options.stages, options.ranks, rounds=options.rounds)
        finally:
            subprocess.run([TESTCLUSTER, "stop", cluster], check=True)
    load = [round(before, 1), round(os.getloadavg()[0], 1)]
    stamp = {key: value for key, value in provenance().items() if key not in ("host", "command")}
    write_json(options.out, {"nodes": options.nodes, **result, "load_average_before_after": load, "provenance": stamp})
    print(options.out.read_text(), end="")


if __name__ == "__main__":
    main()
