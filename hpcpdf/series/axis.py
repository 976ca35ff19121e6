"""What a series runs along: temperature, time or position, from headers or names of files."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

UNITS: Mapping[str, tuple[str, str, float, float]] = {
    "k": ("temperature", "K", 1.0, 0.0),
    "c": ("temperature", "K", 1.0, 273.15),
    "degc": ("temperature", "K", 1.0, 273.15),
    "°c": ("temperature", "K", 1.0, 273.15),
    "ms": ("time", "s", 1e-3, 0.0),
    "s": ("time", "s", 1.0, 0.0),
    "sec": ("time", "s", 1.0, 0.0),
    "min": ("time", "s", 60.0, 0.0),
    "h": ("time", "s", 3600.0, 0.0),
    "hr": ("time", "s", 3600.0, 0.0),
    "um": ("position", "mm", 1e-3, 0.0),
    "µm": ("position", "mm", 1e-3, 0.0),
    "mm": ("position", "mm", 1.0, 0.0),
    "cm": ("position", "mm", 10.0, 0.0),
    "bar": ("pressure", "bar", 1.0, 0.0),
    "gpa": ("pressure", "bar", 1e4, 0.0),
    "mv": ("potential", "V", 1e-3, 0.0),
    "v": ("potential", "V", 1.0, 0.0),
}
"""A unit, in lower case, to its quantity, the unit that mixed ones become, and factor and offset to there."""

_SHOWN = {
    **{"k": "K", "c": "°C", "degc": "°C", "°c": "°C", "sec": "s", "hr": "h"},
    **{"um": "µm", "gpa": "GPa", "mv": "mV", "v": "V"},
}
_NAMED = {
    "temperature": ("temperature", "k"),
    "temp": ("temperature", "k"),
    "time": ("time", "s"),
    "position": ("position", ""),
    "pos": ("position", ""),
    "pressure": ("pressure", "bar"),
    "potential": ("potential", "v"),
}
"""Words before a number, or keys of a header, to the quantity and the unit taken where none is written."""
_LETTERS = {
    "T": ("temperature", "k"),
    "t": ("time", "s"),
    "x": ("position", ""),
    "y": ("position", ""),
    "z": ("position", ""),
}

# A minus belongs to a number only behind a sign that ends a word: run-10 is ten, T_-10 and T=-10 are below zero.
_NUMBER = re.compile(r"(?:(?<=[_=\s])-|^-)?\d+(?:\.\d+)?")
_UNIT_AFTER = re.compile(
    r"[ _]?(" + "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True)) + r")(?![a-zµ])", re.I
)
_WORD_BEFORE = re.compile(r"([A-Za-zµ]+)[ _=-]?$")
_VALUE = re.compile(r"\s*(-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*\(?\s*([A-Za-zµ°]*)")


@dataclass(frozen=True)
class Axis:
    """What the files of a series differ in.

    Attributes
    ----------
    quantity : str
        ``temperature``, ``time``, ``position``, ``pressure``, ``potential``, or ``number`` for anything else.
    unit : str
        "" when there is none.
    values : tuple of float
        One for each file.
    source : str
        Where they were found: ``header``, ``names`` or ``order``.
    """

    quantity: str
    unit: str
    values: tuple[float, ...]
    source: str

    @property
    def column(self) -> str:
        """Name of its column in tables."""
        return f"{self.quantity}_{_plain(self.unit)}" if self.unit else self.quantity

    @property
    def label(self) -> str:
        """As written along an axis."""
        return f"{self.quantity} ({self.unit})" if self.unit else self.quantity


def _plain(unit: str) -> str:
    return unit.replace("°", "").replace("µ", "u")


@dataclass(frozen=True)
class _Field:
    """A number in a file's name: the text around it tells what it is."""

    value: float
    quantity: str = ""
    unit: str = ""


def natural_key(name: str) -> tuple[tuple[int, float, str], ...]:
    """Sort key of a name by which ``run2`` comes before ``run10``, and ``T-20`` as text says, not as a number."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name.lower())
    return tuple((0, float(part), part) if k % 2 else (1, 0.0, part) for k, part in enumerate(parts))


def series_axis(names: Sequence[str], headers: Sequence[Mapping[str, str]]) -> tuple[tuple[int, ...], Axis]:
    """The order of files in a series, and where each of them stands.

    A quantity of the header is taken where every header has it and it differs; else a number with a unit or a known
    word beside it in the names, or the last number that differs; else the natural order of the names. Files of one
    value stay in the natural order of their names, and if there are many such, a ramp up and down, all do.

    Parameters
    ----------
    names
        Of the files, with or without folders and endings.
    headers
        What their headers say, keys in lower case.

    Returns
    -------
    order : tuple of int
        Indices into `names`.
    axis : Axis
        Values in that order.
    """
    stems = [_stem(name) for name in names]
    by_name = sorted(range(len(stems)), key=lambda k: (natural_key(stems[k]), names[k]))
    found = _from_headers(headers) or _from_names(stems)
    if found is None:
        return tuple(by_name), Axis("number", "", tuple(float(k + 1) for k in range(len(stems))), "order")
    values = found.values
    order = by_name if len(set(values)) < len(values) else sorted(by_name, key=lambda k: values[k])
    return tuple(order), Axis(found.quantity, found.unit, tuple(values[k] for k in order), found.source)


def _stem(name: str) -> str:
    path = PurePath(name)
    return path.stem if path.suffix.lower() in (".gr", ".txt", ".dat", ".csv") else path.name


def _from_headers(headers: Sequence[Mapping[str, str]]) -> Axis | None:
    for key, (quantity, unit) in _NAMED.items():
        fields = []
        for header in headers:
            matched = _VALUE.match(header.get(key, ""))
            if matched is None:
                break
            written = matched[2].lower()
            fields.append(_Field(float(matched[1]), quantity, written if _is(written, quantity) else unit))
        else:
            if len(fields) == 1 or len({field.value for field in fields}) > 1:
                return _axis(fields, "header")
    return None


def _from_names(stems: Sequence[str]) -> Axis | None:
    rows = [_fields(stem) for stem in stems]
    if not rows or len({len(row) for row in rows}) != 1:
        # Numbers do not line up; one known quantity in each name still does.
        rows = [[next((field for field in row if field.quantity), _Field(math.nan))] for row in rows]
        if any(math.isnan(row[0].value) for row in rows):
            return None
    columns = [list(column) for column in zip(*rows, strict=True)]
    # A file alone differs in all that is known of it.
    varying = [column for column in columns if len(rows) == 1 or len({_in_base(field) for field in column}) > 1]
    known = [column for column in varying if column[0].quantity and len({field.quantity for field in column}) == 1]
    order = ("temperature", "time", "position", "pressure", "potential")
    if known:
        return _axis(min(known, key=lambda column: order.index(column[0].quantity)), "names")
    return _axis([_Field(field.value) for field in varying[-1]], "names") if varying else None


def _fields(stem: str) -> list[_Field]:
    found = []
    for matched in _NUMBER.finditer(stem):
        value, after = float(matched[0]), _UNIT_AFTER.match(stem, matched.end())
        before = _WORD_BEFORE.search(stem[: matched.start()])
        quantity = unit = ""
        if after is not None:
            quantity, unit = UNITS[after[1].lower()][0], after[1].lower()
        elif before is not None:
            quantity, unit = _NAMED.get(before[1].lower(), _LETTERS.get(before[1], ("", "")))
        found.append(_Field(value, quantity, unit))
    return found


def _is(unit: str, quantity: str) -> bool:
    return unit in UNITS and UNITS[unit][0] == quantity


def _in_base(field: _Field) -> float:
    _, _, factor, offset = UNITS.get(field.unit, ("", "", 1.0, 0.0))
    return field.value * factor + offset


def _axis(fields: Sequence[_Field], source: str) -> Axis:
    """Values in the unit that they are written in, or in one for all where there are several."""
    quantity, units = fields[0].quantity or "number", {field.unit for field in fields}
    if len(units) == 1:
        unit = units.pop()
        return Axis(quantity, _SHOWN.get(unit, unit), tuple(field.value for field in fields), source)
    base = next((UNITS[unit][1] for unit in sorted(units) if unit in UNITS), "")
    return Axis(quantity, base, tuple(_in_base(field) for field in fields), source)
