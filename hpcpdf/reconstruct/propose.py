"""From a PDF to structures: sample a model, then trilaterate what it predicts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hpcpdf.errors import SolverError
from hpcpdf.model.base import ConditionalModel
from hpcpdf.model.distances import AssignedDistances
from hpcpdf.model.features import PdfBatch
from hpcpdf.solver.satellites import satellites
from hpcpdf.solver.trilaterate import trilaterate

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Proposals:
    """Structures that a model proposes for one PDF.

    Attributes
    ----------
    positions : list of (n, 3)
        Those that differ, Å, in the model's frame.
    families : list of str
        "" where the model does not tell.
    nn : list of float
        Nearest-neighbour distance they were built with, Å; NaN where the model does not tell.
    index : (n_samples,) int
        Which of them each sample is.
    """

    positions: list[Floats]
    families: list[str]
    nn: list[float]
    index: NDArray[np.int64]


def propose(
    model: ConditionalModel, batch: PdfBatch, n_samples: int, seed: int, n_threads: int | None = None
) -> Proposals:
    """Draw `n_samples` structures for the one PDF in `batch`; the same seed gives the same ones."""
    samples = model.sample(batch, n_samples, torch.Generator().manual_seed(seed))
    found = samples.structures
    positions = assemble(found, model, n_threads)
    usable = np.array([len(x) > 1 and bool(np.isfinite(x).all()) for x in positions])
    if not usable.all():
        log.warning("%d of %d structures could not be trilaterated and are left out", (~usable).sum(), len(usable))
    if not usable.any():
        raise SolverError(
            f"none of the {len(usable)} structures that the model predicts can be trilaterated; train it on"
        )
    new = np.cumsum(usable) - 1
    kept = np.flatnonzero(usable)
    return Proposals(
        [positions[k] for k in kept],
        [found[k].family for k in kept],
        [found[k].nn for k in kept],
        new[samples.index[usable[samples.index]]],
    )


def assemble(
    structures: Sequence[AssignedDistances], model: ConditionalModel, n_threads: int | None = None
) -> list[Floats]:
    """Coordinates (n, 3) in Å of the structures that `model` predicted; NaN where trilateration failed."""
    solved = trilaterate(
        [item.distances for item in structures],
        [item.satellite_distances for item in structures],
        satellites(model.section.satellites),
        n_threads=n_threads,
    )
    return [np.asarray(x, dtype=np.float64) * item.length for x, item in zip(solved.positions, structures, strict=True)]
