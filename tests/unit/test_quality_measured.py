"""The table of what measured PDFs decide, on PDFs whose answer is known."""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.cluster import Decahedron, Octahedron

import hpcpdf
from hpcpdf import PdfParams, simulate_pdf
from hpcpdf.pdf.gr import MeasuredPdf, write_gr


@pytest.fixture
def measured(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks/quality"))
    yield importlib.import_module("measured")
    sys.modules.pop("measured", None)


def platinum(cluster):
    return Atoms(f"Pt{len(cluster)}", positions=cluster.positions)


OCTAHEDRON, DECAHEDRON = platinum(Octahedron("Pt", 5, 1)), platinum(Decahedron("Pt", 3, 3, 0))


def test_faces(measured):
    assert measured.faces(OCTAHEDRON.positions) == 14
    assert measured.faces(platinum(Octahedron("Pt", 5, 0)).positions) == 8
    assert measured.faces(2.8 * np.array(list(np.ndindex(3, 3, 3)), dtype=float)) == 6
    assert measured.faces(2.8 * np.array(list(np.ndindex(3, 3, 1)), dtype=float)) == 2


def test_a_shape_that_is_there_is_seen(measured, monkeypatch, tmp_path):
    params = PdfParams(rmax=25.0, rstep=0.05, qmin=0.9, qmax=25.0, qdamp=0.03, biso=0.5, delta2=2.0)
    r, g = simulate_pdf(OCTAHEDRON.positions, params)
    write_gr(tmp_path / "Pt.gr", MeasuredPdf(r, g, None, params.qmin, params.qmax))

    def solve(pdf, element, refine, r_range, **more):
        found = [(OCTAHEDRON, "octahedron"), (OCTAHEDRON[:-1], "fcc"), (DECAHEDRON, "decahedron")]
        return [SimpleNamespace(atoms=atoms, family=family, rw=0.1 * k) for k, (atoms, family) in enumerate(found)]

    monkeypatch.setattr(hpcpdf, "solve", solve)
    result = measured.describe(tmp_path / "Pt.gr", "Pt", (1.5, 20.0))
    rows = {row["kind"]: row for row in result["descriptions"]}
    assert list(rows) == ["sphere", "shape", "other", "relaxed", "coordinates"]
    assert rows["sphere"]["family"] == "fcc"
    assert rows["other"]["family"] == "decahedron"
    assert (rows["shape"]["numbers"], rows["coordinates"]["numbers"]) == (5 + 14, 5 + 3 * len(OCTAHEDRON) - 6)
    assert rows["shape"]["rw"] < 0.01 < rows["sphere"]["rw"]
    assert "A shape is seen: octahedron shape" in result["decided"]
    assert "octahedron rather than decahedron" in result["decided"]
    assert "Coordinates of all atoms: more than the data can tell." in result["decided"]
    assert measured.table(result).splitlines()[-1] == result["decided"]


def test_words_for_bulk_and_for_no_shape(measured):
    ball = measured.Row("sphere", "fcc sphere", "fcc", 0.1, 6, -500.0)
    shape = measured.Row("shape", "fcc shape", "fcc", 0.099, 20, -440.0)
    sphere = SimpleNamespace(family="fcc", bulk=False, bond=2.77, diameters=(24.0, 30.0))
    said = measured.decided([ball, shape], sphere, {"bcc": 0.6, "fcc": 0.05})
    assert "diameter of 24-30 Å" in said
    assert "No shape is seen: R_w 0.100 -> 0.099 for 14 more numbers raises the criterion by 60." in said
    assert "Excluded by their bounds: bcc." in said
    sphere.bulk = True
    assert measured.decided([ball, shape], sphere, {}).startswith("Bulk fcc, no particle")
