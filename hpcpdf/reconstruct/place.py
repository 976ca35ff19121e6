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

    def padded(self, width: int | None = None) -> NDArray[np.float32]:
        """Positions of all, (B, N, 3), padded with NaN; NaN throughout where no structure was found."""
        counts = np.where(self.found, self.n_atoms, 0)
        slots = int(counts.max(initial=0)) if width is None else width
        out = np.full((len(counts), slots, 3), np.nan, dtype=np.float32)
        gap = slots * np.arange(len(counts)) - (np.cumsum(counts) - counts)
        atoms = self._found_atoms()
        out.reshape(-1, 3)[np.repeat(gap, counts) + np.arange(len(atoms))] = atoms
        return out

    def joined(self) -> Positions:
        """Positions of those that were found."""
        offsets = np.cumsum([0, *self.n_atoms[self.found]], dtype=np.uintp)
        return Positions(self._found_atoms().astype(np.float64), offsets)

    def _found_atoms(self) -> NDArray[np.float32]:
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
    scale = np.repeat(batch.length, counts).astype(np.float32)
    found = (counts > 1) & (solved.status != TrilaterationStatus.INVALID_INPUT)
    return Placed(flat * scale[:, None], counts, found)
