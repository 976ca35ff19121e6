"""Reading and writing of .gr files: header styles, columns, and everything that can be wrong with a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from hpcpdf import DataError, read_gr
from hpcpdf.pdf.gr import MeasuredPdf, write_gr
from hpcpdf.pdf.gr_header import parse_formula

R = np.round(np.arange(0.0, 10.0, 0.01), 2)
G = 3.0 * np.exp(-((R - 2.77) ** 2) / 0.02) + 2.0 * np.exp(-((R - 4.8) ** 2) / 0.03) - 0.1 * R


def rows(*columns: np.ndarray, separator: str = " ") -> str:
    return "\n".join(separator.join(f"{value:.8g}" for value in row) for row in zip(*columns, strict=True)) + "\n"


PDFGETX3 = """[DEFAULT]

version = pdfgetx3-1.0-r2239-20130415

# input and output specifications
dataformat = Qnm
inputfile = sample 7 = final.chi
backgroundfile =
outputtype = gr

# PDF calculation setup
mode = xray
composition = Au
qmaxinst = 29
qmin = 1.33
qmax = 28.0
rmin = 0
rmax = 10
rstep = 0.01

# End of config --------------------------------------------------------------

#### start data
#S 1
#L r($\\AA$)  G($\\AA^{-2}$)
"""

XPDFSUITE = """# xPDFsuite Configuration #
[PDF]
wavelength = 0.1
mode = xray
composition = Au144 S60 C180
qmaxinst = 22.0
qmin = 1.0
qmax = 21.998245281
rmax = 6.0

[Misc]
inputdir = /home/somebody/with blanks/data

#### start data
#S 1
#L r($\\AA$)  G($\\AA^{-2}$)
"""

# The shape of a PDFgetX2 header: values inline, a line of bare numbers, other q limits before the right ones.
PDFGETX2 = """History written:       Mon Jan  1 00:00:00 2001
Produced by somebody
####### Get_XPDF #######

##### General_Setting
title=RAPDF
quiet=0    debug=0    savefilenamebase=Ni
datatype=1    (0:SPEC, 1:CHI, 2:nxm column, 3:unknown)
det#  used  xcol detcol deterrcol xmin  xmax  add_det  mul_det
  0    1    0    1    3    0.00000    35.0000    0.00000    1.00000

##### Sample_Setup information    num_atoms=2
#L symbol valence fractions z user_f1 user_f2 user_macoef
  Cd    0.00   1.000000    48   0.000000   0.000000   0.001000
  Se    0.00   1.000000    34   0.000000   0.000000   0.001000
geometry=2    mut=0.20000000
smoothdata_isa=0    smoothfunctype=0    smoothqmin=8.00000    smoothboxwidth=12

##### SqGr_Optimization Setup
ftmethod=0
## S(q)  qmin=0.300000    qmax=14.000000    qgrid=0.000000
## G(r)  rmin=0.010000    rmax=10.000000    rgrid=0.010000
## SqOptimization  sqoptfunction=1
optqmin=8.00000    optqmax=20.0000    optqgrid=0.00000
##### start data
#F Ni.gr
#D Mon Jan  1 00:00:00 2001
#C
#S 1    G(r)
#L r(A)    G(r)    d_r    d_Gr
"""

PDFGETN = """History written: Mon Jan  1 00:00:00 2001
##### Run Information     runCorrection=T
temp=308     runTitle=Run 1018
##### Sample Material     numElements=2     NormLaue=0.47445
Element relAtomNum atomMass atomCoherCS atomIncoherCS atomAbsorpCS
   O        0.6000   15.999      4.2320        0.0008      0.00019
  Mn        0.4000   54.931     -1.7500        0.4000     13.30000
density=     effDensity=3.4138
bank   angle   blendQmin   blendQmax       (0.0 means no info)
  1     90.0        1.62    29.42
  2    -90.0        1.62    29.42
  3    119.0        1.97    35.85
## Damp     Qmin=2.0     Qmax=32     startDampQ=32    QAveMin=0.6
##### start data
#O0 rg_int sig_rg_int low_int sig_low_int rmax rhofit
#S 1 - PDF from PDFgetN
#L r G(r) dr dG(r)
"""


def write(folder: Path, text: str | bytes, name: str = "a.gr") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("header", "columns", "qmin", "qmax", "composition"),
    [
        (PDFGETX3, 2, 1.33, 28.0, "Au"),
        (XPDFSUITE, 2, 1.0, 21.998245281, "Au144 S60 C180"),
        (PDFGETX2, 4, 0.3, 14.0, "Cd1 Se1"),
        (PDFGETN, 4, 2.0, 32.0, "O0.6 Mn0.4"),
        ("", 2, None, None, None),
        ("", 3, None, None, None),
        ("# r, Gr\n", 2, None, None, None),
        ("r G(r)\n", 2, None, None, None),
        ("# Comment: neutron, Qmax=31.414, Qdamp=0.0176, Qbroad= 0.0192\n#\n", 2, None, 31.414, None),
        ("#S 1 - PDF from PDFgetN lcmo x=0.200 T=10.0 qmax=35.0\n", 4, None, 35.0, None),
    ],
)
def test_header_styles(tmp_path, header, columns, qmin, qmax, composition):
    sigma = np.full_like(R, 0.05)
    table = {2: (R, G), 3: (R, G, sigma), 4: (R, G, np.zeros_like(R), sigma)}[columns]
    pdf = read_gr(write(tmp_path, header + rows(*table)))
    np.testing.assert_array_equal(pdf.r, R)
    np.testing.assert_allclose(pdf.g, G, atol=1e-7)
    assert (pdf.qmin, pdf.qmax, pdf.composition) == (qmin, qmax, composition)
    if columns == 2:
        assert pdf.dg is None
    else:
        np.testing.assert_array_equal(pdf.dg, sigma)


def test_header_values(tmp_path):
    x3 = read_gr(write(tmp_path, PDFGETX3 + rows(R, G)))
    assert x3.metadata["version"] == "pdfgetx3-1.0-r2239-20130415"
    assert x3.metadata["inputfile"] == "sample 7 = final.chi"
    assert x3.metadata["backgroundfile"] == ""
    assert x3.radiation == "xray"
    assert x3.notes == ()
    suite = read_gr(write(tmp_path, XPDFSUITE + rows(R, G)))
    assert suite.elements == {"Au": 144.0, "S": 60.0, "C": 180.0}
    assert "rmax = 6" in suite.notes[0]
    neutron = read_gr(write(tmp_path, "# neutron, Qmax=31.4, Qsig=0.0176, Qalp= 0.0192\n" + rows(R, G)))
    assert neutron.radiation == "neutron"
    assert neutron.parameter("qdamp") == 0.0176
    assert neutron.parameter("qbroad") == 0.0192
    assert neutron.parameter("temperature") is None


@pytest.mark.parametrize("separator", [" ", "\t", ",", ", ", ";"])
def test_separators(tmp_path, separator):
    np.testing.assert_array_equal(read_gr(write(tmp_path, rows(R, G, separator=separator))).r, R)


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("#L r", "#L r(Å)").encode("latin-1"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
    ],
)
def test_encodings_and_line_ends(tmp_path, encode):
    pdf = read_gr(write(tmp_path, encode("#### start data\n#L r  G\n" + rows(R, G))))
    np.testing.assert_array_equal(pdf.r, R)


@pytest.mark.parametrize("row", ["2.0D-2 1.5D+0", "2.0e-002 1.5e+000"])
def test_number_formats_of_other_compilers(tmp_path, row):
    pdf = read_gr(write(tmp_path, "0 0\n1e-2 1\n" + row + "\n" + rows(R[3:], G[3:])))
    assert (pdf.r[2], pdf.g[2]) == (0.02, 1.5)


def test_error_columns_that_are_none(tmp_path):
    pdf = read_gr(write(tmp_path, rows(R, G, np.zeros_like(R))))
    assert pdf.dg is None
    assert "error column" in pdf.notes[0]
    assert read_gr(write(tmp_path, rows(R, G, G, G, G))).dg is None


def bad(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Kinds of wrong input, each with a piece of the message that must be given."""
    nan = G.copy()
    nan[100] = np.nan
    shuffled = R.copy()
    shuffled[[3, 4]] = shuffled[[4, 3]]
    repeated = R.copy()
    repeated[7] = repeated[6]
    lines = rows(R, G).splitlines()
    return {
        "missing": (tmp_path / "none.gr", "no such file"),
        "folder": (tmp_path, "is a folder"),
        "empty": (write(tmp_path, "", "empty.gr"), "is empty"),
        "blank": (write(tmp_path, " \n\n", "blank.gr"), "is empty"),
        "binary": (write(tmp_path, bytes(range(256)) * 20, "binary.gr"), "binary"),
        "zip": (write(tmp_path, b"PK\x03\x04\x14\x00" + b"a" * 100, "zip.gr"), "binary"),
        "prose": (write(tmp_path, "This is\nnot a PDF\n", "prose.gr"), "no columns of numbers"),
        "header only": (write(tmp_path, PDFGETX3, "header.gr"), "no numbers after"),
        "text among numbers": (
            write(tmp_path, "\n".join([*lines[:500], "5.0 abc", *lines[500:]]), "text.gr"),
            "line 501 has 'abc'",
        ),
        "text behind the mark": (write(tmp_path, PDFGETX3 + "0.01 x\n" + rows(R, G), "mark.gr"), "'x'"),
        "ragged": (
            write(tmp_path, "\n".join([*lines[:20], "0.2 1 2", *lines[21:]]), "rag.gr"),
            "line 21 has 3 columns",
        ),
        "cut off": (write(tmp_path, "\n".join([*lines[:20], "0.2"]), "cut.gr"), "line 21 has one column"),
        "NaN": (write(tmp_path, rows(R, nan), "nan.gr"), "G is not a finite number in 1 rows, first at point 101"),
        "unsorted": (write(tmp_path, rows(shuffled, G), "unsorted.gr"), "not ascending at point 5"),
        "descending": (write(tmp_path, rows(R[::-1], G[::-1]), "down.gr"), "not ascending at point 2"),
        "repeated": (write(tmp_path, rows(repeated, G), "repeated.gr"), "repeated at point 8"),
        "negative": (write(tmp_path, rows(R - 1.0, G), "negative.gr"), "negative r"),
        "one column": (write(tmp_path, rows(G), "one.gr"), "one column"),
        "short": (write(tmp_path, rows(R[:5], G[:5]), "short.gr"), "5 points"),
        "decimal comma": (write(tmp_path, rows(R, G, separator=",").replace(".", ","), "comma.gr"), "decimal comma"),
        "zero": (write(tmp_path, rows(R, 0.0 * G), "zero.gr"), "G is 0 throughout"),
        "S(Q)": (write(tmp_path, "#### start data\n#L Q($\\AA^{-1}$) S\n" + rows(R, G), "a.sq"), "not r"),
    }


KINDS = [
    "missing", "folder", "empty", "blank", "binary", "zip", "prose", "header only", "text among numbers",
    "text behind the mark", "ragged", "cut off", "NaN", "unsorted", "descending", "repeated", "negative", "one column",
    "short", "decimal comma", "zero", "S(Q)",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_one_line_with_file_and_cause(tmp_path, kind):
    path, cause = bad(tmp_path)[kind]
    with pytest.raises(DataError) as caught:
        read_gr(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert cause in message
    assert "\n" not in message


def test_every_kind_is_tested(tmp_path):
    assert sorted(bad(tmp_path)) == sorted(KINDS)


@pytest.mark.parametrize("problem", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_files_the_system_will_not_give(tmp_path, monkeypatch, problem):
    path = write(tmp_path, rows(R, G))

    def refuse(self):
        raise problem

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"a\.gr: (no permission|cannot be read: Input)"):
        read_gr(path)


def test_unusable_q_limits_are_dropped_and_said(tmp_path):
    pdf = read_gr(write(tmp_path, "qmin = 30\nqmax = 25\n" + rows(R, G)))
    assert (pdf.qmin, pdf.qmax) == (None, 25.0)
    assert "qmin = 30" in pdf.notes[0]
    assert read_gr(write(tmp_path, "qmax = nan\n" + rows(R, G))).qmax is None
    assert read_gr(write(tmp_path, "qmax = -3\n" + rows(R, G))).qmax is None


def test_write_then_read_gives_the_same(tmp_path):
    pdf = MeasuredPdf(R, G, np.full_like(R, 0.1), 0.8, 25.0, "Pt55", {"temperature": "300"})
    write_gr(tmp_path / "out.gr", pdf, comment="two\nlines")
    back = read_gr(tmp_path / "out.gr")
    np.testing.assert_array_equal(back.r, pdf.r)
    np.testing.assert_allclose(back.g, pdf.g, rtol=1e-6)
    np.testing.assert_allclose(back.dg, pdf.dg)
    assert (back.qmin, back.qmax, back.composition) == (0.8, 25.0, "Pt55")
    assert back.metadata["temperature"] == "300"
    assert [path.name for path in tmp_path.iterdir()] == ["out.gr"]


def test_fine_grid_keeps_its_points(tmp_path):
    r = 10.0 + np.arange(100) * 1e-6
    write_gr(tmp_path / "fine.gr", MeasuredPdf(r, np.sin(r)))
    np.testing.assert_allclose(read_gr(tmp_path / "fine.gr").r, r, atol=1e-9)


def test_resampling_is_exact_for_band_limited_data_and_says_what_is_missing():
    qmax = 25.0
    r = np.arange(1.2, 12.0, 0.01)
    wave = lambda x: np.sin(0.9 * qmax * x) + 0.5 * np.sin(3.1 * x)  # noqa: E731
    pdf = MeasuredPdf(r, wave(r))
    grid = np.arange(0.0, 15.0, 0.1)
    g, notes = pdf.on_grid(grid)
    inside = (grid >= 1.2 - 1e-9) & (grid < 11.99)
    np.testing.assert_allclose(g[inside], wave(grid[inside]), atol=2e-3)
    assert np.all(g[~inside & (grid < 1.19)] == 0.0)
    assert np.all(g[grid > 12.0] == 0.0)
    assert len(notes) == 2
    assert "below 1.2" in notes[0]
    assert "above" in notes[1]


def test_between_is_inclusive_and_complains_when_empty():
    pdf = MeasuredPdf(R, G)
    part = pdf.between(1.5, 5.0)
    assert (part.r[0], part.r[-1], part.r.size) == (1.5, 5.0, 351)
    with pytest.raises(DataError, match=r"0 points between 50 and 60 Å; the data cover 0 to 9.99 Å"):
        pdf.between(50.0, 60.0)


def test_a_pdf_does_not_change():
    pdf = MeasuredPdf(R.copy(), G.copy())
    with pytest.raises(ValueError, match="read-only"):
        pdf.g[0] = 1.0


@pytest.mark.parametrize(
    ("r", "g", "cause"),
    [
        (R, G[:-1], "r has 1000 values but G has 999"),
        (R[:, None], G, "expected one dimension"),
        (R, G * np.inf, "not a finite number"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_arrays_that_are_no_pdf(r, g, cause):
    with pytest.raises(DataError, match=cause):
        MeasuredPdf(r, g)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Pt", {"Pt": 1.0}),
        ("Au144 S60 C180", {"Au": 144.0, "S": 60.0, "C": 180.0}),
        ("La0.8Ca0.2MnO3", {"La": 0.8, "Ca": 0.2, "Mn": 1.0, "O": 3.0}),
        ("Ni(OH)2", {"Ni": 1.0, "O": 2.0, "H": 2.0}),
        ("Al2(Si(OH)2)3", {"Al": 2.0, "Si": 3.0, "O": 6.0, "H": 6.0}),
        ("Co, C", {"Co": 1.0, "C": 1.0}),
        ("", {}),
        ("platinum", {}),
        ("Qq3", {}),
        ("(Au", {}),
        ("Au)2", {}),
        ("3", {}),
    ],
)
def test_formulas(text, expected):
    assert parse_formula(text) == pytest.approx(expected)


MEASURED = {
    "JQ_S1.gr": ("Pt", 1.0, 21.998245281, 50.0),
    "Au144pMBA.gr": ("Au", 1.33, 28.0, 20.0),
    "Ni-bulk.gr": ("Ni", 0.0, 24.0, 60.0),
}


@pytest.mark.skipif("HPCPDF_MEASURED" not in os.environ, reason="HPCPDF_MEASURED names no folder of measured PDFs")
@pytest.mark.parametrize("name", MEASURED)
def test_measured_files(name):
    path = Path(os.environ["HPCPDF_MEASURED"]) / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    pdf = read_gr(path)
    composition, qmin, qmax, rmax = MEASURED[name]
    assert (pdf.composition, pdf.qmin, pdf.qmax) == (composition, qmin, qmax)
    assert pdf.r[0] == 0.0
    assert pdf.r[-1] == pytest.approx(rmax)
    assert pdf.rstep == pytest.approx(0.01)
    assert pdf.notes == ()
