"""Search of all families that a PDF leaves possible, the likelier ones more."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hpcpdf.lattice.bounds import FamilyFit
from hpcpdf.lattice.prior import BOND_COST
from hpcpdf.lattice.search import CLEAN, FamilySearch
from hpcpdf.lattice.shells import PdfData
from hpcpdf.lattice.sphere import CRYSTALS, SphereFit, fit_sphere
from hpcpdf.lattice.template import TemplateTooLargeError

Floats = NDArray[np.float64]

MOVES = {"quick": 2.0e5, "normal": 2.0e6, "thorough": 1.0e7}
"""Moves that an effort is worth, of particles of about a hundred atoms; larger ones move at a higher price."""

_SHARPNESS, _LEAST_SHARE = (0.15, 0.015), (0.02, 0.15)
"""Families share the moves by exp(−sharpness · difference in BIC), and a least share, of data without noise and with.

What is left of a measured PDF is mostly no noise: the criterion takes differences for more than they are.
"""
_NOTHING_LEFT, _EQUAL_SHARE = 1e-8, 0.2
"""Misfit of free shells that is rounding, and the least share of families that come this close."""
ROUNDING_OF_BOUNDS = 1e-3
"""R_w by which a bound may lie above its family's particles: descents and merged shells are exact to this."""
_FAR_PAIRS, _FAR_PAIRS_DENSE = 1e-3, 1e-2
"""Share of all pairs that may lie beyond a particle's diameter; the many shells of some families leave more far out."""
_LARGEST, _LARGEST_OTHER = 30.0, 16.0
"""Diameters in bond lengths that templates of lattices, and of all others, are made for at first."""


def diameter_of(data: PdfData, fit: FamilyFit, spheres: dict[str, SphereFit]) -> float:
    """About the largest distance of the particle, in bond lengths, from the shells that have pairs.

    `spheres` keeps what was fitted, by crystal.
    """
    # Free shells leave a few pairs far out that no particle has, and any number at the end of the data.
    end = min(fit.end, float(data.r[-1]))
    told = np.where(fit.distance * fit.widths.bond < end - 0.5, fit.counts, 0.0)
    beyond = np.cumsum(told[::-1])[::-1]
    share = _FAR_PAIRS_DENSE if fit.family in ("decahedron", "icosahedron") else _FAR_PAIRS
    longest = float(fit.distance[np.flatnonzero(beyond > share * beyond[0])[-1]])
    if longest * fit.widths.bond < 0.93 * end - 0.5:
        return longest
    # The particle reaches to the end of the data or beyond: the fall of the shells before tells how far.
    crystal = fit.family if fit.family in CRYSTALS else "fcc"
    if crystal not in spheres:
        spheres[crystal] = fit_sphere(data, crystal, fit.widths)
    sphere = spheres[crystal]
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
    note: Callable[[str], None] = lambda text: None,
    proposals: Mapping[str, Sequence[Floats]] | None = None,
    neighbours: Mapping[str, Sequence[Floats]] | None = None,
    all_begin: bool = False,
    sphere: SphereFit | None = None,
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
    note
        Called with what a reader of the answer should know.
    proposals
        Structures that the search of a family also begins with, as `FamilySearch.propose` takes them.
    neighbours
        The same, whatever their origin.
    all_begin
        Whether every family that its bound leaves possible gets a cycle, however small its share.
    sphere
        Of the first of `fits`, where it was fitted before.

    Returns
    -------
    list of FamilySearch
        Those that were begun, the best first.
    """
    stop = data.rounding() ** 2
    noisy = min(fit.misfit for fit in fits) > CLEAN
    sharpness, least = _SHARPNESS[noisy], _LEAST_SHARE[noisy]
    shares = [
        max(
            _EQUAL_SHARE if fit.misfit < _NOTHING_LEFT else least,
            math.exp(-sharpness * max(0.0, fit.bic - fits[0].bic)),
        )
        for fit in fits
    ]
    searches: dict[int, FamilySearch] = {}
    spheres: dict[str, SphereFit] = {}
    if sphere is not None:
        spheres[fits[0].family if fits[0].family in CRYSTALS else "fcc"] = sphere
    budget = MOVES[effort]
    lowest = math.inf
    passed_over: set[int] = set()
    while sum(search.moves for search in searches.values()) < budget:
        open_ = [k for k, fit in enumerate(fits) if k == 0 or fit.rw < lowest + ROUNDING_OF_BOUNDS]
        open_ = [k for k in open_ if k not in passed_over]
        if not open_:
            break
        spent = {k: searches[k].moves if k in searches else 0.0 for k in open_}
        # A family is begun when its share of what has been spent is worth a cycle.
        k = min(open_, key=lambda k: ((spent[k] + 2.0e4) / shares[k], k))
        if all_begin and k in searches:
            k = next((k for k in open_ if k not in searches), k)
        if k not in searches:
            try:
                searches[k] = FamilySearch(
                    data,
                    fits[k],
                    diameter_of(data, fits[k], spheres),
                    bond_cost=BOND_COST / (0.5 * data.independent),
                    stop=stop,
                    seed=seed * 1009 + k,
                    n_threads=n_threads,
                )
            except TemplateTooLargeError as error:
                passed_over.add(k)
                note(f"not searched: {error}")
                continue
            if proposals and fits[k].family in proposals:
                taken = searches[k].propose(proposals[fits[k].family])
                tell(f"{fits[k].family}: {taken} structures of the model to begin with")
            if neighbours and fits[k].family in neighbours:
                searches[k].propose(neighbours[fits[k].family], shifted=True)
        search = searches[k]
        before = search.moves
        search.advance()
        search.moves = max(search.moves, before + 2.0e3)
        best = search.best
        if best is not None:
            lowest = min(lowest, math.sqrt(best.misfit))
            tell(f"{search.family}: {len(best.sites)} atoms, {search.moves / 1e6:.2f} M moves")
        if search.done:
            break
    return sorted(
        (search for search in searches.values() if search.best is not None),
        key=lambda search: search.best.value if search.best else math.inf,
    )
