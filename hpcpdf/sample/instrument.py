"""What an instrument does to every PDF, as a calibration found it, in memory and as a small TOML file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcpdf.config import read_toml
from hpcpdf.errors import ConfigError
from hpcpdf.stage import atomic_path

FORMAT = "hpcpdf instrument"
FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Curve:
    """The fit of a standard: r (R,) in Å, observed and calculated G (R,) in Å⁻²."""

    r: NDArray[np.float64]
    g_obs: NDArray[np.float64]
    g_calc: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """Resolution of an instrument: what `hpcpdf.calibrate` finds, and `hpcpdf.solve` and `hpcpdf.fit_pdf` take.

    Only `qdamp` must be given to make one by hand. Errors are standard errors; what nobody knows is None.

    Attributes
    ----------
    qdamp, qdamp_error : float
        Envelope exp(−(qdamp r)²/2) of every PDF, 1/Å.
    qbroad, qbroad_error : float
        Broadening that grows with the distance d, 1/Å: U (1 − delta1/d − delta2/d² + (qbroad d)²).
    element : str or None
        The standard, a bulk crystal.
    lattice_constant, lattice_constant_error : float or None
        As found, Å.
    tabulated : float or None
        The lattice constant in tables, Å.
    biso, biso_error, delta2, delta2_error : float or None
        Of the standard, Å²; of no sample.
    rw : float or None
        Of the fit of the standard.
    r_range : (float, float) or None
        That was fitted, Å.
    qmax : float or None
        Of the standard's PDF, 1/Å.
    source : str
        The standard's file.
    notes : tuple of str
        What was assumed.
    curve : Curve or None
        The fit; not in files.
    """

    qdamp: float
    qdamp_error: float | None = None
    qbroad: float = 0.0
    qbroad_error: float | None = None
    element: str | None = None
    lattice_constant: float | None = None
    lattice_constant_error: float | None = None
    tabulated: float | None = None
    biso: float | None = None
    biso_error: float | None = None
    delta2: float | None = None
    delta2_error: float | None = None
    rw: float | None = None
    r_range: tuple[float, float] | None = None
    qmax: float | None = None
    source: str = ""
    notes: tuple[str, ...] = ()
    curve: Curve | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("qdamp", "qbroad"):
            value = getattr(self, name)
            if not _is_number(value) or value < 0.0:
                raise ConfigError(f"instrument: {name} = {value!r}: expected a number >= 0, 1/Å")

    def save(self, path: str | Path) -> None:
        """Write a TOML file; an earlier one of that name is replaced. What is not known is left out."""
        lines = [f"format = {json.dumps(FORMAT)}", f"format_version = {FORMAT_VERSION}", ""]
        for name in _STORED:
            value = getattr(self, name)
            if value is None or value in ("", ()):
                continue
            lines.append(f"{name} = {_toml(value)}" + (f"  # {_UNITS[name]}" if name in _UNITS else ""))
        with atomic_path(path) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Instrument:
        """Read what `save` wrote.

        Raises
        ------
        ConfigError
            If it cannot be read, is no instrument file, of a later version, or holds what cannot be used.
        """
        path = Path(path)
        data = read_toml(path)
        if data.pop("format", None) != FORMAT:
            raise ConfigError(f'{path}: not an instrument file (format = "{FORMAT}"); make one with hpcpdf calibrate')
        version = data.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise ConfigError(f"{path}: format_version = {version!r}; this hpcpdf reads {FORMAT_VERSION}")
        return cls(**_checked(data, path))


def as_instrument(given: Instrument | str | Path) -> Instrument:
    """An instrument, or that of a file."""
    return given if isinstance(given, Instrument) else Instrument.load(given)


_STORED = tuple(item.name for item in fields(Instrument) if item.name != "curve")
_TEXT = ("element", "source")
_UNITS = {
    **dict.fromkeys(("qdamp", "qdamp_error", "qbroad", "qbroad_error", "qmax"), "1/Å"),
    **dict.fromkeys(("lattice_constant", "lattice_constant_error", "tabulated", "r_range"), "Å"),
    **dict.fromkeys(("biso", "biso_error", "delta2", "delta2_error"), "Å²"),
}


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # Strings are written alike in JSON and TOML.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(float(value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _checked(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Values of a file as `Instrument` wants them."""
    unknown = sorted(set(data) - set(_STORED))
    if unknown:
        raise ConfigError(f"{path}: unknown key {unknown[0]!r}; known: {', '.join(_STORED)}")
    if "qdamp" not in data:
        raise ConfigError(f"{path}: qdamp is missing")
    found: dict[str, Any] = {}
    for name, value in data.items():
        if name in _TEXT:
            good, expected = isinstance(value, str), "a text"
        elif name == "notes":
            good, expected = isinstance(value, list) and all(isinstance(one, str) for one in value), "a list of texts"
        elif name == "r_range":
            good = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
            expected = "two numbers"
        else:
            good, expected = _is_number(value) and value >= 0.0, "a number >= 0"
        if not good:
            raise ConfigError(f"{path}: {name} = {value!r}: expected {expected}")
        found[name] = tuple(value) if isinstance(value, list) else value
    return found
