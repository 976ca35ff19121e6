"""Where a reconstruction loses its correlation: one shortcoming of it mended at a time, all others left as they are.

Two more factors are the model's own to mend, both with ``Dense2020.structures``: the true number of atoms in place of
the one that it finds, and z of the encoder, which knows the structure, in place of z from the PDF.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcpdf.errors import DataError
from hpcpdf.evaluate.fitted_zoom import fit_zooms
from hpcpdf.evaluate.nearest import RealClusters
from hpcpdf.model.distances import AssignedDistances
from hpcpdf.pdf.clusters import Cluster
from hpcpdf.pdf.grids import extended_grid, r_grid
from hpcpdf.pdf.params import PdfParams
from hpcpdf.pdf.simulate import debye_f, sine_exact, thread_count

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mended:
    """Structures after one correction, and their PDFs.

    Attributes
    ----------
    positions : list of (n_atoms, 3) arrays
        Å. What was no structure stays as it was.
    g_calc : (n, R) array
        Å⁻²; 0 throughout where there is no structure.
    """

    positions: list[Array]
    g_calc: Array


def mend_scale(positions: Sequence[ArrayLike], g_obs: ArrayLike, params: PdfParams | Sequence[PdfParams]) -> Mended:
    """Stretch every structure by the zoom that fits its PDF best; see `hpcpdf.evaluate.fitted_zoom.fit_zooms`."""
    arrays = [np.asarray(item, dtype=np.float64) for item in positions]
    fits = fit_zooms(arrays, g_obs, params)
    zooms = np.nan_to_num(fits.zoom, nan=1.0)
    return Mended([item * zoom for item, zoom in zip(arrays, zooms, strict=True)], fits.g_calc)


def mend_disorder(positions: Sequence[ArrayLike], real: RealClusters) -> Mended:
    """Put the real cluster that resembles a structure most, at the zoom that fits it best, in the structure's place.

    Resemblance is that of its own PDF, among clusters of its own number of atoms (or the nearest there is). Nothing of
    the observed PDF or of the truth is used: a wrong size, scale or shape stays wrong, disorder alone goes.
    """
    arrays = [np.asarray(item, dtype=np.float64) for item in positions]
    found = real.find(arrays, same_size=True)
    return Mended(
        [ideal if len(ideal) else own for ideal, own in zip(found.structures, arrays, strict=True)], found.g_calc
    )


def mend_ordering(structures: Sequence[AssignedDistances], params: PdfParams) -> Array:
    """PDFs (n, R) of the predicted distances as they are, Å⁻².

    A PDF needs no assignment, so distances that no arrangement of atoms can have at once cost nothing here; what is
    gained over the trilaterated structure is what their contradictions cost.
    """
    lists = []
    for item in structures:
        pairs = np.triu_indices(item.n_atoms, 1)
        lists.append(item.distances[pairs].astype(np.float64) * item.length)
    return pdf_of_distances(lists, [item.n_atoms for item in structures], params)


def pdf_of_distances(distances: Sequence[ArrayLike], n_atoms: Sequence[int], params: PdfParams) -> Array:
    """PDFs of unassigned distance lists, one element, exact transform.

    What `hpcpdf.simulate_pdf` gives for a structure with these distances. The Debye sum is a sum over pairs:
    F(Q) = (2 / N) Σ F_pair(Q), with F_pair that of two atoms alone.

    Parameters
    ----------
    distances
        n arrays of any length, Å: each pair once.
    n_atoms
        Number of atoms N of each.
    params
        Instrument and sample.

    Returns
    -------
    (n, R) array
        Å⁻².

    Raises
    ------
    DataError
        For distances that are negative or not finite, or numbers of lists and of atoms that differ.
    """
    lists = [np.asarray(item, dtype=np.float64).ravel() for item in distances]
    if len(lists) != len(n_atoms):
        raise DataError(f"{len(lists)} lists of distances with {len(n_atoms)} numbers of atoms; expected as many")
    grid, threads = extended_grid(params, params.uiso), thread_count(None)
    f = np.zeros((len(lists), grid.n_q))
    for i, (item, n) in enumerate(zip(lists, n_atoms, strict=True)):
        if not (np.isfinite(item).all() and (item >= 0.0).all()):
            raise DataError(f"list {i} holds distances that are negative or not finite")
        if item.size:
            dimers = np.zeros((item.size, 2, 3))
            dimers[:, 1, 0] = item
            f[i] = debye_f([Cluster(pair, params.uiso, None) for pair in dimers], params, grid, threads).sum(axis=0)
            f[i] *= 2.0 / n
    r = r_grid(params)
    envelope = params.scale * np.exp(-0.5 * (params.qdamp * r) ** 2)
    return np.asarray(envelope * sine_exact(f, grid, r, params.rstep, threads))
