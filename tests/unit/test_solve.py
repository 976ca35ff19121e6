"""One PDF solved from file to refined structure by the model that ships."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from hpcpdf import ConfigError, DataError, PdfParams, read_gr, simulate_pdf, solve
from hpcpdf.clusters.canonical import shape_key
from hpcpdf.model.store import load_model


@pytest.fixture(scope="module")
def pdf(root):
    return read_gr(root / "examples" / "pt79.gr")


@pytest.fixture(scope="module")
def model():
    # More threads than free cores make small products slower by orders of magnitude.
    torch.set_num_threads(1)
    return load_model()


@pytest.fixture(scope="module")
def found(pdf, model):
    return solve(pdf, "Pt", model, n_samples=60, top=3, seed=0, n_threads=1)


def test_the_example_is_solved(found):
    """79 atoms on an fcc lattice, neighbours at 2.79 Å; 2 % noise leaves R_w = 0.011."""
    best = found[0]
    assert best.rw < 0.02
    assert abs(best.n_atoms - 79) <= 1
    assert best.family in {"fcc", "octahedron"}
    assert best.nn_mean == pytest.approx(2.79, abs=0.003)
    assert best.coordination_mean == pytest.approx(8.5, abs=0.1)


def test_no_structure_is_told_twice(pdf, model):
    many = solve(pdf, "Pt", model, n_samples=20, top=6, refine=False, r_range=(1.5, 10.0), n_threads=1)
    assert len({shape_key(c.atoms.positions) for c in many}) == len(many)


def test_best_first_and_refined(found):
    assert 1 <= len(found) <= 3
    assert [c.rw for c in found] == sorted(c.rw for c in found)
    for candidate in found:
        assert candidate.rw <= candidate.rw_before_refine + 1e-9
        assert set(candidate.atoms.get_chemical_symbols()) == {"Pt"}
        np.testing.assert_allclose(candidate.atoms.positions.mean(axis=0), 0.0, atol=1e-9)
        assert pdist(candidate.atoms.positions).min() > 0.9 * candidate.nn_mean


def test_coordinates_and_parameters_give_the_curve(found, pdf):
    """Whoever takes the structure and the table elsewhere gets the figure."""
    for candidate in found:
        params = PdfParams(
            rmax=float(pdf.r[-1]) + 0.005,
            rstep=0.01,
            qmin=pdf.qmin,
            qmax=pdf.qmax,
            qdamp=candidate.qdamp,
            biso=candidate.biso,
            delta2=candidate.delta2,
            scale=candidate.scale,
        )
        r, g = simulate_pdf(candidate.atoms.positions, params, n_threads=1)
        np.testing.assert_allclose(np.interp(candidate.r, r, g), candidate.g_calc, atol=0.02 * candidate.g_calc.max())
        residual = candidate.g_obs - candidate.g_calc
        assert candidate.rw == pytest.approx(np.linalg.norm(residual) / np.linalg.norm(candidate.g_obs), abs=1e-6)


def test_the_seed_decides(pdf, model):
    one, again = (
        solve(pdf, "Pt", model, n_samples=5, top=2, refine=False, r_range=(1.5, 6.0), seed=5, n_threads=1)
        for _ in range(2)
    )
    assert [c.rw for c in one] == [c.rw for c in again]
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a.atoms.positions, b.atoms.positions)
        assert a.rw == a.rw_before_refine


def test_an_element_that_is_not_in_the_sample(pdf, model):
    with pytest.raises(ConfigError, match="element Au is not in its composition 'Pt'"):
        solve(pdf, "Au", model)
    with pytest.raises(ConfigError):
        solve(pdf, "Xx", model)


def test_ligands_are_ignored_with_a_warning(pdf, model):
    covered = dataclasses.replace(pdf, composition="Pt79 S20 C30")
    with pytest.warns(UserWarning, match="C, S of the composition") as caught:
        found = solve(covered, "Pt", model, n_samples=5, top=1, refine=False, r_range=(1.5, 6.0), n_threads=1)
    assert caught[0].filename == __file__, "it points at the caller"
    assert any("only Pt is modelled" in note for note in found[0].notes)


def test_nothing_is_said_of_a_pure_sample(pdf, model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve(pdf, "Pt", model, n_samples=5, top=1, refine=False, r_range=(1.5, 6.0), n_threads=1)


@pytest.mark.parametrize("wrong", [{"n_samples": 0}, {"top": 0}, {"r_range": (9.0, 3.0)}, {"r_range": (-1.0, 3.0)}])
def test_options_that_cannot_be_used(pdf, model, wrong):
    with pytest.raises(ConfigError):
        solve(pdf, "Pt", model, **wrong)


def test_a_range_without_data(pdf, model):
    with pytest.raises(DataError):
        solve(pdf, "Pt", model, r_range=(50.0, 60.0))


def test_a_model_that_is_not_there(pdf, tmp_path):
    with pytest.raises(DataError, match="no such model file"):
        solve(pdf, "Pt", tmp_path / "none.safetensors")
