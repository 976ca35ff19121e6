"""The fast scan against the plain one: simulate, scale, compare."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from small_model import clusters

from hpcpdf import PdfParams, simulate_pdf
from hpcpdf.reconstruct.rank import Ranker

ZOOMS, BISOS, QDAMPS = (0.97, 1.0, 1.03), (0.3, 0.8), (0.02, 0.05)
QMIN, QMAX = 0.9, 23.0


def curve(positions, zoom=1.0, biso=0.3, qdamp=0.02):
    """A PDF to 22 Å. A measurement knows no Q grid: the long range makes the simulation's so fine that it is lost."""
    params = PdfParams(rmax=110.0, rstep=0.04, qmin=QMIN, qmax=QMAX, qdamp=qdamp, biso=biso)
    r, g = simulate_pdf(zoom * positions, params, n_threads=1)
    return r[r < 22.0], g[r < 22.0]


@pytest.fixture(scope="module")
def items():
    return [item.positions for item in clusters(7, min_atoms=12, max_atoms=45)]


@pytest.fixture(scope="module")
def measured(items):
    """The first cluster, 3 % larger, on a scale of its own."""
    r, g = curve(items[0], 1.03, 0.8, 0.05)
    return r, 0.37 * g


def ranker(measured, **more):
    settings = {"zooms": ZOOMS, "bisos": BISOS, "qdamps": QDAMPS, "n_threads": 1, **more}
    return Ranker(*measured, QMIN, QMAX, **settings)


def plain_scan(positions, r, g):
    """R_w of every combination, with the scale that is best for it."""
    used = (r >= 1.5) & (r <= 20.0)
    found = {}
    for values in product(ZOOMS, BISOS, QDAMPS):
        calc = curve(positions, *values)[1][used]
        scale = max(float(calc @ g[used]) / float(calc @ calc), 0.0)
        found[values] = float(np.linalg.norm(g[used] - scale * calc) / np.linalg.norm(g[used]))
    return found


def test_against_a_plain_scan(items, measured):
    ranking = ranker(measured).rank(items)
    for k, positions in enumerate(items):
        scan = plain_scan(positions, *measured)
        assert ranking.rw[k] == pytest.approx(min(scan.values()), abs=0.005)
        chosen = (ranking.zoom[k], ranking.biso[k], ranking.qdamp[k])
        assert scan[chosen] < min(scan.values()) + 0.005


def test_the_truth_is_first_with_its_parameters(items, measured):
    ranking = ranker(measured).rank(items)
    assert ranking.order()[0] == 0
    assert ranking.rw[0] < 0.005
    assert (ranking.zoom[0], ranking.biso[0], ranking.qdamp[0]) == (1.03, 0.8, 0.05)


def test_neither_frame_nor_order_nor_company_matters(items, measured):
    # Single precision: 1e-6 in the square, so 1e-3 where R_w comes close to zero.
    scan = ranker(measured)
    whole = scan.rank(items)
    turned = [Rotation.random(random_state=k).apply(x)[::-1] + 3.0 for k, x in enumerate(items)]
    np.testing.assert_allclose(scan.rank(turned).rw, whole.rw, atol=2e-3)
    np.testing.assert_allclose([scan.rank([x]).rw[0] for x in items], whole.rw, atol=2e-3)


def test_scale_of_the_data_does_not_matter(items, measured):
    r, g = measured
    np.testing.assert_allclose(ranker((r, 50.0 * g)).rank(items).rw, ranker((r, g)).rank(items).rw, atol=2e-3)


def test_data_that_begin_later_are_compared_from_there(items, measured):
    r, g = measured
    late = r >= 2.4
    expected = ranker(measured, r_range=(float(r[late][0]), 20.0)).rank(items)
    found = ranker((r[late], g[late]), r_range=(1.5, 20.0)).rank(items)
    np.testing.assert_allclose(found.rw, expected.rw, atol=1e-3)


def test_a_narrower_scan_finds_the_same(items, measured):
    wide = ranker(measured, zooms=np.round(np.linspace(0.95, 1.05, 11), 6))
    ranking = wide.rank(items)
    near = wide.around(ranking, ranking.order()[:1])
    assert near.n_threads == wide.n_threads
    assert near.zooms == (1.02, 1.03, 1.04)
    again = near.rank(items[:1])
    assert again.rw[0] == pytest.approx(ranking.rw[0], abs=2e-3)


def test_nothing_to_rank(measured):
    assert len(ranker(measured).rank([]).rw) == 0


@pytest.mark.parametrize("rstep", [0.1, 0.05, 0.01])
def test_the_spacing_of_the_data_does_not_matter(items, rstep):
    """Data sets come at 0.1 Å, where a straight line between points would miss the peaks by 8 %."""
    params = PdfParams(rmax=30.1, rstep=rstep, qmin=QMIN, qmax=25.0, qdamp=0.02, biso=0.3)
    for positions in items[:3]:
        r, g = simulate_pdf(positions, params, n_threads=1)
        scan = Ranker(r, g, QMIN, 25.0, zooms=ZOOMS, bisos=BISOS, qdamps=QDAMPS, n_threads=1)
        assert scan.rank([positions]).rw[0] < 0.008
