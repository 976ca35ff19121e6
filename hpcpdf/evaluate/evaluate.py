"""The evaluation stage: reconstructions and the look-up baseline on the same PDFs, in one table."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from hpcpdf.config import RunConfig
from hpcpdf.dataset.reader import Dataset, open_dataset
from hpcpdf.dataset.schema import PARAMS, Arrays
from hpcpdf.errors import DataError
from hpcpdf.evaluate.lookup import LookUp
from hpcpdf.evaluate.metrics import Scores, score
from hpcpdf.evaluate.table import compare
from hpcpdf.pdf.fit import BOUNDS, PdfFitter
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.reconstruct.batch import read_results
from hpcpdf.stage import Context, atomic_path, is_finished, mark_finished, relevant

log = logging.getLogger(__name__)

Array = NDArray[np.float64]

LOOK_UP = "look-up"
"""Name of the baseline in the table: the training cluster whose PDF is most like the one in question."""

_SECTIONS = ("clusters", "pdf", "dataset", "model", "training", "reconstruct")


def run(config: RunConfig, context: Context) -> Path:
    """Score ``<run.out>/reconstruct`` against ``<run.out>/dataset``; leaves ``<run.out>/evaluate``.

    The folder holds the table of methods (``table.txt``, ``.csv``, ``.json``) and the scores of every PDF by every
    method (``scores.csv``). The baseline is fitted to each PDF like the reconstructions: same range, same parameters.
    """
    folder = config.run.out / "evaluate"
    settings = relevant(config, *_SECTIONS)
    if is_finished(folder, settings):
        log.info("%s: already evaluated", folder)
        return folder
    dataset = open_dataset(config.run.out / "dataset" / "dataset.h5")
    results_path = config.run.out / "reconstruct" / "results.h5"
    results = read_results(results_path)
    truth = dataset.take(results["row"], ("pdf", "params", "positions", "n_atoms", "z"))
    if len(truth["n_atoms"]) != len(results["row"]):
        raise DataError(f"{results_path}: its rows are not in {dataset.path}; delete its folder and reconstruct again")
    methods = {
        config.model.kind: score(
            results["g_obs"], results["g_calc"], list(truth["positions"]), list(results["positions"]), rw=results["rw"]
        ),
        LOOK_UP: _look_up(dataset, truth, config.reconstruct.r_range),
    }
    spread = sample_spread(results["rw_samples"])
    table = compare(methods, published=config.clusters.recipe == "paper", title=_title(config, len(truth["z"]), spread))
    table.write(folder)
    _write_scores(folder / "scores.csv", methods, results["row"], truth["n_atoms"])
    mark_finished(folder, settings, spread=spread)
    return folder


def table_text(folder: Path) -> str:
    """The table that `run` left in `folder`, as text.

    Raises
    ------
    DataError
        If it is not there.
    """
    path = folder / "table.txt"
    if not path.is_file():
        raise DataError(f"{path}: no such file; run evaluate first")
    return path.read_text(encoding="utf-8")


def sample_spread(rw: Array) -> dict[str, float]:
    """How much the R_w of the samples of a PDF differ: medians over the PDFs.

    Parameters
    ----------
    rw : (n, K) array
        R_w of every sample; NaN where a sample gave no structure.

    Returns
    -------
    dict
        ``samples`` K, and the ``best``, ``median``, ``worst`` and ``std`` of a PDF's samples, each as the median over
        the PDFs; NaN without any.
    """
    values = np.asarray(rw, dtype=np.float64)
    whole = values[~np.isnan(values).all(axis=1)]
    if not len(whole):
        return {"samples": values.shape[1], **dict.fromkeys(("best", "median", "worst", "std"), float("nan"))}
    return {
        "samples": values.shape[1],
        "best": float(np.median(np.nanmin(whole, axis=1))),
        "median": float(np.median(np.nanmedian(whole, axis=1))),
        "worst": float(np.median(np.nanmax(whole, axis=1))),
        "std": float(np.median(np.nanstd(whole, axis=1))),
    }


def _look_up(dataset: Dataset, truth: Arrays, r_range: tuple[float, float]) -> Scores:
    """Scores of the training cluster with the most similar PDF, fitted with the same limits of zoom."""
    training = dataset.load("train", ("pdf", "positions"))
    match = LookUp(dataset.r, training["pdf"]).find(truth["pdf"], zoom_range=BOUNDS["zoom"])
    found, observed, calculated, rw = [], [], [], []
    for index, row in enumerate(match.index):
        params = dict(zip(PARAMS, truth["params"][index], strict=True))
        element = chemical_symbols[int(truth["z"][index])]
        pdf = MeasuredPdf(
            dataset.r,
            truth["pdf"][index].astype(np.float64),
            qmin=params["qmin"],
            qmax=params["qmax"],
            source=f"{dataset.path.name}, {element} cluster {index}",
        )
        positions = training["positions"][row].astype(np.float64)
        positions = positions[~np.isnan(positions[:, 0])]
        (fit,) = PdfFitter(pdf, r_range).fit([positions])
        found.append(positions * fit.zoom)
        observed.append(fit.g_obs)
        calculated.append(fit.g_calc)
        rw.append(fit.rw)
    return score(np.array(observed), np.array(calculated), list(truth["positions"]), found, rw=np.array(rw))


def _title(config: RunConfig, n: int, spread: Mapping[str, float]) -> str:
    section = config.reconstruct
    low, high = section.r_range
    return (
        f"{n} PDFs of the {section.split} split, {config.dataset.split} protocol; best of {section.n_samples} samples, "
        f"R_w over {low:g}-{high:g} Å after a fit of scale, zoom, Biso, Qdamp and delta2\n"
        f"samples of one PDF before that fit, medians over the PDFs: R_w best {spread['best']:.4f}, "
        f"median {spread['median']:.4f}, worst {spread['worst']:.4f}, standard deviation {spread['std']:.4f}"
    )


def _write_scores(
    path: Path, methods: Mapping[str, Scores], rows: NDArray[np.int64], n_atoms: NDArray[np.int64]
) -> None:
    names = [item.name for item in fields(Scores)]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["method", "row", "n_atoms", *names])
        for method, scores in methods.items():
            columns: Sequence[Array] = [getattr(scores, name) for name in names]
            for index, (row, atoms) in enumerate(zip(rows, n_atoms, strict=True)):
                cells = ["" if np.isnan(column[index]) else f"{column[index]:.8g}" for column in columns]
                writer.writerow([method, int(row), int(atoms), *cells])
