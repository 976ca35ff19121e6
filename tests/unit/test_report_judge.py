"""What the report says about trust follows from the numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from report_cases import clusters, debye, fitted, solved
from scipy import stats

from hpcpdf.reconstruct.shape import geometry, loose_atoms
from hpcpdf.reconstruct.verdict import hamilton_ratio, independent_points, misfit_regions
from hpcpdf.report.judge import at_bound, bulk_distance, judge, percent


def test_coordination_of_known_clusters() -> None:
    square = geometry(np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]], dtype=float))
    assert square.coordination.tolist() == [2, 2, 2, 2]
    assert square.nn_mean == pytest.approx(2.0)
    assert square.diameter == pytest.approx(2.0 * np.sqrt(2.0))
    octahedron, _ = clusters()[0]
    shape = geometry(octahedron.positions)
    # Truncated octahedron of 79 atoms: 19 inside, 24 corners and 36 more on the surface.
    assert (shape.coordination == 12).sum() == 19
    assert shape.coordination_mean == pytest.approx(2 * len(shape.bonds) / 79)
    assert shape.nn_mean == pytest.approx(2.77, abs=1e-9)


def test_inner_atoms_of_each_lattice() -> None:
    for name, lattice, expected in (("Po", "sc", 6), ("Ni", "fcc", 12)):
        block = bulk(name, lattice, a=3.5, cubic=True).repeat(5)
        middle = np.argmin(np.linalg.norm(block.positions - block.positions.mean(axis=0), axis=1))
        assert geometry(block.positions).coordination[middle] == expected


def test_one_atom_and_none() -> None:
    assert geometry(np.zeros((1, 3))).coordination_mean == 0.0
    assert geometry(np.zeros((0, 3))).diameter == 0.0


def test_independent_points_follow_the_sampling_theorem() -> None:
    r = np.linspace(1.5, 20.0, 100)
    assert independent_points(r, 0.0, 22.0) == round(18.5 * 22 / np.pi)
    assert independent_points(r, 2.0, 22.0) == round(18.5 * 20 / np.pi)
    assert independent_points(r, 0.0, None) is None


def test_hamilton_ratio_has_its_false_alarm_rate() -> None:
    """Dropping a parameter that is truly zero raises R by more than the limit in one case of twenty."""
    rng = np.random.default_rng(0)
    n, m, cases = 60, 5, 4000
    design = np.linalg.qr(rng.normal(size=(n, m)))[0]
    noise = rng.normal(size=(cases, n))
    amplitudes = noise @ design
    with_all = np.sum(noise**2, axis=1) - np.sum(amplitudes**2, axis=1)
    ratio = np.sqrt((with_all + amplitudes[:, -1] ** 2) / with_all)
    rate = np.mean(ratio > hamilton_ratio(n, m))
    low, high = stats.binom.interval(0.999, cases, 0.05)
    assert low / cases <= rate <= high / cases


def test_regions_add_up() -> None:
    candidates, _ = solved()
    best = candidates[0]
    regions = misfit_regions(best.r, best.g_obs, best.g_calc)
    assert [(x.low, x.high) for x in regions][1:-1] == [(5.0, 10.0), (10.0, 15.0)]
    assert sum(x.misfit for x in regions) == pytest.approx(1.0)
    assert sum(x.signal for x in regions) == pytest.approx(1.0)
    assert sum(x.rw**2 * x.signal for x in regions) == pytest.approx(best.rw**2)


def test_equal_candidates_are_named() -> None:
    candidates, pdf = solved()
    assert judge(candidates, pdf).equal == (0,)
    twin = replace(candidates[1], rw=1.03 * candidates[0].rw)
    verdict = judge([candidates[0], twin, *candidates[2:]], pdf)
    assert verdict.equal == (0, 1)
    shared = {row.name: row for row in verdict.shared}
    assert not shared["number of atoms"].agreed
    assert shared["number of atoms"].values == "79 – 116"
    assert shared["mean bond length (Å)"].agreed


def test_variants_of_one_structure_are_grouped() -> None:
    candidates, pdf = solved()
    variant = replace(candidates[0], rw=1.01 * candidates[0].rw)
    other = replace(candidates[1], rw=1.02 * candidates[0].rw)
    alike = judge([candidates[0], variant], pdf)
    assert alike.alternatives == ((0, 1),)
    assert not alike.open
    assert judge([candidates[0], variant, other], pdf).alternatives == ((0, 1), (2,))


def test_a_low_rw_is_not_praised_when_other_sizes_reach_it() -> None:
    candidates, pdf = solved()
    best = replace(candidates[0], rw=0.1)
    verdict = judge([best, replace(candidates[1], rw=0.101)], pdf)
    assert verdict.verdict == "fair"
    assert "differ in number of atoms and largest distance" in verdict.meaning
    assert "well supported" in judge([best, candidates[1]], pdf).meaning


def test_loose_atoms_are_named_and_the_praise_withdrawn() -> None:
    candidates, pdf = solved()
    compact = replace(candidates[0], rw=0.1)
    assert "well supported" in judge([compact], pdf).meaning
    assert all(loose_atoms(geometry(atoms.positions)) == 0 for atoms, _ in clusters())
    ragged = compact.atoms.copy()
    outer = np.argsort(np.linalg.norm(ragged.positions, axis=1))[-8:]
    ragged.positions[outer] *= 1.0 + 1.5 / np.linalg.norm(ragged.positions[outer], axis=1, keepdims=True)
    verdict = judge([replace(compact, atoms=ragged)], pdf)
    assert loose_atoms(geometry(ragged.positions)) >= 3
    assert "believable" in verdict.meaning
    assert any("neighbours. Metal particles are compact" in text for text in verdict.warnings)


def test_few_independent_points_make_more_candidates_equal() -> None:
    candidates, pdf = solved()
    wide, narrow = judge(candidates, pdf), judge(candidates, replace(pdf, qmax=2.0))
    assert narrow.ratio > wide.ratio
    assert narrow.statistical == pytest.approx(narrow.ratio)


def test_perfect_fit() -> None:
    atoms, family = clusters()[0]
    _, pdf = solved()
    r = np.arange(1.5, 20.0, 0.05)
    exact = fitted(atoms, family, r, debye(atoms.positions, r))
    verdict = judge([exact], pdf)
    assert verdict.verdict == "good"
    assert "almost completely" in verdict.meaning
    assert verdict.warnings == ()


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"zoom": 1.1}, "zoom = 1.1 sits on"), ({"biso": 4.7}, "biso"), ({"qdamp": 0.01}, "qdamp")],
)
def test_values_on_a_bound_are_named(change: dict[str, float], expected: str) -> None:
    candidates, pdf = solved()
    assert any(expected in text for text in judge([replace(candidates[0], **change)], pdf).warnings)


def test_missing_qmax_and_wrong_bond_length_are_named() -> None:
    candidates, pdf = solved()
    assert any("Qmax" in text for text in judge(candidates, replace(pdf, qmax=None)).warnings)
    stretched = candidates[0].atoms.copy()
    stretched.positions *= 1.06
    assert any("+5.9 %" in text for text in judge([replace(candidates[0], atoms=stretched)], pdf).warnings)
    assert not any("bulk" in text for text in judge(candidates, pdf).warnings)


def test_too_small_a_candidate_is_named() -> None:
    _, pdf = solved()
    r = np.arange(1.5, 20.0, 0.05)
    large, _ = clusters()[1]
    block = bulk("Pt", "fcc", a=3.917, cubic=True).repeat(6)
    ball = block[np.linalg.norm(block.positions - block.positions.mean(axis=0), axis=1) < 10.0]
    small = fitted(Atoms("Pt13", large.positions[:13]), "octahedron", r, debye(ball.positions, r))
    verdict = judge([small], pdf)
    assert any("larger" in text for text in verdict.warnings)
    assert verdict.unexplained
    assert "size of the particle is not" in judge([replace(small, rw=0.1)], pdf).meaning


def test_refined_coordinates_are_counted() -> None:
    candidates, pdf = solved()
    refined = replace(candidates[0], rw_before_refine=0.3)
    assert any("231 coordinates" in text for text in judge([refined], pdf).warnings)


def test_bulk_distances() -> None:
    """Against distances measured between neighbours of built crystals."""
    for symbol in ("Pt", "Au", "Fe", "W", "Co", "Ru"):
        crystal = bulk(symbol).repeat(3)
        distances = crystal.get_all_distances(mic=True)
        assert bulk_distance(symbol) == pytest.approx(distances[distances > 0].min())
    assert bulk_distance("Pt") == pytest.approx(2.77, abs=0.01)
    assert bulk_distance("O") is None
    assert bulk_distance("nonsense") is None


def test_small_helpers() -> None:
    assert at_bound("zoom", 0.9)
    assert not at_bound("zoom", 1.0)
    assert percent(-0.0001) == "0.0 %"
    assert percent(-0.012) == "−1.2 %"
