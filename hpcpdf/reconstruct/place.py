"""From assigned distances to coordinates, a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcpdf.model.distances import DistanceBatch
from hpcpdf.pdf.kernel import Positions
from hpcpdf.solver.trilaterate import TrilaterationStatus, trilaterate


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

    def joined(self) -> Positions:
        """Positions of those that were found."""
        offsets = np.cumsum([0, *self.n_atoms[self.found]], dtype=np.uintp)
        return Positions(self.atoms().astype(np.float64), offsets)

    def atoms(self) -> NDArray[np.float32]:
        """Atoms of those that were found, one structure after another."""
        return self.positions if self.found.all() else self.positions[np.repeat(self.found, self.n_atoms)]


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
    solved = trilaterate(
        batch.distances,
        batch.satellite_distances,
        satellites,
        counts=counts if isinstance(batch.distances, np.ndarray) else None,
        n_threads=n_threads,
    )
    positions = solved.positions
    if isinstance(positions, np.ndarray):
        flat = positions[np.arange(positions.shape[1]) < counts[:, None]]
    else:
        flat = np.concatenate(positions)
    flat *= np.repeat(batch.length.astype(np.float32), counts)[:, None]
    found = (counts > 1) & (solved.status != TrilaterationStatus.INVALID_INPUT)
    return Placed(flat, counts, found)
