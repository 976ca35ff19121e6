"""What Jupyter shows of an answer: small, well-formed, without scripts, and true."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from math import nan
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from ase import Atoms
from ase.cluster import Icosahedron, Octahedron
from solutions import solution

from hpcpdf.reconstruct.notebook import fit_svg, structure_svg
from hpcpdf.reconstruct.solution import Candidate, Posterior

SVG = "{http://www.w3.org/2000/svg}"


def tree(html: str) -> ElementTree.Element:
    """Parsed as XML, which is stricter than a browser."""
    return ElementTree.fromstring(html)


def dots(svg: str) -> int:
    """Spheres that are drawn: each has an outline and a filling."""
    paths = [path.get("d", "").count("M") for path in tree(svg).iter(f"{SVG}path")]
    assert sum(paths[::2]) == sum(paths[1::2])
    return sum(paths[::2])


def test_a_candidate_shows_structure_and_fit() -> None:
    candidate = solution()[0][0]
    html = candidate._repr_html_()
    text = "".join(tree(html).itertext())
    assert "Pt79 octahedron" in text
    assert f"{candidate.rw:.3f}" in text
    assert "70 %" in text
    assert len(tree(html).findall(f".//{SVG}svg")) == 2
    assert len(html) < 15_000
    assert html == candidate._repr_html_()


def test_a_solution_shows_its_ranking_and_what_it_says() -> None:
    answer = solution()[0]
    html = answer._repr_html_()
    text = "".join(tree(html).itertext())
    assert text.startswith("fair")
    for one in answer:
        assert f"{one.rw:.4f}" in text
    assert "diameter" in text
    assert answer.notes[0] in text
    assert len(html) < 25_000
    for forbidden in ("<script", "href", "src=", "url(", "onload"):
        assert forbidden not in html


def test_what_is_not_known_is_left_out() -> None:
    answer = solution()[0]
    bare = tuple(replace(one, probability=nan, equivalents=(), site_certainty=None) for one in answer)
    html = replace(answer, candidates=bare, posterior=Posterior(), family_bounds=(), notes=())._repr_html_()
    assert "nan" not in html
    assert "(90 %)" not in html
    tree(replace(answer, candidates=())._repr_html_())


def test_names_cannot_break_out() -> None:
    answer = solution()[0]
    odd = '<script>alert(1)</script> & "x"'
    html = replace(answer, source=odd, notes=(odd,), candidates=(replace(answer[0], family=odd),))._repr_html_()
    assert "<script" not in html
    assert "".join(tree(html).itertext()).count(odd) == 3


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_atoms_are_all_drawn(n: int) -> None:
    assert dots(structure_svg(np.arange(3.0 * n).reshape(n, 3), ["Au"] * n)) == n


def test_hidden_atoms_are_left_out_and_the_near_ones_are_drawn_last() -> None:
    small, large = Icosahedron("Au", 4).positions, Octahedron("Au", 19, 6, latticeconstant=4.08).positions
    assert dots(structure_svg(small, ["Au"] * len(small))) == len(small) == 147
    drawn = dots(structure_svg(large, ["Au"] * len(large)))
    # Half of the surface, about; all of it is N^(2/3) times four.
    assert 1.2 * len(large) ** (2.0 / 3.0) < drawn < 3.0 * len(large) ** (2.0 / 3.0)
    fills = [path.get("stroke") or "" for path in tree(structure_svg(small, ["Au"] * 147)).iter(f"{SVG}path")][1::2]
    darkness = [sum(int(fill[k : k + 2], 16) for k in (1, 3, 5)) for fill in fills]
    assert darkness == sorted(darkness, reverse=True)


def test_every_atom_lies_within_the_picture() -> None:
    rng = np.random.default_rng(4)
    svg = structure_svg(rng.uniform(-9.0, 9.0, (80, 3)), ["Pt", "Au"] * 40)
    for path in tree(svg).iter(f"{SVG}path"):
        for dot in (path.get("d") or "").replace("h0", "").split("M")[1:]:
            assert all(0.0 <= float(value) <= 220.0 for value in dot.split())


def test_the_curves_are_those_of_the_fit() -> None:
    r = np.linspace(1.5, 20.0, 2000)
    g_obs, g_calc = np.sin(3.0 * r), np.sin(3.0 * r) - 0.25
    observed, calculated, difference = (
        np.array([pair.split(",") for pair in (line.get("points") or "").split()], dtype=float)
        for line in tree(fit_svg(r, g_obs, g_calc)).iter(f"{SVG}polyline")
    )
    assert len(observed) <= 300
    # A pixel has one scale for all: the difference is flat, and as far below the curve as the curves are apart.
    assert np.ptp(difference[:, 1]) < 0.3
    scale = np.ptp(observed[:, 1]) / 2.0
    np.testing.assert_allclose(calculated[:, 1] - observed[:, 1], 0.25 * scale, atol=0.15)
    assert difference[:, 1].min() > calculated[:, 1].max()


def test_a_large_candidate_is_small_in_bytes() -> None:
    atoms = Octahedron("Au", 19, 6, latticeconstant=4.08)
    large: Candidate = replace(solution()[0][0], atoms=Atoms(atoms.symbols, positions=atoms.positions))
    assert len(large._repr_html_()) < 40_000


def test_what_was_saved_shows_the_same_and_needs_no_figures(tmp_path: Path) -> None:
    answer = solution()[0]
    answer.save(tmp_path)
    code = f"import sys, hpcpdf; print(hpcpdf.read_solution({str(tmp_path)!r})._repr_html_()); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], timeout=120, capture_output=True, text=True, check=True)
    html, _, modules = done.stdout.rpartition("</div>\n")
    assert html + "</div>" == answer._repr_html_()
    assert not {"torch", "matplotlib"} & set(modules.split())
