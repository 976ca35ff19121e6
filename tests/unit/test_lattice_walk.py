"""Walks and random shapes on a template: the same for any number of threads, and as good as all trials."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from lattice_problem import FRAME, START, TRUTH, Problem, ball, check, frozen, value

from hpcpdf import _core
from hpcpdf.lattice.template import lattice_template


@pytest.mark.parametrize("free_rate", [False, True], ids=["instrument", "free"])
def test_threads_change_nothing(free_rate):
    problem = Problem(free_rate=free_rate)
    starts = [START, ball(50, (0.5, 0.0, 0.0)), ball(39, (0.0, 0.2, 0.0)), ball(45, (0.1, 0.2, 0.3))]
    for call in (
        lambda n: problem.walks(n_threads=n),
        lambda n: problem.polish(starts=starts, rates=[problem.rate] * 4, rounds=6, n_threads=n),
        lambda n: problem.shapes(n_threads=n),
    ):
        first = frozen(call(1))
        assert frozen(call(1)) == first
        assert frozen(call(2)) == first
        assert frozen(call(3)) == first


def test_a_walk_does_not_depend_on_the_others():
    problem = Problem()
    both = problem.walks()
    alone = problem.walks(starts=[[START]], rates=[0.0], seeds=[3])
    assert frozen(both[0]) == frozen(alone[0])
    other = problem.walks(starts=[[START]], rates=[0.0], seeds=[5])
    assert frozen(other[0]) != frozen(alone[0])


@pytest.mark.parametrize("free_rate", [False, True], ids=["instrument", "free"])
@pytest.mark.parametrize(
    "shares",
    [(1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0), (0, 0, 0, 1.0)],
    ids=["facets", "atoms", "rows", "terraces"],
)
def test_what_walks_say_of_structures(free_rate, shares):
    problem = Problem(free_rate=free_rate)
    for result in problem.walks(shares=shares):
        assert 0 < result["steps"] == 3 * 8 * 60
        assert 0 < result["accepted"] <= result["steps"]
        assert len(result["best"]) > 1
        check(problem, result["best"])


@pytest.mark.parametrize("family", ["hcp", "bcc", "sc", "decahedron", "icosahedron", "twin"])
def test_walks_on_every_family(family):
    frame = lattice_template(family, 4.0, 8.0)
    problem = Problem(frame=frame)
    start = ball(30, (0.0, 0.0, 0.0), frame)
    for result in problem.walks(starts=[[start], [ball(55, (0.2, 0.3, 0.0), frame)]], least_bonds=frame.least_bonds):
        check(problem, result["best"], frame)
    check(problem, problem.shapes(), frame)


def test_walks_find_a_particle_of_ideal_facets():
    """A truncated octahedron cut on one side, from random shapes; they end when nothing is left to find."""
    heights = FRAME.normals @ FRAME.sites.T
    square, triangle = (np.flatnonzero(np.bincount(FRAME.kinds)[FRAME.kinds] == number) for number in (6, 8))
    inside = (heights[square] < 2.2).all(axis=0) & (heights[triangle] < 1.7).all(axis=0)
    assert inside.sum() == 79
    truth = np.flatnonzero(inside & (heights[square[0]] < 1.5)).astype(np.int32)
    problem = Problem(noise=0.0, truth=truth)
    starts = [met["sites"] for met in problem.shapes(count=1500, keep=12)]
    results = problem.walks(
        rounds=1000,
        steps=50,
        stop=1e-9,
        powers=[5.0, 8.0, 13.0],
        shares=(1.0, 0.0, 0.0, 0.0),
        starts=[starts[k::4] for k in range(4)],
        rates=[0.0] * 4,
        seeds=[1, 2, 3, 4],
    )
    successful = [result for result in results if result["best"][0]["misfit"] <= 1e-9]
    assert len(successful) >= 3
    for result in successful:
        assert result["steps"] < 1000 * 50 * 3
        found = FRAME.core.shell_counts(result["best"][0]["sites"])
        np.testing.assert_array_equal(found, FRAME.core.shell_counts(truth))


def test_sizes_keep_to_their_limits():
    problem = Problem()
    for result in problem.walks(least_atoms=28, most_atoms=34, starts=[[START], [START]], keep=200):
        assert {len(met["sites"]) for met in result["best"]} <= set(range(28, 35))
    sizes = {len(met["sites"]) for met in problem.shapes(least_atoms=12, most_atoms=20)}
    assert sizes
    assert sizes <= set(range(12, 21))
    result = problem.polish(least_atoms=30, rounds=10, keep=50)[0]
    assert min(len(met["sites"]) for met in result["best"]) >= 30


def test_missing_bonds_cost():
    """At a high price walks keep to compact particles, and say what the price is."""
    problem = Problem()
    price = 0.5
    atoms = (0.0, 1.0, 0.0, 0.0)
    free = problem.walks(shares=atoms, keep=1, rounds=20)
    dear = problem.walks(shares=atoms, keep=1, rounds=20, bond_cost=price)
    for one, other in zip(free, dear, strict=True):
        met = other["best"][0]
        assert met["energy"] == pytest.approx(price * (met["missing"] - 15.0 * len(met["sites"]) ** (2.0 / 3.0)))
        loose = one["best"][0]
        assert loose["energy"] == 0.0
        excess = loose["missing"] - 15.0 * len(loose["sites"]) ** (2.0 / 3.0)
        assert value(met) <= math.log(loose["misfit"]) + price * excess
    check(problem, dear[0]["best"])


def test_shapes_are_the_best_of_many():
    """Fewer kept are the first of more kept."""
    problem = Problem()
    many, few = problem.shapes(keep=200), problem.shapes(keep=5)
    assert frozen(many[:5]) == frozen(few)
    assert len(many) > 50
    check(problem, many)


def test_scores_of_counts():
    problem, free = Problem(), Problem(free_rate=True)
    for sites in (START, TRUTH, ball(50, (0.5, 0.0, 0.0))):
        counts = FRAME.core.shell_counts(sites)
        misfit, rate = _core.lattice_score(problem.target, counts, 0.0)
        assert rate == 0.0
        assert misfit == pytest.approx(problem.misfit(sites), rel=1e-4)
        # With a free envelope the score is that of the rate it names, at last the best one.
        misfit, rate = _core.lattice_score(free.target, counts, free.rate)
        for _ in range(30):
            misfit, rate = _core.lattice_score(free.target, counts, rate)
        assert misfit == pytest.approx(free.misfit(sites, rate), rel=1e-4)
        around = [free.misfit(sites, other) for other in (rate - 0.02, rate + 0.02) if 0.0 <= other <= free.rate_max]
        assert around
        assert misfit <= min(around) * (1.0 + 1e-5)
    nothing = np.zeros(len(FRAME.distance), dtype=np.int32)
    assert _core.lattice_score(problem.target, nothing, 0.0)[0] == 1.0


def test_starts_that_are_none():
    problem = Problem()
    outside, twice = np.array([0, len(FRAME)], dtype=np.int32), np.array([0, 1, 1], dtype=np.int32)
    for wrong in (outside, twice, np.array([-1], dtype=np.int32)):
        with pytest.raises(ValueError, match="distinct indices of sites"):
            problem.walks(starts=[[wrong]], rates=[0.0], seeds=[1])
        with pytest.raises(ValueError, match="distinct indices of sites"):
            problem.polish(starts=[wrong])
        with pytest.raises(ValueError, match="distinct indices of sites"):
            FRAME.core.shell_counts(wrong)
    with pytest.raises(ValueError, match="one dimension"):
        problem.polish(starts=[START[None]])


def test_options_that_do_not_fit_together():
    problem = Problem()
    for wrong in ({"rates": [0.0]}, {"seeds": [1]}, {"powers": []}, {"starts": [[], []]}):
        with pytest.raises(ValueError, match="expected"):
            problem.walks(**wrong)
    with pytest.raises(ValueError, match="one per start"):
        problem.polish(rates=[])
    with pytest.raises(ValueError, match="centres"):
        problem.shapes(centres=np.zeros(3))
    with pytest.raises(ValueError, match="one value per shell"):
        _core.lattice_score(problem.target, np.zeros(3, dtype=np.int32), 0.0)
    fewer = _core.LatticeTarget(data=problem.data, shells=problem.shells[:-1], rho=None, rate_max=0.0)
    for call in (problem.walks, problem.polish, problem.shapes):
        with pytest.raises(ValueError, match="one shell per class"):
            call(target=fewer)


def test_targets_that_are_none():
    good = Problem()
    data, shells = good.data, good.shells
    for wrong, match in (
        ({"data": data[None]}, "data"),
        ({"data": data[:-1]}, "shells"),
        ({"data": np.zeros_like(data)}, "data"),
        ({"data": np.full_like(data, np.nan)}, "data"),
        ({"shells": shells[0]}, "shells"),
        ({"rho": data[:-1]}, "rho"),
    ):
        with pytest.raises(ValueError, match=match):
            _core.LatticeTarget(**({"data": data, "shells": shells, "rho": None, "rate_max": 0.1} | wrong))


def test_sites_that_are_none():
    n = 4
    good: dict[str, Any] = {
        "positions": np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        "neighbours": np.full((n, 3), n, dtype=np.int32),
        "level": np.zeros((1, n), dtype=np.int32),
        "height": np.zeros((1, n)),
        "normal": np.array([[0.0, 0.0, 1.0]]),
        "kind": np.zeros(1, dtype=np.int32),
        "edge": np.zeros(n, dtype=np.uint8),
        "scale": 2.0,
        "table": np.array([0xFFFF, 0xFFFF, 0, 0xFFFF, 1, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF], dtype=np.uint16),
        "n_classes": 2,
    }
    sites = _core.LatticeSites(**good)
    np.testing.assert_array_equal(sites.shell_counts(np.arange(n, dtype=np.int32)), [3, 3])
    for name, wrong in (
        ("positions", np.zeros((n, 2))),
        ("neighbours", np.full((n, 3), n + 1, dtype=np.int32)),
        ("neighbours", np.full((n, 3), -1, dtype=np.int32)),
        ("neighbours", np.full((n - 1, 3), n, dtype=np.int32)),
        ("level", np.full((1, n), -1, dtype=np.int32)),
        ("level", np.zeros((2, n), dtype=np.int32)),
        ("height", np.zeros((1, n + 1))),
        ("normal", np.zeros((1, 2))),
        ("kind", np.array([-1], dtype=np.int32)),
        ("kind", np.zeros(2, dtype=np.int32)),
        ("edge", np.zeros(n + 1, dtype=np.uint8)),
        ("table", good["table"][:4]),
        ("n_classes", 0),
    ):
        with pytest.raises(ValueError, match=r"expected|table"):
            _core.LatticeSites(**(good | {name: wrong}))
