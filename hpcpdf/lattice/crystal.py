"""Least squares of a PDF by a bulk crystal: shells of neighbours without an end, or cut off by a sphere.

A crystal without an end is periodic; its neighbours fade out well behind the data, lest the end of the sum rings in
them. Peaks have the widths of `hpcpdf.simulate_pdf`, U_c = U (1 − δ1/d_c − δ2/d_c² + (Qbroad d_c)²). The scale comes in
closed form for every trial of the others (variable projection).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from hpcpdf import _core
from hpcpdf.clusters.template import ideal_sites
from hpcpdf.lattice.shells import PdfData
from hpcpdf.pdf.fit_model import FitGrid
from hpcpdf.pdf.grids import extended_grid
from hpcpdf.pdf.metrics import bic

Floats = NDArray[np.float64]

_TAPER = (2.0, 25.0)
"""From how far behind the data and over which length neighbours fade out, Å.

A crystal that ends at once would ring within the data; one that ends over several periods of qmin does not.
"""
_GOOD_TO = 1e-3
"""R_w that a fit is good to: what lies below asks for no parameter."""
_STEP = {"bond": 1e-6, "u": 1e-4, "delta2": 1e-3, "qdamp": 1e-6, "diameter": 1e-5, "qbroad": 1e-5}
"""Steps of the derivatives; bond, U and diameter relative."""
_RELATIVE = ("bond", "u", "diameter")
_SIZE = {"bond": 0.01, "u": 0.002, "delta2": 1.0, "qdamp": 0.01, "diameter": 5.0, "qbroad": 0.01}
"""Changes that matter about alike."""
_TOLERANCE = 1e-7


@lru_cache(maxsize=16)
def bulk_shells(family: str, reach: float) -> tuple[Floats, Floats]:
    """Distances up to `reach` from an atom of a bulk crystal, and how many neighbours it has there.

    Parameters
    ----------
    family
        ``fcc``, ``hcp``, ``bcc``, ``sc`` or ``diamond``.
    reach
        In bond lengths.

    Returns
    -------
    distance, number : (C,)
        In bond lengths, ascending; of neighbours.
    """
    points = _diamond(reach) if family == "diamond" else ideal_sites(family, reach)[0]
    squared = np.einsum("ni,ni->n", points, points)
    # Squares of distances are whole numbers or thirds.
    thirds, number = np.unique(np.rint(3.0 * squared[squared <= reach**2 + 1e-9]).astype(np.int64), return_counts=True)
    return np.sqrt(thirds[1:] / 3.0), number[1:].astype(np.float64)


def _diamond(reach: float) -> Floats:
    """Sites within `reach` of a site and somewhat beyond, in bond lengths: two fcc lattices, (1, 1, 1) apart."""
    top = math.ceil(math.sqrt(3.0) * reach)
    axis = np.arange(-top, top + 1)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    alike = ((x - y) % 2 == 0) & ((y - z) % 2 == 0)
    total = (x + y + z) % 4
    places = np.argwhere(alike & ((total == 0) & (x % 2 == 0) | (total == 3) & (x % 2 == 1))) - top
    return np.asarray(places / math.sqrt(3.0))


def characteristic(t: Floats) -> Floats:
    """γ(t): the share of a sphere's pairs that are left at t diameters."""
    t = np.minimum(t, 1.0)
    return np.asarray(1.0 - 1.5 * t + 0.5 * t**3)


@dataclass(frozen=True)
class At:
    """What is fitted, Å, Å² and 1/Å; a crystal of infinite diameter has no end."""

    bond: float
    u: float
    delta2: float
    qdamp: float
    diameter: float = math.inf
    qbroad: float = 0.0


@dataclass(frozen=True)
class Trial:
    """A fit: where it ended, R_w, fitted parameters (the scale among them), and the information criterion."""

    at: At
    rw: float
    parameters: int
    bic: float


class FadingShells:
    """G of shells of neighbours that fade out behind the data.

    Parameters
    ----------
    data
        The PDF; its delta1 is taken as it is.
    """

    def __init__(self, data: PdfData) -> None:
        params, self.data, self.end = data.params, data, float(data.r[-1])
        # Fading neighbours need a Q grid that tells them from their images.
        rmax = params.rstep * math.ceil(max(params.rmax, self.end + sum(_TAPER)) / params.rstep)
        grid = extended_grid(replace(params, rmax=rmax), 0.0)
        self.qstep, self.first, self.n_q = grid.qstep, grid.k_first, grid.n_q
        self.sine = FitGrid.make(grid.q[grid.k_first :], grid.qstep, data.r).sine

    def reach(self, bond: float) -> float:
        """How far shells are needed, in bond lengths; rounded up, so that few tables serve many bonds."""
        steps = math.ceil(8.0 * math.log2((self.end + sum(_TAPER)) / bond))
        return round(math.pow(2.0, steps / 8.0), 6)

    def left(self, distance: Floats) -> Floats:
        """Share of the neighbours at `distance`, Å, that is left."""
        behind, length = _TAPER
        return np.asarray(np.cos(0.5 * np.pi * np.clip((distance - self.end - behind) / length, 0.0, 1.0)) ** 2)

    def lines(self, distance: Floats, u: float, delta2: float, qbroad: float) -> Floats:
        """What a neighbour at each distance adds to F(Q); (C, K)."""
        ratio = 1.0 - self.data.params.delta1 / distance - delta2 / distance**2 + (qbroad * distance) ** 2
        damping = u * np.maximum(ratio, 0.0) * self.qstep**2
        waves, _ = _core.wave_tables(distance, damping, self.qstep, self.n_q, 1)
        return waves[:, self.first :]

    def transformed(self, f: Floats, qdamp: float) -> Floats:
        """G of F(Q) (..., K), with the envelope; (..., R)."""
        return np.asarray(f @ self.sine * self.data.envelope(qdamp))


class CrystalProblem(FadingShells):
    """Least squares of one PDF by a bulk crystal.

    Parameters
    ----------
    data
        The PDF; its delta1 is taken as it is.
    family
        As for `bulk_shells`.
    limits
        Lowest and highest value of what may be fitted, by name.
    """

    def __init__(self, data: PdfData, family: str, limits: Mapping[str, tuple[float, float]]) -> None:
        super().__init__(data)
        self.family, self.limits = family, limits
        self.norm = float(np.linalg.norm(data.g))
        self._waves: dict[tuple[float, float, float, float], tuple[Floats, Floats, Floats]] = {}

    def shells(self, at: At) -> tuple[Floats, Floats, Floats]:
        """Distances, Å, neighbours, and what a pair adds to F(Q) at each of them; (C,), (C,), (C, K)."""
        key = (at.bond, at.u, at.delta2, at.qbroad)
        if key not in self._waves:
            if len(self._waves) > 4:
                self._waves.pop(next(iter(self._waves)))
            distance, number = bulk_shells(self.family, self.reach(at.bond))
            distance = distance * at.bond
            left = self.left(distance)
            distance, number = distance[left > 0.0], (number * left)[left > 0.0]
            self._waves[key] = distance, number, self.lines(distance, at.u, at.delta2, at.qbroad)
        return self._waves[key]

    def model(self, at: At) -> Floats:
        """G per atom, (R,)."""
        distance, number, waves = self.shells(at)
        if math.isfinite(at.diameter):
            number = number * characteristic(distance / at.diameter)
        return self.transformed(number @ waves, at.qdamp)

    def curve(self, at: At) -> tuple[Floats, float]:
        """G at the best scale, and the scale."""
        g = self.model(at)
        scale = max(float(g @ self.data.g) / max(float(g @ g), 1e-300), 0.0)
        return scale * g, scale

    def residual(self, at: At) -> Floats:
        """What the best scale leaves, as a share of the data's norm."""
        return np.asarray((self.data.g - self.curve(at)[0]) / self.norm)

    def misfit(self, at: At) -> float:
        """R_w²."""
        left = self.residual(at)
        return float(left @ left)

    def slopes(self, free: Sequence[str], at: At) -> Floats:
        """Derivatives of the residual by the parameters `free`, (R, F)."""
        here, columns = self.residual(at), []
        for name in free:
            value = getattr(at, name)
            step = _STEP[name] * (value if name in _RELATIVE else 1.0)
            step = -step if value + step > self.limits[name][1] else step
            columns.append((self.residual(replace(at, **{name: value + step})) - here) / step)
        return np.stack(columns, axis=1)

    def fit(self, free: Sequence[str], at: At) -> Trial:
        """Refine the parameters `free` by Levenberg–Marquardt steps; the others stay."""
        low, high = (np.array([self.limits[name][i] for name in free]) for i in (0, 1))
        x0 = np.clip([getattr(at, name) for name in free], low + 1e-9 * (high - low), high - 1e-9 * (high - low))

        def place(x: Floats) -> At:
            return replace(at, **dict(zip(free, x.tolist(), strict=True)))

        def left(x: Floats) -> Floats:
            return self.residual(place(x))

        def slopes(x: Floats) -> Floats:
            return self.slopes(free, place(x))

        found = least_squares(
            left,
            x0,
            jac=slopes,
            bounds=(low, high),
            x_scale=np.array([_SIZE[name] for name in free]),
            ftol=_TOLERANCE,
            xtol=_TOLERANCE,
            gtol=1e-12,
            max_nfev=60,
        )
        rw2, count = float(2.0 * found.cost), 1 + len(free)
        criterion = float(bic(rw2 + _GOOD_TO**2, self.data.independent, count))
        return Trial(place(found.x), math.sqrt(rw2), count, criterion)

    def simplest(self, free: Sequence[str], trial: Trial) -> Trial:
        """The same without delta2 if that costs nothing."""
        plain = self.fit([name for name in free if name != "delta2"], replace(trial.at, delta2=0.0))
        return plain if plain.bic <= trial.bic else trial
