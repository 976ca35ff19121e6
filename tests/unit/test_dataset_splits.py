"""Duplicates and the two split protocols."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcpdf.dataset.splits import TEST, TRAIN, VALIDATION, assign, first_of_each


def keys(n_shapes: int, per_shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.permutation(np.repeat([f"{k:032x}".encode() for k in range(n_shapes)], per_shape))


def test_paper_split_of_the_whole_set_has_the_published_sizes() -> None:
    split = assign("paper", keys(9, 349)[:3137], seed=0)
    assert [np.count_nonzero(split == code) for code in (TRAIN, VALIDATION, TEST)] == [2400, 600, 137]


@given(st.integers(3, 4000), st.integers(0, 2**40))
def test_paper_split_keeps_the_ratio_and_leaves_no_split_empty(n: int, seed: int) -> None:
    split = assign("paper", np.full(n, b"x", dtype="S32"), seed=seed)
    counts = np.bincount(split, minlength=3)
    assert counts.sum() == n
    assert counts.min() >= 1
    assert np.abs(counts - n * np.array([2400, 600, 137]) / 3137).max() <= 2


@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 2**40), st.floats(0.01, 0.45), st.floats(0.01, 0.45))
def test_shape_split_never_divides_a_shape(n: int, per_shape: int, seed: int, validation: float, test: float) -> None:
    shape_keys = keys(n, per_shape)
    split = assign("shape", shape_keys, seed=seed, fractions=(validation, test))
    for key in np.unique(shape_keys):
        assert len(np.unique(split[shape_keys == key])) == 1
    if n >= 3:
        assert set(split) == {TRAIN, VALIDATION, TEST}


def test_shape_split_reaches_its_fractions() -> None:
    split = assign("shape", keys(20_000, 1), seed=3, fractions=(0.1, 0.2))
    assert np.mean(split == VALIDATION) == pytest.approx(0.1, abs=0.01)
    assert np.mean(split == TEST) == pytest.approx(0.2, abs=0.01)


def test_shape_split_stays_when_the_data_set_grows() -> None:
    small, large = keys(300, 1), keys(3000, 2, seed=9)
    where = dict(zip(large.tolist(), assign("shape", large, seed=5).tolist(), strict=True))
    assert [where[key] for key in small.tolist()] == assign("shape", small, seed=5).tolist()


def test_seed_changes_the_split() -> None:
    for protocol in ("paper", "shape"):
        first, second = (assign(protocol, keys(500, 1), seed=seed) for seed in (0, 1))
        assert np.any(first != second)
        assert np.array_equal(first, assign(protocol, keys(500, 1), seed=0))


def test_first_of_each_keeps_one_of_every_variant() -> None:
    columns = {
        "shape_key": np.array([b"a", b"a", b"b", b"a", b"a", b"b"], dtype="S32"),
        "z": np.array([78, 78, 78, 79, 78, 78], dtype="i2"),
        "nn": np.array([2.7, 2.7, 2.7, 2.7, 2.8, 2.7]),
    }
    assert first_of_each(columns).tolist() == [0, 2, 3, 4]
