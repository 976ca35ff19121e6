"""Assigned distances: between atoms, and from atoms to the satellites, in the unit sphere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class AssignedDistances:
    """What a decoder predicts for one structure, in units of `length`.

    Attributes
    ----------
    distances : (n, n) float32
        Between atoms i and j.
    satellite_distances : (n, S) float32
        From atom i to satellite s.
    length : float
        Å per unit: the radius of the unit sphere.
    family : str
        Structure family, or "" where the model does not tell.
    nn : float
        Nearest-neighbour distance that the structure was built with, Å; NaN where the model does not tell.
    """

    distances: NDArray[np.float32]
    satellite_distances: NDArray[np.float32]
    length: float
    family: str = ""
    nn: float = float("nan")

    @property
    def n_atoms(self) -> int:
        return len(self.distances)


@dataclass(frozen=True)
class DistanceBatch:
    """What a decoder predicts for B structures, each in units of its own `length`.

    Attributes
    ----------
    distances : list of (n_i, n_i) float32, or (B, N, N) float32
        Between atoms i and j; an array is padded, and need not be symmetric.
    satellite_distances : list of (n_i, S) float32, or (B, N, S) float32
        From atom i to satellite s.
    n_atoms : (B,) int64
        Atoms of each structure.
    length : (B,) float64
        Å per unit.
    families : list of str
        "" where the model does not tell.
    """

    distances: Sequence[NDArray[np.float32]] | NDArray[np.float32]
    satellite_distances: Sequence[NDArray[np.float32]] | NDArray[np.float32]
    n_atoms: NDArray[np.int64]
    length: NDArray[np.float64]
    families: list[str]

    def __len__(self) -> int:
        return len(self.n_atoms)


def assigned_distances(
    positions: NDArray[np.float64],
    satellites: NDArray[np.float64],
    length: float,
    family: str = "",
    nn: float = float("nan"),
) -> AssignedDistances:
    """Distances of a known structure, (n, 3) in Å and inside the sphere of radius `length` around the origin."""
    unit = positions / length
    between = np.linalg.norm(unit[:, None] - unit[None], axis=-1)
    outward = np.linalg.norm(unit[:, None] - satellites[None], axis=-1)
    return AssignedDistances(between.astype(np.float32), outward.astype(np.float32), length, family, nn)
