"""Descriptions of a sample, from one size of one motif to two motifs with a spread of sizes each, fitted to its PDF."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpcpdf.lattice.bounds import FamilyFit
from hpcpdf.lattice.shells import U_LIMITS, PdfData, Widths
from hpcpdf.pdf.metrics import bic
from hpcpdf.sample.mixture import Mixture, MixtureProblem, Part
from hpcpdf.sample.motifs import FACETTED, Spread

Floats = NDArray[np.float64]

GOOD_TO = 1e-3
"""R_w that a description is good to: what lies below asks for no parameter."""
_DIAMETERS = 24
_LOOK = (0.0, 0.04)
"""Variances of ln D of the first look."""
_QDAMPS = (0.01, 0.03, 0.05)
_LEADS = 2
"""Motifs that are followed from the first look, ..."""
_HOPELESS = 2.5
"""... unless this many times as much is left by it."""
_FOLLOWED = 2
"""Second motifs that are followed."""
_BONDS = {"icosahedron": 0.97, "decahedron": 0.992, "bcc": 0.97, "sc": 0.95}
"""Nearest neighbours of a motif over those of fcc at about the same volume an atom."""
_STRETCH = (0.98, 0.99, 1.0, 1.01)
_MOST = 80.0
"""Diameter of a second motif that is looked at first, Å."""
_LEAST_SHARE, _WORTH = 0.05, 0.6
"""A second motif is claimed that has at least this share of the atoms, and leaves at most this share of the misfit:
less is within what facets do that spheres do not."""
_RESOLVED = 2.0 * FACETTED**2
"""Variance of ln D that one facetted particle does not have beside a sphere: spreads from a tenth of D on."""
_BEGIN, _NARROW = 0.03, 0.001
"""Variance of ln D, and faults, that a fit begins with."""


@dataclass(frozen=True)
class Fitted:
    """A mixture and the parameters that it was fitted with."""

    mixture: Mixture
    names: tuple[str, ...]
    misfit: float
    bic: float

    @property
    def parameters(self) -> int:
        return len(self.names) + len(self.mixture.parts)

    @property
    def spread(self) -> bool:
        """Whether it has several motifs, or a spread of sizes that facets alone cannot give."""
        return len(self.mixture.parts) > 1 or self.mixture.parts[0].spread.variance > _RESOLVED

    @property
    def label(self) -> str:
        parts = []
        for k, part in enumerate(self.mixture.parts):
            what = f"twinned {part.family}" if part.faults > 0.0 else part.family
            parts.append(f"{what}, {'spread' if f'variance.{k}' in self.names else 'one size'}")
        return " + ".join(parts)


def criterion(misfit: float, data: PdfData, parameters: int) -> float:
    """Bayesian information criterion of a description that leaves `misfit` (R_w²)."""
    return float(bic(misfit + GOOD_TO**2, data.independent, parameters))


def fitted_by(problem: MixtureProblem, start: Mixture, names: tuple[str, ...]) -> Fitted:
    """A mixture with its parameters `names` refined."""
    mixture = problem.fit(names, start)
    misfit = problem.misfit(mixture)
    count = len(names) + len(mixture.parts)
    return Fitted(mixture, names, misfit, criterion(misfit, problem.data, count))


class Search:
    """Descriptions of one PDF, from one size of one motif to two motifs with a spread each."""

    def __init__(self, problem: MixtureProblem, fits: Sequence[FamilyFit], motifs: Sequence[str]) -> None:
        self.data, self.problem, self.motifs = problem.data, problem, motifs
        self._fits = {fit.family: fit.widths for fit in reversed(fits)}
        self._lead = "fcc" if fits[0].family in ("twin", "octahedron") else fits[0].family
        self._lead_widths = fits[0].widths
        self._common = ("u", "delta2") + (("qdamp",) if self.data.qdamp is None else ())

    def run(self) -> list[Fitted]:
        looks = sorted((self._look(family) for family in self.motifs), key=lambda found: found[0])
        found: list[Fitted] = []
        for misfit, start in looks[:_LEADS]:
            if misfit < _HOPELESS * looks[0][0]:
                found += self._alone(start)
        lead = min(found, key=lambda one: one.bic)
        found += self._faulted(lead)
        found += self._with_another(min(found, key=lambda one: one.bic))
        best = min(found, key=lambda one: one.bic)
        found[found.index(best)] = self._simplest(best)
        return found

    def _simplest(self, best: Fitted) -> Fitted:
        """The same without the parameters that are not worth it, one after the other."""
        for name in [name for name in best.names if name.partition(".")[0] in ("delta2", "faults", "variance")]:
            start = best.mixture.placed([name], np.zeros(1))
            simpler = self._fit(start, tuple(other for other in best.names if other != name))
            if simpler.bic <= best.bic:
                best = simpler
        return best

    def _fit(self, start: Mixture, names: tuple[str, ...]) -> Fitted:
        return fitted_by(self.problem, start, names)

    def _start(self, family: str) -> Widths:
        """Bond length and widths to begin with."""
        known = self._fits.get(family)
        if known is not None:
            return known
        return replace(self._lead_widths, bond=self._lead_widths.bond * _bond_ratio(self._lead, family))

    def _look(self, family: str) -> tuple[float, Mixture]:
        """The best of a first look at diameters of one motif."""
        widths = self._start(family)
        u = float(np.clip(widths.u, *U_LIMITS))
        qdamps = _QDAMPS if self.data.qdamp is None else (self.data.qdamp,)
        part = Part(family, widths.bond, Spread(1.0, 0.0))
        blank = Mixture((part,), u, widths.delta2, qdamps[0])
        low, high = self.problem.limits("size.0", blank)
        medians = np.exp(np.linspace(max(low, math.log(3.0 * part.bond)), high, _DIAMETERS)).tolist()
        spreads = [Spread(median, variance) for median in medians for variance in _LOOK]
        found = []
        for qdamp in qdamps:
            mixture = replace(blank, qdamp=qdamp)
            curves = self.problem.look(mixture, part, spreads)
            along = np.maximum(curves @ self.data.g, 0.0) ** 2 / np.maximum(np.sum(curves**2, axis=1), 1e-300)
            k = int(np.argmax(along))
            sized = replace(mixture, parts=(replace(part, spread=spreads[k]),))
            found.append((1.0 - float(along[k]) / self.problem.norm2, sized))
        return min(found, key=lambda one: one[0])

    def _alone(self, start: Mixture) -> list[Fitted]:
        """One motif: of one size, and with a spread of sizes."""
        part = start.parts[0]
        one = replace(start, parts=(replace(part, spread=Spread(part.spread.median, 0.0)),))
        single = self._fit(one, (*self._common, "bond.0", "size.0"))
        names = (*single.names, "variance.0")
        spread = self._fit(self._widened(single.mixture, _BEGIN), names)
        if spread.misfit > single.misfit:
            # A spread that begins wide may end beside the single size that it should find.
            spread = self._fit(self._widened(single.mixture, _NARROW), names)
        return [single, spread]

    @staticmethod
    def _widened(start: Mixture, variance: float) -> Mixture:
        part = start.parts[0]
        return replace(start, parts=(replace(part, spread=Spread(part.spread.median, variance)),))

    def _faulted(self, lead: Fitted) -> list[Fitted]:
        """fcc with twins, where that is the lead."""
        part = lead.mixture.parts[0]
        if part.family != "fcc":
            return []
        start = replace(lead.mixture, parts=(replace(part, faults=_BEGIN),))
        found = self._fit(start, (*lead.names, "faults.0"))
        return [found] if found.mixture.parts[0].faults > 1e-3 else []

    def _with_another(self, lead: Fitted) -> list[Fitted]:
        """Two motifs with a spread of sizes each."""
        first = lead.mixture.parts[0]
        curve = self.problem.curve(lead.mixture, first)
        looks = []
        for family in self.motifs:
            if family == first.family:
                continue
            bond = first.bond * _bond_ratio(first.family, family)
            low, high = self.problem.limits("size.0", replace(lead.mixture, parts=(Part(family, bond, first.spread),)))
            medians = np.exp(np.linspace(max(low, math.log(4.0 * bond)), min(high, math.log(_MOST)), 6)).tolist()
            spreads = [Spread(median, _BEGIN) for median in medians]
            for stretch in _STRETCH:
                part = Part(family, bond * stretch, spreads[0])
                for spread, other in zip(spreads, self.problem.look(lead.mixture, part, spreads), strict=True):
                    pair = np.array([curve, other])
                    left = self.data.g - self.problem.weights(pair) @ pair
                    looks.append((float(left @ left), family, replace(part, spread=spread)))
        best: dict[str, tuple[float, str, Part]] = {}
        for look in sorted(looks, key=lambda one: one[:2]):
            best.setdefault(look[1], look)
        found = []
        for _, _, part in list(best.values())[:_FOLLOWED]:
            if first.spread.variance < 0.01:
                first = replace(first, spread=replace(first.spread, variance=0.01))
            names = (*lead.names, "variance.0") if "variance.0" not in lead.names else lead.names
            start = replace(lead.mixture, parts=(first, part))
            both = self._fit(start, (*names, "bond.1", "size.1", "variance.1"))
            share = float(np.min(_shares(self.problem, both.mixture)))
            if share > _LEAST_SHARE and both.misfit < _WORTH * lead.misfit:
                found.append(both)
        return found


def _bond_ratio(first: str, second: str) -> float:
    """Nearest neighbours of the second motif over those of the first at about the same volume an atom."""
    return _BONDS.get(second, 1.0) / _BONDS.get(first, 1.0)


def _shares(problem: MixtureProblem, mixture: Mixture) -> Floats:
    weights = problem.weights(problem.curves(mixture))
    return np.asarray(weights / max(float(weights.sum()), 1e-300))
