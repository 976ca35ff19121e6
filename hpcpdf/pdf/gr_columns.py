"""Which columns of a table are distance and observed curve, from their names, or else from the numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcpdf.errors import DataError
from hpcpdf.pdf.gr_labels import Label, read_label, split_labels
from hpcpdf.pdf.gr_table import Table
from hpcpdf.pdf.gr_units import Unit, parse_unit

Floats = NDArray[np.float64]

_UNITS = re.compile(
    r"^\s*[#%!]*\s*(?:(?:[rx]|length|distance)[\s_-]*)?units?(?: of [rx])?\s*[:=]\s*([^,;]+)", re.IGNORECASE
)
_NEAR = 3
"""So many lines above the numbers any words may be names."""
_AXES = 5
"""So many lines above the numbers may name axes, one each, as in .chi files."""


@dataclass(frozen=True)
class Columns:
    """A table read as one curve.

    Attributes
    ----------
    x, y : (R,) array
        First variable and curve, in the units of the file.
    error : (R,) array or None
        The column of its errors, whatever it holds.
    x_label, y_label : Label or None
        What they are called; None where nothing names them.
    named : bool
        Whether names were found for all columns.
    n_curves : int
        Columns that are neither index nor x.
    notes : tuple of str
    """

    x: Floats
    y: Floats
    error: Floats | None
    x_label: Label | None
    y_label: Label | None
    named: bool
    n_curves: int
    notes: tuple[str, ...]


def choose_columns(table: Table, wanted: Sequence[str], path: Path) -> Columns:
    """The first variable and the observed curve of a table.

    Parameters
    ----------
    table
        Numbers and header.
    wanted
        Quantities that the curve may be, such as ``("G(r)",)``: taken before others.
    path
        For messages.

    Raises
    ------
    DataError
        If the observed curve is named but not in every row.
    """
    values, notes = table.values, []
    labels = _labels(table)
    first = 0
    while values.shape[1] >= 3 and (_counts(values[:, 0], values[:, 1]) or (labels and labels[0].quantity == "index")):
        first += 1
        if labels and len(labels) > table.widest - first:
            labels = labels[1:]
            labels[:1] = [read_label(label.text, first=True) for label in labels[:1]]
        values = values[:, 1:]
    if labels:
        labels = [read_label(label.text, first=i == 0) for i, label in enumerate(labels)]
    named = len(labels) >= min(table.widest - first, 2)
    if not named:
        labels = _axis_lines(table.header)
    for label in labels[values.shape[1] :]:
        if label.part == "observed":
            raise DataError(f"{path}: not every row has the column {label.text!r}: complete the rows, or cut them off")
    y_index, y, how = _observed(labels, values, wanted)
    notes += how
    error = _error(labels if named else [], values, y_index, notes)
    return Columns(
        x=values[:, 0].copy(),
        y=y,
        error=error,
        x_label=_with_general_unit(labels[0] if labels else None, table.header),
        y_label=labels[y_index] if y_index < len(labels) else None,
        named=named,
        n_curves=values.shape[1] - 1,
        notes=tuple(notes),
    )


def _counts(column: Floats, following: Floats) -> bool:
    """Whether a column only numbers the rows: whole numbers in order, or one for all, beside a column that ascends."""
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.diff(column)
        return bool(
            np.all(np.isfinite(column))
            and np.all(column == np.round(column))
            and (np.all(steps > 0.0) or np.all(steps < 0.0) or not np.any(steps))
            and np.all(np.diff(following) > 0.0)
        )


def _labels(table: Table) -> list[Label]:
    """Names of the columns, when a line of the header holds them."""
    columns = table.widest
    marked = [line for line in table.header if re.match(r"\s*#\s*L\s", line)]
    candidates = marked[-1:] or [line for line in table.header if line.strip(" \t#%!/,;|")][::-1]
    units: list[Unit | None] = []
    for above, line in enumerate(candidates):
        names = split_labels(line, columns)
        if not marked and all(parse_unit(name) is not None for name in names) and len(names) >= 2:
            # A row of units below the names, as spreadsheets write them.
            units = [parse_unit(name) for name in names]
            continue
        labels = [read_label(name, first=i == 0) for i, name in enumerate(names)]
        if marked or _names_columns(labels, columns, near=above < _NEAR):
            for i, unit in enumerate(units[: len(labels)]):
                if labels[i].unit is None and unit is not None:
                    labels[i] = Label(f"{labels[i].text} ({names_of(unit)})", labels[i].quantity, labels[i].part, unit)
            return labels
    return []


def names_of(unit: Unit) -> str:
    """A unit in plain letters, which `parse_unit` reads."""
    name = {10.0: "nm", 0.01: "pm", 1e4: "um", 1e10: "m", 1.0: "A"}.get(unit.length, "bohr")
    return name if unit.power == 1 else f"{name}^{unit.power}"


def _names_columns(labels: Sequence[Label], columns: int, *, near: bool) -> bool:
    """Whether words above the numbers are names of columns and no sentence; less is believed when not `near` them."""
    if not 2 <= len(labels) <= columns:
        return False
    known = labels[1].quantity or labels[1].part != "plain"
    if (len(labels) < columns - 1 or not near) and not known:
        return False
    if any(re.search(r"[=:]", label.text) and "unnamed" not in label.text.lower() for label in labels):
        return False
    if labels[0].quantity == "index":
        second = read_label(labels[1].text, first=True).quantity
        return bool(second or (len(labels) == columns and (columns >= 3 or known)))
    return bool(labels[0].quantity)


def _axis_lines(header: Sequence[str]) -> list[Label]:
    """Names of the axes where each has a line of its own; at most two."""
    lines = [line.strip(" \t#%!") for line in header if line.strip(" \t#%!")][-_AXES:]
    for i, line in enumerate(lines):
        if "=" in line or re.match(r"[+-]?\d+$", line):
            continue
        x = read_label(line, first=True)
        if x.quantity in ("", "index") or (x.quantity == "2θ" and ":" in line):
            continue
        y = read_label(lines[i + 1], first=False) if i + 1 < len(lines) and "=" not in lines[i + 1] else None
        return [x] if y is None else [x, y]
    return []


def _with_general_unit(x: Label | None, header: Sequence[str]) -> Label | None:
    """The label of x with a unit stated for the whole file: ``# units: nm``."""
    if x is not None and x.unit is not None:
        return x
    for line in header:
        match = _UNITS.match(line)
        unit = parse_unit(match[1].split(" and ")[0]) if match else None
        if unit is not None and unit.power == 1:
            return Label("r" if x is None else x.text, "r" if x is None else x.quantity, "plain", unit)
    return x


def _observed(labels: Sequence[Label], values: Floats, wanted: Sequence[str]) -> tuple[int, Floats, list[str]]:
    """Column of the observed curve, the curve, and notes."""
    held = [(i, label) for i, label in enumerate(labels) if 1 <= i < values.shape[1]]

    def of(part: str) -> list[tuple[int, Label]]:
        found = [item for item in held if item[1].part == part]
        return sorted(found, key=lambda item: item[1].quantity not in wanted)

    observed, plain, calculated, difference = of("observed"), of("plain"), of("calculated"), of("difference")
    if observed:
        index, label = observed[0]
        return index, values[:, index].copy(), [f"column {label.text!r} is taken"] if calculated else []
    curves = plain or calculated
    if not curves:
        return 1, values[:, 1].copy(), []
    index, label = curves[0]
    # PDFgui saves the calculated curve as "G(r)", and what the observed one is above it as "Gdiff".
    if difference and not (plain and calculated):
        rest = difference[0][0]
        return (
            index,
            values[:, index] + values[:, rest],
            [f"a file of a fit: the observed curve is {label.text!r} + {labels[rest].text!r}"],
        )
    if calculated and plain:
        return index, values[:, index].copy(), [f"column {label.text!r} is taken, {calculated[0][1].text!r} is not"]
    notes = [f"{label.text!r} is a calculated curve: no observed one is beside it"] if calculated else []
    return index, values[:, index].copy(), notes


def _error(labels: Sequence[Label], values: Floats, y: int, notes: list[str]) -> Floats | None:
    """The column of errors: the one that is named so, or by position."""
    columns = values.shape[1]
    if any(label.part != "plain" or label.quantity for label in labels[2:]) or len(labels) > columns:
        named = [
            i
            for i, label in enumerate(labels)
            if 0 < i < columns and i != y and label.part == "error" and label.quantity != "error of r"
        ]
        return values[:, named[0]] if named else None
    if columns == 2 or y != 1:
        return None
    if columns > 4:
        notes.append(f"{columns} columns: the first two are used")
        return None
    column = values[:, 2 if columns == 3 else 3]
    return None if column.min() != column.max() and _counts(column, values[:, 0]) else column
