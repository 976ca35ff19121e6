"""One PDF solved from file to ranked structures: what is found, what is said of it, and what is refused."""

from __future__ import annotations

import dataclasses
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase.cluster import FaceCenteredCubic, Icosahedron, Octahedron
from scipy.spatial.distance import pdist

from hpcpdf import ConfigError, DataError, PdfParams, Solution, read_gr, read_solution, simulate_pdf, solve
from hpcpdf.clusters.canonical import shape_key
from hpcpdf.clusters.draw import draw_shape
from hpcpdf.clusters.elements import metallic_radius
from hpcpdf.clusters.template import template
from hpcpdf.pdf.gr import MeasuredPdf

PARAMS = PdfParams(rmax=21.0, rstep=0.02, qmin=0.8, qmax=25.0, qdamp=0.035, biso=0.5)
BOND = 2.78


def measured(positions: np.ndarray, noise: float = 0.0) -> MeasuredPdf:
    """The PDF of a cluster, in another scale, with white noise as a share of its highest peak."""
    r, g = simulate_pdf(positions, PARAMS, transform="exact", n_threads=1)
    g = 0.7 * (g + noise * np.abs(g).max() * np.random.default_rng(0).normal(size=g.size))
    return MeasuredPdf(r, g, None, PARAMS.qmin, PARAMS.qmax)


def particle(family: str, seed: int, bond: float = BOND) -> np.ndarray:
    """A random particle of 40 to 60 atoms, Å."""
    shape = draw_shape(family, np.random.default_rng(seed), 40, 60)
    return template(family).sites[shape.sites] * bond


def same_shape(one: np.ndarray, other: np.ndarray, within: float = 2e-3) -> bool:
    """Whether two structures have the same distances, up to a common factor, to this many Å."""
    if len(one) != len(other):
        return False
    a, b = np.sort(pdist(one)), np.sort(pdist(other))
    return bool(np.allclose(a * b.mean() / a.mean(), b, atol=within))


@pytest.fixture(scope="module")
def pdf(root: Path) -> MeasuredPdf:
    return read_gr(root / "examples" / "pt79.gr")


@pytest.fixture(scope="module")
def found(pdf: MeasuredPdf) -> Solution:
    return solve(pdf, "Pt", top=4, effort="quick", n_threads=1)


@pytest.fixture(scope="module")
def easy() -> MeasuredPdf:
    """Soon solved: nothing is left to be found when the particle is."""
    return measured(Octahedron("Pt", 4, 1, latticeconstant=BOND * 2**0.5).positions)


def test_the_example_is_solved(found):
    """79 atoms on an fcc lattice, neighbours at 2.79 Å; 2 % noise leaves R_w = 0.011."""
    best = found[0]
    truth = Octahedron("Pt", 5, 1).positions
    # Noise moves the free coordinates by less than an atom elsewhere would.
    assert same_shape(best.atoms.positions, truth, within=0.05)
    assert best.family == "fcc"
    assert best.rw < 0.012
    assert best.nn_mean == pytest.approx(2.79, abs=0.003)
    assert best.coordination_mean == pytest.approx(8.5, abs=0.1)
    assert found.posterior.n_atoms() == (79, 79)
    assert found.posterior.families["fcc"] > 0.99
    assert found.verdict in {"good", "fair"}


def test_likeliest_first_and_refined(found):
    assert 2 <= len(found) <= 4
    shares = [c.probability for c in found]
    assert shares == sorted(shares, reverse=True)
    assert 0.0 < sum(shares) <= 1.0 + 1e-9
    for candidate in found:
        assert candidate.rw <= candidate.rw_before_refine + 1e-9
        assert np.isnan(candidate.rw_relaxed) or candidate.rw <= candidate.rw_relaxed + 1e-9
        assert set(candidate.atoms.get_chemical_symbols()) == {"Pt"}
        np.testing.assert_allclose(candidate.atoms.positions.mean(axis=0), 0.0, atol=1e-9)
        assert pdist(candidate.atoms.positions).min() > 0.9 * candidate.nn_mean


def test_no_structure_is_told_twice(found):
    assert len({shape_key(c.atoms.positions) for c in found}) == len(found)


def test_how_sure_the_sites_are(found):
    for candidate in found[:3]:
        certainty = candidate.site_certainty
        assert certainty is not None
        assert certainty.shape == (candidate.n_atoms,)
        assert np.all((certainty >= 0.0) & (certainty <= 1.0 + 1e-9))
    # Nothing else has a share worth speaking of, so that all of its sites are sure.
    assert found[0].probability > 0.99
    assert found[0].site_certainty.min() > 0.99


def test_families_and_their_bounds(found):
    assert set(found.bounds) == {"fcc", "hcp", "bcc", "sc", "decahedron", "icosahedron", "twin"}
    values = [bound.rw for bound in found.family_bounds]
    assert values == sorted(values)
    best = min(c.rw_before_refine for c in found)
    for bound in found.family_bounds:
        assert bound.excluded == (bound.rw - bound.uncertainty > best)
        assert bound.biso > 0.0
        assert bound.columns > 0
    # No structure does better than its family can.
    for candidate in found:
        bound = next(bound for bound in found.family_bounds if bound.family == candidate.family)
        assert candidate.rw_before_refine >= bound.rw - bound.uncertainty
    own = next(bound for bound in found.family_bounds if bound.family == "fcc")
    assert not own.excluded
    assert own.bond == pytest.approx(2.79, abs=0.005)
    assert {bound.family for bound in found.family_bounds if bound.excluded} >= {"bcc", "sc", "icosahedron"}


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


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_particles_of_fcc_are_found_exactly(seed):
    truth = particle("fcc", seed)
    best = solve(measured(truth), "Pt", top=1, n_threads=1)[0]
    assert same_shape(best.atoms.positions, truth)
    assert best.rw < 1e-4
    assert best.nn_mean == pytest.approx(BOND, abs=1e-4)
    assert best.biso == pytest.approx(PARAMS.biso, rel=1e-3)
    assert best.qdamp == pytest.approx(PARAMS.qdamp, rel=1e-2)
    assert best.probability > 0.99


@pytest.mark.parametrize("family", ["hcp", "bcc", "sc", "decahedron", "icosahedron"])
def test_particles_of_other_families_are_found_exactly(family):
    truth = particle(family, 1)
    solution = solve(measured(truth), "Pt", top=1, n_threads=1)
    best = solution[0]
    assert best.family == family
    assert same_shape(best.atoms.positions, truth)
    assert best.rw < 2e-3
    assert not solution.notes, "2.78 Å is the bond of platinum, whatever the second neighbours of bcc are"


def test_another_bond_length_than_that_of_the_element():
    """A bcc particle with bonds a fifth shorter is found all the same, and the bond is told."""
    expected = 2.0 * metallic_radius("W")
    truth = particle("bcc", 1, 0.8 * expected)
    solution = solve(measured(truth), "W", top=1, n_threads=1)
    assert same_shape(solution[0].atoms.positions, truth)
    assert solution[0].family == "bcc"
    assert pdist(solution[0].atoms.positions).min() == pytest.approx(0.8 * expected, rel=1e-4)
    assert f"bond length {0.8 * expected:.3f} Å is 20% below that of W ({expected:.3f} Å): check the element" in (
        solution.notes
    )


def test_noise_leaves_the_size_open():
    """With much noise the interval holds the truth, and no candidate claims more than it fits."""
    truth = particle("fcc", 1)
    solution = solve(measured(truth, noise=0.01), "Pt", top=3, effort="quick", refine=False, n_threads=1)
    low, high = solution.posterior.n_atoms(0.99)
    assert low <= len(truth) <= high
    assert low < high
    assert solution[0].family == "fcc"
    assert sum(solution.posterior.families.values()) == pytest.approx(1.0)


def test_a_particle_that_the_data_do_not_reach_across():
    """What is met first is no answer to how large it is, and the verdict says so."""
    sites = FaceCenteredCubic("Au", [(1, 0, 0), (1, 1, 1)], [6, 6], latticeconstant=4.08).positions
    params = PdfParams(rmax=14.1, rstep=0.1, qmin=0.8, qmax=22.0, qdamp=0.02, biso=0.5)
    r, g = simulate_pdf(sites, params)
    g += 0.02 * np.abs(g).max() * np.random.default_rng(0).normal(size=g.size)
    pdf = MeasuredPdf(r, g, None, 0.8, 22.0, "Au", {"qdamp": "0.02"})
    sol = solve(pdf, "Au", effort="quick", refine=False, top=2)
    (note,) = [note for note in sol.notes if "before the particle does" in note]
    low, high = (float(number) for number in re.findall(r"(\d+) to (\d+) Å", note)[0])
    # The sphere of as many atoms.
    assert low / 1.04 < 2.0 * (3.0 * len(sites) * 4.08**3 / 16.0 / np.pi) ** (1.0 / 3.0) < 1.04 * high
    assert sol.verdict != "good" or 0.9 < sol[0].n_atoms / len(sites) < 1.1


def test_a_chiral_particle_comes_with_its_mirror_image():
    """A particle and its mirror image have one PDF; what is its own mirror image stands alone."""
    frame = template("fcc")
    some = np.argsort(np.linalg.norm(frame.sites - [0.31, 0.17, 0.05], axis=1), kind="stable")[:29]
    truth = frame.sites[some] * BOND
    best = solve(measured(truth), "Pt", top=1, n_threads=1)[0]
    assert same_shape(best.atoms.positions, truth)
    assert len(best.equivalents) == 1
    twin = best.equivalents[0]
    np.testing.assert_allclose(twin.atoms.positions, best.atoms.positions * [1.0, 1.0, -1.0])
    assert not twin.equivalents
    whole = solve(measured(Icosahedron("Pt", 3).positions), "Pt", top=1, n_threads=1)[0]
    assert whole.n_atoms == 55
    assert whole.equivalents == ()


@pytest.mark.parametrize("effort", ["quick", "thorough"])
def test_threads_and_time_change_nothing(effort, easy, tmp_path):
    """The same seed is the same answer, to the byte of what is saved, for one thread or two."""
    noisy = dataclasses.replace(easy, g=easy.g + (0.02 * np.sin(9.0 * easy.r) if effort == "quick" else 0.0))
    for n_threads in (1, 2):
        solution = solve(noisy, "Pt", top=2, effort=effort, refine=False, seed=5, n_threads=n_threads)
        solution.save(tmp_path / str(n_threads))
    for name in ("solution.json", "solution.npz"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    again = read_solution(tmp_path / "1")
    assert [c.rw for c in again] == [c.rw for c in solution]
    assert again.settings["effort"] == effort
    assert all(c.rw == c.rw_before_refine for c in again)


def test_progress_is_told_line_by_line(easy):
    lines: list[str] = []
    solve(easy, "Pt", top=1, effort="quick", n_threads=1, progress=lines.append)
    assert any(line.startswith("bond length 2.7") for line in lines)
    assert any("fcc: 38 atoms" in line for line in lines)
    assert all("\n" not in line for line in lines)


def test_an_element_that_is_not_in_the_sample(pdf):
    with pytest.raises(ConfigError, match="element Au is not in its composition 'Pt'"):
        solve(pdf, "Au")
    with pytest.raises(ConfigError):
        solve(pdf, "Xx")


def test_ligands_are_ignored_with_a_warning(easy):
    covered = dataclasses.replace(easy, composition="Pt38 S20 C30")
    with pytest.warns(UserWarning, match="C, S of the composition") as caught:
        found = solve(covered, "Pt", top=1, effort="quick", refine=False, n_threads=1)
    assert caught[0].filename == __file__, "it points at the caller"
    assert any("only Pt is modelled" in note for note in found[0].notes)
    assert any("only Pt is modelled" in note for note in found.notes)


def test_nothing_is_said_of_a_pure_sample(easy):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = solve(dataclasses.replace(easy, composition="Pt"), "Pt", top=1, effort="quick", n_threads=1)
    assert found.notes == ()


@pytest.mark.parametrize(
    "wrong", [{"n_samples": 0}, {"top": 0}, {"r_range": (9.0, 3.0)}, {"r_range": (-1.0, 3.0)}, {"effort": "much"}]
)
def test_options_that_cannot_be_used(pdf, wrong):
    with pytest.raises(ConfigError):
        solve(pdf, "Pt", **wrong)


def test_a_range_without_data(pdf):
    with pytest.raises(DataError):
        solve(pdf, "Pt", r_range=(50.0, 60.0))


def test_a_pdf_without_a_peak_where_atoms_may_touch(easy):
    slope = dataclasses.replace(easy, g=-0.3 * easy.r)
    for pdf, r_range in ((slope, (1.5, 20.0)), (easy, (4.5, 20.0))):
        with pytest.raises(DataError, match=r"no peak between 1\.8 and 4 Å"):
            solve(pdf, "Pt", r_range=r_range, n_threads=1)


def test_a_model_that_is_not_there(easy, tmp_path):
    with pytest.raises(DataError, match="no such model file"):
        solve(easy, "Pt", tmp_path / "none.safetensors", top=1, effort="quick", n_threads=1)
