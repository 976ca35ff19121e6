"""Coordinates follow the data, and stay a crystal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from hpcpdf import PdfParams, simulate_pdf
from hpcpdf.clusters.template import template
from hpcpdf.pdf.kernel import NodeKernel
from hpcpdf.reconstruct.refine import Misfit, Restraints, refine_positions

NN = 2.77
PARAMS = PdfParams(rmax=14.0, rstep=0.05, qmin=0.8, qmax=22.0, qdamp=0.03, biso=0.4)
R = np.arange(1.5, 12.0, 0.07)


@pytest.fixture(scope="module")
def kernel():
    return NodeKernel(PARAMS, R, n_threads=1)


@pytest.fixture(scope="module")
def ideal():
    return template("fcc").sites[:19] * NN


def shaken(positions, size, seed):
    return positions + np.random.default_rng(seed).normal(scale=size, size=positions.shape)


def measured(kernel, positions, scale=0.6):
    return scale * kernel.histogram([positions])[0] @ kernel.matrix(biso=0.4, qdamp=0.03) / len(positions)


def misfit_of(kernel, ideal, g_obs, **more):
    return Misfit(ideal, g_obs, kernel, biso=0.4, qdamp=0.03, nn=NN, **more)


def refined(kernel, start, anchor, g_obs, **more):
    return refine_positions(start, anchor, g_obs, kernel, biso=0.4, qdamp=0.03, nn=NN, **more)


def rw(kernel, positions, g_obs):
    g = measured(kernel, positions)
    scale = (g @ g_obs) / (g @ g)
    return np.linalg.norm(g_obs - scale * g) / np.linalg.norm(g_obs)


@pytest.mark.parametrize("squeezed", [1.0, 0.93])
def test_gradient_against_finite_differences(kernel, ideal, squeezed):
    """Data, bonds and, in the squeezed cluster, contacts."""
    misfit = misfit_of(kernel, ideal, measured(kernel, shaken(ideal, 0.1, 1)))
    x = shaken(squeezed * ideal, 0.05, 2).ravel()
    closest = pdist(x.reshape(-1, 3)).min()
    assert (closest < Restraints().contact * NN) == (squeezed < 1.0) or closest < NN
    gradient = misfit(x)[1]
    step = 1e-5
    for axis in range(0, x.size, 5):
        unit = step * np.eye(x.size)[axis]
        slope = (misfit(x + unit)[0] - misfit(x - unit)[0]) / (2.0 * step)
        assert gradient[axis] == pytest.approx(slope, rel=1e-4, abs=1e-6 * np.abs(gradient).max())


def test_misfit_is_rw_squared_where_nothing_is_strained(kernel, ideal):
    g_obs = measured(kernel, shaken(ideal, 0.1, 3))
    value, gradient = misfit_of(kernel, ideal, g_obs)(ideal.ravel())
    assert value == pytest.approx(rw(kernel, ideal, g_obs) ** 2, rel=1e-9)
    # A PDF pulls at distances only: no net force, no net torque.
    forces = gradient.reshape(-1, 3)
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(np.cross(ideal, forces).sum(axis=0), 0.0, atol=1e-8)


def test_misfit_against_the_direct_simulation(kernel, ideal):
    r, g_obs = simulate_pdf(shaken(ideal, 0.1, 4), PARAMS, n_threads=1)
    g = simulate_pdf(ideal, PARAMS, n_threads=1)[1]
    used = slice(30, 230)
    scale = (g[used] @ g_obs[used]) / (g[used] @ g[used])
    expected = np.sum((g_obs[used] - scale * g[used]) ** 2) / np.sum(g_obs[used] ** 2)
    misfit = misfit_of(NodeKernel(PARAMS, r[used], n_threads=1), ideal, g_obs[used])
    assert misfit(ideal.ravel())[0] == pytest.approx(expected, rel=1e-4)


def test_a_displaced_cluster_comes_back(kernel, ideal):
    """Restrained to the displaced bonds, the data still lead towards the truth."""
    truth = shaken(ideal, 0.05, 5)
    g_obs = measured(kernel, truth)
    start = shaken(truth, 0.06, 6)
    found = refined(kernel, start, start, g_obs)
    assert rw(kernel, found, g_obs) < 0.3 * rw(kernel, start, g_obs)

    def error(x):
        return np.sqrt(np.mean((pdist(x) - pdist(truth)) ** 2))

    assert error(found) < 0.7 * error(start)


def test_the_truth_stays(kernel, ideal):
    found = refined(kernel, ideal, ideal, measured(kernel, ideal))
    np.testing.assert_allclose(found, ideal, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_atoms_never_touch_and_stay_in_their_boxes(kernel, ideal, seed):
    """Whatever the data say: here noise, and a cluster shrunk by 12 %."""
    rng = np.random.default_rng(seed)
    shrunk = measured(kernel, 0.88 * ideal)
    g_obs = shrunk + rng.normal(scale=shrunk.std(), size=shrunk.size)
    found = refined(kernel, shaken(ideal, 0.02, seed), ideal, g_obs)
    assert np.isfinite(found).all()
    assert pdist(found).min() > 0.93 * NN
    assert np.abs(found - ideal).max() <= Restraints().max_shift * NN + 1e-9


def test_restraints_hold(kernel, ideal):
    g_obs = measured(kernel, shaken(ideal, 0.12, 7))
    spread = {}
    for weight in (0.0004, 0.4):
        found = refined(kernel, ideal, ideal, g_obs, restraints=Restraints(weight=weight))
        spread[weight] = np.abs(found - ideal).max()
    assert spread[0.4] < 0.5 * spread[0.0004]
