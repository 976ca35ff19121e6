"""Figures of merit of reconstructed structures, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcpdf.errors import DataError
from hpcpdf.evaluate.align import rmsd
from hpcpdf.pdf import metrics

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scores:
    """One value for each of n samples; NaN where it does not exist.

    Attributes
    ----------
    epsilon2_unit, epsilon2_max : (n,) arrays
        Squared difference of the PDFs, each divided by its norm, or by its maximum.
    pearson : (n,) array
        Correlation of the PDFs.
    rw : (n,) array
        sqrt(Σ (G_obs − G_calc)² / Σ G_obs²), with the scale and whatever else was fitted.
    atoms_exact : (n,) array
        1 where the number of atoms is right, else 0.
    atoms_error : (n,) array
        Number of atoms minus the true number.
    rmsd : (n,) array
        Å, after optimal alignment and assignment; NaN where the numbers of atoms differ.
    """

    epsilon2_unit: Array
    epsilon2_max: Array
    pearson: Array
    rw: Array
    atoms_exact: Array
    atoms_error: Array
    rmsd: Array

    def __post_init__(self) -> None:
        arrays = {item.name: np.asarray(getattr(self, item.name), dtype=np.float64) for item in fields(self)}
        sizes = {name: array.shape for name, array in arrays.items()}
        if len(set(sizes.values())) != 1 or arrays["rw"].ndim != 1:
            raise DataError(f"scores of different shapes: {sizes}; expected one value for each sample")
        for name, array in arrays.items():
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.rw)


def score(
    g_obs: ArrayLike,
    g_calc: ArrayLike,
    true_positions: Sequence[ArrayLike],
    positions: Sequence[ArrayLike],
    *,
    rw: ArrayLike | None = None,
    with_rmsd: bool = True,
) -> Scores:
    """Compare n reconstructed structures and their PDFs with the true ones.

    Parameters
    ----------
    g_obs, g_calc : (n, R) arrays
        On the same r. The scale of `g_calc` does not matter.
    true_positions, positions
        n arrays (n_atoms, 3) in Å; rows of NaN (padding) are left out.
    rw : (n,) array, optional
        R_w of a fit with more parameters or another range; default: with the scale alone, from the curves given.
    with_rmsd
        Whether to align the structures (some 0.03 s each); else NaN.

    Raises
    ------
    DataError
        If the numbers of samples differ.
    """
    obs, calc = np.asarray(g_obs, dtype=np.float64), np.asarray(g_calc, dtype=np.float64)
    counts = {"g_obs": len(obs), "g_calc": len(calc), "true": len(true_positions), "reconstructed": len(positions)}
    if len(set(counts.values())) != 1:
        raise DataError(f"different numbers of samples: {counts}")
    true = [_atoms(item) for item in true_positions]
    made = [_atoms(item) for item in positions]
    difference = np.array([len(b) - len(a) for a, b in zip(true, made, strict=True)], dtype=np.float64)
    distance = np.full(len(true), np.nan)
    if with_rmsd:
        for i in np.flatnonzero(difference == 0.0):
            distance[i] = rmsd(made[i], true[i])
    return Scores(
        epsilon2_unit=metrics.epsilon2(obs, calc),
        epsilon2_max=metrics.epsilon2(obs, calc, normalise="max"),
        pearson=metrics.pearson(obs, calc),
        rw=metrics.rw(obs, calc, fit_scale=True) if rw is None else np.asarray(rw, dtype=np.float64),
        atoms_exact=(difference == 0.0).astype(np.float64),
        atoms_error=difference,
        rmsd=distance,
    )


def _atoms(positions: ArrayLike) -> Array:
    array = np.asarray(positions, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3:
        raise DataError(f"positions of shape {array.shape}, expected (n_atoms, 3)")
    return array[~np.isnan(array).all(axis=1)]
