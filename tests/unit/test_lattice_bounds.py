"""What families can do at best: recovered widths, bounds that hold, and the least squares behind them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize, nnls
from scipy.spatial.distance import pdist

from hpcpdf import PdfParams, _core, simulate_pdf
from hpcpdf.lattice.bounds import FAMILIES, FamilyFit, families_with, first_peaks, fit_families, fit_family
from hpcpdf.lattice.shells import PdfData
from hpcpdf.lattice.template import lattice_template
from hpcpdf.pdf.params import B_PER_U

PARAMS = PdfParams(rmin=0.0, rmax=30.1, rstep=0.1, qmin=0.8, qmax=24.0, qdamp=0.035, biso=0.5)
BOND = 2.71


def particle(family: str, n_atoms: int, seed: int = 3) -> np.ndarray:
    """Positions of a ragged particle in bond lengths."""
    template = lattice_template(family, 3.5, 8.0)
    random = np.random.default_rng(seed)
    away = np.linalg.norm(template.sites + random.normal(0.0, 0.25, template.sites.shape), axis=1)
    return np.asarray(template.sites[np.sort(np.argsort(away)[:n_atoms])])


def pdf(
    positions: np.ndarray, params: PdfParams = PARAMS, *, known: bool = True, noise: float = 0.0, high: float = 20.0
) -> PdfData:
    """PDF from 1.5 Å on, of positions in Å; `noise` relative to its root mean square."""
    r, g = simulate_pdf(positions, params, transform="exact", n_threads=1)
    inside = (r > 1.45) & (r < high + 0.05)
    r, g = r[inside], g[inside]
    g = g + noise * np.sqrt(np.mean(g**2)) * np.random.default_rng(8).normal(size=len(g))
    grid = PdfParams(rmin=params.rmin, rmax=params.rmax, rstep=params.rstep, qmin=params.qmin, qmax=params.qmax)
    return PdfData.thinned(r, g, grid, params.qdamp if known else None)


def by_family(fits: list[FamilyFit]) -> dict[str, FamilyFit]:
    return {fit.family: fit for fit in fits}


@pytest.mark.parametrize("family", FAMILIES)
def test_true_family_with_its_bond_and_widths(family: str) -> None:
    positions = particle(family, 60) * BOND
    fits = fit_families(pdf(positions))
    assert [fit.bic for fit in fits] == sorted(fit.bic for fit in fits)
    assert fits[0].family in families_with(pdist(positions), FAMILIES)
    fit = by_family(fits)[family]
    assert fit.widths.bond == pytest.approx(pdist(positions).min(), rel=1e-5)
    assert fit.widths.u == pytest.approx(PARAMS.biso / B_PER_U, rel=2e-4)
    assert fit.widths.delta2 == 0.0
    assert fit.widths.qdamp == pytest.approx(PARAMS.qdamp)
    assert fit.rw < 2e-4
    assert fit.misfit < 1e-7
    assert len(fit.counts) == len(fit.distance)
    assert np.count_nonzero(fit.counts) == fit.columns


def test_shells_of_the_truth_are_found() -> None:
    positions = particle("fcc", 40) * BOND
    fit = fit_family(pdf(positions), "fcc")
    assert fit is not None
    pairs = np.rint((pdist(positions) / BOND) ** 2).astype(int)
    counts = dict(zip(np.rint(fit.distance**2).astype(int).tolist(), fit.counts.tolist(), strict=True))
    expected = np.bincount(pairs, minlength=40)
    for squared in range(1, 20):
        share = counts.get(squared, 0.0) / counts[1]
        assert share == pytest.approx(expected[squared] / expected[1], abs=2e-3)


def test_qdamp_that_nobody_knows() -> None:
    """A wrong envelope is not fully absorbed by free shells: it is fitted where that matters."""
    fit = fit_family(pdf(particle("sc", 40) * BOND, known=False), "sc")
    assert fit is not None
    assert fit.widths.qdamp == pytest.approx(PARAMS.qdamp, abs=2e-3)
    assert fit.widths.bond == pytest.approx(BOND, rel=2e-5)
    assert fit.rw < 1e-3


@pytest.mark.parametrize("delta2", [0.6, 2.5])
def test_correlated_motion(delta2: float) -> None:
    data = pdf(particle("fcc", 60) * BOND, PdfParams(rmax=30.1, qmin=0.8, qmax=24.0, qdamp=0.035, delta2=delta2))
    fits = fit_families(data)
    assert fits[0].family in ("fcc", "twin")
    free, fixed = by_family(fits)["fcc"], fit_family(data, "fcc", free_delta2=False)
    assert free.widths.delta2 == pytest.approx(delta2, rel=1e-3)
    assert fixed is not None
    assert fixed.widths.delta2 == 0.0
    assert fixed.rw > free.rw + 5e-3


@pytest.mark.parametrize("family", ["fcc", "hcp", "bcc", "sc"])
def test_no_correlated_motion_where_there_is_none(family: str) -> None:
    """δ2 is not a number near zero then, but zero, under noise as well."""
    fits = fit_families(pdf(particle(family, 80) * BOND, noise=0.03, known=False))
    assert fits[0].family == family
    assert fits[0].widths.delta2 == 0.0
    assert fits[0].widths.bond == pytest.approx(BOND, rel=5e-4)
    assert fits[0].widths.u == pytest.approx(PARAMS.biso / B_PER_U, rel=0.05)


def lowest_rw(data: PdfData, family: str, positions: np.ndarray, fit: FamilyFit) -> float:
    """Least R_w of a particle, positions in bond lengths, over bond, U, δ2 and qdamp, from the family's own widths."""
    steps = np.round(pdist(positions), 6)
    distance, counts = np.unique(steps, return_counts=True)

    def rw(x: np.ndarray) -> float:
        bond, u = np.exp(x[:2])
        if not (0.0 <= x[2] <= 6.0 and 0.0 <= x[3] <= 0.09):
            return 2.0
        columns = data.columns(distance * bond, u, x[2], data.padded(data.envelope(x[3])))
        g = (counts @ columns)[: len(data.r)]
        return float(np.sqrt(max(1.0 - (g @ data.g) ** 2 / ((g @ g) * (data.g @ data.g)), 0.0)))

    w = fit.widths
    best = 2.0
    for delta2 in (w.delta2, 1.0):
        start = np.array([np.log(w.bond), np.log(w.u), delta2, w.qdamp])
        simplex = np.vstack([start, start + np.diag([2e-3, 0.2, 0.5, 0.01])])
        found = minimize(rw, start, method="Nelder-Mead", options={"initial_simplex": simplex, "maxiter": 150})
        best = min(best, float(found.fun))
    return best


@pytest.mark.parametrize(("family", "noise"), [("fcc", 0.0), ("hcp", 0.03), ("icosahedron", 0.05), ("bcc", 0.0)])
def test_no_particle_of_a_family_lies_below_its_bound(family: str, noise: float) -> None:
    truth = particle(family, 55)
    data = pdf(truth * BOND, noise=noise, known=False)
    fits = by_family(fit_families(data))
    below = lowest_rw(data, family, truth, fits[family])
    assert below >= fits[family].rw - fits[family].uncertainty - 1e-3
    for other in FAMILIES:
        for n_atoms, seed in ((13, 5), (55, 3), (75, 6)):
            reached = lowest_rw(data, other, particle(other, n_atoms, seed), fits[other])
            assert reached >= fits[other].rw - fits[other].uncertainty - 1e-3, other


def test_given_up_families_say_how_sure_they_are() -> None:
    data = pdf(particle("bcc", 80) * BOND, noise=0.01)
    fits = fit_families(data)
    assert fits[0].family == "bcc"
    assert fits[0].uncertainty < 0.02 * fits[0].rw
    for fit in fits[1:]:
        alone = fit_family(data, fit.family)
        assert alone is not None
        assert alone.rw > fit.rw - fit.uncertainty - 1e-3
        assert 0.0 <= fit.uncertainty <= fit.rw


def test_a_background_of_pairs_buys_nothing() -> None:
    """Pairs at all distances alike are invisible; counts could be negative on top of them, if there were enough."""
    fits = by_family(fit_families(pdf(particle("fcc", 60) * BOND, noise=0.05)))
    fit = fits["decahedron"]
    first = fit.counts[fit.distance < 1.1].sum()
    assert fit.counts[fit.distance < 4.0].sum() < 300.0 * first


@pytest.mark.parametrize("bond", [1.81, 2.2, 3.0, 3.99])
@pytest.mark.parametrize("family", ["fcc", "bcc", "icosahedron"])
def test_bonds_of_every_length(family: str, bond: float) -> None:
    positions = particle(family, 40)
    positions = positions / pdist(positions).min() * bond
    fits = fit_families(pdf(positions, known=False))
    assert fits[0].family in families_with(pdist(positions))
    assert fits[0].widths.bond == pytest.approx(bond, rel=1e-4)


def test_first_peaks() -> None:
    for noise in (0.0, 0.1):
        peaks = first_peaks(pdf(particle("fcc", 80) * 2.5, noise=noise))
        assert min(abs(peak - 2.5) for peak in peaks) < 0.03
    # The second shell of bcc lies 15 % beyond the first: two maxima if the peaks are narrow, one in between if not.
    narrow = pdf(particle("bcc", 80) * 2.5, PdfParams(rmax=30.1, qmax=26.0, biso=0.2))
    assert {round(peak, 1) for peak in first_peaks(narrow)} >= {2.5, 2.9}
    wide = first_peaks(pdf(particle("bcc", 80) * 2.5, PdfParams(rmax=30.1, qmax=12.0, biso=2.0)))
    assert min(abs(peak - 2.6) for peak in wide) < 0.12


@pytest.mark.parametrize("shape", ["zero", "negative", "constant", "ramp", "far"])
def test_no_peak(shape: str) -> None:
    r = np.arange(1.5, 20.05, 0.1)
    g = {
        "zero": np.zeros_like(r),
        "negative": -np.ones_like(r),
        "constant": np.ones_like(r),
        "ramp": r,
        "far": np.exp(-((r - 9.0) ** 2) / 0.02),
    }[shape]
    data = PdfData.thinned(r, g, PARAMS, None)
    assert first_peaks(data) == []
    assert fit_families(data) == []
    assert fit_family(data, "fcc") is None


def test_anything_with_a_peak_has_an_answer() -> None:
    r = np.arange(1.5, 20.05, 0.1)
    for g in (np.random.default_rng(1).normal(size=len(r)), np.where(np.abs(r - 2.5) < 0.01, 1.0, 0.0)):
        fits = fit_families(PdfData.thinned(r, g, PARAMS, None))
        assert fits
        assert all(np.isfinite([fit.rw, fit.bic, fit.misfit, fit.uncertainty]).all() for fit in fits)


def test_long_ranges_of_dense_families() -> None:
    """Beyond a dozen bonds, decahedra and icosahedra have a shell nearly everywhere, more than could be listed."""
    params = PdfParams(rmax=44.1, qmin=0.8, qmax=20.0, qdamp=0.01)
    data = pdf(particle("fcc", 150) * 2.2, params, high=44.0)
    for family in ("decahedron", "icosahedron"):
        fit = fit_family(data, family)
        assert fit is not None
        assert fit.distance[-1] * fit.widths.bond > 44.0
        assert np.all(np.diff(fit.distance) > 0.0)


def test_bounds_of_long_data_are_those_of_a_part_and_hold() -> None:
    params = PdfParams(rmax=60.1, qmin=0.8, qmax=20.0, qdamp=0.01)
    positions = particle("hcp", 150) * 2.7
    data = pdf(positions, params, high=60.0)
    part = data.r <= 40.0
    near = {fit.family: fit for fit in fit_families(PdfData(data.r[part], data.g[part], data.params, data.qdamp))}
    share = np.sqrt(np.sum(data.g[part] ** 2) / np.sum(data.g**2))
    assert share < 1.0
    for fit in fit_families(data):
        assert fit.rw == pytest.approx(share * near[fit.family].rw, rel=1e-9)
        assert fit.bic == near[fit.family].bic
        assert fit.end == pytest.approx(40.0, abs=0.2)
    # What is left of an fcc particle on all of the data is no less than the bound.
    fcc = next(fit for fit in fit_families(data) if fit.family == "fcc")
    other = pdf(particle("fcc", 150) * fcc.widths.bond, params, high=60.0).g
    scale = (other @ data.g) / (other @ other)
    assert np.linalg.norm(data.g - scale * other) / np.linalg.norm(data.g) > fcc.rw


def test_families_that_hold_a_particle() -> None:
    cube = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    assert set(families_with(3.1 * pdist(cube))) == {"fcc", "sc", "hcp", "twin"}
    ball = lattice_template("hcp", 3.0, 7.0).sites[:57]
    assert set(families_with(pdist(ball))) == {"hcp", "twin"}
    for family in FAMILIES:
        assert family in families_with(pdist(particle(family, 60)))


def problem(n: int, points: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    columns = random.normal(size=(n, points))
    return columns, random.uniform(0.0, 1.0, n) @ columns + 5.0 * random.normal(size=points)


@pytest.mark.parametrize(("n", "points"), [(5, 32), (40, 64), (120, 256), (300, 192)])
def test_least_squares_as_scipy(n: int, points: int) -> None:
    for seed in range(5):
        columns, data = problem(n, points, seed)
        expected, norm = nnls(columns.T, data)
        weights, used, left = _core.nnls(columns, data)
        assert left == pytest.approx(norm, rel=1e-9, abs=1e-9)
        if norm > 1e-6:
            np.testing.assert_allclose(weights, expected, atol=1e-8)
            assert used == np.flatnonzero(expected).tolist()


def test_least_squares_from_any_start() -> None:
    columns, data = problem(100, 256, 4)
    expected, norm = nnls(columns.T, data)
    random = np.random.default_rng(2)
    for start in (list(range(100)), random.permutation(100)[:40].tolist(), [3, 3, 3], [99, 500]):
        weights, _, left = _core.nnls(columns, data, 0.0, start)
        assert left == pytest.approx(norm, rel=1e-10)
        np.testing.assert_allclose(weights, expected, atol=1e-8)


def test_least_squares_of_columns_that_are_nothing_or_twice_there() -> None:
    columns, data = problem(60, 128, 6)
    _, norm = nnls(columns.T, data)
    more = np.concatenate([columns, np.zeros((3, 128)), columns[::2], 3.0 * columns[1::2]])
    for start in ([], list(range(len(more)))):
        weights, used, left = _core.nnls(more, data, 0.0, start)
        assert left == pytest.approx(norm, rel=1e-9)
        assert np.all(weights >= 0.0)
        assert not set(used) & {60, 61, 62}
        assert np.linalg.norm(data - weights @ more) == pytest.approx(left, rel=1e-9)
    weights, used, left = _core.nnls(columns, np.zeros(128))
    assert used == []
    assert left == 0.0
    assert not weights.any()
