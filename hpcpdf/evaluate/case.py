"""A trained member of a study with its test PDFs: what every judgement of it starts from."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hpcpdf.config import RunConfig
from hpcpdf.dataset.reader import Dataset, open_dataset
from hpcpdf.dataset.schema import PARAMS, Arrays
from hpcpdf.errors import ConfigError, DataError
from hpcpdf.model.dense_2020 import Dense2020
from hpcpdf.model.distances import AssignedDistances
from hpcpdf.model.store import load_model
from hpcpdf.pdf.params import PdfParams
from hpcpdf.pdf.simulate import simulate_pdf
from hpcpdf.reconstruct.propose import assemble
from hpcpdf.stage import atomic_path
from hpcpdf.training.train import pdf_batch, training_arrays

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Case:
    """A model and the PDFs that it is judged by.

    Attributes
    ----------
    dataset
        The member's.
    model
        Trained.
    test
        Columns of the test split: n PDFs.
    seed
        Of everything drawn here.
    """

    dataset: Dataset
    model: Dense2020
    test: Arrays
    seed: int

    def __len__(self) -> int:
        return len(self.test["n_atoms"])

    @cached_property
    def observed(self) -> Array:
        """The PDFs, (n, R), Å⁻²."""
        return self.test["pdf"].astype(np.float64)

    @cached_property
    def truth(self) -> list[Array]:
        """True positions, (n_atoms, 3) each, Å."""
        return unpadded(self.test["positions"])

    @cached_property
    def params(self) -> PdfParams:
        """What all PDFs were simulated with.

        Raises
        ------
        DataError
            If they were not simulated alike: the published protocol has one instrument.
        """
        rows = np.unique(self.test["params"], axis=0)
        if len(rows) != 1:
            raise DataError(
                f"{self.dataset.path}: parameters differ between PDFs; a study needs fixed numbers in [pdf]"
            )
        step = float(np.round(np.diff(self.dataset.r).mean(), 12))
        values = dict(zip(PARAMS, rows[0].tolist(), strict=True))
        return PdfParams(rmin=0.0, rmax=float(np.round(self.dataset.r[-1] + step, 9)), rstep=step, **values)

    @cached_property
    def prior(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and logarithm of the width of z from the PDFs, (n, L) each."""
        return self.model.latent_prior(pdf_batch(self.test))

    def posterior(self, arrays: Arrays) -> torch.Tensor:
        """Mean of z from PDFs and structures, (n, L)."""
        parts = [
            self.model.latent_posterior(pdf_batch(part), training_arrays(part))[0] for part in _in_parts(arrays, 200)
        ]
        return torch.cat(parts)

    def positions(self, structures: Sequence[AssignedDistances]) -> list[Array]:
        """Trilaterated, (n_atoms, 3) each, Å; NaN where that failed."""
        return assemble(structures, self.model)

    def simulate(self, positions: Sequence[Array]) -> Array:
        """PDFs (n, R), Å⁻²; 0 throughout where there is no structure."""
        whole = [bool(np.isfinite(x).all()) and len(x) > 1 for x in positions]
        out = np.zeros((len(positions), len(self.dataset.r)))
        if any(whole):
            _, out[whole] = simulate_pdf([x for x, good in zip(positions, whole, strict=True) if good], self.params)
        return out


def open_case(config: RunConfig) -> Case:
    """The case of a member whose data set and model are there.

    Raises
    ------
    ConfigError
        If its model is not one of the dense ones.
    DataError
        If something is missing or damaged, or the test split is empty.
    """
    dataset = open_dataset(config.run.out / "dataset")
    model = load_model(config.run.out / "model")
    if not isinstance(model, Dense2020):
        raise ConfigError(f"model.kind = {model.kind}: the published protocol needs cvae-2020 or dae-2020")
    test = dataset.load("test")
    if not len(test["n_atoms"]):
        raise DataError(f"{dataset.path}: the test split is empty; raise clusters.n")
    return Case(dataset, model, test, config.run.seed)


def unpadded(positions: NDArray[np.floating[Any]]) -> list[Array]:
    """Structures (n_atoms, 3) out of an array (n, N, 3) that is padded with NaN."""
    return [x[~np.isnan(x[:, 0])].astype(np.float64) for x in positions]


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file atomically; NaN becomes an empty cell."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([[_cell(value) for value in row] for row in rows])


def _cell(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.8g}"
    if isinstance(value, bool | np.bool_):
        return int(value)
    return value


def _in_parts(arrays: Arrays, size: int) -> Iterable[Arrays]:
    for first in range(0, len(arrays["n_atoms"]), size):
        yield {name: column[first : first + size] for name, column in arrays.items()}
