"""What `solve` answers with: ranked structures, what bounds them, and how sure one may be of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Literal, overload

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from hpcpdf.errors import ConfigError
from hpcpdf.sample.sizes import Sizes

Floats = NDArray[np.float64]

Verdict = Literal["good", "fair", "poor"]
Effort = Literal["quick", "normal", "thorough"]

_ROUNDING = 1e-9
"""Sums of weights are not exact: a level that is met but for this is met."""


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
        Fitted parameters (1, 1, Å², 1/Å, Å²); zoom is relative to the structure before refinement.
    r, g_obs, g_calc : (R,)
        Å and Å⁻² over the fitted range.
    family : str
        Template that the structure was drawn from.
    nn_mean, coordination_mean : float
        Mean nearest-neighbour distance (Å) and mean number of nearest neighbours.
    rw_before_refine : float
        R_w of the rigid structure.
    notes : tuple of str
        What was assumed, and what a reader should know.
    probability : float
        Share of the posterior, equivalents included; NaN when there is none.
    equivalents : tuple of Candidate
        Other structures with the same list of distances, which no PDF tells apart.
    site_certainty : (n,) or None
        Probability that the site of each atom is occupied.
    rw_relaxed : float
        R_w after the surface was relaxed by a few parameters, before all coordinates are free; NaN when not done.
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
    probability: float = nan
    equivalents: tuple[Candidate, ...] = field(default=(), repr=False)
    site_certainty: Floats | None = field(default=None, repr=False)
    rw_relaxed: float = nan

    @property
    def n_atoms(self) -> int:
        return len(self.atoms)

    def _repr_html_(self) -> str:
        """What Jupyter shows: structure and fit."""
        from hpcpdf.reconstruct.notebook import candidate_html

        return candidate_html(self)


@dataclass(frozen=True)
class Sample:
    """One structure that the search met, with its weight in the posterior.

    Attributes
    ----------
    n_atoms : int
        Number of atoms.
    diameter : float
        Largest distance between two atoms, Å.
    coordination : float
        Mean number of nearest neighbours.
    family : str
        Template of the structure.
    weight : float
        Posterior weight; the weights of all samples need not add up to one.
    facets : (float, float)
        Shares of the surface atoms on {111} and on {100} facets; NaN where the family has none.
    """

    n_atoms: int
    diameter: float
    coordination: float
    family: str
    weight: float
    facets: tuple[float, float] = (nan, nan)


@dataclass(frozen=True)
class Posterior:
    """Structures that the search met, weighed by their probability given the PDF; empty when there are none."""

    samples: tuple[Sample, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        weights = [sample.weight for sample in self.samples]
        if weights and not (np.all(np.isfinite(weights)) and min(weights) >= 0.0 and sum(weights) > 0.0):
            raise ValueError("weights of a posterior: expected finite numbers, none negative, not all zero")

    @property
    def families(self) -> dict[str, float]:
        """Probability of every family, the likeliest first."""
        total = sum(sample.weight for sample in self.samples)
        shares: dict[str, float] = {}
        for sample in self.samples:
            shares[sample.family] = shares.get(sample.family, 0.0) + sample.weight / total
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def n_atoms(self, level: float = 0.9) -> tuple[float, float]:
        """Range of the number of atoms that holds `level` of the probability; see `central_interval`."""
        return self._interval([sample.n_atoms for sample in self.samples], level)

    def diameter(self, level: float = 0.9) -> tuple[float, float]:
        """The same of the largest distance, Å."""
        return self._interval([sample.diameter for sample in self.samples], level)

    def coordination(self, level: float = 0.9) -> tuple[float, float]:
        """The same of the mean number of nearest neighbours."""
        return self._interval([sample.coordination for sample in self.samples], level)

    def facets(self, level: float = 0.9) -> tuple[tuple[float, float], tuple[float, float]]:
        """The same of the shares of {111} and of {100} surface atoms, over the samples that have them."""
        first, second = (self._interval([sample.facets[k] for sample in self.samples], level) for k in (0, 1))
        return first, second

    def _interval(self, values: ArrayLike, level: float) -> tuple[float, float]:
        return central_interval(values, [sample.weight for sample in self.samples], level)


def central_interval(values: ArrayLike, weights: ArrayLike, level: float) -> tuple[float, float]:
    """Interval between two of the values that holds `level` of the weight, with at most half of the rest on each side.

    From a half on, intervals of higher levels hold those of lower ones. A single value that holds `level` alone is an
    interval of no width. NaN values are left out; without any other, the ends are NaN.

    Parameters
    ----------
    values, weights
        (n,); weights not negative.
    level
        Above 0, at most 1.
    """
    if not 0.0 < level <= 1.0:
        raise ConfigError(f"level = {level}: expected a share of the probability, above 0 and at most 1")
    points, mass = np.asarray(values, dtype=float), np.asarray(weights, dtype=float)
    known = np.isfinite(points) & (mass > 0.0)
    if not known.any():
        return nan, nan
    points, where = np.unique(points[known], return_inverse=True)
    total = np.bincount(where, weights=mass[known])
    share = total / total.sum()
    if share.max() >= level - _ROUNDING:
        point = float(points[np.argmax(share)])
        return point, point
    tail = 0.5 * (1.0 - level) + _ROUNDING
    below, above = np.cumsum(share) - share, np.cumsum(share[::-1])[::-1] - share
    return float(points[below <= tail][-1]), float(points[above <= tail][0])


@dataclass(frozen=True)
class Bound:
    """How well any rigid particle of one family can fit at best, whatever its shape and size.

    Attributes
    ----------
    family : str
        Template.
    rw, uncertainty : float
        Lowest R_w that the family can reach, and its numerical uncertainty.
    bond, biso, delta2 : float
        Bond length (Å), Biso (Å²) and δ2 (Å²) at which it is reached.
    bic : float
        Bayesian information criterion of that fit; lower is better.
    columns : int
        Distances with a pair in that fit: the numbers that it spends.
    excluded : bool
        Whether a particle of another family fits better than this family can.
    """

    family: str
    rw: float
    uncertainty: float
    bond: float
    biso: float
    delta2: float
    bic: float
    columns: int
    excluded: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class Solution(Sequence[Candidate]):
    """Answer to one PDF: a sequence of candidates, best first, and what is known beyond them.

    Attributes
    ----------
    candidates : tuple of Candidate
        Best first.
    family_bounds : tuple of Bound
        Of the families that were considered, lowest first; empty when there are none.
    posterior : Posterior
        Structures by their probability.
    verdict : {"good", "fair", "poor"}
        The word that terminal and report use (`hpcpdf.reconstruct.verdict`).
    notes : tuple of str
        What a reader should know of the whole answer.
    sizes : Sizes or None
        What spreads of sizes and mixtures of motifs say (`hpcpdf.sample.sizes`); None where one structure leaves
        nothing to explain.
    source, element : str
        File of the PDF, and the metal.
    settings : mapping
        What produced the answer, for the record.
    """

    candidates: tuple[Candidate, ...]
    verdict: Verdict
    family_bounds: tuple[Bound, ...] = ()
    posterior: Posterior = field(default_factory=Posterior)
    notes: tuple[str, ...] = ()
    sizes: Sizes | None = None
    source: str = "PDF"
    element: str = ""
    settings: Mapping[str, object] = field(default_factory=dict, repr=False)

    @property
    def bounds(self) -> dict[str, float]:
        """Lowest R_w that any rigid particle of a family can reach on this PDF, by family."""
        return {bound.family: bound.rw for bound in self.family_bounds}

    def __len__(self) -> int:
        return len(self.candidates)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Candidate, ...]: ...
    def __getitem__(self, index: int | slice) -> Candidate | tuple[Candidate, ...]:
        return self.candidates[index]

    def _repr_html_(self) -> str:
        """What Jupyter shows: verdict, the best candidate, the ranking, and what else is known."""
        from hpcpdf.reconstruct.notebook import solution_html

        return solution_html(self)

    def save(self, folder: str | Path) -> Path:
        """Keep the answer in a folder, from which `read_solution` takes it with the same numbers.

        Writes ``solution.json`` and ``solution.npz``; an earlier answer there is replaced, other files are left alone.

        Returns
        -------
        Path
            ``folder/solution.json``.

        Raises
        ------
        ConfigError
            If the folder cannot be written, or holds a ``solution.json`` that is not an answer.
        """
        from hpcpdf.reconstruct.solution_file import write

        return write(self, Path(folder))


def read_solution(folder: str | Path) -> Solution:
    """The answer that `Solution.save` or ``hpcpdf solve --out`` left in a folder.

    Raises
    ------
    DataError
        If there is none, or it is damaged or of another version.
    """
    from hpcpdf.reconstruct.solution_file import read

    return read(Path(folder))
