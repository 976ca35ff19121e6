"""The equations of docs/pdf.md written down term by term, pair by pair: nothing shared with the engine but its grid."""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms

from hpcpdf import PdfParams
from hpcpdf.pdf.grids import extended_grid, lower_index, upper_index
from hpcpdf.pdf.scattering import scattering_factors


def partial_pdfs(atoms: Atoms, params: PdfParams, uiso: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
    """G(r) of the pairs of each two elements, which add up to that of the structure. "X" scatters with strength one."""
    grid = extended_grid(params, float(uiso.max()))
    q = grid.q
    symbols = list(atoms.symbols)
    factors = [np.ones_like(q) if s == "X" else scattering_factors(s, q, params.radiation) for s in symbols]
    totals: dict[tuple[str, str], np.ndarray] = {}
    for i in range(len(atoms)):
        for j in range(i):
            d = float(np.linalg.norm(atoms.positions[i] - atoms.positions[j]))
            if not grid.d_min <= d <= grid.d_max:
                continue
            ratio = 1 - params.delta1 / d - params.delta2 / d**2 + (params.qbroad * d) ** 2
            variance = max(ratio, 0.0) * (uiso[i] + uiso[j])
            amplitude = 2 * factors[i] * factors[j] * np.exp(-0.5 * variance * q**2) / d
            below = np.flatnonzero(np.abs(amplitude) <= params.precision)
            if len(below):
                amplitude[below[0] :] = 0.0
            kinds = min(symbols[i], symbols[j]), max(symbols[i], symbols[j])
            totals[kinds] = totals.get(kinds, 0.0) + amplitude * np.sin(q * d)
    r = np.arange(upper_index(params.rmax, params.rstep)) * params.rstep
    r = r[lower_index(params.rmin, params.rstep) :]
    sines = np.sin(np.outer(r, q))
    sines[:, : grid.k_first] = 0.0
    norm = len(atoms) * np.mean(factors, axis=0) ** 2
    envelope = params.scale * np.exp(-0.5 * (params.qdamp * r) ** 2) * 2 / math.pi * grid.qstep
    return {kinds: envelope * (sines @ (total / norm)) for kinds, total in totals.items()}


def reference_pdf(atoms: Atoms, params: PdfParams, uiso: np.ndarray) -> np.ndarray:
    """G(r) of the structure."""
    return np.asarray(sum(partial_pdfs(atoms, params, uiso).values()))
