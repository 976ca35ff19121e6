"""Where the transform of a measured PDF began in truth, when its header says 0 or nothing.

PDFgetX3 writes ``qmin = 0`` by default, but its G(r) has no small-angle scattering in it: the beam stop hides it and
the background polynomial takes the rest. A Debye sum from Q = 0 has all of it, a hump under the whole G(r) that no
measured curve shows: R_w 0.62 instead of 0.11 for bulk nickel. So the data are asked.
"""

from __future__ import annotations

import numpy as np

from hpcpdf.pdf.gr import MeasuredPdf

SURE = 0.3
"""From this qmin on (1/Å) the header is believed."""

_LOW, _HIGH, _TOP = 0.1, 0.7, 12.0
_SHARE = 0.1
_R_MAX = 30.0


def low_q_share(pdf: MeasuredPdf) -> float:
    """Largest F(Q) at 0.1–0.7 1/Å over the largest |F(Q)| beyond, F the sine transform of G(r) up to 30 Å.

    Above 1 for clusters of 5 to 150 atoms simulated from Q = 0; some 0.01 for those simulated from 0.8 1/Å, and for
    measured PDFs.
    """
    part = pdf.r <= _R_MAX
    r = pdf.r[part]
    q = np.arange(_LOW, _TOP, 0.05)
    f = np.sin(np.outer(q, r)) @ (pdf.g[part] * np.gradient(r))
    beyond = float(np.abs(f[q > _HIGH]).max())
    return float(f[q <= _HIGH].max()) / beyond if beyond > 0.0 else 0.0


def effective_qmin(pdf: MeasuredPdf, default: float) -> tuple[float, str | None]:
    """The qmin to simulate with, 1/Å, and a note when it is not what the file says.

    Parameters
    ----------
    pdf
        The PDF.
    default
        Taken when the file says less than 0.3 1/Å, or nothing, and the data hold no small-angle scattering.
    """
    stated = pdf.qmin
    if stated is not None and stated >= SURE:
        return stated, None
    says = "does not say qmin" if stated is None else f"says qmin = {stated:g} 1/Å"
    if low_q_share(pdf) > _SHARE:
        # Small-angle scattering is there: a full Debye sum, as simulations give it.
        return (stated, None) if stated is not None else (0.0, f"the file {says}: 0 is taken, its G(r) goes down to it")
    return default, f"the file {says} but its G(r) holds no small-angle scattering: {default:g} 1/Å is taken"
