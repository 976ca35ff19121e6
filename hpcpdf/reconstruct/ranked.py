"""The careful way: many samples for each PDF, all of them fitted at once, the best once more one by one."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcpdf.config import ReconstructSection
from hpcpdf.dataset.schema import PARAMS, Arrays
from hpcpdf.errors import SolverError
from hpcpdf.model.base import ConditionalModel
from hpcpdf.model.features import PdfBatch, to_network_grid
from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.pdf.ranking import rank
from hpcpdf.reconstruct.propose import propose
from hpcpdf.reconstruct.results import RowStatus
from hpcpdf.reconstruct.sources import Floats, Screen

log = logging.getLogger(__name__)

_FITTED = 4  # best structures that are fitted one by one: they may differ by less than the ranking is good to


@dataclass(frozen=True, eq=False)
class Ranked:
    """PDFs on the grid `r` (R,), Å, to structures; the seed of a PDF's samples follows from its row."""

    model: ConditionalModel
    r: Floats
    section: ReconstructSection
    seed: int
    n_threads: int | None = None

    @cached_property
    def _screen(self) -> Screen:
        return Screen(self.r, self.section.r_range)

    @cached_property
    def compared(self) -> NDArray[np.bool_]:
        """(R,): the points of `r` that are compared."""
        low, high = self.section.r_range
        return np.asarray((self.r >= low - 1e-9) & (self.r <= high + 1e-9))

    def one(self, arrays: Arrays) -> Arrays:
        """Columns of a single row; `arrays` hold nothing else."""
        status = RowStatus(int(self._screen(arrays)[0]))
        if status is RowStatus.DONE:
            try:
                return self._solve(arrays)
            except SolverError as error:
                log.warning("PDF %d: %s", arrays["row"][0], error)
                status = RowStatus.NOT_PLACED
        return self._without(arrays, status)

    def _solve(self, arrays: Arrays) -> Arrays:
        section, row = self.section, int(arrays["row"][0])
        params = dict(zip(PARAMS, arrays["params"][0].tolist(), strict=True))
        pdf = arrays["pdf"][0].astype(np.float64)
        measured = MeasuredPdf(self.r, pdf, qmin=params["qmin"], qmax=params["qmax"], source=f"PDF {row}")
        batch = PdfBatch(
            to_network_grid(self.r, pdf)[None],
            np.array([params["qmin"]]),
            np.array([params["qmax"]]),
            self._screen.expected_nn(arrays["z"]),
        )
        seed = int(np.random.SeedSequence(self.seed, spawn_key=(row,)).generate_state(1)[0])
        proposals = propose(self.model, batch, section.n_samples, seed, self.n_threads)
        fitter = PdfFitter(measured, section.r_range)
        ranking = rank(fitter, proposals.positions, self.n_threads)
        best = ranking.order()[:_FITTED]
        fits = fitter.fit([proposals.positions[k] for k in best])
        top = int(np.argmin([fit.rw for fit in fits]))
        chosen, fit = int(best[top]), fits[top]
        positions = proposals.positions[chosen] * fit.zoom
        counts = np.array([len(x) for x in proposals.positions])
        columns: dict[str, ArrayLike] = {
            "row": np.int64(row),
            "status": np.int8(RowStatus.DONE),
            "rw": np.float64(fit.rw),
            "pearson": np.float64(fit.pearson),
            "scale": np.float64(fit.scale),
            "zoom": np.float64(fit.zoom),
            "biso": np.float64(fit.biso),
            "qdamp": np.float64(fit.qdamp),
            "delta2": np.float64(fit.delta2),
            "n_atoms": np.int16(len(positions)),
            "positions": positions.astype(np.float32),
            "g_obs": fit.g_obs,
            "g_calc": fit.g_calc,
            "rw_samples": _padded(ranking.rw[proposals.index], section.n_samples, np.nan),
            "n_atoms_samples": _padded(counts[proposals.index], section.n_samples, 0).astype(np.int16),
            "family": np.bytes_(proposals.families[chosen]),
        }
        return {name: np.asarray(value) for name, value in columns.items()}

    def _without(self, arrays: Arrays, status: RowStatus) -> Arrays:
        """Columns of a row that holds no structure."""
        nothing = np.full(int(np.count_nonzero(self.compared)), np.nan)
        names = ("rw", "pearson", "scale", "zoom", "biso", "qdamp", "delta2")
        values = {name: np.asarray(np.nan) for name in names}
        return {
            "row": np.asarray(arrays["row"][0], dtype=np.int64),
            "status": np.asarray(status, dtype=np.int8),
            **values,
            "n_atoms": np.asarray(0, dtype=np.int16),
            "positions": np.empty((0, 3), dtype=np.float32),
            "g_obs": arrays["pdf"][0][self.compared].astype(np.float64),
            "g_calc": nothing,
            "rw_samples": np.full(self.section.n_samples, np.nan),
            "n_atoms_samples": np.zeros(self.section.n_samples, dtype=np.int16),
            "family": np.asarray(b""),
        }


def _padded(values: NDArray[np.generic], n: int, fill: float) -> NDArray[np.generic]:
    return np.concatenate([values, np.full(n - len(values), fill, dtype=values.dtype)])


def stack(results: list[Arrays]) -> Arrays:
    """Columns of several rows; positions one structure after another."""
    columns = {
        name: np.concatenate([item[name] for item in results])
        if name == "positions"
        else np.stack([item[name] for item in results])
        for name in results[0]
    }
    columns["family"] = columns["family"].astype("S16")
    return columns
