"""How low each family of particles can get on a PDF: rows, sentences and a drawing, in words for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup, escape

from hpcpdf.reconstruct.solution import Bound, Candidate, Solution

FAMILY_NAMES: Mapping[str, str] = {
    "fcc": "fcc fragment",
    "sc": "simple cubic fragment",
    "bcc": "bcc fragment",
    "hcp": "hcp fragment",
    "octahedron": "fcc octahedron",
    "decahedron": "decahedron",
    "icosahedron": "icosahedron",
}

_KINDS = {"sc": "simple cubic", "icosahedron": "icosahedral", "decahedron": "decahedral", "octahedron": "octahedral"}

_WITHIN = {"octahedron": "fcc"}
"""Families without a bound of their own: that of the lattice they are cut from holds for them."""

_NESTED = (
    (
        "sc",
        "fcc",
        "Families nest: below 3.7 bond lengths every distance of a simple cubic particle is one of fcc too, so a small "
        "simple cubic particle cannot exclude fcc. Fewer distances (a lower BIC) speak for simple cubic then.",
    ),
)


@dataclass(frozen=True)
class FamilyRow:
    """A family, its bound, and the rigid R_w of the best candidate that it has (None: no candidate)."""

    bound: Bound
    found: float | None
    best: bool

    @property
    def reading(self) -> str:
        """What the bound says of the family."""
        if self.bound.excluded:
            return "excluded"
        return "best" if self.best else "possible"


def family_name(family: str) -> str:
    """A family as a noun."""
    return FAMILY_NAMES.get(family, family)


def kind(family: str) -> str:
    """A family as an adjective of particles."""
    return _KINDS.get(family, family)


def rigid_rw(candidate: Candidate) -> float:
    """R_w before any atom was moved on its own: what a bound can be compared with."""
    return candidate.rw if math.isnan(candidate.rw_before_refine) else candidate.rw_before_refine


def bound_of(solution: Solution, family: str) -> float | None:
    """Lowest R_w of a candidate's family, if known."""
    bounds = solution.bounds
    return bounds.get(family, bounds.get(_WITHIN.get(family, "")))


def family_rows(solution: Solution) -> list[FamilyRow]:
    """The families that have a bound, lowest first."""
    rows = []
    first = _lattice(solution, solution[0].family)
    for bound in sorted(solution.family_bounds, key=lambda bound: bound.rw):
        found = [rigid_rw(c) for c in solution if _lattice(solution, c.family) == bound.family]
        rows.append(FamilyRow(bound, min(found, default=None), bound.family == first))
    return rows


def sentences(solution: Solution) -> list[str]:
    """What the bounds say, a sentence each: what is excluded and by what, what is not, which families nest."""
    said = []
    best = solution[0]
    bounds = sorted(solution.family_bounds, key=lambda bound: bound.rw)
    excluded = [bound for bound in bounds if bound.excluded]
    if excluded:
        low, how = _better(best, excluded[0].rw)
        digits = 2 if low is None or f"{low:.2f}" != f"{excluded[0].rw:.2f}" else 3
        first, *others = (f"{kind(bound.family)} {{}} {bound.rw:.{digits}f}" for bound in excluded)
        text = ["No " + first.format("particle of any shape or size can fit better than")]
        text += [f"no {other.format('one better than')}" for other in others]
        this = f"this {kind(best.family)} one of {best.n_atoms} atoms"
        said.append(", ".join(text) + ("." if low is None else f"; {this} fits {low:.{digits}f}{how}."))
    possible = [bound for bound in bounds if not bound.excluded and bound.family != _lattice(solution, best.family)]
    if possible:
        named = ", ".join(f"{kind(bound.family)} (down to {bound.rw:.2f})" for bound in possible)
        said.append(f"Not excluded: {named}. A bound says what distances allow, not that such a particle was found.")
    left = {bound.family for bound in bounds if not bound.excluded}
    said += [text for inner, outer, text in _NESTED if inner in left and outer in left]
    return said


def _better(best: Candidate, bound: float) -> tuple[float | None, str]:
    """R_w of the best candidate with which it beats a bound, and how; as rigid as possible."""
    for rw, how in ((rigid_rw(best), ""), (best.rw_relaxed, " after its surface relaxed")):
        if rw < bound:
            return rw, how
    return None, ""


def drawing(solution: Solution) -> Markup:
    """The bounds as a drawing: hatched is out of reach, dots are candidates before their atoms were moved."""
    rows = family_rows(solution)
    left, right, step, top = 104.0, 548.0, 26.0, 8.0
    dots = [[rigid_rw(c) for c in solution if _lattice(solution, c.family) == row.bound.family] for row in rows]
    shown = [row.bound.rw + row.bound.uncertainty for row in rows] + [rw for found in dots for rw in found]
    scale = (right - left) / (1.06 * max(*shown, 1e-6))
    height = top + step * len(rows) + 34.0
    parts = [
        f'<svg viewBox="0 0 560 {height:.0f}" role="img" aria-label="Lowest R_w of every family, and the candidates">',
        '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<path d="M0 0V6" stroke="#b9c0c8" stroke-width="2"/></pattern></defs>',
    ]
    bottom = top + step * len(rows)
    for value in _ticks(1.06 * max(*shown, 1e-6)):
        x = left + scale * value
        parts.append(f'<path d="M{x:.1f} {top:.1f}V{bottom + 4:.1f}" class="grid"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 17:.1f}" text-anchor="middle">{value:g}</text>')
    middle = (left + right) / 2.0
    label = f'<text x="{middle:.0f}" y="{height - 3:.0f}" text-anchor="middle">R<tspan dy="3">w</tspan></text>'
    parts.append(label)
    for index, (row, found) in enumerate(zip(rows, dots, strict=True)):
        y = top + step * (index + 0.5)
        end = left + scale * row.bound.rw
        off = scale * row.bound.uncertainty
        name = escape(row.bound.family)
        tone = "out" if row.bound.excluded else "in"
        parts += [
            f'<text x="{left - 10:.0f}" y="{y + 4:.1f}" text-anchor="end" class="{tone}">{name}</text>',
            f'<rect x="{left:.1f}" y="{y - 7:.1f}" width="{end - left:.1f}" height="14" fill="url(#hatch)"/>',
            f'<path d="M{end:.1f} {y - 9:.1f}V{y + 9:.1f}" class="bound {tone}"/>',
            f'<path d="M{end - off:.1f} {y:.1f}H{end + off:.1f}" class="whisker {tone}"/>',
        ]
        parts += [f'<circle cx="{left + scale * rw:.1f}" cy="{y:.1f}" r="4"/>' for rw in found]
    best = left + scale * rigid_rw(solution[0])
    parts.append(f'<path d="M{best:.1f} {top:.1f}V{bottom:.1f}" class="best"/></svg>')
    return Markup("\n".join(parts))


def _lattice(solution: Solution, family: str) -> str:
    return family if family in solution.bounds else _WITHIN.get(family, family)


def _ticks(limit: float) -> list[float]:
    """Round values from 0 to `limit`, about five."""
    size = 10.0 ** math.floor(math.log10(limit / 5.0))
    step = next(size * k for k in (1.0, 2.0, 5.0, 10.0) if limit / (size * k) <= 6.0)
    return [round(step * k, 12) for k in range(int(limit / step) + 1)]
