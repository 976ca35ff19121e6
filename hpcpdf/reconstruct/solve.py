"""One measured PDF → ranked, refined structures."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform
from threadpoolctl import threadpool_limits

from hpcpdf.clusters.canonical import shape_key
from hpcpdf.clusters.elements import metallic_radius
from hpcpdf.errors import ConfigError
from hpcpdf.model.base import ConditionalModel
from hpcpdf.model.features import PdfBatch, nearest_neighbour, normalised, to_network_grid
from hpcpdf.model.store import load_model
from hpcpdf.pdf.fit import FitResult, PdfFitter
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.pdf.gr_header import parse_formula
from hpcpdf.pdf.kernel import NodeKernel
from hpcpdf.reconstruct.propose import Proposals, propose
from hpcpdf.reconstruct.rank import Ranker, Ranking
from hpcpdf.reconstruct.refine import refine_positions
from hpcpdf.reconstruct.search import Scored, improve, on_sites

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

_BONDED = 1.2
"""Neighbours are closer than this many nearest-neighbour distances."""
_CONSIDERED = 24
"""Proposals of each group that the discrete search begins with."""
_MAIN_BUDGET, _SIDE_BUDGET = 8e8, 1.5e8
"""Pairs of atoms that the search of the best group, and of each other one, may go through."""
_ALIKE = 0.03
"""Structures on one lattice whose numbers of atoms differ by this share or less are variants of each other."""
_BEAMS = 6
"""Groups, by lattice and size, that are searched."""
_REFINE_ROUNDS = 2


@dataclass(frozen=True, eq=False)
class Candidate:
    """A structure that explains a PDF.

    Attributes
    ----------
    atoms : ase.Atoms
        Final coordinates in Å; zoom is applied.
    rw, pearson : float
        Agreement over the fitted range.
    scale, zoom, biso, qdamp, delta2 : float
        Fitted parameters (1, 1, Å^2, 1/Å, Å^2); zoom is relative to the structure before refinement.
    r, g_obs, g_calc : (R,)
        Å and Å^-2 over the fitted range.
    family : str
        Template that the structure was drawn from.
    nn_mean, coordination_mean : float
        Mean nearest-neighbour distance (Å) and mean number of nearest neighbours.
    rw_before_refine : float
        R_w of the ideal structure.
    notes : tuple of str
        What was assumed, and what a reader should know.
    """

    atoms: Atoms
    rw: float
    pearson: float
    scale: float
    zoom: float
    biso: float
    qdamp: float
    delta2: float
    r: Floats = field(repr=False)
    g_obs: Floats = field(repr=False)
    g_calc: Floats = field(repr=False)
    family: str
    nn_mean: float
    coordination_mean: float
    rw_before_refine: float
    notes: tuple[str, ...] = ()

    @property
    def n_atoms(self) -> int:
        return len(self.atoms)


def solve(
    pdf: MeasuredPdf,
    element: str,
    model: ConditionalModel | str | Path | None = None,
    n_samples: int = 1000,
    top: int = 10,
    refine: bool = True,
    r_range: tuple[float, float] = (1.5, 20.0),
    *,
    seed: int = 0,
    n_threads: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Candidate]:
    """Structures that explain a measured PDF, best first.

    A model proposes `n_samples` structures; those that differ are ranked by R_w over a scan of zoom,
    Biso and Qdamp; the best are improved by adding and removing facet layers and atoms; the best of all
    are fitted as `fit_pdf` does and, with `refine`, their coordinates follow the data under restraints.

    Parameters
    ----------
    pdf
        As from `read_gr`.
    element
        Symbol; must occur in ``pdf.composition`` when there is one.
    model
        Trained model or its file; None takes the one that ships with the package.
    n_samples
        Structures drawn.
    top
        Candidates returned at most.
    refine
        Also optimise coordinates.
    r_range
        Å, both ends included.
    seed
        Of the sampling; the same seed gives the same candidates.
    n_threads
        Threads of the kernels; None: all cores. The results do not depend on it.
    progress
        Called with a line of text at every step.

    Raises
    ------
    ConfigError
        If the element is unknown or not in the composition, or an option cannot be used.
    DataError
        If the PDF holds too few points in the range, or the model file cannot be read.
    """
    if n_samples < 1 or top < 1:
        raise ConfigError(f"n_samples = {n_samples}, top = {top}: expected at least 1")
    # Many small products: a thread each would cost more than it brings, and much more on a busy machine.
    with threadpool_limits(1):
        return _solve(pdf, element, model, n_samples, top, refine, r_range, seed, n_threads, progress or log.info)


def _solve(
    pdf: MeasuredPdf,
    element: str,
    model: ConditionalModel | str | Path | None,
    n_samples: int,
    top: int,
    refine: bool,
    r_range: tuple[float, float],
    seed: int,
    n_threads: int | None,
    tell: Callable[[str], None],
) -> list[Candidate]:
    radius = metallic_radius(element)
    notes = check_composition(pdf, element)
    fitter = PdfFitter(pdf, r_range)
    notes = (*notes, *fitter.notes)
    if not isinstance(model, ConditionalModel):
        model = load_model(model)
    params = fitter.params
    batch = PdfBatch(
        to_network_grid(pdf.r, pdf.g)[None],
        np.array([params.qmin]),
        np.array([params.qmax]),
        np.array([2.0 * radius]),
    )
    nn = float(nearest_neighbour(normalised(batch.pdf), batch.expected_nn)[0])
    if pdf.r[-1] < 30.0 - 0.05:
        notes = (*notes, f"the data end at {pdf.r[-1]:g} Å; the network sees zero beyond")
    tell(f"first peak at {nn:.3f} Å; drawing {n_samples} structures")
    proposals = propose(model, batch, n_samples, seed, n_threads)
    ranker = Ranker(pdf.r, pdf.g, params.qmin, params.qmax, r_range, n_threads=n_threads)
    ranking = ranker.rank(proposals.positions)
    best = ranking.order()
    tell(f"{len(best)} different structures, R_w of the best {ranking.rw[best[0]]:.3f}; searching around them")
    pool = _search(proposals, ranking, ranker, top)
    atoms = [Atoms(f"{element}{len(x)}", positions=x) for x, _ in pool]
    fits = fitter.fit(atoms)
    order = _varied(np.array([fit.rw for fit in fits]), pool, top)
    tell(f"best after the fit: R_w {fits[order[0]].rw:.3f}" + (f"; refining {len(order)}" if refine else ""))
    found = []
    for k in order:
        ideal = fitter.fit_exactly(atoms[k])
        structure, fit = atoms[k], ideal
        if refine:
            structure, fit = _refine(structure, ideal, fitter)
        found.append(_candidate(structure, fit, ideal, pool[k][1], notes))
    found.sort(key=lambda c: c.rw)
    return found


def check_composition(pdf: MeasuredPdf, element: str) -> tuple[str, ...]:
    """Notes on what else the composition of `pdf` names; ConfigError if `element` is not in it."""
    if not pdf.composition:
        return ()
    present = parse_formula(pdf.composition)
    if present and element not in present:
        raise ConfigError(
            f"{pdf.source}: element {element} is not in its composition {pdf.composition!r}; "
            f"expected one of {', '.join(sorted(present))}"
        )
    others = sorted(set(present) - {element})
    if not others:
        return ()
    message = f"{', '.join(others)} of the composition {pdf.composition!r} ignored; only {element} is modelled"
    warnings.warn(message, stacklevel=4)
    return (message,)


def _search(proposals: Proposals, ranking: Ranking, ranker: Ranker, top: int) -> list[tuple[Floats, str]]:
    """The most promising structures: ranked proposals and what the discrete search makes of them."""
    order = ranking.order()
    found: list[tuple[float, Floats, str]] = []
    start: dict[tuple[str, int], list[Scored]] = {}
    nn = np.nan
    for k in order:
        structure = on_sites(proposals.families[k], proposals.positions[k], proposals.nn[k])
        if structure is None:
            found.append((float(ranking.rw[k]), proposals.positions[k], proposals.families[k]))
        else:
            # Beams of their own for small and large: a search from the best alone stays near its size.
            group = _lattice(structure.family), int(np.log2(len(structure.sites)))
            start.setdefault(group, []).append(Scored(structure, float(ranking.rw[k])))
            nn = proposals.nn[k]
    found = found[: 2 * top]
    near = ranker.around(ranking, order[:_CONSIDERED])
    keys: set[str] = set()
    for count, scored in enumerate(sorted(start.values(), key=lambda group: group[0].rw)[:_BEAMS]):
        budget = _MAIN_BUDGET if count == 0 else _SIDE_BUDGET
        seen = improve(scored[:_CONSIDERED], near.rank, nn, max_pairs=budget)
        sizes: list[int] = []
        kept = 0
        for better in seen:
            n = len(better.structure.sites)
            other = len(sizes) < top and not any(_alike(n, m) for m in sizes)
            if kept >= top and not other:
                continue
            # A template holds a structure in many orientations, and octahedra are fcc: each is told once.
            positions = better.structure.positions(nn)
            key = shape_key(positions)
            if key in keys:
                continue
            keys.add(key)
            kept += 1
            if other:
                sizes.append(n)
            found.append((better.rw, positions, better.structure.family))
    return [(x, family) for _, x, family in sorted(found, key=lambda item: item[0])]


def _lattice(family: str) -> str:
    return "fcc" if family == "octahedron" else family


def _alike(n: int, m: int) -> bool:
    """Whether structures of `n` and `m` atoms on one lattice are variants of each other."""
    return abs(n - m) <= _ALIKE * max(n, m)


def _varied(rw: Floats, pool: Sequence[tuple[Floats, str]], top: int) -> list[int]:
    """The `top` best that tell something new, then variants of them.

    As long as others within twice the best R_w are left, at most half are on one lattice, and none is a variant of a
    better one.
    """
    chosen: list[int] = []
    spare: list[int] = []
    for k in np.argsort(rw, kind="stable").tolist():
        positions, family = pool[k]
        same = [len(pool[c][0]) for c in chosen if _lattice(pool[c][1]) == _lattice(family)]
        near = rw[k] <= 2.0 * rw.min()
        new = near and len(same) < max(1, top // 2) and not any(_alike(len(positions), n) for n in same)
        (chosen if new else spare).append(k)
    return sorted([*chosen, *spare][:top], key=lambda k: float(rw[k]))


def _refine(structure: Atoms, ideal: FitResult, fitter: PdfFitter) -> tuple[Atoms, FitResult]:
    """Coordinates and fitted parameters in turns; the better of start and end."""
    best, best_fit = structure, ideal
    anchor: Floats = structure.positions
    # Half the Nyquist spacing of qmax keeps the sum of squares.
    stride = max(1, int(0.5 * np.pi / ideal.params.qmax / float(np.median(np.diff(ideal.r)))))
    for _ in range(_REFINE_ROUNDS):
        anchor = anchor * best_fit.zoom
        moved = refine_positions(
            best.positions * best_fit.zoom,
            anchor,
            best_fit.g_obs[::stride],
            NodeKernel(best_fit.params, best_fit.r[::stride]),
            biso=best_fit.biso,
            qdamp=best_fit.qdamp,
            nn=_neighbours(anchor)[0],
        )
        atoms = Atoms(structure.symbols, positions=moved)
        fit = fitter.fit_exactly(atoms)
        if fit.rw >= best_fit.rw:
            break
        best, best_fit = atoms, fit
    return best, best_fit


def _neighbours(positions: Floats) -> tuple[float, float]:
    """Mean nearest-neighbour distance and mean number of nearest neighbours."""
    distances = squareform(pdist(positions))
    np.fill_diagonal(distances, np.inf)
    bonded = distances < _BONDED * float(distances.min(axis=1).mean())
    return float(distances[bonded].mean()), float(bonded.sum(axis=1).mean())


def _candidate(atoms: Atoms, fit: FitResult, ideal: FitResult, family: str, notes: tuple[str, ...]) -> Candidate:
    final = Atoms(atoms.symbols, positions=(atoms.positions - atoms.positions.mean(axis=0)) * fit.zoom)
    nn, coordination = _neighbours(final.positions)
    return Candidate(
        atoms=final,
        rw=fit.rw,
        pearson=fit.pearson,
        scale=fit.scale,
        zoom=fit.zoom,
        biso=fit.biso,
        qdamp=fit.qdamp,
        delta2=fit.delta2,
        r=fit.r,
        g_obs=fit.g_obs,
        g_calc=fit.g_calc,
        family=family,
        nn_mean=nn,
        coordination_mean=coordination,
        rw_before_refine=ideal.rw,
        notes=tuple(dict.fromkeys((*notes, *fit.notes))),
    )
