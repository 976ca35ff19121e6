"""Fitting the PDF of a fixed cluster to a measured one: scale, zoom, Biso, Qdamp, and delta2 where it is worth it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import pdist

from hpcpdf.errors import ConfigError
from hpcpdf.pdf.background import Background, check_terms, terms_below
from hpcpdf.pdf.clusters import as_clusters
from hpcpdf.pdf.fit_model import (
    MANY,
    CorrelatedModel,
    FitGrid,
    Histogram,
    SmoothModel,
    Values,
    histogram,
    histogram_of_shells,
    pair_weights,
)
from hpcpdf.pdf.fit_start import BOUNDS as BOUNDS
from hpcpdf.pdf.fit_start import (
    LIMITS,
    OF_INSTRUMENT,
    ON_REQUEST,
    Resolution,
    names_of,
    start_of,
    values_at,
    with_values,
)
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.pdf.grids import Grid, extended_grid
from hpcpdf.pdf.least_squares import Problem, solve
from hpcpdf.pdf.metrics import bic, independent_points, pearson, rw
from hpcpdf.pdf.params import PdfParams
from hpcpdf.pdf.range import Range, chosen_range

Array = NDArray[np.float64]
Structure = ArrayLike | Atoms

OWN_BISO = ("the atoms' own Biso are not used: one is fitted for all",)

DEFAULT = ("zoom", "biso", "qdamp", "delta2")
"""What is refined unless said otherwise."""

_ZOOMS = 51
"""Starting points of the zoom: 0.4 % apart, less than half a peak's width at 20 Å."""
_BISO_STARTS = (0.3, 1.5)
_STARTS = 3
_CHUNK = 32
_OWN_GRID, _SHARED_GRID = 1e-3, 1e-2
"""R_w that fits are good to, on the Q grid of the fitted Biso and on another: what lies below asks for no parameter."""


@dataclass(frozen=True, eq=False)
class FitResult:
    """A cluster fitted to a PDF.

    Attributes
    ----------
    rw : float
        sqrt(Σ (g_obs − g_calc)² / Σ g_obs²) over `r`.
    pearson : float
        Correlation of `g_obs` and `g_calc`.
    scale, zoom, biso, qdamp, delta2 : float
        Fitted, or fixed when not refined. Distances of the fitted cluster are `zoom` times those given.
    r, g_obs, g_calc : (R,) arrays
        Å, Å⁻²; `g_calc` includes the scale.
    params : PdfParams
        With these, ``simulate_pdf`` of the stretched cluster gives `g_calc`.
    n_parameters : int
        How many were fitted: the scale and what was refined, without a delta2 that was not worth it.
    delta1, qbroad : float
        Å and 1/Å; those of `params`.
    background : (R,) array or None
        Å⁻²; part of `g_calc`, but not of what ``simulate_pdf`` gives.
    background_terms : int
        Sine terms in it, each of which counts as a parameter.
    notes : tuple of str
        What was assumed.
    """

    rw: float
    pearson: float
    scale: float
    zoom: float
    biso: float
    qdamp: float
    delta2: float
    r: Array
    g_obs: Array
    g_calc: Array
    params: PdfParams
    n_parameters: int
    notes: tuple[str, ...] = ()
    background: Array | None = None
    background_terms: int = 0

    @property
    def delta1(self) -> float:
        return self.params.delta1

    @property
    def qbroad(self) -> float:
        return self.params.qbroad


def fit_pdf(
    atoms: Structure,
    pdf: MeasuredPdf,
    r_range: Range = (1.5, 20.0),
    refine: Sequence[str] = DEFAULT,
    *,
    params: PdfParams | None = None,
    instrument: Resolution | None = None,
    background: int | Literal["auto"] | None = None,
) -> FitResult:
    """Least-squares fit of a fixed cluster to a measured PDF with unit weights, as PDFgui computes R_w.

    The scale comes in closed form for every trial of the others (variable projection, Golub & Pereyra 1973); these are
    found by Levenberg–Marquardt steps with exact derivatives from the best of 51 zooms over its whole range, so that a
    wrong lattice constant does not trap the fit.

    Neighbours move together, which sharpens the first peaks of nearly every measured PDF; a fit without delta2 makes up
    for it with a wrong Biso, Qdamp and size. So delta2 is refined too, and dropped (delta2 = 0 exactly) where that does
    not lower the Bayesian information criterion, n ln R_w² + k ln n with n = Δr (qmax − qmin) / π independent points.

    Parameters
    ----------
    atoms
        ``ase.Atoms``, or (n, 3) positions of one element in Å. One Biso is fitted for all atoms: an array ``"biso"``
        of the atoms is not used, and a note says so.
    pdf
        As from `hpcpdf.read_gr`. Its own qmin and qmax are used, and its qdamp and qbroad when the header has them;
        a qmin below 0.3 1/Å only if the data bear it out (`hpcpdf.pdf.small_angle`).
    r_range
        Å, both ends included; ``(1.5, "auto")``: as far as there is a signal (`hpcpdf.pdf.range`).
    refine
        Any of zoom (0.9–1.1), biso (0.04–4.7 Å²), qdamp (0.01–0.08 1/Å), delta2 (0–6 Å²; 0 unless the data ask for it),
        and, on request, delta1 (0–3 Å) and qbroad (0–0.2 1/Å). delta1 and delta2 can hardly be told apart, and a qbroad
        is better taken from a standard (`hpcpdf.calibrate`).
    params
        Values of what is not refined, and of what the file does not say; its grid is ignored.
        Default: ``PdfParams()``.
    instrument
        As from `hpcpdf.calibrate`: its qdamp and qbroad are used, whatever the file or `params` say, and not refined.
    background
        How many sine terms of low frequency, below qmin, are fitted besides (`hpcpdf.pdf.background`). ``"auto"``: as
        many as the Bayesian information criterion asks for, which counts each as a parameter; often none.

    Returns
    -------
    FitResult

    Raises
    ------
    ConfigError
        For a range or a parameter name that cannot be used, or atoms that are not a cluster.
    DataError
        If the data have fewer than 10 points in the range.
    """
    fitter = PdfFitter(pdf, r_range, refine, params=params, instrument=instrument)
    return fitter.fit_exactly(atoms, background)


def fit_many(
    structures: Iterable[Structure],
    pdf: MeasuredPdf,
    r_range: Range = (1.5, 20.0),
    refine: Sequence[str] = DEFAULT,
    *,
    params: PdfParams | None = None,
    instrument: Resolution | None = None,
) -> list[FitResult]:
    """`fit_pdf` of many clusters to the same PDF, several times faster than one by one.

    All share the Q grid of the starting Biso (`fit_pdf` repeats the fit on that of the fitted one), so R_w may differ
    from `fit_pdf` by some 0.001.
    """
    return PdfFitter(pdf, r_range, refine, params=params, instrument=instrument).fit(list(structures))


class PdfFitter:
    """Fits clusters to one PDF; what depends on the PDF alone is prepared once.

    Parameters are those of `fit_pdf`.
    """

    def __init__(
        self,
        pdf: MeasuredPdf,
        r_range: Range = (1.5, 20.0),
        refine: Sequence[str] = DEFAULT,
        *,
        params: PdfParams | None = None,
        instrument: Resolution | None = None,
    ) -> None:
        self.refine = tuple(name for name in names_of(refine) if instrument is None or name not in OF_INSTRUMENT)
        low, high = chosen_range(pdf, r_range)
        part = pdf.between(low, high)
        self.r, self.g_obs = np.array(part.r), np.array(part.g)
        self.params, notes = start_of(pdf, params or PdfParams(), self.refine, instrument)
        step = part.rstep
        if part.r[0] > low + step:
            notes.append(f"fitted from {part.r[0]:g} Å: the data begin there")
        if part.r[-1] < high - step:
            notes.append(f"fitted up to {part.r[-1]:g} Å: the data end there")
        if r_range[1] == "auto" and high < pdf.r[-1]:
            notes.append(f"fitted up to {part.r[-1]:g} Å: the signal sinks into noise before")
        self.notes = tuple(notes)
        self._grids: dict[Grid, FitGrid] = {}

    def fit(self, structures: Sequence[Structure]) -> list[FitResult]:
        """Fit each on the Q grid of the starting Biso."""
        results: list[FitResult | None] = [None] * len(structures)
        items = [self._histogram(item) for item in structures]
        groups: dict[float, list[int]] = {}
        for i, (_, longest) in enumerate(items):
            groups.setdefault(self._rmax(longest), []).append(i)
        for rmax, members in groups.items():
            params = replace(self.params, rmax=rmax)
            for begin in range(0, len(members), _CHUNK):
                chunk = members[begin : begin + _CHUNK]
                fitted = self._fit([items[i][0] for i in chunk], params, _SHARED_GRID)
                for i, values in zip(chunk, fitted, strict=True):
                    results[i] = self._result(items[i][0], values, params)
        return [result for result in results if result is not None]

    def fit_exactly(self, structure: Structure, background: int | Literal["auto"] | None = None) -> FitResult:
        """Fit on the Q grid that belongs to the fitted Biso, so that `simulate_pdf` gives the same curve."""
        check_terms(background, self.r, self.params.qmin)
        item, longest = self._histogram(structure)
        more = OWN_BISO if isinstance(structure, Atoms) and "biso" in structure.arrays else ()
        return self._exactly(item, longest, background, more)

    def fit_shells(self, distances: Array, numbers: Array, n_atoms: int, symbol: str) -> FitResult:
        """`fit_exactly` of a cluster of one element that is known by its distances.

        Parameters
        ----------
        distances, numbers : (C,) arrays
            Å, and how many pairs lie at each.
        n_atoms, symbol
            How many atoms of which element.
        """
        item = histogram_of_shells(distances, numbers, n_atoms, symbol)
        return self._exactly(item, float(item.distances.max(initial=0.0)))

    def _exactly(
        self,
        item: Histogram,
        longest: float,
        background: int | Literal["auto"] | None = None,
        more: tuple[str, ...] = (),
    ) -> FitResult:
        params = replace(self.params, rmax=self._rmax(longest))
        most = terms_below(self.r, self.params.qmin)
        counts = range(most + 1) if background == "auto" else (background or 0,)
        fits = [self._on_its_grid(item, params, more, Background(self.r, k) if k else None) for k in counts]
        return min(fits, key=lambda fit: self.bic(fit.rw, fit.n_parameters))

    def _on_its_grid(
        self, item: Histogram, params: PdfParams, more: tuple[str, ...], background: Background | None
    ) -> FitResult:
        values = self._fit([item], params, _OWN_GRID, background=background)[0]
        for _ in range(3):
            fitted = with_values(params, values)
            if extended_grid(fitted, fitted.uiso) == extended_grid(params, params.uiso):
                break
            params = fitted
            values = self._fit([item], params, _OWN_GRID, start=values, background=background)[0]
        return self._result(item, values, with_values(params, values), more, background)

    def bic(self, rw: float, n_parameters: int) -> float:
        """Bayesian information criterion of a description of this PDF; the lowest of several is the best.

        Parameters
        ----------
        rw
            Its R_w. What lies below 0.001, to which a fit is good, makes no difference.
        n_parameters
            All that was fitted: `FitResult.n_parameters` and what the structure has of its own.
        """
        n = independent_points(self.r, self.params.qmin, self.params.qmax)
        return float(bic(rw**2 + _OWN_GRID**2, n, n_parameters))

    def _histogram(self, structure: Structure) -> tuple[Histogram, float]:
        cluster = as_clusters([structure], self.params)[0][0]
        if not len(cluster.positions):
            raise ConfigError("the structure to fit has no atoms")
        item = histogram(cluster.positions, cluster.symbols or ("X",) * len(cluster.positions))
        if len(cluster.positions) > MANY:
            return item, float(item.distances.max())
        return item, float(pdist(cluster.positions).max(initial=0.0))

    def _rmax(self, longest: float) -> float:
        """End of the r grid that sets the Q grid: of the data, or farther if pairs would be lost beyond it."""
        grid = extended_grid(self.params, 0.0)
        needed = BOUNDS["zoom"][1] * longest
        return self.params.rmax if needed <= grid.d_max else float(5.0 * np.ceil(needed / 5.0))

    def _grid(self, params: PdfParams) -> FitGrid:
        grid = extended_grid(params, params.uiso)
        if grid not in self._grids:
            self._grids[grid] = FitGrid.make(grid.q[grid.k_first :], grid.qstep, self.r)
        return self._grids[grid]

    def _model(
        self, items: Sequence[Histogram], weights: Sequence[Array], grid: FitGrid, params: PdfParams, correlated: bool
    ) -> SmoothModel | CorrelatedModel:
        """The model for clusters with a delta2 (`correlated`) or without."""
        if correlated or params.delta1 or params.qbroad or any(name in ON_REQUEST for name in self.refine):
            return CorrelatedModel(items, weights, grid.q, grid.qstep, params.delta1, params.qbroad)
        return SmoothModel(items, weights, grid.q, BOUNDS["zoom"][1])

    def _fit(
        self,
        items: Sequence[Histogram],
        params: PdfParams,
        good_to: float,
        start: Values | None = None,
        background: Background | None = None,
    ) -> list[Values]:
        """Best values of each cluster, from a grid on which R_w is `good_to` this."""
        grid = self._grid(params)
        weights = [pair_weights(item, grid.q, params.radiation) for item in items]
        if start is None:
            start = self._search(SmoothModel(items, weights, grid.q, BOUNDS["zoom"][1]), grid, len(items), params)
            wanted = {name: np.full(len(items), getattr(params, name)) for name in ON_REQUEST if name in self.refine}
            start = replace(start, **wanted)
        members = np.arange(len(items))
        g_obs = self.g_obs if background is None else background.without(self.g_obs)

        def best(names: Sequence[str], begin: Values, correlated: bool) -> tuple[Values, Array]:
            model = self._model(items, weights, grid, params, correlated)
            return solve(Problem(model, grid, g_obs, names, LIMITS, background), begin, members)

        if "delta2" not in self.refine:
            return best(self.refine, start, bool(params.delta2))[0].split()
        others = [name for name in self.refine if name != "delta2"]
        plain, without = best(others, replace(start, delta2=np.zeros(len(items))), False)
        freed, with_it = best(self.refine, replace(plain, delta2=start.delta2), True)
        n, total = independent_points(self.r, params.qmin, params.qmax), float(self.g_obs @ self.g_obs)
        cost = [bic(misfit / total + good_to**2, n, k) for k, misfit in enumerate((without, with_it))]
        return [(freed if cost[1][i] < cost[0][i] else plain).take(members[i : i + 1]) for i in members]

    def _search(self, model: SmoothModel, grid: FitGrid, count: int, params: PdfParams) -> Values:
        """Values near the best of each cluster.

        Found on a thinned r grid (half the Nyquist step of qmax keeps the sum of squares but for its ends) and as if
        all peaks had the same width, which moves no peak.
        """
        stride = max(1, int(0.5 * np.pi / params.qmax / np.median(np.diff(self.r))))
        thin, g = grid.every(stride), self.g_obs[::stride]
        values, owners = self._starts(model, thin, g, count, params)
        names = [name for name in self.refine if name not in ("delta2", *ON_REQUEST)]
        return solve(Problem(model, thin, g, names, BOUNDS), values, owners)[0]

    def _starts(
        self, model: SmoothModel, grid: FitGrid, g_obs: Array, count: int, params: PdfParams
    ) -> tuple[Values, NDArray[np.int64]]:
        """The most promising zooms and Biso of each cluster by R_w, and which cluster each belongs to."""
        zooms = np.linspace(*BOUNDS["zoom"], _ZOOMS) if "zoom" in self.refine else np.ones(1)
        bisos = np.array(_BISO_STARTS) if "biso" in self.refine else np.array([params.biso])
        members = np.repeat(np.arange(count), zooms.size)
        misfit = np.empty((bisos.size, count, zooms.size))
        for k, biso in enumerate(bisos):
            values = values_at(np.tile(zooms, count), biso, params)
            trial = Problem(model, grid, g_obs, (), {}).misfit(values, members)
            misfit[k] = trial.reshape(count, zooms.size)
        best = misfit.min(axis=0)
        padded = np.pad(best, ((0, 0), (1, 1)), constant_values=np.inf)
        minima = np.where((best <= padded[:, :-2]) & (best <= padded[:, 2:]), best, np.inf)
        order = np.argsort(minima, axis=1, kind="stable")[:, :_STARTS]
        owner = np.repeat(np.arange(count), order.shape[1])
        choice = order.ravel()
        real = np.isfinite(minima[owner, choice])
        owner, choice = owner[real], choice[real]
        biso = bisos[np.argmin(misfit[:, owner, choice], axis=0)]
        return values_at(zooms[choice], biso, params), owner

    def _result(
        self,
        item: Histogram,
        values: Values,
        params: PdfParams,
        more: tuple[str, ...] = (),
        background: Background | None = None,
    ) -> FitResult:
        grid = self._grid(params)
        weights = [pair_weights(item, grid.q, params.radiation)]
        model = self._model([item], weights, grid, params, bool(values.delta2[0]))
        g_obs = self.g_obs if background is None else background.without(self.g_obs)
        g, scale = Problem(model, grid, g_obs, (), {}, background).curve(values)
        below = None if background is None else background.of(self.g_obs - g)
        g = g if below is None else g + below
        fitted = replace(with_values(params, values), scale=float(scale))
        notes = [*self.notes, *more]
        terms = 0 if background is None else background.terms
        if terms:
            notes.append(f"a background of {terms} sine terms is fitted, at the price of as many parameters")
        for name in self.refine:
            value = getattr(fitted, name) if name != "zoom" else float(values.zoom[0])
            low, high = LIMITS[name]
            # A delta2 of 0 is a finding, not a limit.
            if min(value - low, high - value) < 1e-6 * (high - low) and (name == "qdamp" or value != 0.0):
                notes.append(f"{name} is at its limit {value:.3g}")
        return FitResult(
            rw=float(rw(self.g_obs, g)),
            pearson=float(pearson(self.g_obs, g)),
            scale=fitted.scale,
            zoom=float(values.zoom[0]),
            biso=fitted.biso,
            qdamp=fitted.qdamp,
            delta2=fitted.delta2,
            r=self.r,
            g_obs=self.g_obs,
            g_calc=g,
            params=fitted,
            n_parameters=1 + len(self.refine) - ("delta2" in self.refine and fitted.delta2 == 0.0) + terms,
            notes=tuple(notes),
            background=below,
            background_terms=terms,
        )
