"""Exact derivatives of PDFs, and of R_w, with respect to a structure and its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcpdf.errors import ConfigError
from hpcpdf.pdf.clusters import Cluster, Structure, as_clusters
from hpcpdf.pdf.grids import extended_grid, lower_index, r_grid
from hpcpdf.pdf.params import B_PER_U, PdfParams
from hpcpdf.pdf.plans import Joined, Points, fits, is_truncated, plan_for, table_lengths
from hpcpdf.pdf.simulate import thread_count

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PdfGradient:
    """G(r) of B structures and the derivatives of one number E for each.

    Attributes
    ----------
    r : ndarray, shape (R,)
        Å.
    g : ndarray, shape (B, R)
        Å^-2, within 1e-6 of max|G| of the direct sum.
    positions : tuple of B arrays, shape (n, 3)
        dE/dx, 1/Å, of the positions given (before zoom).
    zoom, biso, scale, qdamp, delta2 : ndarray, shape (B,)
        dE/d(zoom) and so on; the Q grid is held fixed. That of delta2 = 0 is NaN for a cluster with overlapping atoms
        (closer than 12 / qmax).
    """

    r: Floats
    g: Floats
    positions: tuple[Floats, ...]
    zoom: Floats
    biso: Floats
    scale: Floats
    qdamp: Floats
    delta2: Floats


@dataclass(frozen=True, eq=False)
class Rw2Gradient(PdfGradient):
    """The same for E = R_w^2.

    Attributes
    ----------
    rw2 : ndarray, shape (B,)
        sum (g_obs - g)^2 / sum g_obs^2.
    """

    rw2: Floats


def rw2_gradient(
    structures: Sequence[Structure],
    params: PdfParams,
    g_obs: ArrayLike,
    *,
    zoom: float = 1.0,
    n_threads: int | None = None,
) -> Rw2Gradient:
    """R_w^2 = sum (g_obs - g)^2 / sum g_obs^2 of many structures, and its derivatives.

    Parameters
    ----------
    structures
        As in `simulate_pdf`, with one Biso, that of `params`.
    params
        Grid, instrument and sample. The Q grid is that of ``params.biso`` and does not move with it.
    g_obs : array_like, shape (R,) or (B, R)
        Observed PDFs on the grid of `params`, Å^-2.
    zoom : float
        Factor on all positions.
    n_threads
        As in `simulate_pdf`; one structure is the work of one thread.

    Returns
    -------
    Rw2Gradient
        Gradients of the interpolated G that ``simulate_pdf(..., accuracy="fast")`` gives, exact to rounding.

    Raises
    ------
    ConfigError
        For observed PDFs of another shape or without signal, and for what tables do not serve: own Biso of atoms,
        contributions cut off by `params.precision`, pairs so close that their width has a kink.
    """
    clusters, observed = _batch(structures, g_obs, params, "g_obs")
    if not observed.any(axis=1).all():
        raise ConfigError("g_obs: expected a PDF with values other than zero")
    found, rw2 = _gradient(clusters, params, observed, zoom, True, n_threads)
    return Rw2Gradient(**vars(found), rw2=rw2)


def pdf_vjp(
    structures: Sequence[Structure],
    params: PdfParams,
    upstream: ArrayLike,
    *,
    zoom: float = 1.0,
    n_threads: int | None = None,
) -> PdfGradient:
    """Derivatives of any E(G) from its slopes ``upstream`` = dE/dG, shape (R,) or (B, R).

    Parameters, result and errors are those of `rw2_gradient`. A unit vector gives the derivatives of one point of G.
    """
    clusters, slopes = _batch(structures, upstream, params, "upstream")
    return _gradient(clusters, params, slopes, zoom, False, n_threads)[0]


def _batch(
    structures: Sequence[Structure], values: ArrayLike, params: PdfParams, name: str
) -> tuple[list[Cluster], Floats]:
    clusters, single = as_clusters(structures, params)
    if single:
        raise ConfigError("structures: expected a sequence; put a single one into a list")
    rows = np.asarray(values, dtype=np.float64)
    shape = (len(clusters), len(r_grid(params)))
    if rows.shape not in (shape, shape[1:]) or not np.isfinite(rows).all():
        raise ConfigError(f"{name}: expected finite numbers of shape {shape} or {shape[1:]}, got {rows.shape}")
    return clusters, np.broadcast_to(rows, shape)


def _gradient(
    clusters: list[Cluster], params: PdfParams, values: Floats, zoom: float, misfit: bool, n_threads: int | None
) -> tuple[PdfGradient, Floats]:
    """The gradient, and the misfit where values are observed PDFs."""
    if not zoom > 0.0:
        raise ConfigError(f"zoom = {zoom}: expected a value above 0")
    r = r_grid(params)
    grid = extended_grid(params, params.uiso)
    points = Points(params.rstep, lower_index(params.rmin, params.rstep), len(r))
    if len({cluster.symbols is None for cluster in clusters}) > 1:
        raise ConfigError("structures: expected all bare arrays or all ase.Atoms")
    for b, cluster in enumerate(clusters):
        if cluster.common_u != params.uiso:
            raise ConfigError(f'structures[{b}]: its array "biso" differs from params.biso; expected one Biso for all')
        if is_truncated(cluster.symbols, params.uiso, params, grid):
            raise ConfigError(f"structures[{b}]: precision = {params.precision} cuts pairs off; set precision = 0")
    zoomed = [replace(cluster, positions=zoom * cluster.positions) for cluster in clusters]
    if not zoomed:
        none = np.zeros(0)
        return PdfGradient(r, np.zeros((0, len(r))), (), none, none, none, none, none), none
    joined = Joined.of(zoomed, params, grid)
    lengths = table_lengths(joined.diagonals(), grid)
    if not fits(lengths, grid, points, adjoint=True).all():
        raise ConfigError("the tables for these parameters are too large; lower rmax or qmax, or raise rstep")
    plan = plan_for(params, grid, params.uiso, points, float(lengths.max()), adjoint=True)
    found = plan.gradient(
        joined.positions,
        joined.offsets,
        joined.species,
        joined.factors,
        np.exp(-0.5 * (params.qdamp * r) ** 2),
        params.scale,
        values,
        misfit,
        n_threads=thread_count(n_threads),
    )
    if not found["served"].all():
        raise ConfigError(
            f"structures[{int(np.argmin(found['served']))}]: two atoms are closer than {plan.nearest:.3g} Å, where "
            f"delta1 or delta2 end the broadening of their peak"
        )
    ends = joined.offsets.astype(np.intp)
    moved = found["positions"]
    owner = np.repeat(np.arange(len(zoomed)), np.diff(ends))
    gradient = PdfGradient(
        r=r,
        g=found["g"],
        positions=tuple(np.split(zoom * moved, ends[1:-1])),
        zoom=np.bincount(owner, (joined.positions * moved).sum(axis=1), len(zoomed)) / zoom,
        biso=found["u"] / B_PER_U,
        scale=found["scale"],
        qdamp=-params.qdamp * found["spread"],
        delta2=found["delta2"],
    )
    return gradient, found["misfit"]
