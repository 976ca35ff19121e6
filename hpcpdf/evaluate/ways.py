"""Structures on the way between two PDFs in latent space, judged as structures: could they be real clusters?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray

from hpcpdf.errors import DataError
from hpcpdf.evaluate.case import Case, unpadded, write_rows
from hpcpdf.evaluate.intermediates import (
    CRITERIA,
    Criteria,
    Geometry,
    criteria_from,
    measure,
    pairs,
    thermal_snapshots,
    validity,
)
from hpcpdf.evaluate.nearest import RealClusters

Array = NDArray[np.float64]

_REAL = 300
"""Real clusters that set the limits of what counts as valid."""
_STRIPS = 3
_MEASURED = ("n_atoms", "shortest", "nn_mean", "nn_spread", "coordination", "least_neighbours", "overlaps", "connected")


@dataclass(frozen=True, eq=False)
class Ways:
    """P ways of F structures each.

    Attributes
    ----------
    ends : (P, 2) int array
        Test PDFs that they join.
    fractions : (F,) array
    positions : list of (n_atoms, 3) arrays
        P · F of them, way by way, Å.
    geometries
        Their measures.
    rw_nearest : (P · F,) array
        R_w of their PDFs against the most similar training cluster's.
    met : dict of (P · F,) bool arrays
        By criterion.
    criteria
        The limits.
    """

    ends: NDArray[np.int64]
    fractions: Array
    positions: list[Array]
    geometries: list[Geometry]
    rw_nearest: Array
    met: dict[str, NDArray[np.bool_]]
    criteria: Criteria

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Whether all criteria are met, (P · F,)."""
        return np.asarray(np.all([self.met[name] for name in CRITERIA], axis=0))


def judge_ways(case: Case, real: RealClusters, n_pairs: int, steps: int) -> Ways | None:
    """Cross the latent space between `n_pairs` pairs of test PDFs in straight lines and measure what lies there.

    None where all test clusters have one size, as those of a single test shape do.

    Both models of a study meet the same pairs: they depend on seed and sizes alone. The limits of what is valid come
    from training clusters at one instant of their thermal motion (`hpcpdf.evaluate.intermediates`).

    Raises
    ------
    DataError
        If the test split has clusters of different size, but too few.
    """
    if len(np.unique(case.test["n_atoms"])) < 2:
        return None
    ends = pairs(case.test["n_atoms"], n_pairs, seed=case.seed)
    fractions = np.linspace(0.0, 1.0, steps)
    mean = case.prior[0]
    a, b = mean[torch.from_numpy(ends[:, 0])], mean[torch.from_numpy(ends[:, 1])]
    way = torch.from_numpy(fractions.astype(np.float32))[None, :, None]
    latent = torch.lerp(a[:, None], b[:, None], way).reshape(-1, mean.shape[1])
    positions = case.positions(case.model.structures(latent))
    geometries = [measure(x) for x in positions]
    rw = real.find(positions).rw
    criteria = _limits(case, real)
    return Ways(ends, fractions, positions, geometries, rw, validity(geometries, rw, criteria), criteria)


def _limits(case: Case, real: RealClusters) -> Criteria:
    validation = unpadded(case.dataset.load("validation", ("positions",))["positions"])[:_REAL]
    if not validation:
        raise DataError(f"{case.dataset.path}: the validation split is empty; raise clusters.n")
    snapshots = thermal_snapshots(validation, case.params.biso, case.seed)
    return criteria_from([measure(x) for x in snapshots], real.find(snapshots).rw)


def write_ways(path: Path, case: Case, ways: Ways) -> None:
    """Write ``intermediates.csv``."""
    steps = len(ways.fractions)
    rows = []
    for index, (geometry, rw, valid) in enumerate(zip(ways.geometries, ways.rw_nearest, ways.valid, strict=True)):
        pair, step = divmod(index, steps)
        measured = asdict(geometry)
        rows.append(
            [
                pair,
                *ways.ends[pair].tolist(),
                float(ways.fractions[step]),
                *(measured[name] for name in _MEASURED),
                float(rw),
                *(bool(ways.met[name][index]) for name in CRITERIA),
                bool(valid),
            ]
        )
    header = ["pair", "row_a", "row_b", "fraction", *_MEASURED, "rw_nearest", *(f"ok_{c}" for c in CRITERIA), "valid"]
    write_rows(path, header, rows)


def strips(case: Case, ways: Ways) -> list[dict[str, Any]]:
    """A few ways as structures to be drawn, from the largest change of size to a small one."""
    sizes = case.test["n_atoms"][ways.ends]
    chosen = np.argsort(-np.abs(sizes[:, 1] - sizes[:, 0]), kind="stable")[:: max(1, len(sizes) // _STRIPS)][:_STRIPS]
    return [_strip(case, ways, int(pair)) for pair in chosen]


def _strip(case: Case, ways: Ways, pair: int) -> dict[str, Any]:
    steps = range(len(ways.fractions))
    first = pair * len(steps)
    return {
        "pair": pair,
        "symbols": [chemical_symbols[case.test["z"][end]] for end in ways.ends[pair]],
        "n_true": [int(case.test["n_atoms"][end]) for end in ways.ends[pair]],
        "steps": [
            {
                "fraction": float(ways.fractions[step]),
                "valid": bool(ways.valid[first + step]),
                "n_atoms": ways.geometries[first + step].n_atoms,
                "rw_nearest": round(float(ways.rw_nearest[first + step]), 4),
                "positions": _plain(ways.positions[first + step]),
            }
            for step in steps
        ],
    }


def _plain(positions: Array) -> Sequence[Sequence[float]]:
    return np.round(positions, 3).tolist() if np.isfinite(positions).all() else []
