"""The baseline every model is shown against: the training sample whose PDF is most like the one in question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcpdf.errors import ConfigError, DataError

Measure = Literal["pearson", "cosine"]

_CHUNK = 256
"""PDFs compared at once: 80 MB for 80 000 training PDFs."""
_FINALISTS = 16


@dataclass(frozen=True, eq=False)
class Match:
    """The best training sample for each of n PDFs.

    Attributes
    ----------
    index : (n,) int array
        Row of the training set.
    score : (n,) array
        Correlation (or cosine) of the two PDFs.
    zoom : (n,) array
        Factor by which the training structure is to be stretched; 1 without a fit.
    """

    index: NDArray[np.int64]
    score: NDArray[np.float64]
    zoom: NDArray[np.float64]


class LookUp:
    """Nearest-neighbour look-up in a set of training PDFs.

    Parameters
    ----------
    r : (R,) array
        Å, ascending, common to all PDFs.
    training : (n_train, R) array
        G(r), any scale.
    measure
        ``pearson`` correlation or ``cosine``. Both ignore the scale of a PDF.
    r_range
        Part of `r` that is compared, Å; by default from 1 Å up, as the networks see it.
    """

    def __init__(
        self,
        r: ArrayLike,
        training: ArrayLike,
        *,
        measure: Measure = "pearson",
        r_range: tuple[float, float] = (1.0, np.inf),
    ) -> None:
        if measure not in ("pearson", "cosine"):
            raise ConfigError(f"measure = {measure!r}: expected pearson or cosine")
        self.measure = measure
        self.r = np.asarray(r, dtype=np.float64)
        data = np.asarray(training)
        if data.ndim != 2 or data.shape[1:] != self.r.shape or not len(data):
            raise DataError(f"training PDFs of shape {data.shape}: expected (n, {self.r.size}) with n > 0")
        slack = 1e-9
        self.keep = (self.r >= r_range[0] - slack) & (self.r <= r_range[1] + slack)
        if np.count_nonzero(self.keep) < 2:
            raise ConfigError(f"r_range = {r_range}: no part of the grid {self.r[0]:g}–{self.r[-1]:g} Å")
        self._training = self._normalised(data[:, self.keep])

    def find(self, pdfs: ArrayLike, *, zoom_range: tuple[float, float] | None = None, n_zoom: int = 41) -> Match:
        """The most similar training PDF of each.

        Parameters
        ----------
        pdfs : (n, R) array
            G(r) on the same r.
        zoom_range
            Stretch the training structures by a factor in this interval too, (0.9, 1.1) for example. The PDF of a
            structure stretched by z is taken as G(r / z), exact but for the instrument's part in it. None: no stretch.
        n_zoom
            Factors tried; the best is improved to a hundredth of their distance among the best 16.
        """
        queries = np.asarray(pdfs, dtype=np.float64)
        if queries.ndim != 2 or queries.shape[1:] != self.r.shape:
            raise DataError(f"PDFs of shape {queries.shape}: expected (n, {self.r.size})")
        if zoom_range is None:
            return self._find_plain(queries[:, self.keep])
        low, high = zoom_range
        if not 0.0 < low <= 1.0 <= high or n_zoom < 2:
            raise ConfigError(f"zoom_range = {zoom_range}, n_zoom = {n_zoom}: expected low <= 1 <= high, n_zoom >= 2")
        found = [self._find_stretched(g, np.linspace(low, high, n_zoom)) for g in queries]
        index, score, zoom = (np.array(column) for column in zip(*found, strict=True)) if found else np.zeros((3, 0))
        return Match(index.astype(np.int64), score.astype(np.float64), zoom.astype(np.float64))

    def _find_plain(self, queries: NDArray[np.float64]) -> Match:
        index, score = np.zeros(len(queries), dtype=np.int64), np.zeros(len(queries))
        for begin in range(0, len(queries), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            scores = self._scores(queries[part])
            index[part] = np.argmax(scores, axis=1)
            score[part] = scores.max(axis=1)
        return Match(index, score, np.ones(len(queries)))

    def _find_stretched(self, g: NDArray[np.float64], zooms: NDArray[np.float64]) -> tuple[int, float, float]:
        scores = self._scores(self._stretched(g, zooms))
        finalists = np.argsort(-scores.max(axis=0), kind="stable")[:_FINALISTS]
        step = zooms[1] - zooms[0]
        best = (-np.inf, 0, 1.0)
        around = zooms[np.argmax(scores[:, finalists], axis=0)]
        for centre in np.unique(around):
            fine = np.clip(centre + step * np.linspace(-1.0, 1.0, 201), zooms[0], zooms[-1])
            mine = finalists[around == centre]
            local = self._normalised(self._stretched(g, fine)) @ self._training[mine].T
            row, column = np.unravel_index(int(np.argmax(local)), local.shape)
            best = max(best, (float(local[row, column]), int(mine[column]), float(fine[row])))
        return best[1], best[0], best[2]

    def _stretched(self, g: NDArray[np.float64], zooms: NDArray[np.float64]) -> NDArray[np.float64]:
        """The PDF as it would be, were its structure compressed by each zoom; (Z, kept)."""
        # Cubic interpolation: straight lines between points 0.1 Å apart would cost several per cent of a peak.
        from scipy.interpolate import CubicSpline

        wanted = np.outer(zooms, self.r[self.keep])
        value = CubicSpline(self.r, g)(np.minimum(wanted, self.r[-1]))
        return np.asarray(np.where(wanted <= self.r[-1], value, 0.0))

    def _scores(self, queries: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.asarray(self._normalised(queries) @ self._training.T)

    def _normalised(self, g: NDArray[np.floating]) -> NDArray[np.float32]:
        data = np.asarray(g, dtype=np.float64)
        if self.measure == "pearson":
            data = data - data.mean(axis=1, keepdims=True)
        norm = np.linalg.norm(data, axis=1, keepdims=True)
        unit = np.divide(data, norm, out=np.zeros_like(data), where=norm > 0.0)
        return np.asarray(unit, dtype=np.float32)
