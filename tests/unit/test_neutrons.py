"""PDFs measured with neutrons: told by header or option, weighed by scattering lengths, solved like others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.cluster import Octahedron
from scipy.spatial.distance import pdist

from hpcpdf import ConfigError, PdfParams, fit_pdf, read_gr, read_pdf, read_solution, simulate_pdf
from hpcpdf.cli.main import main
from hpcpdf.pdf.gr import MeasuredPdf, write_gr

HEADER = """History written: Mon Jan  1 00:00:00 2001
##### Run Information     runCorrection=T
temp=308     runTitle=Run 1018
##### Sample Material     numElements=1     NormLaue=0.47445
Element relAtomNum atomMass atomCoherCS atomIncoherCS atomAbsorpCS
   Pt       1.0000  195.084     11.5800        0.1300     10.30000
density=     effDensity=3.4138
bank   angle   blendQmin   blendQmax       (0.0 means no info)
  1     90.0        1.62    29.42
  2    -90.0        1.62    29.42
  3    119.0        1.97    35.85
## Damp     Qmin=0.8     Qmax=30     startDampQ=30    QAveMin=0.6
##### start data
#O0 rg_int sig_rg_int low_int sig_low_int rmax rhofit
#S 1 - PDF from PDFgetN
#L r G(r) dr dG(r)
"""
TRUTH = Octahedron("Pt", 4, 1).positions
PARAMS = PdfParams(rmax=15.0, rstep=0.02, qmin=0.8, qmax=30.0, qdamp=0.03, biso=0.5, radiation="neutron")


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A file of PDFgetN."""
    r, g = simulate_pdf(Atoms("Pt38", TRUTH), PARAMS)
    rows = [f"{a:9.4f} {b:12.6f} 0.0 0.05\n" for a, b in zip(r, 3.0 * g, strict=True)]
    (tmp_path / "NPDF_01018.gr").write_text(HEADER + "".join(rows))
    return tmp_path / "NPDF_01018.gr"


def test_a_file_of_pdfgetn_is_solved(measured, tmp_path):
    pdf = read_gr(measured)
    assert (pdf.radiation, pdf.qmin, pdf.qmax, pdf.composition) == ("neutron", 0.8, 30.0, "Pt1")
    assert np.all(pdf.dg == 0.05)
    assert fit_pdf(TRUTH, pdf, r_range=(1.5, 14.0)).params.radiation == "neutron"
    out = tmp_path / "out"
    call = ["solve", str(measured), "-e", "Pt", "--effort", "quick", "--no-refine", "--rmax", "14", "--out", str(out)]
    assert main(call) == 0
    assert "<dd>neutrons</dd>" in (out / "report.html").read_text()
    best = read_solution(out)[0]
    np.testing.assert_allclose(np.sort(pdist(best.atoms.positions)), np.sort(pdist(TRUTH)), rtol=2e-3)


def test_one_element_looks_alike_to_both():
    """The lengths cancel, negative and small ones included."""
    for symbol in ("Pt", "Ti", "V"):
        both = [
            simulate_pdf(Atoms(f"{symbol}38", TRUTH), PdfParams(rmax=15.0, radiation=radiation))[1]
            for radiation in ("xray", "neutron")
        ]
        np.testing.assert_allclose(*both, atol=1e-5 * np.abs(both[0]).max())


def test_two_elements_are_weighed_by_their_lengths(tmp_path):
    alloy = Atoms("Pt19Ni19", TRUTH)
    r, g = simulate_pdf(alloy, PARAMS)
    write_gr(tmp_path / "a.gr", MeasuredPdf(r, g, None, 0.8, 30.0))
    right, wrong = (
        fit_pdf(alloy, read_gr(tmp_path / "a.gr", radiation=name), r_range=(1.5, 14.0)) for name in ("neutron", "xray")
    )
    assert right.rw < 1e-3
    assert wrong.rw > 0.05


def test_the_option_wins_over_the_header(measured):
    assert read_pdf(measured, radiation="xray").radiation == "xray"
    assert read_pdf(measured).radiation == "neutron"
    with pytest.raises(ConfigError, match=r"radiation = 'electron': expected one of xray, neutron"):
        read_pdf(measured, radiation="electron")
