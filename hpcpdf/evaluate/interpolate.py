"""The way between two PDFs in latent space, step by step, judged against both."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hpcpdf.clusters.elements import metallic_radius
from hpcpdf.errors import ConfigError, SolverError
from hpcpdf.model.base import ConditionalModel
from hpcpdf.model.features import PdfBatch, to_network_grid
from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.reconstruct.propose import assemble

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Step:
    """A structure on the way.

    Attributes
    ----------
    fraction : float
        0 at the first PDF, 1 at the second.
    positions : (n, 3) array
        Å, as the model places them.
    family : str
        Template; empty where the model does not tell.
    rw_first, rw_second : float
        R_w against either PDF after a fit of scale, zoom, Biso, Qdamp and delta2.
    r, g : (R,) arrays
        Calculated PDF, fitted to the nearer of the two, Å and Å⁻².
    """

    fraction: float
    positions: Array = field(repr=False)
    family: str
    rw_first: float
    rw_second: float
    r: Array = field(repr=False)
    g: Array = field(repr=False)


def interpolate(
    first: MeasuredPdf,
    second: MeasuredPdf,
    element: str,
    model: ConditionalModel,
    steps: int = 9,
    *,
    r_range: tuple[float, float] = (1.5, 20.0),
) -> list[Step]:
    """Structures at `steps` equal steps from one PDF's mean latent vector to the other's, both ends included.

    Parameters
    ----------
    first, second
        The ends.
    element
        Metal of both.
    model
        Trained model.
    steps
        At least 2.
    r_range
        Over which R_w is computed, Å.

    Raises
    ------
    ConfigError
        If the element is not known or `steps` is below 2.
    SolverError
        If a predicted structure cannot be trilaterated.
    """
    if steps < 2:
        raise ConfigError(f"steps = {steps}: expected at least 2, the ends")
    expected = 2.0 * metallic_radius(element)
    ends = (first, second)
    fitters = [PdfFitter(pdf, r_range) for pdf in ends]
    batch = PdfBatch(
        np.array([to_network_grid(pdf.r, pdf.g) for pdf in ends]),
        np.array([fitter.params.qmin for fitter in fitters]),
        np.array([fitter.params.qmax for fitter in fitters]),
        np.full(2, expected),
    )
    fractions = np.linspace(0.0, 1.0, steps)
    structures = model.interpolate(batch, fractions)
    way = []
    for fraction, structure, positions in zip(fractions, structures, assemble(structures, model), strict=True):
        if not np.isfinite(positions).all():
            raise SolverError(f"the structure at {fraction:g} of the way could not be trilaterated; train longer")
        fits = [fitter.fit([positions])[0] for fitter in fitters]
        near = fits[0] if fraction <= 0.5 else fits[1]
        way.append(Step(float(fraction), positions, structure.family, fits[0].rw, fits[1].rw, near.r, near.g_calc))
    return way
