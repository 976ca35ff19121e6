"""Polishing on a template against all changes of one and of two sites."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from lattice_problem import FRAME, TRUTH, Problem, ball, bonds, check, missing


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
