"""What the stages of a run left behind, read for its report."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from hpcpdf.dataset.reader import Dataset
from hpcpdf.errors import DataError
from hpcpdf.reconstruct.batch import read_results
from hpcpdf.stage import DONE

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """The course of a training.

    Attributes
    ----------
    train, validation
        Loss by epoch.
    best_epoch
        The epoch that was kept, counted from 1.
    parameters
        Trainable numbers of the model.
    seconds
        Time spent on training.
    """

    train: Sequence[float]
    validation: Sequence[float]
    best_epoch: int
    parameters: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Reconstructions:
    """Structures found for n PDFs of a data set.

    Attributes
    ----------
    rw : (n,)
        R_w of the best candidate of each.
    rw_samples : (n, K)
        R_w of every sample; NaN where a sample was lost.
    atoms, atoms_true : (n,)
        Atoms of the best candidate, and the true number.
    """

    rw: Floats
    rw_samples: Floats
    atoms: NDArray[np.int64]
    atoms_true: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Example:
    """One reconstruction beside the truth.

    Attributes
    ----------
    symbol
        Element.
    true, found : (n, 3)
        Structures, Å; not aligned with one another.
    family_true, family
        Their structure families.
    rw
        Of the fit.
    full_r, full_g : (R,)
        The given PDF, Å and Å⁻².
    r, g_obs, g_calc
        The fitted range.
    """

    symbol: str
    true: Floats
    found: Floats
    family_true: str
    family: str
    rw: float
    full_r: Floats
    full_g: Floats
    r: Floats
    g_obs: Floats
    g_calc: Floats


def read_marker(folder: Path, stage: str) -> dict[str, Any]:
    """The provenance of a finished artefact folder.

    Raises
    ------
    DataError
        If the stage is not finished, naming the command that finishes it.
    """
    path = folder / DONE
    if not path.exists():
        raise DataError(f"{folder}: not finished; run hpcpdf {stage} first")
    return _json(path)


def read_history(folder: Path) -> History:
    """Learning curve of a model folder (``metrics.jsonl``, a line for each epoch)."""
    marker = read_marker(folder, "train")
    path = folder / "metrics.jsonl"
    train, validation = [], []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            train.append(float(record["train"]["loss"]))
            validation.append(float(record["validation"]["loss"]))
        summary = marker["summary"]
        return History(
            train, validation, int(summary["best_epoch"]), int(marker["parameters"]), float(summary["seconds"])
        )
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; delete {folder} and train again") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}); delete {folder} and train again") from None


def read_reconstructions(folder: Path, dataset: Dataset, *, examples: int) -> tuple[Reconstructions, list[Example]]:
    """Results of a reconstruct folder, and `examples` of them from the best to the worst R_w.

    Raises
    ------
    DataError
        If they are missing, damaged, or of another data set.
    """
    read_marker(folder, "run")
    path = folder / "results.h5"
    results = read_results(path)
    rows = results["row"]
    if not len(rows) or rows.max() >= len(dataset) or np.any(np.diff(rows) <= 0):
        raise DataError(f"{path}: its rows are not those of {dataset.path}; delete {folder} and run again")
    true = dataset.take(rows, ["positions", "n_atoms", "family", "z", "pdf"])
    found = Reconstructions(
        rw=results["rw"],
        rw_samples=results["rw_samples"],
        atoms=results["n_atoms"].astype(np.int64),
        atoms_true=true["n_atoms"].astype(np.int64),
    )
    order = np.argsort(found.rw, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(examples, len(order))).astype(int))]
    return found, [_example(int(index), results, true, dataset) for index in chosen]


def _example(index: int, results: dict[str, NDArray[Any]], true: dict[str, NDArray[Any]], dataset: Dataset) -> Example:
    return Example(
        symbol=chemical_symbols[int(true["z"][index])],
        true=_atoms(true["positions"][index]),
        found=_atoms(results["positions"][index]),
        family_true=dataset.families[int(true["family"][index])],
        family=results["family"][index].decode(),
        rw=float(results["rw"][index]),
        full_r=dataset.r,
        full_g=true["pdf"][index].astype(np.float64),
        r=results["r"],
        g_obs=results["g_obs"][index],
        g_calc=results["g_calc"][index],
    )


def _atoms(padded: NDArray[Any]) -> Floats:
    kept: Floats = padded[~np.isnan(padded).any(axis=1)].astype(np.float64)
    return kept


def read_table(folder: Path) -> dict[str, Any]:
    """The evaluation table as plain data: ``rows`` with ``method``, ``samples``, ``columns``, and ``tests``."""
    read_marker(folder, "evaluate")
    path = folder / "table.json"
    if not path.exists():
        raise DataError(f"{path}: no such file; delete {folder} and evaluate again")
    table = _json(path)
    if not isinstance(table.get("rows"), list):
        raise DataError(f"{path}: holds no rows; delete {folder} and evaluate again")
    return table


def read_rw(folder: Path) -> dict[str, Floats]:
    """R_w of every PDF by method, from ``scores.csv`` of an evaluate folder."""
    path = folder / "scores.csv"
    values: dict[str, list[float]] = {}
    try:
        for line in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
            values.setdefault(line["method"], []).append(float(line["rw"] or "nan"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; delete {folder} and evaluate again") from None
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}); delete {folder} and evaluate again") from None
    return {name: np.array(numbers) for name, numbers in values.items()}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: damaged ({error}); delete {path.parent} to make it again") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: damaged (no object); delete {path.parent} to make it again")
    return found
