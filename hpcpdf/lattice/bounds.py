"""What a family can do at best: bond length, widths and the lowest R_w of any of its particles.

Non-negative least squares in the shell counts is a relaxation of "some particle of this family": whatever its size and
shape, and whatever mixture of sizes and shapes, no rigid particle can agree better with the PDF. Bond length, U and δ2
are found by the same misfit (variable projection, Golub & Pereyra 1973), without any structure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpcpdf import _core
from hpcpdf.lattice.shells import QDAMP_GUESS, PdfData, Widths
from hpcpdf.lattice.template import shell_distances

Floats = NDArray[np.float64]

BONDS = (1.8, 4.0)
"""Nearest-neighbour distances that are looked for, Å."""
_U_START = 0.006
_U_LIMITS = (0.0005, 0.06)
_DELTA2_LIMITS = (0.0, 6.0)
_NEAR = 8.0
"""The first look at bond lengths goes up to here, Å."""
_COARSE = 0.009
"""Relative step of the first look."""
_ENOUGH = 1e-5
"""Shells that would explain less than this share of what is left (squared) are left out."""
_PEAK = 0.3
"""Maxima of G above this share of the highest one nearby may be the first peak."""


@dataclass(frozen=True, eq=False)
class FamilyFit:
    """The best that a family can do on a PDF.

    Attributes
    ----------
    family : str
    rw : float
        Lowest R_w (unit weights) that any rigid particle of the family, or any mixture of them, can have.
    misfit : float
        The same, squared, in the metric in which noise is white.
    widths : Widths
        Where it is reached.
    columns : int
        Shells with pairs.
    bic : float
        n log misfit + log n (columns + parameters).
    counts : (C,)
        Relative numbers of pairs.
    distance : (C,)
        Of the shells, in bond lengths.
    """

    family: str
    rw: float
    misfit: float
    widths: Widths
    columns: int
    bic: float
    counts: Floats = field(repr=False)
    distance: Floats = field(repr=False)


def first_peaks(data: PdfData) -> list[float]:
    """Distances in Å at which the first peak of the PDF may be, the highest first."""
    inside = (data.r >= BONDS[0] * 0.97) & (data.r <= BONDS[1] * 1.03)
    r, g = data.r[inside], data.g[inside]
    if len(r) < 3:
        return []
    top = (g[1:-1] >= g[:-2]) & (g[1:-1] > g[2:]) & (g[1:-1] > 0.0)
    at = np.flatnonzero(top) + 1
    if not at.size:
        return []
    at = at[g[at] >= _PEAK * g[at].max()]
    left, here, right = g[at - 1], g[at], g[at + 1]
    shift = 0.5 * (left - right) / np.minimum(left - 2.0 * here + right, -1e-30)
    places = r[at] + np.clip(shift, -0.5, 0.5) * float(np.median(np.diff(r)))
    return [float(place) for place in places[np.argsort(-here, kind="stable")]]


class _Problem:
    """Non-negative least squares of one PDF by one family's shells."""

    def __init__(self, data: PdfData, distance: Floats, weights: Floats, qdamp: float) -> None:
        self._data = data
        self._weights = data.padded(weights * data.envelope(qdamp))
        self.target = data.padded(weights * data.g)
        self.size = float(np.linalg.norm(self.target))
        self._all = distance
        self.used: list[int] = []
        self.counts = np.zeros(0)

    def shells(self, bond: float) -> Floats:
        """Distances that matter at a bond length, in Å."""
        return np.asarray(self._all[self._all * bond < self._data.r[-1] + 1.5] * bond)

    def columns(self, distances: Floats, u: float, delta2: float) -> Floats:
        return self._data.columns(distances, u, delta2, self._weights)

    def __call__(self, bond: float, u: float, delta2: float, warm: bool = True) -> float:
        """Norm of what is left, as a share of the data's."""
        columns = self.columns(self.shells(bond), u, delta2)
        start = [c for c in self.used if c < len(columns)] if warm else []
        self.counts, used, left = _core.nnls(columns, self.target, _ENOUGH, start)
        self.used = list(used)
        return left / self.size

    def step(self, theta: Floats, free: list[int], left: float, damping: float) -> Floats:
        """Change of (log bond, log u, δ2) that linear theory asks for."""
        bond, u, delta2 = math.exp(theta[0]), math.exp(theta[1]), float(theta[2])
        used = np.array(self.used, dtype=np.intp)
        x = self.counts[used]
        distances = self._all[used] * bond
        here = self.columns(distances, u, delta2)
        residual = self.target - x @ here
        slopes = self._data.slopes(distances, x, u, delta2, self._weights)[free]
        basis, _ = np.linalg.qr(here.T)
        slope = slopes.T
        slope = slope - basis @ (basis.T @ slope)
        normal = slope.T @ slope
        normal[np.diag_indices(len(free))] *= 1.0 + damping
        normal[np.diag_indices(len(free))] += 1e-14 * self.size**2
        change = np.zeros(3)
        change[free] = np.linalg.solve(normal, slope.T @ residual)
        return change


def fit_family(
    data: PdfData, family: str, *, free_delta2: bool = True, qdamp: float | None = None, rounds: int = 12
) -> FamilyFit | None:
    """Bond length, U and δ2 at which a family does best, and how well that is.

    Parameters
    ----------
    data
        The PDF.
    family
        One of `hpcpdf.lattice.template.LATTICES`.
    free_delta2
        Also look for correlated motion; it stays zero where it brings nothing.
    qdamp
        1/Å; None: what the data say, or a usual one.
    rounds
        Steps from each start at most.

    Returns
    -------
    FamilyFit or None
        None if no peak lies where a first peak may be.
    """
    if qdamp is None:
        qdamp = QDAMP_GUESS if data.qdamp is None else data.qdamp
    peaks = first_peaks(data)
    if not peaks:
        return None
    starts = _look_near(data, family, peaks, qdamp)
    reach = data.r[-1] + 1.5
    best: FamilyFit | None = None
    for bond in starts:
        distance = shell_distances(family, reach / (0.9 * bond))
        problem = _Problem(data, distance, data.whitening(), qdamp)
        found = _descend(problem, bond, free_delta2, rounds)
        fit = _family_fit(data, family, distance, problem, found, qdamp)
        if best is None or fit.misfit < best.misfit:
            best = fit
    return best


def _look_near(data: PdfData, family: str, peaks: list[float], qdamp: float) -> list[float]:
    """Bond lengths worth a closer look, from the first few ångström."""
    part = data.r <= max(_NEAR, 2.5 * peaks[0])
    near = PdfData(data.r[part], data.g[part], data.params, data.qdamp)
    offsets = np.arange(-6, 7) * _COARSE
    bonds = np.unique(np.round(np.concatenate([np.outer(peaks, 1.0 + offsets).ravel()]), 6))
    bonds = bonds[(bonds >= BONDS[0]) & (bonds <= BONDS[1])]
    if not bonds.size:
        return []
    distance = shell_distances(family, (near.r[-1] + 1.5) / float(bonds.min()))
    problem = _Problem(near, distance, near.whitening(), qdamp)
    left = np.array([problem(float(bond), _U_START, 0.0) for bond in bonds])
    order = np.argsort(left, kind="stable")
    chosen: list[float] = []
    for k in order.tolist():
        if left[k] > 1.6 * left[order[0]] + 0.02:
            break
        if all(abs(bonds[k] / other - 1.0) > 2.5 * _COARSE for other in chosen):
            chosen.append(float(bonds[k]))
        if len(chosen) == 2:
            break
    return chosen


def _descend(problem: _Problem, bond: float, free_delta2: bool, rounds: int) -> tuple[float, float, float, float]:
    """(left, bond, u, delta2) at the end of a Levenberg–Marquardt descent."""
    low = np.array([math.log(BONDS[0]), math.log(_U_LIMITS[0]), _DELTA2_LIMITS[0]])
    high = np.array([math.log(BONDS[1]), math.log(_U_LIMITS[1]), _DELTA2_LIMITS[1]])
    theta = np.array([math.log(bond), math.log(_U_START), 0.0])
    left = problem(bond, _U_START, 0.0)
    damping = 1e-3
    for _ in range(rounds):
        counts, used = problem.counts, problem.used
        free = [0, 1, 2] if free_delta2 else [0, 1]
        change = problem.step(theta, free, left, damping)
        trial = np.clip(theta + np.clip(change, [-0.02, -0.7, -1.5], [0.02, 0.7, 1.5]), low, high)
        value = problem(math.exp(trial[0]), math.exp(trial[1]), float(trial[2]))
        if value < left:
            done = left - value < 1e-5 * left + 1e-9
            theta, left, damping = trial, value, damping * 0.2
            if done:
                break
        else:
            problem.counts, problem.used = counts, used
            if damping > 1e3:
                break
            damping *= 12.0
    return left, math.exp(theta[0]), math.exp(theta[1]), float(theta[2])


def _family_fit(
    data: PdfData,
    family: str,
    distance: Floats,
    problem: _Problem,
    found: tuple[float, float, float, float],
    qdamp: float,
) -> FamilyFit:
    left, bond, u, delta2 = found
    counts = problem.counts
    shells = problem.shells(bond)
    g = counts @ data.columns(shells, u, delta2, data.padded(data.envelope(qdamp)))
    g = g[: len(data.r)]
    along = float(g @ data.g)
    rw2 = 1.0 - along * along / max(float(g @ g) * float(data.g @ data.g), 1e-300)
    n = data.independent
    active = int(np.count_nonzero(counts))
    bic = n * math.log(max(left, 1e-9) ** 2) + math.log(n) * (active + (3 if delta2 > 0.0 else 2))
    return FamilyFit(
        family=family,
        rw=math.sqrt(max(rw2, 0.0)),
        misfit=left**2,
        widths=Widths(bond, u, delta2, qdamp),
        columns=active,
        bic=bic,
        counts=counts,
        distance=distance[: len(shells)],
    )


def fit_families(
    data: PdfData, families: tuple[str, ...] = ("fcc", "hcp", "bcc", "sc", "decahedron", "icosahedron")
) -> list[FamilyFit]:
    """Fits of families, the lowest BIC first."""
    fits = [fit for fit in (fit_family(data, family) for family in families) if fit is not None]
    return sorted(fits, key=lambda fit: fit.bic)
