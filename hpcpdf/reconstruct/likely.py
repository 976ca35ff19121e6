"""The fast way: one structure for each PDF, the one at the mean of the model's prior."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from hpcpdf.dataset.schema import Arrays
from hpcpdf.model.base import ConditionalModel
from hpcpdf.model.features import PdfBatch, all_to_network_grid
from hpcpdf.reconstruct.place import place
from hpcpdf.reconstruct.results import RowStatus
from hpcpdf.reconstruct.score import Scorer
from hpcpdf.reconstruct.sources import Floats, Screen
from hpcpdf.solver.satellites import satellites

PASS = 256
"""PDFs that go through the network together. Fixed: the last digits of a matrix product depend on its size."""

Timer = Callable[[str], AbstractContextManager[None]]
"""Gives a context that is entered for the length of a step, for measurements."""


class Likely:
    """PDFs to structures without sampling, ranking or fits.

    Parameters
    ----------
    model
        Trained model.
    r : (R,)
        Grid of the PDFs, Å.
    r_range
        Range in which structures are compared with their PDFs, Å.
    timer
        Told of every step.
    """

    def __init__(
        self, model: ConditionalModel, r: Floats, r_range: tuple[float, float], timer: Timer | None = None
    ) -> None:
        self._model = model
        self._r = r
        self._screen = Screen(r, r_range)
        self._score = Scorer(r, r_range)
        self._satellites = satellites(model.section.satellites)
        self._timer: Timer = timer or (lambda step: nullcontext())

    def __call__(self, arrays: Arrays) -> Arrays:
        """Columns for the rows of a block, which are taken `PASS` at a time."""
        parts = [
            self._pass({name: values[k : k + PASS] for name, values in arrays.items()})
            for k in range(0, len(arrays["row"]), PASS)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _pass(self, arrays: Arrays) -> Arrays:
        n = len(arrays["row"])
        status = self._screen(arrays)
        usable = np.flatnonzero(status == RowStatus.DONE)
        columns: Arrays = {
            "row": arrays["row"].astype(np.int64),
            "status": status,
            "n_atoms": np.zeros(n, dtype=np.int16),
            "family": np.zeros(n, dtype="S16"),
            "positions": np.empty((0, 3), dtype=np.float32),
            **{name: np.full(n, np.nan) for name in ("rw", "pearson", "scale", "biso", "qdamp")},
        }
        if not len(usable):
            return columns
        pdfs, params = arrays["pdf"][usable], arrays["params"][usable]
        with self._timer("features"):
            batch = PdfBatch(
                all_to_network_grid(self._r, pdfs),
                params[:, 0].astype(np.float64),
                params[:, 1].astype(np.float64),
                self._screen.expected_nn(arrays["z"][usable]),
            )
        with self._timer("network"):
            predicted = self._model.most_likely(batch)
        with self._timer("trilaterate"):
            placed = place(predicted, self._satellites)
        kept = usable[placed.found]
        status[usable[~placed.found]] = RowStatus.NOT_PLACED
        columns["n_atoms"][kept] = placed.n_atoms[placed.found]
        columns["family"][kept] = np.array(predicted.families, dtype="S16")[placed.found]
        columns["positions"] = placed.atoms()
        if len(kept):
            with self._timer("score"):
                good = placed.found
                agreement = self._score(placed.joined(), pdfs[good], batch.qmin[good], batch.qmax[good])
            for name in ("rw", "pearson", "scale", "biso", "qdamp"):
                columns[name][kept] = getattr(agreement, name)
        return columns
