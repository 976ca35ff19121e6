"""Pairs of different fcc clusters whose distance lists are the same, or nearly: what a PDF can hardly tell apart.

Three kinds. *homometric*: clusters grown atom by atom that share a distance list; found by hashing those of a large
pool. *minkowski*: sums A + B and differences A - B of two small sets of sites, which share even their list of
difference vectors (Rosenblatt & Seymour 1982). *near*: convex particles of as many atoms whose lists differ least.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from shapes import Floats, Ints, Rng, Span, connected, coordination, fcc_ball, fcc_convex

from hpcpdf.clusters.canonical import canonical_form, shape_key

SIZES = Span(8, 20)
_POOL, _POOL_RADIUS = 4000, 2.3
_SUMS = 8000
_BODIES, _BODY_SIZES = 1200, Span(25, 70)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two clusters that are not congruent; positions in nearest-neighbour distances.

    Attributes
    ----------
    kind
        ``homometric``, ``minkowski`` or ``near``.
    first, second
        (n, 3) positions.
    difference
        Share of the distances that are in one list and not in the other.
    """

    kind: str
    first: Floats
    second: Floats
    difference: float


def find_pairs(rng: Rng) -> dict[str, list[Pair]]:
    """Pairs of each kind, in random order; no cluster occurs twice."""
    found = {"homometric": _homometric(rng), "minkowski": _minkowski(rng), "near": _near(rng)}
    seen: set[str] = set()
    kept: dict[str, list[Pair]] = {}
    for kind, pairs in found.items():
        kept[kind] = []
        for pair in pairs:
            keys = {shape_key(pair.first), shape_key(pair.second)}
            if not keys & seen and not congruent(pair.first, pair.second):
                kept[kind].append(pair)
                seen |= keys
    return kept


def congruent(a: Floats, b: Floats) -> bool:
    """Whether a rotation, a reflection and a shift make one cluster the other."""
    return len(a) == len(b) and bool(np.allclose(canonical_form(a)[0], canonical_form(b)[0], atol=1e-5))


def _squares(codes: Ints) -> Ints:
    """(n, n) squared distances in half squares of the lattice constant: twice those in neighbour distances."""
    between = codes[:, None, :] - codes[None, :, :]
    return np.asarray(np.einsum("abi,abi->ab", between, between), dtype=np.int64)


def _homometric(rng: Rng) -> list[Pair]:
    sites = fcc_ball(_POOL_RADIUS)
    classes = _squares(np.rint(sites * np.sqrt(2.0)).astype(np.int64)) // 2
    near = (classes == 1).astype(np.float64)
    n_classes = int(classes.max()) + 1
    mask = np.zeros((_POOL, len(sites)), dtype=bool)
    mask[:, int(np.argmin(np.linalg.norm(sites, axis=1)))] = True
    counts = np.zeros((_POOL, n_classes), dtype=np.int64)
    rows = np.arange(_POOL)
    # Hashes an atom's own list of distances: clusters whose atoms have different ones are not congruent.
    salt = rng.integers(1, 2**62, n_classes, dtype=np.int64)
    pairs = []
    for n in range(2, SIZES.high + 1):
        bonds = mask @ near
        # Most bonds first, in the mean: compact clusters, as particles are.
        weight = np.where(mask | (bonds < min(n - 1, 3)), -np.inf, bonds + rng.gumbel(0.0, 0.8, mask.shape))
        added = np.argmax(weight, axis=1)
        flat = rows[:, None] * n_classes + classes[added]
        counts += np.bincount(flat[mask], minlength=_POOL * n_classes).reshape(_POOL, n_classes)
        mask[rows, added] = True
        if n in SIZES:
            pairs += _collisions(mask, counts, classes, salt, sites, rng)
    return [pairs[k] for k in rng.permutation(len(pairs))]


def _collisions(
    mask: np.ndarray, counts: Ints, classes: Ints, salt: Ints, sites: Floats, rng: Rng, most: int = 2
) -> list[Pair]:
    """At most `most` pairs of clusters of a pool with the same counts, but atoms that see different distances."""
    _, owner = np.unique(counts, axis=0, return_inverse=True)
    groups: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(owner.reshape(-1).tolist()):
        groups[group].append(row)
    pairs = []
    names = sorted(group for group, members in groups.items() if len(members) > 1)
    for group in rng.permutation(names).tolist():
        seen: dict[bytes, int] = {}
        for row in groups[group]:
            inside = np.flatnonzero(mask[row])
            profile = salt[classes[np.ix_(inside, inside)]].sum(axis=1)
            seen.setdefault(np.sort(profile).tobytes(), row)
        different = list(seen.values())
        if len(different) > 1:
            pairs.append(Pair("homometric", sites[mask[different[0]]], sites[mask[different[1]]], 0.0))
        if len(pairs) == most:
            break
    return pairs


def _minkowski(rng: Rng) -> list[Pair]:
    codes = np.rint(fcc_ball(2.01) * np.sqrt(2.0)).astype(np.int64)
    found: dict[str, Pair] = {}
    for _ in range(_SUMS):
        n_a, n_b = int(rng.integers(3, 6)), int(rng.integers(3, 5))
        a = codes[rng.choice(len(codes), n_a, replace=False)]
        b = codes[rng.choice(len(codes), n_b, replace=False)]
        members = [(a[:, None] + sign * b[None]).reshape(-1, 3) for sign in (1, -1)]
        if any(len({tuple(row) for row in x.tolist()}) < len(x) for x in members) or len(members[0]) not in SIZES:
            continue
        first, second = (x / np.sqrt(2.0) for x in members)
        if not (connected(first) and connected(second)):
            continue
        # Loose chains are no particles.
        if min(coordination(first).mean(), coordination(second).mean()) < 3.0:
            continue
        if not congruent(first, second):
            found.setdefault(shape_key(first), Pair("minkowski", first, second, 0.0))
    return list(found.values())


def _near(rng: Rng) -> list[Pair]:
    bodies: dict[int, dict[bytes, tuple[Ints, Floats]]] = defaultdict(dict)
    for _ in range(_BODIES):
        points = fcc_convex(rng, _BODY_SIZES)
        counts = np.bincount(_squares(np.rint(points * np.sqrt(2.0)).astype(np.int64)).ravel() // 2, minlength=400)
        counts[0] = 0
        bodies[len(points)].setdefault(counts.tobytes(), (counts // 2, points))
    ranked = []
    for n in sorted(bodies):
        members = sorted(bodies[n].items())
        lists = np.array([counts for _, (counts, _) in members])
        apart = np.abs(lists[:, None] - lists[None]).sum(axis=2) / (n * (n - 1.0))
        first, second = np.triu_indices(len(members), 1)
        for k in np.argsort(apart[first, second], kind="stable")[:2].tolist():
            i, j = int(first[k]), int(second[k])
            ranked.append(Pair("near", members[i][1][1], members[j][1][1], float(apart[i, j])))
    ranked.sort(key=lambda pair: pair.difference)
    return ranked[:20]
