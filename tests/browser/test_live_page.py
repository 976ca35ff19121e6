"""`hpcpdf serve` in a browser: a file is dropped, its answer seen, its report opened; nothing comes from the net."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ase.cluster import Octahedron
from browser import CHROMIUM, Browser

import hpcpdf
from hpcpdf.pdf.gr import MeasuredPdf, write_gr

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


def measured(path: Path, bond: float) -> Path:
    atoms = Octahedron("Pt", 4, 1, latticeconstant=bond * 2.0**0.5)
    atoms.pbc = False
    params = hpcpdf.PdfParams(rmin=0.0, rmax=20.02, rstep=0.04, qmin=0.8, qmax=20.0, qdamp=0.03, biso=0.4)
    r, g = hpcpdf.simulate_pdf(atoms, params)
    write_gr(path, MeasuredPdf(r[20:], g[20:], None, 0.8, 20.0, "Pt", {"qdamp": "0.03"}))
    return path


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "data").mkdir()
    command = [str(Path(sys.executable).with_name("hpcpdf")), "serve", str(tmp_path / "data"), "--element", "Pt"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([*command, "--effort", "quick"], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        yield next(line.strip() for line in process.stdout if line.startswith("http"))
    finally:
        process.terminate()
        assert process.wait(10.0) == 143
        process.stdout.close()


def test_a_dropped_file_is_solved_and_its_report_opens(address: str, tmp_path: Path) -> None:
    first, second = measured(tmp_path / "Pt_300K.gr", 2.77), measured(tmp_path / "Pt_400K.gr", 2.78)
    (tmp_path / "notes.txt").write_text("no PDF")
    with Browser(tmp_path / "profile") as browser:
        browser.open(address)
        browser.wait("document.getElementById('status').textContent === '0 solved'")
        browser.drop("#drop", first, second, tmp_path / "notes.txt")
        browser.wait("document.getElementById('said').children.length === 3")
        said = browser.run("document.getElementById('said').innerText")
        assert "Pt_300K.gr: added" in said
        assert "notes.txt" in said
        assert "expected a file that ends in .gr" in said
        # The refusal is an answer of the server, of which the browser makes a note.
        refused = [text for text in browser.said if "400" in text]
        assert len(refused) == 1
        browser.said = [text for text in browser.said if text not in refused]
        browser.wait("document.body.dataset.solved === '2'", 180.0)
        table = browser.run("document.getElementById('rows').innerText")
        assert "2.7700" in table
        assert "2.7800" in table
        assert browser.run("document.querySelectorAll('#trends svg').length") == 6
        assert browser.run("document.getElementById('waiting').hidden")
        assert browser.run("document.documentElement.scrollWidth") <= 1280
        browser.run("document.querySelector('#rows a').click()")
        browser.wait("document.title.includes('Pt_300K') && !!document.getElementById('viewer')")
        assert browser.run("document.getElementById('viewer').toDataURL().length") > 5000
        assert browser.said == []
    assert sorted(path.name for path in (tmp_path / "data").glob("*.gr")) == ["Pt_300K.gr", "Pt_400K.gr"]
    assert hpcpdf.read_solution(tmp_path / "data" / "hpcpdf" / "Pt_300K")[0].n_atoms == 38


def test_the_page_says_when_nobody_serves_it(address: str, tmp_path: Path) -> None:
    with Browser(tmp_path / "profile") as browser:
        browser.open(address)
        browser.wait("document.getElementById('status').textContent === '0 solved'")
        browser.run("window.fetch = () => Promise.reject(new Error('gone'))")
        browser.wait("document.getElementById('status').textContent.includes('does not answer')")
        assert browser.said == []
