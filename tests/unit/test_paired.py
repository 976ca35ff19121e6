"""The comparison over pairs errs as often as it says on equal models, and finds a real difference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hpcpdf import DataError
from hpcpdf.evaluate.paired import compare_pairs, compare_validity

FRACTIONS = np.linspace(0.0, 1.0, 9)


def _ways(rng: np.random.Generator, share: float, pairs: int = 50) -> np.ndarray:
    """Validity of structures that depend on each other: a way is mostly good or mostly bad."""
    way = rng.beta(2.0 * share, 2.0 * (1.0 - share), pairs)
    return rng.random((pairs, len(FRACTIONS))) < way[:, None]


def test_equal_models_differ_as_often_as_the_level_says():
    rng = np.random.default_rng(0)
    p = []
    naive = []
    for trial in range(200):
        a, b = _ways(rng, 0.5)[:, 1:-1], _ways(rng, 0.5)[:, 1:-1]
        found = compare_pairs(a.mean(axis=1), b.mean(axis=1), seed=trial, n_resamples=99)
        p.append((found.p_permutation, found.p_wilcoxon))
        counts = [[item.sum(), (~item).sum()] for item in (a, b)]
        naive.append(stats.fisher_exact(counts).pvalue)
    rate = np.mean(np.array(p) < 0.05, axis=0)
    # Of 200 trials at 5 %, 99.8 % of the time between 2 and 21 are significant.
    assert np.all((rate > 0.009) & (rate < 0.106))
    # Structures taken as independent would find what is not there.
    assert np.mean(np.array(naive) < 0.05) > 0.15


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    held = 0
    for trial in range(150):
        a = rng.normal(0.3, 0.5, 50)
        found = compare_pairs(a, np.zeros(50), seed=trial, n_resamples=199)
        held += found.low <= 0.3 <= found.high
    assert 0.87 < held / 150 < 0.99


def test_a_real_difference_is_found():
    rng = np.random.default_rng(2)
    found = compare_validity(_ways(rng, 0.6), _ways(rng, 0.25), FRACTIONS).between
    assert found.n == 50
    assert found.difference == pytest.approx(0.35, abs=0.15)
    assert found.difference == pytest.approx(found.mean_a - found.mean_b)
    assert max(found.p_permutation, found.p_wilcoxon) < 1e-3
    assert 0.0 < found.low < found.difference < found.high


def test_few_pairs_are_permuted_exactly():
    found = compare_pairs([0.1, 0.2, 0.3, 0.5, 0.7], np.zeros(5))
    assert found.p_permutation == pytest.approx(2 / 2**5)


def test_exchanging_the_models_changes_the_sign_alone():
    rng = np.random.default_rng(3)
    a, b = _ways(rng, 0.6), _ways(rng, 0.4)
    one, other = compare_validity(a, b, FRACTIONS, seed=5), compare_validity(b, a, FRACTIONS, seed=5)
    assert one.between.difference == -other.between.difference
    assert one.between.p_permutation == pytest.approx(other.between.p_permutation, abs=0.01)
    assert one.between.p_wilcoxon == pytest.approx(other.between.p_wilcoxon)
    assert one.between == compare_validity(a, b, FRACTIONS, seed=5).between


def test_ends_count_apart():
    a = np.zeros((4, 9), dtype=bool)
    a[:, [0, -1]] = True
    a[0, 1:-1] = True
    b = np.zeros((4, 9), dtype=bool)
    b[0] = True
    b[1, 0] = True
    found = compare_validity(a, b, FRACTIONS)
    assert (found.between.mean_a, found.between.mean_b) == (0.25, 0.25)
    assert (found.between.difference, found.between.p_permutation, found.between.p_wilcoxon) == (0.0, 1.0, 1.0)
    assert (found.ends.mean_a, found.ends.mean_b) == (1.0, 0.375)
    assert (found.n_valid_ends_a, found.given_valid_ends_a) == (4, 0.25)
    assert (found.n_valid_ends_b, found.given_valid_ends_b) == (1, 1.0)
    assert found.between_given_valid_ends.n == 1
    assert np.isnan(found.between_given_valid_ends.p_permutation)


def test_pairs_without_a_value_are_left_out():
    a = np.array([0.1, np.nan, 0.4, 0.5])
    b = np.array([0.0, 0.2, np.nan, 0.1])
    assert compare_pairs(a, b).n == 2
    nothing = compare_pairs([np.nan], [0.0])
    assert nothing.n == 0
    assert np.isnan(nothing.difference)


def test_wrong_use():
    with pytest.raises(DataError, match="expected 0, 1 and some between"):
        compare_validity(np.ones((3, 2)), np.ones((3, 2)), [0.0, 1.0])
    with pytest.raises(DataError, match="expected 0, 1 and some between"):
        compare_validity(np.ones((3, 2)), np.ones((3, 2)), [0.5, 1.0])
    with pytest.raises(DataError, match="fractions; expected"):
        compare_validity(np.ones((3, 2)), np.ones((4, 2)), [0.0, 1.0])
    with pytest.raises(DataError, match="one of each for every pair"):
        compare_pairs(np.ones(3), np.ones(4))
