"""Spheres of bulk crystals against particles cut out atom by atom and against peaks written down by hand."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list

from hpcpdf import ConfigError, PdfParams, read_gr, simulate_pdf
from hpcpdf.clusters.template import ideal_sites
from hpcpdf.lattice.crystal import bulk_shells, characteristic
from hpcpdf.lattice.shells import PdfData, Widths
from hpcpdf.lattice.sphere import CRYSTALS, fit_sphere
from hpcpdf.pdf.fit import PdfFitter
from hpcpdf.pdf.gr import MeasuredPdf

BOND = 2.77
PARAMS = PdfParams(rmax=32.0, rstep=0.05, qmin=0.8, qmax=25.0, qdamp=0.03, biso=0.5, delta2=2.0)


def data_of(pdf, r_range=(1.5, 20.0), qdamp=None):
    fitter = PdfFitter(pdf, r_range)
    return PdfData.thinned(fitter.r, fitter.g_obs, fitter.params, qdamp)


def cut_out(family, count, seed):
    """Positions of the `count` sites nearest to a random place, and the diameter of a sphere of that many."""
    places = ideal_sites(family, 8.0)[0]
    centre = np.random.default_rng(seed).uniform(-0.4, 0.4, 3)
    order = np.argsort(np.linalg.norm(places - centre, axis=1), kind="stable")[:count]
    return BOND * places[order], BOND * (6.0 * count / (np.pi * CRYSTALS[family])) ** (1.0 / 3.0)


def measured(positions, noise=0.01):
    r, g = simulate_pdf(positions, PARAMS, n_threads=1)
    g = 0.6 * (g + noise * np.abs(g).max() * np.random.default_rng(0).normal(size=g.size))
    return MeasuredPdf(r, g, None, PARAMS.qmin, PARAMS.qmax)


def peaks(family, bond, diameter, qdamp=0.04, u=0.006):
    """G(r) of Gaussian peaks on a slope, straight from the definition of the PDF; ends of Q are not felt."""
    distance, number = bulk_shells(family, 16.0)
    r = np.arange(0.0, 26.0, 0.02)
    at = np.maximum(r, 1e-9)
    share = characteristic(bond * distance / diameter)
    density = np.exp(-((at[:, None] - bond * distance) ** 2) / (4.0 * u)) / np.sqrt(4.0 * np.pi * u)
    slope = 4.0 * np.pi * r * CRYSTALS[family] / bond**3 * characteristic(r / diameter)
    g = (density @ (share * number / (bond * distance)) - slope) * np.exp(-0.5 * (qdamp * r) ** 2)
    return MeasuredPdf(r, g, None, 0.6, 28.0)


@pytest.mark.parametrize("family", sorted(CRYSTALS))
def test_neighbours_are_those_of_ase(family):
    cell = {"a": 2.0 / np.sqrt(3.0)} if family == "bcc" else {"a": {"fcc": np.sqrt(2.0)}.get(family, 1.0)}
    if family == "hcp":
        cell["c"] = np.sqrt(8.0 / 3.0)
    crystal = bulk("X", family, **cell)
    assert len(crystal) / crystal.get_volume() == pytest.approx(CRYSTALS[family])
    found = np.rint(3.0 * neighbor_list("d", crystal, 6.001) ** 2).astype(int)
    squares, number = np.unique(found, return_counts=True)
    distance, expected = bulk_shells(family, 6.0)
    np.testing.assert_allclose(3.0 * distance**2, squares, atol=1e-9)
    np.testing.assert_array_equal(expected, number / len(crystal))


@pytest.mark.parametrize("family", sorted(CRYSTALS))
@pytest.mark.parametrize("seed", [0, 1])
def test_size_and_bond_of_particles_of_500_atoms(family, seed):
    positions, diameter = cut_out(family, 500, seed)
    fit = fit_sphere(data_of(measured(positions), qdamp=0.03), family)
    assert fit.diameter == pytest.approx(diameter, rel=0.03)
    assert fit.bond == pytest.approx(BOND, rel=1e-3)
    assert fit.n_atoms == pytest.approx(500, rel=0.09)
    assert (fit.u, fit.delta2) == pytest.approx((0.5 / (8.0 * np.pi**2), 2.0), rel=0.3)
    assert fit.rw < 0.2
    assert fit.diameters[0] < fit.diameter < fit.diameters[1]
    assert (fit.bulk, fit.qdamp, fit.parameters) == (False, 0.03, 5)


def test_without_qdamp_a_range_of_sizes_is_left():
    positions, diameter = cut_out("fcc", 500, 2)
    pdf = measured(positions)
    known, free = fit_sphere(data_of(pdf, qdamp=0.03)), fit_sphere(data_of(pdf))
    assert free.parameters == 6
    assert free.rw <= known.rw + 1e-6
    assert np.diff(free.diameters) > 2.0 * np.diff(known.diameters)
    assert free.diameters[0] < 1.03 * diameter < 1.06 * free.diameters[1]
    longer = fit_sphere(data_of(pdf, (1.5, 30.0)))
    assert longer.diameter == pytest.approx(diameter, rel=0.05)


@pytest.mark.parametrize(("family", "bond", "diameter"), [("fcc", 2.77, 28.0), ("bcc", 2.48, 22.0), ("sc", 3.1, 35.0)])
def test_peaks_written_down(family, bond, diameter):
    fit = fit_sphere(data_of(peaks(family, bond, diameter), qdamp=0.04), family)
    # What small angles hold beyond qmin is in one and not in the other.
    assert fit.rw < 0.04
    assert fit.bond == pytest.approx(bond, rel=1e-4)
    assert fit.diameter == pytest.approx(diameter, rel=0.02)
    assert fit.u == pytest.approx(0.006, rel=0.03)
    assert (fit.delta2, fit.parameters, fit.bulk) == (0.0, 4, False)
    # The true number of atoms, so that the scale is one.
    assert fit.scale == pytest.approx(1.0, rel=0.02)


def test_a_crystal_without_an_end_is_bulk():
    fit = fit_sphere(data_of(peaks("fcc", 2.49, 1e9)))
    assert fit.bulk
    assert fit.crystal_rw < 0.02
    assert fit.bond == pytest.approx(2.49, rel=1e-4)
    small = fit_sphere(data_of(peaks("fcc", 2.49, 60.0)), largest=40.0)
    assert small.bulk
    assert small.diameter == pytest.approx(40.0, rel=1e-3)


def test_where_the_fit_begins_does_not_matter():
    positions, _ = cut_out("fcc", 300, 4)
    data = data_of(measured(positions), qdamp=0.03)
    whole = fit_sphere(data)
    for start in (Widths(2.75, 0.012, 3.0), Widths(2.80, 0.004)):
        fit = fit_sphere(data, start=start)
        assert (fit.rw, fit.diameter, fit.bond) == pytest.approx((whole.rw, whole.diameter, whole.bond), rel=1e-3)
    begun = replace(whole.widths, delta2=0.0)
    assert fit_sphere(data, start=begun).delta2 == pytest.approx(whole.delta2, rel=0.02)


def test_wrong_input():
    data = data_of(measured(cut_out("fcc", 100, 0)[0]))
    with pytest.raises(ConfigError, match="unknown bulk crystal 'icosahedron'; known: fcc, hcp, bcc, sc"):
        fit_sphere(data, "icosahedron")
    flat = PdfData(data.r, -np.ones_like(data.g), data.params)
    assert fit_sphere(flat) is None


@pytest.mark.skipif("HPCPDF_MEASURED" not in os.environ, reason="HPCPDF_MEASURED names no folder of measured PDFs")
@pytest.mark.parametrize(
    ("name", "end", "rw"), [("JQ_S1.gr", 20.0, 0.102), ("JQ_S1.gr", 40.0, 0.118), ("Ni-bulk.gr", 20.0, 0.08)]
)
def test_measured(name, end, rw):
    pdf = read_gr(Path(os.environ["HPCPDF_MEASURED"]) / name)
    fit = fit_sphere(data_of(pdf, (1.5, end), pdf.parameter("qdamp")))
    assert fit.rw < rw
    assert fit.bulk == (name == "Ni-bulk.gr")
