"""Candidates as files that crystallographic programs read, and the geometry that a reader asks about."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ase import Atoms
from ase.io import write
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform

BOND_REACH = 1.2
"""Neighbours are atoms up to this multiple of the nearest-neighbour distance: half way to the second shell of fcc."""

VACUUM = 10.0
"""Å of empty space around a cluster in its .cif box, so that periodic images stay out of reach."""


class CandidateLike(Protocol):
    """What a candidate must offer to be reported; `hpcpdf.reconstruct.solve.Candidate` does."""

    @property
    def atoms(self) -> Any: ...
    @property
    def rw(self) -> float: ...
    @property
    def pearson(self) -> float: ...
    @property
    def scale(self) -> float: ...
    @property
    def zoom(self) -> float: ...
    @property
    def biso(self) -> float: ...
    @property
    def qdamp(self) -> float: ...
    @property
    def delta2(self) -> float: ...
    @property
    def r(self) -> NDArray[np.float64]: ...
    @property
    def g_obs(self) -> NDArray[np.float64]: ...
    @property
    def g_calc(self) -> NDArray[np.float64]: ...
    @property
    def family(self) -> str: ...
    @property
    def rw_before_refine(self) -> float | None: ...
    @property
    def notes(self) -> Sequence[str]: ...


def was_refined(candidate: CandidateLike) -> bool:
    """Whether its atoms were moved to follow the data."""
    return candidate.rw_before_refine is not None and candidate.rw_before_refine != candidate.rw


@dataclass(frozen=True)
class Geometry:
    """Distances and coordination of one cluster.

    Attributes
    ----------
    nn_mean, nn_std
        Mean and standard deviation of the bond lengths, Å (NaN for a single atom).
    coordination
        Neighbours of every atom, shape (n,).
    bonds
        Index pairs i < j, shape (m, 2).
    cutoff
        Longest distance that counts as a bond, Å.
    diameter
        Largest distance between two atoms, Å.
    """

    nn_mean: float
    nn_std: float
    coordination: NDArray[np.int64]
    bonds: NDArray[np.int64]
    cutoff: float
    diameter: float

    @property
    def coordination_mean(self) -> float:
        """Mean number of neighbours."""
        return float(self.coordination.mean()) if self.coordination.size else 0.0


def geometry(positions: NDArray[np.float64]) -> Geometry:
    """Find bonds and coordination of a cluster.

    Parameters
    ----------
    positions
        (n, 3), Å.
    """
    positions = np.asarray(positions, dtype=float)
    n = len(positions)
    if n < 2:
        none = np.zeros((0, 2), dtype=np.int64)
        return Geometry(float("nan"), float("nan"), np.zeros(n, dtype=np.int64), none, 0.0, 0.0)
    pairs = pdist(positions)
    square = squareform(pairs)
    np.fill_diagonal(square, np.inf)
    cutoff = BOND_REACH * float(square.min(axis=1).mean())
    near = np.triu(square < cutoff)
    return Geometry(
        nn_mean=float(square[near].mean()),
        nn_std=float(square[near].std()),
        coordination=(square < cutoff).sum(axis=1),
        bonds=np.argwhere(near),
        cutoff=cutoff,
        diameter=float(pairs.max()),
    )


def fitted_values(candidate: CandidateLike) -> dict[str, float]:
    """The fitted parameters of a candidate by name: biso Å², qdamp 1/Å, delta2 Å²."""
    names = ("rw", "pearson", "scale", "zoom", "biso", "qdamp", "delta2")
    return {name: float(getattr(candidate, name)) for name in names}


def write_xyz(path: Path, candidate: CandidateLike) -> None:
    """Write extended XYZ: coordinates in Å, the fitted values in the comment line."""
    atoms = Atoms(candidate.atoms.get_chemical_symbols(), candidate.atoms.get_positions())
    atoms.info = {"family": candidate.family, **{k: round(v, 8) for k, v in fitted_values(candidate).items()}}
    text = io.StringIO()
    write(text, atoms, format="extxyz")
    path.write_text(text.getvalue())


def write_cif(path: Path, candidate: CandidateLike, *, title: str = "cluster") -> None:
    """Write the cluster in a P1 box with `VACUUM` Å around it and the fitted Biso on every atom.

    ASE's own writer states a Biso of 1 Å² whatever the structure, which a PDF program would take for a result.
    """
    symbols = candidate.atoms.get_chemical_symbols()
    positions = np.asarray(candidate.atoms.get_positions(), dtype=float)
    low = positions.min(axis=0)
    box = positions.max(axis=0) - low + 2.0 * VACUUM
    fractional = (positions - low + VACUUM) / box
    block = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in title) or "cluster"
    lines = [f"# {name} = {value:.6g}" for name, value in fitted_values(candidate).items()]
    lines += [f"data_{block}"]
    lines += [f"_cell_length_{axis} {length:.6f}" for axis, length in zip("abc", box, strict=True)]
    lines += [f"_cell_angle_{angle} 90" for angle in ("alpha", "beta", "gamma")]
    lines += ["_symmetry_space_group_name_H-M 'P 1'", "_symmetry_Int_Tables_number 1"]
    lines += ["loop_", "_symmetry_equiv_pos_as_xyz", "'x, y, z'", "loop_"]
    tags = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy", "B_iso_or_equiv")
    lines += [f"_atom_site_{tag}" for tag in tags]
    for index, (symbol, (x, y, z)) in enumerate(zip(symbols, fractional, strict=True), start=1):
        lines.append(f"{symbol}{index} {symbol} {x:.8f} {y:.8f} {z:.8f} 1 {candidate.biso:.5f}")
    path.write_text("\n".join(lines) + "\n")
