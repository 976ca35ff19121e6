"""One measured PDF → what it determines: ranked structures with probabilities, bounds, and what was assumed."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from hpcpdf.clusters.elements import metallic_radius
from hpcpdf.errors import ConfigError, DataError
from hpcpdf.lattice.bounds import FamilyFit, fit_families
from hpcpdf.lattice.certainty import is_chiral, site_certainty
from hpcpdf.lattice.explore import explore
from hpcpdf.lattice.posterior import Weighed, weigh
from hpcpdf.lattice.shells import PdfData
from hpcpdf.lattice.sphere import SphereFit, fit_sphere
from hpcpdf.lattice.template import LATTICES
from hpcpdf.lattice.twins import find_twins
from hpcpdf.pdf.fit import FitResult, PdfFitter
from hpcpdf.pdf.fit_model import MANY
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.pdf.gr_header import parse_formula
from hpcpdf.pdf.kernel import NodeKernel
from hpcpdf.pdf.range import Range
from hpcpdf.pdf.simulate import thread_count
from hpcpdf.reconstruct.answer import bounds_of, choose, posterior_of, structures_of
from hpcpdf.reconstruct.extent import REFINED_TO, extent, out_of_sight, too_large
from hpcpdf.reconstruct.refine import refine_positions
from hpcpdf.reconstruct.relax import relax_surface
from hpcpdf.reconstruct.shape import faces, geometry
from hpcpdf.reconstruct.solution import Candidate, Effort, Solution
from hpcpdf.reconstruct.verdict import FAR, verdict
from hpcpdf.sample.instrument import Instrument, as_instrument
from hpcpdf.sample.sizes import Sizes, fit_sizes

if TYPE_CHECKING:
    from hpcpdf.model.base import ConditionalModel

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

_OTHER_BOND = 0.06
"""Bond lengths that differ from the metal's own by more than this share are told."""
_REFINED, _MANY = 3, 400
"""Candidates that are refined, one alone if it has more than so many atoms; sites of the same get a certainty."""
_REFINE_ROUNDS = 2
_SIMULATED = 2e-3
"""R_w below which a rigid structure leaves nothing for a refinement to explain."""
_SURE = 60
"""Structures that the certainty of sites is taken from."""


def solve(
    pdf: MeasuredPdf,
    element: str,
    model: ConditionalModel | str | Path | None = None,
    n_samples: int = 1000,
    top: int = 10,
    refine: bool = True,
    r_range: Range = (1.5, 20.0),
    *,
    effort: Effort = "normal",
    seed: int = 0,
    instrument: Instrument | str | Path | None = None,
    n_threads: int | None = None,
    progress: Callable[[str], None] | None = None,
    neighbour: Solution | None = None,
    families: Sequence[str] | None = None,
    detailed: int = _REFINED,
) -> Solution:
    """What a measured PDF determines: structures, their probabilities, and bounds for every family.

    Bond length and widths come from the data by least squares over the shells of each family; the same gives the lowest
    R_w that any particle of a family can reach. Families that remain are searched by walks on their lattices, scored
    exactly by shell counts; what the walks met is weighed by likelihood and missing bonds. The best are fitted as
    `fit_pdf` does; with `refine`, their surfaces are relaxed and their coordinates set free as far as that pays.

    Parameters
    ----------
    pdf
        As from `read_gr`.
    element
        Symbol; must occur in ``pdf.composition`` when there is one.
    model
        Trained model, or its file, whose samples the search also begins with. None: the search begins with random
        shapes; at ``effort="thorough"`` the model that ships with the package is asked as well.
    n_samples
        Structures drawn from the model.
    top
        Candidates returned at most.
    refine
        Also relax surfaces and optimise coordinates.
    r_range
        Å, both ends included; ``(1.5, "auto")``: as far as there is a signal (`hpcpdf.pdf.range`).
    effort
        How many moves the search may make; the same for any machine and number of threads.
    seed
        Of all random numbers; the same seed gives the same answer.
    instrument
        As from `hpcpdf.calibrate`, or its file: Qdamp and Qbroad are those, in searches, bounds and fits.
    n_threads
        Threads of the kernels; None: all cores. The results do not depend on it.
    progress
        Called with a line of text at every step.
    neighbour
        The answer to a PDF like this one, such as the one before it in a series: the search also begins with its
        structures.
    families
        Motifs that are searched, each of them at least once where its bound leaves it possible; beside them only the
        one of the lowest Bayesian information criterion. None: all, each by its share.
    detailed
        Candidates, the best first, that are refined and whose sites get a certainty.

    Returns
    -------
    Solution
        Candidates, likeliest first, with bounds, posterior, verdict and notes.

    Raises
    ------
    ConfigError
        If the element is unknown or not in the composition, or an option or the instrument file cannot be used.
    DataError
        If the PDF holds too few points in the range or no peak where a bond may be, or the model file cannot be read.
    """
    if n_samples < 1 or top < 1:
        raise ConfigError(f"n_samples = {n_samples}, top = {top}: expected at least 1")
    if effort not in get_args(Effort):
        raise ConfigError(f"effort = {effort!r}: expected one of {', '.join(get_args(Effort))}")
    unknown = sorted(set(families or ()) - set(LATTICES))
    if unknown:
        raise ConfigError(f"families: unknown {unknown[0]!r}; expected some of {', '.join(LATTICES)}")
    known = None if instrument is None else as_instrument(instrument)
    # Many small products: a thread each would cost more than it brings, and much more on a busy machine.
    with threadpool_limits(1):
        solver = _Solver(pdf, element, r_range, known, thread_count(n_threads), progress or log.info, detailed)
        return solver.run(model, n_samples, top, refine, effort, seed, neighbour, families)


class _Solver:
    """One PDF: what is prepared from it, and the steps from there to the answer."""

    def __init__(
        self,
        pdf: MeasuredPdf,
        element: str,
        r_range: Range,
        instrument: Instrument | None,
        n_threads: int,
        tell: Callable[[str], None],
        detailed: int = _REFINED,
    ) -> None:
        self.pdf, self.element, self.n_threads, self.tell, self.detailed = pdf, element, n_threads, tell, detailed
        self.expected_bond = 2.0 * metallic_radius(element)
        self.notes = [*pdf.notes, *check_composition(pdf, element)]
        self.fitter, self.instrument = PdfFitter(pdf, r_range, instrument=instrument), instrument
        self.notes += self.fitter.notes
        qdamp = pdf.parameter("qdamp") if instrument is None else instrument.qdamp
        known = qdamp if qdamp is not None and qdamp >= 0.0 else None
        self.one_structure = math.inf, 0
        self.data = PdfData.thinned(self.fitter.r, self.fitter.g_obs, self.fitter.params, known)

    def run(
        self,
        model: ConditionalModel | str | Path | None,
        n_samples: int,
        top: int,
        refine: bool,
        effort: Effort,
        seed: int,
        neighbour: Solution | None = None,
        families: Sequence[str] | None = None,
    ) -> Solution:
        fits = fit_families(self.data)
        if not fits:
            raise DataError(
                f"{self.pdf.source}: no peak between 1.8 and 4 Å, where two atoms may touch; is r in Å, and does the "
                "data begin early enough?"
            )
        bond = fits[0].widths.bond
        self.tell(f"bond length {bond:.3f} Å; lowest R_w of a {fits[0].family} particle {fits[0].rw:.3f}")
        sphere = self._sphere(fits[0])
        proposals = None
        if model is not None or effort == "thorough":
            proposals = self._ask(model, n_samples, seed)
        # Of a crystal whose end is out of sight, a short search shows how far the best particle is from it.
        endless = out_of_sight(sphere, float(self.data.r[-1]))
        wanted = [fit for fit in fits if families is None or fit is fits[0] or fit.family in families]
        searches = explore(
            self.data,
            wanted[:1] if endless else wanted,
            "quick" if endless or too_large(sphere) else effort,
            seed=seed,
            n_threads=self.n_threads,
            tell=self.tell,
            note=self.notes.append,
            proposals=proposals,
            neighbours=None if neighbour is None else structures_of(neighbour),
            all_begin=families is not None,
            sphere=sphere,
        )
        weighed = weigh(self.data, searches)
        if not weighed:
            raise DataError(f"{self.pdf.source}: no particle was found that agrees with the PDF at all")
        candidates = self._candidates(weighed, top, refine)
        sizes = self._sizes(fits)
        posterior = posterior_of(weighed)
        self._notes_on_bond(weighed[0].search.widths.bond)
        word = verdict(candidates, self.pdf.qmin, self.pdf.qmax, posterior)
        size = extent(sphere, float(self.data.r[-1]), candidates[0].n_atoms)
        self.notes += size.notes
        if size.open and word == "good":
            word = "fair"
        if sphere is not None and sphere.bulk:
            word = "poor"
            self.notes.append(
                "a crystal without an end explains the PDF as well as any particle: the sample is no particle of the "
                f"searched sizes (R_w of the crystal {sphere.crystal_rw:.3f})"
                if sphere.crystal_rw <= FAR
                else "neither a particle nor a crystal explains the PDF: it is noise, or of something else (R_w of the "
                f"crystal {sphere.crystal_rw:.3f})"
            )
        return Solution(
            candidates=tuple(candidates),
            verdict=word,
            family_bounds=bounds_of(fits, min(c.rw_before_refine for c in candidates)),
            posterior=posterior,
            notes=tuple(dict.fromkeys(self.notes)),
            sizes=sizes,
            source=self.pdf.source,
            element=self.element,
            settings={
                "effort": effort,
                "seed": seed,
                "r_range": [float(self.data.r[0]), float(self.data.r[-1])],
                **self._resolution(),
            },
        )

    def _resolution(self) -> dict[str, dict[str, float]]:
        """For the record."""
        if self.instrument is None:
            return {}
        return {"instrument": {"qdamp": self.instrument.qdamp, "qbroad": self.instrument.qbroad}}

    def _ask(self, model: ConditionalModel | str | Path | None, n_samples: int, seed: int) -> dict[str, list[Floats]]:
        """Structures that a model proposes, by family, in bond lengths."""
        # Nothing else here needs torch, whose import takes longer than many a search.
        from hpcpdf.model.base import ConditionalModel
        from hpcpdf.model.features import PdfBatch, to_network_grid
        from hpcpdf.model.store import load_model
        from hpcpdf.reconstruct.propose import propose

        if not isinstance(model, ConditionalModel):
            model = load_model(model)
        params = self.fitter.params
        batch = PdfBatch(
            to_network_grid(self.pdf.r, self.pdf.g)[None],
            np.array([params.qmin]),
            np.array([params.qmax]),
            np.array([self.expected_bond]),
        )
        if self.pdf.r[-1] < 30.0 - 0.05:
            self.notes.append(f"the data end at {self.pdf.r[-1]:g} Å; the network sees zero beyond")
        self.tell(f"drawing {n_samples} structures from the model")
        found = propose(model, batch, n_samples, seed, self.n_threads)
        groups: dict[str, list[Floats]] = {}
        for positions, family, nn in zip(found.positions, found.families, found.nn, strict=True):
            if family and np.isfinite(nn):
                groups.setdefault("fcc" if family == "octahedron" else family, []).append(positions / nn)
        return groups

    def _sphere(self, fit: FamilyFit) -> SphereFit | None:
        """The crystal cut by a sphere, where the data reach no end of the particle."""
        seen = fit.distance[fit.counts > 1e-3 * fit.counts.max()]
        if not seen.size or float(seen[-1]) * fit.widths.bond < 0.93 * min(fit.end, float(self.data.r[-1])):
            return None
        family = fit.family if fit.family in ("hcp", "bcc", "sc") else "fcc"
        return fit_sphere(self.data, family, fit.widths)

    def _sizes(self, fits: Sequence[FamilyFit]) -> Sizes | None:
        """Spreads of sizes and mixtures beside one structure, where that leaves something to explain."""
        if self.one_structure[0] < _SIMULATED:
            return None
        sizes = fit_sizes(self.data, fits, structure=self.one_structure)
        if sizes is not None:
            self.tell(f"sizes: {sizes.sentence}")
        return sizes

    def _notes_on_bond(self, bond: float) -> None:
        off = bond / self.expected_bond - 1.0
        if abs(off) > _OTHER_BOND:
            self.notes.append(
                f"bond length {bond:.3f} Å is {abs(off):.0%} {'above' if off > 0 else 'below'} that of "
                f"{self.element} ({self.expected_bond:.3f} Å): check the element"
            )

    def _candidates(self, weighed: Sequence[Weighed], top: int, refine: bool) -> list[Candidate]:
        chosen = choose(weighed, top)
        rigid: list[tuple[Weighed, Atoms, FitResult]] = []
        for item in chosen:
            atoms = Atoms(f"{self.element}{len(item.met.sites)}", positions=item.search.positions(item.met))
            rigid.append((item, atoms, self._rigid(item, atoms)))
        _, atoms, best = min(rigid, key=lambda one: one[2].rw)
        self.one_structure = best.rw, best.n_parameters + faces(atoms.positions)
        self.tell(f"best rigid particle: R_w {best.rw:.4f}")
        found = []
        several = self.detailed if len(rigid[0][1]) <= _MANY else min(1, self.detailed)
        if refine and len(rigid[0][1]) > REFINED_TO:
            self.notes.append(f"atoms stay on their ideal sites: only particles of up to {REFINED_TO} are refined")
        for rank, (item, atoms, ideal) in enumerate(rigid):
            structure, fit, relaxed = atoms, ideal, math.nan
            if refine and rank < several and ideal.rw > _SIMULATED and len(atoms) <= REFINED_TO:
                structure, fit, _ = relax_surface(atoms, self.fitter, ideal)
                relaxed = fit.rw
                structure, fit = _free(structure, fit, self.fitter)
            found.append(self._candidate(item, weighed, structure, fit, ideal, relaxed, certain=rank < self.detailed))
        return found

    def _rigid(self, item: Weighed, atoms: Atoms) -> FitResult:
        """The fit of a structure on its sites; the distances of a large one are known without asking all its pairs."""
        if len(atoms) <= MANY:
            return self.fitter.fit_exactly(atoms)
        template = item.search.template
        counts = np.asarray(template.core.shell_counts(item.met.sites), dtype=np.float64)
        return self.fitter.fit_shells(template.distance * item.search.widths.bond, counts, len(atoms), self.element)

    def _candidate(
        self,
        item: Weighed,
        weighed: Sequence[Weighed],
        atoms: Atoms,
        fit: FitResult,
        ideal: FitResult,
        relaxed: float,
        *,
        certain: bool,
    ) -> Candidate:
        positions = (atoms.positions - atoms.positions.mean(axis=0)) * fit.zoom
        shape = geometry(positions)
        template = item.search.template
        certainty = None
        if certain:
            others = [
                (other.met.sites, other.probability)
                for other in weighed[:_SURE]
                if other.search is item.search and other.probability > 0.0
            ]
            certainty = site_certainty(template, item.met.sites, others) if others else None
        candidate = Candidate(
            atoms=Atoms(atoms.symbols, positions=positions),
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
            family=item.family,
            nn_mean=shape.nn_mean,
            coordination_mean=shape.coordination_mean,
            rw_before_refine=ideal.rw,
            notes=tuple(dict.fromkeys((*self.notes, *fit.notes))),
            probability=item.probability,
            site_certainty=certainty,
            rw_relaxed=relaxed,
        )
        if is_chiral(template.sites[item.met.sites], template.operations):
            mirrored = Atoms(atoms.symbols, positions=positions * np.array([1.0, 1.0, -1.0]))
            twin = replace(candidate, atoms=mirrored, notes=("mirror image",))
            candidate = replace(candidate, equivalents=(twin,))
        for other in find_twins(item.search) if item.met is item.search.best else ():
            same = Atoms(atoms.symbols, positions=item.search.positions(other) * fit.zoom)
            same.positions -= same.positions.mean(axis=0)
            twin = replace(candidate, atoms=same, equivalents=(), site_certainty=None, notes=("homometric",))
            candidate = replace(candidate, equivalents=(*candidate.equivalents, twin))
        return candidate


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


def _free(structure: Atoms, ideal: FitResult, fitter: PdfFitter) -> tuple[Atoms, FitResult]:
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
            nn=geometry(anchor).nn_mean,
        )
        atoms = Atoms(structure.symbols, positions=moved)
        fit = fitter.fit_exactly(atoms)
        if fit.rw >= best_fit.rw:
            break
        best, best_fit = atoms, fit
    return best, best_fit
