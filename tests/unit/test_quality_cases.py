"""The test sets that judge the search are what they say, and the judge is right about structures it knows."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms

import hpcpdf
from hpcpdf import ConfigError, fit_pdf, simulate_pdf
from hpcpdf.reconstruct.solution import Bound, Candidate, Posterior, Sample, Solution

NAMES = ("shapes", "pairs", "cases", "judge", "run", "calibration")
SMALL = ("fcc-asymmetric", "fcc-rough", "fcc-symmetric", "paper-grid", "twin", "cut-decahedron", "cut-icosahedron")


@pytest.fixture
def quality(root, monkeypatch) -> Iterator[SimpleNamespace]:
    """The scripts of benchmarks/quality/structures."""
    monkeypatch.syspath_prepend(str(root / "benchmarks/quality/structures"))
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
    for name in NAMES:
        sys.modules.pop(name, None)


def disguised(positions: np.ndarray) -> np.ndarray:
    """Turned, mirrored, shifted, stretched by 2 %, in another order."""
    rng = np.random.default_rng(7)
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    return rng.permutation(1.02 * positions @ rotation.T) + np.array([3.0, -1.0, 2.0])


def candidate(case: Any, positions: np.ndarray, **more: Any) -> Candidate:
    """A candidate with the case's own parameters."""
    params, r = case.params, np.arange(3.0)
    known = {"biso": params.biso, "qdamp": params.qdamp, "delta2": params.delta2, "family": case.family} | more
    return Candidate(
        atoms=Atoms([case.element] * len(positions), positions=positions),
        rw=0.01,
        pearson=1.0,
        scale=1.0,
        zoom=1.0,
        r=r,
        g_obs=r,
        g_calc=r,
        nn_mean=2.8,
        coordination_mean=8.0,
        rw_before_refine=0.01,
        **known,
    )


@pytest.mark.parametrize("name", [*SMALL, "seven-families", "delta2"])
def test_pdf_is_that_of_the_truth(quality, name):
    for case in quality.cases.make_cases(name, 1, 3, noise=0.0):
        names = ("zoom", "biso", "qdamp", "delta2") if case.params.delta2 else ("zoom", "biso", "qdamp")
        fit = fit_pdf(case.truth, case.pdf, case.r_range, refine=names)
        assert fit.rw < 1e-4
        assert abs(fit.zoom - 1.0) < 1e-4
        assert case.pdf.parameter("qdamp") == (case.params.qdamp if case.qdamp_known else None)
        assert quality.shapes.connected(case.truth.positions / quality.judge.nearest(case.truth.positions))


def test_noise_is_white_in_f_and_has_the_envelope(quality):
    case = next(quality.cases.make_cases("noise-2-asymmetric", 1, 1))
    r, clean = simulate_pdf(case.truth.positions, case.params)
    added = (case.pdf.g - clean) / np.exp(-0.5 * (case.params.qdamp * r) ** 2)
    whole = clean / np.exp(-0.5 * (case.params.qdamp * r) ** 2)
    # By Parseval both have in r the shares that they have in Q, but for what lies beyond the last r.
    assert np.sqrt(np.sum(added**2) / np.sum(whole**2)) == pytest.approx(0.02, rel=0.2)
    near, far = (np.std(added[part]) for part in (r < 15.0, r >= 15.0))
    assert near == pytest.approx(far, rel=0.3)


def test_cases_depend_on_seed_and_number_alone(quality):
    make = quality.cases.make_cases
    short, long = list(make("fcc-rough", 3, 2)), list(make("fcc-rough", 3, 4))
    for a, b in zip(short, long, strict=False):
        np.testing.assert_array_equal(a.pdf.g, b.pdf.g)
        np.testing.assert_array_equal(a.truth.positions, b.truth.positions)
    other = next(make("fcc-rough", 4, 1))
    assert len(other.truth) != len(short[0].truth) or not np.allclose(other.truth.positions, short[0].truth.positions)


def test_sets_that_differ_in_what_is_known_share_structures(quality):
    make = quality.cases.make_cases
    known, unknown, noisy = (
        next(make(name, 5, 1)) for name in ("fcc-asymmetric", "fcc-asymmetric-unknown", "noise-2-asymmetric")
    )
    np.testing.assert_array_equal(known.pdf.g, unknown.pdf.g)
    np.testing.assert_array_equal(known.truth.positions, noisy.truth.positions)
    assert known.pdf.parameter("qdamp") is not None
    assert unknown.pdf.parameter("qdamp") is None
    assert np.any(known.pdf.g != noisy.pdf.g)
    with pytest.raises(KeyError, match="no set 'fcc-convex'"):
        quality.cases.find_set("fcc-convex")


def test_a_twin_is_a_mirror_layer_between_two_fcc_crystals(quality):
    for case in quality.cases.make_cases("twin", 2, 3):
        points = case.truth.positions / quality.judge.nearest(case.truth.positions)
        i, j = np.triu_indices(len(points), 1)
        squared = np.sum((points[i] - points[j]) ** 2, axis=1)
        # Atoms mirrored in the next layer are sqrt(8/3) apart: a distance of hcp that fcc does not have.
        across = np.abs(squared - 8.0 / 3.0) < 1e-6
        assert np.count_nonzero(across) >= 3
        middles = (points[i[across]] + points[j[across]]) / 2.0
        assert np.linalg.svd(middles - middles.mean(axis=0))[1][2] < 1e-6


@pytest.mark.parametrize("name", [*SMALL, "seven-families"])
def test_judge_knows_the_truth_in_disguise(quality, name):
    judge = quality.judge
    for case in quality.cases.make_cases(name, 1, 2):
        truth = case.truth.positions
        found = disguised(truth)
        assert judge.same_distances(found, truth)
        assert judge.same_structure(found, truth)
        shaken = found + np.random.default_rng(1).normal(0.0, 0.02, found.shape)
        assert not judge.same_distances(shaken, truth)
        assert judge.is_exact(shaken, truth)
        assert not judge.is_exact(np.delete(truth, 0, axis=0), truth)
        moved = truth.copy()
        outermost = int(np.argmax(np.linalg.norm(truth, axis=1)))
        moved[outermost] *= 1.0 + judge.nearest(truth) / np.linalg.norm(truth[outermost])
        assert not judge.is_exact(moved, truth)


def test_judgement_of_an_answer(quality):
    case = next(quality.cases.make_cases("fcc-asymmetric", 1, 1))
    truth = case.truth.positions
    n = len(truth)
    solution = Solution(
        candidates=(
            candidate(case, truth[1:], family="hcp", delta2=0.5),
            candidate(case, disguised(truth), family="octahedron"),
        ),
        verdict="good",
        posterior=Posterior((Sample(n - 1, 10.0, 8.0, "octahedron", 3.0), Sample(n, 10.0, 8.0, "sc", 1.0))),
        family_bounds=(
            Bound("octahedron", 0.01, 0.0, 2.8, 0.5, 0.0, -100.0, 5, False),
            Bound("hcp", 0.005, 0.0, 2.8, 0.5, 0.0, -90.0, 50, False),
        ),
    )
    found = quality.judge.judge(case, solution, seconds=1.5)
    assert found.rank == 2
    assert not found.first_exact
    assert found.in_top_ten
    assert not found.family_right
    assert found.atoms_error == -1
    assert found.delta2_error == pytest.approx(0.5)
    assert found.in_interval
    assert found.intervals[0] == (0.1, n - 1, n - 1, 0.75)
    assert found.family_probability == pytest.approx(0.75)
    assert not found.lowest_bound_right
    assert found.lowest_bic_right
    assert found.wrongly_excluded is False
    assert found.seconds == 1.5
    exact = quality.judge.judge(case, solution[1:])
    assert exact.first_exact
    assert exact.congruent
    assert exact.family_right
    assert not exact.nested
    assert exact.bond_error == pytest.approx(0.02)
    assert exact.in_interval is None
    assert quality.judge.judge(case, (candidate(case, truth, family="sc"),)).nested
    assert quality.judge.judge(case, ()).error


def test_pairs_cannot_be_told_apart_and_are_not_the_same(quality):
    kinds = set()
    for case in quality.cases.make_cases("near-homometric", 1, 8):
        truth, partner = case.truth.positions, case.partner.positions
        kinds.add(case.kind)
        assert quality.judge.same_distances(partner, truth) == (case.kind != "near")
        assert not quality.judge.same_structure(partner, truth)
        first = candidate(case, disguised(partner), equivalents=(candidate(case, disguised(truth)),))
        found = quality.judge.judge(case, (first,))
        assert (found.truth_rank, found.partner_rank) == (1, 1)
        assert found.first_exact == (case.kind != "near")
        assert found.congruent is (None if case.kind == "near" else False)
        if case.kind != "near":
            _, g = simulate_pdf([truth, partner], case.params)
            assert np.abs(g[0] - g[1]).max() < 1e-6 * np.abs(g).max()
    assert kinds == {"homometric", "minkowski", "near"}


def test_run_calls_the_solver_and_sums_up(quality, monkeypatch):
    called = []
    make = quality.cases.make_cases
    cases = {case.pdf.source: case for case in make("fcc-symmetric", 1, 3)}

    def solve(pdf, element, *, refine, top, r_range, effort, seed, n_threads):
        called.append((element, refine, top, r_range, effort, seed, n_threads))
        case = cases[pdf.source]
        if len(called) == 3:
            raise ConfigError("not today")
        return (candidate(case, disguised(case.truth.positions)),)

    monkeypatch.setattr(hpcpdf, "solve", solve)
    asked = quality.run.Asked("fcc-symmetric", 1, 3)
    rows = list(quality.run.solve_all(asked, quality.run.Options(effort="quick", seed=4), jobs=1))
    first = next(iter(cases.values()))
    assert called[0] == (first.element, False, 10, first.r_range, "quick", 4, 1)
    total = quality.run.summary(rows)
    assert total["exact_first"]["hits"] == 2
    assert total["without_answer"] == 1
    assert rows[2].error == "not today"
    assert quality.run.table_row("fcc-symmetric", 1, "quick", total).count("|") == quality.run.HEAD.split("\n")[
        0
    ].count("|")
    assert quality.run.wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_calibration_counts(quality):
    rows = [
        {"n_atoms": n, "intervals": [[0.5, 10, 12, 0.6]], "probability": 0.2 * n / 12, "rank": 1 if n > 11 else None}
        | {"error": None}
        for n in (9, 10, 12, 13)
    ]
    point = quality.calibration.coverage(rows)[0]
    assert (point["level"], point["inside"], point["probability"]) == (0.5, 0.5, 0.6)
    groups = quality.calibration.reliability(rows)
    assert sum(group["cases"] for group in groups) == 4
    assert groups[-1]["exact"] == 1.0
