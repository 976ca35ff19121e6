"""The geometry of one cluster that a reader asks about: bonds, coordination, extent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError, cKDTree
from scipy.spatial.distance import pdist

BOND_REACH = 1.2
"""Neighbours are atoms up to this multiple of the nearest-neighbour distance: half way to the second shell of fcc."""


@dataclass(frozen=True)
class Geometry:
    """Distances and coordination of one cluster.

    Attributes
    ----------
    nn_mean, nn_std
        Mean and standard deviation of the bond lengths, Å (NaN for a single atom).
    coordination
        Neighbours of every atom, shape (n,).
    bonds
        Index pairs i < j, shape (m, 2).
    cutoff
        Longest distance that counts as a bond, Å.
    diameter
        Largest distance between two atoms, Å.
    """

    nn_mean: float
    nn_std: float
    coordination: NDArray[np.int64]
    bonds: NDArray[np.int64]
    cutoff: float
    diameter: float

    @property
    def coordination_mean(self) -> float:
        """Mean number of neighbours."""
        return float(self.coordination.mean()) if self.coordination.size else 0.0


def geometry(positions: NDArray[np.float64]) -> Geometry:
    """Find bonds and coordination of a cluster.

    Parameters
    ----------
    positions
        (n, 3), Å.
    """
    positions = np.asarray(positions, dtype=float)
    n = len(positions)
    if n < 2:
        none = np.zeros((0, 2), dtype=np.int64)
        return Geometry(float("nan"), float("nan"), np.zeros(n, dtype=np.int64), none, 0.0, 0.0)
    tree = cKDTree(positions)
    cutoff = BOND_REACH * float(np.asarray(tree.query(positions, k=2)[0])[:, 1].mean())
    bonds = tree.query_pairs(cutoff, output_type="ndarray").astype(np.int64)
    bonds = bonds[np.lexsort((bonds[:, 1], bonds[:, 0]))]
    lengths = np.linalg.norm(positions[bonds[:, 0]] - positions[bonds[:, 1]], axis=1)
    return Geometry(
        nn_mean=float(lengths.mean()),
        nn_std=float(lengths.std()),
        coordination=np.bincount(bonds.ravel(), minlength=n),
        bonds=bonds,
        cutoff=cutoff,
        diameter=_diameter(positions),
    )


def loose_atoms(shape: Geometry) -> int:
    """Atoms held by one or two neighbours, if there are more of them than a few adatoms; else 0."""
    n = len(shape.coordination)
    loose = int(np.count_nonzero(shape.coordination <= 2))
    return loose if n > 12 and loose > max(2, 0.03 * n) else 0


def _diameter(positions: NDArray[np.float64]) -> float:
    """Largest distance, among the outer atoms only: an inner one cannot be an end of it."""
    radius = np.linalg.norm(positions - positions.mean(axis=0), axis=1)
    known = float(np.linalg.norm(positions - positions[np.argmax(radius)], axis=1).max())
    outer = radius >= known - radius.max() - 1e-9
    return float(pdist(positions[outer]).max())


def faces(positions: NDArray[np.float64]) -> int:
    """Planes that bound a cluster: those of its convex hull.

    Parameters
    ----------
    positions
        (n, 3), in any unit.
    """
    try:
        planes = ConvexHull(positions).equations
    except (QhullError, ValueError):  # flat, or too few atoms
        return 2
    near = float(np.min(np.asarray(cKDTree(positions).query(positions, k=2)[0])[:, 1]))
    # Corners of a face that lie in one plane but for rounding belong to it.
    return len(np.unique(np.round(planes / [1.0, 1.0, 1.0, near], 3) + 0.0, axis=0))
