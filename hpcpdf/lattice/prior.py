"""What is expected of a particle before it is measured: facets, few defects on them, few missing bonds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpcpdf.lattice.template import Template

Ints = NDArray[np.int32]

BOND_COST = 0.5
"""Logarithm of the odds against a structure for every bond that it misses beyond what is usual for its size.

Chosen on noisy PDFs of asymmetric bodies, whose truths miss some twenty bonds more than compact particles.
"""

DEFECT_COST = 5.5
"""Logarithm of the odds against every atom that is missing from, or sits upon, a body of facets.

A surface of a hundred sites has two hundred places where an atom may go or come: log 200, about.
"""


def defects(template: Template, sites: Ints, most: int = 12) -> int:
    """Atoms to take away and sites to fill until a structure is a body of facets, about the fewest; `most` at most.

    A body of facets holds every site within the outermost layers that it reaches. Layers that hold only a few atoms are
    atoms upon a facet rather than its next layer: they are peeled off as long as that mends more than it costs.
    """
    levels = template.levels
    kept = np.asarray(sites)
    taken = 0
    tops = levels[kept].max(axis=0)
    inside = np.flatnonzero((levels <= tops).all(axis=1))
    holes = len(inside) - len(kept)
    while holes > 0 and taken < most:
        best, choice = 0, None
        rows = levels[kept]
        within = levels[inside]
        for facet in range(levels.shape[1]):
            above = rows[:, facet] == tops[facet]
            count = int(np.count_nonzero(above))
            if count > most - taken or count == len(kept):
                continue
            left = kept[~above]
            lower = levels[left].max(axis=0)
            left_holes = int(np.count_nonzero((within <= lower).all(axis=1))) - len(left)
            gain = holes - left_holes - count
            if gain > best:
                best, choice = gain, (left, lower, left_holes, count)
        if choice is None:
            break
        kept, tops, holes, count = choice
        inside = inside[(levels[inside] <= tops).all(axis=1)]
        taken += count
    return min(most, taken + holes)
