"""Many PDFs → structures: blocks of rows, each finished file by file, on any number of ranks.

``results.h5`` holds a row for each PDF:

=================  ================  =========================================================================
row                (n,)              row of the source file
rw, pearson        (n,)              agreement of the best structure after the fit
scale, zoom        (n,)              fitted; lengths are multiplied by zoom
biso, qdamp        (n,)              fitted, Å^2 and 1/Å
n_atoms            (n,)              atoms of the best structure
positions          (n, N, 3) float   the best structure, zoom applied, Å, padded with NaN
g_obs, g_calc      (n, R)            on ``r`` (R,), Å and Å^-2
rw_samples         (n, K)            R_w of every sample over a scan of zoom, Biso, Qdamp
n_atoms_samples    (n, K)            atoms of every sample
family             (n,) bytes        template of the best structure, empty where the model does not tell
=================  ================  =========================================================================
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase.data import chemical_symbols
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from hpcpdf.clusters.elements import metallic_radius
from hpcpdf.config import ReconstructSection, RunConfig
from hpcpdf.dataset.reader import open_dataset, read_pdfs
from hpcpdf.dataset.schema import PARAMS, Arrays
from hpcpdf.errors import ConfigError, DataError, LaunchError
from hpcpdf.model.base import ConditionalModel
from hpcpdf.model.features import PdfBatch, to_network_grid
from hpcpdf.model.store import load_model
from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.reconstruct.propose import propose
from hpcpdf.reconstruct.rank import Ranker
from hpcpdf.stage import Context, atomic_path, is_finished, mark_finished, relevant, stop_on_signals

log = logging.getLogger(__name__)

FORMAT = "hpcpdf-reconstruction"
FORMAT_VERSION = 1
BLOCK = 32
"""PDFs in a block; each block is a file of its own until all are merged."""

_FITTED = 4  # best structures of the scan that are fitted
_UNITS = {
    "positions": "angstrom",
    "r": "angstrom",
    "g_obs": "angstrom^-2",
    "g_calc": "angstrom^-2",
    "biso": "angstrom^2",
    "qdamp": "angstrom^-1",
}


@dataclass(frozen=True, eq=False)
class Job:
    """What is reconstructed, and how.

    Attributes
    ----------
    r : (R,)
        Grid, Å.
    arrays : dict
        ``row`` (n,), ``pdf`` (n, R), ``z`` (n,), ``params`` (n, 7) as in a data set.
    """

    r: NDArray[np.float64]
    arrays: Arrays
    model: ConditionalModel
    section: ReconstructSection
    seed: int
    n_threads: int | None = None

    def __len__(self) -> int:
        return len(self.arrays["row"])

    @cached_property
    def digest(self) -> str:
        """Names everything that decides the results, so that blocks of another job are never taken for this one's."""
        model = self.model
        settings = [
            self.section.model_dump(mode="json"),
            self.seed,
            model.section.model_dump(mode="json"),
            model.length,
        ]
        state = hashlib.blake2b(json.dumps(settings).encode(), digest_size=16)
        tensors = {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
        for name, values in {"r": self.r, **self.arrays, **tensors}.items():
            state.update(f"{name} {values.dtype} {values.shape}".encode())
            state.update(np.ascontiguousarray(values).tobytes())
        return state.hexdigest()


def run(config: RunConfig, context: Context) -> Path:
    """Reconstruct a split of ``<run.out>/dataset`` with ``<run.out>/model``; leaves ``<run.out>/reconstruct``."""
    folder = config.run.out / "reconstruct"
    settings = relevant(config, "clusters", "pdf", "dataset", "model", "training", "reconstruct")
    if is_finished(folder, settings):
        log.info("%s: already reconstructed", folder)
        return folder
    section = config.reconstruct
    dataset = open_dataset(config.run.out / "dataset" / "dataset.h5")
    rows = dataset.rows(section.split)[: section.limit]
    if not len(rows):
        raise DataError(f"{dataset.path}: the {section.split} split is empty; raise clusters.n")
    arrays = dataset.take(rows, ("pdf", "z", "params"))
    job = Job(dataset.r, {**arrays, "row": rows}, load_model(config.run.out / "model"), section, config.run.seed)
    with stop_on_signals(context), context.together():
        summary = reconstruct(job, folder / "results.h5", context, source=str(dataset.path.name))
        if context.rank == 0:
            mark_finished(folder, settings, summary=summary)
    return folder


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
) -> Path:
    """Reconstruct every PDF of an HDF5 file (``pdf``, ``r``; maybe ``z`` and ``params``) into the file `out`.

    Raises
    ------
    ConfigError
        If the file does not say the element, or the limits of the transform, and neither do the arguments.
    """
    pdfs = read_pdfs(path)
    if out.exists() and out.samefile(path):
        raise ConfigError(f"--out {out}: is the input file")
    arrays = pdfs.read()
    n = len(pdfs)
    if n == 0:
        raise DataError(f"{path}: holds no PDFs")
    if element is not None:
        metallic_radius(element)
        arrays["z"] = np.full(n, chemical_symbols.index(element))
    if "z" not in arrays:
        raise ConfigError(f"{path}: has no dataset z (atomic numbers); name the element, for example --element Pt")
    if qmin is not None and qmax is not None:
        arrays["params"] = np.tile([qmin, qmax, *[0.0] * (len(PARAMS) - 2)], (n, 1))
    if "params" not in arrays:
        raise ConfigError(f"{path}: has no dataset params; give --qmin and --qmax")
    job = Job(pdfs.r, {**arrays, "row": np.arange(n)}, model, section, seed)
    with stop_on_signals(context), context.together():
        reconstruct(job, out, context, source=path.name)
    return out


def reconstruct(job: Job, out: Path, context: Context, *, source: str) -> dict[str, Any]:
    """Reconstruct every PDF of a job into the file `out`, going on where an earlier call stopped.

    Block b belongs to rank ``b % world``. Rank 0 merges them when every block is there.

    Raises
    ------
    LaunchError
        When a signal asked to stop.
    """
    if _is_block(out, job.digest):
        log.info("%s: already reconstructed", out)
        return {"pdfs": len(job), "samples": job.section.n_samples, "seconds": 0.0}
    # Ranks and trilateration use the cores; a pool of threads for every small product would only be in their way.
    with threadpool_limits(1):
        return _reconstruct(job, out, context, source)


def _reconstruct(job: Job, out: Path, context: Context, source: str) -> dict[str, Any]:
    parts = out.with_suffix(".parts")
    blocks = [slice(k, min(k + BLOCK, len(job))) for k in range(0, len(job), BLOCK)]
    start, done = time.monotonic(), 0
    mine = [
        b for b in range(context.rank, len(blocks), context.world) if not _is_block(parts / f"{b:06d}.h5", job.digest)
    ]
    for count, b in enumerate(mine):
        results = []
        for index in range(blocks[b].start, blocks[b].stop):
            if context.stop:
                raise LaunchError(f"{out}: stopped by a signal; run the same command again to go on")
            if context.stopping():
                return {}
            results.append(_one(job, index))
            done += 1
        with atomic_path(parts / f"{b:06d}.h5") as temporary:
            _write(temporary, _stack(results), job.r[_fitted_range(job)], source, job.digest)
        rate = done / (time.monotonic() - start)
        left = sum(blocks[k].stop - blocks[k].start for k in mine[count + 1 :]) / rate
        log.info("reconstruct: %d of %d blocks, %.1f PDFs/s a rank, %.0f s left", count + 1, len(mine), rate, left)
    context.gather(None)
    if context.rank == 0:
        _merge(parts, len(blocks), out, job, source)
    return {"pdfs": len(job), "samples": job.section.n_samples, "seconds": time.monotonic() - start}


def _one(job: Job, index: int) -> Arrays:
    """Best structure for one PDF."""
    a, section = job.arrays, job.section
    params = dict(zip(PARAMS, a["params"][index], strict=True))
    element = chemical_symbols[int(a["z"][index])]
    pdf = a["pdf"][index].astype(np.float64)
    measured = MeasuredPdf(job.r, pdf, qmin=params["qmin"], qmax=params["qmax"], source=f"PDF {a['row'][index]}")
    batch = PdfBatch(
        to_network_grid(job.r, pdf)[None],
        np.array([params["qmin"]]),
        np.array([params["qmax"]]),
        np.array([2.0 * metallic_radius(element)]),
    )
    seed = int(np.random.SeedSequence(job.seed, spawn_key=(int(a["row"][index]),)).generate_state(1)[0])
    proposals = propose(job.model, batch, section.n_samples, seed, job.n_threads)
    ranker = Ranker(job.r, pdf, params["qmin"], params["qmax"], section.r_range, n_threads=job.n_threads)
    ranking = ranker.rank(proposals.positions)
    best = ranking.order()[:_FITTED]
    fits = PdfFitter(measured, section.r_range).fit([proposals.positions[k] for k in best])
    top = int(np.argmin([fit.rw for fit in fits]))
    chosen, fit = int(best[top]), fits[top]
    positions = proposals.positions[chosen] * fit.zoom
    counts = np.array([len(x) for x in proposals.positions])
    columns: dict[str, ArrayLike] = {
        "row": np.int64(a["row"][index]),
        "rw": np.float64(fit.rw),
        "pearson": np.float64(fit.pearson),
        "scale": np.float64(fit.scale),
        "zoom": np.float64(fit.zoom),
        "biso": np.float64(fit.biso),
        "qdamp": np.float64(fit.qdamp),
        "n_atoms": np.int16(len(positions)),
        "positions": positions.astype(np.float32),
        "g_obs": fit.g_obs,
        "g_calc": fit.g_calc,
        "rw_samples": _padded(ranking.rw[proposals.index], section.n_samples),
        "n_atoms_samples": _padded(counts[proposals.index], section.n_samples, 0).astype(np.int16),
        "family": np.bytes_(proposals.families[chosen]),
    }
    return {name: np.asarray(value) for name, value in columns.items()}


def _padded(values: NDArray[Any], n: int, fill: float = np.nan) -> NDArray[Any]:
    return np.concatenate([values, np.full(n - len(values), fill, dtype=values.dtype)])


def _fitted_range(job: Job) -> NDArray[np.bool_]:
    low, high = job.section.r_range
    return np.asarray((job.r >= low - 1e-9) & (job.r <= high + 1e-9))


def _stack(results: list[Arrays]) -> Arrays:
    """One array a column; positions are padded to the largest structure."""
    largest = max(int(item["n_atoms"]) for item in results)
    for item in results:
        item["positions"] = np.pad(
            item["positions"], ((0, largest - len(item["positions"])), (0, 0)), constant_values=np.nan
        )
    columns = {name: np.stack([item[name] for item in results]) for name in results[0]}
    columns["family"] = columns["family"].astype("S16")
    return columns


def _write(path: Path, columns: Arrays, r: NDArray[np.float64], source: str, digest: str) -> None:
    with h5py.File(path, "w") as file:
        file.attrs.update({"format": FORMAT, "format_version": FORMAT_VERSION, "source": source, "job": digest})
        for name, values in {**columns, "r": r}.items():
            file.create_dataset(name, data=values).attrs["units"] = _UNITS.get(name, "1")


def _merge(parts: Path, n_blocks: int, out: Path, job: Job, source: str) -> None:
    pieces = [read_results(parts / f"{b:06d}.h5") for b in range(n_blocks)]
    largest = max(piece["positions"].shape[1] for piece in pieces)
    for piece in pieces:
        gap = largest - piece["positions"].shape[1]
        piece["positions"] = np.pad(piece["positions"], ((0, 0), (0, gap), (0, 0)), constant_values=np.nan)
    merged = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0] if name != "r"}
    with atomic_path(out) as temporary:
        _write(temporary, merged, pieces[0]["r"], source, job.digest)
    shutil.rmtree(parts)


def _is_block(path: Path, digest: str) -> bool:
    try:
        with h5py.File(path, "r", locking=False) as file:
            return bool(file.attrs.get("job") == digest)
    except OSError:
        return False


def read_results(path: str | Path) -> Arrays:
    """All columns of a file of reconstructions.

    Raises
    ------
    DataError
        If it is missing, damaged, or another kind of file.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; run reconstruct first")
    try:
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs.get("format") != FORMAT:
                raise DataError(f"{path}: not a file of reconstructions")
            if file.attrs["format_version"] != FORMAT_VERSION:
                raise DataError(f"{path}: format version {file.attrs['format_version']}, expected {FORMAT_VERSION}")
            return {name: file[name][()] for name in file}
    except (OSError, KeyError) as error:
        raise DataError(f"{path}: damaged: {error}") from None
