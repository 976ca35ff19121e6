"""Large sets of PDFs in seconds: those of a few clusters, each row with a scale and noise of its own."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from small_model import clusters, pdf_batch

from hpcpdf import PdfParams
from hpcpdf.dataset.schema import PARAMS

_ROWS = 8192


def write_pdfs(path: Path, n: int, *, seed: int = 7, bad: tuple[int, ...] = ()) -> Path:
    """Write `n` PDFs of platinum clusters, with NaN in the rows `bad`."""
    base = pdf_batch(clusters(64, seed=seed)).pdf.astype(np.float32)
    with h5py.File(path, "w") as file:
        file["r"] = 0.1 * np.arange(base.shape[1])
        pdf = file.create_dataset("pdf", (n, base.shape[1]), np.float32)
        for first in range(0, n, _ROWS):
            rng = np.random.default_rng([seed, first])
            count = min(_ROWS, n - first)
            chosen = base[rng.integers(0, len(base), count)]
            scale = rng.uniform(0.5, 2.0, (count, 1)).astype(np.float32)
            noise = rng.standard_normal(chosen.shape, dtype=np.float32) * (0.02 * chosen.max(axis=1, keepdims=True))
            pdf[first : first + count] = scale * (chosen + noise)
        for row in bad:
            pdf[row, 50] = np.nan
        file["z"] = np.full(n, 78, dtype=np.int16)
        file["params"] = np.tile([getattr(PdfParams(), name) for name in PARAMS], (n, 1))
    return path
