"""Relaxation of surfaces: found where it was put in, refused where it was not."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.cluster import Decahedron, Icosahedron, Octahedron
from scipy.spatial.distance import pdist

from hpcpdf import ConfigError, PdfParams, simulate_pdf
from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.reconstruct.relax import LIMITS, displacements, relax_surface

PARAMS = PdfParams(rmax=30.0, rstep=0.02, qmin=1.0, qmax=24.0, qdamp=0.03, biso=0.6, delta2=2.5)
SHAPES = {
    "octahedron": Octahedron("Pt", 7, 2).positions,
    "icosahedron": Icosahedron("Pt", 4).positions,
    "decahedron": Decahedron("Pt", 4, 3, 0).positions,
    "bcc": bulk("Fe", cubic=True).repeat(5).positions,
}
ZOOM = 1.01


def fitter(positions, noise=0.0, seed=0):
    r, g = simulate_pdf(positions, PARAMS)
    # White in F(Q), as counting noise is, so that the number of independent points is what the criterion takes it for.
    q = np.arange(PARAMS.qmin, PARAMS.qmax, np.pi / PARAMS.rmax)
    waves = np.sin(np.outer(r, q)) @ np.random.default_rng(seed).normal(size=q.size)
    return PdfFitter(MeasuredPdf(r, g + noise * waves * np.std(g) / np.std(waves), None, PARAMS.qmin, PARAMS.qmax))


def strained(positions, surface=0.0, radial=0.0):
    field = displacements(positions)
    return positions + surface * field["surface"] + radial * field["radial"]


def guess(positions):
    return Atoms(f"Pt{len(positions)}", positions / ZOOM)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("true", [(-0.06, 0.0), (0.0, -0.01), (0.0, 0.015), (-0.08, 0.01)])
def test_a_known_relaxation_is_recovered(name, true):
    positions = SHAPES[name]
    data = fitter(strained(positions, *true))
    atoms, fit, found = relax_surface(guess(positions), data)
    assert (found["surface"], found["radial"]) == pytest.approx(true, abs=3e-4)
    assert fit.rw < 1e-3 < data.fit_exactly(guess(positions)).rw
    assert (fit.zoom, fit.biso, fit.delta2) == pytest.approx((ZOOM, 0.6, 2.5), rel=5e-3)
    np.testing.assert_allclose(pdist(atoms.positions * ZOOM), pdist(strained(positions, *true)), atol=5e-3)


@pytest.mark.parametrize("name", SHAPES)
def test_a_contraction_is_found_under_noise(name):
    _, fit, found = relax_surface(guess(SHAPES[name]), fitter(strained(SHAPES[name], -0.08), noise=0.03))
    assert found["bic_gain"] > 2.0
    # Noise may put the one for the other; inwards it is in any case.
    assert found["surface"] + found["radial"] < 0.0
    assert fit.biso == pytest.approx(0.6, rel=0.1)


@pytest.mark.parametrize("name", SHAPES)
def test_a_rigid_cluster_stays_as_it_is(name):
    atoms = guess(SHAPES[name])
    for noise, seed in ((0.0, 0), (0.01, 1), (0.03, 2), (0.1, 3), (0.3, 4)):
        data = fitter(SHAPES[name], noise, seed)
        rigid = data.fit_exactly(atoms)
        same, fit, found = relax_surface(atoms, data, rigid)
        assert same is atoms
        assert fit is rigid
        assert found == {"surface": 0.0, "radial": 0.0, "bic_gain": 0.0}


def test_noise_alone_is_seldom_taken_for_relaxation():
    positions = SHAPES["octahedron"]
    found = [relax_surface(guess(positions), fitter(positions, 0.1, seed))[2] for seed in range(24)]
    assert sum(item["bic_gain"] > 0.0 for item in found) <= 2


def test_what_is_no_relaxation_is_not_taken_for_one():
    positions = SHAPES["icosahedron"]
    far = 3.0 * LIMITS["surface"]
    _, fit, found = relax_surface(guess(positions), fitter(strained(positions, -far)))
    assert all(abs(found[name]) <= LIMITS[name] for name in LIMITS)
    assert fit.rw > 0.01


def test_only_what_the_fit_refines_is_refined():
    positions = SHAPES["octahedron"]
    r, g = simulate_pdf(strained(positions, -0.06), PARAMS)
    data = PdfFitter(MeasuredPdf(r, g, None, 1.0, 24.0), refine=("zoom",), params=PARAMS)
    _, fit, found = relax_surface(guess(positions), data)
    assert found["surface"] == pytest.approx(-0.06, abs=3e-4)
    assert (fit.biso, fit.qdamp, fit.delta2) == (0.6, 0.03, 2.5)
    assert fit.n_parameters == 2


def test_displacements_are_what_they_say():
    positions = SHAPES["octahedron"] + np.array([3.0, -1.0, 2.0])
    out = positions - positions.mean(axis=0)
    distance = np.linalg.norm(out, axis=1)
    for field in displacements(positions).values():
        np.testing.assert_allclose(np.cross(field, out), 0.0, atol=1e-9)
    surface = np.linalg.norm(displacements(positions)["surface"], axis=1)
    assert surface[distance < 3.0].max() == 0.0
    # An atom of a (111) facet has 9 of 12 neighbours.
    assert np.isclose(surface, 0.25 * pdist(positions).min()).any()
    radial = np.linalg.norm(displacements(positions)["radial"], axis=1)
    assert radial.max() == pytest.approx(distance.max())


@pytest.mark.parametrize("positions", [np.zeros((1, 3)), np.eye(3)[:2] * 2.7, np.zeros((4, 3))])
def test_nothing_to_relax(positions):
    atoms = Atoms(f"Pt{len(positions)}", positions)
    same, _, found = relax_surface(atoms, fitter(SHAPES["octahedron"]))
    assert same is atoms
    assert not any(found.values())


def test_one_element_only():
    atoms = Atoms("PtAu", np.eye(3)[:2] * 2.7)
    with pytest.raises(ConfigError, match="one element"):
        relax_surface(atoms, fitter(SHAPES["octahedron"]))
