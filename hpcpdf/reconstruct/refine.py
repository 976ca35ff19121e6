"""Continuous refinement of coordinates against a PDF, under nearest-neighbour restraints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds
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
    misfit = Misfit(anchor, g_obs, kernel, biso=biso, qdamp=qdamp, nn=nn, restraints=restraints)
    reach = restraints.max_shift * nn
    lower, upper = anchor.ravel() - reach, anchor.ravel() + reach
    found = lbfgsb(
        misfit,
        np.clip(positions.ravel(), lower, upper),
        jac=True,
        bounds=Bounds(lower, upper),
        maxiter=max_iterations,
        maxcor=12,
        ftol=1e-7,
        gtol=1e-7,
    )
    return np.asarray(found.x, dtype=float).reshape(-1, 3)


class Misfit:
    """R_w^2 (scale in closed form) plus restraints, and its gradient, for flat coordinates (3 n,) in Å.

    The parameters are those of `refine_positions`.
    """

    def __init__(
        self,
        anchor: Floats,
        g_obs: Floats,
        kernel: NodeKernel,
        *,
        biso: float,
        qdamp: float,
        nn: float,
        restraints: Restraints = Restraints(),
    ) -> None:
        self._kernel, self._g_obs = kernel, g_obs
        self._matrix = kernel.matrix(biso=biso, qdamp=qdamp) / len(anchor)
        self._norm = float(g_obs @ g_obs)
        tree = cKDTree(anchor)
        self._bonds = tree.query_pairs(_BOND_CUTOFF * nn, output_type="ndarray")
        self._ideal = np.linalg.norm(anchor[self._bonds[:, 0]] - anchor[self._bonds[:, 1]], axis=1)
        self._close = tree.query_pairs(_REACH * nn, output_type="ndarray")
        self._floor = restraints.contact * nn
        self._stiffness = restraints.weight / (max(len(self._bonds), 1) * (restraints.bond_sigma * nn) ** 2)

    def __call__(self, flat: Floats) -> tuple[float, Floats]:
        x = flat.reshape(-1, 3)
        value, gradient = self._data(x)
        value += self._stretch(x, gradient) + self._contact(x, gradient)
        return value, gradient.ravel()

    def _data(self, x: Floats) -> tuple[float, Floats]:
        """R_w^2 and its gradient."""
        g = self._kernel.histogram([x])[0] @ self._matrix
        scale = max(float(g @ self._g_obs) / max(float(g @ g), 1e-30), 1e-12)
        residual = scale * g - self._g_obs
        field = self._matrix @ (2.0 * scale / self._norm * residual)
        return float(residual @ residual) / self._norm, self._kernel.gather([x], field)[1]

    def _stretch(self, x: Floats, gradient: Floats) -> float:
        """Energy of the bond restraints; adds to `gradient`."""
        apart = x[self._bonds[:, 0]] - x[self._bonds[:, 1]]
        lengths = np.linalg.norm(apart, axis=1)
        deviation = lengths - self._ideal
        _add_forces(gradient, self._bonds, 2.0 * self._stiffness * deviation / np.maximum(lengths, 1e-9), apart)
        return self._stiffness * float(deviation @ deviation)

    def _contact(self, x: Floats, gradient: Floats) -> float:
        """Energy of the stiff repulsion of pairs that touch; adds to `gradient`."""
        apart = x[self._close[:, 0]] - x[self._close[:, 1]]
        squared = np.einsum("ij,ij->i", apart, apart)
        touching = squared < self._floor**2
        gap = np.sqrt(squared[touching])
        overlap = self._floor - gap
        stiffness = _STIFF * self._stiffness
        _add_forces(
            gradient, self._close[touching], -2.0 * stiffness * overlap / np.maximum(gap, 1e-9), apart[touching]
        )
        return stiffness * float(overlap @ overlap)


def _add_forces(gradient: Floats, pairs: NDArray[np.intp], slope: Floats, apart: Floats) -> None:
    """Add slope * (x_i - x_j) to atom i of every pair, and take it from atom j."""
    force = slope[:, None] * apart
    np.add.at(gradient, pairs[:, 0], force)
    np.add.at(gradient, pairs[:, 1], -force)
