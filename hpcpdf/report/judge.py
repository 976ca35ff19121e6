"""How far a ranked list of candidates can be trusted, in numbers and in words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import atomic_numbers, reference_states
from numpy.typing import NDArray
from scipy.stats import f as f_distribution

from hpcpdf.pdf.fit import BOUNDS
from hpcpdf.report.structures import CandidateLike, Geometry, geometry, was_refined

SYSTEMATIC = 1.05
"""R_w ratios below this are never taken as a difference.

What is left over in a measured PDF is mostly not counting noise but what no candidate holds (ligands, a spread of
sizes, disorder), so the statistical limit alone would promise too much.
"""

_GRADES = (
    (0.05, "very close", "The candidate reproduces the PDF almost completely, as is usual only for simulated data."),
    (
        0.15,
        "close",
        "A close fit for a measured nanoparticle: the bond length is well supported, motif and size as far as the "
        "candidates agree.",
    ),
    (
        0.25,
        "fair",
        "The main features are reproduced, as is usual for measured nanoparticles: trust the bond length, motif and "
        "size as far as the candidates agree, single surface atoms not at all.",
    ),
    (
        0.40,
        "rough",
        "The peak positions agree, but a good part of the signal is not explained: read motif and size as a hint.",
    ),
    (
        math.inf,
        "poor",
        "Most candidates of the right bond length reach such a value: do not draw conclusions from the structure.",
    ),
)

_TEMPERED = 0.25
_RAGGED = (
    "The PDF is reproduced, but not by a believable particle (see below): bond length and motif mean something, the "
    "shape and the number of atoms do not."
)
_SHORT = "Bond length and short-range order are supported; the size of the particle is not (see below)."


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
    """One property over the candidates that fit equally well."""

    name: str
    values: str
    agreed: bool


@dataclass(frozen=True)
class Judgement:
    """What the ranking supports.

    Attributes
    ----------
    grade, meaning
        A word for the best R_w, and what it means.
    independent
        Independent numbers in the fitted PDF, Δr (Qmax − Qmin)/π; None when Qmax is unknown.
    statistical
        R_w ratio above which Hamilton's test (95 %) calls a candidate worse; None when Qmax is unknown.
    ratio
        The limit that was used: the larger of `statistical` and `SYSTEMATIC`.
    equal
        Indices of the candidates that fit as well as the best, itself included.
    alternatives
        The same, grouped: structures of one family and size are variants of one another.
    firm
        Whether those agree, and the best is compact and as large as the signal asks for.
    shared
        What those have in common.
    warnings
        One sentence each.
    """

    grade: str
    meaning: str
    independent: int | None
    statistical: float | None
    ratio: float
    equal: tuple[int, ...]
    alternatives: tuple[tuple[int, ...], ...]
    firm: bool
    shared: tuple[Shared, ...]
    warnings: tuple[str, ...]


def grade(rw: float) -> tuple[str, str]:
    """A word for an R_w, and what it means."""
    return next((word, text) for limit, word, text in _GRADES if not rw > limit)


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
    return math.sqrt(1.0 + float(f_distribution.isf(0.05, 1, free)) / free)


def independent_points(r: NDArray[np.float64], qmin: float | None, qmax: float | None) -> int | None:
    """Number of independent values of G(r) on a range, by the sampling theorem; None without Qmax."""
    if qmax is None or len(r) < 2:
        return None
    return max(1, round(float(r[-1] - r[0]) * (qmax - (qmin or 0.0)) / math.pi))


def judge(candidates: Sequence[CandidateLike], pdf: Any) -> Judgement:
    """Judge candidates that are sorted by R_w, best first.

    Parameters
    ----------
    candidates
        At least one.
    pdf
        The measured PDF: `qmin` and `qmax` in 1/Å or None.
    """
    best = candidates[0]
    independent = independent_points(np.asarray(best.r), pdf.qmin, pdf.qmax)
    statistical = None if independent is None else hamilton_ratio(independent, 4)
    ratio = max(SYSTEMATIC, statistical or 0.0)
    equal = tuple(i for i, c in enumerate(candidates) if c.rw <= max(best.rw * ratio, best.rw + 1e-4))
    shapes = [geometry(c.atoms.get_positions()) for c in candidates]
    word, meaning = grade(best.rw)
    shared = _shared([candidates[i] for i in equal], [shapes[i] for i in equal])
    differing = [row.name.partition(" (")[0] for row in shared if not row.agreed]
    ragged, short = loose_atoms(shapes[0]) > 0, bool(_size_warning(best, shapes[0]))
    if best.rw <= _TEMPERED and ragged:
        meaning = _RAGGED
    elif best.rw <= _TEMPERED and short:
        meaning = _SHORT
    elif best.rw <= _TEMPERED and differing:
        meaning = f"Structures that differ in {_listed(differing)} reach it alike: only what they share is supported."
    groups: dict[tuple[str, int], list[int]] = {}
    for i in equal:
        groups.setdefault((candidates[i].family, len(candidates[i].atoms)), []).append(i)
    return Judgement(
        grade=word,
        meaning=meaning,
        independent=independent,
        statistical=statistical,
        ratio=ratio,
        equal=equal,
        alternatives=tuple(tuple(group) for group in groups.values()),
        firm=not (ragged or short or differing),
        shared=shared,
        warnings=tuple(_warnings(best, shapes[0], pdf, independent)),
    )


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


def at_bound(name: str, value: float) -> bool:
    """Whether a fitted parameter sits on a limit of its range; a value of 0 for delta2 means that it was not fitted."""
    low, high = BOUNDS[name]
    if name == "delta2" and value == 0.0:
        return False
    slack = 1e-3 * (high - low)
    return value <= low + slack or value >= high - slack


def bulk_distance(symbol: str) -> float | None:
    """Nearest-neighbour distance of the bulk metal, Å, from its lattice in ASE; None unless fcc, bcc or hcp."""
    number = atomic_numbers.get(symbol, 0)
    lattice: dict[str, Any] = dict(reference_states[number] or {})
    match lattice.get("symmetry"):
        case "fcc":
            return float(lattice["a"] / math.sqrt(2.0))
        case "bcc":
            return float(lattice["a"] * math.sqrt(3.0) / 2.0)
        case "hcp":
            a, c = lattice["a"], lattice["a"] * lattice["c/a"]
            return float(min(a, math.sqrt(a**2 / 3.0 + c**2 / 4.0)))
    return None


def loose_atoms(shape: Geometry) -> int:
    """Atoms held by one or two neighbours, if there are more of them than a few adatoms; else 0."""
    n = len(shape.coordination)
    loose = int(np.count_nonzero(shape.coordination <= 2))
    return loose if n > 12 and loose > max(2, 0.03 * n) else 0


def _shared(candidates: Sequence[CandidateLike], shapes: Sequence[Geometry]) -> tuple[Shared, ...]:
    families = list(dict.fromkeys(c.family for c in candidates))
    sizes = sorted({len(c.atoms) for c in candidates})
    rows = [
        Shared("structure type", ", ".join(families), len(families) == 1),
        Shared("number of atoms", _span([float(n) for n in sizes], 0), sizes[-1] <= 1.1 * sizes[0]),
    ]
    for name, values, digits, tolerance in (
        ("mean bond length (Å)", [s.nn_mean for s in shapes], 3, 0.01),
        ("mean coordination", [s.coordination_mean for s in shapes], 2, 0.05),
        ("largest distance (Å)", [s.diameter for s in shapes], 1, 0.1),
    ):
        agreed = max(values) - min(values) <= tolerance * max(values)
        rows.append(Shared(name, _span(values, digits), bool(agreed)))
    return tuple(rows)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _span(values: Sequence[float], digits: int) -> str:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} – {high}"


def _warnings(best: CandidateLike, shape: Geometry, pdf: Any, independent: int | None) -> list[str]:
    found = []
    for name, (low, high) in BOUNDS.items():
        value = float(getattr(best, name))
        if at_bound(name, value):
            found.append(f"{name} = {value:.4g} sits on the limit of its range ({low} – {high}).")
    if pdf.qmax is None:
        found.append("The file does not state Qmax: the termination ripples of the calculated PDF rest on a default.")
    found += _size_warning(best, shape)
    loose = loose_atoms(shape)
    if loose:
        found.append(
            f"{loose} of the {len(best.atoms)} atoms of the best candidate have one or two neighbours. Metal particles "
            "are compact: loose atoms appear when one structure has to stand for particles of several sizes, or for a "
            "part of the signal that is not of this metal."
        )
    symbols = set(best.atoms.get_chemical_symbols())
    bulk = bulk_distance(symbols.pop()) if len(symbols) == 1 else None
    if bulk is not None and abs(shape.nn_mean / bulk - 1.0) > 0.04:
        found.append(
            f"The mean bond length differs by {percent(shape.nn_mean / bulk - 1.0)} from the bulk metal's "
            f"{bulk:.3f} Å: check the element, and the detector distance of the measurement."
        )
    coordinates = 3 * len(best.atoms) - 6
    if was_refined(best) and independent is not None and coordinates > independent:
        found.append(
            f"{coordinates} coordinates were refined against about {independent} independent numbers: restraints keep "
            "them sensible, but part of the gain by refinement is flexibility, not proof."
        )
    return found


def _size_warning(best: CandidateLike, shape: Geometry) -> list[str]:
    """Warn when the far part of the signal is left unexplained: the sign of particles larger than the candidate."""
    r, g_obs = np.asarray(best.r), np.asarray(best.g_obs)
    regions = misfit_regions(r, g_obs, np.asarray(best.g_calc))
    total = sum(region.misfit for region in regions)
    start, share = None, 0.0
    for region in reversed(regions):
        if region.rw < 0.5 or region.low < 0.5 * shape.diameter:
            break
        start, share = region.low, share + region.misfit
    if start is None or share < 0.25 * total:
        return []
    return [
        f"Beyond {start:.3g} Å the best candidate explains little of the signal, and {100 * share:.0f} % of the misfit "
        f"lies there; its largest distance is {shape.diameter:.1f} Å. Particles larger than the candidate, or of "
        "several sizes, look like this."
    ]


def percent(fraction: float) -> str:
    """A signed percentage with one digit, without a minus zero."""
    text = f"{100 * fraction:+.1f} %".replace("-", "−")
    return "0.0 %" if text in ("+0.0 %", "−0.0 %") else text
