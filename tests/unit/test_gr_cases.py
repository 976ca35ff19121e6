"""Files as people write them: each must give the same PDF, or be refused with what is wrong and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from ase.cluster import Octahedron
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcpdf import DataError, PdfParams, read_gr, simulate_pdf
from hpcpdf.pdf.gr_header import number, parse
from hpcpdf.pdf.gr_labels import read_label, split_labels
from hpcpdf.pdf.gr_units import parse_unit

CASES = Path(__file__).parent / "data" / "cases"
EXPECTED = json.loads((CASES / "expected.json").read_text())


@pytest.mark.parametrize("name", EXPECTED)
def test_cases(name):
    expected = EXPECTED[name]
    if "refuse" in expected:
        with pytest.raises(DataError) as caught:
            read_gr(CASES / name)
        message = str(caught.value)
        assert message.startswith(f"{CASES / name}: ")
        assert "\n" not in message
        assert all(word in message for word in expected["refuse"])
        return
    pdf = read_gr(CASES / name)
    if expected.get("same"):
        clean = read_gr(CASES / "clean.gr")
        np.testing.assert_allclose(pdf.r, clean.r, rtol=1e-9)
        np.testing.assert_allclose(pdf.g, clean.g, rtol=1e-5, atol=1e-6)
    for key in ("qmin", "qmax"):
        if key in expected:
            assert getattr(pdf, key) == pytest.approx(expected[key], rel=1e-12)


def printed(values: np.ndarray) -> np.ndarray:
    """The values that six digits leave."""
    return np.array([float(f"{value:.6g}") for value in values])


@cache
def sample() -> tuple[np.ndarray, np.ndarray]:
    """r and G of 55 platinum atoms as six digits give them, without the origin."""
    params = PdfParams(rmin=0.05, rmax=15.0, rstep=0.05, qmin=1.0, qmax=22.0, biso=0.6)
    r, g = simulate_pdf(Octahedron("Pt", 5, 2).positions, params)
    return printed(r), printed(g)


R, G = sample()
E = np.full_like(R, 0.02)
N = np.arange(R.size)
HEAD = "qmin = 1.0\nqmax = 22.0\n"


def rows(*columns: np.ndarray, by: str = " ", form: str = "{:.8g}") -> str:
    return "".join(by.join(form.format(v) for v in row) + "\n" for row in zip(*columns, strict=True))


def commas(text: str) -> str:
    return text.replace(".", ",")


def each_line(text: str, change: Callable[[int, str], str]) -> str:
    return "\n".join(change(i, line) for i, line in enumerate(text.splitlines())) + "\n"


def widths(*counts: tuple[int, int]) -> str:
    """Rows of r, G, 0, dG, of which so many (first number) columns are written for so many rows (second number)."""
    wide = rows(R, G, 0 * R, E).splitlines()
    kept, at = [], 0
    for width, number_of in counts:
        kept += [" ".join(line.split()[:width]) for line in wide[at : at + number_of]]
        at += number_of
    return "\n".join(kept) + "\n"


SAME = {
    # Units of columns, in every usual spelling.
    "nm, bracketed": "r [nm]\tG(r) [nm^-2]\n" + rows(R / 10, 100 * G, by="\t"),
    "nm, slashed": "#L r / nm   G / nm^-2\n" + rows(R / 10, 100 * G),
    "nm, underscored": "r_nm,G_nm-2\n" + rows(R / 10, 100 * G, by=","),
    "nm, spoken": "# r in nm, G in nm^-2\n" + rows(R / 10, 100 * G),
    "nm, TeX": "#L r($\\mathrm{nm}$)  G($\\mathrm{nm}^{-2}$)\n" + rows(R / 10, 100 * G),
    "nm, raised": "r (nm)  G (nm⁻²)\n" + rows(R / 10, 100 * G),
    "nm, G unnamed": "r (nm)  G(r)\n" + rows(R / 10, 100 * G),
    "nm, G in Å": "r (nm)  G(Å^-2)\n" + rows(R / 10, G),
    "nm, spelled out": "Distance r (nanometers);Reduced PDF (1/nm^2)\n" + rows(R / 10, 100 * G, by=";"),
    "nm, with errors": "r(nm) G(nm^-2) dG(nm^-2)\n" + rows(R / 10, 100 * G, 100 * E),
    "nm, a row of units": "r\tG\nnm\tnm^-2\n" + rows(R / 10, 100 * G, by="\t"),
    "nm, lines of axes": "Pt particles\nr (nm)\nG (nm^-2)\n" + rows(R / 10, 100 * G),
    "nm, general": "# units: nm\n" + rows(R / 10, 100 * G),
    "pm": "r (pm)  G (pm^-2)\n" + rows(100 * R, 1e-4 * G),
    "pm, inverse": "r [pm];G [1/pm2]\n" + rows(100 * R, 1e-4 * G, by=";"),
    "m": "r (m)  G (m^-2)\n" + rows(1e-10 * R, 1e20 * G),
    "Å of all kinds": "#L r(\u212b)  G(\u212b$^{-2}$)\n" + rows(R, G),
    "Å, AA": "#L r($\\AA$)  G($\\AA^{-2}$)\n" + rows(R, G),
    "Å, spelled": "r (Ångström), G (angstroms^-2)\n" + rows(R, G, by=","),
    "nm, far above": "# r (nm)  G (nm^-2)\n" + "# a remark\n" * 6 + "# qmax = 220 nm^-1\n" + rows(R / 10, 100 * G),
    "nm, short": "r/nm,G/nm^-2\n" + rows(R / 10, 100 * G, by=","),
    "nm, of r": "# unit of r: nm\n" + rows(R / 10, 100 * G),
    # Names of columns.
    "capitals": "R(A)  G(A^-2)\n" + rows(R, G),
    "small letters, with unit": "r(å) g(å^-2)\n" + rows(R, G),
    "g alone, and no g(r)": "r,g\n" + rows(R, G, by=","),
    "quoted": '"r","G(r)"\n' + rows(R, G, by=","),
    "G among others": "r T(r) G(r) R(r)\n" + rows(R, G + R, G, R * G + R**2),
    "D(r)": "r D(r)\n" + rows(R, G),
    "x y": "x y\n" + rows(R, G),
    # Index columns.
    "index from 1": rows(N + 1, R, G),
    "index, padded": each_line(rows(R, G), lambda i, line: f"{i:04d} {line}"),
    "index, floating": rows(N, R, G, form="{:.6e}"),
    "index, thinned": rows(5 * N + 100, R, G, by=","),
    "index, named": "index r G\n" + rows(N, R, G),
    "index, pandas": "Unnamed: 0;r;G\n" + rows(N, R, G, by=";"),
    "index, names fewer": "       r        G\n" + rows(N, R, G, by="   "),
    "index, bracketed": each_line(rows(R, G), lambda i, line: f"[{i}] {line}"),
    "index, colon": each_line(rows(R, G), lambda i, line: f"{i + 1}: {line}"),
    "index, lettered": each_line(rows(R, G, by=","), lambda i, line: f"row{i},{line}"),
    "index, quoted": each_line(rows(R, G, by=","), lambda i, line: f'"{i}",{line}'),
    "index, with errors": ",r,G,dG\n" + rows(N, R, G, E, by=","),
    "index, decimal commas": commas("n;r;G\n" + rows(N, R, G, by=";")),
    "index behind": rows(R, G, N),
    "index, descending": rows(N[::-1], R, G, by=","),
    "index, with gaps": rows(N + N // 7, R, G, by=","),
    "index, two": ",index,r,G\n" + rows(N, N, R, G, by=","),
    "index, all the same": rows(0 * N + 7, R, G),
    # Decimal commas.
    "comma, blanks": commas(rows(R, G)),
    "comma, tabs": "r\tG\n" + commas(rows(R, G, by="\t")),
    "comma, semicolons and blanks": commas(rows(R, G, by=" ; ")),
    "comma, comma and blank": commas(rows(R, G)).replace(" ", ", "),
    "comma, quoted": commas(each_line(rows(R, G), lambda i, line: '"' + line.replace(" ", '","') + '"')),
    "comma, powers": commas(rows(R, G, by=";", form="{:.6E}")),
    "comma, behind a header with points": HEAD + "#### start data\n#L r(A) G(A^-2)\n" + commas(rows(R, G)),
    "comma, errors": commas(rows(R, G, E, by=";")),
    "comma, ends with semicolons": each_line(commas(rows(R, G, by=";")), lambda i, line: line + ";"),
    # Rows that change width.
    "wider once": widths((2, 40), (4, 400)),
    "wider twice": widths((2, 40), (3, 40), (4, 400)),
    "wider in the last row": widths((2, R.size - 1), (4, 1)),
    "narrower": widths((4, 40), (2, 400)),
    "back and forth": widths((2, 40), (4, 40), (2, 400)),
    "by turns": "".join(
        widths((2, 400)).splitlines(True)[i] if i % 2 else widths((3, 400)).splitlines(True)[i] for i in N
    ),
    # Fits.
    "fit: obs first": "r Gobs Gcalc Gdiff\n" + rows(R, G, 0.9 * G, 0.1 * G),
    "fit: calc first": "r,G_calc,G_obs\n" + rows(R, 0.9 * G, G, by=","),
    "fit: PDFgui": "##### start data\n#L r(A)  G(r)  d_r  d_Gr  Gdiff\n" + rows(R, 0.75 * G, 0 * R, E, 0.25 * G),
    "fit: y beside ycalc": "# x ycalc y dy\n" + rows(R, 0.9 * G, G, E),
    "fit: experiment and RMC": "r, G(r) (rmc), G(r) (expt)\n" + rows(R, 0.9 * G, G, by=", "),
    "fit: plain beside fit": "r;G_fit;G\n" + rows(R, 0.9 * G, G, by=";"),
    "fit: data and model": "r model data\n" + rows(R, 0.9 * G, G),
    "fit: refined": "r G_refined G_exp\n" + rows(R, 0.9 * G, G),
    "fit: c and o": "r G_c G_o\n" + rows(R, 0.9 * G, G),
    "fit: in nm": "r(nm) Gcalc(nm^-2) Gobs(nm^-2)\n" + rows(R / 10, 90 * G, 100 * G),
    # What stands behind the data.
    "words": rows(R, G) + "end of file\n",
    "a mark": rows(R, G) + "\n</data>\n",
    "sums": rows(R, G) + "Rw = 0.12\nchi2 = 3.4\n",
    "a count": rows(R, G) + "299 points written\n",
    "Ctrl-Z": rows(R, G) + "\x1a",
    "Ctrl-Z and rests": rows(R, G) + "\x1aold words\x00\x00",
    "end of transmission": rows(R, G) + "\x04\n",
    "padding": rows(R, G) + "\0" * 512,
    "form feed": rows(R, G) + "\f\n",
    "a bell in the last row": rows(R, G).rstrip() + "\x07\n",
    "lines drawn": rows(R, G) + "-----\n",
    "bars": each_line(rows(R, G, by=" | "), lambda i, line: f"| {line} |"),
    "colours of a terminal": rows(R, G) + "\x1b[0mdone\x1b[m\n",
    "words in the last row": rows(R, G).rstrip() + " END\n",
    "remarks of other languages": rows(R, G) + "% end\n! end\n// end\n",
    "minus signs and blanks of print": rows(R, G).replace("-", "\u2212").replace(" ", "\u00a0"),
}


@pytest.mark.parametrize("kind", SAME)
def test_another_way_to_write_the_same(tmp_path, kind):
    (tmp_path / "a.gr").write_bytes(SAME[kind].encode())
    pdf = read_gr(tmp_path / "a.gr")
    np.testing.assert_allclose(pdf.r, R, rtol=1e-7)
    np.testing.assert_allclose(pdf.g, G, rtol=1e-6, atol=1e-9)
    if pdf.dg is not None:
        np.testing.assert_allclose(pdf.dg, E, rtol=1e-6)


def test_errors_keep_their_column(tmp_path):
    for kind in ("nm, with errors", "comma, errors", "index, with errors", "fit: y beside ycalc"):
        (tmp_path / "a.gr").write_text(SAME[kind])
        np.testing.assert_allclose(read_gr(tmp_path / "a.gr").dg, E, rtol=1e-6)
    for kind in ("index behind", "wider once", "by turns"):
        (tmp_path / "a.gr").write_text(SAME[kind])
        assert read_gr(tmp_path / "a.gr").dg is None


HEADERS = [
    # Units of header values.
    "qmin = 10 nm^-1\nqmax = 220 nm^-1\n",
    "qmin = 10.0 1/nm\nqmax = 220.0 1/nm\n",
    "# qmin: 10 [nm-1]\n# qmax: 220 [nm-1]\n",
    "qmin (1/nm) = 10\nqmax (1/nm) = 220\n",
    "Qmin=10 nm^-1, Qmax=220 nm^-1\n",
    "qmin = 10 inverse nm\nqmax = 220 inverse nanometers\n",
    "qmin = 10 nm⁻¹\nqmax = 220 nm⁻¹\n",
    "qmin = 0.01 pm^-1\nqmax = 0.22 1/pm\n",
    "qmin = 1.0 A^-1\nqmax = 22.0 A-1\n",
    "qmin = 1.0 Å⁻¹\nqmax = 22.0 \\AA^{-1}\n",
    "qmin = 1.0 1/Angstrom\nqmax = 220.0 nm**-1\n",
    "qmin = 10\nqmax = 220 nm^-1\n",
    "qmin = 10\nqmax = 220\n",
    "qmin_nm-1 = 10\nqmax_nm-1 = 220\n",
    # Keys.
    "# Qmin: 1.0\n# Qmax: 22.0\n",
    "# Q_min = 1.0\n# Q_max = 22.0\n",
    "# Q-min = 1.0   Q-max = 22.0\n",
    "# QMIN=1.0 QMAX=22.0\n",
    "# Q min: 1.0; Q max: 22.0\n",
    "# qmin 1.0\n# qmax 22.0\n",
    "qmin\t1.0\nqmax\t22.0\n",
    "qmin,1.0\nqmax,22.0\n",
    "# minimum Q = 1.0\n# maximum Q = 22.0\n",
    "# Q_{min} = 1.0\n# Q_{max} = 22.0\n",
    '# "qmin": 1.0,\n# "qmax": 22.0,\n',
    "% Qmin : 1.0\n% Qmax : 22.0\n",
    "Qmin/nm^-1 = 10\nQmax/nm^-1 = 220\n",
    "qmin in nm^-1: 10\nqmax in nm^-1: 220\n",
    "# Q range: 1.0 - 22.0\n",
    "Q-range = 10 to 220 nm^-1\n",
    "qrange [1/nm]: 10, 220\n",
    "qmax_inst = 29\nqmaxinst = 29\nqmin := 1.0\nqmax := 22.0\n",
    "Qmax (instrument) = 29.0\nQmin (used) = 1.0\nQmax (used) = 22.0\n",
    # Commas.
    "qmin=1,0,qmax=22,0\n",
    "qmin = 1,0\nqmax = 22,0\n",
    "Qmin=1,0, Qmax=22,0\n",
    "qmin = 10,0 nm^-1\nqmax = 220,0 nm^-1\n",
]


@pytest.mark.parametrize("header", HEADERS)
def test_another_way_to_state_q(tmp_path, header):
    for begin in ("", "#### start data\n#L r(A) G(A^-2)\n"):
        (tmp_path / "a.gr").write_text(header + begin + rows(R, G))
        pdf = read_gr(tmp_path / "a.gr")
        assert (pdf.qmin, pdf.qmax) == (pytest.approx(1.0), pytest.approx(22.0))
        np.testing.assert_array_equal(pdf.g, G)


def test_q_below_the_data_counts_too(tmp_path):
    (tmp_path / "a.gr").write_text(rows(R, G) + "# qmin = 1.0\nqmax = 22.0\n")
    pdf = read_gr(tmp_path / "a.gr")
    assert (pdf.qmin, pdf.qmax) == (1.0, 22.0)


def test_other_values_have_units_as_well():
    head = parse(["qdamp = 0.4 nm^-1", "Q damp: 0.5", "rmax = 2.0 nm", "delta2 = 0.02 nm^2", "temperature = 300 K"])
    assert number(head, "qdamp") == pytest.approx(0.04)
    assert number(head, "rmax") == pytest.approx(20.0)
    assert number(head, "delta2") == pytest.approx(2.0)
    assert number(head, "temperature") == 300.0


@pytest.mark.parametrize("line", ["# Composition: Pt", "Sample composition = Pt", "chemical formula: Pt", "FORMULA=Pt"])
def test_composition_in_other_words(line):
    assert parse([line])["composition"] == "Pt"


@pytest.mark.parametrize(
    "line", ["mode = neutron", "# Mode: Neutrons", "radiation: N", "stype=N qmax=30", "scattering type = neutron"]
)
def test_neutrons_in_other_words(tmp_path, line):
    (tmp_path / "a.gr").write_text(line + "\n" + rows(R, G))
    assert read_gr(tmp_path / "a.gr").radiation == "neutron"
    assert read_gr(tmp_path / "a.gr", radiation="xray").radiation == "xray"


def bumps(height: float, floor: float) -> np.ndarray:
    return floor + height * np.exp(-((R - 3.0) ** 2)) + 0.3 * height * np.exp(-((R - 7.0) ** 2))


REFUSED = {
    # Other quantities, by name and by themselves.
    "2theta": ("x", "2theta (deg),I\n" + rows(R, bumps(800, 1000), by=","), "2θ"),
    "tth": ("xy", "# tth intensity\n" + rows(R, bumps(800, 1000)), "2θ"),
    "lines of axes": ("chi", "a.tif\nQ (inverse nm)\nIntensity\n  299\n" + rows(R, bumps(800, 1000)), "is Q"),
    "Q": ("gr", "Q(A^-1)  F(Q)\n" + rows(R, G), "is Q"),
    "Q by its unit": ("gr", "x (1/nm)  y\n" + rows(R, G), "is Q"),
    "d": ("gr", "d-spacing counts\n" + rows(R, bumps(800, 1000)), "d-spacing"),
    "I": ("gr", "x,Intensity\n" + rows(R, bumps(800, 0) - 10, by=","), "I(Q)"),
    "g(r)": ("gr", "r;g(r)\n" + rows(R, 1 + 0.1 * G, by=";"), "ρ r (g(r) − 1)"),
    "g(r), in nm": ("gr", "r (nm)  g(r)\n" + rows(R / 10, 1 + 0.1 * G), "g(r)"),
    "g(r), unnamed": ("gr", rows(R, np.where(R < 1.8, 0.0, 1 + 0.02 * G)), "tends to 1"),
    "gofr": ("dat", "r gofr\n" + rows(R, 1 + 0.1 * G), "g(r)"),
    "total T(r)": ("gr", "r;total T(r)\n" + rows(R, G + R, by=";"), "T(r)"),
    "I(Q) by name": ("dat", "Q [1/nm],I(Q)\n" + rows(R, bumps(800, 1000), by=","), "I(Q)"),
    "2theta with degrees": ("dat", "2theta/deg;counts\n" + rows(R, bumps(800, 1000), by=";"), "2θ"),
    "g(r) - 1": ("gr", "r,g(r)-1\n" + rows(R, 0.1 * G, by=","), "h(r)"),
    "a pattern with a strong peak": ("gr", rows(R, bumps(5e5, 100)), "above 0 everywhere"),
    "T(r)": ("gr", "r, T(r)\n" + rows(R, G + R, by=","), "T(r)"),
    "T(r) in capitals": ("gr", "#L r(A) T(r)\n" + rows(R, G + R), "T(r)"),
    "total correlation": ("csv", "r;total correlation function\n" + rows(R, G + R, by=";"), "T(r)"),
    "R(r)": ("gr", "r R(r)\n" + rows(R, R * G + R**2), "R(r)/r"),
    "RDF": ("gr", "r,RDF\n" + rows(R, R * G + R**2, by=","), "R(r)"),
    "P(r)": ("gr", "r P(r)\n" + rows(R, G), "P(r)"),
    "S(Q) file": ("sq", rows(R, 1 + 0.1 * G), "read_fq"),
    "I(Q) file": ("iq", rows(R, G), ".iq"),
    "a pattern": ("gr", rows(R, bumps(500, 100)), "above 0 everywhere"),
    "a pattern from 5 on": ("xy", rows(R + 5.0, bumps(500, 100), by=","), "above 0 everywhere"),
    "counts": ("dat", rows(R, np.round(bumps(5e5, 3e4))), "above 0 everywhere"),
    "rising": ("gr", rows(R, 0.1 * R + bumps(0.01, 0.0)), "above 0 everywhere"),
    # Index columns and nothing else, ambiguous commas.
    "index for r": ("gr", rows(N, G), "an index"),
    "index for r, named": ("csv", ",G\n" + rows(N, G, by=","), "an index"),
    "commas for all": ("csv", commas(rows(R, G, by=",")), "decimal comma"),
    "commas for all, three": ("csv", commas(rows(R, G, E, by=",")), "decimal comma"),
    "commas among points": ("gr", each_line(rows(R, G), lambda i, t: commas(t) if i == 9 else t), "decimal comma"),
    "one column of commas": ("csv", commas(rows(R)), "decimal comma"),
    # Broken rows.
    "a row too wide": ("gr", each_line(rows(R, G), lambda i, t: t + " 1" if i == 20 else t), "line 21 has 3 columns"),
    "last row cut": ("gr", rows(R, G, E) + "15.0 0.1\n", "has 2 columns"),
    "last row half": ("gr", rows(R, G) + "15.0 ***\n", "'***'"),
    "words, then numbers": ("gr", rows(R, G) + "second scan\n" + rows(R, G), "'second'"),
    "words within": ("gr", each_line(rows(R, G), lambda i, t: "pause" if i == 50 else t), "'pause'"),
    "zeros within": ("gr", rows(R, G)[:2000] + "\0" * 512 + rows(R, G)[2000:], "torn"),
    "fit without names": ("fgr", rows(R, 0.9 * G, 0 * R, G), "without names"),
    "observed not in all rows": ("fgr", "r Gcalc dr Gobs\n" + widths((2, 40), (4, 400)), "'Gobs'"),
    # Arithmetic.
    "large": ("gr", rows(R, 1e160 * G), "cannot be computed with"),
    "larger": ("gr", rows(R, 1e308 * np.sign(G)), "cannot be computed with"),
    "beyond": ("gr", rows(R, G).replace("\n", "e400\n"), "not a finite number"),
    "small": ("gr", rows(R, 1e-160 * G), "cannot be computed with"),
    "subnormal": ("gr", rows(R, 1e-310 * G), "cannot be computed with"),
    "large in nm": ("gr", "r (pm) G (pm^-2)\n" + rows(R, 1e306 * G), "not a finite number"),
    "r vanishes": ("gr", rows(1e-200 * R, G), "r ends at"),
    "r explodes": ("gr", rows(1e200 * R, G), "r ends at"),
    "r in nm, unsaid": ("gr", rows(R / 10, 100 * G), "name its unit"),
    "r in m, unsaid": ("gr", rows(1e-10 * R, G), "name its unit"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.filterwarnings("error")
def test_refused_in_one_line_that_says_why(tmp_path, kind):
    suffix, text, word = REFUSED[kind]
    path = tmp_path / f"a.{suffix}"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_gr(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert word in message
    assert "\n" not in message


def test_errors_that_explode_are_no_errors(tmp_path):
    (tmp_path / "a.gr").write_text(rows(R, G, 1e300 * E))
    pdf = read_gr(tmp_path / "a.gr")
    assert pdf.dg is None
    assert "error column" in pdf.notes[0]


def test_a_full_debye_sum_is_a_pdf_though_it_is_positive_in_the_mean(tmp_path):
    """From Q = 0 on, G(r) has the whole particle under it; it is a PDF all the same."""
    for biso, rmax in ((0.6, 15.0), (3.0, 15.0), (3.0, 8.0)):
        r, g = simulate_pdf(Octahedron("Pt", 9, 2).positions, PdfParams(rmax=rmax, rstep=0.05, qmin=0.0, biso=biso))
        (tmp_path / "a.gr").write_text(rows(r, printed(g)))
        np.testing.assert_array_equal(read_gr(tmp_path / "a.gr").g, printed(g))


@pytest.mark.parametrize(
    ("text", "length", "power"),
    [
        ("nm", 10, 1), ("1/nm", 10, -1), ("nm^-1", 10, -1), ("[nm-1]", 10, -1), ("nm⁻²", 10, -2), ("1/nm^2", 10, -2),
        ("pm", 0.01, 1), ("A-1", 1, -1), ("$\\AA^{-2}$", 1, -2), ("Å", 1, 1), ("angstrom", 1, 1), ("/Å", 1, -1),
        ("per nm", 10, -1), ("inverse Angstroms", 1, -1), ("nanometres", 10, 1), ("µm", 1e4, 1), ("m", 1e10, 1),
    ],
)  # fmt: skip
def test_units(text, length, power):
    unit = parse_unit(text)
    assert unit is not None
    assert (unit.length, unit.power) == (length, power)


@pytest.mark.parametrize("text", ["", "K", "deg", "r", "Q", "arb. units", "nmr", "Pt", "counts", "G"])
def test_no_units(text):
    assert parse_unit(text) is None


def test_names_with_blanks_divide_as_the_columns_do():
    assert split_labels("# r (nm)  G (nm^-2)", 2) == ["r (nm)", "G (nm^-2)"]
    assert split_labels(",r,G", 3) == ["", "r", "G"]
    assert split_labels("#L r G(r) dr dG(r)", 4) == ["r", "G(r)", "dr", "dG(r)"]
    label = read_label("Q[S(Q)-1]", first=False)
    assert label.quantity == "F(Q)"


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    by=st.sampled_from([" ", "\t", ";", ", ", " | "]),
    comma=st.booleans(),
    index=st.sampled_from([None, "{}", "{:05d}", "{}:", "[{}]", "row{}"]),
    unit=st.sampled_from([("A", 1.0), ("nm", 10.0), ("pm", 0.01)]),
    label=st.sampled_from(["#L r({u}){s}G({u}^-2)", "# r [{u}]{s}Gobs [1/{u}^2]", "r / {u}{s}G(r) / {u}-2"]),
    errors=st.booleans(),
    head=st.sampled_from(HEADERS),
    mark=st.sampled_from(["", "#### start data\n"]),
    foot=st.sampled_from(["", "END\n", "\x1a", "Rw: 0.1\n"]),
)
def test_ways_of_writing_mix(by, comma, index, unit, label, errors, head, mark, foot):
    """Any choice of divider, decimal mark, index, unit, names, header and end gives the same PDF."""
    name, length = unit
    columns = [R / length, G * length**2, *([E * length**2] if errors else [])]
    lines = [by.join(f"{value:.8g}" for value in row) for row in zip(*columns, strict=True)]
    if index is not None:
        lines = [index.format(i) + by + line for i, line in enumerate(lines)]
    body = "\n".join(lines) + "\n"
    names = label.format(u=name, s="; " if by == ";" else "   ") + (
        "" if not errors else ("; " if by == ";" else "   ") + "dG"
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.gr"
        path.write_text(head + mark + names + "\n" + (commas(body) if comma else body) + foot)
        pdf = read_gr(path)
    np.testing.assert_allclose(pdf.r, R, rtol=1e-7)
    np.testing.assert_allclose(pdf.g, G, rtol=1e-6, atol=1e-9)
    assert (pdf.qmin, pdf.qmax) == (pytest.approx(1.0), pytest.approx(22.0))
    assert (pdf.dg is not None) == errors
