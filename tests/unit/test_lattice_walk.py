"""Walks, random shapes and polishing on a template: the same for any number of threads, and as good as all trials."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from hpcpdf import PdfParams, _core
from hpcpdf.lattice.shells import PdfData
from hpcpdf.lattice.template import Template, lattice_template

PARAMS = PdfParams(rmin=1.5, rmax=20.0, rstep=0.1, qmin=0.8, qmax=25.0)
BOND, U, QDAMP = 2.77, 0.006, 0.03
FRAME = lattice_template("fcc", 4.0, 8.0)


def ball(n_atoms: int, centre: tuple[float, float, float], frame: Template = FRAME) -> np.ndarray:
    """Sites nearest to a place."""
    order = np.argsort(np.linalg.norm(frame.sites - centre, axis=1), kind="stable")[:n_atoms]
    return np.sort(order).astype(np.int32)


TRUTH = ball(43, (0.3, 0.1, 0.2))
START = ball(30, (0.0, 0.0, 0.0))


class Problem:
    """A PDF of known sites, and the shells that may make it up, both weighted."""

    def __init__(
        self,
        *,
        free_rate: bool = False,
        noise: float = 0.02,
        frame: Template = FRAME,
        truth: np.ndarray | None = None,
    ) -> None:
        r = np.arange(1.5, 20.0, 0.1)
        data = PdfData(r, np.zeros_like(r), PARAMS, QDAMP)
        weights = (r / r[-1]) ** 2
        seen = data.columns(frame.distance * BOND, U, 1.0, data.padded(weights * data.envelope(QDAMP)))
        g = frame.core.shell_counts(ball(43, (0.3, 0.1, 0.2), frame) if truth is None else truth) @ seen
        g += data.padded(noise * np.abs(g).max() * np.random.default_rng(1).normal(size=r.size))
        self.data = g
        self.shells = data.columns(frame.distance * BOND, U, 1.0, data.padded(weights)) if free_rate else seen
        self.rho = data.padded((r / r[-1]) ** 2) if free_rate else None
        self.rate = 0.5 * (QDAMP * r[-1]) ** 2 if free_rate else 0.0
        self.frame = frame
        self.rate_max = 0.5 * (0.08 * r[-1]) ** 2
        self.target = _core.LatticeTarget(data=self.data, shells=self.shells, rho=self.rho, rate_max=self.rate_max)

    def misfit(self, sites: Any, rate: float = 0.0) -> float:
        """Share of the data that the best multiple of a structure leaves."""
        g = self.frame.core.shell_counts(np.sort(np.asarray(sites, dtype=np.int32))) @ self.shells
        if self.rho is not None:
            g = g * np.exp(-rate * self.rho)
        along = float(g @ self.data)
        return 1.0 - along**2 / float((g @ g) * (self.data @ self.data)) if along > 0.0 else 1.0

    def walks(self, **change: Any) -> list[dict[str, Any]]:
        given: dict[str, Any] = {
            "sites": self.frame.core,
            "target": self.target,
            "starts": [[START], [ball(60, (0.4, 0.0, 0.0), self.frame), START]],
            "rates": [self.rate] * 2,
            "seeds": [3, 4],
            "powers": [5.0, 12.0, 25.0],
            "rounds": 8,
            "steps": 60,
            "shares": (0.4, 0.3, 0.15, 0.15),
            "bond_cost": 0.0,
            "usual_missing": 15.0,
            "stop": 0.0,
            "least_atoms": 4,
            "most_atoms": 10**6,
            "least_bonds": 3,
            "keep": 20,
            "n_threads": 1,
        }
        return _core.lattice_walks(**(given | change))

    def polish(self, **change: Any) -> list[dict[str, Any]]:
        given: dict[str, Any] = {
            "sites": self.frame.core,
            "target": self.target,
            "starts": [START],
            "rates": [self.rate],
            "rounds": 1,
            "tenure": 6,
            "patience": 4,
            "most_changes": 500,
            "bond_cost": 0.0,
            "usual_missing": 15.0,
            "stop": 0.0,
            "least_atoms": 4,
            "least_bonds": 3,
            "keep": 2,
            "neighbours": 0,
            "n_threads": 1,
        }
        return _core.lattice_polish(**(given | change))

    def shapes(self, **change: Any) -> list[dict[str, Any]]:
        given: dict[str, Any] = {
            "sites": self.frame.core,
            "target": self.target,
            "seed": 7,
            "count": 300,
            "least_atoms": 10,
            "most_atoms": 90,
            "centres": self.frame.centres,
            "off_centre": 0.7,
            "rate": self.rate,
            "bond_cost": 0.0,
            "usual_missing": 15.0,
            "keep": 25,
            "n_threads": 1,
        }
        return _core.lattice_shapes(**(given | change))


def bonds(sites: Any, frame: Template = FRAME) -> np.ndarray:
    """Occupied neighbours of every site."""
    inside = np.zeros(len(frame) + 1, dtype=bool)
    inside[np.asarray(sites)] = True
    return inside[frame.neighbours].sum(axis=1)


def missing(sites: Any, frame: Template = FRAME) -> int:
    return int(frame.coordination * len(sites) - bonds(sites, frame)[np.asarray(sites)].sum())


def value(met: dict[str, Any]) -> float:
    return math.log(met["misfit"]) + float(met["energy"])


def frozen(results: Any) -> Any:
    """Everything that was returned, to the byte."""
    if isinstance(results, dict):
        return tuple((name, frozen(item)) for name, item in sorted(results.items()))
    if isinstance(results, list):
        return tuple(frozen(item) for item in results)
    return results.tobytes() if isinstance(results, np.ndarray) else results


def check(problem: Problem, mets: list[dict[str, Any]], frame: Template = FRAME, rel: float = 2e-4) -> None:
    """What is said of structures is true of them; `rel` is how far from settled their envelopes may be."""
    assert [value(met) for met in mets] == sorted(value(met) for met in mets)
    assert len({met["key"] for met in mets}) == len(mets)
    edge = np.linalg.norm(frame.sites, axis=1) > frame.radius + 1e-9
    for met in mets:
        sites = met["sites"]
        assert np.all(np.diff(sites) > 0)
        assert not edge[sites].any()
        assert met["missing"] == missing(sites, frame)
        counts = frame.core.shell_counts(sites)
        again, rate = _core.lattice_score(problem.target, counts, met["rate"])
        assert again <= met["misfit"] * (1.0 + 2e-4) + 1e-7
        assert met["misfit"] == pytest.approx(again, rel=rel, abs=1e-7)
        assert met["misfit"] == pytest.approx(problem.misfit(sites, rate), rel=rel, abs=1e-7)


@pytest.mark.parametrize("free_rate", [False, True], ids=["instrument", "free"])
def test_threads_change_nothing(free_rate):
    problem = Problem(free_rate=free_rate)
    starts = [START, ball(50, (0.5, 0.0, 0.0)), ball(39, (0.0, 0.2, 0.0)), ball(45, (0.1, 0.2, 0.3))]
    for call in (
        lambda n: problem.walks(n_threads=n),
        lambda n: problem.polish(starts=starts, rates=[problem.rate] * 4, rounds=6, neighbours=3, n_threads=n),
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


def eligible(sites: np.ndarray, least_bonds: int = 3) -> list[int]:
    """Atoms of the surface, and vacancies with enough neighbours."""
    around = bonds(sites)
    inside = set(sites.tolist())
    edge = np.linalg.norm(FRAME.sites, axis=1) > FRAME.radius + 1e-9
    atoms = [s for s in inside if around[s] <= FRAME.coordination - 2]
    return atoms + [s for s in range(len(FRAME)) if s not in inside and around[s] >= least_bonds and not edge[s]]


def all_changes(sites: np.ndarray, size: int = 2) -> list[np.ndarray]:
    """The structures that differ from this one in one or two of the eligible sites."""
    inside = set(sites.tolist())
    found = []
    for number in range(1, size + 1):
        for change in itertools.combinations(eligible(sites), number):
            found.append(np.array(sorted(inside ^ set(change)), dtype=np.int32))
    return found


@pytest.mark.parametrize("bond_cost", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("free_rate", [False, True], ids=["instrument", "free"])
def test_polishing_takes_the_best_of_all_changes(bond_cost, free_rate):
    """Against every change of one site and of two, each scored from the pairs of all its atoms."""
    problem = Problem(free_rate=free_rate)
    start = ball(19, (0.25, 0.0, 0.1))
    result = problem.polish(starts=[start], bond_cost=bond_cost, keep=2)[0]
    others = all_changes(start)
    assert result["steps"] == len(others)
    assert result["accepted"] == 1
    met = next(met for met in result["best"] if not np.array_equal(met["sites"], start))
    # The envelope stays where the structure before wants it while changes are compared.
    rate = next(met["rate"] for met in problem.polish(starts=[start], rounds=0)[0]["best"])

    def cost(sites: np.ndarray) -> float:
        energy = bond_cost * (missing(sites) - 15.0 * len(sites) ** (2.0 / 3.0))
        return math.log(problem.misfit(sites, rate)) + energy

    costs = [cost(sites) for sites in others]
    assert cost(met["sites"]) == pytest.approx(min(costs), abs=1e-6)
    assert met["energy"] == pytest.approx(bond_cost * (met["missing"] - 15.0 * len(met["sites"]) ** (2.0 / 3.0)))
    check(problem, result["best"], rel=0.01)


def test_what_polishing_looks_at_around_its_best():
    """With `neighbours`, the next best changes of the final structure come along."""
    problem = Problem()
    start = ball(19, (0.25, 0.0, 0.1))
    result = problem.polish(starts=[start], rounds=0, keep=1, neighbours=8)[0]
    found = sorted(problem.misfit(met["sites"]) for met in result["best"])
    keys = {frozen(FRAME.core.shell_counts(sites)): problem.misfit(sites) for sites in [*all_changes(start), start]}
    np.testing.assert_allclose(found, sorted(keys.values())[: len(found)], rtol=1e-5)
    assert len(found) == 9


def test_polishing_descends_to_where_no_change_helps():
    problem = Problem()
    result = problem.polish(starts=[ball(40, (0.3, 0.1, 0.1))], rounds=30, patience=3, keep=1)[0]
    best = result["best"][0]
    assert best["misfit"] <= problem.misfit(TRUTH) * (1.0 + 1e-6)
    assert best["misfit"] <= min(problem.misfit(sites) for sites in all_changes(best["sites"], 1)) * (1.0 + 1e-6)


def test_changed_atoms_are_left_alone_for_a_while():
    """Beyond a minimum a search must not go back and forth: it meets as many structures as it makes changes."""
    problem = Problem()
    result = problem.polish(starts=[TRUTH], rounds=5, tenure=20, patience=20, keep=50)[0]
    assert result["accepted"] == 5
    assert len(result["best"]) == 6


def test_few_changes_when_few_are_asked_for():
    result = Problem().polish(most_changes=10)[0]
    assert result["steps"] == 10 * 11 // 2


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
