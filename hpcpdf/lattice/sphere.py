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
from typing import overload

import numpy as np
from numpy.typing import NDArray

from hpcpdf.errors import ConfigError
from hpcpdf.lattice.bounds import fit_family
from hpcpdf.lattice.crystal import At, CrystalProblem, Trial
from hpcpdf.lattice.shells import BONDS, U_LIMITS, PdfData, Widths
from hpcpdf.pdf.fit import BOUNDS

Floats = NDArray[np.float64]

CRYSTALS = {"fcc": math.sqrt(2.0), "hcp": math.sqrt(2.0), "bcc": 0.75 * math.sqrt(3.0), "sc": 1.0}
"""Bulk crystals whose sites are all alike, and how many atoms they have per cube of the bond length."""

LARGEST = 200.0
"""Å; a larger sphere is bulk to the data of a nanoparticle."""

_LEAST = 1.5
"""Smallest diameter, in bond lengths."""
_DIAMETERS = 40
"""Of the first look."""
_QDAMPS = (0.01, 0.02, 0.03, 0.045, 0.06)
_STARTS = 3


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


class _Problem(CrystalProblem):
    """Least squares of one PDF by a bulk crystal cut off by a sphere."""

    def __init__(self, data: PdfData, family: str, largest: float) -> None:
        limits = {
            "bond": BONDS,
            "u": U_LIMITS,
            "delta2": BOUNDS["delta2"],
            "qdamp": BOUNDS["qdamp"],
            "diameter": (_LEAST * BONDS[0], largest),
        }
        super().__init__(data, family, limits)

    def starts(self, start: Widths) -> list[At]:
        """The diameters worth a descent, and the Qdamp that goes with each."""
        low, high = self.limits["diameter"]
        diameters = np.geomspace(max(low, _LEAST * start.bond), high, _DIAMETERS)
        known = self.data.qdamp
        qdamps = _QDAMPS if known is None else (known,)
        u, qbroad = float(np.clip(start.u, *self.limits["u"])), self.data.params.qbroad
        at = [[At(start.bond, u, start.delta2, qdamp, size, qbroad) for size in diameters.tolist()] for qdamp in qdamps]
        misfit = np.array([[self.misfit(x) for x in row] for row in at])
        best = misfit.min(axis=0)
        padded = np.pad(best, 1, constant_values=np.inf)
        minima = np.flatnonzero((best <= padded[:-2]) & (best <= padded[2:]))
        minima = minima[np.argsort(best[minima], kind="stable")][:_STARTS]
        return [at[int(np.argmin(misfit[:, k]))][k] for k in minima.tolist()]

    def diameters(self, free: Sequence[str], best: Trial) -> tuple[float, float]:
        """Where n ln R_w² is higher by 1 than at the best, on both sides or at the limits, Å."""
        others = [name for name in free if name != "diameter" and (name != "delta2" or best.at.delta2 > 0.0)]
        ends = []
        for sign, limit in zip((-1.0, 1.0), self.limits["diameter"], strict=True):
            step, near, height, at = 0.02, best.at.diameter, 0.0, best.at
            while True:
                far = best.at.diameter * math.exp(sign * step)
                far = max(far, limit) if sign < 0.0 else min(far, limit)
                at = self.fit(others, replace(at, diameter=far)).at
                rise = self.data.independent * math.log(max(self.misfit(at), 1e-12) / max(best.rw**2, 1e-12))
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
