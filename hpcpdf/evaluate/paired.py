"""Two models compared over pairs of PDFs: the pair is the unit, for structures on one way are not independent."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from hpcpdf.errors import DataError

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

_ENDS = 1e-9
"""Fractions so near to 0 or 1 are ends."""


@dataclass(frozen=True)
class PairedDifference:
    """Mean difference a − b over pairs, with an interval and two tests of the same question.

    Attributes
    ----------
    n : int
        Pairs.
    mean_a, mean_b, difference : float
        NaN without pairs.
    low, high : float
        95 % interval of `difference`: percentiles of bootstrap samples of pairs.
    p_permutation : float
        Two-sided, of the mean: how often it is as far from 0 when each pair's sign is drawn at random.
    p_wilcoxon : float
        Two-sided signed-rank test (Pratt's treatment of zeros, normal approximation with ties).
    """

    n: int
    mean_a: float
    mean_b: float
    difference: float
    low: float
    high: float
    p_permutation: float
    p_wilcoxon: float


@dataclass(frozen=True, eq=False)
class ValidityComparison:
    """Shares of valid structures of two models on the same ways.

    Attributes
    ----------
    between : PairedDifference
        Of each pair's share of valid structures strictly between the ends.
    ends : PairedDifference
        Of each pair's share of valid ends (0, ½ or 1).
    share_a, share_b : (P,) arrays
        Share of valid structures between the ends, pair by pair.
    given_valid_ends_a, given_valid_ends_b : float
        Mean share between, over those pairs whose two ends are valid with that model; NaN without any.
    n_valid_ends_a, n_valid_ends_b : int
        Those pairs.
    between_given_valid_ends : PairedDifference
        Over pairs whose ends are all valid with both models.
    """

    between: PairedDifference
    ends: PairedDifference
    share_a: Array = field(repr=False)
    share_b: Array = field(repr=False)
    given_valid_ends_a: float
    given_valid_ends_b: float
    n_valid_ends_a: int
    n_valid_ends_b: int
    between_given_valid_ends: PairedDifference


def compare_validity(
    valid_a: ArrayLike, valid_b: ArrayLike, fractions: ArrayLike, *, seed: int = 0, n_resamples: int = 9999
) -> ValidityComparison:
    """Compare two models by the share of valid structures on the same P ways of F steps.

    Parameters
    ----------
    valid_a, valid_b : (P, F) arrays of bool
        Of each structure: all criteria, or one of them.
    fractions : (F,) array
        Where on the way; 0 and 1 are the ends, which say how well a model does PDFs as such and count apart.
    seed, n_resamples
        Of permutations and bootstrap.

    Raises
    ------
    DataError
        If shapes do not fit together, or an end or everything between is missing.
    """
    a, b = np.asarray(valid_a, dtype=bool), np.asarray(valid_b, dtype=bool)
    where = np.asarray(fractions, dtype=np.float64)
    if a.ndim != 2 or a.shape != b.shape or where.shape != a.shape[1:]:
        raise DataError(f"validity of shapes {a.shape} and {b.shape} at {where.shape} fractions; expected (P, F), (F,)")
    first, last = where <= _ENDS, where >= 1.0 - _ENDS
    inner = ~first & ~last
    if not (first.any() and last.any() and inner.any()):
        raise DataError(f"fractions {where.tolist()}: expected 0, 1 and some between")
    share_a, share_b = a[:, inner].mean(axis=1), b[:, inner].mean(axis=1)
    sound_a, sound_b = a[:, ~inner].all(axis=1), b[:, ~inner].all(axis=1)
    both = sound_a & sound_b

    def compare(x: Array, y: Array) -> PairedDifference:
        return compare_pairs(x, y, seed=seed, n_resamples=n_resamples)

    return ValidityComparison(
        between=compare(share_a, share_b),
        ends=compare(a[:, ~inner].mean(axis=1), b[:, ~inner].mean(axis=1)),
        share_a=share_a,
        share_b=share_b,
        given_valid_ends_a=_mean(share_a[sound_a]),
        given_valid_ends_b=_mean(share_b[sound_b]),
        n_valid_ends_a=int(np.count_nonzero(sound_a)),
        n_valid_ends_b=int(np.count_nonzero(sound_b)),
        between_given_valid_ends=compare(share_a[both], share_b[both]),
    )


def compare_pairs(a: ArrayLike, b: ArrayLike, *, seed: int = 0, n_resamples: int = 9999) -> PairedDifference:
    """Mean difference of two values for each of P pairs, with interval and tests.

    Parameters
    ----------
    a, b : (P,) arrays
        One value a pair, for example its share of valid structures. Pairs with NaN are left out.
    seed, n_resamples
        Of permutations and bootstrap.

    Raises
    ------
    DataError
        If they differ in shape.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise DataError(f"values of shapes {x.shape} and {y.shape}; expected one of each for every pair")
    known = ~np.isnan(x) & ~np.isnan(y)
    x, y = x[known], y[known]
    difference = x - y
    n = len(difference)
    if n < 2:
        return PairedDifference(n, _mean(x), _mean(y), _mean(difference), *(4 * (float("nan"),)))
    if not difference.any():
        return PairedDifference(n, _mean(x), _mean(y), 0.0, 0.0, 0.0, 1.0, 1.0)
    flips, draws = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2))
    test = stats.permutation_test(
        (difference,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=n_resamples,
        random_state=flips,
    )
    interval = stats.bootstrap(
        (difference,), np.mean, vectorized=True, n_resamples=n_resamples, method="percentile", random_state=draws
    ).confidence_interval
    signed = stats.wilcoxon(difference, zero_method="pratt", method="approx")
    return PairedDifference(
        n=n,
        mean_a=_mean(x),
        mean_b=_mean(y),
        difference=_mean(difference),
        low=float(interval.low),
        high=float(interval.high),
        p_permutation=float(test.pvalue),
        p_wilcoxon=float(signed.pvalue),
    )


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else float("nan")
