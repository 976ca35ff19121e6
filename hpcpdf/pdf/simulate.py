"""PDFs of clusters by the Debye equation."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from hpcpdf import _core
from hpcpdf.errors import ConfigError
from hpcpdf.pdf.diffpy_backend import simulate_diffpy
from hpcpdf.pdf.grids import Grid, extended_grid, r_grid
from hpcpdf.pdf.params import B_PER_U, PdfParams
from hpcpdf.pdf.scattering import scattering_factors

Transform = Literal["exact", "diffpy"]
Backend = Literal["native", "diffpy"]
Structure: TypeAlias = ArrayLike | Atoms
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Cluster:
    """One structure, checked: positions (n, 3) Å, u (n,) Å^2, and its symbols unless it is a bare array."""

    positions: Floats
    u: Floats
    symbols: tuple[str, ...] | None

    @property
    def u_max(self) -> float:
        """Largest mean-square displacement, Å^2; 0 without atoms."""
        return float(self.u.max(initial=0.0))


def simulate_pdf(
    structures: Structure | Sequence[Structure],
    params: PdfParams,
    *,
    transform: Transform = "exact",
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
        For a structure, transform or backend that cannot be used.
    """
    for name, value, known in (("transform", transform, Transform), ("backend", backend, Backend)):
        if value not in get_args(known):
            raise ConfigError(f"{name} = {value!r}: expected one of {', '.join(get_args(known))}")
    clusters, single = as_clusters(structures, params)
    if backend == "diffpy":
        r, g = simulate_diffpy(clusters, params)
    else:
        r, g = _simulate_native(clusters, params, transform, thread_count(n_threads))
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


def as_clusters(structures: Structure | Sequence[Structure], params: PdfParams) -> tuple[list[Cluster], bool]:
    """Check structures; the flag tells whether a single one was given."""
    if isinstance(structures, Atoms):
        return [_from_atoms(structures, params, "structure")], True
    if hasattr(structures, "__array__"):
        structures = np.asarray(structures)
    if _is_positions(structures):
        return [_from_array(structures, params, "structure")], True
    try:
        items = list(structures)  # type: ignore[arg-type]
    except TypeError:
        raise ConfigError(
            f"structures: expected an (n, 3) array, ase.Atoms or a sequence of them, got {type(structures).__name__}"
        ) from None
    clusters = []
    for index, item in enumerate(items):
        where = f"structures[{index}]"
        if isinstance(item, Atoms):
            clusters.append(_from_atoms(item, params, where))
        else:
            clusters.append(_from_array(item, params, where))
    return clusters, False


def _is_positions(structures: Any) -> bool:
    if isinstance(structures, np.ndarray):
        return structures.ndim == 2 or structures.dtype == object or structures.ndim < 2
    if not isinstance(structures, Sequence) or not structures or isinstance(structures[0], Atoms):
        return False
    return np.ndim(structures[0]) == 1


def _from_array(item: Any, params: PdfParams, where: str) -> Cluster:
    try:
        positions = np.ascontiguousarray(item, dtype=np.float64)
    except (TypeError, ValueError):
        raise ConfigError(f"{where}: expected an (n, 3) array of numbers or ase.Atoms") from None
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise ConfigError(f"{where}: expected positions of shape (n, 3), got {positions.shape}")
    if not np.isfinite(positions).all():
        raise ConfigError(f"{where}: positions hold NaN or infinity")
    return Cluster(positions, np.full(len(positions), params.uiso), None)


def _from_atoms(atoms: Atoms, params: PdfParams, where: str) -> Cluster:
    bare = _from_array(atoms.positions, params, where)
    u = bare.u
    if "biso" in atoms.arrays:
        u = np.asarray(atoms.arrays["biso"], dtype=np.float64) / B_PER_U
        if u.shape != bare.u.shape or not np.isfinite(u).all() or (u < 0.0).any():
            raise ConfigError(f'{where}: the array "biso" must hold one value >= 0 (Å^2) for each atom')
    return Cluster(bare.positions, u, tuple(atoms.symbols))


def _simulate_native(
    clusters: list[Cluster], params: PdfParams, transform: Transform, n_threads: int
) -> tuple[Floats, Floats]:
    r = r_grid(params)
    g = np.zeros((len(clusters), len(r)))
    envelope = params.scale * np.exp(-0.5 * (params.qdamp * r) ** 2)
    # Structures share a Debye sum and a transform when they share a grid and are of the same kind.
    groups: dict[tuple[Grid, bool], list[int]] = {}
    for index, cluster in enumerate(clusters):
        groups.setdefault((extended_grid(params, cluster.u_max), cluster.symbols is None), []).append(index)
    for (grid, _), indices in groups.items():
        f = debye_f([clusters[i] for i in indices], params, grid, n_threads)
        sine = sine_exact if transform == "exact" else sine_interpolated
        g[indices] = envelope * sine(f, grid, r, params.rstep, n_threads)
    return r, g


def debye_f(clusters: Sequence[Cluster], params: PdfParams, grid: Grid, n_threads: int) -> Floats:
    """F(Q_k) of clusters that are all bare or all with symbols, shape (B, n_q), 1/Å."""
    species: NDArray[np.intc] | None = None
    factors: Floats | None = None
    if clusters[0].symbols is not None:
        symbols = [symbol for cluster in clusters for symbol in cluster.symbols or ()]
        known = sorted(set(symbols))
        rank = {symbol: i for i, symbol in enumerate(known)}
        species = np.array([rank[symbol] for symbol in symbols], dtype=np.intc)
        factors = np.array([scattering_factors(symbol, grid.q, params.radiation) for symbol in known])
        factors = factors.reshape(len(known), grid.n_q)
    return _core.debye_f(
        positions=np.concatenate([cluster.positions for cluster in clusters]),
        offsets=np.cumsum([0, *(len(cluster.positions) for cluster in clusters)], dtype=np.uintp),
        u=np.concatenate([cluster.u for cluster in clusters]),
        species=species,
        factors=factors,
        qstep=grid.qstep,
        n_q=grid.n_q,
        d_min=grid.d_min,
        d_max=grid.d_max,
        delta1=params.delta1,
        delta2=params.delta2,
        qbroad=params.qbroad,
        precision=params.precision if factors is not None else 0.0,
        n_threads=n_threads,
    )


def sine_exact(f: Floats, grid: Grid, r: Floats, rstep: float, n_threads: int) -> Floats:
    """(2/pi) qstep sum over k of F_k sin(Q_k r), shape (B, R); `rstep` plays no part."""
    return 2.0 / math.pi * grid.qstep * _core.sine_transform(f, grid.qstep, grid.k_first, r, n_threads)


def sine_interpolated(f: Floats, grid: Grid, r: Floats, rstep: float, n_threads: int) -> Floats:
    """The sine sum on a grid of at most `rstep` with a power of two of points, interpolated linearly to r."""
    wanted = max(grid.n_q, math.ceil(math.pi / rstep / grid.qstep))
    coarse_step = math.pi / grid.qstep / 2 ** math.ceil(math.log2(wanted))
    position = r / coarse_step
    index = position.astype(np.intp)
    weight = position - index
    first = int(index[0])
    coarse = np.arange(first, int(index[-1]) + 2) * coarse_step
    g = sine_exact(f, grid, coarse, rstep, n_threads)
    low = g[:, index - first]
    return np.asarray((1.0 - weight) * low + weight * g[:, index - first + 1])
