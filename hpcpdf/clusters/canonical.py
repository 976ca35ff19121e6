"""Canonical form and distance lists of clusters given by coordinates, on a lattice or not."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist

from hpcpdf.clusters.template import Floats, Ints, distance_digest
from hpcpdf.errors import DataError

TOLERANCE = 1e-6
"""Lengths (Å) closer than this are taken as equal by symmetry."""

# Fixed directions without symmetry: the phases of a structure along them tell its orientations apart.
_PROBES = np.array(
    [[0.31, 0.59, 1.00], [-0.83, 0.47, 0.19], [0.71, -0.29, 0.53], [0.11, 0.97, -0.61], [-0.43, -0.67, 0.89]]
)
_PHASES = np.array([0.4, 1.1, 1.9, 2.6, 3.3])
_FRAMES_AT_ONCE = 256


def canonical_form(positions: ArrayLike) -> tuple[Floats, Ints]:
    """Positions of a cluster in a frame and an order of their own.

    The centroid becomes the origin. Frames are spanned by pairs of atoms, of the kind of pair (distances from the
    centroid, angle between) that occurs least often; the mirror image of each is tried too. Among them a fixed function
    of the turned positions is the largest. Frames that symmetry makes equal give the same positions. Atoms are ordered
    by distance from the origin, then by z, y and x.

    Parameters
    ----------
    positions
        (n, 3) coordinates, Å.

    Returns
    -------
    positions : ndarray
        (n, 3) canonical coordinates, Å. Any rotation, reflection, translation and permutation of the cluster gives the
        same to 1e-6 Å.
    order : ndarray
        (n,) index of each canonical atom in the input.

    Raises
    ------
    DataError
        If `positions` is not (n, 3) or not finite.
    """
    given = _checked(positions)
    centred = given - given.mean(axis=0) if len(given) else given
    radius = np.linalg.norm(centred, axis=1)
    shell = _classes(radius)
    frame = _best_frame(centred, radius, shell)
    turned = centred @ frame.T
    order = np.lexsort((*(_classes(column) for column in turned.T), shell))
    return turned[order], order.astype(np.int64)


def distance_list(positions: ArrayLike) -> Floats:
    """Ascending distances between all pairs of atoms, n (n - 1) / 2 of them, in the unit of `positions`."""
    return np.sort(pdist(_checked(positions)))


def shape_key(positions: ArrayLike) -> str:
    """Digest of the distance list divided by its shortest distance and rounded to 1e-4.

    Clusters that differ by a similarity or a permutation share it; the key of a `Shape` is the key of its positions.

    Raises
    ------
    DataError
        If two atoms coincide: there is no shortest distance.
    """
    points = _checked(positions)
    distances = np.sort(pdist(points))
    if distances.size and distances[0] <= 0.0:
        raise DataError("two atoms of the cluster coincide; remove one of them")
    return distance_digest(distances, np.ones(distances.size, dtype=np.int64), len(points))


def _checked(positions: ArrayLike) -> Floats:
    points = np.asarray(positions, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise DataError(f"positions of a cluster: expected an array of shape (n, 3), got {points.shape}")
    if not np.isfinite(points).all():
        raise DataError("positions of a cluster: not all of them are finite numbers")
    return points


def _classes(values: Floats) -> Ints:
    """Rank of each value, those linked by steps below the tolerance sharing one."""
    order = np.argsort(values, kind="stable")
    rank = np.empty(len(values), dtype=np.int64)
    rank[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > TOLERANCE)])[: len(values)]
    return rank


def _best_frame(centred: Floats, radius: Floats, shell: Ints) -> Floats:
    """Rows are the axes of the canonical frame."""
    frames = _frames(centred, radius, shell)
    length = max(float(np.sqrt(np.mean(radius**2))) if len(radius) else 0.0, TOLERANCE)
    values = np.empty((len(frames), len(_PROBES)))
    for start in range(0, len(frames), _FRAMES_AT_ONCE):
        # R x . k = x . R^T k: turn the probes instead of the atoms.
        probes = np.einsum("fij,pi->fpj", frames[start : start + _FRAMES_AT_ONCE], _PROBES)
        phase = np.einsum("nj,fpj->fpn", centred * (1.7 / length), probes) + _PHASES[:, None]
        values[start : start + _FRAMES_AT_ONCE] = np.cos(phase).sum(axis=2) / max(len(centred), 1)
    left = np.arange(len(frames))
    for column in values.T:
        left = left[column[left] >= column[left].max() - 0.01 * TOLERANCE]
    return np.asarray(frames[left[0]])


def _frames(centred: Floats, radius: Floats, shell: Ints) -> Floats:
    """(F, 3, 3) candidate frames: a set that depends on the cluster alone, not on how it is given."""
    outside = np.flatnonzero(radius > 100.0 * TOLERANCE)
    if not outside.size:
        return np.eye(3)[None]
    first, second, across = _rarest_pairs(centred, radius, shell, outside)
    z = centred[first] / radius[first, None]
    x = centred[second] - np.einsum("fi,fi->f", centred[second], z)[:, None] * z
    if not across:
        # All atoms on one line: any direction across it does.
        x = np.eye(3)[np.argmin(np.abs(z), axis=1)]
        x = x - np.einsum("fi,fi->f", x, z)[:, None] * z
    x /= np.linalg.norm(x, axis=1)[:, None]
    y = np.cross(z, x)
    return np.concatenate([np.stack([x, y, z], axis=1), np.stack([x, -y, z], axis=1)])


def _rarest_pairs(centred: Floats, radius: Floats, shell: Ints, outside: Ints) -> tuple[Ints, Ints, bool]:
    """Pairs of atoms to span frames with: the rarest kind of those well off one line; and whether there are any."""
    count = np.bincount(shell[outside])
    smallest = int(np.argmin(np.where(count > 0, count, len(shell) + 1)[::-1]))
    axis = np.flatnonzero(shell == len(count) - 1 - smallest)
    first, second = (side.ravel() for side in np.meshgrid(axis, outside, indexing="ij"))
    along = np.einsum("fi,fi->f", centred[first], centred[second]) / radius[first]
    off = np.sqrt(np.maximum(radius[second] ** 2 - along**2, 0.0))
    kind = np.unique(np.column_stack([shell[second], _classes(along)]), axis=0, return_inverse=True)[1].reshape(-1)
    sine = np.bincount(kind, off / radius[second]) / np.bincount(kind)
    wide = np.flatnonzero(sine > min(0.3, 0.9 * float(sine.max())))
    if float(sine.max()) < 1e-7:
        return axis, axis, False
    members = np.bincount(kind)[wide]
    chosen = kind == wide[int(np.argmin(members))]
    return first[chosen], second[chosen], True
