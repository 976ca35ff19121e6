"""From what a search met to parts of an answer: which structures, their probabilities, bounds of families."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hpcpdf.lattice.bounds import FamilyFit
from hpcpdf.lattice.explore import ROUNDING_OF_BOUNDS
from hpcpdf.lattice.posterior import Weighed
from hpcpdf.pdf.params import B_PER_U
from hpcpdf.reconstruct.shape import geometry
from hpcpdf.reconstruct.solution import Bound, Posterior, Sample, Solution

Floats = NDArray[np.float64]

_SAMPLES = 400
"""Structures of the posterior that are described."""


def structures_of(neighbour: Solution) -> dict[str, list[Floats]]:
    """Structures of another answer, by family, in bond lengths."""
    bonds = {bound.family: bound.bond for bound in neighbour.family_bounds}
    groups: dict[str, list[Floats]] = {}
    for one in neighbour:
        if one.family in bonds:
            groups.setdefault(one.family, []).append(one.atoms.positions / (bonds[one.family] * one.zoom))
    return groups


def choose(weighed: Sequence[Weighed], top: int) -> list[Weighed]:
    """The likeliest structures, and the best of every other family that was searched, if there is room."""
    chosen = list(weighed[:top])
    for family in dict.fromkeys(item.family for item in weighed):
        if len(chosen) >= 2 and all(item.family != family for item in chosen):
            best = next(item for item in weighed if item.family == family)
            spare = [item for item in chosen[1:] if item.family == chosen[0].family]
            if len(chosen) == top and spare:
                chosen.remove(spare[-1])
            if len(chosen) < top:
                chosen.append(best)
    return chosen


def posterior_of(weighed: Sequence[Weighed]) -> Posterior:
    """Structures that were met as samples."""
    samples = []
    for item in weighed[:_SAMPLES]:
        if item.probability <= 0.0:
            continue
        template, sites = item.search.template, item.met.sites
        n = len(sites)
        shape = geometry(template.sites[sites])
        samples.append(
            Sample(
                n_atoms=n,
                diameter=shape.diameter * item.search.widths.bond,
                coordination=shape.coordination_mean,
                family=item.family,
                weight=item.probability,
                facets=_facets(shape.coordination) if item.family in ("fcc", "twin") else (math.nan, math.nan),
            )
        )
    return Posterior(tuple(samples))


def _facets(coordination: NDArray[np.int64]) -> tuple[float, float]:
    """Shares of {111} and {100} terraces among surface atoms: 9 and 8 neighbours on close-packed faces of fcc."""
    surface = coordination[coordination < 12]
    if not surface.size:
        return 0.0, 0.0
    return float(np.mean(surface == 9)), float(np.mean(surface == 8))


def bounds_of(fits: Sequence[FamilyFit], best: float) -> tuple[Bound, ...]:
    """Bounds of the families, lowest first; those that lie above the best fit are excluded."""
    bounds = []
    for fit in fits:
        bounds.append(
            Bound(
                family=fit.family,
                rw=fit.rw,
                uncertainty=fit.uncertainty,
                bond=fit.widths.bond,
                biso=fit.widths.u * B_PER_U,
                delta2=fit.widths.delta2,
                bic=fit.bic,
                columns=fit.columns,
                excluded=fit.rw - fit.uncertainty > best + ROUNDING_OF_BOUNDS,
            )
        )
    return tuple(sorted(bounds, key=lambda bound: bound.rw))
