"""Resolution of an instrument from the PDF of a bulk standard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ase.data import atomic_numbers, reference_states

from hpcpdf.errors import ConfigError, DataError
from hpcpdf.lattice.crystal import At, CrystalProblem
from hpcpdf.lattice.shells import U_LIMITS, PdfData
from hpcpdf.pdf.fit import BOUNDS, PdfFitter
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.pdf.metrics import rw
from hpcpdf.pdf.params import B_PER_U, PdfParams
from hpcpdf.sample.instrument import Curve, Instrument

_PER_BOND = {"fcc": math.sqrt(2.0), "bcc": 2.0 / math.sqrt(3.0), "sc": 1.0, "diamond": 4.0 / math.sqrt(3.0)}
"""Lattice constants in bond lengths."""

_AT_ROOM_TEMPERATURE = {
    **{"Al": 4.0495, "Ni": 3.524, "Cu": 3.615, "Rh": 3.803, "Pd": 3.890, "Ag": 4.086, "Ir": 3.839, "Pt": 3.924},
    **{"Au": 4.0785, "Pb": 4.951, "Cr": 2.885, "Fe": 2.866, "Nb": 3.301, "Mo": 3.147, "Ta": 3.303, "W": 3.165},
    **{"Si": 5.4310, "Ge": 5.658},
}
"""Lattice constants of likely standards, Å, to more digits than ASE has; others are ASE's."""

_FREE = ("bond", "u", "delta2", "qdamp", "qbroad")
_HIGHEST = 0.2
"""Of qdamp and qbroad, 1/Å."""
_STRETCH = 0.03
"""How far a lattice constant may be from the tabulated one."""
_ODD_STRETCH = 0.004
"""How far without a word: hundreds of kelvin, or a distance that was measured with a ruler."""
_SCAN, _NEAR = 49, 12.0
"""Lattice constants of the first look, and how far it reaches, Å: a step is less than a quarter of a peak's width."""
_STARTS = ((0.02, 0.04), (0.05, 0.01))
"""Qdamp and Qbroad to begin with, 1/Å."""
_WORST = 0.4
"""R_w from which on the data are no PDF of the standard."""
_BULK, _CLEARLY = 200.0, 10.0
"""Å; and how far a criterion has to fall before a standard is called small."""
_FLAT = 5e-3
"""1/Å; nearer to 0 a PDF has no slope in Qbroad."""


def calibrate(
    pdf: MeasuredPdf,
    element: str,
    r_range: tuple[float, float] = (1.5, 60.0),
    *,
    params: PdfParams | None = None,
) -> Instrument:
    """Resolution of an instrument from the PDF of a bulk standard of one element, such as nickel.

    The periodic crystal (fcc, bcc, simple cubic or diamond; shells of neighbours, no finite cluster) is fitted with
    unit weights: Qdamp, Qbroad, lattice constant, one Biso, and delta2, with the scale in closed form. Peaks have the
    variances of PDFfit (Proffen & Billinge, J. Appl. Cryst. 32 (1999) 572; Farrow et al., J. Phys.: Condens. Matter 19
    (2007) 335219), 2U (1 − delta2/d² + (Qbroad d)²), as in `hpcpdf.simulate_pdf`.

    Standard errors are the roots of the diagonal of (JᵀJ)⁻¹ Σ(G_obs − G_calc)² / (n − k), with the derivatives J of
    the residual by the parameters and the scale projected out, k = 6 parameters and n = Δr (qmax − qmin) / π
    independent points instead of the points of the file, which hold no more than that. They say how well these data
    fix the parameters, if what the model leaves is like noise; a wrong wavelength or sample position is not in them.
    As a PDF depends on the square of Qbroad, its error reaches up to the Qbroad whose square is one standard error
    higher, which is meant for a Qbroad of 0, too.

    Parameters
    ----------
    pdf
        As from `hpcpdf.read_gr`. Its own qmin and qmax are used; what it says of qdamp and qbroad is not.
    element
        Of the standard; must be all of ``pdf.composition`` when there is one.
    r_range
        Å, both ends included; as far as the data go.
    params
        qmin and qmax where the file does not say them, and delta1. Default: ``PdfParams()``.

    Returns
    -------
    Instrument
        With the lattice constant beside the tabulated one, and the fitted curve.

    Raises
    ------
    ConfigError
        If the element has no cubic crystal of one kind of site, or is not what the composition says.
    DataError
        If the data hold too few points in the range, or are no PDF of that crystal.
    """
    family, tabulated = crystal(element, pdf)
    unknown = {key: value for key, value in pdf.metadata.items() if key not in ("qdamp", "qbroad")}
    fitter = PdfFitter(replace(pdf, metadata=unknown), r_range, (), params=params)
    data = PdfData.thinned(fitter.r, fitter.g_obs, fitter.params, None)
    bond = tabulated / _PER_BOND[family]
    limits = {
        "bond": ((1.0 - _STRETCH) * bond, (1.0 + _STRETCH) * bond),
        "u": U_LIMITS,
        "delta2": BOUNDS["delta2"],
        "qdamp": (0.0, _HIGHEST),
        "qbroad": (0.0, _HIGHEST),
    }
    problem = CrystalProblem(data, family, limits)
    near = _first_look(data, family, limits)
    trials = [problem.fit(_FREE, replace(near, qdamp=qdamp, qbroad=qbroad)) for qdamp, qbroad in _STARTS]
    at = min(trials, key=lambda trial: trial.rw).at
    g = CrystalProblem(PdfData(fitter.r, fitter.g_obs, fitter.params), family, limits).curve(at)[0]
    misfit = float(rw(fitter.g_obs, g))
    constant = at.bond * _PER_BOND[family]
    off = constant / tabulated - 1.0
    if misfit > _WORST or abs(off) > 0.99 * _STRETCH:
        raise DataError(
            f"{pdf.source}: R_w {misfit:.2f} of {family} {element} with a lattice constant of {constant:.3f} Å "
            f"(tabulated {tabulated:g}): not the PDF of that bulk standard; check element, r in Å, and r_range"
        )
    notes = list(fitter.notes)
    if abs(off) > _ODD_STRETCH:
        notes.append(
            f"the lattice constant is {abs(off):.1%} {'above' if off > 0.0 else 'below'} the tabulated one: "
            "check wavelength, sample distance and temperature"
        )
    for name in ("qdamp", "qbroad"):
        if getattr(at, name) > 0.999 * _HIGHEST:
            notes.append(f"{name} is at its limit {_HIGHEST:g} 1/Å: is the standard a bulk crystal?")
    notes += _notes_on_size(problem, at)
    error = _errors(problem, at)
    return Instrument(
        qdamp=at.qdamp,
        qdamp_error=error["qdamp"],
        qbroad=at.qbroad,
        qbroad_error=error["qbroad"],
        element=element,
        lattice_constant=constant,
        lattice_constant_error=error["bond"] * _PER_BOND[family],
        tabulated=tabulated,
        biso=at.u * B_PER_U,
        biso_error=error["u"] * B_PER_U,
        delta2=at.delta2,
        delta2_error=error["delta2"],
        rw=misfit,
        r_range=(float(fitter.r[0]), float(fitter.r[-1])),
        qmax=fitter.params.qmax,
        source=pdf.source,
        notes=tuple(notes),
        curve=Curve(fitter.r, fitter.g_obs, g),
    )


def crystal(element: str, pdf: MeasuredPdf) -> tuple[str, float]:
    """Structure and tabulated lattice constant, Å, of a standard; ConfigError if there is none, or of another."""
    state: Any = reference_states[atomic_numbers[element]] if element in atomic_numbers else None
    if state is None or state["symmetry"] not in _PER_BOND:
        what = "no element" if element not in atomic_numbers else "not " + ", ".join(_PER_BOND)
        raise ConfigError(
            f"element {element!r}: {what}; calibrate on a cubic standard such as {', '.join(_AT_ROOM_TEMPERATURE)}"
        )
    if set(pdf.elements) not in (set(), {element}):
        raise ConfigError(
            f"{pdf.source}: its composition is {pdf.composition!r}, expected {element} alone; "
            "calibrate on a standard of one element"
        )
    return state["symmetry"], _AT_ROOM_TEMPERATURE.get(element, state["a"])


def _first_look(data: PdfData, family: str, limits: dict[str, tuple[float, float]]) -> At:
    """Lattice constant, U and delta2 from the first peaks, which no wrong start can miss."""
    part = data.r <= max(_NEAR, float(data.r[0]) + 0.5 * _NEAR)
    near = CrystalProblem(PdfData(data.r[part], data.g[part], data.params), family, limits)
    places = [At(bond, 0.006, 1.0, 0.03) for bond in np.linspace(*limits["bond"], _SCAN).tolist()]
    return near.fit(("bond", "u", "delta2"), min(places, key=near.misfit)).at


def _notes_on_size(problem: CrystalProblem, at: At) -> list[str]:
    """Small crystals damp a PDF, too, by another law than the instrument."""
    problem.limits = {**problem.limits, "diameter": (5.0, _BULK)}
    endless = problem.fit(_FREE, at)
    sphere = problem.fit((*_FREE, "diameter"), replace(at, diameter=0.3 * _BULK, qdamp=_STARTS[0][0]))
    if sphere.bic > endless.bic - _CLEARLY or sphere.at.diameter > 0.99 * _BULK:
        return []
    return [
        f"crystals of {sphere.at.diameter:.0f} Å explain the PDF better, R_w {sphere.rw:.3f} and qdamp "
        f"{sphere.at.qdamp:.3f} 1/Å instead of {endless.rw:.3f} and {at.qdamp:.3f}: the standard is not bulk"
    ]


def _errors(problem: CrystalProblem, at: At) -> dict[str, float]:
    """Standard errors of `_FREE`, as `calibrate` says."""
    safe = replace(at, qbroad=max(at.qbroad, _FLAT))
    slopes = problem.slopes(_FREE, safe)
    square = _FREE.index("qbroad")
    slopes[:, square] /= 2.0 * safe.qbroad
    spare = max(problem.data.independent - len(_FREE) - 1, 1.0)
    # Columns of very different size: the inverse of the scaled matrix is the more exact one.
    size = np.maximum(np.linalg.norm(slopes, axis=0), 1e-300)
    inverse = np.linalg.pinv((slopes / size).T @ (slopes / size))
    found = np.sqrt(np.maximum(np.diag(inverse), 0.0) * problem.misfit(at) / spare) / size
    return {
        **dict(zip(_FREE, found.tolist(), strict=True)),
        "qbroad": math.sqrt(at.qbroad**2 + float(found[square])) - at.qbroad,
    }


def table(instrument: Instrument) -> Sequence[str]:
    """What was found, line by line, with units and standard errors."""
    rows = [
        ("qdamp", "qdamp", 5, "1/Å"),
        ("qbroad", "qbroad", 5, "1/Å"),
        ("lattice constant", "lattice_constant", 4, "Å"),
        ("Biso", "biso", 3, "Å²"),
        ("delta2", "delta2", 2, "Å²"),
    ]
    lines = []
    for label, name, digits, unit in rows:
        value, error = getattr(instrument, name), getattr(instrument, f"{name}_error")
        if value is None:
            continue
        spread = "" if error is None else f" ± {error:.{digits}f}"
        beside = (
            f"   tabulated {instrument.tabulated:g} Å" if name == "lattice_constant" and instrument.tabulated else ""
        )
        lines.append(f"{label:18s}{value:.{digits}f}{spread} {unit}{beside}")
    return lines
