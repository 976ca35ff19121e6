"""Sizes and motifs of a measured PDF, without a search for structures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from threadpoolctl import threadpool_limits

from hpcpdf.errors import DataError
from hpcpdf.lattice.shells import PdfData
from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.pdf.range import Range
from hpcpdf.sample.instrument import Instrument, as_instrument
from hpcpdf.sample.motifs import MOTIFS, check_motif
from hpcpdf.sample.sizes import Sizes, fit_sizes


def sample_sizes(
    pdf: MeasuredPdf,
    r_range: Range = (1.5, 20.0),
    *,
    instrument: Instrument | str | Path | None = None,
    motifs: Sequence[str] = MOTIFS,
) -> Sizes:
    """Sizes and motifs of a sample in seconds, however large its particles: `Solution.sizes` without the structures.

    Parameters
    ----------
    pdf
        As from `read_gr`.
    r_range
        Å, both ends included; to ``"auto"`` where the signal ends. Data that end before the particle see only its
        surface.
    instrument
        As from `hpcpdf.calibrate`, or its file; without one, Qdamp is that of the header, or is fitted.
    motifs
        That the sample may be made of.

    Returns
    -------
    Sizes
        Motifs with standard errors, and the descriptions that were compared.

    Raises
    ------
    ConfigError
        If a motif is unknown, or an option or the instrument file cannot be used.
    DataError
        If the PDF holds too few points in the range or no peak where a bond may be.
    """
    for name in motifs:
        check_motif(name)
    known = None if instrument is None else as_instrument(instrument)
    with threadpool_limits(1):
        fitter = PdfFitter(pdf, r_range, instrument=known)
        qdamp = pdf.parameter("qdamp") if known is None else known.qdamp
        data = PdfData.thinned(
            fitter.r, fitter.g_obs, fitter.params, qdamp if qdamp is not None and qdamp >= 0.0 else None
        )
        found = fit_sizes(data, motifs=motifs)
    if found is None:
        raise DataError(f"{pdf.source}: no peak between 1.8 and 4 Å, where two atoms may touch; is r in Å?")
    return found
