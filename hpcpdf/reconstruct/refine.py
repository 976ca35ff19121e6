"""Continuous refinement of coordinates against a PDF, under nearest-neighbour restraints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, minimize
from scipy.spatial import cKDTree

from hpcpdf.pdf.kernel import NodeKernel
from hpcpdf.solver.lbfgsb import lbfgsb

Floats = NDArray[np.float64]

_BOND_CUTOFF = 1.25  # pairs closer than this many nearest-neighbour distances are bonds
_REACH = 1.7  # pairs closer than this could come into contact
_STIFF = 100.0  # repulsion in units of the bond restraint


@dataclass(frozen=True)
class Restraints:
    """How far coordinates may follow the data.

    Attributes
    ----------
    weight : float
        Weight of the mean squared bond deviation (in units of `bond_sigma`) beside R_w^2.
    bond_sigma : float
        Deviation of a bond length that costs one unit, as a fraction of the nearest-neighbour distance.
    max_shift : float
        Largest change of a coordinate, as a fraction of the nearest-neighbour distance: a hard bound.
    contact : float
        Pairs closer than this fraction of the nearest-neighbour distance repel each other stiffly.
    """

    weight: float = 0.004
    bond_sigma: float = 0.03
    max_shift: float = 0.12
    contact: float = 0.95


def refine_positions(
    positions: Floats,
    anchor: Floats,
    g_obs: Floats,
    kernel: NodeKernel,
    *,
    biso: float,
    qdamp: float,
    nn: float,
    restraints: Restraints = Restraints(),
    max_iterations: int = 60,
) -> Floats:
    """Move atoms so that the calculated PDF comes closer to the measured one.

    Minimises R_w^2 (scale in closed form) plus a harmonic restraint of every bond of `anchor` to its
    length there, within a box around it, by L-BFGS-B.

    Parameters
    ----------
    positions : (n, 3)
        Start, Å.
    anchor : (n, 3)
        Structure that the restraints hold to, Å; usually the ideal one.
    g_obs : (m,)
        Measured PDF on the kernel's r grid, Å^-2.
    kernel
        Engine for that grid.
    biso, qdamp
        Held fixed, Å^2 and 1/Å.
    nn
        Nearest-neighbour distance, Å.

    Returns
    -------
    (n, 3) refined coordinates, Å.
    """
    n = len(positions)
    matrix = kernel.matrix(biso=biso, qdamp=qdamp) / n
    norm = float(g_obs @ g_obs)
    pairs = cKDTree(anchor).query_pairs(_BOND_CUTOFF * nn, output_type="ndarray")
    ideal = np.linalg.norm(anchor[pairs[:, 0]] - anchor[pairs[:, 1]], axis=1)
    close = cKDTree(anchor).query_pairs(_REACH * nn, output_type="ndarray")
    floor = restraints.contact * nn
    stiffness = restraints.weight / (max(len(pairs), 1) * (restraints.bond_sigma * nn) ** 2)

    def objective(flat: Floats) -> tuple[float, Floats]:
        x = flat.reshape(n, 3)
        g = kernel.histogram([x])[0] @ matrix
        scale = max(float(g @ g_obs) / max(float(g @ g), 1e-30), 1e-12)
        residual = scale * g - g_obs
        field = matrix @ (2.0 * scale / norm * residual)
        gradient = kernel.gather([x], field)[1]
        bonds = x[pairs[:, 0]] - x[pairs[:, 1]]
        lengths = np.linalg.norm(bonds, axis=1)
        deviation = lengths - ideal
        pull = (2.0 * stiffness * deviation / np.maximum(lengths, 1e-9))[:, None] * bonds
        np.add.at(gradient, pairs[:, 0], pull)
        np.add.at(gradient, pairs[:, 1], -pull)
        value = float(residual @ residual) / norm + stiffness * float(deviation @ deviation)
        apart = x[close[:, 0]] - x[close[:, 1]]
        squared = np.einsum("ij,ij->i", apart, apart)
        touching = squared < floor**2
        if touching.any():
            pairs_in, apart, gap = close[touching], apart[touching], np.sqrt(squared[touching])
            overlap = floor - gap
            value += _STIFF * stiffness * float(overlap @ overlap)
            push = (-2.0 * _STIFF * stiffness * overlap / np.maximum(gap, 1e-9))[:, None] * apart
            np.add.at(gradient, pairs_in[:, 0], push)
            np.add.at(gradient, pairs_in[:, 1], -push)
        return value, gradient.ravel()

    reach = restraints.max_shift * nn
    lower, upper = anchor.ravel() - reach, anchor.ravel() + reach
    options: dict[str, Any] = {"maxiter": max_iterations, "maxcor": 12, "ftol": 1e-7, "gtol": 1e-7}
    found = minimize(
        objective,
        np.clip(positions.ravel(), lower, upper),
        jac=True,
        method=lbfgsb,
        bounds=Bounds(lower, upper),
        options=options,
    )
    return np.asarray(found.x, dtype=float).reshape(n, 3)
