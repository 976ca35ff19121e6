"""PDFs of clusters by the Debye equation."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from hpcpdf import _core
from hpcpdf.errors import ConfigError
from hpcpdf.pdf.clusters import Cluster, Structure, as_clusters
from hpcpdf.pdf.diffpy_backend import simulate_diffpy
from hpcpdf.pdf.grids import Grid, extended_grid, lower_index, r_grid
from hpcpdf.pdf.params import PdfParams
from hpcpdf.pdf.plans import (
    Joined,
    Points,
    fits,
    interpolation,
    is_truncated,
    plan_for,
    sharing,
    table_lengths,
)

Transform = Literal["exact", "diffpy"]
Backend = Literal["native", "diffpy"]
Accuracy = Literal["fast", "direct"]
Floats: TypeAlias = NDArray[np.float64]


def simulate_pdf(
    structures: Structure | Sequence[Structure],
    params: PdfParams,
    *,
    transform: Transform = "exact",
    accuracy: Accuracy = "fast",
    backend: Backend = "native",
    n_threads: int | None = None,
) -> tuple[Floats, Floats]:
    """PDF G(r) of one structure or of many.

    F(Q) = 1/(N <f>^2) sum over i != j of f_i f_j exp(-sigma_ij^2 Q^2 / 2) sin(Q d_ij) / d_ij and
    G(r) = scale exp(-(qdamp r)^2 / 2) (2/pi) qstep sum over Q_k >= qmin of F(Q_k) sin(Q_k r).

    Parameters
    ----------
    structures
        One (n, 3) array in Å or ``ase.Atoms``, or a sequence of them. A bare array is one element of unit scattering
        power. ``Atoms`` bring scattering factors, the truncation by `params.precision` and, when they have an array
        ``"biso"`` (n,), their own displacement parameters in Å^2. Cells and periodicity are ignored.
    params
        Grid, instrument and sample.
    transform
        ``"exact"`` evaluates the sine sum at every r; ``"diffpy"`` interpolates linearly between the points of a finer
        grid as DiffPy's DebyePDFCalculator does (3 to 6 % of the maximum away from the exact sum at rstep = 0.1 Å).
    accuracy
        ``"fast"`` stays within 1e-6 of max|G| of the sum over pairs (1e-8 as a rule) and computes by tables that are
        kept for the next call with the same parameters; what they do not serve (see docs/pdf.md) is summed directly.
        ``"direct"`` sums over pairs: the reference, and cheaper for a few small clusters with parameters of their own.
    backend
        ``"native"``, or ``"diffpy"`` to call diffpy.srreal, which always does its own transform.
    n_threads
        Default: the processors this process may use, or OMP_NUM_THREADS. It never changes the result.

    Returns
    -------
    r : ndarray, shape (R,)
        Å.
    g : ndarray, shape (R,) or (B, R)
        Å^-2.

    Raises
    ------
    ConfigError
        For a structure, transform, accuracy or backend that cannot be used.
    """
    choices = (("transform", transform, Transform), ("accuracy", accuracy, Accuracy), ("backend", backend, Backend))
    for name, value, known in choices:
        if value not in get_args(known):
            raise ConfigError(f"{name} = {value!r}: expected one of {', '.join(get_args(known))}")
    clusters, single = as_clusters(structures, params)
    if backend == "diffpy":
        r, g = simulate_diffpy(clusters, params)
    else:
        r, g = _simulate_native(clusters, params, transform, accuracy, thread_count(n_threads))
    return r, g[0] if single else g


def thread_count(n_threads: int | None) -> int:
    """Number of threads to use: as asked, else OMP_NUM_THREADS, else the processors this process may use."""
    if n_threads is None:
        asked = os.environ.get("OMP_NUM_THREADS", "")
        if asked.isdigit() and int(asked) > 0:
            return int(asked)
        # A batch job can limit the processors; not every system tells.
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if n_threads < 1:
        raise ConfigError(f"n_threads = {n_threads}: expected at least 1, or None for all")
    return int(n_threads)


def _simulate_native(
    clusters: list[Cluster], params: PdfParams, transform: Transform, accuracy: Accuracy, n_threads: int
) -> tuple[Floats, Floats]:
    r = r_grid(params)
    envelope = params.scale * np.exp(-0.5 * (params.qdamp * r) ** 2)
    g: Floats | None = None
    left = list(range(len(clusters)))
    if accuracy == "fast":
        left = []
        # Structures share tables when they share a grid and a Biso and are of the same kind.
        groups = sharing([(item.u_max, item.common_u, item.symbols is None) for item in clusters])
        for group in groups:
            members = [clusters[i] for i in group]
            grid = extended_grid(params, members[0].u_max)
            rows, served = _by_tables(members, params, grid, transform, r, envelope, n_threads)
            if len(groups) == 1:
                g = rows
            else:
                g = np.empty((len(clusters), len(r))) if g is None else g
                g[group] = rows
            left += [i for i, good in zip(group, served.tolist(), strict=True) if not good]
    if g is None:
        g = np.empty((len(clusters), len(r)))
    # The others share a Debye sum and a transform when they share a grid and are of the same kind.
    grids = [extended_grid(params, clusters[i].u_max) for i in left]
    sine = sine_exact if transform == "exact" else sine_interpolated
    for group in sharing([(grid, clusters[i].symbols is None) for i, grid in zip(left, grids, strict=True)]):
        grid, chosen = grids[group[0]], [left[k] for k in group]
        f = debye_f([clusters[i] for i in chosen], params, grid, n_threads)
        g[chosen] = envelope * sine(f, grid, r, params.rstep, n_threads)
    return r, g


def _by_tables(
    clusters: list[Cluster],
    params: PdfParams,
    grid: Grid,
    transform: Transform,
    r: Floats,
    envelope: Floats,
    n_threads: int,
) -> tuple[Floats, NDArray[np.bool_]]:
    """G by tables, shape (B, R), and which rows it is good for.

    Whether one is depends on the parameters and on that cluster alone, never on what else is simulated.
    """
    served = np.zeros(len(clusters), dtype=bool)
    u = clusters[0].common_u
    if u is None:
        return np.empty((len(clusters), len(r))), served
    points = Points(params.rstep, lower_index(params.rmin, params.rstep), len(r))
    if transform == "diffpy":
        points, index, weight = interpolation(grid, r, params.rstep)
    joined = Joined.of(clusters, params, grid)
    lengths = table_lengths(joined.diagonals(), grid)
    suited = fits(lengths, grid, points)
    suited &= [not is_truncated(cluster.symbols, u, params, grid) for cluster in clusters]
    if not suited.any():
        return np.empty((len(clusters), len(r))), served
    if not suited.all():
        joined = Joined.of([cluster for cluster, good in zip(clusters, suited, strict=True) if good], params, grid)
    plan = plan_for(params, grid, u, points, float(lengths[suited].max()))
    g, served[suited] = plan.simulate(
        joined.positions,
        joined.offsets,
        joined.species,
        joined.factors,
        envelope if transform == "exact" else np.ones(points.count),
        n_threads,
    )
    if transform == "diffpy":
        g = envelope * ((1.0 - weight) * g[:, index] + weight * g[:, index + 1])
    if suited.all():
        return g, served
    rows = np.empty((len(clusters), len(r)))
    rows[suited] = g
    return rows, served


def debye_f(clusters: Sequence[Cluster], params: PdfParams, grid: Grid, n_threads: int) -> Floats:
    """F(Q_k) of clusters that are all bare or all with symbols, shape (B, n_q), 1/Å."""
    joined = Joined.of(clusters, params, grid)
    return _core.debye_f(
        positions=joined.positions,
        offsets=joined.offsets,
        u=np.concatenate([cluster.atoms_u for cluster in clusters]),
        species=joined.species,
        factors=joined.factors,
        qstep=grid.qstep,
        n_q=grid.n_q,
        d_min=grid.d_min,
        d_max=grid.d_max,
        delta1=params.delta1,
        delta2=params.delta2,
        qbroad=params.qbroad,
        precision=params.precision if joined.factors is not None else 0.0,
        n_threads=n_threads,
    )


def sine_exact(f: Floats, grid: Grid, r: Floats, rstep: float, n_threads: int) -> Floats:
    """(2/pi) qstep sum over k of F_k sin(Q_k r), shape (B, R); `rstep` plays no part."""
    return 2.0 / math.pi * grid.qstep * _core.sine_transform(f, grid.qstep, grid.k_first, r, n_threads)


def sine_interpolated(f: Floats, grid: Grid, r: Floats, rstep: float, n_threads: int) -> Floats:
    """The sine sum on a grid of at most `rstep` with a power of two of points, interpolated linearly to r."""
    points, index, weight = interpolation(grid, r, rstep)
    fine = np.arange(points.first, points.first + points.count, dtype=np.float64) * points.step
    g = sine_exact(f, grid, fine, rstep, n_threads)
    return np.asarray((1.0 - weight) * g[:, index] + weight * g[:, index + 1])
