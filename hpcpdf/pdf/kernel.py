"""PDFs of many clusters of one element by linear algebra: distances on nodes, nodes to F(Q), F(Q) to G(r)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcpdf import _core
from hpcpdf.errors import ConfigError
from hpcpdf.pdf.grids import Grid, extended_grid, r_grid
from hpcpdf.pdf.params import B_PER_U, PdfParams
from hpcpdf.pdf.simulate import thread_count

Floats = NDArray[np.float64]

_SMALLEST = 1e-8
"""Stands for the distance 0 of the first node, Å."""

_SMALLEST_ZOOM = 0.9
"""Lower bound of zoom in fits: distances up to 1 / 0.9 of the extended range can come into it."""


@dataclass(frozen=True)
class Positions:
    """Clusters stored one after another: positions (atoms, 3) Å and offsets (B + 1,)."""

    positions: Floats
    offsets: NDArray[np.uintp]

    @classmethod
    def of(cls, clusters: Sequence[ArrayLike]) -> Positions:
        """Join (n_b, 3) arrays."""
        arrays = [np.asarray(cluster, dtype=np.float64).reshape(-1, 3) for cluster in clusters]
        offsets = np.cumsum([0, *(len(item) for item in arrays)], dtype=np.uintp)
        return cls(np.concatenate([np.zeros((0, 3)), *arrays]), offsets)

    @property
    def n_atoms(self) -> NDArray[np.intp]:
        """Number of atoms of every cluster, (B,)."""
        ends = self.offsets.astype(np.intp)
        return ends[1:] - ends[:-1]


@dataclass(frozen=True)
class Evaluation:
    """G(r), shape (B, R), and its derivatives by name, each (B, R); Å^-2 over the parameter's unit."""

    g: Floats
    derivatives: dict[str, Floats]


class NodeKernel:
    """Linear map from distance histograms to the PDF at any r; exact transform, one element.

    A histogram holds 2 w_m(d_ij) summed over pairs, w_m the 8-point Lagrange weights on nodes m * step. With it
    ``G = histogram @ matrix / n_atoms`` to about 1e-7 of max|G|. Pairs beyond the extended range are left out, as in
    `simulate_pdf`, though not sharply: those within 4 steps of its end count in part (`max_distance` cuts sharply).

    The Q grid is that of `params` and stays the same whatever `biso` is asked for, so that G is smooth in it.
    (`simulate_pdf` moves the grid in whole steps with the widest peak.)

    Parameters
    ----------
    params
        Instrument, sample and the extent in r that decides the Q grid.
    r : array_like, shape (R,), optional
        Points of G in Å, any spacing, within the extended range. Default: the grid of `params`.
    max_distance : float, optional
        Largest pair distance to keep, Å. Default: enough for a zoom of 0.9.
    step : float
        Node spacing, Å.
    n_threads : int, optional
        As in `simulate_pdf`.

    Raises
    ------
    ConfigError
        If r lies outside the range in which the sine sum is a PDF.
    """

    def __init__(
        self,
        params: PdfParams,
        r: ArrayLike | None = None,
        max_distance: float | None = None,
        *,
        step: float = 1.0 / 64.0,
        n_threads: int | None = None,
    ) -> None:
        self.params = params
        self.grid: Grid = extended_grid(params, params.uiso)
        self.r: Floats = r_grid(params) if r is None else np.ascontiguousarray(r, dtype=np.float64)
        if self.r.ndim != 1 or not ((self.r >= 0.0) & (self.r <= self.grid.d_max)).all():
            raise ConfigError(f"r: expected a list of values from 0 to {self.grid.d_max:g} Å; raise rmax for more")
        self.step = float(step)
        self.n_threads = thread_count(n_threads)
        self.max_distance = self.grid.d_max / _SMALLEST_ZOOM if max_distance is None else float(max_distance)
        self.n_nodes = max(8, math.ceil(self.max_distance / self.step) + 5)

    @cached_property
    def nodes(self) -> Floats:
        """Distances of the nodes, (n_nodes,), Å."""
        return np.arange(self.n_nodes, dtype=np.float64) * self.step

    @cached_property
    def _sine(self) -> Floats:
        """(2/pi) qstep sin(Q_k r_i), zero below qmin; shape (n_q, R)."""
        phase = np.multiply.outer(self.grid.q, self.r)
        table: Floats = 2.0 / math.pi * self.grid.qstep * np.sin(phase)
        table[: self.grid.k_first] = 0.0
        return table

    def histogram(self, clusters: Positions | Sequence[ArrayLike]) -> Floats:
        """Histograms of clusters (n_b, 3), shape (B, n_nodes)."""
        batch = clusters if isinstance(clusters, Positions) else Positions.of(clusters)
        return _core.spread(
            positions=batch.positions,
            offsets=batch.offsets,
            step=self.step,
            n_nodes=self.n_nodes,
            d_min=self.grid.d_min,
            d_max=self.max_distance,
            n_threads=self.n_threads,
        )

    def gather(self, clusters: Positions | Sequence[ArrayLike], field: Floats) -> tuple[Floats, Floats]:
        """Adjoint of `histogram`: sum(histogram * field) and its derivative with respect to the positions.

        Parameters
        ----------
        clusters
            B clusters.
        field : ndarray, shape (B, n_nodes) or (n_nodes,)
            For a misfit E(G): ``matrix @ (dE/dG) / n_atoms``.

        Returns
        -------
        energy : ndarray, shape (B,)
        gradient : ndarray, shape (atoms, 3)
            Rows in the order of the joined clusters.
        """
        batch = clusters if isinstance(clusters, Positions) else Positions.of(clusters)
        rows = np.broadcast_to(field, (len(batch.offsets) - 1, self.n_nodes))
        return _core.gather(
            positions=batch.positions,
            offsets=batch.offsets,
            field=np.ascontiguousarray(rows),
            step=self.step,
            d_min=self.grid.d_min,
            d_max=self.max_distance,
            n_threads=self.n_threads,
        )

    def matrix(
        self,
        *,
        zoom: float = 1.0,
        biso: float | None = None,
        qdamp: float | None = None,
        delta2: float | None = None,
    ) -> Floats:
        """Matrix (n_nodes, R) with ``G = histogram @ matrix / n_atoms`` for distances multiplied by `zoom`.

        `biso` (Å^2), `qdamp` (1/Å) and `delta2` (Å^2) default to those of the parameters.
        """
        waves = self._waves(self.nodes, zoom, biso, delta2)
        return np.asarray((waves.sine @ self._sine) * self._envelope(qdamp))

    def evaluate(
        self,
        histogram: Floats,
        n_atoms: ArrayLike,
        *,
        zoom: float = 1.0,
        biso: float | None = None,
        qdamp: float | None = None,
        delta2: float | None = None,
        derivatives: Sequence[str] = ("zoom", "biso", "qdamp", "delta2"),
    ) -> Evaluation:
        """G(r) of histograms (B, n_nodes) or (n_nodes,), and its derivatives with respect to the named parameters.

        Cheaper than `matrix` for a few clusters: only nodes with weight take part. The scale of the parameters is
        included.
        """
        unknown = set(derivatives) - {"zoom", "biso", "qdamp", "delta2"}
        if unknown:
            raise ConfigError(f"derivatives: {sorted(unknown)} unknown; expected zoom, biso, qdamp or delta2")
        rows = np.atleast_2d(histogram)
        used = np.flatnonzero(rows.any(axis=0))
        weights = rows[:, used] / np.reshape(np.asarray(n_atoms, dtype=np.float64), (-1, 1))
        waves = self._waves(self.nodes[used], zoom, biso, delta2)
        envelope = self._envelope(qdamp)
        g = (weights @ waves.sine) @ self._sine * envelope
        found: dict[str, Floats] = {}
        for name in derivatives:
            if name == "qdamp":
                found[name] = -(self.params.qdamp if qdamp is None else qdamp) * self.r**2 * g
            else:
                found[name] = waves.derivative(name, weights) @ self._sine * envelope
        return Evaluation(g, found)

    def _envelope(self, qdamp: float | None) -> Floats:
        width = self.params.qdamp if qdamp is None else qdamp
        return np.asarray(self.params.scale * np.exp(-0.5 * (width * self.r) ** 2))

    def _waves(self, nodes: Floats, zoom: float, biso: float | None, delta2: float | None) -> _Waves:
        if zoom <= 0.0:
            raise ConfigError(f"zoom = {zoom}: expected a value above 0")
        d = zoom * np.maximum(nodes, _SMALLEST)
        u = (self.params.biso if biso is None else biso) / B_PER_U
        d1, d2 = self.params.delta1, self.params.delta2 if delta2 is None else delta2
        b = self.params.qbroad * d
        ratio = 1.0 - d1 / d - d2 / d**2 + b**2
        damped = ratio > 0.0
        ratio = np.where(damped, ratio, 0.0)
        ratio_zoom = np.where(damped, (d1 / d + 2.0 * d2 / d**2 + 2.0 * b**2) / zoom, 0.0)
        sine, cosine = _core.wave_tables(
            d, self.grid.qstep**2 * u * ratio, self.grid.qstep, self.grid.n_q, self.n_threads
        )
        # Beyond this range the sine sum would bring a pair back mirrored at d_max.
        beyond = d > self.grid.d_max + 4.0 * zoom * self.step
        sine[beyond] = 0.0
        cosine[beyond] = 0.0
        return _Waves(self.grid.q, sine, cosine, u, zoom, ratio, ratio_zoom, np.where(damped, 1.0 / d**2, 0.0))


@dataclass(frozen=True)
class _Waves:
    """Contribution of every node to F(Q), and what its derivatives need."""

    q: Floats
    sine: Floats
    """exp(-sigma^2 Q^2 / 2) sin(Q d) / d, (n, n_q)."""
    cosine: Floats
    """exp(-sigma^2 Q^2 / 2) cos(Q d), (n, n_q)."""
    u: float
    zoom: float
    ratio: Floats
    """R(d), so that sigma^2 = 2 u R; (n,)."""
    ratio_zoom: Floats
    inverse_square: Floats
    """1 / d^2 where R > 0, (n,)."""

    def derivative(self, name: str, weights: Floats) -> Floats:
        """dF/d(name) for node weights (B, n), shape (B, n_q)."""
        q2 = self.q**2
        if name == "biso":
            return -q2 / B_PER_U * ((weights * self.ratio) @ self.sine)
        if name == "delta2":
            return self.u * q2 * ((weights * self.inverse_square) @ self.sine)
        moved = self.q * (weights @ self.cosine) - weights @ self.sine
        return moved / self.zoom - self.u * q2 * ((weights * self.ratio_zoom) @ self.sine)
