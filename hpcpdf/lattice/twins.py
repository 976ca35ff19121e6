"""Homometric partners: other structures with the same distances, which no PDF tells apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpcpdf.lattice.pace import ROUNDS
from hpcpdf.lattice.search import MIXED, POWERS, FamilySearch, Met

Floats = NDArray[np.float64]

_LARGEST = 60
"""Atoms up to which they are looked for."""
_WALKS = 12
_APART = 1e-3
"""Difference of fingerprints, in bond lengths, from which structures differ."""


def find_twins(search: FamilySearch) -> tuple[Met, ...]:
    """Structures with the distances of the best one of a finished search that are neither it nor its mirror image.

    Many walks, each of which ends at the first structure with these distances that it finds, and polishing of what they
    met. None where the search did not end at an exact structure, or at one of more than 60 atoms.
    """
    best = search.best
    if best is None or not search.done or len(best.sites) > _LARGEST:
        return ()
    some = [met.sites for met in search.starts[: _WALKS * len(POWERS)] if met.key != best.key]
    groups = [some[k::_WALKS] for k in range(_WALKS) if some[k::_WALKS]]
    if not groups:
        return ()
    walked, _ = search.walks(groups, POWERS, MIXED, rounds=2 * ROUNDS, keep=12)
    polished, _ = search.polished(list({met.key: met for met in walked}.values()), keep=1)
    sites = search.template.sites
    known = [_fingerprint(sites[best.sites])]
    twins = []
    for met in (*walked, *polished):
        mark = _fingerprint(sites[met.sites])
        if met.key == best.key and all(np.abs(mark - other).max() > _APART for other in known):
            known.append(mark)
            twins.append(met)
    return tuple(twins)


def _fingerprint(positions: Floats) -> Floats:
    """Numbers that congruent structures share, and homometric ones in general do not; ascending."""
    distances = np.linalg.norm(positions[:, None, :] - positions[None, :, :], axis=2)
    return np.sort(distances.sum(axis=1))
