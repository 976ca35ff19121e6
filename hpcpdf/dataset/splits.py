"""Which samples are for training, validation and test, and which are duplicates."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hpcpdf.dataset.schema import Arrays

TRAIN, VALIDATION, TEST = 0, 1, 2
_PAPER = (2400, 600, 137)
_STREAM = 0x5B117
"""Keeps the stream of the random split apart from those of the samples."""


def first_of_each(columns: Arrays) -> NDArray[np.intp]:
    """Rows to keep, ascending: the first of every (shape, element, nearest-neighbour distance).

    Parameters
    ----------
    columns
        ``shape_key``, ``z`` and ``nn`` of all samples, in the order of their ids.
    """
    names = ("shape_key", "z", "nn")
    rows = np.empty(len(columns["z"]), dtype=[(name, columns[name].dtype) for name in names])
    for name in names:
        rows[name] = columns[name]
    return np.sort(np.unique(rows, return_index=True)[1])


def assign(
    protocol: Literal["paper", "shape"],
    shape_keys: NDArray[np.bytes_],
    seed: int,
    fractions: tuple[float, float] = (0.1, 0.1),
) -> NDArray[np.int8]:
    """Split of every sample: 0 train, 1 validation, 2 test.

    Parameters
    ----------
    protocol
        ``paper`` shuffles the samples and keeps the ratio 2400 : 600 : 137, so shapes recur across splits.
        ``shape`` gives all samples of a shape to one split, decided by `seed` and the shape alone: a larger data set
        with the same seed has the same test shapes. Only if that leaves a split empty, and there are three shapes or
        more, is a shape moved there.
    shape_keys
        Digest of each sample's shape, shape (n,).
    seed
        Root seed of the run.
    fractions
        Expected shares of validation and test in ``shape``.
    """
    if protocol == "paper":
        return _random(len(shape_keys), seed)
    return _by_shape(shape_keys, seed, fractions)


def _random(n: int, seed: int) -> NDArray[np.int8]:
    held_out = [round(n * share / sum(_PAPER)) for share in _PAPER[1:]]
    if n >= 3:
        held_out = [max(1, count) for count in held_out]
    split = np.full(n, TRAIN, dtype=np.int8)
    order = np.random.default_rng([seed, _STREAM]).permutation(n)
    split[order[: held_out[0]]] = VALIDATION
    split[order[held_out[0] : sum(held_out)]] = TEST
    return split


def _by_shape(shape_keys: NDArray[np.bytes_], seed: int, fractions: tuple[float, float]) -> NDArray[np.int8]:
    shapes, inverse = np.unique(shape_keys, return_inverse=True)
    place = np.array([_uniform(seed, key) for key in shapes])
    of_shape = np.full(len(shapes), TRAIN, dtype=np.int8)
    validation, test = fractions
    of_shape[place < validation + test] = VALIDATION
    of_shape[place < test] = TEST
    if len(shapes) >= 3 and len(np.unique(of_shape)) < 3:
        order = np.argsort(place, kind="stable")
        of_shape[order[[0, 1, -1]]] = TEST, VALIDATION, TRAIN
    result: NDArray[np.int8] = of_shape[inverse]
    return result


def _uniform(seed: int, key: Any) -> float:
    digest = hashlib.blake2b(b"%d:%b" % (seed, bytes(key)), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2.0**64
