"""Many PDFs → structures, by any number of threads, ranks and array tasks, in memory that does not grow with them.

With more samples than one, a PDF gets the careful treatment (`hpcpdf.reconstruct.ranked`): samples, ranking, fits. With
one it gets the structure at the mean of the prior and a quick comparison (`hpcpdf.reconstruct.likely`), thousands of
PDFs a second. Blocks, restarts and the merge are those of `hpcpdf.reconstruct.blocks`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import hpcpdf
from hpcpdf.config import ReconstructSection, RunConfig
from hpcpdf.dataset.reader import open_dataset
from hpcpdf.dataset.schema import Arrays
from hpcpdf.errors import ConfigError, DataError
from hpcpdf.model.base import ConditionalModel
from hpcpdf.model.store import load_model
from hpcpdf.pdf.simulate import thread_count
from hpcpdf.reconstruct import blocks as blockwise
from hpcpdf.reconstruct.blocks import Blocks
from hpcpdf.reconstruct.likely import PASS, Likely
from hpcpdf.reconstruct.ranked import Ranked, stack
from hpcpdf.reconstruct.results import (
    FORMAT,
    FORMAT_VERSION,
    RowStatus,
    count_status,
    describe_status,
    read_results,
)
from hpcpdf.reconstruct.sources import Screen, Source, SplitSource, file_source
from hpcpdf.stage import Context, is_finished, mark_finished, relevant, stop_on_signals

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "Job",
    "RowStatus",
    "blocks_of",
    "file_job",
    "merge_shares",
    "read_results",
    "reconstruct",
    "reconstruct_file",
    "reconstruct_share",
    "run",
    "run_share",
]

log = logging.getLogger(__name__)

RANKED_BLOCK = 32
"""PDFs in a block of the careful way."""
LIKELY_BLOCK = 2 * PASS
"""PDFs in a block of the fast way."""


@dataclass(frozen=True, eq=False)
class Job:
    """What is reconstructed, and how: the work that blocks are made of.

    Attributes
    ----------
    source
        The PDFs.
    model, section, seed
        As in a configuration; of `section` only `n_samples` and `r_range` count.
    fast
        Whether every PDF gets the structure at the mean of the prior alone.
    n_threads
        Threads: blocks at a time in the fast way, else of the kernels.
    """

    source: Source
    model: ConditionalModel
    section: ReconstructSection
    seed: int
    fast: bool = False
    n_threads: int | None = None

    def __post_init__(self) -> None:
        # Refuses a range without data before any work is done.
        Screen(self.source.r, self.section.r_range)

    def __len__(self) -> int:
        return len(self.source)

    @property
    def smallest_block(self) -> int:
        return LIKELY_BLOCK if self.fast else RANKED_BLOCK

    @property
    def constants(self) -> Arrays:
        return {} if self.fast else {"r": self.source.r[self._ranked.compared]}

    @property
    def attributes(self) -> dict[str, Any]:
        return {"source": self.source.name, "mode": "likely" if self.fast else "ranked"}

    @cached_property
    def settings(self) -> str:
        section = {"n_samples": self.section.n_samples, "r_range": self.section.r_range}
        described = [
            hpcpdf.__version__,
            FORMAT_VERSION,
            self.fast,
            len(self),
            self.smallest_block,
            section,
            self.seed,
            self.model.section.model_dump(mode="json"),
            self.model.length,
        ]
        state = hashlib.blake2b(json.dumps(described).encode(), digest_size=16)
        tensors = {name: tensor.cpu().numpy() for name, tensor in self.model.state_dict().items()}
        for name, values in {"r": self.source.r, **tensors}.items():
            _add(state, name, values)
        return state.hexdigest()

    def rows(self, first: int, last: int) -> NDArray[np.integer[Any]]:
        return self.source.rows(first, last)

    def identity(self, first: int, last: int) -> str:
        state = hashlib.blake2b(digest_size=16)
        for name, values in sorted(self.source.read(first, last).items()):
            _add(state, name, values)
        return state.hexdigest()

    def compute(self, first: int, last: int, halted: Callable[[], bool]) -> Arrays | None:
        arrays = self.source.read(first, last)
        if self.fast:
            return self._likely(arrays)
        results = []
        for k in range(last - first):
            if halted():
                return None
            results.append(self._ranked.one({name: values[k : k + 1] for name, values in arrays.items()}))
        return stack(results)

    @cached_property
    def _likely(self) -> Likely:
        return Likely(self.model, self.source.r, self.section.r_range)

    @cached_property
    def _ranked(self) -> Ranked:
        return Ranked(self.model, self.source.r, self.section, self.seed, self.n_threads)

    def blocks_at_a_time(self, context: Context) -> int:
        """Threads that work on blocks: all cores for a single process, one for a rank that was not told."""
        if not self.fast:
            return 1
        if self.n_threads is None and context.world > 1 and not os.environ.get("OMP_NUM_THREADS"):
            return 1
        return thread_count(self.n_threads)


def _add(state: Any, name: str, values: NDArray[Any]) -> None:
    state.update(f"{name} {values.dtype} {values.shape}".encode())
    state.update(np.ascontiguousarray(values).view(np.uint8).data if values.size else b"")


def run(config: RunConfig, context: Context) -> Path:
    """Reconstruct a split of ``<run.out>/dataset`` with ``<run.out>/model``; leaves ``<run.out>/reconstruct``.

    Always the careful way: what comes after it needs fits. Blocks that `run_share` has finished are taken as they are.
    """
    folder, settings = _stage(config)
    if is_finished(folder, settings):
        log.info("%s: already reconstructed", folder)
        return folder
    job = _stage_job(config)
    with stop_on_signals(context), context.together():
        summary = reconstruct(job, folder / "results.h5", context)
        if context.rank == 0:
            mark_finished(folder, settings, summary=summary)
    return folder


def run_share(config: RunConfig, context: Context, worker: int, workers: int) -> int:
    """The part of `run` that is one of several workers'; returns the PDFs reconstructed. `run` ends the stage."""
    folder, settings = _stage(config)
    if is_finished(folder, settings):
        return 0
    with stop_on_signals(context):
        return reconstruct_share(_stage_job(config), folder / "results.h5", context, worker, workers)


def _stage(config: RunConfig) -> tuple[Path, dict[str, Any]]:
    sections = ("clusters", "pdf", "dataset", "model", "training", "reconstruct")
    return config.run.out / "reconstruct", relevant(config, *sections)


def _stage_job(config: RunConfig) -> Job:
    section = config.reconstruct
    dataset = open_dataset(config.run.out / "dataset" / "dataset.h5")
    rows = dataset.rows(section.split)[: section.limit]
    if not len(rows):
        raise DataError(f"{dataset.path}: the {section.split} split is empty; raise clusters.n")
    return Job(SplitSource(dataset, rows), load_model(config.run.out / "model"), section, config.run.seed)


def reconstruct_file(
    path: Path,
    out: Path,
    model: ConditionalModel,
    section: ReconstructSection,
    context: Context,
    *,
    element: str | None = None,
    qmin: float | None = None,
    qmax: float | None = None,
    seed: int = 0,
    n_threads: int | None = None,
) -> Path:
    """Reconstruct every PDF of an HDF5 file into the file `out`; with one sample, the fast way.

    Parameters
    ----------
    path
        HDF5 file with ``pdf`` and ``r``, maybe ``z`` and ``params``.
    out
        File for the results.
    model, section, seed, n_threads
        As in `Job`.
    context
        Where this process runs.
    element, qmin, qmax
        Symbol and limits of the transform (1/Å) for files that do not say them.

    Raises
    ------
    ConfigError
        If the file does not say the element, or the limits of the transform, and neither do the arguments.
    """
    job = file_job(path, out, model, section, element=element, qmin=qmin, qmax=qmax, seed=seed, n_threads=n_threads)
    with stop_on_signals(context), context.together():
        reconstruct(job, out, context)
    return out


def file_job(
    path: Path,
    out: Path,
    model: ConditionalModel,
    section: ReconstructSection,
    *,
    element: str | None = None,
    qmin: float | None = None,
    qmax: float | None = None,
    seed: int = 0,
    n_threads: int | None = None,
) -> Job:
    """The job of `reconstruct_file`, which documents the arguments."""
    source = file_source(path, element=element, qmin=qmin, qmax=qmax)
    if out.exists() and out.samefile(source.pdfs.path):
        raise ConfigError(f"--out {out}: is the input file")
    return Job(source, model, section, seed, fast=section.n_samples == 1, n_threads=n_threads)


def reconstruct(job: Job, out: Path, context: Context) -> dict[str, Any]:
    """Reconstruct every PDF of a job into the file `out`, going on where an earlier call stopped.

    Block b belongs to rank ``b % world``. Rank 0 merges them when every block is there.

    Returns
    -------
    dict
        ``pdfs``, ``samples``, ``seconds``, and on rank 0 ``passed_over``: how many for which reason.

    Raises
    ------
    LaunchError
        When a signal asked to stop.
    """
    start = time.monotonic()
    reconstruct_share(job, out, context, context.rank, context.world)
    context.gather(None)
    summary: dict[str, Any] = {"pdfs": len(job), "samples": job.section.n_samples}
    if context.rank == 0:
        summary["passed_over"] = merge_shares(job, out)
    return {**summary, "seconds": time.monotonic() - start}


def reconstruct_share(job: Job, out: Path, context: Context, worker: int, workers: int) -> int:
    """Compute the blocks of one of several workers (ranks, or ranks of array tasks); returns the rows computed.

    Blocks lie beside `out` until `merge_shares` joins them. Those that any earlier worker has finished are kept.
    """
    blocks = blocks_of(job, out)
    if blockwise.is_merged(blocks, out):
        log.info("%s: already reconstructed", out)
        return 0
    with _one_thread_each():
        mine = blocks.share(worker, workers)
        return blockwise.compute(blocks, mine, context, n_threads=job.blocks_at_a_time(context))


def merge_shares(job: Job, out: Path) -> dict[str, int]:
    """Join the blocks of all workers into `out`, after making sure that every PDF is there once.

    Returns
    -------
    dict
        Number of PDFs that were passed over, by reason.

    Raises
    ------
    DataError
        If blocks are missing or damaged.
    """
    blocks = blocks_of(job, out)
    if not blockwise.is_merged(blocks, out):
        blockwise.merge(blocks, out)
    shutil.rmtree(blocks.parts, ignore_errors=True)
    with h5py.File(out, "r", locking=False) as file:
        passed_over = count_status(file["status"][()])
    if passed_over:
        log.warning("%s: %s", out, describe_status(passed_over, len(job)))
    return passed_over


def blocks_of(job: Job, out: Path) -> Blocks:
    """The blocks that become `out`; they lie in a folder beside it."""
    return Blocks(job, out.with_suffix(".parts"))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Blocks and ranks use the cores; a pool of threads for every small product would only be in their way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
