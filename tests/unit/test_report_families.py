"""Bounds and posterior in words and drawings."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from math import nan
from xml.etree import ElementTree

import numpy as np
import pytest
from solutions import bounds, posterior, solution

from hpcpdf.reconstruct.solution import Posterior, Sample, Solution
from hpcpdf.report import families, spread


def said(answer: Solution) -> str:
    return " ".join(families.sentences(answer))


def test_what_is_excluded_and_by_what() -> None:
    answer, _ = solution()
    rigid = answer[0].rw_before_refine
    assert f"{rigid:.2f}" == "0.22"
    assert said(answer).startswith(
        "No icosahedral particle of any shape or size can fit better than 0.30, no bcc one better than 0.48; "
        "this octahedral one of 79 atoms fits 0.22."
    )
    assert "Not excluded: decahedral (down to 0.13)." in said(answer)


def test_numbers_that_read_alike_get_another_digit() -> None:
    answer, _ = solution()
    rigid = answer[0].rw_before_refine
    near = replace(answer, family_bounds=(replace(bounds()[2], rw=rigid + 0.001),))
    assert f"better than {rigid + 0.001:.3f}; this octahedral one of 79 atoms fits {rigid:.3f}." in said(near)


def test_only_a_fit_below_the_bound_is_held_against_it() -> None:
    """A bound holds for rigid particles: what 3N coordinates reach says nothing against a family."""
    answer, _ = solution()
    best = answer[0]
    relaxed = replace(bounds()[2], rw=0.5 * (best.rw_relaxed + best.rw_before_refine))
    assert f"fits {best.rw_relaxed:.2f} after its surface relaxed." in said(replace(answer, family_bounds=(relaxed,)))
    free = replace(bounds()[2], rw=0.5 * (best.rw_relaxed + best.rw))
    assert "fits" not in said(replace(answer, family_bounds=(free,)))


def test_nested_families_are_named_and_do_nest() -> None:
    answer, _ = solution()
    assert "Families nest" not in said(answer)
    both = replace(answer, family_bounds=(bounds()[0], replace(bounds()[3], family="sc", excluded=False)))
    assert "below 3.7 bond lengths every distance of a simple cubic particle is one of fcc too" in said(both)
    grid = [np.array(index) for index in itertools.product(range(9), repeat=3)]
    cubic = {int(index @ index) for index in grid}
    fcc = {int(index @ index) // 2 for index in grid if index.sum() % 2 == 0}
    assert min(cubic - fcc) == 14
    assert np.sqrt(14) == pytest.approx(3.742, abs=1e-3)


def test_an_octahedron_has_the_bound_of_its_lattice() -> None:
    answer, _ = solution()
    assert answer[0].family == "octahedron"
    assert families.bound_of(answer, "octahedron") == answer.bounds["fcc"]
    assert families.bound_of(answer, "sc") is None
    rows = {row.bound.family: row for row in families.family_rows(answer)}
    assert rows["fcc"].best
    assert rows["fcc"].found == answer[0].rw_before_refine
    assert [rows[name].reading for name in ("fcc", "decahedron", "bcc")] == ["best", "possible", "excluded"]
    assert rows["bcc"].found is None


def test_the_bounds_are_drawn_to_scale() -> None:
    answer, _ = solution()
    root = ElementTree.fromstring(str(families.drawing(answer)))
    widths = [float(item.get("width", "nan")) for item in root.iter("rect")]
    np.testing.assert_allclose(np.array(widths) / widths[0], np.array([b.rw for b in bounds()]) / 0.118, rtol=2e-3)
    assert len(list(root.iter("circle"))) == len(answer)
    exact = replace(answer, candidates=(replace(answer[0], rw=0.0, rw_before_refine=0.0),))
    zero = replace(exact, family_bounds=tuple(replace(b, rw=0.0, uncertainty=0.0) for b in bounds()))
    ElementTree.fromstring(str(families.drawing(zero)))


def test_a_name_cannot_break_the_drawing() -> None:
    answer, _ = solution()
    hostile = replace(answer, family_bounds=(replace(bounds()[0], family="</svg><x>"),))
    assert "<x>" not in families.drawing(hostile)


def test_bars_hold_the_probability() -> None:
    drawn = posterior()
    root = ElementTree.fromstring(str(spread.drawing(drawn)))
    heights = np.array([float(item.get("height", "nan")) for item in root.iter("rect")])
    by_size = {n: sum(s.weight for s in drawn.samples if s.n_atoms == n) for n in range(75, 86)}
    shares = np.array(list(by_size.values()))
    np.testing.assert_allclose(heights / heights.max(), shares / shares.max(), atol=2e-3)
    low, high = drawn.n_atoms()
    assert sum("share in" in item.get("class", "") for item in root.iter("rect")) == high - low + 1


@pytest.mark.parametrize("sizes", [[79], [79, 80], [10, 5000], list(range(100, 400))])
def test_any_range_of_sizes_can_be_drawn(sizes: list[int]) -> None:
    root = ElementTree.fromstring(str(spread.drawing(Posterior(tuple(Sample(n, n, n, "fcc", 1.0) for n in sizes)))))
    bars = list(root.iter("rect"))
    assert 1 <= len(bars) <= 25
    for bar in bars:
        assert 0.0 <= float(bar.get("x", "nan")) <= 560.0 - float(bar.get("width", "nan"))


def test_ranges_of_the_posterior() -> None:
    rows = dict(spread.interval_rows(posterior()))
    assert list(rows) == [
        *("number of atoms", "largest distance (Å)", "mean coordination"),
        *("surface atoms on {111} (%)", "surface atoms on {100} (%)"),
    ]
    low, high = posterior().n_atoms(0.9)
    assert rows["number of atoms"][1] == f"{low:.0f} – {high:.0f}"
    bare = Posterior(tuple(replace(sample, facets=(nan, nan)) for sample in posterior().samples))
    assert len(spread.interval_rows(bare)) == 3
    assert spread.interval_rows(Posterior()) == []


def test_the_posterior_in_a_line() -> None:
    line = spread.in_short(posterior())
    assert re.fullmatch(r"atoms 7\d-8\d \(90 %\), diameter 11\.\d-11\.\d A, fcc 98 %, decahedron 2 %", line)
    assert spread.in_short(Posterior()) == ""
