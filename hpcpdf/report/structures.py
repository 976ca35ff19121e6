"""Candidates as files that crystallographic programs read."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np

from hpcpdf.reconstruct.solution import Candidate

VACUUM = 10.0
"""Å of empty space around a cluster in its .cif box, so that periodic images stay out of reach."""


def was_refined(candidate: Candidate) -> bool:
    """Whether its atoms were moved to follow the data."""
    return not math.isnan(candidate.rw_before_refine) and candidate.rw_before_refine != candidate.rw


def symbols_of(candidate: Candidate) -> list[str]:
    """Element of every atom."""
    return list(candidate.atoms.symbols)


def formula(candidate: Candidate) -> str:
    """Elements and their numbers, such as ``Pt79``."""
    counts = Counter(symbols_of(candidate))
    return "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in sorted(counts.items()))


def equivalent_name(one: Candidate) -> str:
    """What to call a structure that no PDF tells from a candidate."""
    if any("mirror image" in note for note in one.notes):
        return "mirror image"
    return f"{formula(one)} {one.family}, same distances"


def fitted_values(candidate: Candidate) -> dict[str, float]:
    """The fitted parameters of a candidate by name: biso Å², qdamp 1/Å, delta2 Å²."""
    names = ("rw", "pearson", "scale", "zoom", "biso", "qdamp", "delta2")
    return {name: float(getattr(candidate, name)) for name in names}


def write_xyz(path: Path, candidate: Candidate) -> None:
    """Write extended XYZ: coordinates in Å, the fitted values in the comment line.

    Where the certainty of the sites is known, it is a column `site_certainty`. ASE's writer is not used: importing it
    takes longer than all files of a solution do.
    """
    values = [f"{name}={round(value, 8)}" for name, value in fitted_values(candidate).items()]
    columns = [candidate.atoms.positions]
    properties = "species:S:1:pos:R:3"
    if candidate.site_certainty is not None:
        columns.append(candidate.site_certainty[:, None])
        properties += ":site_certainty:R:1"
    comment = [f"Properties={properties}", f"family={_quoted(candidate.family)}", *values, 'pbc="F F F"']
    rows = zip(symbols_of(candidate), np.hstack(columns).tolist(), strict=True)
    lines = [str(candidate.n_atoms), " ".join(comment)]
    lines += [f"{symbol:<2}" + "".join(f"{value:17.8f}" for value in row) for symbol, row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _quoted(text: str) -> str:
    """A value of a comment line, in quotes where it is more than one word."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return text if text and all(c.isalnum() or c in "_-" for c in text) else f'"{escaped}"'


def write_cif(path: Path, candidate: Candidate, *, title: str = "cluster") -> None:
    """Write the cluster in a P1 box with `VACUUM` Å around it and the fitted Biso on every atom.

    ASE's own writer states a Biso of 1 Å² whatever the structure, which a PDF program would take for a result.
    """
    symbols = symbols_of(candidate)
    positions = candidate.atoms.positions
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
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
