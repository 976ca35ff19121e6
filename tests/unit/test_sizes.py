"""Sizes and motifs of samples that are known, the errors that are given, and what is kept of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from ase.cluster import Icosahedron
from scipy.spatial.distance import pdist

import hpcpdf
from hpcpdf import PdfParams, simulate_pdf
from hpcpdf.clusters.template import ideal_sites
from hpcpdf.lattice.bounds import fit_families
from hpcpdf.lattice.shells import PdfData
from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.pdf.gr import MeasuredPdf
from hpcpdf.report import sizes as drawn
from hpcpdf.sample.errors import StandardErrors
from hpcpdf.sample.mixture import Mixture, MixtureProblem, Part
from hpcpdf.sample.motifs import Spread, equal_sphere
from hpcpdf.sample.sizes import fit_sizes

BOND = 2.775
PARAMS = PdfParams(rmax=40.1, rstep=0.1, qmin=0.8, qmax=22.0, qdamp=0.03, biso=0.5)


def spheres(count, mean, width, seed):
    """Particles cut out of fcc around random places, of lognormal diameters; and their diameters."""
    rng = np.random.default_rng(seed)
    variance = math.log1p((width / mean) ** 2)
    sites = ideal_sites("fcc", 12.0)[0]
    found = []
    for size in np.exp(rng.normal(math.log(mean) - 0.5 * variance, math.sqrt(variance), count)):
        near = np.linalg.norm(sites - rng.uniform(-0.5, 0.5, 3), axis=1) <= 0.5 * size / BOND
        found.append(BOND * sites[near])
    return found, np.array([BOND * equal_sphere(len(points), "fcc") for points in found])


def icosahedron(shells):
    points = Icosahedron("Pt", shells).positions
    return points / pdist(points).min() * 0.965 * BOND


def measured(clusters, atoms, noise=0.01, seed=0, params=PARAMS, known=True):
    """PDF of a mixture with noise that the transform passes: white, seen through the envelope."""
    r, each = simulate_pdf(clusters, params, transform="exact", n_threads=1)
    g = np.asarray(atoms, dtype=float) / np.sum(atoms) @ each
    waves = np.sin(np.outer(np.arange(params.qmin, params.qmax, 0.05), r))
    extra = np.random.default_rng(seed).standard_normal(len(waves)) @ waves * np.exp(-0.5 * (params.qdamp * r) ** 2)
    g = g + noise * np.linalg.norm(g) / np.linalg.norm(extra) * extra
    header = {"qdamp": repr(params.qdamp)} if known else {}
    return MeasuredPdf(r[12:], g[12:], qmin=params.qmin, qmax=params.qmax, metadata=header, source="sample.gr")


def data_of(pdf, high=38.0, qdamp=0.03):
    fitter = PdfFitter(pdf, (1.5, high))
    return PdfData.thinned(fitter.r, fitter.g_obs, fitter.params, qdamp)


@pytest.fixture(scope="module")
def mixed():
    """Spheres with a fifth of the atoms in icosahedra of 309 atoms, and what is found there."""
    clusters, diameters = spheres(80, 24.0, 4.0, seed=3)
    sizes = np.array([len(points) for points in clusters])
    pdf = measured([*clusters, icosahedron(5)], [*sizes, 0.25 * sizes.sum()])
    data = data_of(pdf)
    fits = fit_families(data)
    return pdf, diameters, sizes, data, fits, fit_sizes(data, fits)


def test_a_mixture_is_taken_apart(mixed):
    _, diameters, sizes, _, _, found = mixed
    by = {motif.family: motif for motif in found.motifs}
    assert set(by) == {"fcc", "icosahedron"}
    assert found.preferred
    assert found.rw < 0.02
    fcc, other = by["fcc"], by["icosahedron"]
    for value, error, truth in (
        (fcc.atom_diameter, fcc.atom_diameter_error, sizes @ diameters / sizes.sum()),
        (fcc.mean_diameter, fcc.mean_diameter_error, diameters.mean()),
        (fcc.width, fcc.width_error, diameters.std(ddof=1)),
        (other.weight, other.weight_error, 0.2),
        (other.atom_diameter, other.atom_diameter_error, 0.965 * BOND * equal_sphere(309, "icosahedron")),
    ):
        assert abs(value - truth) < 3.0 * error
        assert error < 0.1 * truth
    assert fcc.weight + other.weight == pytest.approx(1.0)
    assert fcc.bond == pytest.approx(BOND, abs=2e-3)
    assert found.biso == pytest.approx(0.5, abs=0.02)
    assert "icosahedron" in found.sentence


def test_descriptions_are_ranked_by_the_criterion(mixed):
    found = mixed[-1]
    values = [one.bic for one in found.descriptions]
    assert values == sorted(values)
    assert found.descriptions[0].rw == found.rw
    by = {one.label: one for one in found.descriptions}
    assert by["fcc, spread"].rw <= by["fcc, one size"].rw
    n = mixed[3].independent
    for one in found.descriptions:
        assert one.bic == pytest.approx(n * math.log(one.rw**2 + 1e-6) + one.parameters * math.log(n), abs=0.01)


def test_one_structure_can_win(mixed):
    _, _, _, data, fits, found = mixed
    again = fit_sizes(data, fits, structure=(0.5 * found.rw, 20))
    assert not again.preferred
    assert again.descriptions[0].label == "one structure"
    assert again.sentence.startswith("one structure (R_w")
    assert fit_sizes(data, fits, structure=(2.0 * found.rw, 20)).preferred


def test_one_particle_is_no_spread():
    cluster = spheres(1, 16.0, 0.1, seed=8)[0]
    data = data_of(measured(cluster, [1.0]))
    found = fit_sizes(data)
    assert not found.preferred
    assert [motif.family for motif in found.motifs] == ["fcc"]


def test_twins_are_a_probability():
    rng = np.random.default_rng(4)
    clusters = []
    a, b = np.meshgrid(np.arange(-16, 17), np.arange(-16, 17))
    plane = np.stack([a + 0.5 * b, 0.5 * math.sqrt(3.0) * b], axis=-1).reshape(-1, 2)
    for _ in range(60):
        places = np.cumsum(np.cumprod(np.where(rng.random(25) < 0.1, -1, 1))) % 3
        layers = [
            np.column_stack([plane + place * np.array([0.5, math.sqrt(3.0) / 6.0]), np.full(len(plane), height)])
            for place, height in zip(places, math.sqrt(2.0 / 3.0) * np.arange(-12, 13), strict=True)
        ]
        sites = np.concatenate(layers)
        clusters.append(BOND * sites[np.linalg.norm(sites - rng.uniform(-0.5, 0.5, 3), axis=1) <= 4.5])
    found = fit_sizes(data_of(measured(clusters, [len(points) for points in clusters]), high=25.0))
    assert found.sentence.startswith("twinned fcc")
    motif = found.motifs[0]
    assert abs(motif.faults - 0.1) < 3.0 * max(motif.faults_error, 0.007)
    assert motif.faults > 5.0 * motif.faults_error


def test_the_scale_of_the_pdf_changes_nothing(mixed):
    _, _, _, data, fits, found = mixed
    louder = PdfData(data.r, 1e6 * data.g, data.params, data.qdamp)
    again = fit_sizes(louder, fits)
    assert again.rw == pytest.approx(found.rw, rel=1e-6)
    assert again.motifs[0].atom_diameter == pytest.approx(found.motifs[0].atom_diameter, rel=1e-4)
    assert again.motifs[0].weight_error == pytest.approx(found.motifs[0].weight_error, rel=1e-2)


def test_curve_of_one_size_is_the_pdf_of_its_cluster():
    points = icosahedron(4)
    pdf = measured([points], [1.0], noise=0.0)
    data = data_of(pdf)
    bond = float(pdist(points).min())
    part = Part("icosahedron", bond, Spread(bond * equal_sphere(147, "icosahedron"), 0.0))
    mixture = Mixture((part,), PARAMS.uiso, 0.0, PARAMS.qdamp)
    problem = MixtureProblem(data)
    # Distances that are nearly alike are one in the table.
    assert math.sqrt(problem.misfit(mixture)) < 0.01
    assert problem.weights(problem.curves(mixture))[0] == pytest.approx(1.0, abs=0.01)
    np.testing.assert_allclose(problem.look(mixture, part, [part.spread])[0], problem.curve(mixture, part), atol=1e-9)


def test_errors_are_those_of_repeated_measurements():
    """The scatter of fits to data with fresh noise, against the standard error without what facets add."""
    clusters, _ = spheres(40, 20.0, 4.0, seed=6)
    sizes = [len(points) for points in clusters]
    values, errors = [], []
    for seed in range(12):
        data = data_of(measured(clusters, sizes, noise=0.05, seed=seed), high=30.0)
        problem = MixtureProblem(data)
        names = ("u", "bond.0", "size.0", "variance.0")
        start = Mixture((Part("fcc", BOND, Spread(20.0, 0.03)),), PARAMS.uiso, 0.0, 0.03)
        mixture = problem.fit(names, start)
        values.append([mixture.u, mixture.parts[0].bond])
        found = StandardErrors(problem, fitted(problem, mixture, names))
        errors.append([found.of(lambda m, _: m.u)[1], found.of(lambda m, _: m.parts[0].bond)[1]])
    scatter, stated = np.std(values, axis=0, ddof=1), np.mean(errors, axis=0)
    # Twelve draws know a standard deviation to a fifth.
    assert np.all(scatter < 1.6 * stated)
    assert np.all(scatter > 0.5 * stated)


def fitted(problem, mixture, names):
    from hpcpdf.sample.descriptions import Fitted

    return Fitted(mixture, names, problem.misfit(mixture), 0.0)


def test_slopes_are_differences(mixed):
    data = mixed[3]
    problem = MixtureProblem(data)
    part = Part("fcc", BOND, Spread(24.0, 0.02), faults=0.05)
    other = Part("icosahedron", 0.965 * BOND, Spread(20.0, 0.02))
    mixture = Mixture((part, other), 0.006, 1.0, 0.03)
    names = ("u", "delta2", "qdamp", "bond.0", "size.0", "variance.0", "faults.0", "bond.1", "size.1")
    weights = np.array([0.8, 0.2])
    slopes = problem.slopes(names, mixture, weights)
    for k, name in enumerate(names):
        x = mixture.values([name])
        step = 1e-3 if name == "delta2" else 1e-5
        low, high = (mixture.placed([name], x + sign * step) for sign in (-1.0, 1.0))
        expected = weights @ (problem.curves(high) - problem.curves(low)) / (2.0 * step)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(slopes[:, k], expected, atol=5e-3 * scale)


def test_solve_tells_keeps_and_draws_them(mixed, tmp_path):
    pdf, _, _, _, _, found = mixed
    solution = hpcpdf.solve(pdf, "Pt", effort="quick", refine=False, n_threads=1, top=2)
    assert solution.sizes is not None
    assert solution.sizes.preferred
    assert {motif.family for motif in solution.sizes.motifs} == {motif.family for motif in found.motifs}
    solution.save(tmp_path)
    again = hpcpdf.read_solution(tmp_path).sizes
    assert again.motifs == solution.sizes.motifs
    assert again.descriptions == solution.sizes.descriptions
    np.testing.assert_array_equal(again.g_calc, solution.sizes.g_calc)
    for name in ("rw", "biso", "delta2_error", "qdamp", "preferred", "sentence"):
        assert getattr(again, name) == getattr(solution.sizes, name)
    assert drawn.drawing(again).count("<path") == 3


def test_sizes_without_a_search(mixed):
    pdf, _, _, _, _, found = mixed
    alone = hpcpdf.sample_sizes(pdf, (1.5, 38.0))
    assert alone.motifs == found.motifs
    assert alone.qdamp == 0.03
    told = hpcpdf.sample_sizes(pdf, (1.5, 38.0), instrument=hpcpdf.Instrument(qdamp=0.03, qbroad=0.0))
    assert told.motifs == found.motifs
    with pytest.raises(hpcpdf.ConfigError, match="unknown motif 'quasi'"):
        hpcpdf.sample_sizes(pdf, motifs=("quasi",))
    flat = MeasuredPdf(pdf.r, np.full_like(pdf.g, 0.01), qmin=0.8, qmax=22.0, source="flat.gr")
    with pytest.raises(hpcpdf.DataError, match="no peak between"):
        hpcpdf.sample_sizes(flat)


def test_a_drawing_of_one_size_and_none():
    data = data_of(measured([icosahedron(4)], [1.0]), high=20.0)
    found = fit_sizes(data)
    assert found.motifs[0].family == "icosahedron"
    one = replace(found, motifs=(replace(found.motifs[0], width=0.0),))
    assert 'stroke-width="3"' in drawn.drawing(one)
    endless = replace(found, motifs=(replace(found.motifs[0], mean_diameter=200.0),))
    assert drawn.drawing(endless) == ""
    assert drawn.motif_rows(endless)[0][1][1] == "no end seen"


def test_no_peak_no_sizes():
    r = np.arange(1.5, 20.0, 0.1)
    assert fit_sizes(PdfData(r, np.zeros_like(r), PARAMS, None)) is None
