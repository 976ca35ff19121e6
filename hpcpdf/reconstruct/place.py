"""From assigned distances to coordinates, a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcpdf.model.distances import DistanceBatch
from hpcpdf.pdf.kernel import Positions
from hpcpdf.solver.trilaterate import trilaterate


@dataclass(frozen=True)
class Placed:
    """Trilaterated structures.

    Attributes
    ----------
    positions : (atoms, 3) float32
        All structures one after another, Å.
    n_atoms : (B,) int
        Atoms of each.
    found : (B,) bool
        Whether a structure has two atoms or more, all of them somewhere.
    """

    positions: NDArray[np.float32]
    n_atoms: NDArray[np.int64]
    found: NDArray[np.bool_]

    def padded(self, width: int | None = None) -> NDArray[np.float32]:
        """Positions of all, (B, N, 3), padded with NaN; NaN throughout where no structure was found."""
        counts = np.where(self.found, self.n_atoms, 0)
        slots = int(counts.max(initial=0)) if width is None else width
        out = np.full((len(counts), slots, 3), np.nan, dtype=np.float32)
        out[np.arange(slots) < counts[:, None]] = self.positions[np.repeat(self.found, self.n_atoms)]
        return out

    def joined(self) -> Positions:
        """Positions of those that were found."""
        atoms = self.positions[np.repeat(self.found, self.n_atoms)]
        offsets = np.cumsum([0, *self.n_atoms[self.found]], dtype=np.uintp)
        return Positions(atoms.astype(np.float64), offsets)


def place(batch: DistanceBatch, satellites: NDArray[np.float64], n_threads: int | None = 1) -> Placed:
    """Trilaterate a batch in one call.

    Parameters
    ----------
    batch
        Assigned distances.
    satellites : (S, 3)
        On the unit sphere.
    n_threads
        As in `hpcpdf.trilaterate`; it never changes the result.
    """
    counts = batch.n_atoms
    if not len(counts):
        return Placed(np.empty((0, 3), dtype=np.float32), counts, np.empty(0, dtype=np.bool_))
    whole = isinstance(batch.distances, np.ndarray)
    solved = trilaterate(
        batch.distances,
        batch.satellite_distances,
        satellites,
        counts=counts if whole else None,
        n_threads=n_threads,
    ).positions
    if isinstance(solved, np.ndarray):
        flat = solved[np.arange(solved.shape[1]) < counts[:, None]]
    else:
        flat = np.concatenate(solved)
    lost = np.bincount(
        np.repeat(np.arange(len(counts)), counts), weights=~np.isfinite(flat).all(axis=1), minlength=len(counts)
    )
    scale = np.repeat(batch.length, counts).astype(np.float32)
    return Placed(flat * scale[:, None], counts, (counts > 1) & (lost == 0))
