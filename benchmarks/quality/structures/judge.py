"""What an answer of `hpcpdf.solve` is worth when the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from ase import Atoms
from cases import Case
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from hpcpdf.evaluate.align import align

Floats = NDArray[np.float64]

SAME_DISTANCE = 1e-3
"""Sorted distances of equal structures differ by less, in mean nearest-neighbour distances."""
SAME_PLACE = 0.1
"""Root mean square distance after alignment, Å, below which structures of as many atoms may be the same."""
OWN_SITE = 0.25
"""They are the same if, besides, no atom is farther from its partner, in nearest-neighbour distances: in a large
particle one atom on a wrong site hardly shows in the mean."""
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Of the intervals that are kept for a calibration curve."""
_ALIGNED = 600
"""Alignment of more atoms takes minutes; their distances have to do."""

_LATTICE = {"octahedron": "fcc"}
"""Families that are not told apart: octahedra are fcc."""


class Candidate(Protocol):
    """What is asked of a candidate."""

    atoms: Atoms
    rw: float
    family: str
    biso: float
    qdamp: float
    delta2: float


@dataclass(frozen=True)
class Judgement:
    """One answer beside the truth.

    Attributes
    ----------
    name, family, kind, n_atoms, noise, delta2
        Of the case: name, true family, what is special, number of atoms, noise in F(Q), δ2 (Å²).
    seconds, cpu_seconds
        Wall and processor time of the answer.
    rank
        Place of the first candidate that is exact, from 1; None when none is.
    rw, found_family, found_atoms
        Of the first candidate.
    congruent
        Whether the first candidate, exact by its distances, is the true structure and not a homometric one; None when
        it is not exact, or too large to ask.
    family_right
        Whether the first candidate's family is the true one, octahedra counting as fcc. An exact structure has the
        right family whatever it is called: it is then `nested` in both.
    atoms_error
        Number of atoms less the true one.
    bond_error
        Mean bond length less the true one, relative.
    biso_error, qdamp_error, delta2_error
        Fitted less true; Å², 1/Å, Å².
    probability
        The solver's own for the first candidate.
    intervals
        Of the number of atoms: level, lower and upper end, and the probability that the solver gives to what is between
        (at least the level: numbers are whole). Empty without a posterior.
    in_interval
        Whether the 90 % interval holds the true number of atoms.
    family_probability
        The posterior's for the true family.
    bounds, bic
        R_w bound and information criterion by family.
    lowest_bound_right, lowest_bic_right
        Whether the lowest is the true family's.
    wrongly_excluded
        Whether the solver excludes the true family.
    truth_rank, partner_rank
        Only for pairs: places of the true structure and of its partner, among the candidates and their equivalents.
    error
        What the solver said when it gave no answer.
    """

    name: str
    family: str
    kind: str
    n_atoms: int
    noise: float
    delta2: float
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    rank: int | None = None
    rw: float | None = None
    found_family: str | None = None
    found_atoms: int | None = None
    congruent: bool | None = None
    family_right: bool = False
    nested: bool = False
    atoms_error: int | None = None
    bond_error: float | None = None
    biso_error: float | None = None
    qdamp_error: float | None = None
    delta2_error: float | None = None
    probability: float | None = None
    intervals: tuple[tuple[float, float, float, float], ...] = field(default=(), repr=False)
    in_interval: bool | None = None
    family_probability: float | None = None
    bounds: dict[str, float] = field(default_factory=dict, repr=False)
    bic: dict[str, float] = field(default_factory=dict, repr=False)
    lowest_bound_right: bool | None = None
    lowest_bic_right: bool | None = None
    wrongly_excluded: bool | None = None
    truth_rank: int | None = None
    partner_rank: int | None = None
    error: str | None = None

    @property
    def first_exact(self) -> bool:
        return self.rank == 1

    @property
    def in_top_ten(self) -> bool:
        return self.rank is not None and self.rank <= 10


def judge(case: Case, solution: Sequence[Candidate], seconds: float = 0.0, cpu_seconds: float = 0.0) -> Judgement:
    """Judge an answer.

    Parameters
    ----------
    case
        With the truth.
    solution
        As `hpcpdf.solve` gives it; what it does not have (posterior, bounds) stays None.
    seconds, cpu_seconds
        What it took.
    """
    facts = {
        "name": case.name,
        "family": case.family,
        "kind": case.kind,
        "n_atoms": case.n_atoms,
        "noise": case.noise,
        "delta2": case.params.delta2,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
    }
    if not len(solution):
        return Judgement(**facts, error="no candidates")
    first = solution[0]
    truth = case.truth.positions
    rank = next((k for k, c in enumerate(solution, start=1) if is_exact(c.atoms.positions, truth)), None)
    named_right = lattice_of(first.family) == lattice_of(case.family)
    bond = bond_length(truth)
    return Judgement(
        **facts,
        rank=rank,
        rw=first.rw,
        found_family=first.family,
        found_atoms=len(first.atoms),
        congruent=same_structure(first.atoms.positions, truth) if rank == 1 and len(truth) <= _ALIGNED else None,
        family_right=named_right or rank == 1,
        nested=rank == 1 and not named_right,
        atoms_error=len(first.atoms) - len(truth),
        bond_error=bond_length(first.atoms.positions) / bond - 1.0,
        biso_error=first.biso - case.params.biso,
        qdamp_error=first.qdamp - case.params.qdamp,
        delta2_error=first.delta2 - case.params.delta2,
        probability=_number(getattr(first, "probability", None)),
        **_of_posterior(case, solution),
        **_of_bounds(case, solution),
        **_of_pair(case, solution),
    )


def is_exact(positions: ArrayLike, truth: ArrayLike) -> bool:
    """Whether a candidate is the truth up to scale: the same distances, or every atom on its own site."""
    return same_distances(positions, truth) or same_structure(positions, truth)


def same_distances(positions: ArrayLike, truth: ArrayLike) -> bool:
    """Whether two clusters have as many atoms and the same distances, in mean nearest-neighbour distances."""
    a, b = np.asarray(positions, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if len(a) != len(b):
        return False
    return bool(np.max(np.abs(_distances(a) - _distances(b)), initial=0.0) < SAME_DISTANCE)


def same_structure(positions: ArrayLike, truth: ArrayLike) -> bool:
    """Whether two clusters coincide up to scale, but for small displacements, once laid over each other."""
    a, b = np.asarray(positions, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if len(a) != len(b) or len(a) > _ALIGNED or abs(_extent(a) / _extent(b) - 1.0) > 0.1:
        return False
    # Gyration gives the scale: the mean of all atoms, where displacements cancel.
    found = align(a * (_extent(b) / _extent(a)), b)
    farthest = float(np.max(np.linalg.norm(found.positions - b, axis=1)))
    return found.rmsd < SAME_PLACE and farthest < OWN_SITE * nearest(b)


def bond_length(positions: Floats) -> float:
    """Mean distance of neighbours, those within 1.2 mean nearest-neighbour distances; in the unit of `positions`."""
    pairs = cKDTree(positions).query_pairs(1.2 * nearest(positions), output_type="ndarray")
    return float(np.mean(np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)))


def nearest(positions: Floats) -> float:
    """Mean over the atoms of the distance to the nearest other one."""
    return float(np.mean(cKDTree(positions).query(positions, k=2)[0][:, 1]))


def lattice_of(family: str) -> str:
    """The family's name with those that are the same taken together; ``fcc-twin`` and the like are ``twin``."""
    return "twin" if "twin" in family else _LATTICE.get(family, family)


def _distances(positions: Floats) -> NDArray[np.float32]:
    """Sorted, in single precision: half the memory, and 1e-6 of the longest."""
    found = (pdist(positions) / nearest(positions)).astype(np.float32)
    found.sort()
    return found


def _extent(positions: Floats) -> float:
    return float(np.sqrt(np.mean(np.sum((positions - positions.mean(axis=0)) ** 2, axis=1))))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and np.isfinite(value) else None


def _of_posterior(case: Case, solution: object) -> dict[str, object]:
    posterior = getattr(solution, "posterior", None)
    samples = getattr(posterior, "samples", ())
    if posterior is None or not len(samples):
        return {}
    atoms = np.array([sample.n_atoms for sample in samples])
    weight = np.array([sample.weight for sample in samples])
    intervals = []
    for level in LEVELS:
        low, high = posterior.n_atoms(level)
        between = (atoms >= low) & (atoms <= high)
        intervals.append((level, float(low), float(high), float(weight[between].sum() / weight.sum())))
    low, high = posterior.n_atoms(0.9)
    families: dict[str, float] = {}
    for family, share in posterior.families.items():
        families[lattice_of(family)] = families.get(lattice_of(family), 0.0) + float(share)
    return {
        "intervals": tuple(intervals),
        "in_interval": bool(low <= case.n_atoms <= high),
        "family_probability": families.get(lattice_of(case.family), 0.0),
    }


def _of_bounds(case: Case, solution: object) -> dict[str, object]:
    bounds = getattr(solution, "family_bounds", ())
    own = lattice_of(case.family)
    if not any(lattice_of(bound.family) == own for bound in bounds):
        return {}
    lowest = min(bounds, key=lambda bound: bound.rw)
    likeliest = min(bounds, key=lambda bound: bound.bic)
    return {
        "bounds": {bound.family: float(bound.rw) for bound in bounds},
        "bic": {bound.family: float(bound.bic) for bound in bounds},
        "lowest_bound_right": lattice_of(lowest.family) == own,
        "lowest_bic_right": lattice_of(likeliest.family) == own,
        "wrongly_excluded": all(bound.excluded for bound in bounds if lattice_of(bound.family) == own),
    }


def _of_pair(case: Case, solution: Sequence[Candidate]) -> dict[str, object]:
    if case.partner is None:
        return {}
    ranks = {}
    for name, wanted in (("truth_rank", case.truth), ("partner_rank", case.partner)):
        ranks[name] = next(
            (
                k
                for k, candidate in enumerate(solution, start=1)
                for told in (candidate, *getattr(candidate, "equivalents", ()))
                if same_structure(told.atoms.positions, wanted.positions)
            ),
            None,
        )
    return dict(ranks)
