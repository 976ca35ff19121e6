"""What a fit begins with: which parameters are refined within which limits, and what file and instrument say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcpdf.errors import ConfigError
from hpcpdf.pdf.fit_model import Values
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.pdf.params import B_PER_U, PdfParams
from hpcpdf.pdf.small_angle import effective_qmin

Array = NDArray[np.float64]

BOUNDS = {"zoom": (0.9, 1.1), "biso": (0.04, 4.7), "qdamp": (0.01, 0.08), "delta2": (0.0, 6.0)}
"""Limits of the refined parameters; Å², 1/Å, Å²."""

ON_REQUEST = {"delta1": (0.0, 3.0), "qbroad": (0.0, 0.2)}
"""Of those that are refined only when they are named; Å, 1/Å."""

LIMITS = {**BOUNDS, **ON_REQUEST}
_QBROAD = 0.01
"""Where a fit begins at least, 1/Å: at 0 there is no slope."""

OF_INSTRUMENT = ("qdamp", "qbroad")


class Resolution(Protocol):
    """What is known of an instrument, 1/Å; `hpcpdf.Instrument` is one."""

    @property
    def qdamp(self) -> float: ...

    @property
    def qbroad(self) -> float: ...


def names_of(refine: Sequence[str]) -> tuple[str, ...]:
    """Parameters to refine, in a fixed order; ConfigError for one that is not known."""
    names = (refine,) if isinstance(refine, str) else tuple(refine)
    for name in names:
        if name not in (*LIMITS, "scale"):
            raise ConfigError(
                f"refine: unknown parameter {name!r}; known: {', '.join(LIMITS)} (scale is always fitted)"
            )
    return tuple(name for name in LIMITS if name in names)


def start_of(
    pdf: MeasuredPdf, given: PdfParams, refine: Sequence[str], instrument: Resolution | None
) -> tuple[PdfParams, list[str]]:
    """Parameters that the fit begins with: the file's where it has them."""
    notes = []
    known: dict[str, float] = {}
    known["qmin"], note = effective_qmin(pdf, given.qmin)
    notes += [note] if note else []
    if pdf.qmax is None:
        notes.append(f"the file does not say qmax: {given.qmax:g} 1/Å is taken")
    else:
        known["qmax"] = pdf.qmax
    for name in OF_INSTRUMENT:
        stated = pdf.parameter(name)
        if instrument is not None:
            own = known[name] = float(getattr(instrument, name))
            other = stated is not None and abs(stated - own) > 1e-3 * own
            notes.append(f"{name} = {own:.4g} 1/Å from the instrument" + (f", not {stated:g}" if other else ""))
        elif stated is not None and stated >= 0.0:
            known[name] = stated
            notes.append(f"{name} = {stated:g} 1/Å from the file" + (" to begin with" if name in refine else ""))
    for name in refine:
        if name != "zoom":
            low, high = (max(LIMITS[name][0], _QBROAD), LIMITS[name][1]) if name == "qbroad" else LIMITS[name]
            known[name] = float(np.clip(known.get(name, getattr(given, name)), low, high))
    step = pdf.rstep
    return replace(
        given, rmin=0.0, rstep=step, rmax=float(pdf.r[-1]) + step, scale=1.0, radiation=pdf.radiation, **known
    ), notes


def values_at(zoom: Array, biso: ArrayLike, params: PdfParams) -> Values:
    """Values with these zooms (B,) and Biso, all else as in `params`."""
    shape = zoom.shape
    return Values(
        zoom=zoom,
        uiso=np.broadcast_to(np.asarray(biso, dtype=np.float64) / B_PER_U, shape),
        qdamp=np.full(shape, params.qdamp),
        delta2=np.full(shape, params.delta2),
    )


def with_values(params: PdfParams, values: Values) -> PdfParams:
    """`params` with the values of the first cluster."""
    return replace(
        params,
        biso=float(values.uiso[0]) * B_PER_U,
        qdamp=float(values.qdamp[0]),
        delta2=float(values.delta2[0]),
        delta1=params.delta1 if values.delta1 is None else float(values.delta1[0]),
        qbroad=params.qbroad if values.qbroad is None else float(values.qbroad[0]),
    )
