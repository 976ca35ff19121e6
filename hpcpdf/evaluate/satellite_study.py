"""What the solver itself adds to the error of a reconstruction: exact distances, noise of known size, trilateration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from hpcpdf.errors import ConfigError, DataError
from hpcpdf.model.distances import AssignedDistances, assigned_distances
from hpcpdf.pdf.metrics import pearson
from hpcpdf.pdf.params import PdfParams
from hpcpdf.pdf.simulate import simulate_pdf
from hpcpdf.solver.satellites import satellites
from hpcpdf.solver.trilaterate import trilaterate

Array = NDArray[np.float64]

NUMBERS = (0, 4, 6, 8, 11, 16, 24)
"""Numbers of satellites that are compared."""

_CHIRAL = 4
"""From so many satellites up, evenly spread, no plane holds them all: they tell a structure from its mirror image."""


@dataclass(frozen=True, eq=False)
class SolverError:
    """Error of n structures that were trilaterated from noisy distances.

    Attributes
    ----------
    satellites : int
    sigma, sigma_satellites : float
        Standard deviation of the noise, Å: between atoms, and from atoms to satellites.
    rmsd : (n,) array
        Å, after the best shift and rotation, atoms numbered as the distances are. With fewer than four satellites a
        mirror image counts as right, for nothing in the distances speaks against it; from four on it counts as wrong.
    frame_error : (n,) array
        Root mean square distance in the frame of the satellites, Å, nothing aligned; NaN with fewer than four.
    pearson : (n,) array
        Correlation of the PDF with that of the exact structure.

    All are NaN where the solver found nothing.
    """

    satellites: int
    sigma: float
    sigma_satellites: float
    rmsd: Array = field(repr=False)
    frame_error: Array = field(repr=False)
    pearson: Array = field(repr=False)


@dataclass(frozen=True)
class DistanceError:
    """Root mean square error of predicted distances, pooled over the structures with the right number of atoms.

    Attributes
    ----------
    n : int
        Those structures.
    between, outward : float
        Å: between atoms, and from atoms to satellites; NaN without any.
    """

    n: int
    between: float
    outward: float


def solver_error(
    structures: Sequence[ArrayLike],
    n_satellites: int,
    sigma: float,
    *,
    length: float,
    params: PdfParams,
    seed: int,
    sigma_satellites: float | None = None,
) -> SolverError:
    """Trilaterate known structures from their distances with Gaussian noise, as reconstructions are.

    Every pair of atoms has one error of its own (a decoder's two answers for it are averaged before the solver sees
    them), and so has every atom and satellite; the errors are independent, as those of a network are not. A distance
    that would fall below 0 is 0. The same seed draws the same errors between atoms whatever the sigma and the number
    of satellites.

    Parameters
    ----------
    structures
        n arrays (n_atoms, 3), Å. The first atom goes to the centre of the satellites' sphere.
    n_satellites
        0 to 64.
    sigma
        Å, between atoms.
    length
        Radius of the satellites' sphere, Å; no atom may be farther from the first.
    params
        For the PDFs.
    seed
        Structure i's errors depend on it and on i alone.
    sigma_satellites
        Å, from atoms to satellites; default `sigma`.

    Raises
    ------
    ConfigError
        For a negative sigma, or a structure that leaves the sphere.
    """
    outer = sigma if sigma_satellites is None else sigma_satellites
    if sigma < 0.0 or outer < 0.0:
        raise ConfigError(f"sigma = {sigma}, sigma_satellites = {outer}: expected values of 0 Å or more")
    around = satellites(n_satellites)
    exact = [_centred(item) for item in structures]
    reach = max((float(np.linalg.norm(item, axis=1).max()) for item in exact), default=0.0)
    if reach > length:
        raise ConfigError(f"length = {length:g}: an atom lies {reach:g} Å from the first, outside the sphere")
    unit = sigma / length, outer / length
    noisy = [
        _with_noise(assigned_distances(item, around, length), unit, np.random.SeedSequence(seed, spawn_key=(i,)))
        for i, item in enumerate(exact)
    ]
    solved = trilaterate([item[0] for item in noisy], [item[1] for item in noisy], around).positions
    found = [np.asarray(item, dtype=np.float64) * length for item in solved]
    chiral = n_satellites >= _CHIRAL
    usable = [i for i, item in enumerate(found) if np.isfinite(item).all()]
    values = np.full((3, len(exact)), np.nan)
    for i in usable:
        values[0, i] = superposed_rmsd(found[i], exact[i], mirror=not chiral)
        if chiral:
            values[1, i] = np.sqrt(np.mean(np.sum((found[i] - exact[i]) ** 2, axis=1)))
    if usable:
        g_exact, g_found = (simulate_pdf([items[i] for i in usable], params)[1] for items in (exact, found))
        values[2, usable] = pearson(g_exact, g_found)
    return SolverError(n_satellites, sigma, outer, *values)


def solver_study(
    structures: Sequence[ArrayLike],
    sigmas: Sequence[tuple[float, float]],
    *,
    length: float,
    params: PdfParams,
    seed: int,
    numbers: Sequence[int] = NUMBERS,
) -> Iterator[SolverError]:
    """`solver_error` for every number of satellites and every (sigma, sigma_satellites), Å."""
    for number in numbers:
        for sigma, outer in sigmas:
            yield solver_error(
                structures, number, sigma, length=length, params=params, seed=seed, sigma_satellites=outer
            )


def distance_error(predicted: Sequence[AssignedDistances], truth: Sequence[ArrayLike]) -> DistanceError:
    """Error of the distances that a model predicts, where it predicts the right number of atoms.

    Parameters
    ----------
    predicted
        n structures; all with the same satellites.
    truth
        n arrays (n_atoms, 3), Å, with the atoms in the order and the orientation that the model was trained on and
        their first atom at the centre of the satellites, as the dense models have it.

    Raises
    ------
    DataError
        If their numbers differ.
    """
    if len(predicted) != len(truth):
        raise DataError(f"{len(predicted)} predicted structures, {len(truth)} true ones; expected as many")
    between, outward = [], []
    n = 0
    for found, positions in zip(predicted, truth, strict=True):
        exact = _centred(positions)
        if found.n_atoms != len(exact):
            continue
        n += 1
        known = assigned_distances(exact, satellites(found.satellite_distances.shape[1]), found.length)
        pairs = np.triu_indices(len(exact), 1)
        between.append((found.distances - known.distances)[pairs].astype(np.float64) * found.length)
        outward.append(
            (found.satellite_distances - known.satellite_distances).ravel().astype(np.float64) * found.length
        )
    return DistanceError(n, _root_mean_square(between), _root_mean_square(outward))


def superposed_rmsd(positions: Array, reference: Array, *, mirror: bool) -> float:
    """Root mean square distance of two structures (n, 3) with the same numbering after the best shift and rotation.

    `mirror` allows a reflection. Where the numbering is not known, `hpcpdf.evaluate.align.rmsd` finds it too.
    """
    a, b = positions - positions.mean(axis=0), reference - reference.mean(axis=0)
    ways = (a, -a) if mirror else (a,)
    return min(float(Rotation.align_vectors(b, way)[1]) for way in ways) / float(np.sqrt(len(a)))


def _with_noise(
    known: AssignedDistances, sigma: tuple[float, float], seed: np.random.SeedSequence
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    inner, outer = (np.random.default_rng(child) for child in seed.spawn(2))
    error = np.triu(inner.normal(0.0, 1.0, known.distances.shape), 1)
    between = known.distances + sigma[0] * (error + error.T)
    outward = known.satellite_distances + sigma[1] * outer.normal(0.0, 1.0, known.satellite_distances.shape)
    return np.maximum(between, 0.0).astype(np.float32), np.maximum(outward, 0.0).astype(np.float32)


def _centred(positions: ArrayLike) -> Array:
    array = np.asarray(positions, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array) or not np.isfinite(array).all():
        raise DataError(f"a structure of shape {array.shape}: expected finite positions (n_atoms, 3)")
    return np.asarray(array - array[0])


def _root_mean_square(parts: Sequence[Array]) -> float:
    values = np.concatenate(parts) if parts else np.zeros(0)
    return float(np.sqrt(np.mean(values**2))) if values.size else float("nan")
