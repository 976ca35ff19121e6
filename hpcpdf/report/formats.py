"""Candidates for other programs: PDFgui (.stru), molecular viewers (.pdb) and RMCProfile (.rmc6f).

PDFgui and RMCProfile know only periodic cells. A cluster stands in the middle of an empty cube, so large that no
distance within the fitted range leads to a periodic image: image atoms are farther away than the data reach, and half
the cube, as far as RMCProfile counts, is more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcpdf.errors import ConfigError
from hpcpdf.pdf.params import B_PER_U
from hpcpdf.reconstruct.solution import Candidate
from hpcpdf.report.structures import fitted_values, symbols_of

_MARGIN = 5.0
"""Å beyond the fitted range in which there is no image yet: more than any peak is wide."""
_PDB_REACH = 999.0
"""Å; the columns of a .pdb file hold no larger coordinate of both signs."""

Floats = NDArray[np.float64]


def write_stru(path: Path, candidate: Candidate) -> None:
    """Write the PDFfit format, which PDFgui and diffpy.structure read: cell, then six lines an atom.

    Scale, δ2 and U = Biso / 8π² are the fitted ones, coordinates are fractional, all standard deviations 0.
    """
    side, positions = _in_a_cube(candidate)
    u = candidate.biso / B_PER_U
    none = "".join(f"{0.0:19.8f}" for _ in range(3))
    own = "".join(f"{u:19.8f}" for _ in range(3))
    lines = [
        f"title  {candidate.family} cluster of {candidate.n_atoms} atoms in an empty cube",
        "format pdffit",
        f"scale  {candidate.scale:9.6f}",
        f"sharp  {candidate.delta2:9.6f}, {0.0:9.6f}, {1.0:9.6f}, {0.0:9.6f}",
        "spcgr   P1",
        f"cell   {side:9.6f}, {side:9.6f}, {side:9.6f}, {90.0:9.6f}, {90.0:9.6f}, {90.0:9.6f}",
        f"dcell  {', '.join([f'{0.0:9.6f}'] * 6)}",
        f"ncell  {1:9d}, {1:9d}, {1:9d}, {candidate.n_atoms:9d}",
        "atoms",
    ]
    for symbol, (x, y, z) in zip(symbols_of(candidate), (positions / side).tolist(), strict=True):
        lines.append(f"{symbol.upper():<4} {x:17.10f} {y:18.10f} {z:18.10f} {1.0:12.4f}")
        lines += [none + f"{0.0:13.4f}", own, none, none, none]
    _write(path, lines)


def write_pdb(path: Path, candidate: Candidate) -> None:
    """Write the columns of the Protein Data Bank: Å to three decimals, Biso as temperature factor.

    Raises
    ------
    ConfigError
        If a coordinate does not fit its column.
    """
    positions = candidate.atoms.positions
    if np.abs(positions).max() > _PDB_REACH:
        raise ConfigError(
            f"{path}: coordinates up to {np.abs(positions).max():.0f} Å do not fit the columns of a .pdb file; "
            "expected at most 999 Å; choose another of --formats"
        )
    lines = [f"TITLE     {candidate.family} cluster of {candidate.n_atoms} atoms"]
    lines += [f"REMARK   3 {name} = {value:.6g}" for name, value in fitted_values(candidate).items()]
    for number, (symbol, (x, y, z)) in enumerate(zip(symbols_of(candidate), positions.tolist(), strict=True), start=1):
        name = symbol.upper()
        # More than 99 999 atoms begin to count anew, as other programs do.
        lines.append(
            f"HETATM{number % 100000:5d} {name:>2}   {name:>3} A   1    {x:8.3f}{y:8.3f}{z:8.3f}"
            f"{1.0:6.2f}{min(candidate.biso, 999.0):6.2f}          {name:>2}"
        )
    _write(path, [*lines, "END"])


def write_rmc6f(path: Path, candidate: Candidate) -> None:
    """Write an RMCProfile configuration (version 6f): fractional coordinates in one cell, atoms by element."""
    side, positions = _in_a_cube(candidate)
    symbols = symbols_of(candidate)
    kinds = sorted(set(symbols))
    order = sorted(range(len(symbols)), key=lambda i: symbols[i])
    lines = [
        "(Version 6f format configuration file)",
        f"Metadata comment: {candidate.family} cluster in an empty cube, R_w {candidate.rw:.5f}",
        f"Number of types of atoms:   {len(kinds)}",
        f"Atom types present:         {' '.join(kinds)}",
        f"Number of each atom type:   {' '.join(str(symbols.count(kind)) for kind in kinds)}",
        *(f"Number of moves {what + ':':<12}         0" for what in ("generated", "tried", "accepted")),
        "Number of prior configuration saves: 0",
        f"Number of atoms:            {len(symbols)}",
        "Supercell dimensions:       1 1 1",
        f"Number density (Ang^-3):    {len(symbols) / side**3:.10f}",
        f"Cell (Ang/deg): {side:.6f} {side:.6f} {side:.6f} 90.000000 90.000000 90.000000",
        "Lattice vectors (Ang):",
        *(" ".join(f"{side if i == k else 0.0:15.6f}" for k in range(3)) for i in range(3)),
        "Atoms:",
    ]
    for number, i in enumerate(order, start=1):
        x, y, z = (positions[i] / side).tolist()
        lines.append(f"{number:6d} {symbols[i]:>4} [1] {x:15.10f} {y:15.10f} {z:15.10f} {number:6d} 0 0 0")
    _write(path, lines)


FORMATS: dict[str, Callable[[Path, Candidate], None]] = {
    "stru": write_stru,
    "pdb": write_pdb,
    "rmc6f": write_rmc6f,
}
"""Writers by the ending of their files; .xyz and .cif are always written."""


def chosen_formats(names: str | Sequence[str]) -> tuple[str, ...]:
    """Names of formats, each once, from a list of them or text such as ``stru,pdb``.

    Raises
    ------
    ConfigError
        If one is unknown.
    """
    given = names.split(",") if isinstance(names, str) else names
    chosen = dict.fromkeys(name.strip().lstrip(".").lower() for name in given)
    unknown = [name for name in chosen if name and name not in FORMATS]
    if unknown:
        raise ConfigError(f"--formats {unknown[0]}: expected any of {', '.join(FORMATS)}, with commas between them")
    return tuple(name for name in chosen if name)


def _in_a_cube(candidate: Candidate) -> tuple[float, Floats]:
    """Edge of the empty cube, Å, and positions in it, (n, 3)."""
    positions = candidate.atoms.positions
    low, high = positions.min(axis=0), positions.max(axis=0)
    reach = float(candidate.r[-1]) + _MARGIN
    side = float(np.ceil(reach + max(reach, float((high - low).max()))))
    centred: Any = positions - 0.5 * (low + high) + 0.5 * side
    return side, np.asarray(centred, dtype=np.float64)


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
