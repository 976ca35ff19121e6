"""Make the simulated measurements of this folder: PDFs of known clusters with the noise of a good measurement.

    python examples/simulate_gr.py [FOLDER]

writes pt79.gr and au100.gr to FOLDER (default: beside this file). `hpcpdf solve pt79.gr --element Pt --out solved`
should give a truncated octahedron of 79 atoms with 2.79 Å between neighbours.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.cluster import Decahedron, Octahedron

from hpcpdf import PdfParams, simulate_pdf
from hpcpdf.pdf.gr import MeasuredPdf, write_gr

NOISE = 0.02
"""Standard deviation of F(Q), as a share of its own."""


def samples() -> dict[str, tuple[Atoms, PdfParams, int]]:
    """Name -> cluster, instrument and seed of the noise."""
    grid = {"rmax": 30.005, "rstep": 0.01}
    octahedron = Octahedron("Pt", 5, 1, latticeconstant=2.79 * np.sqrt(2.0))
    decahedron = Decahedron("Au", 3, 1, 1, latticeconstant=2.87 * np.sqrt(2.0))
    return {
        "pt79": (
            Atoms("Pt79", octahedron.positions),
            PdfParams(qmin=0.9, qmax=24.0, qdamp=0.03, biso=0.55, scale=0.6, **grid),
            1,
        ),
        "au100": (
            Atoms("Au100", decahedron.positions),
            PdfParams(qmin=1.1, qmax=26.0, qdamp=0.025, biso=0.7, scale=0.8, **grid),
            2,
        ),
    }


def measure(atoms: Atoms, params: PdfParams, seed: int) -> MeasuredPdf:
    """The PDF of a cluster with noise that, like that of a measurement, is white in Q."""
    r, g = simulate_pdf(atoms, params)
    qstep = np.pi / 40.0
    q = np.arange(params.qmin, params.qmax, qstep)
    sine = np.sin(np.outer(q, r))
    f = sine @ g * (r[1] - r[0])
    noise = np.random.default_rng(seed).normal(size=q.size) * NOISE * f.std()
    g = g + 2.0 / np.pi * qstep * noise @ sine
    return MeasuredPdf(np.round(r, 2), g, None, params.qmin, params.qmax, atoms.symbols[0], {"mode": "xray"})


def main(folder: Path) -> None:
    """Write every sample."""
    for name, (atoms, params, seed) in samples().items():
        comment = (
            f"Simulated by hpcpdf (examples/simulate_gr.py): {len(atoms)} atoms, "
            f"Biso = {params.biso} A^2, qdamp = {params.qdamp} 1/A, {NOISE:.0%} noise in F(Q)"
        )
        write_gr(folder / f"{name}.gr", measure(atoms, params, seed), comment=comment)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
