"""How sure the sites of a structure are, given other structures on the same template."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hpcpdf.lattice.template import Template

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

_SAME = 0.05
"""Sites closer than this, in bond lengths, are one."""
_ALIKE = 0.85
"""Structures that share this part of their sites lie on one another as they are."""
_TURNED = 300
"""Particles of up to so many atoms are laid over each other in every orientation."""
_FARTHEST = 4.0
"""Bond lengths by which one structure may be off from the other."""
_SHIFTS = 5
"""Translations tried for every orientation: those that bring the centroids nearest to one another."""


def site_certainty(template: Template, sites: Ints, others: Sequence[tuple[Ints, float]]) -> Floats:
    """Probability that each site of a structure is occupied, (n,).

    Each of the other structures is laid over this one as well as the symmetry of the template allows.

    Parameters
    ----------
    template
        Of all the structures.
    sites : (n,) int
        The structure.
    others
        Sites and probability of structures, this one among them.
    """
    mine = template.sites[sites]
    tree = cKDTree(mine)
    total, held = 0.0, np.zeros(len(sites))
    for other, probability in others:
        total += probability
        if len(other) == len(sites) and np.array_equal(other, sites):
            held += probability
            continue
        shared = np.isin(sites, other, assume_unique=True)
        if np.count_nonzero(shared) >= _ALIKE * max(len(sites), len(other)):
            # Walks leave most of a particle where it is.
            held += probability * shared
        else:
            held += probability * _overlap(template, mine, tree, template.sites[other])
    return held / max(total, 1e-300)


def _overlap(template: Template, mine: Floats, tree: cKDTree, other: Floats) -> Floats:
    """Which of `mine` the other structure occupies too, in the orientation and place that share most."""
    best = np.zeros(len(mine))
    centre = mine.mean(axis=0)
    places = _translations(template)
    # Large particles are met as they grew, in one orientation: they are shifted but not turned.
    operations = template.operations if len(mine) <= _TURNED else template.operations[:1]
    for operation in operations:
        turned = other @ operation.T
        for shift in _shifts(places, turned, centre):
            gap, index = tree.query(turned + shift, distance_upper_bound=_SAME)
            shared = np.asarray(index)[np.isfinite(gap)]
            if len(shared) > best.sum():
                best = np.zeros(len(mine))
                best[shared] = 1.0
    return best


def _translations(template: Template) -> Floats:
    """Shifts that keep the template, the short ones; (T, 3)."""
    near: Floats = template.sites[np.einsum("ni,ni->n", template.sites, template.sites) < _FARTHEST**2]
    if template.family == "icosahedron":
        return near[:1]
    # Only shifts along the axis, or within the twin plane, keep these.
    if template.family == "decahedron":
        near = near[np.hypot(near[:, 0], near[:, 1]) < 1e-6]
    elif template.family == "twin":
        near = near[np.abs(near[:, 2]) < 1e-6]
    return near


def _shifts(places: Floats, turned: Floats, centre: Floats) -> Floats:
    wanted = centre - turned.mean(axis=0)
    return np.asarray(places[np.argsort(((places - wanted) ** 2).sum(axis=1), kind="stable")[:_SHIFTS]])


def is_chiral(positions: Floats, operations: Floats) -> bool:
    """Whether no proper operation takes a structure to its mirror image; positions (n, 3), any length."""
    centred = positions - positions.mean(axis=0)
    tree = cKDTree(centred)
    tolerance = 0.05 * float(np.asarray(tree.query(centred, k=2)[0])[:, 1].min()) if len(centred) > 1 else 1.0
    for operation in operations:
        if np.linalg.det(operation) > 0.0:
            continue
        if np.all(np.asarray(tree.query(centred @ operation.T)[0]) < tolerance):
            return False
    return len(positions) > 3
