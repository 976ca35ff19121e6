"""Structures from elsewhere on the sites of a template: where its origin lies in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]

ON_SITE = 0.2
"""Bond lengths from a site within which an atom lies on it."""
_TOLD = 8
"""Atoms that tell at once which origins are possible."""
_AT_ONCE = 32
"""Origins that are looked at together: of a lattice, the first one will do."""


def in_frame(sites: Floats, tree: cKDTree, positions: Floats) -> Floats | None:
    """A structure shifted so that its atoms lie on sites, as near to the origin as they allow; None where none do.

    Parameters
    ----------
    sites : (S, 3)
        Of the template, by distance from the origin, in bond lengths.
    tree
        Of `sites`.
    positions : (n, 3)
        In bond lengths and along the template's axes; their origin may be anywhere.
    """
    offset = positions - positions.mean(axis=0)
    distance = np.linalg.norm(offset, axis=1)
    order = np.argsort(distance, kind="stable")
    inner, outer = positions[order[0]], positions[order[-min(_TOLD, len(order)) :]]
    for first in range(0, len(sites), _AT_ONCE):
        shifts = sites[first : first + _AT_ONCE] - inner
        gap, _ = tree.query(outer[None] + shifts[:, None], distance_upper_bound=ON_SITE)
        for shift in shifts[np.all(np.isfinite(gap), axis=1)]:
            moved: Floats = positions + shift
            gap, index = tree.query(moved)
            if np.max(gap) < ON_SITE and len(np.unique(index)) == len(moved):
                # Atoms of a relaxed structure lie about their sites: their mean tells the origin better than one.
                return np.asarray(moved - np.mean(moved - sites[index], axis=0))
    return None
