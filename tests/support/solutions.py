"""A whole answer made by hand: candidates with equivalents and certainties, bounds, a posterior."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import nan
from typing import Any

import numpy as np
from report_cases import solved

from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.reconstruct.solution import Bound, Posterior, Sample, Solution


def bounds() -> tuple[Bound, ...]:
    """fcc and the nested octahedron below the best candidate, the others excluded."""
    return (
        Bound("fcc", 0.118, 0.002, 2.771, 0.52, 2.9, -582.5, 31, False),
        Bound("decahedron", 0.131, 0.003, 2.768, 0.55, 2.7, -540.0, 64, False),
        Bound("icosahedron", 0.304, 0.004, 2.79, 0.9, 6.0, -301.2, 22, True),
        Bound("bcc", 0.482, 0.004, 2.61, 1.4, 0.0, -180.0, 18, True),
    )


def posterior(n: int = 200) -> Posterior:
    """Mostly fcc of 75 to 85 atoms, some decahedra, unequal weights."""
    rng = np.random.default_rng(11)
    samples = []
    for k in range(n):
        fcc = k % 50 > 0
        atoms = int(rng.integers(75, 86))
        diameter = 11.0 + 0.08 * (atoms - 75) + 0.1 * rng.random()
        facets = (0.55 + 0.1 * rng.random(), 0.2 + 0.1 * rng.random()) if fcc else (nan, nan)
        family = "fcc" if fcc else "decahedron"
        samples.append(Sample(atoms, diameter, 8.4 + 0.2 * rng.random(), family, 0.2 + rng.random(), facets))
    return Posterior(tuple(samples))


@cache
def solution() -> tuple[Solution, MeasuredPdf]:
    """An answer with everything in it, and the simulated PDF that it belongs to."""
    cases, pdf = solved()
    rng = np.random.default_rng(5)
    mirrored = cases[0].atoms.copy()
    mirrored.positions *= [-1.0, 1.0, 1.0]
    candidates = []
    for rank, case in enumerate(cases):
        distance = np.linalg.norm(case.atoms.positions - case.atoms.positions.mean(axis=0), axis=1)
        certainty = np.clip(1.25 - 0.5 * distance / distance.max() - 0.3 * rng.random(len(distance)), 0.0, 1.0)
        more: dict[str, Any] = {
            "probability": 0.7 * 0.25**rank,
            "site_certainty": certainty,
            "rw_before_refine": 1.2 * case.rw,
            "rw_relaxed": 1.08 * case.rw,
        }
        if rank == 0:
            more["equivalents"] = (replace(case, atoms=mirrored, notes=("mirror image",)),)
        candidates.append(replace(case, **more))
    answer = Solution(
        candidates=tuple(candidates),
        verdict="fair",
        family_bounds=bounds(),
        posterior=posterior(),
        notes=("simple cubic particles of 2 x 2 x 3 cells hold fcc distances: the families nest",),
        source=pdf.source,
        element="Pt",
        settings={"element": "Pt", "model": None, "r_range": (1.5, 20.0), "effort": "normal", "seed": 0},
    )
    return answer, pdf
