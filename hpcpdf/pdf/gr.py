"""Measured pair distribution functions: reading and writing ``.gr`` files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcpdf.errors import DataError
from hpcpdf.pdf import gr_header
from hpcpdf.stage import atomic_path

MIN_POINTS = 10
"""Fewest points that are taken for a PDF."""

_DATA_MARK = re.compile(r"^\s*#+\s*start data\b", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?$|[+-]?(?:nan|inf(?:inity)?)$", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?$")
_BLOCK = 3
"""So many consecutive rows of numbers begin the data when no mark says where they begin."""


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
    def radiation(self) -> Literal["xray", "neutron"]:
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


def read_gr(path: str | Path) -> MeasuredPdf:
    """Read a ``.gr`` file of PDFgetX3, xPDFsuite, PDFgetX2, PDFgetN or bare columns.

    Two columns are r and G, three r, G, dG, four r, G, dr, dG. Where the header contradicts the data
    (for example its ``rmax``), the data are believed. Columns may be divided by blanks, tabs, commas or semicolons.

    Parameters
    ----------
    path
        Text file.

    Returns
    -------
    MeasuredPdf

    Raises
    ------
    DataError
        In one line with the file and the cause: missing, a folder, empty, binary, no numbers, text among the numbers,
        NaN, unsorted or repeated r, negative r, one column, fewer than 10 points, or not a G(r).
    """
    path = Path(path)
    lines = _text(path).splitlines()
    begin = _first_row(lines, path)
    header = lines[:begin]
    label = gr_header.column_label(header)
    if label is not None and re.match(r"q\b|2?theta\b|two", label, re.IGNORECASE):
        raise DataError(f"{path}: the first column is {label.split()[0]}, not r; expected a G(r) file (.gr)")
    table = _table(lines, begin, path)
    r, g = table[:, 0], table[:, 1]
    if abs(r[0]) < 1e-9:
        r[0] = 0.0
    notes: list[str] = []
    dg = _errors(table, notes)
    metadata = gr_header.parse(header)
    qmin, qmax = _q_range(metadata, notes)
    stated = gr_header.number(metadata, "rmax")
    if stated is not None and not r[-1] - 1.0 <= stated <= r[-1] + 1.0:
        notes.append(f"the header says rmax = {stated:g} but the data end at {r[-1]:g} Å: the data are used")
    composition = metadata.get("composition") or gr_header.composition_table(header)
    return MeasuredPdf(r, g, dg, qmin, qmax, composition, metadata, str(path), tuple(notes))


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


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, expected a .gr file") from None
    except PermissionError:
        raise DataError(f"{path}: no permission to read it") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if not raw.strip():
        raise DataError(f"{path}: is empty")
    try:
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            return raw.decode("utf-16")
        # A text of any encoding read here has no control characters but tab, line feed, form feed and return.
        if any(byte < 9 or 14 <= byte < 32 for byte in raw[:4096]):
            raise DataError(f"{path}: is a binary file, expected columns of numbers as text")
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _cells(line: str) -> list[str]:
    return re.split(r"[\s,;]+", line.strip().rstrip(",;"))


def _is_row(line: str) -> bool:
    cells = _cells(line)
    return len(cells) >= 2 and all(_NUMBER.match(cell) for cell in cells[:2])


def _first_row(lines: list[str], path: Path) -> int:
    """Index of the first line of data."""
    marks = [i for i, line in enumerate(lines) if _DATA_MARK.match(line)]
    if marks:
        for i in range(marks[-1] + 1, len(lines)):
            # A line of words alone names the columns.
            if not lines[i].lstrip().startswith("#") and any(_NUMBER.match(cell) for cell in _cells(lines[i])):
                return i
        raise DataError(f"{path}: no numbers after the line '{lines[marks[-1]].strip()}'")
    rows = [_is_row(line) for line in lines]
    for i in range(len(lines)):
        if rows[i] and all(rows[i : i + _BLOCK]):
            return i
    if any(_DECIMAL_COMMA.match(cell) for line in lines for cell in line.split()):
        raise DataError(f"{path}: numbers with a decimal comma; write them with a point")
    single = [line for line in lines if _NUMBER.match(line.strip())]
    if len(single) >= _BLOCK:
        raise DataError(f"{path}: one column of numbers, expected r and G(r)")
    raise DataError(f"{path}: no columns of numbers; expected r and G(r)")


def _table(lines: list[str], begin: int, path: Path) -> NDArray[np.float64]:
    """The numbers from line `begin` on, (R, columns)."""
    rows: list[list[float]] = []
    for i in range(begin, len(lines)):
        line = lines[i].split("#")[0].strip()
        if not line:
            continue
        if any(_DECIMAL_COMMA.match(cell) for cell in line.split()) and len(line.split()) > 1:
            raise DataError(f"{path}: line {i + 1} has a decimal comma; write numbers with a point")
        cells = _cells(line)
        try:
            rows.append([float(cell.replace("D", "e").replace("d", "e")) for cell in cells])
        except ValueError:
            text = next(cell for cell in cells if not _NUMBER.match(cell))
            raise DataError(f"{path}: line {i + 1} has {text[:20]!r} where a number should be") from None
        if len(cells) < 2:
            raise DataError(f"{path}: line {i + 1} has one column, expected r and G(r)")
        if len(cells) != len(rows[0]):
            raise DataError(f"{path}: line {i + 1} has {len(cells)} columns, the lines above have {len(rows[0])}")
    if len(rows) < MIN_POINTS:
        raise DataError(f"{path}: {len(rows)} points, expected at least {MIN_POINTS}")
    return np.array(rows)


def _errors(table: NDArray[np.float64], notes: list[str]) -> NDArray[np.float64] | None:
    """The column of standard deviations, when there is a usable one."""
    columns = table.shape[1]
    if columns == 2:
        return None
    if columns > 4:
        notes.append(f"{columns} columns: the first two are used")
        return None
    dg = table[:, 2 if columns == 3 else 3]
    if not np.all(np.isfinite(dg)) or np.any(dg <= 0.0):
        notes.append("the error column holds values that are no errors (zero, negative or NaN): ignored")
        return None
    return dg


def _q_range(metadata: Mapping[str, str], notes: list[str]) -> tuple[float | None, float | None]:
    qmin, qmax = gr_header.number(metadata, "qmin"), gr_header.number(metadata, "qmax")
    if qmax is not None and qmax <= 0.0:
        notes.append(f"the header says qmax = {qmax:g}: ignored")
        qmax = None
    if qmin is not None and (qmin < 0.0 or (qmax is not None and qmin >= qmax)):
        notes.append(f"the header says qmin = {qmin:g}: ignored")
        qmin = None
    return qmin, qmax
