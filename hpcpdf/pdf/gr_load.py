"""A text file as columns and header values: what files of G(r) and of F(Q) have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from hpcpdf.errors import ConfigError
from hpcpdf.pdf import gr_header
from hpcpdf.pdf.gr_columns import Columns, Floats, choose_columns
from hpcpdf.pdf.gr_table import read_table
from hpcpdf.pdf.gr_text import read_lines
from hpcpdf.pdf.gr_units import Unit
from hpcpdf.pdf.params import Radiation

_FARTHEST, _FARTHEST_NM = 150.0, 60.0
"""A qmax above this is none in 1/Å: no wavelength reaches it; in a file in nm, from the second on."""


@dataclass(frozen=True)
class Loaded:
    """What a text file holds.

    Attributes
    ----------
    columns : Columns
        In the units of the file.
    metadata : mapping
        Header values, as written.
    composition : str or None
    notes : tuple of str
        What was ignored or chosen.
    """

    columns: Columns
    metadata: Mapping[str, str]
    composition: str | None
    notes: tuple[str, ...]


def with_radiation(metadata: Mapping[str, str], radiation: Radiation | None) -> Mapping[str, str]:
    """Header values with another mode, where one is asked for."""
    if radiation is None:
        return metadata
    if radiation not in get_args(Radiation):
        raise ConfigError(f"radiation = {radiation!r}: expected one of {', '.join(get_args(Radiation))}")
    return {**metadata, "mode": radiation}


def load(path: Path, first: str, second: str, wanted: Sequence[str]) -> Loaded:
    """Read the text; `first` and `second` are what the columns should be, `wanted` what the curve may be called.

    Raises
    ------
    DataError
        If there is no table in it.
    """
    table = read_table(read_lines(path), path, first, second)
    columns = choose_columns(table, wanted, path)
    # What stands among and below the numbers counts where the header does not say it.
    metadata = gr_header.parse([*table.header, *table.remarks])
    composition = metadata.get("composition") or gr_header.composition_table(table.header)
    return Loaded(columns, metadata, composition, (*table.notes, *columns.notes))


def usable_errors(column: Floats | None, notes: list[str]) -> Floats | None:
    """The column of standard deviations, when they are some."""
    if column is None:
        return None
    with np.errstate(invalid="ignore"):
        good = np.all(np.isfinite(column)) and np.all(column > 0.0) and 1e-100 < column.min() <= column.max() < 1e100
    if not good:
        notes.append("the error column holds values that are no errors (zero, negative or NaN): ignored")
        return None
    return column


def q_range(metadata: Mapping[str, str], length: float, notes: list[str]) -> tuple[float | None, float | None]:
    """qmin and qmax of a header in 1/Å, None where it states none that can be used.

    Parameters
    ----------
    metadata
        Header values.
    length
        Unit of the columns, Å.
    notes
        Receives what was ignored or assumed.
    """
    units = {name: gr_header.stated_unit(metadata, name) for name in ("qmin", "qmax")}
    # Both have the unit that one of them states.
    default = units["qmax"] or units["qmin"]
    bare = gr_header.number({"x": metadata.get("qmax", "")}, "x")
    limit = _FARTHEST_NM if length == 10.0 else _FARTHEST
    if default is None and bare is not None and limit < bare < 10.0 * _FARTHEST:
        default = Unit(10.0, -1)
        notes.append(f"the header says qmax = {bare:g} without a unit: taken for 1/nm, since nothing reaches it in 1/Å")
    qmin, qmax = (gr_header.number(metadata, name, default) for name in ("qmin", "qmax"))
    if qmax is not None and not 0.0 < qmax <= 10.0 * _FARTHEST:
        notes.append(f"the header says qmax = {qmax:g}: ignored")
        qmax = None
    if qmin is not None and (qmin < 0.0 or qmin > _FARTHEST or (qmax is not None and qmin >= qmax)):
        notes.append(f"the header says qmin = {qmin:g}: ignored")
        qmin = None
    return qmin, qmax


def lorch_note(qmax: float) -> str:
    """What a Lorch window up to `qmax` (1/Å) means for what is fitted: sin(x)/x is about exp(−x²/6), x = πQ/qmax."""
    return (
        "G(r) was damped by a Lorch window, which simulated PDFs do not have: Biso comes out about "
        f"{8.0 * math.pi**4 / (6.0 * qmax**2):.2g} Å² too large, and R_w higher than without it"
    )
