"""F(Q) = Q [S(Q) − 1] and S(Q) as measured: reading, and the sine transform to G(r) with a stated range of Q."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcpdf.errors import ConfigError, DataError
from hpcpdf.pdf.gr import MeasuredPdf, read_gr
from hpcpdf.pdf.gr_load import Loaded, load, lorch_note, q_range, usable_errors, with_radiation
from hpcpdf.pdf.gr_table import MIN_POINTS
from hpcpdf.pdf.params import Radiation

Floats = NDArray[np.float64]

ENDINGS = (".gr", ".fq", ".sq")
"""Of files that are taken from a folder."""

_BY_SUFFIX = {".fq": "F(Q)", ".sq": "S(Q)"}
_WANTED = ("F(Q)", "S(Q)", "S(Q)-1")
_FARTHEST = 150.0
"""1/Å; no wavelength reaches beyond."""
_NEAREST = 10.0
"""Å; G(r) that ends before says nothing of a particle."""
_ROWS = 256


def transform_fq(
    q: ArrayLike,
    f: ArrayLike,
    r: ArrayLike,
    *,
    qmin: float,
    qmax: float,
    lorch: bool = False,
    df: ArrayLike | None = None,
) -> tuple[Floats, Floats | None]:
    """G(r) = (2/π) Σ ΔQ F(Q) sin(Q r) over the points qmin <= Q < qmax, the sum that simulated PDFs are made by.

    Parameters
    ----------
    q, f : (K,) arrays
        Q in 1/Å, ascending, and F(Q) = Q [S(Q) − 1] in 1/Å. A point stands for the half ways to its neighbours.
    r : (R,) array
        Å.
    qmin, qmax
        1/Å.
    lorch
        Multiply F(Q) by sin(πQ/qmax) / (πQ/qmax): E. Lorch, J. Phys. C 2 (1969) 229.
    df : (K,) array or None
        Standard deviations of `f`, independent of one another.

    Returns
    -------
    g : (R,) array
        Å⁻².
    dg : (R,) array or None
        Standard deviations that follow from `df`.
    """
    q, f, r = (np.asarray(values, dtype=np.float64) for values in (q, f, r))
    width = _widths(q)
    # What a printed Q is rounded by decides nothing.
    slack = 1e-6 * float(np.median(width))
    kept = (q >= qmin - slack) & (q < qmax - slack)
    q, height = q[kept], (2.0 / np.pi) * width[kept]
    if lorch:
        height = height * np.sinc(q / qmax)
    g, variance = np.empty_like(r), np.empty_like(r)
    weighted = height * f[kept]
    spread = None if df is None else (height * np.asarray(df, dtype=np.float64)[kept]) ** 2
    for begin in range(0, r.size, _ROWS):
        rows = slice(begin, begin + _ROWS)
        sine = np.sin(np.outer(r[rows], q))
        g[rows] = sine @ weighted
        if spread is not None:
            variance[rows] = sine**2 @ spread
    return g, None if spread is None else np.sqrt(variance)


def read_fq(
    path: str | Path,
    *,
    qmin: float | None = None,
    qmax: float | None = None,
    lorch: bool = False,
    rmax: float = 50.0,
    rstep: float = 0.01,
    radiation: Radiation | None = None,
) -> MeasuredPdf:
    """Read F(Q) or S(Q) and transform it to G(r).

    The name of the column says whether it is F(Q), S(Q) or S(Q) − 1; without one, the file's: ``.fq`` or ``.sq``. All
    else about such files is as for `hpcpdf.read_gr`. F(Q) is Q [S(Q) − 1], as in PDFgetX3.

    Parameters
    ----------
    path
        Text file.
    qmin, qmax
        Range of the transform, 1/Å. None: of the header, or of the data.
    lorch
        Damp F(Q) by Lorch's window. Peaks get wider and ripples vanish; simulated PDFs know no such window, so that a
        fit takes it for a larger Biso, by 8π⁴ / (6 qmax²), and cannot become as good. A note says so.
    rmax, rstep
        Grid of r from 0, Å; `rmax` is lowered to π/ΔQ, beyond which points of Q so far apart say nothing.
    radiation
        As for `hpcpdf.read_gr`.

    Returns
    -------
    MeasuredPdf
        With the qmin and qmax of the transform; notes say where they are from.

    Raises
    ------
    ConfigError
        If a range is none.
    DataError
        In one line with the file and the cause: all that `hpcpdf.read_gr` names, another quantity, data that do not
        reach from qmin to qmax, or Q in steps too coarse for a G(r).
    """
    path = Path(path)
    text = load(path, "Q", "F(Q) or S(Q)", _WANTED)
    curve = _Curve.of(text, path)
    for name, value in (("rmax", rmax), ("rstep", rstep)):
        if not value > 0.0:
            raise ConfigError(f"{name} = {value:g}: expected a value above 0 Å")
    notes = [*text.notes, *curve.notes]
    low, high = _limits(curve, text, qmin, qmax, notes, path)
    farthest = math.pi / float(_widths(curve.q).max())
    if farthest < _NEAREST:
        raise DataError(
            f"{path}: Q in steps of {math.pi / farthest:.3g} 1/Å gives G(r) up to {farthest:.3g} Å only; expected "
            "steps of 0.05 1/Å or finer"
        )
    if farthest < rmax:
        notes.append(f"G(r) ends at {farthest:.3g} Å = π/ΔQ")
    r: Floats = np.round(np.arange(math.floor(min(rmax, farthest) / rstep + 1e-9) + 1) * rstep, 10)
    g, dg = transform_fq(curve.q, curve.f, r, qmin=low, qmax=high, lorch=lorch, df=curve.df)
    metadata = {**with_radiation(text.metadata, radiation), "qmin": f"{low:.10g}", "qmax": f"{high:.10g}"}
    metadata.pop("rmax", None)
    if lorch:
        metadata["lorch"] = "true"
        notes.append(lorch_note(high))
    # G(0) = 0 has no error; an error of 0 would be none.
    usable = None if dg is None or not np.all(dg[1:] > 0.0) else np.concatenate([dg[1:2], dg[1:]])
    return MeasuredPdf(r, g, usable, low, high, text.composition, metadata, str(path), tuple(notes))


def read_pdf(
    path: str | Path,
    *,
    qmin: float | None = None,
    qmax: float | None = None,
    lorch: bool = False,
    radiation: Radiation | None = None,
) -> MeasuredPdf:
    """Read a file of G(r), F(Q) or S(Q), told by its name and by the names of its columns.

    Parameters
    ----------
    path
        Text file.
    qmin, qmax
        1/Å. For F(Q) and S(Q) the range of the transform to be made. A G(r) has been transformed: for it, they state
        what its header leaves out.
    lorch
        For F(Q) and S(Q): see `read_fq`.
    radiation
        What it was measured with; None: what the header says, or x-rays.

    Raises
    ------
    ConfigError
        If an option does not fit to a G(r), or contradicts its header.
    DataError
        As `hpcpdf.read_gr` and `read_fq`.
    """
    path = Path(path)
    try:
        pdf = read_gr(path, radiation=radiation)
    except DataError:
        if path.suffix.lower() in _BY_SUFFIX or _is_of_q(path):
            return read_fq(path, qmin=qmin, qmax=qmax, lorch=lorch, radiation=radiation)
        raise
    if lorch:
        raise ConfigError(f"{path}: holds G(r), which a Lorch window comes too late for; give the file of F(Q) or S(Q)")
    stated: dict[str, Any] = {}
    for name, asked in (("qmin", qmin), ("qmax", qmax)):
        of_file = getattr(pdf, name)
        if asked is None:
            continue
        if of_file is not None and abs(of_file - asked) > 1e-6 * max(1.0, asked):
            raise ConfigError(
                f"{path}: its header says {name} = {of_file:g} 1/Å, {asked:g} was asked for; to change it, give the "
                "file of F(Q) or S(Q)"
            )
        stated[name] = asked
    return replace(pdf, **stated)


def _is_of_q(path: Path) -> bool:
    columns = load(path, "r", "G(r)", ("G(r)", *_WANTED)).columns
    x, y = columns.x_label, columns.y_label
    return x is not None and x.quantity == "Q" and y is not None and y.quantity in _WANTED


@dataclass(frozen=True)
class Reading:
    """Options of `read_pdf` that many files share."""

    qmin: float | None = None
    qmax: float | None = None
    lorch: bool = False
    radiation: Radiation | None = None

    def read(self, path: Path) -> MeasuredPdf:
        """Read a file."""
        return read_pdf(path, **self.stated())

    def stated(self) -> dict[str, Any]:
        """What is asked for, for the record."""
        return {name: value for name, value in asdict(self).items() if value is not None and value is not False}


@dataclass(frozen=True)
class _Curve:
    """F(Q) in 1/Å over Q in 1/Å."""

    q: Floats
    f: Floats
    df: Floats | None
    length: float
    """Unit of length of the file, Å."""
    notes: tuple[str, ...]

    @classmethod
    def of(cls, text: Loaded, path: Path) -> _Curve:
        columns = text.columns
        x, y = columns.x_label, columns.y_label
        if x is not None and x.quantity not in ("", "Q") and x.text.strip().lower() != "x":
            raise DataError(
                f"{path}: the first column is {x.quantity} ({x.text!r}), not Q; G(r) is read by hpcpdf.read_gr"
            )
        named = "" if y is None else y.quantity
        quantity = named or _BY_SUFFIX.get(path.suffix.lower(), "")
        if quantity not in _WANTED:
            raise DataError(
                f"{path}: holds {quantity or 'a curve without a name'}; expected F(Q) or S(Q): name the column, or "
                "call the file .fq or .sq"
            )
        length = 1.0 if x is None or x.unit is None else x.unit.length
        q = columns.x / length
        notes: list[str] = []
        if length != 1.0:
            notes.append(f"Q is in units of 1/({length:g} Å): converted")
        _check(q, columns.y, quantity, path)
        error = usable_errors(columns.error, notes)
        if quantity == "F(Q)":
            unit = length if y is None or y.unit is None else y.unit.length
            f, factor = columns.y / unit, np.full_like(q, 1.0 / unit)
        else:
            f, factor = q * (columns.y - (quantity == "S(Q)")), q
        return cls(q, f, None if error is None else factor * error, length, tuple(notes))


def _check(q: Floats, curve: Floats, quantity: str, path: Path) -> None:
    for name, values in (("Q", q), (quantity, curve)):
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise DataError(f"{path}: {name} is not a finite number in {bad.size} rows, first at point {bad[0] + 1}")
    if q[0] < 0.0:
        raise DataError(f"{path}: negative Q ({q[0]:g} 1/Å); expected Q from 0 upwards")
    worst = np.flatnonzero(np.diff(q) <= 0.0)
    if worst.size:
        i = int(worst[0])
        raise DataError(
            f"{path}: Q does not ascend at point {i + 2} ({q[i]:g} then {q[i + 1]:g} 1/Å); sort the rows by Q"
        )
    if q[-1] > _FARTHEST:
        raise DataError(
            f"{path}: Q ends at {q[-1]:g} 1/Å, which nothing reaches; name its unit in the header: 'Q (1/nm)'"
        )
    tail = curve[-max(3, q.size // 5) :]
    mean = float(np.mean(tail))
    if quantity == "S(Q)" and not 0.5 < mean < 1.5:
        raise DataError(
            f"{path}: S(Q) tends to 1, but the last fifth of this curve has the mean {mean:.3g}; is it S(Q) − 1 or "
            "F(Q)? Name the column so"
        )
    if quantity != "S(Q)" and np.all(curve[q > 0.0] > 0.0):
        raise DataError(
            f"{path}: {quantity} oscillates about 0, but this curve lies above 0 everywhere ({curve.min():.3g} to "
            f"{curve.max():.3g}); is it S(Q) or I(Q)? S(Q) is read when the column or the file (.sq) is called so"
        )


def _limits(
    curve: _Curve, text: Loaded, qmin: float | None, qmax: float | None, notes: list[str], path: Path
) -> tuple[float, float]:
    """qmin and qmax of the transform, 1/Å."""
    first, last = float(curve.q[0]), float(curve.q[-1])
    step = float(np.median(np.diff(curve.q)))
    of_header = q_range(text.metadata, curve.length, notes)
    limits = []
    for name, asked, stated, end in (("qmin", qmin, of_header[0], first), ("qmax", qmax, of_header[1], last)):
        if asked is not None:
            if not asked >= 0.0:
                raise ConfigError(f"{name} = {asked:g}: expected a value >= 0 1/Å")
            if not first - 1.5 * step <= asked <= last + 1.5 * step:
                raise DataError(f"{path}: {name} = {asked:g} 1/Å lies outside of the data, {first:g} to {last:g} 1/Å")
            limits.append(asked)
        elif stated is not None and first <= stated <= last + 1.5 * step:
            notes.append(f"{name} = {stated:g} 1/Å as the header says")
            limits.append(stated)
        else:
            notes.append(f"{name} = {end:g} 1/Å, the {'first' if name == 'qmin' else 'last'} Q of the data")
            limits.append(end)
    low, high = limits
    if not low < high:
        raise ConfigError(f"{path}: qmin = {low:g} is not below qmax = {high:g} 1/Å")
    inside = int(np.count_nonzero((curve.q >= low) & (curve.q < high)))
    if inside < MIN_POINTS:
        raise DataError(f"{path}: {inside} points from qmin = {low:g} to qmax = {high:g} 1/Å, expected {MIN_POINTS}")
    return low, high


def _widths(q: Floats) -> Floats:
    """What each point stands for, 1/Å."""
    step = np.diff(q)
    mean = float(q[-1] - q[0]) / step.size
    # An even grid as printed is an even grid.
    if np.all(np.abs(step - mean) < 0.02 * mean):
        return np.full_like(q, mean)
    return np.asarray(np.gradient(q), dtype=np.float64)
