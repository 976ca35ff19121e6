"""Where the numbers of a text begin and end, how they are divided, and the table that they make."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcpdf.errors import DataError

MIN_POINTS = 10
"""Fewest points that are taken for a curve."""

_DATA_MARK = re.compile(r"^\s*#+\s*start data\b", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?$|[+-]?(?:nan|inf(?:inity)?)$", re.IGNORECASE)
_COMMA_NUMBER = re.compile(r"[+-]?(?:\d+,?\d*|,\d+)(?:[eEdD][+-]?\d+)?$|[+-]?nan$", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eEdD][+-]?\d+)?$")
_COUNTER = re.compile(r"[\[(]?[A-Za-z_]*(\d+)[\])]?[:.)]?$")
"""A number of a row that is written as a label: ``1:``, ``[1]``, ``2)``, ``row3``."""
_BLOCK = 3
"""So many rows of numbers are no accident."""


@dataclass(frozen=True)
class Table:
    """The numbers of a file and the text around them.

    Attributes
    ----------
    header : tuple of str
        Lines above the numbers.
    remarks : tuple of str
        Comments between the numbers and lines below them.
    values : (R, C) array
        The columns that every row has.
    widest : int
        Columns of the widest row.
    notes : tuple of str
    """

    header: tuple[str, ...]
    remarks: tuple[str, ...]
    values: NDArray[np.float64]
    widest: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Dialect:
    """How columns are divided and decimals marked.

    Attributes
    ----------
    comma : bool
        Whether the decimal mark is a comma. Then blanks, semicolons, bars, quotes and commas before a blank divide
        columns; otherwise commas do so too.
    """

    comma: bool

    def cells(self, line: str) -> list[str]:
        """The columns of a line."""
        line = line.strip()
        if self.comma:
            line = re.sub(r'(?<=")\s*,|,\s*(?=")', ";", line)
        line = line.replace('"', "").replace("'", "").strip(" \t,;|")
        return re.split(r"(?:[\s;|]|,(?=\s))+" if self.comma else r"[\s,;|]+", line)

    def is_number(self, cell: str) -> bool:
        """Whether a column holds a number."""
        return (_COMMA_NUMBER if self.comma else _NUMBER).match(cell) is not None

    def numbers(self, line: str) -> tuple[list[str], list[str]]:
        """Texts of the numbers that a row begins with, and the text behind them."""
        cells = self.cells(line)
        count = next((i for i, cell in enumerate(cells) if not self.is_number(cell)), len(cells))
        label = _COUNTER.match(cells[0]) if count == 0 else None
        if label and len(cells) >= 3 and all(self.is_number(cell) for cell in cells[1:]):
            return [label[1], *cells[1:]], []
        return cells[:count], cells[count:]

    def value(self, cell: str) -> float:
        """The number in a column."""
        if self.comma:
            cell = cell.replace(",", ".")
        return float(cell.replace("D", "e").replace("d", "e"))

    def is_row(self, line: str) -> bool:
        """Whether a line begins with two numbers."""
        return len(self.numbers(line)[0]) >= 2


def read_table(lines: Sequence[str], path: Path, first: str, second: str) -> Table:
    """The table of numbers in a text.

    Parameters
    ----------
    lines
        The text.
    path
        For messages.
    first, second
        What the two columns should be, for messages.

    Raises
    ------
    DataError
        Naming line and cause, if there is no table, or it is interrupted, cut off or ambiguous.
    """
    expected = f"expected {first} and {second}"
    dialect = _dialect(lines)
    begin = _first_row(lines, dialect, path, expected)
    rows: list[list[float]] = []
    at: list[int] = []
    remarks: list[str] = []
    notes: list[str] = []
    for i in range(begin, len(lines)):
        line, _, remark = lines[i].partition("#")
        remarks += [remark] if remark else []
        if not line.strip(" \t\f\v,;|"):
            continue
        if line.lstrip().startswith(("%", "!", "//")):
            remarks.append(line)
            continue
        if not dialect.comma and len(line.split()) > 1 and any(map(_DECIMAL_COMMA.match, line.split())):
            raise DataError(f"{path}: line {i + 1} has a decimal comma, others have points; write all with points")
        cells, rest = dialect.numbers(line)
        numbers = [dialect.value(cell) for cell in cells]
        if len(cells) < 2:
            text = (rest or [""])[0]
            # A number that carries the first column on is a broken row, whatever follows it.
            words = rest and rows and not (cells and _goes_on(rows, numbers[0]))
            if words and not any(dialect.is_row(other) for other in lines[i + 1 :]):
                remarks += lines[i:]
                notes.append(f"line {i + 1} ({_shown(line)}) and what follows are no numbers: ignored")
                break
            if rest:
                raise DataError(f"{path}: line {i + 1} has {text[:20]!r} where a number should be")
            if not dialect.comma:
                _check_commas(lines[begin:i], path)
            raise DataError(f"{path}: line {i + 1} has one column, {expected}")
        rows.append(numbers)
        at.append(i + 1)
    if len(rows) < MIN_POINTS:
        raise DataError(f"{path}: {len(rows)} points, expected at least {MIN_POINTS}")
    if not dialect.comma:
        _check_commas(lines[begin : at[-1]], path)
    width = _common_width([len(row) for row in rows], at, path, notes)
    values = np.array([row[:width] for row in rows])
    return Table(tuple(lines[:begin]), tuple(remarks), values, max(map(len, rows)), tuple(notes))


def _shown(line: str) -> str:
    text = "".join(c if c.isprintable() else " " for c in line.strip())
    return repr(text if len(text) <= 20 else text[:17] + "...")


def _dialect(lines: Sequence[str]) -> Dialect:
    """Decimal points, unless more lines of numbers make sense with commas alone."""
    point, comma = Dialect(comma=False), Dialect(comma=True)
    plain = [line.partition("#")[0] for line in lines]

    def rows(dialect: Dialect, mark: str) -> int:
        split = [dialect.numbers(line) for line in plain if mark in line]
        return sum(
            not rest and len(cells) >= 2 and (mark == "." or any(map(_DECIMAL_COMMA.match, cells)))
            for cells, rest in split
        )

    commas = rows(comma, ",")
    return comma if commas >= _BLOCK and commas > rows(point, ".") else point


def _first_row(lines: Sequence[str], dialect: Dialect, path: Path, expected: str) -> int:
    """Index of the first line of data."""
    marks = [i for i, line in enumerate(lines) if _DATA_MARK.match(line)]
    if marks:
        for i in range(marks[-1] + 1, len(lines)):
            # A line of words alone names the columns.
            if not lines[i].lstrip().startswith("#") and any(map(dialect.is_number, dialect.cells(lines[i]))):
                return i
        raise DataError(f"{path}: no numbers after the line '{lines[marks[-1]].strip()}'")
    run = 0
    for i, line in enumerate(lines):
        run = run + 1 if dialect.is_row(line) else 0
        if run == _BLOCK or (run and i == len(lines) - 1):
            return i - run + 1
    single = [line for line in lines if dialect.is_number(line.strip())]
    if sum(bool(re.match(r"[+-]?\d+,\d+$", line.strip())) for line in lines) >= _BLOCK:
        raise DataError(f"{path}: one column of numbers with a decimal comma, {expected}")
    if len(single) >= _BLOCK:
        raise DataError(f"{path}: one column of numbers, {expected}")
    raise DataError(f"{path}: no columns of numbers; {expected}")


def _goes_on(rows: Sequence[Sequence[float]], value: float) -> bool:
    """Whether a number may be the next of the first column."""
    if len(rows) < 2:
        return True
    step = rows[-1][0] - rows[-2][0]
    return abs(value - rows[-1][0] - step) <= 0.5 * abs(step)


def _check_commas(lines: Sequence[str], path: Path) -> None:
    """Refuse numbers of which a comma may be the decimal mark or the end: ``0,05,-0,0098``."""
    if any("." in line or ";" in line for line in lines) or sum("," in line for line in lines) < _BLOCK:
        return
    # With a comma as the only mark, a whole number that begins with 0 is what stands behind a decimal comma.
    if any(re.search(r",0\d", line) for line in lines) or (
        any(line.count(",") > 1 for line in lines) and not any("e" in line.lower() for line in lines)
    ):
        raise DataError(
            f"{path}: a decimal comma, or one between columns? Divide the columns by semicolons, or write numbers with "
            "a point"
        )


def _common_width(widths: Sequence[int], at: Sequence[int], path: Path, notes: list[str]) -> int:
    """Columns that every row has. A row that is alone with its width is a broken one, unless it widens the table."""
    counts = Counter(widths)
    tail = len(widths)
    while tail > 0 and widths[tail - 1] == widths[-1]:
        tail -= 1
    for i, width in enumerate(widths):
        grows = i >= tail > 0 and widths[-1] > widths[tail - 1]
        if counts[width] < _BLOCK and not grows:
            usual = counts.most_common(1)[0][0]
            raise DataError(f"{path}: line {at[i]} has {width} columns, the others have {usual}: a broken row?")
    if len(counts) > 1:
        change = next(i for i, width in enumerate(widths) if width != widths[0])
        notes.append(
            f"rows have {min(widths)} to {max(widths)} columns, first at line {at[change]}: the first "
            f"{min(widths)} are used"
        )
    return min(widths)
