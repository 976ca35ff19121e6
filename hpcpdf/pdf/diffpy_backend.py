"""The same PDFs from diffpy.srreal, for comparison."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpcpdf.errors import ConfigError
from hpcpdf.pdf.grids import r_grid
from hpcpdf.pdf.params import PdfParams

if TYPE_CHECKING:
    from hpcpdf.pdf.clusters import Cluster

Floats = NDArray[np.float64]

_ANY_ELEMENT = "Au"
"""Stands for the one element of a bare array: without truncation its scattering power cancels."""

_INSTALL = (
    'backend = "diffpy" needs diffpy.srreal, which is not installed; '
    "install it from conda-forge: conda install -c conda-forge diffpy.srreal"
)


def simulate_diffpy(clusters: Sequence[Cluster], params: PdfParams) -> tuple[Floats, Floats]:
    """PDFs by DiffPy's DebyePDFCalculator: r (R,) in Å and G (B, R) in Å^-2.

    Every structure gets a calculator of its own, because a calculator that is used again may keep the Q grid of the
    structure before.

    Raises
    ------
    ConfigError
        If diffpy.srreal is not installed; says how to get it.
    """
    try:
        calculators = import_module("diffpy.srreal.pdfcalculator")
        structure = import_module("diffpy.structure")
    except ImportError:
        raise ConfigError(_INSTALL) from None
    r = r_grid(params)
    g = np.zeros((len(clusters), len(r)))
    for row, cluster in zip(g, clusters, strict=True):
        calculator = _configure(calculators.DebyePDFCalculator(), params, bare=cluster.symbols is None)
        r, row[:] = calculator(_convert(cluster, structure))
    return np.asarray(r, dtype=np.float64), g


def _configure(calculator: Any, params: PdfParams, *, bare: bool) -> Any:
    calculator.setScatteringFactorTableByType({"xray": "X", "neutron": "N"}[params.radiation])
    calculator.debyeprecision = 0.0 if bare else params.precision
    # In this order: setting rmax makes the calculator fix its extended range, which it then keeps within 50 steps.
    for name in ("qmax", "qmin", "qdamp", "qbroad", "delta1", "delta2", "scale", "maxextension"):
        setattr(calculator, name, getattr(params, name))
    for name in ("rmin", "rstep", "rmax"):
        setattr(calculator, name, getattr(params, name))
    return calculator


def _convert(cluster: Cluster, structure: Any) -> Any:
    symbols = cluster.symbols or (_ANY_ELEMENT,) * len(cluster.positions)
    rows = zip(symbols, cluster.positions, cluster.atoms_u, strict=True)
    return structure.Structure([structure.Atom(s, xyz=x, Uisoequiv=float(u)) for s, x, u in rows])
