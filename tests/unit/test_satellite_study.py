"""The solver's own error: nothing without noise, proportional to it, and smaller with more satellites."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from small_model import clusters

from hpcpdf import ConfigError, DataError, PdfParams
from hpcpdf.evaluate.align import rmsd
from hpcpdf.evaluate.satellite_study import (
    NUMBERS,
    distance_error,
    solver_error,
    solver_study,
    superposed_rmsd,
)
from hpcpdf.model.distances import assigned_distances
from hpcpdf.solver.satellites import satellites

LENGTH = 30.0
TRUTH = [item.positions for item in clusters(12, seed=5, min_atoms=20, max_atoms=60, families=("fcc",))]


def _error(number: int, sigma: float, **more):
    return solver_error(TRUTH, number, sigma, length=LENGTH, params=PdfParams(), seed=1, **more)


@pytest.mark.parametrize("number", NUMBERS)
def test_exact_distances_give_the_exact_structure(number):
    found = _error(number, 0.0)
    assert found.rmsd.max() < 1e-3
    assert found.pearson.min() > 1.0 - 1e-6
    if number:
        assert found.frame_error.max() < 1e-3
    else:
        assert np.isnan(found.frame_error).all()


@pytest.mark.parametrize("number", [0, 4, 11])
def test_the_error_is_proportional_to_the_noise(number):
    small, large = _error(number, 0.02), _error(number, 0.08)
    assert np.median(large.rmsd / small.rmsd) == pytest.approx(4.0, rel=0.05)
    assert np.all(large.rmsd < 0.08)
    assert np.mean(large.pearson) < np.mean(small.pearson)


def test_more_satellites_place_a_structure_better():
    errors = list(solver_study(TRUTH, [(0.1, 0.1)], length=LENGTH, params=PdfParams(), seed=1))
    assert [item.satellites for item in errors] == list(NUMBERS)
    # The shape is set by the distances between atoms: satellites can only help, and help little.
    shape = [float(np.median(item.rmsd)) for item in errors]
    assert all(later < 1.01 * earlier for earlier, later in pairwise(shape))
    assert shape[-1] < shape[0]
    place = [float(np.median(item.frame_error)) for item in errors if item.satellites]
    assert all(later < 1.05 * earlier for earlier, later in pairwise(place))
    assert place[-1] < 0.8 * place[0]


def test_noise_of_the_satellites_alone():
    found = _error(11, 0.0, sigma_satellites=0.3)
    assert (found.sigma, found.sigma_satellites) == (0.0, 0.3)
    without, both = _error(11, 0.0), _error(11, 0.3)
    assert np.median(without.rmsd) < np.median(found.rmsd) < np.median(both.rmsd)
    # It moves and turns the whole too, which no other distance speaks against.
    assert np.median(found.frame_error) > 1.3 * np.median(found.rmsd)


def test_errors_belong_to_the_structure():
    three, all_of_them = solver_error(TRUTH[:3], 8, 0.1, length=LENGTH, params=PdfParams(), seed=1), _error(8, 0.1)
    np.testing.assert_allclose(three.rmsd, all_of_them.rmsd[:3], rtol=1e-6)
    other = solver_error(TRUTH[:3], 8, 0.1, length=LENGTH, params=PdfParams(), seed=2)
    assert np.all(np.abs(other.rmsd / three.rmsd - 1.0) > 1e-3)


def test_a_known_numbering_is_the_best_numbering_while_errors_are_small():
    rng = np.random.default_rng(0)
    for truth in TRUTH[:3]:
        moved = (truth + rng.normal(0.0, 0.1, truth.shape)) @ Rotation.random(rng=rng).as_matrix().T + 3.0
        assert superposed_rmsd(moved, truth, mirror=True) == pytest.approx(rmsd(moved, truth), rel=1e-6)


def test_a_mirror_image_is_right_only_where_allowed():
    truth = TRUTH[0] + np.random.default_rng(1).normal(0.0, 0.3, TRUTH[0].shape)
    image = truth * [1.0, 1.0, -1.0]
    assert superposed_rmsd(image, truth, mirror=True) == pytest.approx(0.0, abs=1e-9)
    assert superposed_rmsd(image, truth, mirror=False) > 0.1


def test_the_error_of_predicted_distances_is_the_noise_they_were_given():
    rng = np.random.default_rng(2)
    predicted = []
    for truth in TRUTH:
        known = assigned_distances(truth - truth[0], satellites(11), LENGTH)
        noise = np.triu(rng.normal(0.0, 0.2 / LENGTH, known.distances.shape), 1)
        outward = known.satellite_distances + rng.normal(0.0, 0.5 / LENGTH, known.satellite_distances.shape)
        predicted.append(replace(known, distances=known.distances + noise + noise.T, satellite_distances=outward))
    found = distance_error(predicted, TRUTH)
    assert found.n == len(TRUTH)
    assert found.between == pytest.approx(0.2, rel=0.03)
    assert found.outward == pytest.approx(0.5, rel=0.03)
    exact = [assigned_distances(x - x[0], satellites(4), LENGTH) for x in TRUTH]
    assert distance_error(exact, TRUTH).between < 1e-5


def test_a_wrong_number_of_atoms_has_no_error_of_distances():
    exact = [assigned_distances(x - x[0], satellites(0), LENGTH) for x in TRUTH[:2]]
    found = distance_error(exact, [TRUTH[0][:-1], TRUTH[1]])
    assert found.n == 1
    assert np.isnan(found.outward)
    assert np.isnan(distance_error(exact[:1], [TRUTH[0][:-1]]).between)


def test_wrong_use():
    with pytest.raises(ConfigError, match="values of 0 Å or more"):
        _error(8, -0.1)
    with pytest.raises(ConfigError, match="outside the sphere"):
        solver_error(TRUTH, 8, 0.1, length=3.0, params=PdfParams(), seed=1)
    with pytest.raises(DataError, match="expected finite positions"):
        solver_error([np.full((4, 3), np.nan)], 8, 0.1, length=LENGTH, params=PdfParams(), seed=1)
    with pytest.raises(DataError, match="expected as many"):
        distance_error([], TRUTH)
