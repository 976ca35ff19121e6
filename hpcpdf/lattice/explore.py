"""Search of all families that a PDF leaves possible, and what the structures met say together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpcpdf.lattice.bounds import FamilyFit
from hpcpdf.lattice.model import profile
from hpcpdf.lattice.prior import BOND_COST, DEFECT_COST, defects
from hpcpdf.lattice.search import FamilySearch, Met
from hpcpdf.lattice.shells import PdfData
from hpcpdf.lattice.sphere import fit_sphere

Floats = NDArray[np.float64]

MOVES = {"quick": 1.0e5, "normal": 1.0e6, "thorough": 5.0e6}
"""Moves that an effort is worth, of particles of about a hundred atoms; larger ones move at a higher price."""

_SHARPNESS, _LEAST_SHARE = (0.15, 0.015), (0.02, 0.15)
"""Families share the moves by exp(−sharpness · difference in BIC), and a least share, of data without noise and with.

What is left of a measured PDF is mostly no noise: the criterion takes differences for more than they are.
"""
_CLEAN = 2e-6
"""Misfit of free shells below which there is no noise."""
_WEIGHED = 1500
"""Structures of a family whose probability is worked out, of up to a hundred atoms; fewer of larger ones."""
_NEGLIGIBLE = 1e-5
"""Probabilities below this share of the highest are left out."""
_NOTHING_LEFT, _EQUAL_SHARE = 1e-8, 0.2
"""Misfit of free shells that is rounding, and the least share of families that come this close."""
ROUNDING_OF_BOUNDS = 1e-3
"""R_w by which a bound may lie above its family's particles: descents and merged shells are exact to this."""
_FAR_PAIRS = 1e-3
"""Share of all pairs that may lie beyond a particle's diameter."""
_LARGEST, _LARGEST_OTHER = 30.0, 16.0
"""Diameters in bond lengths that templates of lattices, and of all others, are made for at first."""


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


def _likeliest(
    found: list[tuple[FamilySearch, Met, float, float, float]], count: int
) -> list[tuple[FamilySearch, Met, float, float, float]]:
    return sorted(found, key=lambda item: -item[4])[:count]


def rounding(data: PdfData) -> float:
    """R_w that the decimals of a PDF cannot be told from; 1e-6 at least."""
    g = data.g
    size = float(np.sqrt(np.mean(g**2)))
    for decimals in range(1, 9):
        if np.max(np.abs(g - np.round(g, decimals))) < 1e-12 * max(1.0, float(np.abs(g).max())):
            return max(1e-6, 1.5 * 10.0**-decimals / math.sqrt(12.0) / size)
    return 1e-6


def diameter_of(data: PdfData, fit: FamilyFit) -> float:
    """About the largest distance of the particle, in bond lengths, from the shells that have pairs."""
    # Free shells leave a few pairs far out that no particle has, and any number at the end of the data.
    told = np.where(fit.distance * fit.widths.bond < data.r[-1] - 0.5, fit.counts, 0.0)
    beyond = np.cumsum(told[::-1])[::-1]
    longest = float(fit.distance[np.flatnonzero(beyond > _FAR_PAIRS * beyond[0])[-1]])
    if longest * fit.widths.bond < 0.93 * data.r[-1] - 0.5:
        return longest
    # The particle reaches to the end of the data or beyond: the fall of the shells before tells how far.
    sphere = fit_sphere(data, "fcc" if fit.family not in ("hcp", "bcc", "sc") else fit.family, fit.widths)
    low = min(sphere.diameters[0], sphere.diameter) / fit.widths.bond
    largest = _LARGEST if fit.family in ("fcc", "hcp", "bcc", "sc") else _LARGEST_OTHER
    return float(min(max(longest, 1.15 * low), largest))


def explore(
    data: PdfData,
    fits: Sequence[FamilyFit],
    effort: str,
    *,
    seed: int,
    n_threads: int,
    tell: Callable[[str], None],
    proposals: Mapping[str, Sequence[Floats]] | None = None,
) -> list[FamilySearch]:
    """Search the families that their bounds leave possible, the likelier ones more.

    Parameters
    ----------
    data
        The PDF.
    fits
        Of the families, lowest BIC first.
    effort
        A key of `MOVES`.
    seed
        Of all random numbers.
    n_threads
        The result does not depend on it.
    tell
        Called with a line of text now and then.
    proposals
        Structures that the search of a family also begins with, as `FamilySearch.propose` takes them.

    Returns
    -------
    list of FamilySearch
        Those that were begun, the best first.
    """
    stop = rounding(data) ** 2
    noisy = min(fit.misfit for fit in fits) > _CLEAN
    sharpness, least = _SHARPNESS[noisy], _LEAST_SHARE[noisy]
    shares = [
        max(
            _EQUAL_SHARE if fit.misfit < _NOTHING_LEFT else least,
            math.exp(-sharpness * max(0.0, fit.bic - fits[0].bic)),
        )
        for fit in fits
    ]
    searches: dict[int, FamilySearch] = {}
    budget = MOVES[effort]
    lowest = math.inf
    while sum(search.moves for search in searches.values()) < budget:
        open_ = [k for k, fit in enumerate(fits) if k == 0 or fit.rw < lowest + ROUNDING_OF_BOUNDS]
        spent = {k: searches[k].moves if k in searches else 0.0 for k in open_}
        # A family is begun when its share of what has been spent is worth a cycle.
        k = min(open_, key=lambda k: ((spent[k] + 2.0e4) / shares[k], k))
        if k not in searches:
            searches[k] = FamilySearch(
                data,
                fits[k],
                diameter_of(data, fits[k]),
                bond_cost=BOND_COST / (0.5 * data.independent),
                stop=stop,
                seed=seed * 1009 + k,
                n_threads=n_threads,
            )
            if proposals and fits[k].family in proposals:
                taken = searches[k].propose(proposals[fits[k].family])
                tell(f"{fits[k].family}: {taken} structures of the model to begin with")
        search = searches[k]
        before = search.moves
        search.advance()
        search.moves = max(search.moves, before + 2.0e3)
        best = search.best
        if best is not None:
            lowest = min(lowest, math.sqrt(best.misfit))
            tell(f"{search.family}: {len(best.sites)} atoms, {search.moves / 1e6:.2f} M moves")
        if search.done:
            search.find_twins()
            break
    return sorted(
        (search for search in searches.values() if search.best is not None),
        key=lambda search: search.best.value if search.best else math.inf,
    )


def weigh(data: PdfData, searches: Sequence[FamilySearch]) -> list[Weighed]:
    """The structures met, likeliest first, with their probabilities.

    Noise of unknown size σ in the independent values of a PDF makes the likelihood misfit^(−n/2). A structure is the
    less likely by `BOND_COST` for every bond that it misses beyond what is usual, and by `DEFECT_COST` for every defect
    of its facets. Structures that no walk met have no share.
    """
    found: list[tuple[FamilySearch, Met, float, float, float]] = []
    # The scale, bond length, U and perhaps δ2 and qdamp are spent on every structure.
    n = data.independent - (4.0 if data.qdamp is not None else 5.0)
    floor = rounding(data) ** 2
    for search in searches:
        mets = sorted(search.pool.values(), key=lambda met: met.value)
        if search.family == "twin" and any(other.family == "fcc" for other in searches):
            # The search of fcc has what lies on one side of the plane alone.
            mets = [met for met in mets if _is_twinned(search, met)]
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
