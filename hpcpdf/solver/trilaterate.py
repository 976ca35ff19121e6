"""Trilateration: coordinates from predicted distances, many structures at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcpdf import _core
from hpcpdf.errors import SolverError

_MAX_EVALUATIONS = 500
_GRADIENT_TOLERANCE = 1e-5


class TrilaterationStatus(IntEnum):
    """Outcome of one problem; 0 means converged and unambiguous."""

    CONVERGED = 0
    MIRROR_AMBIGUOUS = 1
    """Converged, but the satellites do not tell the structure from its mirror image."""
    FRAME_UNDEFINED = 2
    """Converged, but nothing fixes place, rotation and handedness (no satellites, or all on a line)."""
    EVALUATION_LIMIT = 3
    """Stopped at the limit of cost evaluations."""
    STALLED = 4
    """No further descent within the precision, before the projected gradient was small enough."""
    UNDETERMINED = 5
    """The distances of non-zero weight leave some atom free to move."""
    INVALID_INPUT = 6
    """NaN or infinite distances, or negative weights; the positions are NaN."""


@dataclass(frozen=True)
class TrilaterationResult:
    """Positions and diagnostics of a batch.

    Attributes
    ----------
    positions : list of ndarray (n_i, 3), or ndarray (B, N, 3)
        Coordinates inside the box [-1, 1]; an array padded with NaN when `distances` was one array.
    cost : ndarray (B,)
        Weighted sum of squared distance residuals.
    projected_gradient : ndarray (B,)
        Largest component of the projected gradient, ``max |clip(x - g, -1, 1) - x|``.
    n_eval : ndarray (B,)
        Cost and gradient evaluations used.
    status : ndarray (B,)
        Values of `TrilaterationStatus`.
    """

    positions: list[NDArray[Any]] | NDArray[Any]
    cost: NDArray[np.float64]
    projected_gradient: NDArray[np.float64]
    n_eval: NDArray[np.int32]
    status: NDArray[np.int32]


def trilaterate(
    distances: Sequence[ArrayLike] | NDArray[Any],
    satellite_distances: Sequence[ArrayLike] | NDArray[Any],
    satellites: ArrayLike,
    *,
    counts: ArrayLike | None = None,
    weights: Sequence[ArrayLike] | NDArray[Any] | None = None,
    satellite_weights: Sequence[ArrayLike] | NDArray[Any] | None = None,
    method: str = "joint",
    solver: str = "batch",
    dtype: str = "float32",
    n_threads: int | None = None,
) -> TrilaterationResult:
    """Place atoms so that they keep predicted distances to each other and to known satellites.

    Minimises ``sum_{i<j} w_ij (|x_i - x_j| - D_ij)^2 + sum_{i,s} v_is (|x_i - p_s| - A_is)^2`` over the box
    [-1, 1] per coordinate (the unit-sphere scale of the representation), each problem on its own.

    Parameters
    ----------
    distances : sequence of (n_i, n_i) arrays, or (B, N, N) array
        Predicted distances D. The diagonal is ignored; an asymmetric matrix is replaced by (D + D^T)/2.
    satellite_distances : sequence of (n_i, S) arrays, or (B, N, S) array
        Predicted distances A to the satellites.
    satellites : (S, 3) array
        Satellite positions p.
    counts : (B,) integers, optional
        Atoms of each problem when `distances` is one array; the rest is padding. Default: N for all.
    weights, satellite_weights : as the distances, optional
        Weights w and v, default 1. Weight 0 marks a missing distance.
    method : {"joint", "sequential"}
        All atoms together, or one atom after another.
    solver : {"batch", "lbfgsb"}
        The specialised kernel, or the general L-BFGS-B.
    dtype : {"float32", "float64"}
        Arithmetic of the batch solver and type of the positions.
    n_threads : int, optional
        Threads; default one per available core. Results do not depend on it.

    Returns
    -------
    TrilaterationResult

    Raises
    ------
    ValueError
        If shapes do not fit together.
    SolverError
        If an option has an unknown value.
    """
    if method not in ("joint", "sequential"):
        raise SolverError(f"trilaterate: method is {method!r}, expected 'joint' or 'sequential'")
    if solver not in ("batch", "lbfgsb"):
        raise SolverError(f"trilaterate: solver is {solver!r}, expected 'batch' or 'lbfgsb'")
    if method != "joint" or solver != "batch":
        raise SolverError("trilaterate: only method='joint' with solver='batch' is available in this build")
    precision = np.dtype(dtype)
    if precision not in (np.float32, np.float64):
        raise SolverError(f"trilaterate: dtype is {dtype!r}, expected 'float32' or 'float64'")
    anchors = np.ascontiguousarray(satellites, dtype=np.float64).reshape(-1, 3)
    padded = isinstance(distances, np.ndarray) and distances.ndim == 3
    sizes = _sizes(distances, counts) if padded else None
    square = _matrices(distances, sizes, square=True)
    positions, cost, gradient, n_eval, status = _core.trilaterate(
        square,
        _matrices(satellite_distances, sizes, square=False),
        anchors,
        weights=None if weights is None else _matrices(weights, sizes, square=True),
        satellite_weights=None if satellite_weights is None else _matrices(satellite_weights, sizes, square=False),
        wide=precision == np.float64,
        threads=n_threads or len(os.sched_getaffinity(0)),
        max_evaluations=_MAX_EVALUATIONS,
        gradient_tolerance=_GRADIENT_TOLERANCE,
    )
    flat = positions.astype(precision, copy=False)
    if sizes is not None:
        filled = np.full((len(sizes), np.asarray(distances).shape[1], 3), np.nan, dtype=precision)
        filled[np.arange(filled.shape[1]) < sizes[:, None]] = flat
        return TrilaterationResult(filled, cost, gradient, n_eval, status)
    ends = np.cumsum([len(d) for d in square])
    return TrilaterationResult(np.split(flat, ends[:-1]) if len(ends) else [], cost, gradient, n_eval, status)


def _sizes(distances: Any, counts: ArrayLike | None) -> NDArray[np.int64]:
    batch, n = distances.shape[:2]
    if counts is None:
        return np.full(batch, n)
    sizes = np.asarray(counts, dtype=np.int64)
    if sizes.shape != (batch,) or (sizes < 0).any() or (sizes > n).any():
        raise ValueError(f"trilaterate: counts must hold {batch} numbers between 0 and {n}")
    return sizes


def _matrices(arrays: Any, sizes: NDArray[np.int64] | None, *, square: bool) -> list[NDArray[Any]]:
    matrices = [
        a if isinstance(a, np.ndarray) and a.dtype in (np.float32, np.float64) else np.asarray(a, float) for a in arrays
    ]
    if sizes is None:
        return matrices
    if len(matrices) != len(sizes):
        raise ValueError(f"trilaterate: got {len(matrices)} arrays for {len(sizes)} problems")
    return [m[:n, :n] if square else m[:n] for m, n in zip(matrices, sizes, strict=True)]
