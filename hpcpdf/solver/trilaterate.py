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

_PRECISIONS = (np.dtype(np.float32), np.dtype(np.float64))


class TrilaterationStatus(IntEnum):
    """Outcome of one problem; 0 means converged and unambiguous."""

    CONVERGED = 0
    MIRROR_AMBIGUOUS = 1
    """Converged, but a mirror image of the structure or of a part of it fits as well."""
    FRAME_UNDEFINED = 2
    """Converged, but the satellites (none, or all on a line) leave the structure free to move as a whole."""
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
        Largest component of the projected gradient, ``max |clip(x - g, -1, 1) - x|``; for the sequential method
        that of an atom when it was placed.
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
    [-1, 1] per coordinate (the unit-sphere scale of the representation), each problem on its own. The start is the
    closed-form solution of the satellite equations; where satellites or distances are too few for it, classical
    scaling of all known distances. A problem that cannot be solved gets a status, and the batch goes on.

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
        Weights w and v, default 1. Weight 0 marks a missing distance, which may be NaN. Asymmetric weights are
        averaged, and their distances with them.
    method : {"joint", "sequential"}
        All atoms together, or one atom after another against the satellites and the atoms placed before it (the
        way of the reference method: slower, and further from the optimum of all distances).
    solver : {"batch", "lbfgsb"}
        The specialised kernel, or the general L-BFGS-B in float64 for comparison.
    dtype : {"float32", "float64"}
        Arithmetic of the batch kernel and type of the positions. In float32 the projected gradient still falls
        below 2e-5 up to 100 atoms without weights; what float32 cannot finish goes on in float64.
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

    Notes
    -----
    The cost is not convex; from this start the joint minimiser is, but for rare cases at high noise, the one that a
    tight SciPy run finds from the same start. See docs/solver.md.
    """
    if method not in ("joint", "sequential"):
        raise SolverError(f"trilaterate: method is {method!r}, expected 'joint' or 'sequential'")
    if solver not in ("batch", "lbfgsb"):
        raise SolverError(f"trilaterate: solver is {solver!r}, expected 'batch' or 'lbfgsb'")
    if np.dtype(dtype) not in _PRECISIONS:
        raise SolverError(f"trilaterate: dtype is {dtype!r}, expected 'float32' or 'float64'")
    if n_threads is not None and n_threads < 1:
        raise SolverError(f"trilaterate: n_threads is {n_threads}, expected at least 1")
    options = _core.TrilaterationOptions()
    options.sequential = method == "sequential"
    options.general = solver == "lbfgsb"
    options.wide = np.dtype(dtype) == _PRECISIONS[1]
    options.threads = n_threads or len(os.sched_getaffinity(0))
    options.level = _level()
    return TrilaterationResult(
        *_core.trilaterate(
            distances,
            satellite_distances,
            np.asarray(satellites, dtype=np.float64),
            _sizes(distances, counts),
            weights,
            satellite_weights,
            options,
        )
    )


def instruction_levels() -> list[str]:
    """Instruction levels of the batch solver on this machine, lowest first; the last one is used.

    The environment variable ``HPCPDF_INSTRUCTIONS`` names another one, for tests and comparisons.
    """
    return _core.trilateration_levels()


def _level() -> str:
    wanted = os.environ.get("HPCPDF_INSTRUCTIONS", "")
    if wanted and wanted not in instruction_levels():
        known = ", ".join(instruction_levels())
        raise SolverError(f"trilaterate: HPCPDF_INSTRUCTIONS is {wanted!r}, expected one of {known}")
    return wanted


def _sizes(distances: Any, counts: ArrayLike | None) -> NDArray[np.int64] | None:
    if counts is None:
        return None
    if not isinstance(distances, np.ndarray) or distances.ndim != 3:
        raise ValueError("trilaterate: counts go with distances of shape (B, N, N)")
    batch, n = distances.shape[:2]
    sizes = np.asarray(counts)
    if sizes.shape != (batch,) or sizes.dtype.kind not in "iu" or (sizes < 0).any() or (sizes > n).any():
        raise ValueError(f"trilaterate: counts must hold {batch} whole numbers between 0 and {n}")
    return sizes.astype(np.int64)
