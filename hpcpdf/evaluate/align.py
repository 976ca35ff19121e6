"""How far apart two clusters are once the best rotation, reflection, shift and numbering of atoms are found."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from hpcpdf.errors import DataError

Array = NDArray[np.float64]

_LEVER_FRAMES = 150
_LOCAL_FRAMES = 60
_STARTS = 12
_SCORED_ATOMS = 64
_EXACT_ATOMS = 7
"""Up to so many atoms every permutation is tried."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """`positions` laid over a reference.

    Attributes
    ----------
    rmsd : float
        Root mean square distance of paired atoms, Å (or whatever unit was given).
    positions : (n, 3) array
        The aligned positions, in the order of the reference.
    order : (n,) int array
        Atom ``order[i]`` of the input is paired with atom i of the reference.
    rotation : (3, 3) array
        Orthogonal; aligned = positions[order] @ rotation.T + shift.
    shift : (3,) array
    """

    rmsd: float
    positions: Array
    order: NDArray[np.int64]
    rotation: Array
    shift: Array


def rmsd(positions: ArrayLike, reference: ArrayLike, *, mirror: bool = True) -> float:
    """Root mean square distance after optimal alignment and assignment; see `align`.

    Returns
    -------
    float
        NaN when the two have different numbers of atoms: no one-to-one assignment exists.
    """
    a, b = _cluster(positions, "positions"), _cluster(reference, "reference")
    return align(a, b, mirror=mirror).rmsd if len(a) == len(b) else float("nan")


def align(positions: ArrayLike, reference: ArrayLike, *, mirror: bool = True) -> Alignment:
    """Lay one cluster over another of as many atoms, whatever its orientation, handedness, place and numbering.

    Candidate orientations are made by matching pairs of atoms, of one cluster to the other's: pairs far from the
    centre, and neighbours of the innermost atom (lattices that are cut differently). The best by nearest-neighbour
    distance are polished by alternating the optimal assignment (Hungarian method) with the optimal rotation (Kabsch)
    until neither changes. Up to seven atoms the result is exact (every numbering is tried). Beyond, no exact method of
    practical cost is known: the result is an upper bound, and equal to the minimum wherever that is known (the same
    cluster in disguise).

    Parameters
    ----------
    positions, reference : (n, 3) arrays
        Cartesian coordinates.
    mirror
        Whether reflections are allowed; a PDF does not tell mirror images apart.

    Raises
    ------
    DataError
        For different numbers of atoms, no atoms, or values that are not finite.
    """
    a, b = _cluster(positions, "positions"), _cluster(reference, "reference")
    if len(a) != len(b):
        raise DataError(f"clusters of {len(a)} and {len(b)} atoms have no one-to-one assignment")
    centre_a, centre_b = a.mean(axis=0), b.mean(axis=0)
    a, b = a - centre_a, b - centre_b
    if len(a) <= _EXACT_ATOMS:
        best_order = _best_permutation(a, b, mirror)
    else:
        polished = [_polish(a, b, rotation, shift, mirror) for rotation, shift in _starts(a, b, mirror)]
        best_order = min(polished, key=lambda found: found[0])[1]
    rotation = _kabsch(a[best_order], b, mirror)
    moved = a[best_order] @ rotation.T
    value = float(np.sqrt(np.mean(np.sum((moved - b) ** 2, axis=1))))
    return Alignment(value, moved + centre_b, best_order, rotation, centre_b - rotation @ centre_a)


def _cluster(values: ArrayLike, name: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        raise DataError(f"{name} has shape {array.shape}, expected (n, 3) with at least one atom")
    if not np.all(np.isfinite(array)):
        raise DataError(f"{name} holds coordinates that are not finite")
    return array


def _best_permutation(a: Array, b: Array, mirror: bool) -> NDArray[np.int64]:
    orders = np.array(list(permutations(range(len(a)))), dtype=np.int64)
    covariance = np.einsum("ni,knj->kij", b, a[orders])
    # The best rotation leaves Σ|a|² + Σ|b|² − 2 Σ (singular values), the last negated for an improper one.
    gain = np.linalg.svd(covariance, compute_uv=False)
    if not mirror:
        gain[:, 2] *= np.sign(np.linalg.det(covariance))
    return np.asarray(orders[int(np.argmax(gain.sum(axis=1)))])


def _starts(a: Array, b: Array, mirror: bool) -> list[tuple[Array, Array]]:
    """The most promising rotations and shifts of `a` onto `b`; both are centred."""
    rotations, shifts = [], []
    for found, shift in (_moment_frames(a, b), _lever_frames(a, b), *_local_frames(a, b)):
        rotations.append(found)
        shifts.append(np.broadcast_to(shift, (len(found), 3)))
    all_rotations, all_shifts = np.concatenate(rotations), np.concatenate(shifts)
    if not mirror:
        proper = np.linalg.det(all_rotations) > 0.0
        all_rotations, all_shifts = all_rotations[proper], all_shifts[proper]
    tree = cKDTree(b)
    pick = np.unique(np.linspace(0, len(a) - 1, min(len(a), _SCORED_ATOMS)).astype(int))
    placed = np.einsum("kij,nj->kni", all_rotations, a[pick]) + all_shifts[:, None]
    distance = np.asarray(tree.query(placed.reshape(-1, 3))[0])
    # Distances are capped, so that a few atoms without partner do not outvote a lattice that fits.
    cap = 0.5 * _spacing(b)
    score = np.mean(np.minimum(distance, cap).reshape(len(placed), -1) ** 2, axis=1)
    centred = np.all(all_shifts == 0.0, axis=1)
    chosen: list[int] = []
    for group in (centred, ~centred):
        members = np.flatnonzero(group)
        chosen += members[np.argsort(score[members], kind="stable")[:_STARTS]].tolist()
    return [(all_rotations[i], all_shifts[i]) for i in chosen]


def _spacing(b: Array) -> float:
    return float(np.median(np.asarray(cKDTree(b).query(b, k=2)[0])[:, 1])) or 1.0


def _moment_frames(a: Array, b: Array) -> tuple[Array, Array]:
    """The eight ways to lay the principal axes of `a` on those of `b`."""
    axes_a, axes_b = np.linalg.svd(a)[2], np.linalg.svd(b)[2]
    signs = np.array(np.meshgrid([1, -1], [1, -1], [1, -1])).reshape(3, -1).T
    return np.einsum("ij,ki,il->kjl", axes_b, signs, axes_a), np.zeros(3)


def _lever_frames(a: Array, b: Array) -> tuple[Array, Array]:
    """Rotations about the centroid that match two atoms far from it."""
    radius_a, radius_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    between = cdist(b, b)
    found = []
    by_radius = np.argsort(radius_a, kind="stable")
    for p in (by_radius[-1], by_radius[2 * len(a) // 3]):
        q = int(np.argmax(np.linalg.norm(np.cross(a[p], a), axis=1)))
        mismatch = (
            np.abs(radius_b - radius_a[p])[:, None]
            + np.abs(radius_b - radius_a[q])[None]
            + np.abs(between - np.linalg.norm(a[p] - a[q]))
        )
        np.fill_diagonal(mismatch, np.inf)
        first, second = np.unravel_index(_smallest(mismatch.ravel(), _LEVER_FRAMES), mismatch.shape)
        found.append(_rotations(a[p], a[q], b[first], b[second]))
    return np.concatenate(found), np.zeros(3)


def _local_frames(a: Array, b: Array) -> list[tuple[Array, Array]]:
    """Rotations that lay the innermost atom of `a` with two neighbours on an inner atom of `b` with two of its own."""
    centre = int(np.argmin(np.linalg.norm(a, axis=1)))
    near = a[_shell(a, centre)] - a[centre]
    area = np.linalg.norm(np.cross(near[:, None], near[None]), axis=2)
    i, j = np.unravel_index(int(np.argmax(area)), area.shape)
    u, v = near[i], near[j]
    found = []
    for other in np.argsort(np.linalg.norm(b, axis=1), kind="stable")[:4]:
        arms = b[_shell(b, int(other))] - b[other]
        length = np.linalg.norm(arms, axis=1)
        mismatch = (
            np.abs(length - np.linalg.norm(u))[:, None]
            + np.abs(length - np.linalg.norm(v))[None]
            + np.abs(cdist(arms, arms) - np.linalg.norm(u - v))
        )
        np.fill_diagonal(mismatch, np.inf)
        first, second = np.unravel_index(_smallest(mismatch.ravel(), _LOCAL_FRAMES), mismatch.shape)
        rotations = _rotations(u, v, arms[first], arms[second])
        found.append((rotations, b[other] - rotations @ a[centre]))
    return found


def _shell(points: Array, centre: int) -> NDArray[np.int64]:
    """The nearest neighbours of an atom, at least two of them."""
    distance = np.linalg.norm(points - points[centre], axis=1)
    order = np.argsort(distance, kind="stable")
    order = order[order != centre]
    count = int(np.count_nonzero(distance[order] < 1.25 * distance[order[0]]))
    return np.asarray(order[: max(count, 2)], dtype=np.int64)


def _smallest(values: Array, count: int) -> NDArray[np.int64]:
    finite = int(np.count_nonzero(np.isfinite(values)))
    return np.asarray(np.argsort(values, kind="stable")[: min(count, finite)], dtype=np.int64)


def _rotations(u: Array, v: Array, to_u: Array, to_v: Array) -> Array:
    """Rotations, then the same with a mirror, that turn `u` and `v` into each `to_u` and `to_v`; (2 k, 3, 3)."""
    source = _frames(u[None], v[None])[0]
    target = _frames(to_u, to_v)
    mirrored = target * np.array([1.0, 1.0, -1.0])
    return np.asarray(np.concatenate([target, mirrored]) @ source.T)


def _frames(u: Array, v: Array) -> Array:
    """Right-handed orthonormal frames, axes in columns: the first along `u`, the second towards `v`."""
    first = _unit(u, np.array([1.0, 0.0, 0.0]))
    rest = v - np.sum(v * first, axis=1, keepdims=True) * first
    # Parallel vectors leave the turn about them open: any perpendicular does.
    spare = np.eye(3)[np.argmin(np.abs(first), axis=1)]
    second = _unit(rest, _unit(spare - np.sum(spare * first, axis=1, keepdims=True) * first, first))
    return np.stack([first, second, np.cross(first, second)], axis=2)


def _unit(vectors: Array, instead: Array) -> Array:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    usable = length > 1e-9
    return np.asarray(np.where(usable, vectors / np.where(usable, length, 1.0), instead))


def _polish(a: Array, b: Array, rotation: Array, shift: Array, mirror: bool) -> tuple[float, NDArray[np.int64]]:
    """Alternate assignment and rotation to a fixed point; the sum of squared distances never rises."""
    moved = a @ rotation.T + shift
    order: NDArray[np.int64] | None = None
    cost = np.inf
    for _ in range(50):
        found = _assign(moved, b)
        if order is not None and np.array_equal(found, order):
            break
        order = found
        moved = a @ _kabsch(a[order], b, mirror).T
        cost = float(np.sum((moved[order] - b) ** 2))
    assert order is not None
    return cost, order


def _assign(moved: Array, b: Array) -> NDArray[np.int64]:
    """For each atom of `b` the atom of `moved` that is paired with it."""
    squared = cdist(b, moved, "sqeuclidean")
    nearest = np.argmin(squared, axis=1)
    # Everybody's nearest partner, if all are different, cannot be beaten.
    if len(np.unique(nearest)) == len(b):
        return np.asarray(nearest, dtype=np.int64)
    return np.asarray(linear_sum_assignment(squared)[1], dtype=np.int64)


def _kabsch(a: Array, b: Array, mirror: bool) -> Array:
    """The orthogonal matrix R that minimises Σ |R a_i − b_i|² for centred, paired points."""
    left, _, right = np.linalg.svd(b.T @ a)
    if not mirror and np.linalg.det(left @ right) < 0.0:
        left[:, -1] *= -1.0
    return np.asarray(left @ right)
