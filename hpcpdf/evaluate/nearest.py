"""The real cluster that a structure resembles most, by the structure's own PDF: nothing observed plays a part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcpdf.errors import DataError
from hpcpdf.evaluate.fitted_zoom import fit_zooms
from hpcpdf.evaluate.lookup import LookUp
from hpcpdf.pdf.fit import BOUNDS
from hpcpdf.pdf.grids import r_grid
from hpcpdf.pdf.params import PdfParams
from hpcpdf.pdf.simulate import simulate_pdf

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Nearest:
    """The most similar real cluster for each of n structures.

    Attributes
    ----------
    index : (n,) int array
        Which of the real clusters; -1 where there is no structure.
    zoom : (n,) array
        By how much it is stretched to fit best; NaN where there is no structure.
    rw, pearson : (n,) arrays
        Of its PDF at that zoom, with the best scale, against the structure's own; 1 and NaN where there is none.
    structures : list of (n_atoms, 3) arrays
        The real clusters at that zoom, Å; without atoms where there is no structure.
    g_calc : (n, R) array
        Their PDFs, Å⁻²; 0 where there is no structure.
    """

    index: NDArray[np.int64]
    zoom: Array
    rw: Array
    pearson: Array
    structures: list[Array]
    g_calc: Array


class RealClusters:
    """A set of real clusters to compare structures with.

    Parameters
    ----------
    structures
        Arrays (n_atoms, 3), Å; rows of NaN (padding) are left out.
    params
        With which all PDFs are simulated.
    pdfs : (n, R) array, optional
        PDFs of `structures` on the grid of `params`; simulated when not given.

    Raises
    ------
    DataError
        If there are no clusters, or not as many as PDFs.
    """

    def __init__(self, structures: Sequence[ArrayLike], params: PdfParams, pdfs: ArrayLike | None = None) -> None:
        arrays = [np.asarray(item, dtype=np.float64) for item in structures]
        self.structures = [item[~np.isnan(item).any(axis=1)] for item in arrays]
        self.params = params
        known = simulate_pdf(self.structures, params)[1] if pdfs is None else np.asarray(pdfs)
        if len(known) != len(self.structures) or not self.structures:
            raise DataError(f"{len(self.structures)} real clusters, {len(known)} PDFs; expected as many, at least 1")
        self._pdfs = np.asarray(known, dtype=np.float32)
        self._sizes = np.array([len(item) for item in self.structures])

    def find(self, positions: Sequence[ArrayLike], *, same_size: bool = False) -> Nearest:
        """The most similar one for each structure, by correlation at the best zoom of 0.9 to 1.1.

        Parameters
        ----------
        positions
            n arrays (n_atoms, 3), Å.
        same_size
            Compare only with clusters of as many atoms, or the number nearest to it that there is. Disorder damps a PDF
            at large r as a smaller cluster does, so that without this a disordered structure resembles smaller ones.
        """
        arrays = [np.asarray(item, dtype=np.float64) for item in positions]
        n = len(arrays)
        found = Nearest(
            index=np.full(n, -1),
            zoom=np.full(n, np.nan),
            rw=np.ones(n),
            pearson=np.full(n, np.nan),
            structures=[np.zeros((0, 3)) for _ in arrays],
            g_calc=np.zeros((n, r_grid(self.params).size)),
        )
        kept = np.array([i for i, x in enumerate(arrays) if len(x) > 1 and np.isfinite(x).all()], dtype=np.int64)
        _, own = simulate_pdf([arrays[i] for i in kept], self.params)
        # Atoms that all coincide scatter nothing.
        own, kept = own[own.any(axis=1)], kept[own.any(axis=1)]
        index = self._most_similar(own, np.array([len(arrays[i]) for i in kept]) if same_size else None)
        # The look-up takes G(r / zoom) for the PDF of a stretched cluster; the fit does not.
        fits = fit_zooms([self.structures[i] for i in index], own, self.params)
        found.index[kept], found.zoom[kept] = index, fits.zoom
        found.rw[kept], found.pearson[kept], found.g_calc[kept] = fits.rw, fits.pearson, fits.g_calc
        for place, i, zoom in zip(kept, index, fits.zoom, strict=True):
            found.structures[place] = self.structures[i] * zoom
        return found

    def _most_similar(self, own: Array, sizes: NDArray[np.int64] | None) -> NDArray[np.int64]:
        r, index = r_grid(self.params), np.zeros(len(own), dtype=np.int64)
        for size in (None,) if sizes is None else np.unique(sizes):
            away = np.zeros(len(self._sizes)) if size is None else np.abs(self._sizes - size)
            known = np.flatnonzero(away == away.min())
            mine = np.flatnonzero(np.full(len(own), True) if sizes is None else sizes == size)
            match = LookUp(r, self._pdfs[known]).find(own[mine], zoom_range=BOUNDS["zoom"])
            index[mine] = known[match.index]
        return index
