"""Scattering factors of the elements for x-rays and neutrons."""

from __future__ import annotations

import csv
import math
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from hpcpdf.errors import ConfigError
from hpcpdf.pdf.params import Radiation

Floats = NDArray[np.float64]


def scattering_factors(symbol: str, q: Floats, radiation: Radiation) -> Floats:
    """Scattering factor of a neutral atom at Q (1/Å): electrons for x-rays (no dispersion), fm for neutrons.

    X-rays: f = c + sum of a_i exp(-b_i (Q / 4 pi)^2), five Gaussians by Waasmaier & Kirfel, Acta Cryst. A51 (1995)
    416. Neutrons: the bound coherent scattering length, the same at every Q.

    Raises
    ------
    ConfigError
        For a symbol that the table does not hold.
    """
    name = "waasmaier_kirfel.csv" if radiation == "xray" else "neutron_lengths.csv"
    values = _table(name).get(symbol)
    if values is None:
        raise ConfigError(f"element {symbol!r}: no {radiation} scattering factor is known for it")
    if radiation == "neutron":
        return np.full_like(q, values[0])
    a, c, b = values[:5], values[5], values[6:]
    s2 = (q / (4.0 * math.pi)) ** 2
    return np.asarray(c + np.exp(-np.multiply.outer(s2, b)) @ a, dtype=np.float64)


@cache
def _table(name: str) -> dict[str, Floats]:
    text = files("hpcpdf.pdf.data").joinpath(name).read_text(encoding="utf-8")
    rows = csv.reader(line for line in text.splitlines() if not line.startswith("#"))
    next(rows)
    return {symbol: np.array([float(value) for value in values]) for symbol, *values in rows}
