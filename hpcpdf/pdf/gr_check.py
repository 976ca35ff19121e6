"""What is no G(r), though it is a table of two columns, and numbers that arithmetic cannot use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hpcpdf.errors import DataError
from hpcpdf.pdf.gr_columns import Columns

Floats = NDArray[np.float64]

LEAST, MOST = 1e-10, 1e10
"""Between these lies the largest |G| of anything that is a PDF in Å⁻², whatever its scale; squares of other numbers,
and what is computed from these, leave the range of numbers."""
_LONGEST, _SHORTEST = 1e5, 3.0
"""Ends of r, Å; before the shorter one no second neighbour is seen."""

_PATTERN = "a diffraction pattern is no PDF: make G(r) of it first (PDFgetX3, GudrunX, …)"
_FIRST = {
    "Q": "functions of Q are read by hpcpdf.read_fq, F(Q) and S(Q) from files called .fq and .sq",
    "2θ": _PATTERN,
    "d": _PATTERN,
    "time of flight": _PATTERN,
    "energy": _PATTERN,
}
_SECOND = {
    "g(r)": "G(r) = 4 π ρ r (g(r) − 1) with ρ atoms per Å³; convert it, or name the column G(r) if it is that",
    "T(r)": "G(r) = T(r) − 4 π ρ r with ρ atoms per Å³; convert it",
    "R(r)": "G(r) = R(r)/r − 4 π ρ r with ρ atoms per Å³; convert it",
    "I(Q)": _PATTERN,
    "S(Q)": "call the file .sq; it is transformed then",
    "F(Q)": "call the file .fq; it is transformed then",
}
_EXTENSIONS = {
    ".chi": _PATTERN,
    ".xye": _PATTERN,
    ".iq": _PATTERN,
    ".fq": "hpcpdf.read_fq and hpcpdf.read_pdf transform F(Q)",
    ".sq": "hpcpdf.read_fq and hpcpdf.read_pdf transform S(Q)",
}


def check_names(path: str, suffix: str, columns: Columns) -> list[str]:
    """Refuse columns that are called something other than r and G(r); notes on names that are close.

    Raises
    ------
    DataError
        Naming the quantity and what to do.
    """
    x, y = columns.x_label, columns.y_label
    if x is not None and x.quantity in _FIRST:
        what = _PATTERN if y is not None and y.quantity == "I(Q)" else _FIRST[x.quantity]
        beside = "" if y is None or y.quantity in ("", *_FIRST) else f", beside {y.quantity}"
        raise DataError(f"{path}: the first column is {x.quantity} ({x.text!r}){beside}, not r; {what}")
    quantity = "" if y is None else y.quantity
    if quantity == "D(r)":
        return ["D(r) is taken for G(r), from which it differs by a factor"]
    if quantity not in ("", "G(r)", "G or g"):
        what = _SECOND.get(quantity, "expected a column that is called G(r)")
        raise DataError(f"{path}: holds {quantity}, not G(r): {what}")
    if suffix in _EXTENSIONS and quantity != "G(r)":
        raise DataError(f"{path}: a {suffix} file holds no G(r): {_EXTENSIONS[suffix]}")
    return []


def check_values(path: str, r: Floats, g: Floats, quantity: str) -> None:
    """Refuse numbers that cannot be a G(r) in Å⁻², told by themselves.

    G(r) is a sine transform: it is 0 at the origin, oscillates about a line through it and about 0 in the end. Curves
    that stay above 0 everywhere and do not decay are patterns, or other functions of r.

    Raises
    ------
    DataError
    """
    if r[0] >= 0.0 and not _SHORTEST < r[-1] < _LONGEST:
        raise DataError(
            f"{path}: r ends at {r[-1]:.3g} Å; expected some 10 to 100 Å; name its unit in the header, as in 'r (nm)'"
        )
    step = float(np.median(np.diff(r)))
    if step >= 1.0 and np.all(r == np.round(r)):
        raise DataError(
            f"{path}: the first column counts in steps of {step:g}: an index? Expected r in Å, in steps of 0.01 to "
            "0.1 Å"
        )
    inside = g[r > 0.0]
    tail = g[-max(3, g.size // 5) :]
    # No atoms are nearer than 1.5 Å: there, G(r) of a particle without a density around it is 0 but for ripples.
    stays = np.count_nonzero((r > 0.0) & (r < 1.5)) >= 5 or np.all(inside == np.round(inside))
    if np.all(inside > 0.0) and (stays or np.median(tail) > 0.02 * inside.max()):
        raise DataError(
            f"{path}: the curve lies above 0 everywhere ({inside.min():.4g} to {inside.max():.4g}); "
            "G(r) oscillates about 0. Is it a diffraction pattern, or g(r), T(r) or R(r)? Convert it to G(r) first"
        )
    if quantity != "G(r)" and g.min() > -0.5 and abs(tail.mean() - 1.0) < 0.03 and tail.std() < 0.5:
        raise DataError(
            f"{path}: the curve tends to 1 (mean of the last fifth {tail.mean():.3f}) as g(r) does; G(r) tends to 0. "
            "G(r) = 4 π ρ r (g(r) − 1) with ρ atoms per Å³; convert it, or name the column G(r) if it is that"
        )
