"""Order many clusters of one element by how well each fits one PDF: the fits of `hpcpdf.fit_many`, all at once.

What a model proposes for one PDF differs in its shape and hardly in its bond length. So the clusters share tables of
waves: with the pairs of all of them spread over the nodes d of one grid, as the rows m of a matrix, their Debye sums
near a zoom z₀ are matrix products,

    F(Q; z, U, δ2) ∝ Σ_j exp(−U Q² (1 − δ2 v_j / z²)) Σ_d m_d L_j(1/d²) sin(Q z d)/d,

sin(Q z d) to second order in z − z₀, and the width of correlated motion interpolated in 1/d² between a few v_j (L_j:
Lagrange polynomials). Zoom, Biso, Qdamp and delta2 are refined as `hpcpdf.fit_pdf` refines them, the scale in closed
form, and z₀ follows the zoom, so that nothing is left of a grid of starting values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpcpdf import _core
from hpcpdf.pdf.fit import BOUNDS, PdfFitter
from hpcpdf.pdf.fit_model import FitGrid, Values
from hpcpdf.pdf.fit_start import ON_REQUEST
from hpcpdf.pdf.grids import extended_grid
from hpcpdf.pdf.kernel import Positions
from hpcpdf.pdf.least_squares import Problem, solve
from hpcpdf.pdf.metrics import bic, independent_points
from hpcpdf.pdf.params import B_PER_U
from hpcpdf.pdf.simulate import thread_count

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NYQUIST = 0.85
_PHASE = 0.95
"""Largest Q times spacing of the nodes: eight-point weights then keep sin(Qd) to 1e-6."""
_NODES = 256
"""Nodes are taken in blocks of this many."""
_NEAR = 6.5
"""The first look at zooms goes up to here, Å."""
_SHIFT = 0.08
"""How far its steps move the last peak that it sees, Å."""
_MARGIN = 2.0
"""Pairs beyond it by more than this are left out, Å."""
_BISOS = (0.4, 1.5)
"""Å² of the first look."""
_STARTS = 2
_RIVAL = 1.5
"""A second zoom is tried where the first look finds less than this times the misfit of the first."""
_BUCKET = 1e-3
"""Clusters whose zooms differ by less than this share their tables."""
_DRIFT = 1.5e-3
"""Zooms farther than this from that of the tables ask for new tables."""
_ROUNDS = 3
_CHANGE = 1e-7
"""A fit ends where a step lowers the misfit by less than this share."""
_WIDTHS = 6
"""Values of 1/d² between which the widths of peaks are interpolated."""
_SHORTEST = 1.6
"""Å; shorter distances are no sharper than this one."""
_GOOD_TO = 1e-2
"""R_w that fits are good to: what lies below asks for no delta2."""
_CHUNK = 128
_FIELDS = ("zoom", "uiso", "qdamp", "delta2")


@dataclass(frozen=True)
class Ranking:
    """Best agreement of each of n clusters with a PDF; arrays (n,).

    Attributes
    ----------
    rw
        As `hpcpdf.fit_many` finds it, to some 0.001.
    zoom, biso, qdamp, delta2
        Where: Å², 1/Å, Å².
    """

    rw: Floats
    zoom: Floats
    biso: Floats
    qdamp: Floats
    delta2: Floats

    def order(self) -> Ints:
        """Indices, the best first."""
        return np.argsort(self.rw, kind="stable")


def rank(fitter: PdfFitter, structures: Sequence[Floats], n_threads: int | None = None) -> Ranking:
    """Fit every structure to the PDF of `fitter`.

    Parameters
    ----------
    fitter
        The PDF, its range and what is refined; delta1 and qbroad stay as they are.
    structures
        (n, 3) positions of one element, Å; at least one atom each.
    n_threads
        Of the sums over pairs; None: all cores.

    Returns
    -------
    Ranking
    """
    found = np.empty((5, len(structures)))
    if fitter.params.delta1 or fitter.params.qbroad:
        # Widths that depend on the distance in other ways have no tables.
        for k, fit in enumerate(fitter.fit(structures)):
            found[:, k] = fit.rw, fit.zoom, fit.biso, fit.qdamp, fit.delta2
        return Ranking(*found)
    for begin in range(0, len(structures), _CHUNK):
        chunk = structures[begin : begin + _CHUNK]
        found[:, begin : begin + len(chunk)] = _Batch(fitter, chunk, thread_count(n_threads)).best()
    return Ranking(*found)


class _Batch:
    """Structures that are fitted together."""

    def __init__(self, fitter: PdfFitter, structures: Sequence[Floats], n_threads: int) -> None:
        self.fitter, params = fitter, fitter.params
        self.refine = tuple(name for name in fitter.refine if name not in ON_REQUEST)
        self.step = 2.0 ** np.floor(np.log2(_PHASE / params.qmax))
        box = max(float(np.linalg.norm(np.ptp(x, axis=0))) for x in structures)
        batch = Positions.of(structures)
        n_nodes = _NODES * int(np.ceil((box / self.step + 8) / _NODES))
        self.counts = _core.spread(
            positions=batch.positions,
            offsets=batch.offsets,
            step=self.step,
            n_nodes=n_nodes,
            d_min=0.0,
            d_max=n_nodes * self.step,
            n_threads=n_threads,
        )
        occupied = np.flatnonzero(self.counts.any(axis=0))
        used = slice(0, int(occupied[-1]) + 1 if occupied.size else 1)
        self.counts = np.ascontiguousarray(self.counts[:, used])
        self.distance = np.maximum(self.step * np.arange(self.counts.shape[1]), 1e-9)
        needed = BOUNDS["zoom"][1] * float(self.distance[-1])
        if needed > extended_grid(params, 0.0).d_max:
            params = replace(params, rmax=5.0 * np.ceil(needed / 5.0))
        self.params = params
        grid = extended_grid(params, params.uiso)
        self.first = grid.k_first
        whole = FitGrid.make(grid.q[grid.k_first :], grid.qstep, fitter.r)
        # Points closer than half a period of qmax cost time and tell only noise: they come last.
        stride = max(1, int(_NYQUIST * np.pi / params.qmax / float(np.median(np.diff(fitter.r))) + 1e-6))
        self.grid = whole.every(stride)
        self.data = [(self.grid, fitter.g_obs[::stride])] + ([(whole, fitter.g_obs)] if stride > 1 else [])

    def best(self) -> Floats:
        """R_w, zoom, Biso, qdamp and delta2 of each; (5, B)."""
        refine, count = self.refine, len(self.counts)
        start, owner = self._look()
        if "delta2" not in refine:
            values, misfit = self._descend(refine, start, owner)
        else:
            others = [name for name in refine if name != "delta2"]
            values, misfit = self._descend(others, replace(start, delta2=np.zeros(len(owner))), owner)
            freed, less = self._descend(refine, values, np.arange(count))
            n = independent_points(self.fitter.r, self.params.qmin, self.params.qmax)
            without, with_it = (bic(x + _GOOD_TO**2, n, k) for k, x in enumerate((misfit, less)))
            worth = with_it < without
            misfit = np.where(worth, less, misfit)
            values = Values(*(np.where(worth, getattr(freed, name), getattr(values, name)) for name in _FIELDS))
        return np.stack([np.sqrt(misfit), values.zoom, values.uiso * B_PER_U, values.qdamp, values.delta2])

    def _look(self) -> tuple[Values, Ints]:
        """Zoom and Biso to begin with, from the first peaks; several for a structure, and whose they are."""
        params, refine = self.params, self.refine
        low, high = BOUNDS["zoom"]
        end = max(_NEAR, self.grid.r[0] + 5.0)
        zooms = np.ones(1)
        if "zoom" in refine:
            zooms = np.linspace(low, high, 2 + int((high - low) * end / _SHIFT))
        bisos = np.array(_BISOS) if "biso" in refine else np.array([params.biso])
        misfit = self._scan(zooms, bisos, end)
        best = misfit.min(axis=0)
        padded = np.pad(best, ((0, 0), (1, 1)), constant_values=np.inf)
        left, right = padded[:, :-2], padded[:, 2:]
        minima = np.where((best <= left) & (best <= right), best, np.inf)
        order = np.argsort(minima, axis=1, kind="stable")[:, :_STARTS]
        owner, choice = np.repeat(np.arange(len(best)), order.shape[1]), order.ravel()
        promising = minima[owner, choice] <= _RIVAL * minima.min(axis=1)[owner]
        owner, choice = owner[promising], choice[promising]
        biso = bisos[np.argmin(misfit[:, owner, choice], axis=0)]
        zoom = zooms[choice]
        inner = np.isfinite(left[owner, choice]) & np.isfinite(right[owner, choice])
        if inner.any():
            # The lowest point of a parabola through three.
            at = owner[inner], choice[inner]
            bend = np.maximum(left[at] - 2.0 * best[at] + right[at], 1e-30)
            zoom[inner] += np.clip(0.5 * (left[at] - right[at]) / bend, -0.5, 0.5) * (zooms[1] - zooms[0])
        values = Values(zoom, biso / B_PER_U, np.full(zoom.size, params.qdamp), np.full(zoom.size, params.delta2))
        return values, owner

    def _scan(self, zooms: Floats, bisos: Floats, end: float) -> Floats:
        """Misfit below `end`, Å, as a share of Σ G_obs²; (bisos, B, zooms)."""
        near = self.grid.r <= end
        g = self.data[0][1][near]
        to_r = self.grid.sine[:, near] * np.exp(-0.5 * (self.params.qdamp * self.grid.r[near]) ** 2)
        damped = [np.exp(-b / B_PER_U * self.grid.q**2)[:, None] * to_r for b in bisos]
        kept = self.distance <= (end + _MARGIN) / BOUNDS["zoom"][0]
        counts, distance = np.ascontiguousarray(self.counts[:, kept]), self.distance[kept]
        misfit = np.empty((len(bisos), len(counts), len(zooms)))
        for k, zoom in enumerate(zooms):
            f = counts @ self._waves(distance * zoom)[0]
            for j, waves in enumerate(damped):
                calculated = f @ waves
                along, power = calculated @ g, np.einsum("br,br->b", calculated, calculated)
                misfit[j, :, k] = 1.0 - np.maximum(along, 0.0) ** 2 / np.maximum(power, 1e-300) / float(g @ g)
        return misfit

    def _waves(self, distance: Floats) -> tuple[Floats, Floats]:
        """sin(Qd)/d and cos(Qd), (D, K)."""
        sine, cosine = _core.wave_tables(
            distance, np.zeros(len(distance)), self.grid.qstep, self.first + self.grid.q.size, 1
        )
        return sine[:, self.first :], cosine[:, self.first :]

    def _descend(self, names: Sequence[str], start: Values, owner: Ints) -> tuple[Values, Floats]:
        """Refined values of each structure and its R_w²."""
        values, misfit, centre = self._once(names, start, owner)
        first = np.flatnonzero(np.diff(owner, prepend=-1))
        best = np.array([mine[np.argmin(misfit[mine])] for mine in np.split(np.arange(len(owner)), first[1:])])
        values, misfit, centre = values.take(best), misfit[best], centre[best]
        for _ in range(_ROUNDS):
            again = np.flatnonzero(np.abs(values.zoom - centre) > _DRIFT)
            if not again.size:
                break
            moved, misfit[again], centre[again] = self._once(names, values.take(again), again)
            for name in _FIELDS:
                getattr(values, name)[again] = getattr(moved, name)
        return values, misfit

    def _once(self, names: Sequence[str], start: Values, owner: Ints) -> tuple[Values, Floats, Floats]:
        """The same with tables for the zooms of the start; these zooms too."""
        centre = _BUCKET * np.rint(start.zoom / _BUCKET)
        model = self._model(centre, owner, "delta2" in names or bool(start.delta2.any()))
        values, rows, misfit = start, np.arange(len(owner)), np.zeros(0)
        for grid, g_obs in self.data:
            values, misfit = solve(Problem(model, grid, g_obs, names, BOUNDS), values, rows, change=_CHANGE)
            misfit = misfit / float(g_obs @ g_obs)
        return values, misfit, centre

    def _model(self, centre: Floats, owner: Ints, correlated: bool) -> _Model:
        v, shares = np.zeros(1), np.ones((1, len(self.distance)))
        if correlated:
            first = np.flatnonzero((self.counts > 0.0).any(axis=0))
            shortest = max(_SHORTEST, self.distance[first[0]] if first.size else 0.0)
            v = shortest**-2 * 0.5 * (1.0 - np.cos(np.pi * np.arange(_WIDTHS) / (_WIDTHS - 1)))
            at = np.minimum(self.distance**-2, v[-1])
            shares = np.array([np.prod([(at - w) / (x - w) for w in v if w != x], axis=0) for x in v])
        table = np.empty((3, len(v), len(owner), self.grid.q.size))
        q, d = self.grid.q, self.distance
        for zoom in np.unique(centre):
            mine = np.flatnonzero(centre == zoom)
            sine, cosine = self._waves(zoom * d)
            counts = self.counts[owner[mine]]
            for j, share in enumerate(shares):
                m = counts * share
                table[0, j, mine] = m @ (zoom * sine)
                table[1, j, mine] = (m @ cosine) * q
                table[2, j, mine] = ((m * d**2) @ (zoom * sine)) * -(q**2)
        return _Model(table, v, centre, q)


@dataclass(frozen=True, eq=False)
class _Model:
    """F(Q) of B clusters near a zoom each, but for a factor."""

    table: Floats
    """(3, J, B, K): value and two derivatives in the zoom at `centre`."""
    v: Floats
    """(J,) values of 1/d², Å⁻²."""
    centre: Floats
    q: Floats

    def evaluate(self, values: Values, members: Ints) -> tuple[Floats, Floats, Floats, Floats]:
        """F and its derivatives with respect to zoom, U and delta2; each (b, K)."""
        h, slope, bend = self.table[:, :, members]
        shift = (values.zoom - self.centre[members])[:, None]
        f = h + shift * (slope + 0.5 * shift * bend)
        f_zoom = slope + shift * bend
        q2 = self.q**2
        ratio = 1.0 - values.delta2 / values.zoom**2 * self.v[:, None]
        sharp = np.maximum(ratio, 0.0)[..., None]
        damping = np.exp(-values.uiso[:, None] * sharp * q2)
        f *= damping
        out = f.sum(axis=0)
        by_width = (f * (self.v[:, None, None] * (ratio > 0.0)[..., None])).sum(axis=0) * q2
        by_width *= (values.uiso / values.zoom**2)[:, None]
        along = (f_zoom * damping).sum(axis=0) - (2.0 * values.delta2 / values.zoom)[:, None] * by_width
        return out, along, -q2 * (f * sharp).sum(axis=0), by_width
