"""What each part of the search is worth: exact answers with one part changed at a time.

    OMP_NUM_THREADS=1 python benchmarks/quality/structures/ablation.py --seed 11 --out ablation.json

Metric, moves, temperatures, starts, and the network's proposals, on sets of the seeds that the search was tuned on. One
process and one thread; the budget of moves is that of ``normal``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cases import Case, make_cases
from judge import judge
from run import wilson
from threadpoolctl import threadpool_limits

import hpcpdf
from hpcpdf.lattice import search
from hpcpdf.launch.bench import machine_facts
from hpcpdf.model.store import load_model
from hpcpdf.stage import provenance, write_json

SETS = {"fcc-asymmetric": 40, "fcc-rough": 24, "seven-families": 28}
"""Sets, and how many cases of each."""

NETWORK = "network"

PARTS: dict[str, Mapping[str, Any]] = {
    "as it is": {},
    "metric: not weighted by r": {"FAR_SHELLS": 0.0},
    "metric: weighted by r^2": {"FAR_SHELLS": 2.0},
    "moves: no polishing": {"POLISHED": 0},
    "moves: facets alone, then polishing": {"MIXED": search.FACETS},
    "moves: facets alone": {"MIXED": search.FACETS, "POLISHED": 0},
    "temperatures: one, 8": {"POWERS": (8.0,), "MIXED_POWERS": (14.0,), "WALKS": 12},
    "temperatures: one, 13": {"POWERS": (13.0,), "MIXED_POWERS": (14.0,), "WALKS": 12},
    "temperatures: five, 3 to 20": {"POWERS": (3.0, 5.0, 8.0, 13.0, 20.0), "WALKS": 2},
    "starts: the best of 150 shapes": {"SHAPES": 150},
    "starts: the best of 15000 shapes": {"SHAPES": 15000},
    "starts: 1000 structures of the network as well": {NETWORK: True},
}
"""Constants of `hpcpdf.lattice.search` that differ, by what that means."""


@contextmanager
def changed(part: Mapping[str, Any]) -> Iterator[None]:
    """The search with some constants changed."""
    before = {name: getattr(search, name) for name in part if name != NETWORK}
    try:
        for name in before:
            setattr(search, name, part[name])
        yield
    finally:
        for name, value in before.items():
            setattr(search, name, value)


def row_of(name: str, cases: list[Case], part: Mapping[str, Any]) -> dict[str, Any]:
    """How many of the cases are exact, and how long they take."""
    exact, seconds = 0, []
    # Loaded once a process.
    model = load_model() if NETWORK in part else None
    with changed(part), threadpool_limits(1):
        for case in cases:
            begin = time.process_time()
            found = hpcpdf.solve(
                case.pdf, element=case.element, model=model, refine=False, r_range=case.r_range, n_threads=1
            )
            seconds.append(time.process_time() - begin)
            exact += judge(case, found, seconds[-1]).rank == 1
    low, high = wilson(exact, len(cases))
    return {
        "set": name,
        "exact": exact,
        "count": len(cases),
        "interval": [low, high],
        "mean_cpu_s": statistics.mean(seconds),
        "median_cpu_s": statistics.median(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    sets = {name: list(make_cases(name, options.seed, count)) for name, count in SETS.items()}
    print("| search | " + " | ".join(sets) + " |\n|---|" + "---|" * len(sets))
    rows = []
    for what, part in PARTS.items():
        found = [row_of(name, cases, part) for name, cases in sets.items()]
        print(
            f"| {what} | "
            + " | ".join(f"{row['exact']}/{row['count']}, {row['mean_cpu_s']:.2f} s" for row in found)
            + " |",
            flush=True,
        )
        rows.append({"part": what, "sets": found})
    if options.out:
        facts = {"machine": machine_facts(1), "provenance": provenance()}
        write_json(options.out, {"seed": options.seed, "rows": rows, **facts})


if __name__ == "__main__":
    main()
