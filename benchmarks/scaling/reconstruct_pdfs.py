"""PDFs by the million, for measurements: simulated from clusters of at most 100 atoms, no two alike.

    python benchmarks/scaling/reconstruct_pdfs.py PDFS.h5 --n 1000000

1024 clusters of all families; every PDF is simulated anew with a nearest-neighbour distance of its own (within 3 %),
one of eight values of Biso (0.2 to 0.8 Å^2) and white noise of up to 2 % of its maximum. 1.2 kB a PDF.
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hpcpdf.clusters.generate import make_cluster
from hpcpdf.config import ClustersSection
from hpcpdf.dataset.schema import PARAMS
from hpcpdf.pdf.params import PdfParams
from hpcpdf.pdf.simulate import simulate_pdf

CLUSTERS = 1024
LARGEST = 100
BISOS = np.linspace(0.2, 0.8, 8)
_ROWS = 4096


@cache
def bank() -> list[NDArray[np.float64]]:
    """Positions of the clusters, Å."""
    section = ClustersSection(n=CLUSTERS, min_atoms=5, max_atoms=LARGEST, elements=("Pt",), nn_spread=0.0)
    return [make_cluster(section, 1, k).positions for k in range(CLUSTERS)]


def write_pdfs(path: Path, n: int, *, seed: int = 0) -> Path:
    """Write `n` PDFs; the same seed and number give the same ones."""
    with h5py.File(path, "w") as file:
        file["r"] = 0.1 * np.arange(301)
        pdf = file.create_dataset("pdf", (n, 301), np.float32)
        params = file.create_dataset("params", (n, len(PARAMS)), np.float64)
        file["z"] = np.full(n, 78, dtype=np.int16)
        for first in range(0, n, _ROWS):
            last = min(first + _ROWS, n)
            pdf[first:last], params[first:last] = _rows(last - first, np.random.default_rng([seed, first]))
    return path


def _rows(count: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    level, cluster = rng.integers(0, len(BISOS), count), rng.integers(0, CLUSTERS, count)
    stretch, amplitude = rng.uniform(0.97, 1.03, count), rng.uniform(0.0, 0.02, (count, 1))
    g, params = np.empty((count, 301)), np.empty((count, len(PARAMS)))
    for k, biso in enumerate(BISOS):
        rows = np.flatnonzero(level == k)
        chosen = PdfParams(biso=float(biso))
        if len(rows):
            g[rows] = simulate_pdf([bank()[cluster[i]] * stretch[i] for i in rows], chosen)[1]
        params[rows] = [getattr(chosen, name) for name in PARAMS]
    return g + amplitude * g.max(axis=1, keepdims=True) * rng.normal(size=g.shape), params


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write_pdfs(options.path, options.n, seed=options.seed)


if __name__ == "__main__":
    main()
