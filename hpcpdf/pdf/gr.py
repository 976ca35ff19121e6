"""Measured pair distribution functions: reading and writing ``.gr`` files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcpdf.errors import DataError
from hpcpdf.pdf import gr_header
from hpcpdf.pdf.gr_check import LEAST, MOST, check_names, check_values
from hpcpdf.pdf.gr_load import load, lorch_note, q_range, usable_errors, with_radiation
from hpcpdf.pdf.gr_table import MIN_POINTS
from hpcpdf.pdf.params import Radiation
from hpcpdf.stage import atomic_path


@dataclass(frozen=True, eq=False)
class MeasuredPdf:
    """A reduced pair distribution function G(r) and what its header says.

    Parameters
    ----------
    r : (R,) array
        Distances in Å, ascending, none negative.
    g : (R,) array
        G(r) in Å⁻².
    dg : (R,) array or None
        Standard deviation of `g`, Å⁻².
    qmin, qmax : float or None
        Range of the transform in Å⁻¹; None when not stated.
    composition : str or None
        As written in the header, for example ``Au144 S60 C180``.
    metadata : mapping
        Every ``key = value`` of the header, keys in lower case.
    source : str
        Where it came from, for messages.
    notes : tuple of str
        What the reader ignored or corrected.

    Raises
    ------
    DataError
        If the arrays are not one PDF: shapes, order, NaN, negative r, fewer than 10 points, G = 0 throughout.
    """

    r: NDArray[np.float64]
    g: NDArray[np.float64]
    dg: NDArray[np.float64] | None = None
    qmin: float | None = None
    qmax: float | None = None
    composition: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    source: str = "PDF"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        r, g = _vector(self.r, "r", self.source), _vector(self.g, "G", self.source)
        if r.shape != g.shape:
            raise DataError(f"{self.source}: r has {r.size} values but G has {g.size}")
        _check_grid(r, g, self.source)
        dg = None if self.dg is None else _vector(self.dg, "dG", self.source)
        if dg is not None and dg.shape != r.shape:
            raise DataError(f"{self.source}: r has {r.size} values but dG has {dg.size}")
        if self.qmax is not None and not self.qmax > (self.qmin or 0.0):
            raise DataError(f"{self.source}: qmax = {self.qmax:g} is not above qmin = {self.qmin or 0.0:g}")
        for array in (r, g, dg):
            if array is not None:
                array.flags.writeable = False
        for name, value in (("r", r), ("g", g), ("dg", dg), ("metadata", MappingProxyType(dict(self.metadata)))):
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        # What cannot be written to is not pickled as it is: another process makes the PDF anew.
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return _remade, ({**values, "metadata": dict(self.metadata)},)

    @property
    def elements(self) -> dict[str, float]:
        """Atoms of each element in `composition`; empty when there is none, or it is not a formula."""
        return gr_header.parse_formula(self.composition or "")

    @property
    def radiation(self) -> Radiation:
        """``neutron`` when the header says so, else ``xray``."""
        return "neutron" if self.metadata.get("mode", "").lower().startswith("n") else "xray"

    @property
    def rstep(self) -> float:
        """Median step of `r`, Å."""
        return float(np.median(np.diff(self.r)))

    def parameter(self, name: str) -> float | None:
        """A header value as a number, such as ``qdamp``; None when absent or not a number."""
        return gr_header.number(self.metadata, name)

    def between(self, low: float, high: float) -> MeasuredPdf:
        """The part with ``low <= r <= high`` (Å).

        Raises
        ------
        DataError
            If that part holds fewer than 10 points.
        """
        slack = 1e-6 * self.rstep
        keep = (self.r >= low - slack) & (self.r <= high + slack)
        if np.count_nonzero(keep) < MIN_POINTS:
            raise DataError(
                f"{self.source}: {np.count_nonzero(keep)} points between {low:g} and {high:g} Å; the data cover "
                f"{self.r[0]:g} to {self.r[-1]:g} Å in steps of {self.rstep:g}; choose another r range"
            )
        return MeasuredPdf(
            self.r[keep],
            self.g[keep],
            None if self.dg is None else self.dg[keep],
            self.qmin,
            self.qmax,
            self.composition,
            self.metadata,
            self.source,
            self.notes,
        )

    def on_grid(self, r: ArrayLike) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """G on another grid by cubic splines (G is smooth: it holds no wave beyond qmax), zero outside the data.

        Parameters
        ----------
        r : (M,) array
            Å, ascending.

        Returns
        -------
        g : (M,) array
            Å⁻².
        notes : tuple of str
            Says which range was filled with zeros, if any.
        """
        from scipy.interpolate import CubicSpline

        wanted = np.asarray(r, dtype=np.float64)
        slack = 1e-6 * self.rstep
        inside = (wanted >= self.r[0] - slack) & (wanted <= self.r[-1] + slack)
        g = np.zeros_like(wanted)
        g[inside] = CubicSpline(self.r, self.g)(np.clip(wanted[inside], self.r[0], self.r[-1]))
        notes = []
        if wanted.size and wanted[0] < self.r[0] - slack and self.r[0] > 1.0:
            notes.append(f"no data below {self.r[0]:g} Å: taken as 0")
        if wanted.size and wanted[-1] > self.r[-1] + slack:
            notes.append(f"no data above {self.r[-1]:g} Å: taken as 0 up to {wanted[-1]:g} Å")
        return g, tuple(notes)


def read_gr(path: str | Path, *, radiation: Radiation | None = None) -> MeasuredPdf:
    """Read a ``.gr`` file of PDFgetX3, xPDFsuite, PDFgetX2, PDFgetN, PDFgui or other columns of text.

    Names above the columns decide which is r, G and dG, and in which unit; a curve called observed is taken before one
    called calculated. Without names, two columns are r and G, three r, G, dG, four r, G, dr, dG; a column that numbers
    the rows is passed over. Where the header contradicts the data (for example its ``rmax``), the data are believed.
    Columns may be divided by blanks, tabs, commas or semicolons, decimals by points or, where that is clear, by commas.
    docs/files.md lists every accepted form.

    Parameters
    ----------
    path
        Text file.
    radiation
        What the PDF was measured with; None: what the header says, or x-rays.

    Returns
    -------
    MeasuredPdf
        In Å and Å⁻².

    Raises
    ------
    DataError
        In one line with the file and the cause: missing, a folder, empty, binary, no numbers, text among the numbers,
        broken rows, ambiguous commas, NaN, unsorted or repeated r, negative r, one column, fewer than 10 points,
        numbers too large or too small to compute with, or another quantity than G(r).
    """
    path = Path(path)
    text = load(path, "r", "G(r)", ("G(r)", "G or g", "D(r)"))
    columns, notes = text.columns, list(text.notes)
    notes += check_names(str(path), path.suffix.lower(), columns)
    if path.suffix.lower() == ".fgr" and not columns.named and columns.n_curves > 1:
        raise DataError(f"{path}: a file of a fit without names of columns; name them: '#L r Gcalc Gobs'")
    x, y = columns.x_label, columns.y_label
    length = 1.0 if x is None or x.unit is None else x.unit.length
    # Where the unit of G is not named, it is that of r.
    height = (length if y is None or y.unit is None else y.unit.length) ** -2
    with np.errstate(over="ignore", under="ignore"):
        r, g = columns.x * length, columns.y * height
        dg = None if columns.error is None else columns.error * height
    if length != 1.0:
        notes.append(f"r is in units of {length:g} Å: converted")
        # 0.295 nm is 2.95 Å, not 2.9499999999999997.
        r = np.array([float(f"{value:.14g}") for value in r])
    if abs(r[0]) < 1e-9:
        r[0] = 0.0
    stated = gr_header.number(text.metadata, "rmax", None if x is None else x.unit)
    if stated is not None and not r[-1] - 1.0 <= stated <= r[-1] + 1.0:
        notes.append(f"the header says rmax = {stated:g} but the data end at {r[-1]:g} Å: the data are used")
    qmin, qmax = q_range(text.metadata, length, notes)
    if qmax is not None and text.metadata.get("lorch", "").lower() in ("true", "yes", "on", "1"):
        notes.append(lorch_note(qmax))
    pdf = MeasuredPdf(
        r,
        g,
        usable_errors(dg, notes),
        qmin,
        qmax,
        text.composition,
        with_radiation(text.metadata, radiation),
        str(path),
        tuple(notes),
    )
    check_values(str(path), pdf.r, pdf.g, "" if y is None else y.quantity)
    return pdf


def write_gr(path: str | Path, pdf: MeasuredPdf, *, comment: str = "") -> None:
    """Write a ``.gr`` file that `read_gr` and other PDF programs read; nothing half written is left behind.

    Parameters
    ----------
    path
        Destination; replaced when it exists.
    pdf
        What to write. Its metadata go to the header, one ``key = value`` a line.
    comment
        Free text for the top of the file.
    """
    header = dict(pdf.metadata)
    for key, value in (("composition", pdf.composition), ("qmin", pdf.qmin), ("qmax", pdf.qmax)):
        if value is not None:
            header[key] = value if isinstance(value, str) else f"{value:.10g}"
    lines = [f"# {text}" for text in comment.splitlines()]
    lines += ["[DEFAULT]", *(f"{key} = {value}" for key, value in header.items()), ""]
    lines += ["#### start data", "#L r(Å)  G(Å$^{-2}$)" + ("" if pdf.dg is None else "  dG(Å$^{-2}$)")]
    columns = [pdf.r, pdf.g] if pdf.dg is None else [pdf.r, pdf.g, pdf.dg]
    # Seven digits as other programs write, but never so few that two values of r become one.
    digits = max(7, int(np.ceil(np.log10(pdf.r[-1] / np.min(np.diff(pdf.r))))) + 3)
    lines += [
        f"{row[0]:.{digits}g} " + " ".join(f"{value:.7g}" for value in row[1:])
        for row in zip(*(column.tolist() for column in columns), strict=True)
    ]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _remade(values: dict[str, Any]) -> MeasuredPdf:
    return MeasuredPdf(**values)


def _vector(values: ArrayLike, name: str, source: str) -> NDArray[np.float64]:
    array = np.array(values, dtype=np.float64)
    if array.ndim != 1:
        raise DataError(f"{source}: {name} has shape {array.shape}, expected one dimension")
    return array


def _check_grid(r: NDArray[np.float64], g: NDArray[np.float64], source: str) -> None:
    if r.size < MIN_POINTS:
        raise DataError(f"{source}: {r.size} points, expected at least {MIN_POINTS}")
    for name, values in (("r", r), ("G", g)):
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise DataError(
                f"{source}: {name} is not a finite number in {bad.size} rows, first at point {bad[0] + 1}"
                + (f" (r = {r[bad[0]]:g} Å)" if name == "G" else "")
            )
    if r[0] < 0.0 or r.min() < 0.0:
        raise DataError(f"{source}: negative r ({r.min():g} Å); expected distances from 0 upwards")
    step = np.diff(r)
    worst = np.flatnonzero(step <= 0.0)
    if worst.size:
        i = int(worst[0])
        what = "repeated" if step[i] == 0.0 else "not ascending"
        raise DataError(f"{source}: r is {what} at point {i + 2} ({r[i]:g} then {r[i + 1]:g} Å); sort the rows by r")
    if not np.any(g):
        raise DataError(f"{source}: G is 0 throughout")
    largest = float(np.abs(g).max())
    if not LEAST <= largest <= MOST:
        raise DataError(
            f"{source}: the largest |G| is {largest:.3g} Å⁻², which cannot be computed with; expected some 0.1 to 100 "
            "Å⁻²: check the unit and the file"
        )
