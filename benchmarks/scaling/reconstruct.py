"""How many PDFs a second a warm process turns into structures, and where the time goes.

    python benchmarks/scaling/reconstruct.py --out benchmarks/scaling/reconstruct.json

The fast way (``hpcpdf reconstruct --samples 1``) with the shipped model on `reconstruct_pdfs.write_pdfs`. Rates are
those of processes that have done a block before, reading and writing included; merging is told apart. The split is the
processor time with one block at a time. Every figure is the median over rounds, with its range.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from reconstruct_pdfs import CLUSTERS, LARGEST, write_pdfs
from threadpoolctl import threadpool_limits

from hpcpdf.config import ReconstructSection
from hpcpdf.launch.doctor import available_cpus
from hpcpdf.model import site_cvae
from hpcpdf.model.store import load_model
from hpcpdf.reconstruct import blocks as blockwise
from hpcpdf.reconstruct.batch import Job, blocks_of, file_job, merge_shares, read_results, reconstruct_share
from hpcpdf.reconstruct.likely import Likely
from hpcpdf.stage import Context, provenance, write_json

SECTION = ReconstructSection(n_samples=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=20_480, help="PDFs of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", type=Path, help="default: the one shipped")
    parser.add_argument("--scratch", type=Path, help="folder for PDFs and results")
    parser.add_argument("--out", type=Path, help="JSON file for the result")
    parser.add_argument("--worker", nargs=3, metavar=("PDFS", "RANK", "RANKS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        pdfs, rank, ranks = options.worker
        print(json.dumps(_share(Path(pdfs), options.model, 1, int(rank), int(ranks))))
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        pdfs = write_pdfs(Path(scratch) / "pdfs.h5", options.n)
        result = _measure(pdfs, options.model, options.rounds)
    print(json.dumps(result, indent=2))
    if options.out:
        write_json(options.out, result)


def _measure(pdfs: Path, model: Path | None, rounds: int) -> dict[str, Any]:
    cores = available_cpus()
    ways: dict[str, Callable[[], dict[str, float]]] = {"1 thread": lambda: _share(pdfs, model, 1)}
    if cores > 1:
        ways[f"{cores} threads"] = lambda: _share(pdfs, model, cores)
        ways[f"{cores} processes"] = lambda: _processes(pdfs, model, cores)
    # Ways take turns, so that what else the machine does meets all of them.
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(way())
    job = _job(pdfs, model, 1)
    splits = [_split(job) for _ in range(rounds)]
    return {
        "what": f"{len(job)} PDFs of {CLUSTERS} clusters, up to {LARGEST} atoms, one structure each, model "
        f"{'shipped' if model is None else model.name}",
        "processor": processor(),
        "cores": cores,
        "load_at_the_end": os.getloadavg(),
        "versions": {"torch": torch.__version__, "threads_of_torch": 1},
        "provenance": provenance(),
        "pdfs_per_second": {
            name: {key: spread([one[key] for one in all_]) for key in all_[0]} for name, all_ in found.items()
        },
        "microseconds_per_pdf": {step: spread([one[step] for one in splits]) for step in splits[0]},
        "quality": _quality(pdfs, model),
    }


def _job(pdfs: Path, model: Path | None, threads: int) -> Job:
    return file_job(pdfs, pdfs.with_name("out.h5"), load_model(model), SECTION, n_threads=threads)


def _share(pdfs: Path, model: Path | None, threads: int, rank: int = 0, ranks: int = 1) -> dict[str, float]:
    """Rates of one worker that has done `threads` blocks before."""
    out = pdfs.with_name(f"out-{rank}-{threads}.h5")
    job = _job(pdfs, model, threads)
    warm = blocks_of(job, out)
    for b in warm.share(rank, ranks)[:threads]:
        job.compute(*warm.span(b), lambda: False)
    start, cpu = time.perf_counter(), time.process_time()
    rows = reconstruct_share(job, out, Context(), rank, ranks)
    spent, cpu = time.perf_counter() - start, time.process_time() - cpu
    result = {"wall": rows / spent, "per processor second": rows / cpu}
    if ranks == 1:
        start = time.perf_counter()
        merge_shares(job, out)
        result["merge"] = rows / (time.perf_counter() - start)
        out.unlink()
    return result


def _processes(pdfs: Path, model: Path | None, count: int) -> dict[str, float]:
    """Sum of the rates of processes that work at the same time."""
    command = [sys.executable, __file__, *(["--model", str(model)] if model else []), "--worker", str(pdfs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([*command, str(rank), str(count)], stdout=subprocess.PIPE, env=environment)
        for rank in range(count)
    ]
    found = [json.loads(process.communicate()[0]) for process in running]
    for parts in pdfs.parent.glob("out-*.parts"):
        for path in parts.iterdir():
            path.unlink()
        parts.rmdir()
    return {
        "wall": sum(one["wall"] for one in found),
        "per processor second": float(np.mean([one["per processor second"] for one in found])),
    }


def _split(job: Job) -> dict[str, float]:
    """Processor time of the steps with one block at a time, microseconds a PDF."""
    spent: dict[str, float] = defaultdict(float)

    @contextmanager
    def timer(step: str) -> Iterator[None]:
        start = time.process_time()
        yield
        spent[step] += time.process_time() - start

    def timed(step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            with timer(step):
                return function(*arguments, **more)

        return call

    likely = Likely(job.model, job.source.r, SECTION.r_range, timer)
    blocks = blocks_of(job, job.source.pdfs.path.with_name("split.h5"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    patches = (
        mock.patch.object(job.model, "inputs", timed("features of the network", job.model.inputs)),
        mock.patch.object(site_cvae, "largest_pieces", timed("connected pieces", site_cvae.largest_pieces)),
        mock.patch.object(site_cvae, "site_distances", timed("assigned distances", site_cvae.site_distances)),
    )
    with threadpool_limits(1), patches[0], patches[1], patches[2]:
        likely(job.source.read(0, blocks.size))
        spent.clear()
        begin = time.process_time()
        for b in range(len(blocks)):
            with timer("read"):
                arrays = job.source.read(*blocks.span(b))
            columns = likely(arrays)
            with timer("write, digests and checksums"):
                blocks.write(b, columns)
        total = time.process_time() - begin
        for b in range(len(blocks)):
            with timer("merge: check"):
                blocks.read(b)
    torch.set_num_threads(threads)
    blockwise.shutil.rmtree(blocks.parts)
    inside = ("features of the network", "connected pieces", "assigned distances")
    spent["network"] -= sum(spent[name] for name in inside)
    spent["all but merge"] = total
    return {name: 1e6 * seconds / len(job) for name, seconds in sorted(spent.items(), key=lambda item: -item[1])}


def _quality(pdfs: Path, model: Path | None) -> dict[str, float]:
    """What the structures are worth: medians over the PDFs."""
    out = pdfs.with_name("quality.h5")
    job = _job(pdfs, model, available_cpus())
    reconstruct_share(job, out, Context(), 0, 1)
    merge_shares(job, out)
    found = read_results(out)
    return {
        "done": int((found["status"] == 0).sum()),
        "rw_median": float(np.nanmedian(found["rw"])),
        "pearson_median": float(np.nanmedian(found["pearson"])),
        "atoms_mean": float(found["n_atoms"].mean()),
        "atoms_largest": int(found["n_atoms"].max()),
    }


def spread(values: list[float]) -> dict[str, float]:
    return {"median": float(np.median(values)), "low": min(values), "high": max(values), "rounds": len(values)}


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


if __name__ == "__main__":
    main()
