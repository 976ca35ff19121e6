"""What the PDF engines take as a structure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from hpcpdf.errors import ConfigError
from hpcpdf.pdf.params import B_PER_U, PdfParams

Structure: TypeAlias = ArrayLike | Atoms
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Cluster:
    """One structure, checked.

    Attributes
    ----------
    positions : ndarray, shape (n, 3)
        Å.
    u : float or ndarray, shape (n,)
        Mean-square displacement of every atom, or of each, Å^2.
    symbols : tuple of str, optional
        None for a bare array.
    """

    positions: Floats
    u: float | Floats
    symbols: tuple[str, ...] | None

    @property
    def u_max(self) -> float:
        """Largest mean-square displacement, Å^2; 0 if each atom has its own and there are none."""
        return self.u if isinstance(self.u, float) else float(self.u.max(initial=0.0))

    @property
    def common_u(self) -> float | None:
        """Mean-square displacement of every atom, Å^2, if it is the same for all."""
        return self.u if isinstance(self.u, float) else None

    @property
    def atoms_u(self) -> Floats:
        """Mean-square displacement of each atom, shape (n,), Å^2."""
        return np.broadcast_to(np.asarray(self.u, dtype=np.float64), len(self.positions))


def as_clusters(structures: Structure | Sequence[Structure], params: PdfParams) -> tuple[list[Cluster], bool]:
    """Check structures; the flag tells whether a single one was given."""
    if isinstance(structures, Atoms):
        return [_from_atoms(structures, params, None)], True
    if hasattr(structures, "__array__"):
        structures = np.asarray(structures)
    if _is_positions(structures):
        return [_from_array(structures, params, None)], True
    try:
        items = list(cast("Iterable[Any]", structures))
    except TypeError:
        raise ConfigError(
            f"structures: expected an (n, 3) array, ase.Atoms or a sequence of them, got {type(structures).__name__}"
        ) from None
    clusters = []
    for index, item in enumerate(items):
        if isinstance(item, Atoms):
            clusters.append(_from_atoms(item, params, index))
        else:
            clusters.append(_from_array(item, params, index))
    return clusters, False


def _is_positions(structures: Any) -> bool:
    if isinstance(structures, np.ndarray):
        return structures.ndim == 2 or structures.dtype == object or structures.ndim < 2
    if not isinstance(structures, Sequence) or not structures or isinstance(structures[0], Atoms):
        return False
    return np.ndim(structures[0]) == 1


def _where(index: int | None) -> str:
    return "structure" if index is None else f"structures[{index}]"


def _from_array(item: Any, params: PdfParams, index: int | None) -> Cluster:
    try:
        positions = np.ascontiguousarray(item, dtype=np.float64)
    except (TypeError, ValueError):
        raise ConfigError(f"{_where(index)}: expected an (n, 3) array of numbers or ase.Atoms") from None
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise ConfigError(f"{_where(index)}: expected positions of shape (n, 3), got {positions.shape}")
    flat = positions.ravel()
    # A finite sum of squares is the quick answer; an infinite one can have overflowed.
    if not math.isfinite(flat.dot(flat)) and not np.isfinite(flat).all():
        raise ConfigError(f"{_where(index)}: positions hold NaN or infinity")
    return Cluster(positions, params.uiso, None)


def _from_atoms(atoms: Atoms, params: PdfParams, index: int | None) -> Cluster:
    bare = _from_array(atoms.positions, params, index)
    symbols = tuple(atoms.symbols)
    if "biso" not in atoms.arrays:
        return replace(bare, symbols=symbols)
    u = np.asarray(atoms.arrays["biso"], dtype=np.float64) / B_PER_U
    if u.shape != (len(symbols),) or not np.isfinite(u).all() or (u < 0.0).any():
        raise ConfigError(f'{_where(index)}: the array "biso" must hold one value >= 0 (Å^2) for each atom')
    return Cluster(bare.positions, float(u[0]) if len(u) and (u == u[0]).all() else u, symbols)
