"""The least that a PDF can say of a particle: a bulk crystal cut off by a sphere, without any shape.

With z_c neighbours of a bulk atom in shell c at the distance d_c, an atom of a sphere of the diameter D has, averaged
over the atoms and over where the sphere's centre lies,

    m_c = z_c γ(d_c / D),    γ(t) = 1 − 3t/2 + t³/2,

the characteristic function of the sphere (Guinier & Fournet, Small-Angle Scattering of X-rays, 1955). Bond length, U,
δ2, D and Qdamp are all there is to fit. A structure that does not lie clearly below this is not seen by the data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import overload

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from hpcpdf import _core
from hpcpdf.clusters.template import ideal_sites
from hpcpdf.errors import ConfigError
from hpcpdf.lattice.bounds import fit_family
from hpcpdf.lattice.shells import BONDS, U_LIMITS, PdfData, Widths
from hpcpdf.pdf.fit import BOUNDS
from hpcpdf.pdf.fit_model import FitGrid
from hpcpdf.pdf.grids import extended_grid
from hpcpdf.pdf.metrics import bic

Floats = NDArray[np.float64]

CRYSTALS = {"fcc": math.sqrt(2.0), "hcp": math.sqrt(2.0), "bcc": 0.75 * math.sqrt(3.0), "sc": 1.0}
"""Bulk crystals whose sites are all alike, and how many atoms they have per cube of the bond length."""

LARGEST = 200.0
"""Å; a larger sphere is bulk to the data of a nanoparticle."""

_LEAST = 1.5
"""Smallest diameter, in bond lengths."""
_TAPER = (2.0, 25.0)
"""From how far behind the data and over which length neighbours fade out, Å.

A crystal that ends at once would ring within the data; one that ends over several periods of qmin does not.
"""
_DIAMETERS = 40
"""Of the first look."""
_QDAMPS = (0.01, 0.02, 0.03, 0.045, 0.06)
_STARTS = 3
_GOOD_TO = 1e-3
"""R_w that a fit is good to: what lies below asks for no parameter."""
_STEP = {"bond": 1e-6, "u": 1e-4, "delta2": 1e-3, "qdamp": 1e-6, "diameter": 1e-5}
"""Steps of the derivatives; bond, U and diameter relative."""
_TOLERANCE = 1e-7


@dataclass(frozen=True, eq=False)
class SphereFit:
    """A sphere of a bulk crystal, fitted to a PDF.

    Attributes
    ----------
    family : str
    rw : float
        With unit weights, as everywhere.
    bond : float
        Å.
    u, delta2 : float
        Å².
    qdamp : float
        1/Å; fitted unless known.
    diameter : float
        Å.
    diameters : (float, float)
        Those that the data allow, Å: n ln R_w² is higher by 1 at the ends (68 %), all else refined. Wide where Qdamp is
        not known: a damped PDF and a small sphere look alike.
    parameters : int
        How many were fitted, the scale among them; without a delta2 that was not worth it.
    bic : float
        n ln R_w² + parameters ln n.
    bulk : bool
        The crystal without an end does as well by this criterion, or D has reached its limit: no particle of the
        searched sizes.
    crystal_rw : float
        R_w of the crystal without an end.
    scale : float
        Factor on the PDF per atom.
    g_calc : (R,)
        On the points of the data, scale included.
    """

    family: str
    rw: float
    bond: float
    u: float
    delta2: float
    qdamp: float
    diameter: float
    diameters: tuple[float, float]
    parameters: int
    bic: float
    bulk: bool
    crystal_rw: float
    scale: float
    g_calc: Floats = field(repr=False)

    @property
    def widths(self) -> Widths:
        """What a search on this PDF may begin with."""
        return Widths(self.bond, self.u, self.delta2, self.qdamp)

    @property
    def n_atoms(self) -> float:
        """Atoms in the sphere."""
        return math.pi / 6.0 * (self.diameter / self.bond) ** 3 * CRYSTALS[self.family]


@overload
def fit_sphere(data: PdfData, family: str, start: Widths, *, largest: float = ...) -> SphereFit: ...


@overload
def fit_sphere(
    data: PdfData, family: str = ..., start: Widths | None = ..., *, largest: float = ...
) -> SphereFit | None: ...


def fit_sphere(
    data: PdfData, family: str = "fcc", start: Widths | None = None, *, largest: float = LARGEST
) -> SphereFit | None:
    """Fit a sphere of a bulk crystal to a PDF.

    The scale comes in closed form for every trial of the others (variable projection), which Levenberg–Marquardt steps
    refine from the best few diameters of a scan. delta2 is dropped where it does not lower the Bayesian information
    criterion.

    Parameters
    ----------
    data
        The PDF; its qdamp is kept where it is known.
    family
        One of `CRYSTALS`.
    start
        Bond length, U and delta2 to begin with; None: those at which the family does best
        (`hpcpdf.lattice.bounds.fit_family`).
    largest
        Largest diameter, Å.

    Returns
    -------
    SphereFit or None
        None if no peak lies where a first peak may be.

    Raises
    ------
    ConfigError
        For an unknown family.
    """
    if family not in CRYSTALS:
        raise ConfigError(f"unknown bulk crystal {family!r}; known: {', '.join(CRYSTALS)}")
    if start is None:
        found = fit_family(data, family)
        if found is None:
            return None
        start = found.widths
    problem = _Problem(data, family, largest)
    free = ["bond", "u", "diameter", "delta2"] + (["qdamp"] if data.qdamp is None else [])
    trials = [problem.fit(free, x) for x in problem.starts(start)]
    best = min(trials, key=lambda trial: trial.rw)
    best = problem.simplest(free, best)
    endless = [name for name in free if name != "diameter"]
    crystal = problem.simplest(endless, problem.fit(endless, replace(best.at, diameter=math.inf)))
    g, scale = problem.curve(best.at)
    return SphereFit(
        family=family,
        rw=best.rw,
        bond=best.at.bond,
        u=best.at.u,
        delta2=best.at.delta2,
        qdamp=best.at.qdamp,
        diameter=best.at.diameter,
        diameters=problem.diameters(free, best),
        parameters=best.parameters,
        bic=best.bic,
        bulk=best.at.diameter > (1.0 - 1e-3) * largest or crystal.bic <= best.bic,
        crystal_rw=crystal.rw,
        scale=scale,
        g_calc=g,
    )


@lru_cache(maxsize=16)
def bulk_shells(family: str, reach: float) -> tuple[Floats, Floats]:
    """Distances up to `reach` from an atom of a bulk crystal, and how many neighbours it has there.

    Returns
    -------
    distance, number : (C,)
        In bond lengths, ascending; of neighbours.
    """
    points, _, _ = ideal_sites(family, reach)
    squared = np.einsum("ni,ni->n", points, points)
    # Squares of distances are whole numbers or thirds.
    thirds, number = np.unique(np.rint(3.0 * squared[squared <= reach**2 + 1e-9]).astype(np.int64), return_counts=True)
    return np.sqrt(thirds[1:] / 3.0), number[1:].astype(np.float64)


def characteristic(t: Floats) -> Floats:
    """γ(t): the share of a sphere's pairs that are left at t diameters."""
    t = np.minimum(t, 1.0)
    return np.asarray(1.0 - 1.5 * t + 0.5 * t**3)


@dataclass(frozen=True)
class _At:
    bond: float
    u: float
    delta2: float
    qdamp: float
    diameter: float


@dataclass(frozen=True)
class _Trial:
    at: _At
    rw: float
    parameters: int
    bic: float


class _Problem:
    """Least squares of one PDF by a bulk crystal cut off by a sphere."""

    def __init__(self, data: PdfData, family: str, largest: float) -> None:
        params, end = data.params, float(data.r[-1])
        self.data, self.family, self.end = data, family, end
        # Fading neighbours need a Q grid that tells them from their images.
        rmax = params.rstep * math.ceil(max(params.rmax, end + sum(_TAPER)) / params.rstep)
        grid = extended_grid(replace(params, rmax=rmax), 0.0)
        self.qstep, self.first, self.n_q = grid.qstep, grid.k_first, grid.n_q
        self.sine = FitGrid.make(grid.q[grid.k_first :], grid.qstep, data.r).sine
        self.norm = float(np.linalg.norm(data.g))
        self._waves: dict[tuple[float, float, float], tuple[Floats, Floats, Floats]] = {}
        self.limits = {
            "bond": BONDS,
            "u": U_LIMITS,
            "delta2": BOUNDS["delta2"],
            "qdamp": BOUNDS["qdamp"],
            "diameter": (_LEAST * BONDS[0], largest),
        }

    def starts(self, start: Widths) -> list[_At]:
        """The diameters worth a descent, and the Qdamp that goes with each."""
        low, high = self.limits["diameter"]
        diameters = np.geomspace(max(low, _LEAST * start.bond), high, _DIAMETERS)
        known = self.data.qdamp
        qdamps = _QDAMPS if known is None else (known,)
        u = float(np.clip(start.u, *self.limits["u"]))
        at = [[_At(start.bond, u, start.delta2, qdamp, size) for size in diameters.tolist()] for qdamp in qdamps]
        misfit = np.array([[self._misfit(x) for x in row] for row in at])
        best = misfit.min(axis=0)
        padded = np.pad(best, 1, constant_values=np.inf)
        minima = np.flatnonzero((best <= padded[:-2]) & (best <= padded[2:]))
        minima = minima[np.argsort(best[minima], kind="stable")][:_STARTS]
        return [at[int(np.argmin(misfit[:, k]))][k] for k in minima.tolist()]

    def shells(self, at: _At) -> tuple[Floats, Floats, Floats]:
        """Distances, Å, neighbours, and what a pair adds to F(Q) at each of them; (C,), (C,), (C, K)."""
        key = (at.bond, at.u, at.delta2)
        if key not in self._waves:
            if len(self._waves) > 4:
                self._waves.pop(next(iter(self._waves)))
            behind, length = _TAPER
            reach = 2.0 ** (math.ceil(8.0 * math.log2((self.end + behind + length) / at.bond)) / 8.0)
            distance, number = bulk_shells(self.family, round(reach, 6))
            distance = distance * at.bond
            fade = np.clip((distance - self.end - behind) / length, 0.0, 1.0)
            kept = fade < 1.0
            distance, number = distance[kept], (number * np.cos(0.5 * np.pi * fade) ** 2)[kept]
            params = self.data.params
            ratio = 1.0 - params.delta1 / distance - at.delta2 / distance**2 + (params.qbroad * distance) ** 2
            damping = at.u * np.maximum(ratio, 0.0) * self.qstep**2
            waves, _ = _core.wave_tables(distance, damping, self.qstep, self.n_q, 1)
            self._waves[key] = distance, number, waves[:, self.first :]
        return self._waves[key]

    def model(self, at: _At) -> Floats:
        """G per atom, (R,)."""
        distance, number, waves = self.shells(at)
        if math.isfinite(at.diameter):
            number = number * characteristic(distance / at.diameter)
        return np.asarray((number @ waves @ self.sine) * self.data.envelope(at.qdamp))

    def curve(self, at: _At) -> tuple[Floats, float]:
        """G at the best scale, and the scale."""
        g = self.model(at)
        scale = max(float(g @ self.data.g) / max(float(g @ g), 1e-300), 0.0)
        return scale * g, scale

    def residual(self, at: _At) -> Floats:
        """What the best scale leaves, as a share of the data's norm."""
        return np.asarray((self.data.g - self.curve(at)[0]) / self.norm)

    def fit(self, free: Sequence[str], at: _At) -> _Trial:
        """Refine the parameters `free`; the others stay."""
        low, high = (np.array([self.limits[name][i] for name in free]) for i in (0, 1))
        x0 = np.clip([getattr(at, name) for name in free], low + 1e-9 * (high - low), high - 1e-9 * (high - low))

        def place(x: Floats) -> _At:
            return replace(at, **dict(zip(free, x.tolist(), strict=True)))

        def left(x: Floats) -> Floats:
            return self.residual(place(x))

        def slopes(x: Floats) -> Floats:
            here, columns = left(x), []
            for k, name in enumerate(free):
                step = _STEP[name] * (x[k] if name in ("bond", "u", "diameter") else 1.0)
                step = -step if x[k] + step > high[k] else step
                moved = x.copy()
                moved[k] += step
                columns.append((left(moved) - here) / step)
            return np.stack(columns, axis=1)

        scale = np.array([{"bond": 0.01, "u": 0.002, "delta2": 1.0, "qdamp": 0.01, "diameter": 5.0}[k] for k in free])
        found = least_squares(
            left,
            x0,
            jac=slopes,
            bounds=(low, high),
            x_scale=scale,
            ftol=_TOLERANCE,
            xtol=_TOLERANCE,
            gtol=1e-12,
            max_nfev=60,
        )
        at, rw2 = place(found.x), float(2.0 * found.cost)
        count = 1 + len(free)
        return _Trial(at, math.sqrt(rw2), count, float(bic(rw2 + _GOOD_TO**2, self.data.independent, count)))

    def simplest(self, free: Sequence[str], trial: _Trial) -> _Trial:
        """The same without delta2 if that costs nothing."""
        plain = self.fit([name for name in free if name != "delta2"], replace(trial.at, delta2=0.0))
        return plain if plain.bic <= trial.bic else trial

    def diameters(self, free: Sequence[str], best: _Trial) -> tuple[float, float]:
        """Where n ln R_w² is higher by 1 than at the best, on both sides or at the limits, Å."""
        others = [name for name in free if name != "diameter" and (name != "delta2" or best.at.delta2 > 0.0)]
        ends = []
        for sign, limit in zip((-1.0, 1.0), self.limits["diameter"], strict=True):
            step, near, height, at = 0.02, best.at.diameter, 0.0, best.at
            while True:
                far = best.at.diameter * math.exp(sign * step)
                far = max(far, limit) if sign < 0.0 else min(far, limit)
                at = self.fit(others, replace(at, diameter=far)).at
                rise = self.data.independent * math.log(max(self._misfit(at), 1e-12) / max(best.rw**2, 1e-12))
                if rise >= 1.0:
                    # The criterion is nearly a parabola: its root rises straight.
                    share = (1.0 - height) / max(math.sqrt(rise) - height, 1e-12)
                    ends.append(near * (far / near) ** share)
                    break
                if far == limit:
                    ends.append(limit)
                    break
                near, height, step = far, math.sqrt(max(rise, 0.0)), 1.7 * step
        return ends[0], ends[1]

    def _misfit(self, at: _At) -> float:
        """R_w²."""
        left = self.residual(at)
        return float(left @ left)
