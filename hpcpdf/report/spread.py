"""What the posterior says of families, size and facets: rows and a drawing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from markupsafe import Markup

from hpcpdf.reconstruct.solution import Posterior
from hpcpdf.reconstruct.verdict import span

LEVELS = (0.5, 0.9)

_BARS = 24


def interval_rows(posterior: Posterior) -> list[tuple[str, list[str]]]:
    """A property and its range at each of `LEVELS`; what no sample has is left out."""

    def facet(index: int) -> Callable[[float], tuple[float, float]]:
        return lambda level: posterior.facets(level)[index]

    rows = []
    for name, ask, digits, factor in (
        ("number of atoms", posterior.n_atoms, 0, 1.0),
        ("largest distance (Å)", posterior.diameter, 1, 1.0),
        ("mean coordination", posterior.coordination, 2, 1.0),
        ("surface atoms on {111} (%)", facet(0), 0, 100.0),
        ("surface atoms on {100} (%)", facet(1), 0, 100.0),
    ):
        ranges = [ask(level) for level in LEVELS]
        if not math.isnan(ranges[0][0]):
            rows.append((name, [span(factor * low, factor * high, digits) for low, high in ranges]))
    return rows


def in_short(posterior: Posterior, level: float = 0.9) -> str:
    """The posterior in one line of plain characters; empty without samples."""
    if not posterior.samples:
        return ""
    atoms, diameter = posterior.n_atoms(level), posterior.diameter(level)
    shares = [f"{family} {100 * share:.0f} %" for family, share in posterior.families.items() if share >= 0.005]
    ranges = f"atoms {span(*atoms, 0)} ({100 * level:.0f} %), diameter {span(*diameter, 1)} A"
    return ", ".join([ranges.replace(" – ", "-"), *shares])


def drawing(posterior: Posterior) -> Markup:
    """Probability by number of atoms, with the range that holds 90 % of it."""
    sizes = np.array([sample.n_atoms for sample in posterior.samples], dtype=float)
    weights = np.array([sample.weight for sample in posterior.samples])
    low, high = float(sizes.min()), float(sizes.max())
    # Bins of whole numbers of atoms, or rounding would make a comb of the bars.
    width = max(1.0, math.ceil((high - low + 1.0) / _BARS))
    edges = np.arange(low - 0.5, high + 0.5 + width, width)
    shares = np.histogram(sizes, edges, weights=weights / weights.sum())[0]
    left, right, top, bottom = 14.0, 546.0, 14.0, 112.0
    # A single size is a bar, not a wall.
    margin = max(0.0, 6.0 - len(shares)) * 0.5
    step = (right - left) / (len(shares) + 2.0 * margin)

    def place(atoms: float) -> float:
        return left + step * (margin + (atoms - low + 0.5) / width)

    ends = posterior.n_atoms(0.9)
    parts = ['<svg viewBox="0 0 560 152" role="img" aria-label="Probability by number of atoms">']
    for start, share in zip(edges[:-1], shares, strict=True):
        tall = (bottom - top) * share / shares.max()
        inside = "in" if ends[0] <= start + width - 0.5 and start + 0.5 <= ends[1] else "out"
        parts.append(
            f'<rect x="{place(start) + 0.05 * step:.1f}" y="{bottom - tall:.1f}" width="{0.9 * step:.1f}" '
            f'height="{tall:.1f}" class="share {inside}"/>'
        )
    parts.append(f'<path d="M{left:.0f} {bottom:.0f}H{right:.0f}" class="axis"/>')
    # As many labels as have room beside each other.
    longest = len(f"{high:.0f}") * (1 if width == 1.0 else 2) + 2
    every = max(1, math.ceil(len(shares) * 7.0 * longest / (right - left)))
    for start in edges[:-1][::every]:
        first, last = start + 0.5, start + width - 0.5
        text = f"{first:.0f}" if width == 1.0 else f"{first:.0f}–{min(last, high):.0f}"
        x = place(start) + 0.5 * step
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16:.0f}" text-anchor="middle">{text}</text>')
    parts.append('<text x="280" y="148" text-anchor="middle">atoms</text></svg>')
    return Markup("\n".join(parts))
