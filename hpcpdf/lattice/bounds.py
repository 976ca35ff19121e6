"""What a family can do at best: bond length, widths and the lowest R_w of any of its particles.

Non-negative least squares in the shell counts is a relaxation of "some particle of this family": whatever its size and
shape, and whatever mixture of sizes and shapes, no rigid particle can agree better with the PDF. Bond length, U and δ2
are found by the same misfit (variable projection, Golub & Pereyra 1973), without any structure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hpcpdf.lattice.free_shells import BOND, DELTA2, HIGH, LOW, QDAMP, STEPS, Descent, FreeShells, U, widths_of
from hpcpdf.lattice.shells import BONDS, QDAMP_GUESS, PdfData, Widths
from hpcpdf.lattice.template import shell_distances

Floats = NDArray[np.float64]

FAMILIES = ("fcc", "hcp", "bcc", "sc", "decahedron", "icosahedron", "twin")
"""Families that a PDF is asked for unless said otherwise; a twin's shells hold those of fcc, hcp and sc."""

_U_START = 0.006
_NEAR = 8.0
"""The first look at bond lengths goes up to here, Å."""
_COARSE = 0.009
"""Relative step of the first look."""
_PEAK = 0.3
"""Maxima of G above this share of the highest one nearby may be the first peak."""
_FIRST_PEAK = {"bcc": (-0.08, 0.02), "icosahedron": (-0.06, 0.01), "decahedron": (-0.03, 0.015)}
"""Bond lengths to look at, from the first peak: shells beside the first one draw its maximum outwards."""
_FIRST_PEAK_USUAL = (-0.02, 0.02)
_MOST_PAIRS = 15.0
"""Pairs in one shell per bond at most: connected particles have about as many bonds as atoms, and shells 24 atoms."""
_FINE = 0.03
"""Shells closer than this, Å, are left to those on both sides: to second order, their PDF is a mixture of these."""
_DENSE = {"decahedron": 12.0, "icosahedron": 12.0}
"""Bond lengths beyond which these families have a shell nearly everywhere, and get one in each `_FINE`."""
_LONG, _ENOUGH = 45.0, 40.0
"""Å; of data longer than the first, shells are fitted up to the second: thousands of them would cost half a minute."""
_ALIKE = 6.0
"""Differences of the BIC up to which families are alike."""
_SAME = 5e-4
"""Distances closer than this, in bond lengths, are the same."""
_FLOOR = 1e-6
"""Misfit per degree of freedom below which data are exact: R_w of 0.001."""
_HOPELESS, _CLEAR = 100.0, 4e-4
"""A family is given up that would not come within this BIC of the best, unless little is left: R_w of 0.02. Of data
without noise, the BIC makes much of a step that is still to come."""
_HOPELESS_STEPS, _HOPELESS_DONE = 6, 0.01
"""How far such a family is followed further: steps, and promise of a step that is not made."""
_UNSURE = 0.1
"""Share of R_w by which the bound of such a family may still be too high: nine in ten were, on test sets, by less."""
_DELTA2_START = 2.0
"""Å²; where a second search begins if the first, from no correlated motion, ends above `_POOR`."""
_POOR = 0.0025
"""Misfit that correlated motion may be behind."""


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
        n log s² + log n (columns + parameters), with s² = misfit n/(n − columns), what is left per degree of freedom,
        of n independent points: by the misfit itself, families of many shells would win by following the noise.
    uncertainty : float
        How much lower `rw` might still go: a tenth where the descent was given up early, and what widths gain that the
        BIC finds too dear.
    counts : (C,)
        Relative numbers of pairs.
    distance : (C,)
        Of the shells, in bond lengths.
    end : float
        Å; shells were fitted to the data up to there.
    """

    family: str
    rw: float
    misfit: float
    widths: Widths
    columns: int
    bic: float
    uncertainty: float
    counts: Floats = field(repr=False)
    distance: Floats = field(repr=False)
    end: float = math.inf


def first_peaks(data: PdfData) -> list[float]:
    """Distances in Å at which the first peak of the PDF may be, the highest first."""
    # Wide enough for the slopes of a peak at the limits, and for one whose maximum other shells draw outwards.
    inside = (data.r >= BONDS[0] - 0.3) & (data.r <= 1.1 * BONDS[1] + 0.3)
    r, g = data.r[inside], data.g[inside]
    if len(r) < 3:
        return []
    at = np.flatnonzero((g[1:-1] >= g[:-2]) & (g[1:-1] > g[2:]) & (g[1:-1] > 0.0)) + 1
    left, here, right = g[at - 1], g[at], g[at + 1]
    shift = 0.5 * (left - right) / np.minimum(left - 2.0 * here + right, -1e-30)
    places = r[at] + np.clip(shift, -0.5, 0.5) * float(np.median(np.diff(r)))
    possible = (places >= 0.97 * BONDS[0]) & (places <= 1.1 * BONDS[1])
    places, here = places[possible], here[possible]
    high = here >= _PEAK * here.max(initial=0.0)
    places, here = places[high], here[high]
    return [float(place) for place in places[np.argsort(-here, kind="stable")]]


def _thinned(distance: Floats, gap: float) -> Floats:
    """Distances among which every other one has neighbours at most `gap` apart, ascending."""
    distance = np.sort(distance)
    if not np.any(distance[2:] - distance[:-2] <= gap):
        return distance
    kept = [0]
    reached = (np.searchsorted(distance, distance + gap, side="right") - 1).tolist()
    while kept[-1] < len(distance) - 1:
        kept.append(max(reached[kept[-1]], kept[-1] + 1))
    return distance[kept]


class _Family:
    """One family on the way to its fit."""

    def __init__(self, data: PdfData, family: str, shortest: float) -> None:
        """With bond lengths from `shortest` on, Å."""
        self.data, self.family = data, family
        self.free: tuple[int, ...] = (BOND, U)
        self.given_up = False
        self.descent: Descent
        self._lowest = math.inf
        reach, gap = (data.r[-1] + 1.5) / shortest, _FINE / shortest
        self._distance = _thinned(shell_distances(family, min(reach, _DENSE.get(family, reach))), gap)
        if reach > self._distance[-1] + gap:
            self._distance = np.append(self._distance, np.arange(self._distance[-1] + gap, reach, gap))

    def look_near(self, near: PdfData, peaks: Sequence[float], start: Floats) -> bool:
        """Bond length and U from the first few ångström; False if there is none to look at."""
        low, high = _FIRST_PEAK.get(self.family, _FIRST_PEAK_USUAL)
        offsets = 1.0 + np.linspace(low, high, round((high - low) / _COARSE) + 1)
        bonds = np.outer(peaks, offsets).ravel()
        bonds = bonds[(bonds >= BONDS[0]) & (bonds <= BONDS[1])]
        if not bonds.size:
            return False
        problem = FreeShells(near, self._distance, math.exp(start[U]))
        found = []
        for bond in bonds.tolist():
            value, _ = problem(np.array([math.log(bond), *start[1:]]))
            found.append((not self._has_bonds(problem), value, bond))
        self.descent = Descent(problem, np.array([math.log(min(found)[2]), *start[1:]]))
        self.descent.run(self.free, steps=4, enough=1e-3)
        return True

    @staticmethod
    def _has_bonds(problem: FreeShells) -> bool:
        bonds = problem.distance[: len(problem.counts)] < 1.2
        return float(problem.counts.max(initial=0.0)) <= _MOST_PAIRS * float(problem.counts[bonds].sum())

    def look_far(self, theta: Floats) -> None:
        """Begins with all of the data."""
        self.descent = Descent(FreeShells(self.data, self._distance, widths_of(theta).u), theta)

    def begin(self, theta: Floats, more: Sequence[int], best: float) -> None:
        """From the first look to the fit, as long as a `best` BIC is within reach."""
        inherited = DELTA2 in self.free
        self.look_far(theta)
        self.run(best)
        if self.descent.value < _CLEAR:
            self._change_grid()
        elif self.bic() >= best + _HOPELESS:
            # Whatever the BIC: of a family that cannot win, only how low it could come is of interest.
            self.free = (*self.free, *(place for place in more if place not in self.free))
            self.descent.run(self.free, steps=_HOPELESS_STEPS, enough=_HOPELESS_DONE)
            self.given_up = True
            return
        for place in more:
            self.set_free(place)
        self._change_grid()
        if inherited:
            self.restart(DELTA2, 0.0, free=False)

    def run(self, best: float) -> None:
        """Down to the bottom, or to where a `best` BIC is out of reach."""
        for done in range(STEPS):
            self.descent.step(self.free)
            if self.descent.ended():
                return
            if (
                done > 0
                and self.descent.value > _CLEAR
                and self.bic(self.descent.value - 2.0 * self.descent.promise) > best + _HOPELESS
            ):
                return

    def _change_grid(self) -> None:
        """Goes on with the Q grid of the U that was found, where that is another one."""
        if self.data.grid(widths_of(self.descent.theta).u) != self.descent.problem.grid:
            self.look_far(self.descent.theta)
            self.descent.run(self.free)

    def set_free(self, place: int) -> None:
        """Frees one more parameter if that lowers the BIC."""
        descent, before = self.descent, self.bic()
        if place in self.free or self._promise(place) <= 0.0:
            return
        # Curvature is known from afar only: twice what is promised may be won.
        if self.bic(descent.value - 2.0 * self._promise(place)) + math.log(self.data.independent) > before:
            return
        kept, self.free = (self.free, descent.place), (*self.free, place)
        descent.run(self.free)
        self._lowest = min(self._lowest, descent.value)
        if self.bic() > before:
            self.free, descent.place = kept

    def restart(self, place: int, value: float, *, free: bool) -> None:
        """Begins again from another value of a parameter, free or not, and keeps what has the lower BIC."""
        theta = self.descent.theta.copy()
        theta[place] = value
        others = tuple(k for k in self.free if k != place)
        self.challenge(theta, (*others, place) if free else others)

    def challenge(self, theta: Floats, free: tuple[int, ...]) -> None:
        """Another descent, from `theta`; the one with the lower BIC is kept."""
        before = self.bic(), self.descent, self.free
        self.free = free
        self.look_far(theta)
        self.descent.run(free)
        self._lowest = min(self._lowest, self.descent.value)
        if self.bic() > before[0]:
            _, self.descent, self.free = before

    def bic(self, value: float | None = None) -> float:
        n, columns = self.data.independent, len(self.descent.used)
        freedom = max(1.0 - columns / n, 1.0 / n)
        left = max(self.descent.value if value is None else value, 0.0)
        return n * math.log(left / freedom + _FLOOR) + math.log(n) * (columns + len(self.free))

    def fit(self, more: Sequence[int]) -> FamilyFit:
        """What was found; parameters `more` may yet be freed."""
        descent, widths = self.descent, widths_of(self.descent.theta)
        rw = descent.problem.bound(widths, descent.used)
        misfit = max(descent.value - descent.problem.price(descent.counts), 0.0)
        promise = descent.promise + sum(self._promise(place) for place in more if place not in self.free)
        lowest = max(min(descent.value - 2.0 * promise, self._lowest), 0.0)
        # R_w falls with the root of the misfit.
        lower = min(math.sqrt(lowest / max(descent.value, 1e-300)), 1.0)
        return FamilyFit(
            family=self.family,
            rw=rw,
            misfit=misfit,
            widths=widths,
            columns=len(descent.used),
            bic=self.bic(),
            uncertainty=rw * max(1.0 - lower, _UNSURE if self.given_up else 0.0),
            counts=descent.counts,
            distance=self._distance[: len(descent.counts)],
            end=float(self.data.r[-1]),
        )

    def _promise(self, place: int) -> float:
        """What freeing one more parameter promises, to second order."""
        descent = self.descent
        slope, curvature = float(descent.gradient[place]), float(descent.curvature[place, place])
        room = float((HIGH if slope < 0.0 else LOW)[place] - descent.theta[place])
        change = min(-slope / curvature, room, key=abs)
        return -(slope * change + 0.5 * curvature * change**2)


def fit_families(
    data: PdfData, families: Sequence[str] = FAMILIES, *, free_delta2: bool = True, qdamp: float | None = None
) -> list[FamilyFit]:
    """What each of several families can do at best, the lowest BIC first.

    The most promising family tells the others where δ2 and qdamp are; those that cannot win are left before the bottom
    (`FamilyFit.uncertainty`). Of data beyond 45 Å the shells up to 40 Å are fitted, and the rest counts as explained:
    what is left of a part of the data is left of all of it, so that the bounds hold, and are lower than they might be.

    Parameters
    ----------
    data
        The PDF.
    families
        Of `hpcpdf.lattice.template.LATTICES`.
    free_delta2
        Also look for correlated motion; it stays zero where the BIC is no lower with it.
    qdamp
        1/Å; None: what the data say, or else one that is fitted, too, where that lowers the BIC.

    Returns
    -------
    list of FamilyFit
        Empty if no peak lies where a first peak may be.
    """
    if float(data.r[-1]) > _LONG:
        fits = fit_families(_first(data), families, free_delta2=free_delta2, qdamp=qdamp)
        # What a part of the data leaves alike is looked for first where there are fewer shells.
        alike = sum(fit.bic <= fits[0].bic + _ALIKE for fit in fits)
        ordered = [*sorted(fits[:alike], key=lambda fit: fit.columns), *fits[alike:]]
        return [_of_all(fit, data) for fit in ordered]
    known = data.qdamp if qdamp is None else qdamp
    peaks = first_peaks(data)
    if not peaks:
        return []
    part = data.r <= max(_NEAR, 2.5 * peaks[0])
    near = PdfData(data.r[part], data.g[part], data.params, data.qdamp)
    start = np.array([0.0, math.log(_U_START), 0.0, 1000.0 * (QDAMP_GUESS if known is None else known) ** 2])
    more = ([DELTA2] if free_delta2 else []) + ([QDAMP] if known is None else [])
    shortest = max(BONDS[0], 0.9 * min(peaks))
    racing = [family for name in families if (family := _Family(data, name, shortest)).look_near(near, peaks, start)]
    racing.sort(key=lambda family: family.descent.value)
    if not racing:
        return []
    racing[0].begin(racing[0].descent.theta, more, math.inf)
    if DELTA2 in more and DELTA2 not in racing[0].free and racing[0].descent.value > _POOR:
        racing[0].restart(DELTA2, _DELTA2_START, free=True)
    best = racing[0]
    for family in racing[1:]:
        family.free = best.free
        family.begin(np.array([*family.descent.theta[:DELTA2], *best.descent.theta[DELTA2:]]), more, best.bic())
        if family.bic() < best.bic():
            best = family
    for family in racing[: racing.index(best)]:
        if family.free != best.free:
            family.challenge(np.array([*family.descent.theta[:DELTA2], *best.descent.theta[DELTA2:]]), best.free)
    return sorted((family.fit(more) for family in racing), key=lambda fit: fit.bic)


def _first(data: PdfData) -> PdfData:
    part = data.r <= _ENOUGH
    return PdfData(data.r[part], data.g[part], data.params, data.qdamp)


def _of_all(fit: FamilyFit, data: PdfData) -> FamilyFit:
    """A fit of the first part, as a bound on all of the data."""
    part = data.r <= _ENOUGH
    plain, white = data.g**2, (data.whitening() * data.g) ** 2
    share = float(plain[part].sum() / plain.sum())
    return replace(
        fit,
        rw=math.sqrt(share) * fit.rw,
        uncertainty=math.sqrt(share) * fit.uncertainty,
        misfit=float(white[part].sum() / white.sum()) * fit.misfit,
    )


def fit_family(data: PdfData, family: str, *, free_delta2: bool = True, qdamp: float | None = None) -> FamilyFit | None:
    """Bond length, U and δ2 at which one family does best, and how well that is: `fit_families` of one, or None."""
    fits = fit_families(data, (family,), free_delta2=free_delta2, qdamp=qdamp)
    return fits[0] if fits else None


def families_with(distances: Floats, families: Sequence[str] = FAMILIES) -> tuple[str, ...]:
    """Families that have all of a particle's distances: no PDF can tell which of them it belongs to by its shells.

    A block of a few atoms of ``sc`` has distances of ``fcc`` only, and the other way round.

    Parameters
    ----------
    distances
        Of pairs, in any unit; the shortest one is the bond.
    families
        Of `hpcpdf.lattice.template.LATTICES`.
    """
    distances = np.unique(np.round(distances / np.min(distances), 4))
    found = []
    for family in families:
        shells = np.sort(shell_distances(family, 1.01 * float(distances[-1])))
        after = np.clip(np.searchsorted(shells, distances), 1, len(shells) - 1)
        away = np.minimum(np.abs(shells[after] - distances), np.abs(shells[after - 1] - distances))
        if float(away.max()) < _SAME:
            found.append(family)
    return tuple(found)
