"""How far a ranked list of candidates can be trusted, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from ase.data import atomic_numbers, reference_states

from hpcpdf.pdf.fit import BOUNDS
from hpcpdf.reconstruct.shape import Geometry, geometry
from hpcpdf.reconstruct.solution import Candidate, Posterior, Solution
from hpcpdf.reconstruct.verdict import CLOSE, FAR, ROUGH, Findings, weigh
from hpcpdf.report.structures import symbols_of, was_refined

_MEANINGS = (
    (0.05, "The candidate reproduces the PDF almost completely, as is usual only for simulated data."),
    (
        CLOSE,
        "A close fit for a measured nanoparticle: the bond length is well supported, motif and size as far as the "
        "candidates agree.",
    ),
    (
        ROUGH,
        "The main features are reproduced, as is usual for measured nanoparticles: trust the bond length, motif and "
        "size as far as the candidates agree, single surface atoms not at all.",
    ),
    (FAR, "The peak positions agree, but a good part of the signal is not explained: read motif and size as a hint."),
    (
        math.inf,
        "Most candidates of the right bond length reach such a value: do not draw conclusions from the structure.",
    ),
)

_RAGGED = (
    "The PDF is reproduced, but not by a believable particle (see below): bond length and motif mean something, the "
    "shape and the number of atoms do not."
)
_SHORT = "Bond length and short-range order are supported; the size of the particle is not (see below)."


@dataclass(frozen=True)
class Judgement(Findings):
    """What the ranking supports, in words.

    Attributes
    ----------
    meaning
        What the best R_w means, given the rest.
    alternatives
        `equal`, grouped: structures of one family and size are variants of one another.
    warnings
        One sentence each.
    """

    meaning: str
    alternatives: tuple[tuple[int, ...], ...]
    warnings: tuple[str, ...]


def judge(candidates: Sequence[Candidate], pdf: Any, shapes: Sequence[Geometry] | None = None) -> Judgement:
    """Judge candidates that are sorted by R_w, best first.

    Parameters
    ----------
    candidates
        At least one; a `Solution` keeps the word that it came with.
    pdf
        The measured PDF: `qmin` and `qmax` in 1/Å or None.
    shapes
        Geometries of the candidates, where they are known already.
    """
    solution = candidates if isinstance(candidates, Solution) else None
    best = candidates[0]
    shapes = shapes or [geometry(c.atoms.positions) for c in candidates]
    found = weigh(candidates, pdf.qmin, pdf.qmax, solution.posterior if solution else Posterior(), shapes)
    groups: dict[tuple[str, int], list[int]] = {}
    for i in found.equal:
        groups.setdefault((candidates[i].family, candidates[i].n_atoms), []).append(i)
    values = {one.name: getattr(found, one.name) for one in fields(Findings)}
    if solution:
        values["verdict"] = solution.verdict
    return Judgement(
        **values,
        meaning=_meaning(best.rw, found),
        alternatives=tuple(tuple(group) for group in groups.values()),
        warnings=(*_on_sizes(solution), *_warnings(best, shapes[0], pdf, found, known_instrument(candidates))),
    )


def _meaning(rw: float, found: Findings) -> str:
    if rw <= ROUGH:
        if found.loose:
            return _RAGGED
        if found.unexplained:
            return _SHORT
        if found.open:
            return f"Structures that differ in {_listed(found.open)} reach it alike: only what they share is supported."
    return next(text for limit, text in _MEANINGS if not rw > limit)


def at_bound(name: str, value: float) -> bool:
    """Whether a fitted parameter sits on a limit of its range; a value of 0 for delta2 means that there is none."""
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


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _on_sizes(solution: Solution | None) -> list[str]:
    if solution is None or solution.sizes is None or not solution.sizes.preferred:
        return []
    return [
        f"The sample is no single structure: {solution.sizes.sentence}. What is said of one structure, its family and "
        "its number of atoms among them, does not hold of such a sample."
    ]


def known_instrument(candidates: Sequence[Candidate]) -> bool:
    """Whether a calibration told Qdamp and Qbroad, so that they were not fitted."""
    return isinstance(candidates, Solution) and "instrument" in candidates.settings


def _warnings(best: Candidate, shape: Geometry, pdf: Any, of: Findings, known: bool) -> list[str]:
    found = []
    for name, (low, high) in BOUNDS.items():
        value = float(getattr(best, name))
        if not (known and name == "qdamp") and at_bound(name, value):
            found.append(f"{name} = {value:.4g} sits on the limit of its range ({low} – {high}).")
    if pdf.qmax is None:
        found.append("The file does not state Qmax: the termination ripples of the calculated PDF rest on a default.")
    if of.unexplained:
        found.append(
            f"Beyond {of.unexplained.start:.3g} Å the best candidate explains little of the signal, and "
            f"{100 * of.unexplained.share:.0f} % of the misfit lies there; its largest distance is "
            f"{shape.diameter:.1f} Å. Particles larger than the candidate, or of several sizes, look like this."
        )
    if of.loose:
        found.append(
            f"{of.loose} of the {len(best.atoms)} atoms of the best candidate have one or two neighbours. Metal "
            "particles are compact: loose atoms appear when one structure has to stand for particles of several sizes, "
            "or for a part of the signal that is not of this metal."
        )
    symbols = set(symbols_of(best))
    bulk = bulk_distance(symbols.pop()) if len(symbols) == 1 else None
    if bulk is not None and abs(shape.nn_mean / bulk - 1.0) > 0.04:
        found.append(
            f"The mean bond length differs by {percent(shape.nn_mean / bulk - 1.0)} from the bulk metal's "
            f"{bulk:.3f} Å: check the element, and the detector distance of the measurement."
        )
    coordinates = 3 * len(best.atoms) - 6
    if was_refined(best) and of.independent is not None and coordinates > of.independent:
        found.append(
            f"{coordinates} coordinates were refined against about {of.independent} independent numbers: restraints "
            "keep them sensible, but part of the gain by refinement is flexibility, not proof."
        )
    return found


def percent(fraction: float) -> str:
    """A signed percentage with one digit, without a minus zero."""
    text = f"{100 * fraction:+.1f} %".replace("-", "−")
    return "0.0 %" if text in ("+0.0 %", "−0.0 %") else text
