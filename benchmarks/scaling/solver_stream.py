"""A million trilateration problems through the blocks of reconstruction: memory, and rate beside that in memory.

    python benchmarks/scaling/solver_stream.py --out benchmarks/scaling/solver_stream.json

Problems are made on the fly: structures of 5 to 100 atoms, distances with Gaussian noise of 0.05 (unit sphere). Making
them costs more than solving them; it is timed apart and taken out of the rate, which is that of a processor second. One
run is left alone; another is killed at random, started again, and has to leave the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reconstruct import processor, spread
from reconstruct_pdfs import LARGEST, bank

from hpcpdf.dataset.schema import Arrays
from hpcpdf.launch.doctor import available_cpus
from hpcpdf.model.distances import DistanceBatch
from hpcpdf.reconstruct.blocks import Blocks, compute, merge
from hpcpdf.reconstruct.place import place
from hpcpdf.solver.satellites import satellites
from hpcpdf.stage import Context, provenance, write_json

NOISE = 0.05
LENGTH = 30.0  # Å per unit
PASS = 4096
"""Problems made and solved together."""
ANCHORS = satellites()


@dataclass
class Problems:
    """Work for blocks: problems that follow from their number alone.

    `making` adds up the processor time in which threads make problems and let go of them, `peaks` the memory after each
    block.
    """

    n: int
    smallest_block: int = 4096
    settings: str = f"noise {NOISE}, seed 0"
    constants: Arrays = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=lambda: {"source": "generated", "mode": "solver"})
    making: float = 0.0
    peaks: list[tuple[int, float]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return self.n

    @cached_property
    def known(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Exact distances of the structures."""
        found = []
        for positions in bank():
            x = positions / LENGTH
            between = np.linalg.norm(x[:, None] - x, axis=-1)
            outward = np.linalg.norm(x[:, None] - ANCHORS, axis=-1)
            found.append((between.astype(np.float32), outward.astype(np.float32)))
        return found

    def make(self, first: int, last: int) -> DistanceBatch:
        rng = np.random.default_rng([0, first])
        chosen = [self.known[k] for k in rng.integers(0, len(self.known), last - first)]
        noise = NOISE * rng.standard_normal(sum(d.size + a.size for d, a in chosen), dtype=np.float32)
        between, outward, at = [], [], 0
        for d, a in chosen:
            between.append(d + noise[at : at + d.size].reshape(d.shape))
            at += d.size
            outward.append(a + noise[at : at + a.size].reshape(a.shape))
            at += a.size
        counts = np.array([len(d) for d in between], dtype=np.int64)
        return DistanceBatch(between, outward, counts, np.full(len(counts), LENGTH), [""] * len(counts))

    def rows(self, first: int, last: int) -> NDArray[np.int64]:
        return np.arange(first, last)

    def identity(self, first: int, last: int) -> str:
        return f"{self.settings}: {first} to {last - 1}"

    def compute(self, first: int, last: int, halted: Callable[[], bool]) -> Arrays:
        parts = [self._pass(k, min(k + PASS, last)) for k in range(first, last, PASS)]
        with self.lock:
            self.peaks.append((last, _peak()))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _pass(self, first: int, last: int) -> Arrays:
        start = time.thread_time()
        batch = self.make(first, last)
        made = time.thread_time() - start
        placed = place(batch, ANCHORS)
        start = time.thread_time()
        del batch
        made += time.thread_time() - start
        with self.lock:
            self.making += made
        return {
            "row": self.rows(first, last),
            "n_atoms": np.where(placed.found, placed.n_atoms, 0).astype(np.int16),
            "status": (~placed.found).astype(np.int8),
            "positions": placed.atoms(),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000_000, help="problems of the stream")
    parser.add_argument("--in-memory", type=int, default=16_384, help="problems that are held in memory at once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--scratch", type=Path, help="folder for the results, 2.5 kB a problem")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(stream(options.n, options.run)))
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        result = measure(options, Path(scratch))
    print(json.dumps(result, indent=2))
    if options.out:
        write_json(options.out, result)


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    paired = pairs(options.in_memory, options.rounds, scratch)
    through = _finish(_start(options.n, scratch / "whole.h5"))
    kills = 0
    rng = random.Random(0)
    for _ in range(options.kills):
        process = _start(options.n, scratch / "killed.h5")
        time.sleep(10.0 + rng.uniform(0.0, 0.5) * through["seconds"] / options.kills)
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    _finish(_start(options.n, scratch / "killed.h5"))
    return {
        "what": f"{options.n} problems of 5 to {LARGEST} atoms, noise {NOISE}, float32",
        "processor": processor(),
        "threads": available_cpus(),
        "load_at_the_end": os.getloadavg(),
        "provenance": provenance(),
        "pairs": paired,
        "stream": through,
        "killed": {"times": kills, "same_bytes": _same(scratch / "whole.h5", scratch / "killed.h5")},
    }


def pairs(n: int, rounds: int, scratch: Path) -> dict[str, Any]:
    """Rates of the same problems in memory and through blocks, measured in turns."""
    memory, streamed = [], []
    for _ in range(rounds + 1):
        memory.append(in_memory(n))
        streamed.append(stream(n, scratch / "pair.h5")["per_processor_second"])
        (scratch / "pair.h5").unlink()
    ratios = [one / other for one, other in zip(streamed, memory, strict=True)]
    # The first round warms up.
    return {
        "problems": n,
        "in_memory_per_processor_second": spread(memory[1:]),
        "stream_per_processor_second": spread(streamed[1:]),
        "stream_over_memory": spread(ratios[1:]),
    }


def in_memory(n: int) -> float:
    """Problems a processor second solves when all are there and nothing is written."""
    batch = Problems(n).make(0, n)
    start = time.process_time()
    place(batch, ANCHORS, n_threads=available_cpus())
    return n / (time.process_time() - start)


def stream(n: int, out: Path) -> dict[str, Any]:
    """The whole way: make, solve, write blocks, merge."""
    work = Problems(n)
    blocks = Blocks(work, out.with_suffix(".parts"))
    _ = work.known
    start, cpu = time.perf_counter(), time.process_time()
    done = compute(blocks, range(len(blocks)), Context(), n_threads=available_cpus())
    computed, cpu = time.perf_counter(), time.process_time() - cpu
    merge(blocks, out)
    merged = time.perf_counter()
    marks = sorted(work.peaks)
    return {
        "computed": done,
        "seconds": merged - start,
        "seconds_merge": merged - computed,
        "per_second_with_making": done / (computed - start),
        "per_processor_second": done / (cpu - work.making) if done else 0.0,
        "processor_microseconds": {
            "make": 1e6 * work.making / max(done, 1),
            "solve, check and write": 1e6 * (cpu - work.making) / max(done, 1),
        },
        "peak_mb": {
            **{f"at {percent} %": marks[(len(marks) - 1) * percent // 100][1] for percent in (5, 25, 50, 100) if marks},
            "after merging": _peak(),
        },
    }


def _start(n: int, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--n", str(n), "--run", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    said = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"the stream ended with status {process.returncode}")
    found: dict[str, Any] = json.loads(said)
    return found


def _peak() -> float:
    """Largest memory of this process so far, MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _same(one: Path, other: Path) -> bool:
    with one.open("rb") as a, other.open("rb") as b:
        return all(x == b.read(len(x)) for x in iter(lambda: a.read(1 << 24), b"")) and not b.read(1)


if __name__ == "__main__":
    main()
