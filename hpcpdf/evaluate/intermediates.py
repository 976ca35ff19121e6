"""Whether a structure could be a real cluster: its geometry, and limits that real clusters set.

Made for the structures on the way between two PDFs in latent space, for which there is no truth to compare with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import pdist, squareform

from hpcpdf.errors import ConfigError, DataError
from hpcpdf.pdf.params import B_PER_U

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

SHELL = 0.5 * (1.0 + math.sqrt(2.0))
"""End of the first shell in mean first-shell distances: halfway to the second shell of close packing."""
OVERLAP = 0.7
"""Two atoms overlap below this share of the mean first-shell distance."""

CRITERIA = ("distance", "shortest", "spread", "coordination", "least_neighbours", "overlaps", "connected", "rw_nearest")
"""What `validity` tells one by one."""

_SLACK = 1e-9


@dataclass(frozen=True)
class Geometry:
    """What is measured of one structure; the same for every orientation, place and numbering of atoms.

    Attributes
    ----------
    n_atoms : int
    shortest : float
        Shortest distance, Å.
    nn_mean : float
        Mean distance of the first shell, Å: of all pairs nearer than `SHELL` times this very mean.
    nn_spread : float
        Standard deviation of these distances, as a share of `nn_mean`.
    coordination : float
        Mean number of atoms in an atom's first shell.
    least_neighbours : int
        Fewest of any atom.
    overlaps : int
        Pairs nearer than `OVERLAP` times `nn_mean`.
    connected : bool
        Whether first-shell pairs link all atoms into one piece.
    """

    n_atoms: int
    shortest: float
    nn_mean: float
    nn_spread: float
    coordination: float
    least_neighbours: int
    overlaps: int
    connected: bool

    @property
    def deficit(self) -> float:
        """a in coordination = 12 (1 - a n^(-1/3)): neighbours that the surface takes, much the same for all sizes."""
        return (1.0 - self.coordination / 12.0) * float(np.cbrt(self.n_atoms))


def measure(positions: ArrayLike) -> Geometry:
    """Geometry of one structure, (n, 3) in Å.

    With fewer than two atoms, or coordinates that are not finite, distances are NaN and neighbours 0, so that it meets
    no criterion.

    Raises
    ------
    DataError
        For another shape.
    """
    x = np.asarray(positions, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != 3:
        raise DataError(f"positions of shape {x.shape}, expected (n_atoms, 3)")
    if len(x) < 2 or not np.isfinite(x).all():
        return Geometry(len(x), math.nan, math.nan, math.nan, 0.0, 0, 0, False)
    pairs = pdist(x)
    between = squareform(pairs)
    np.fill_diagonal(between, np.inf)
    nn = _first_shell(pairs, float(np.median(between.min(axis=1))))
    shell = pairs[pairs < SHELL * nn]
    near = between < SHELL * nn
    neighbours = near.sum(axis=1)
    return Geometry(
        n_atoms=len(x),
        shortest=float(pairs.min()),
        nn_mean=nn,
        nn_spread=float(shell.std()) / nn if shell.size else math.nan,
        coordination=float(neighbours.mean()),
        least_neighbours=int(neighbours.min()),
        overlaps=int(np.count_nonzero(pairs < OVERLAP * nn)),
        connected=connected_components(near, directed=False)[0] == 1,
    )


def _first_shell(pairs: Array, start: float) -> float:
    """The mean m of all distances below `SHELL` m, from the median distance to the nearest atom."""
    mean = start
    # A distorted shell can swing between two means; any of them will do.
    for _ in range(50):
        inside = pairs[pairs < SHELL * mean]
        new = float(inside.mean()) if inside.size else mean
        if abs(new - mean) <= 1e-12 * mean:
            break
        mean = new
    return mean


@dataclass(frozen=True)
class Criteria:
    """Limits within which a structure counts as valid; both ends of a pair of numbers are included.

    `criteria_from` derives them from real clusters.

    Attributes
    ----------
    nn_mean : (float, float)
        Mean first-shell distance, Å ("distance").
    shortest : float
        Least shortest distance, as a share of `nn_mean`.
    nn_spread : float
        Most relative spread of first-shell distances ("spread").
    deficit : (float, float)
        `Geometry.deficit` ("coordination"). It holds for sizes between those of the real clusters too.
    least_neighbours : int
        Fewest neighbours that any atom may have.
    overlaps : int
        Most overlapping pairs.
    rw_nearest : float
        Highest R_w of the structure's own PDF against that of the most similar real cluster, zoom and scale fitted.
    """

    nn_mean: tuple[float, float]
    shortest: float
    nn_spread: float
    deficit: tuple[float, float]
    least_neighbours: int
    rw_nearest: float
    overlaps: int = 0


def thermal_snapshots(structures: Sequence[ArrayLike], biso: float, seed: int) -> list[Array]:
    """Real clusters as they are at one instant: every coordinate displaced at random with variance Biso / 8π².

    An ideal cluster has no disorder at all, so it sets no limit to it. The Biso of the PDFs does: what moves within
    it, a PDF takes for an ideal cluster.

    Parameters
    ----------
    structures
        Arrays (n_atoms, 3), Å.
    biso
        Å².
    seed
        Snapshot i depends on it and on i alone.
    """
    width = math.sqrt(biso / B_PER_U)
    children = np.random.SeedSequence(seed).spawn(len(structures))
    return [
        np.asarray(item, dtype=np.float64) + np.random.default_rng(child).normal(0.0, width, np.shape(item))
        for item, child in zip(structures, children, strict=True)
    ]


def criteria_from(geometries: Sequence[Geometry], rw_nearest: ArrayLike, *, coverage: float = 0.99) -> Criteria:
    """Limits that each take in the share `coverage` of real structures, such as thermal snapshots of clusters.

    One-sided limits are that quantile; those of `nn_mean` and `deficit` leave out as many below as above. Overlaps are
    never accepted, pieces neither.

    Parameters
    ----------
    geometries
        Of n real structures.
    rw_nearest : (n,) array
        R_w of theirs against the most similar training cluster (`hpcpdf.evaluate.nearest`).
    coverage
        The meeting of all limits is rarer: check with real structures that were not used here.

    Raises
    ------
    DataError
        Without structures, or with another number of R_w.
    """
    rw = np.asarray(rw_nearest, dtype=np.float64)
    if not geometries or rw.shape != (len(geometries),):
        raise DataError(f"{len(geometries)} real structures with R_w of shape {rw.shape}; expected as many, at least 1")
    if not 0.0 < coverage <= 1.0:
        raise ConfigError(f"coverage = {coverage}: expected a share above 0, at most 1")
    rest = 1.0 - coverage
    nn, deficit = (np.array([getattr(item, name) for item in geometries]) for name in ("nn_mean", "deficit"))

    def both(values: Array) -> tuple[float, float]:
        low, high = np.quantile(values, [0.5 * rest, 1.0 - 0.5 * rest])
        return float(low), float(high)

    return Criteria(
        nn_mean=both(nn),
        shortest=float(np.quantile([item.shortest / item.nn_mean for item in geometries], rest)),
        nn_spread=float(np.quantile([item.nn_spread for item in geometries], coverage)),
        deficit=both(deficit),
        least_neighbours=math.floor(np.quantile([item.least_neighbours for item in geometries], rest)),
        rw_nearest=float(np.quantile(rw, coverage)),
    )


def validity(geometries: Sequence[Geometry], rw_nearest: ArrayLike, criteria: Criteria) -> dict[str, Flags]:
    """For each of `CRITERIA` whether each of n structures meets it, (n,); NaN meets none.

    Raises
    ------
    DataError
        If the number of R_w is another.
    """
    rw = np.asarray(rw_nearest, dtype=np.float64)
    if rw.shape != (len(geometries),):
        raise DataError(f"{len(geometries)} structures with R_w of shape {rw.shape}")
    column = {
        name: np.array([float(getattr(item, name)) for item in geometries])
        for name in ("shortest", "nn_mean", "nn_spread", "deficit", "least_neighbours", "overlaps", "connected")
    }
    real = np.isfinite(column["nn_mean"])
    low = criteria.nn_mean[0] - _SLACK, criteria.deficit[0] - _SLACK
    high = criteria.nn_mean[1] + _SLACK, criteria.deficit[1] + _SLACK
    return {
        "distance": (column["nn_mean"] >= low[0]) & (column["nn_mean"] <= high[0]),
        "shortest": column["shortest"] >= criteria.shortest * column["nn_mean"] - _SLACK,
        "spread": column["nn_spread"] <= criteria.nn_spread + _SLACK,
        "coordination": real & (column["deficit"] >= low[1]) & (column["deficit"] <= high[1]),
        "least_neighbours": real & (column["least_neighbours"] >= criteria.least_neighbours),
        "overlaps": real & (column["overlaps"] <= criteria.overlaps),
        "connected": column["connected"] > 0.0,
        "rw_nearest": rw <= criteria.rw_nearest + _SLACK,
    }


def valid(geometries: Sequence[Geometry], rw_nearest: ArrayLike, criteria: Criteria) -> Flags:
    """Whether each structure meets all criteria, (n,)."""
    return np.asarray(np.all(list(validity(geometries, rw_nearest, criteria).values()), axis=0))


def pairs(n_atoms: ArrayLike, count: int, *, seed: int) -> NDArray[np.int64]:
    """Pairs of clusters of different size, drawn at random, no two alike (whatever the order of their ends).

    Parameters
    ----------
    n_atoms : (n,) array of int
        Sizes of the clusters.
    count
        Number of pairs.
    seed
        The same gives the same pairs.

    Returns
    -------
    (count, 2) array of int
        Positions in `n_atoms`; either end may be the larger cluster.

    Raises
    ------
    DataError
        If there are not so many pairs.
    """
    sizes = np.asarray(n_atoms)
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    first, second = np.triu_indices(len(sizes), 1)
    possible = np.flatnonzero(sizes[first] != sizes[second])
    if count > len(possible):
        raise DataError(f"{count} pairs of clusters of different size asked for, there are {len(possible)}")
    chosen = rng.choice(possible, size=count, replace=False)
    found = np.stack([first[chosen], second[chosen]], axis=1).astype(np.int64)
    return np.asarray(np.where(rng.random(count)[:, None] < 0.5, found, found[:, ::-1]))
