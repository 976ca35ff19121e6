"""Search of one family: facet walks, polishing atom by atom, and bond length and widths refined in between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hpcpdf import _core
from hpcpdf.lattice.bounds import FamilyFit
from hpcpdf.lattice.frame import ON_SITE, in_frame
from hpcpdf.lattice.model import QDAMP_LIMITS, Fit, refine, start_widths
from hpcpdf.lattice.pace import polished_of, price_of, price_of_shells, rounds_of
from hpcpdf.lattice.shells import PdfData
from hpcpdf.lattice.template import Template, TemplateTooLargeError, lattice_template

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

POWERS = (5.0, 8.0, 13.0)
"""Temperatures of the facet walks, as powers of the misfit."""
MIXED_POWERS = (8.0, 14.0, 25.0)
COLD_POWERS = (8.0, 20.0, 50.0)
"""The same where there is noise: up to what the noise itself leaves likely."""
FACETS = (1.0, 0.0, 0.0, 0.0)
MIXED = (0.35, 0.35, 0.15, 0.15)
"""Shares of facets, atoms, rows and terraces among the moves."""

FAR_SHELLS = 1.0
"""Power of r by which the search weighs data without noise: far shells tell shapes apart."""
SHAPES = 1500
"""Random facet shapes that a search begins with."""
_STARTS = 100
WALKS = 4
_STEPS = 50
POLISHED = 40
"""Structures that are polished at a time."""
_KEEP = 3000
"""Structures kept of a family."""
_CLOSE = 1e-8
"""Misfit that no near miss has: what comes this close is fitted at once."""
_TRUSTED = 6.0
"""Misfit of a structure, in those of free shells, up to which it may say what the widths are."""
CLEAN = 2e-6
"""Misfit of free shells below which the data hold no noise to speak of."""
_RIPPLES = 8.0
"""Å beyond the data up to which pairs count."""
_ROOM = 1.5
"""Bond lengths around the largest particle that a template leaves."""


@dataclass(eq=False)
class Met:
    """A structure that a search met: sites of the family's template, ascending.

    Attributes
    ----------
    sites : (n,) int
    misfit : float
        What it left of the weighted data when it was met; squared share.
    rate : float
        Of the envelope then.
    missing : float
        Bonds that its atoms miss.
    energy : float
        Cost of its missing bonds, in log misfit.
    key : int
        Of its shell counts.
    """

    sites: Ints
    misfit: float
    rate: float
    missing: float
    energy: float
    key: int

    @property
    def value(self) -> float:
        """What is searched for the least of."""
        return math.log(max(self.misfit, 1e-300)) + self.energy


class FamilySearch:
    """One family on one PDF: what was found so far, and how to go on.

    Parameters
    ----------
    data
        The PDF.
    fit
        What the family can do at best; bond length and widths to begin with.
    diameter
        About the largest distance in the particle, in bond lengths; the template grows when that was too little.
    bond_cost
        Per missing bond, in log misfit.
    stop
        Misfit at which nothing is left to be found.
    seed
        Of all random numbers.
    n_threads
        The results do not depend on it.

    Attributes
    ----------
    pool : dict
        Structures met, by key.
    starts : list of Met
        What facet walks begin with, in turn.
    clean : bool
        Whether the data hold no noise to speak of.
    moves : float
        Work done, in moves of particles of about a hundred atoms.
    widths : Widths
        As far as they are known.
    """

    def __init__(
        self,
        data: PdfData,
        fit: FamilyFit,
        diameter: float,
        *,
        bond_cost: float,
        stop: float,
        seed: int,
        n_threads: int,
    ) -> None:
        self.data, self.family, self.bound = data, fit.family, fit
        self.widths = start_widths(data, fit.widths)
        self.free_delta2 = fit.widths.delta2 > 0.0
        self.pool: dict[int, Met] = {}
        self.moves = 0.0
        self._convex: dict[int, Met] = {}
        self._polished: set[int] = set()
        self._bond_cost, self._stop, self._n_threads = bond_cost, stop, n_threads
        # Widths are not exact before the structure is found: what comes this close is looked at more closely.
        self._walk_stop = max(0.01 * stop, _CLOSE)
        self._exact = False
        self._seeds = np.random.SeedSequence(seed)
        self.starts: list[Met] = []
        self._next_start = 0
        self._cycle = 0
        self._radius = 0.75 * diameter + _ROOM
        # Where there is noise, it says how much each point is worth.
        self.clean = fit.misfit < CLEAN
        self._weights = (data.r / data.r[-1]) ** FAR_SHELLS if self.clean else data.whitening()
        self._set_template()

    def _set_template(self) -> None:
        # Pairs beyond the data ripple into them, as Q begins above zero.
        reach = (self.data.r[-1] + _RIPPLES) / self.widths.bond
        # Distances that no likely particle has would cost without being of use.
        reach = min(reach, 1.25 * (self._radius - _ROOM) / 0.75 + 1.0)
        self.template: Template = lattice_template(self.family, self._radius, reach)
        self._aim()

    def _aim(self) -> None:
        """What walks compare with, for the present bond length and widths."""
        data, widths = self.data, self.widths
        free = data.qdamp is None
        weights = self._weights if free else self._weights * data.envelope(data.qdamp or 0.0)
        shells = data.columns(self.template.distance * widths.bond, widths.u, widths.delta2, data.padded(weights))
        values = data.padded(self._weights * data.g)
        reach = data.r[-1]
        if not free and len(shells) + 1 < len(values):
            # Few shells span few dimensions: walks in them are the same, and faster. One more is what no shell reaches.
            axes, lower = np.linalg.qr(shells.T)
            along = axes.T @ values
            rest = math.sqrt(max(0.0, float(values @ values) - float(along @ along)))
            values, shells = np.append(along, rest), np.column_stack([lower.T, np.zeros(len(shells))])
        self.target = _core.LatticeTarget(
            data=values,
            shells=shells,
            rho=data.padded((data.r / reach) ** 2) if free else None,
            rate_max=0.5 * (QDAMP_LIMITS[1] * reach) ** 2,
        )

    @property
    def rate(self) -> float:
        """Of the envelope, as walks count it."""
        return 0.0 if self.data.qdamp is not None else 0.5 * (self.widths.qdamp * float(self.data.r[-1])) ** 2

    @property
    def best(self) -> Met | None:
        """What the search likes best."""
        return min(self.pool.values(), key=lambda met: met.value, default=None)

    @property
    def done(self) -> bool:
        """Whether nothing is left to be found."""
        return self._exact

    def counts(self, mets: Sequence[Met]) -> NDArray[np.int64]:
        """Shell counts (B, C)."""
        return np.array([self.template.core.shell_counts(met.sites) for met in mets], dtype=np.int64)

    def positions(self, met: Met) -> Floats:
        """(n, 3) coordinates in Å at the present bond length."""
        return np.asarray(self.template.sites[met.sites] * self.widths.bond)

    def propose(self, structures: Sequence[Floats], *, shifted: bool = False) -> int:
        """Structures to begin with as well, (n, 3) positions in bond lengths in the template's frame.

        Those of a `shifted` origin are moved there first. Those that do not lie on its sites are passed over; returns
        how many were taken.
        """
        if not self.starts:
            self._draw_shapes()
        tree = cKDTree(self.template.sites)
        taken: dict[bytes, Met] = {}
        for given in structures:
            positions = in_frame(self.template.sites, tree, given) if shifted else given
            if positions is None:
                continue
            gap, index = tree.query(positions)
            sites = np.unique(np.asarray(index))
            reach = np.linalg.norm(self.template.sites[sites], axis=1).max(initial=0.0)
            if len(sites) < max(4, len(positions)) or np.max(gap) > ON_SITE or reach > self.template.radius:
                continue
            counts = self.template.core.shell_counts(sites.astype(np.int32))
            misfit, rate = _core.lattice_score(self.target, counts, self.rate)
            # Begun with, never answered with: what its atoms miss, and its key, are worked out when a walk meets it.
            taken.setdefault(counts.tobytes(), Met(sites.astype(np.int32), misfit, rate, math.nan, 0.0, key=0))
        best = sorted(taken.values(), key=lambda met: met.misfit)[:_STARTS]
        self.starts = sorted([*self.starts, *best], key=lambda met: met.misfit)[: 2 * _STARTS]
        return len(best)

    def advance(self) -> None:
        """One cycle: facet walks from fresh starts, polishing of what they found, walks of all kinds from the best."""
        if not self.starts:
            self._draw_shapes()
            if not self.starts:
                return
        if self._cycle % 3 == 2:
            self._walk_mixed()
        else:
            self._walk_facets()
        self.refine()
        # Particles with ideal facets need no polishing: they are looked for twice before atoms are.
        if not self.done and self._cycle >= 1:
            self._polish()
            self.refine()
        self._cycle += 1
        self._grow_if_needed()

    def refine(self) -> Fit | None:
        """Bond length, U, δ2 and qdamp by the best structure; what is compared with follows."""
        best = self.best
        if best is None:
            return None
        fit = refine(
            self.data,
            self.template.distance,
            self.template.core.shell_counts(best.sites),
            self.widths,
            free_delta2=self.free_delta2,
        )
        # A near miss bends the widths to its needs; as long as free shells do much better, theirs are nearer the truth.
        self._exact = fit.misfit <= self._stop
        if fit.misfit > max(_TRUSTED * self.bound.misfit, _CLOSE):
            return fit
        old = self.widths
        self.widths = fit.widths
        changed = abs(math.log(old.bond / fit.widths.bond)) > 1e-7 or abs(math.log(old.u / fit.widths.u)) > 1e-5
        if changed or abs(old.delta2 - fit.widths.delta2) > 1e-4:
            self._aim()
            self._score_again()
        return fit

    def _score_again(self) -> None:
        """Misfits of the best structures by the present widths."""
        some = sorted(self.pool.values(), key=lambda met: met.value)[:200]
        for met in some:
            met.misfit, met.rate = _core.lattice_score(
                self.target, self.template.core.shell_counts(met.sites), self.rate if met.rate == 0.0 else met.rate
            )

    def _draw_shapes(self) -> None:
        template = self.template
        volume = {"fcc": 1.41, "hcp": 1.41, "twin": 1.41, "bcc": 1.3, "sc": 1.0}.get(self.family, 1.45)
        inside = self._radius - _ROOM
        largest = int(1.25 * 4.0 / 3.0 * math.pi * (inside / 1.5) ** 3 * volume) + 20
        shapes = _core.lattice_shapes(
            sites=template.core,
            target=self.target,
            seed=self._seed(),
            count=max(32, int(SHAPES / (1.0 + (largest / 500.0) ** 1.5))),
            least_atoms=4,
            most_atoms=largest,
            centres=template.centres,
            off_centre=0.7,
            rate=self.rate,
            bond_cost=self._bond_cost,
            usual_missing=template.usual_missing,
            keep=_STARTS,
            n_threads=self._n_threads,
        )
        self.starts = [_met(found) for found in shapes]
        self._note(self.starts, self._convex)

    def _walk_facets(self) -> None:
        count = WALKS * len(POWERS)
        some = [self.starts[(self._next_start + k) % len(self.starts)] for k in range(count)]
        self._next_start += count
        starts = [[met.sites for met in some[k::WALKS]] for k in range(WALKS)]
        if self.clean:
            self._walk(starts, POWERS, FACETS)
        else:
            self._walk(starts, COLD_POWERS, FACETS, keep=300)

    def _walk_mixed(self) -> None:
        best = sorted(self.pool.values(), key=lambda met: met.value)[: WALKS * len(MIXED_POWERS)]
        starts = [[met.sites for met in best[k::WALKS]] for k in range(WALKS) if best[k::WALKS]]
        self._walk(starts, MIXED_POWERS, MIXED)

    def _walk(
        self,
        starts: list[list[Ints]],
        powers: tuple[float, ...],
        shares: tuple[float, float, float, float],
        keep: int = 100,
    ) -> None:
        size = float(np.mean([len(sites) for group in starts for sites in group]))
        rounds = rounds_of(size, self.clean)
        met, steps = self.walks(starts, powers, shares, rounds=rounds, keep=keep)
        self._note(met, self._convex)
        self.moves += steps * price_of(size, len(self.template.distance), self.clean)

    def walks(
        self,
        starts: list[list[Ints]],
        powers: tuple[float, ...],
        shares: tuple[float, float, float, float],
        *,
        rounds: int,
        keep: int,
    ) -> tuple[list[Met], int]:
        """Walks of replicas from groups of starts: the best that each met, and how many steps they took."""
        template = self.template
        results = _core.lattice_walks(
            sites=template.core,
            target=self.target,
            starts=starts,
            rates=[self.rate] * len(starts),
            seeds=[self._seed() for _ in starts],
            powers=list(powers),
            rounds=rounds,
            steps=_STEPS,
            shares=shares,
            bond_cost=self._bond_cost,
            usual_missing=template.usual_missing,
            stop=self._walk_stop,
            least_atoms=4,
            most_atoms=10**7,
            least_bonds=template.least_bonds,
            keep=keep,
            n_threads=self._n_threads,
        )
        return [_met(found) for result in results for found in result["best"]], sum(r["steps"] for r in results)

    def polished(self, starts: Sequence[Met], *, keep: int) -> tuple[list[Met], int]:
        """Descents by the best changes of two sites: the best that each met, and how many changes were compared."""
        template = self.template
        results = _core.lattice_polish(
            sites=template.core,
            target=self.target,
            starts=[met.sites for met in starts],
            rates=[met.rate for met in starts],
            rounds=12,
            tenure=6,
            patience=4,
            most_changes=500,
            bond_cost=self._bond_cost,
            usual_missing=template.usual_missing,
            stop=self._walk_stop,
            least_atoms=4,
            least_bonds=template.least_bonds,
            keep=keep,
            n_threads=self._n_threads,
        )
        return [_met(found) for result in results for found in result["best"]], sum(r["steps"] for r in results)

    def _polish(self) -> None:
        fresh = [met for met in self._convex.values() if met.key not in self._polished]
        fresh = sorted(fresh, key=lambda met: met.value)[:POLISHED]
        if not fresh:
            return
        size = float(np.mean([len(met.sites) for met in fresh]))
        fresh = fresh[: polished_of(POLISHED, size)]
        self._polished.update(met.key for met in fresh)
        met, compared = self.polished(fresh, keep=6)
        self._note(met)
        # A pair of changes costs about a fiftieth of a move of the walk.
        self.moves += 0.02 * compared * price_of_shells(len(self.template.distance))

    def _note(self, mets: Sequence[Met], *also: dict[int, Met]) -> None:
        for met in mets:
            for pool in (self.pool, *also):
                known = pool.get(met.key)
                if known is None or met.value < known.value:
                    pool[met.key] = met
        for pool in (self.pool, self._convex):
            if len(pool) > 2 * _KEEP:
                kept = sorted(pool.values(), key=lambda met: met.value)[:_KEEP]
                pool.clear()
                pool.update((met.key, met) for met in kept)

    def _grow_if_needed(self) -> None:
        """A larger template when the best particle reaches the end of this one."""
        best = self.best
        if best is None or self.done:
            return
        reach = float(np.linalg.norm(self.template.sites[best.sites], axis=1).max())
        if reach < self.template.radius - 0.8:
            return
        old, self._radius = self.template, 1.25 * self.template.radius
        try:
            self._set_template()
        except TemplateTooLargeError:
            # The search goes on among what there is.
            self._radius = old.radius
            return
        # Sites are in the order of their distance from the same origin, but what ends a template may come in between.
        places = {tuple(row): k for k, row in enumerate(np.round(self.template.sites, 4).tolist())}
        for pool in (self.pool, self._convex):
            for met in pool.values():
                moved = [places[tuple(row)] for row in np.round(old.sites[met.sites], 4).tolist()]
                met.sites = np.sort(np.array(moved, dtype=np.int32))
        self.starts = sorted(self._convex.values(), key=lambda met: met.value)[:_STARTS]

    def _seed(self) -> int:
        return int(self._seeds.spawn(1)[0].generate_state(1, dtype=np.uint64)[0])


def _met(found: _core.MetStructure) -> Met:
    return Met(
        sites=found["sites"],
        misfit=found["misfit"],
        rate=found["rate"],
        missing=found["missing"],
        energy=found["energy"],
        key=found["key"],
    )
