"""What a ranked answer supports, and the one word for it that terminal and report use."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

from hpcpdf.pdf import metrics
from hpcpdf.reconstruct.shape import Geometry, geometry, loose_atoms
from hpcpdf.reconstruct.solution import Candidate, Posterior, Verdict

CLOSE, ROUGH, FAR = 0.15, 0.25, 0.40
"""R_w of a close fit of a measured PDF; above it only the main features agree; above it nothing is said."""

SYSTEMATIC = 1.05
"""R_w ratios below this are never taken as a difference.

What is left over in a measured PDF is mostly not counting noise but what no candidate holds (ligands, a spread of
sizes, disorder), so the statistical limit alone would promise too much.
"""

_LIKELY = 0.8
"""Probability from which a family counts as the only one."""
_LEVEL = 0.9
"""Of the ranges that are compared with the tolerances."""


@dataclass(frozen=True)
class Region:
    """Misfit in one part of the r range (Å): local R_w, and the shares of the whole misfit and signal."""

    low: float
    high: float
    rw: float
    misfit: float
    signal: float


@dataclass(frozen=True)
class Shared:
    """One property over what explains the PDF equally well, and whether it is settled."""

    name: str
    values: str
    agreed: bool


@dataclass(frozen=True)
class Unexplained:
    """The far part of a PDF, from `start` (Å), of which little is explained: its share of the whole misfit."""

    start: float
    share: float


@dataclass(frozen=True)
class Findings:
    """What the ranking supports.

    Attributes
    ----------
    verdict
        The word.
    independent
        Independent numbers in the fitted PDF, Δr (Qmax − Qmin)/π; None when Qmax is unknown.
    statistical
        R_w ratio above which Hamilton's test (95 %) calls a candidate worse; None when Qmax is unknown.
    ratio
        The limit that was used: the larger of `statistical` and `SYSTEMATIC`.
    equal
        Indices of the candidates that fit as well as the best, itself included.
    shared
        What those have in common; with a posterior, its ranges.
    loose
        Atoms of the best candidate that hang on one or two neighbours, if they are many; else 0.
    unexplained
        The far part of the signal, if the best candidate is too small for it.
    """

    verdict: Verdict
    independent: int | None
    statistical: float | None
    ratio: float
    equal: tuple[int, ...]
    shared: tuple[Shared, ...]
    loose: int
    unexplained: Unexplained | None

    @property
    def open(self) -> tuple[str, ...]:
        """Names of the properties that are not settled, without their units."""
        return tuple(row.name.partition(" (")[0] for row in self.shared if not row.agreed)


def verdict(candidates: Sequence[Candidate], qmin: float | None, qmax: float | None, posterior: Posterior) -> Verdict:
    """The word for an answer; see `weigh`."""
    return weigh(candidates, qmin, qmax, posterior).verdict


def weigh(
    candidates: Sequence[Candidate],
    qmin: float | None,
    qmax: float | None,
    posterior: Posterior,
    shapes: Sequence[Geometry] | None = None,
) -> Findings:
    """Weigh candidates that are sorted by R_w, best first.

    *good*: R_w of at most 0.15 by a compact particle as large as the signal asks for, and what else explains the PDF
    as well agrees with it in family, number of atoms, bond length, coordination and diameter. *poor*: R_w above 0.40,
    or above 0.25 by a particle that is not compact or too small. *fair*: all else.

    Parameters
    ----------
    candidates
        At least one.
    qmin, qmax
        Of the measured PDF, 1/Å; None when not stated.
    posterior
        Where it holds samples, they say what else explains the PDF; without, the candidates that fit as well do.
    shapes
        Geometries of the candidates, where they are known already.
    """
    best = candidates[0]
    independent = independent_points(best.r, qmin, qmax)
    statistical = None if independent is None else hamilton_ratio(independent, 4)
    ratio = max(SYSTEMATIC, statistical or 0.0)
    equal = tuple(i for i, c in enumerate(candidates) if i == 0 or c.rw <= max(best.rw * ratio, best.rw + 1e-4))
    alike = [shapes[i] if shapes else geometry(candidates[i].atoms.positions) for i in equal]
    shared = _shared([candidates[i] for i in equal], alike, posterior)
    loose, far = loose_atoms(alike[0]), unexplained(best, alike[0])
    believable = not loose and far is None
    word: Verdict = "fair"
    if best.rw <= CLOSE and believable and all(row.agreed for row in shared):
        word = "good"
    # Written so that an R_w that is not a number is poor.
    elif not best.rw <= (FAR if believable else ROUGH):
        word = "poor"
    return Findings(word, independent, statistical, ratio, equal, shared, loose, far)


def hamilton_ratio(independent: int, parameters: int) -> float:
    """R-factor ratio that is significant at 95 % for a one-dimensional hypothesis.

    √(1 + F₁,ₙ₋ₘ / (n − m)): W. C. Hamilton, Acta Cryst. 18 (1965) 502.

    Parameters
    ----------
    independent
        Independent observations n.
    parameters
        Fitted parameters m.
    """
    free = max(1, independent - parameters)
    return math.sqrt(1.0 + float(fdtri(1, free, 0.95)) / free)


def independent_points(r: NDArray[np.float64], qmin: float | None, qmax: float | None) -> int | None:
    """Number of independent values of G(r) on a range, by the sampling theorem; None without Qmax."""
    if qmax is None or len(r) < 2:
        return None
    return round(metrics.independent_points(r, qmin or 0.0, qmax))


def misfit_regions(
    r: NDArray[np.float64], g_obs: NDArray[np.float64], g_calc: NDArray[np.float64], *, width: float = 5.0
) -> tuple[Region, ...]:
    """Split the misfit at multiples of `width` Å; all arrays (R,) on the same r."""
    inner = np.arange(math.floor(r[0] / width) + 1, math.ceil(r[-1] / width - 1e-9)) * width
    edges = [float(r[0]), *map(float, inner), float(r[-1])]
    total_misfit = float(np.sum((g_obs - g_calc) ** 2))
    total_signal = float(np.sum(g_obs**2))
    regions = []
    for low, high in itertools.pairwise(edges):
        inside = (r >= low) & ((r < high) | (high == edges[-1]))
        misfit = float(np.sum((g_obs[inside] - g_calc[inside]) ** 2))
        signal = float(np.sum(g_obs[inside] ** 2))
        regions.append(
            Region(
                low,
                high,
                rw=math.sqrt(misfit / signal) if signal else 0.0,
                misfit=misfit / total_misfit if total_misfit else 0.0,
                signal=signal / total_signal if total_signal else 0.0,
            )
        )
    return tuple(regions)


def unexplained(best: Candidate, shape: Geometry) -> Unexplained | None:
    """The far part of the signal, if a good part of the misfit lies there: the sign of larger particles."""
    regions = misfit_regions(best.r, best.g_obs, best.g_calc)
    total = sum(region.misfit for region in regions)
    start, share = None, 0.0
    for region in reversed(regions):
        if region.rw < 0.5 or region.low < 0.5 * shape.diameter:
            break
        start, share = region.low, share + region.misfit
    return None if start is None or share < 0.25 * total else Unexplained(start, share)


def _shared(candidates: Sequence[Candidate], shapes: Sequence[Geometry], posterior: Posterior) -> tuple[Shared, ...]:
    bonds = [shape.nn_mean for shape in shapes]
    if posterior.samples:
        families = posterior.families
        likeliest, share = next(iter(families.items()))
        rows = [Shared("structure type", f"{likeliest} {100 * share:.0f} %", share >= _LIKELY)]
        sizes, coordination, diameters = (
            posterior.n_atoms(_LEVEL), posterior.coordination(_LEVEL), posterior.diameter(_LEVEL),
        )  # fmt: skip
    else:
        names = list(dict.fromkeys(candidate.family for candidate in candidates))
        rows = [Shared("structure type", ", ".join(names), len(names) == 1)]
        sizes, coordination, diameters = (
            (min(values), max(values))
            for values in (
                [float(candidate.n_atoms) for candidate in candidates],
                [shape.coordination_mean for shape in shapes],
                [shape.diameter for shape in shapes],
            )
        )
    for name, (low, high), digits, tolerance in (
        ("number of atoms", sizes, 0, 0.1),
        ("mean bond length (Å)", (min(bonds), max(bonds)), 3, 0.01),
        ("mean coordination", coordination, 2, 0.05),
        ("largest distance (Å)", diameters, 1, 0.1),
    ):
        rows.append(Shared(name, span(low, high, digits), bool(high <= (1.0 + tolerance) * low)))
    return tuple(rows)


def span(low: float, high: float, digits: int) -> str:
    """A range in words; one number when both ends read alike."""
    ends = f"{low:.{digits}f}", f"{high:.{digits}f}"
    return ends[0] if ends[0] == ends[1] else " – ".join(ends)
