"""What the structures that a search met say together: likelihood and prior of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hpcpdf.lattice.model import profile
from hpcpdf.lattice.prior import BOND_COST, DEFECT_COST, defects
from hpcpdf.lattice.search import FamilySearch, Met
from hpcpdf.lattice.shells import PdfData

_WEIGHED = 1500
"""Structures of a family whose probability is worked out, of up to a hundred atoms; fewer of larger ones."""
_FAR = 40.0
"""Log likelihood below the best from which on nothing is worked out."""
_NEGLIGIBLE = 1e-5
"""Probabilities below this share of the highest are left out."""


@dataclass(frozen=True, eq=False)
class Weighed:
    """A structure with its place in the posterior.

    Attributes
    ----------
    search : FamilySearch
        Where it was met.
    met : Met
        The structure.
    misfit, rw : float
        Bond length, widths and scale at their best: share of the data left, whitened; R_w with unit weights.
    probability : float
    """

    search: FamilySearch = field(repr=False)
    met: Met = field(repr=False)
    misfit: float
    rw: float
    probability: float

    @property
    def family(self) -> str:
        """Of the structure: what lies on one side of a twin plane alone is fcc."""
        family = self.search.family
        return "fcc" if family == "twin" and not _is_twinned(self.search, self.met) else family


def _is_twinned(search: FamilySearch, met: Met) -> bool:
    height = search.template.sites[met.sites, 2]
    return bool(height.min() < -0.1 and height.max() > 0.1)


def _value(met: Met, floor: float) -> float:
    """As the search sees it, but that all below the rounding of the data is alike."""
    return math.log(max(met.misfit, floor)) + met.energy


def _likeliest(
    found: list[tuple[FamilySearch, Met, float, float, float]], count: int
) -> list[tuple[FamilySearch, Met, float, float, float]]:
    return sorted(found, key=lambda item: -item[4])[:count]


def weigh(data: PdfData, searches: Sequence[FamilySearch]) -> list[Weighed]:
    """The structures met, likeliest first, with their probabilities.

    Noise of unknown size σ in the independent values of a PDF makes the likelihood misfit^(−n/2). A structure is the
    less likely by `BOND_COST` for every bond that it misses beyond what is usual, and by `DEFECT_COST` for every defect
    of its facets. Structures that no walk met have no share.
    """
    found: list[tuple[FamilySearch, Met, float, float, float]] = []
    # The scale, bond length, U and perhaps δ2 and qdamp are spent on every structure.
    n = data.independent - (4.0 if data.qdamp is not None else 5.0)
    floor = data.rounding() ** 2
    for search in searches:
        # What is far from the best by the search's own score is by every other.
        bests = [other.best for other in searches if other.clean == search.clean]
        lowest = min(_value(best, floor) for best in bests if best is not None)
        mets = sorted(search.pool.values(), key=lambda met: met.value)
        # Fewer than two atoms are what walks on noise end at: they have no distance and explain nothing.
        mets = [met for met in mets if len(met.sites) >= 2 and 0.5 * n * (_value(met, floor) - lowest) < _FAR]
        if search.family == "twin":
            # What lies on one side of the plane alone is fcc: it counts where the search of fcc did no better.
            fcc = [_value(other.best, floor) for other in searches if other.family == "fcc" and other.best]
            mets = [met for met in mets if _is_twinned(search, met) or _value(met, floor) < min(fcc, default=math.inf)]
        if not mets:
            continue
        mets = mets[: max(200, int(_WEIGHED / max(1.0, len(mets[0].sites) / 100.0)))]
        misfit, rw = profile(data, search.template.distance, search.counts(mets), search.widths)
        usual = search.template.usual_missing
        for met, m, w in zip(mets, misfit.tolist(), rw.tolist(), strict=True):
            excess = met.missing - usual * len(met.sites) ** (2.0 / 3.0)
            # Whatever lies below the rounding of the data is alike.
            likelihood = -0.5 * n * math.log(max(m, floor)) - BOND_COST * excess
            found.append((search, met, m, w, likelihood))
    if not found:
        return []
    # Defects cost: whatever could be likely without any is looked at.
    top = max(item[4] - DEFECT_COST * defects(item[0].template, item[1].sites) for item in _likeliest(found, 20))
    found = [
        (*item[:4], item[4] - DEFECT_COST * defects(item[0].template, item[1].sites))
        for item in found
        if item[4] > top + math.log(_NEGLIGIBLE)
    ]
    top = max(item[4] for item in found)
    weights = np.exp(np.array([item[4] for item in found]) - top)
    weights[weights < _NEGLIGIBLE] = 0.0
    weights /= weights.sum()
    weighed = [
        Weighed(search, met, m, w, float(weight)) for (search, met, m, w, _), weight in zip(found, weights, strict=True)
    ]
    order = np.argsort([-item[4] for item in found], kind="stable")
    return [weighed[k] for k in order]
