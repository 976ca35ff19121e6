"""Sizes and motifs of a sample: rows and a drawing."""

from __future__ import annotations

import math

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from hpcpdf.report.palette import PALETTE
from hpcpdf.sample.mixture import LARGEST
from hpcpdf.sample.sizes import MotifSizes, Sizes

_NARROW = 0.02
"""Width over diameter below which a distribution is drawn as a line."""


def motif_name(motif: MotifSizes) -> str:
    return f"twinned {motif.family}" if motif.faults > 0.0 else motif.family


def colours(sizes: Sizes) -> list[str]:
    """Of the motifs, in the drawing and beside their rows."""
    return list(PALETTE[: len(sizes.motifs)])


def motif_rows(sizes: Sizes) -> list[tuple[str, list[str]]]:
    """Name of each motif, and its numbers with standard errors."""
    rows = []
    for motif in sizes.motifs:
        endless = motif.mean_diameter > 0.99 * LARGEST
        faults = f"{100 * motif.faults:.1f} ± {100 * motif.faults_error:.1f} %" if motif.faults > 0.0 else "–"
        rows.append(
            (
                motif_name(motif),
                [
                    f"{100 * motif.weight:.0f} ± {100 * motif.weight_error:.0f} %"
                    if len(sizes.motifs) > 1
                    else "100 %",
                    "no end seen" if endless else with_error(motif.atom_diameter, motif.atom_diameter_error),
                    "–" if endless else with_error(motif.mean_diameter, motif.mean_diameter_error),
                    "–" if endless or motif.width == 0.0 else with_error(motif.width, motif.width_error),
                    with_error(motif.bond, motif.bond_error, 5),
                    faults,
                ],
            )
        )
    return rows


def with_error(value: float, error: float, digits: int = 1) -> str:
    """Value and standard error; an error that is larger than the value says that nothing is known."""
    return f"{value:.{digits}f} ± {error:.{digits}f}" if error < max(value, 1e-9) else "not determined"


def drawing(sizes: Sizes) -> Markup:
    """Share of the atoms by the diameter of the particle that they are in, one curve a motif."""
    known = [motif for motif in sizes.motifs if motif.mean_diameter <= 0.99 * LARGEST]
    if not known:
        return Markup("")
    left, right, top, bottom = 20.0, 540.0, 12.0, 128.0
    high = max(motif.atom_diameter + 3.5 * max(motif.width, 0.06 * motif.atom_diameter) for motif in known)
    diameter = np.linspace(high / 400.0, high, 400)
    curves = [_density(motif, diameter) for motif in known]
    tallest = max((float(curve.max()) for curve in curves if curve is not None), default=1.0)

    def place(x: float) -> float:
        return left + (right - left) * x / high

    parts = ['<svg viewBox="0 0 560 168" role="img" aria-label="Share of atoms by diameter of the particle">']
    for motif, curve, colour in zip(known, curves, colours(sizes), strict=False):
        if curve is None:
            x = place(motif.atom_diameter)
            parts.append(f'<path d="M{x:.1f} {bottom:.1f}V{top:.1f}" stroke="{colour}" stroke-width="3" fill="none"/>')
            continue
        points = "L".join(
            f"{place(x):.1f} {bottom - (bottom - top) * y / tallest:.1f}"
            for x, y in zip(diameter.tolist(), curve.tolist(), strict=True)
        )
        outline = f"M{left:.1f} {bottom:.1f}L{points}L{right:.1f} {bottom:.1f}Z"
        style = f'fill="{colour}" fill-opacity="0.25" stroke="{colour}" stroke-width="1.5"'
        parts.append(f'<path d="{outline}" {style}/>')
    parts.append(f'<path d="M{left:.0f} {bottom:.0f}H{right:.0f}" class="axis"/>')
    step = _step(high)
    for tick in np.arange(0.0, high, step).tolist():
        parts.append(f'<text x="{place(tick):.1f}" y="{bottom + 16:.0f}" text-anchor="middle">{tick:g}</text>')
    parts.append('<text x="280" y="162" text-anchor="middle">diameter of the particle (Å)</text></svg>')
    return Markup("\n".join(parts))


def _density(motif: MotifSizes, diameter: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Lognormal share of the atoms by diameter; None for a single size."""
    if motif.width < _NARROW * motif.mean_diameter:
        return None
    variance = math.log1p((motif.width / motif.mean_diameter) ** 2)
    median = motif.mean_diameter * math.exp(2.5 * variance)
    return np.asarray(
        motif.weight
        * np.exp(-0.5 * np.log(diameter / median) ** 2 / variance)
        / (diameter * math.sqrt(2.0 * math.pi * variance))
    )


def _step(high: float) -> float:
    """Distance of the ticks: 1, 2 or 5 times a power of ten, six to twelve of them."""
    power = 10.0 ** math.floor(math.log10(high / 5.0))
    return next(power * factor for factor in (1.0, 2.0, 5.0, 10.0) if high / (power * factor) <= 12.0)
